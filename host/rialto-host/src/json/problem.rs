//! Why a JSON value does not fit its type: what is told to the caller.

use std::fmt::Write as _;

use serde_json::Value;

use crate::error::ArgumentError;
use crate::interface::Ty;
use crate::interface::ty::{Named, listed};

/// Why a value does not fit.
pub(crate) struct Problem {
    /// Where, innermost first.
    pub(crate) path: Vec<Step>,
    text: String,
    /// What was found, while the problem may still be told as "…, found X at index I" of a list.
    pub(crate) of_kind: Option<String>,
}

pub(crate) enum Step {
    Field(String),
    Index(usize),
}

impl Problem {
    pub(crate) fn kind(ty: &Ty, found: impl Into<String>) -> Self {
        let found = found.into();
        Self {
            path: Vec::new(),
            text: format!("expected {}, found {found}", ty.describe()),
            of_kind: Some(found),
        }
    }

    pub(crate) fn value(text: String) -> Self {
        Self {
            path: Vec::new(),
            text,
            of_kind: None,
        }
    }

    pub(crate) fn missing(ty: &Ty) -> Self {
        Self::value(format!("missing; expected {}", ty.describe()))
    }

    pub(crate) fn under(mut self, name: &str) -> Self {
        self.of_kind = None;
        self.path.push(Step::Field(name.to_owned()));
        self
    }

    /// The problem of the element at `index`, told as its list's where that reads better.
    pub(crate) fn in_list(mut self, list: &Ty, index: usize) -> Self {
        if let Some(found) = self.of_kind.take() {
            self.text = format!(
                "expected {}, found {found} at index {index}",
                list.describe()
            );
        } else {
            self.path.push(Step::Index(index));
        }
        self
    }

    pub(crate) fn at(self, param: &str) -> ArgumentError {
        let mut place = param.to_owned();
        for step in self.path.iter().rev() {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Field(name) => write!(place, ".{name}"),
                Step::Index(index) => write!(place, "[{index}]"),
            };
        }
        ArgumentError::Type(format!("`{place}`: {}", self.text))
    }
}

/// Parameters or fields, listed.
pub(crate) fn parameters(params: &[Named]) -> String {
    if params.is_empty() {
        return "no parameters".to_owned();
    }
    listed(params.iter().map(|param| param.json.as_str()))
}

/// The kind of a JSON value, with its article.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A number itself, or the kind of any other value.
pub(crate) fn brief(value: &Value) -> String {
    if let Value::Number(number) = value {
        number.to_string()
    } else {
        kind_of(value).to_owned()
    }
}

/// The start of a caller's own text, for messages.
pub(crate) fn shorten(text: &str) -> &str {
    const CHARS_MAX: usize = 40;
    text.char_indices()
        .nth(CHARS_MAX)
        .map_or(text, |(at, _)| &text[..at])
}
