//! The host's own tree of value types: what JSON conversion and schemas walk.
//!
//! Made once from the component's type, so that a call never touches the engine's type tables.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// A value type, with the name and docs that the WIT text gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ty {
    pub(crate) kind: TyKind,
    /// The WIT type's name.
    pub(crate) name: Option<String>,
    /// The WIT type's doc comment.
    pub(crate) docs: Option<String>,
}

/// The shape of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum TyKind {
    Bool,
    Int(Int),
    F32,
    F64,
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    List(Box<Ty>),
    Record(Vec<Named>),
    Tuple(Vec<Ty>),
    Variant(Vec<Case>),
    Enum(Vec<Case>),
    Option(Box<Ty>),
    Result {
        ok: Option<Box<Ty>>,
        err: Option<Box<Ty>>,
    },
    Flags(Vec<Case>),
}

/// An integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Int {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

/// A record's field or a function's parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    /// The name in JSON.
    pub(crate) json: String,
    /// The name in WIT.
    pub(crate) wit: String,
    pub(crate) docs: Option<String>,
    pub(crate) ty: Ty,
}

/// A case of a variant or enum, or a flag; only variants have payloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// The name in JSON.
    pub(crate) json: String,
    /// The name in WIT.
    pub(crate) wit: String,
    pub(crate) docs: Option<String>,
    pub(crate) payload: Option<Ty>,
}

/// A WIT name as JSON has it.
pub(crate) fn snake(wit: &str) -> String {
    wit.replace('-', "_")
}

/// Whether two names are equal but for `-` and `_`.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte };
    a.len() == b.len() && a.bytes().map(plain).eq(b.bytes().map(plain))
}

impl Int {
    /// The smallest and largest value.
    pub(crate) fn bounds(self) -> (i128, i128) {
        match self {
            Self::S8 => (i8::MIN.into(), i8::MAX.into()),
            Self::U8 => (0, u8::MAX.into()),
            Self::S16 => (i16::MIN.into(), i16::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::S32 => (i32::MIN.into(), i32::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::S64 => (i64::MIN.into(), i64::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
        }
    }

    /// Whether values may exceed what a double holds exactly, so that text is accepted too.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::S64 | Self::U64)
    }

    /// The OpenAPI format name.
    pub(crate) fn format(self) -> &'static str {
        match self {
            Self::S8 => "int8",
            Self::U8 => "uint8",
            Self::S16 => "int16",
            Self::U16 => "uint16",
            Self::S32 => "int32",
            Self::U32 => "uint32",
            Self::S64 => "int64",
            Self::U64 => "uint64",
        }
    }
}

impl Ty {
    #[cfg(test)]
    pub(crate) fn plain(kind: TyKind) -> Self {
        Self {
            kind,
            name: None,
            docs: None,
        }
    }

    /// Whether a record may leave the field out.
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self.kind, TyKind::Option(_))
    }

    /// Whether a byte list is anywhere in values of this type.
    pub(crate) fn holds_bytes(&self) -> bool {
        match &self.kind {
            TyKind::Bytes => true,
            TyKind::Bool
            | TyKind::Int(_)
            | TyKind::F32
            | TyKind::F64
            | TyKind::Char
            | TyKind::String
            | TyKind::Enum(_)
            | TyKind::Flags(_) => false,
            TyKind::List(inner) | TyKind::Option(inner) => inner.holds_bytes(),
            TyKind::Record(fields) => fields.iter().any(|field| field.ty.holds_bytes()),
            TyKind::Tuple(elements) => elements.iter().any(Self::holds_bytes),
            TyKind::Variant(cases) => cases
                .iter()
                .any(|case| case.payload.as_ref().is_some_and(Self::holds_bytes)),
            TyKind::Result { ok, err } => ok.iter().chain(err).any(|ty| ty.holds_bytes()),
        }
    }

    /// What messages call a value of this type, with its article.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            TyKind::Bool => "a boolean".to_owned(),
            TyKind::Int(int) => {
                let (least, most) = int.bounds();
                format!("an integer from {least} to {most}")
            }
            TyKind::F32 | TyKind::F64 => "a number".to_owned(),
            TyKind::Char => "a string of one character".to_owned(),
            TyKind::String => "a string".to_owned(),
            TyKind::Bytes => "bytes as a base64 string".to_owned(),
            TyKind::List(element) => format!("a list of {}", element.describe_many()),
            TyKind::Record(_) | TyKind::Variant(_) => match &self.name {
                Some(name) => format!("an object (`{name}`)"),
                None => "an object".to_owned(),
            },
            TyKind::Tuple(elements) => format!("a list of exactly {} values", elements.len()),
            TyKind::Enum(cases) => format!("one of {}", names(cases)),
            TyKind::Option(some) => format!("{} or null", some.describe()),
            TyKind::Result { .. } => "an object with `ok` or `err`".to_owned(),
            TyKind::Flags(flags) => format!("a list of names out of {}", names(flags)),
        }
    }

    fn describe_many(&self) -> String {
        match &self.kind {
            TyKind::Bool => "booleans".to_owned(),
            TyKind::Int(_) => "integers".to_owned(),
            TyKind::F32 | TyKind::F64 => "numbers".to_owned(),
            TyKind::Char => "characters".to_owned(),
            TyKind::String => "strings".to_owned(),
            TyKind::Bytes => "base64 strings".to_owned(),
            TyKind::List(element) => format!("lists of {}", element.describe_many()),
            TyKind::Tuple(elements) => format!("lists of exactly {} values", elements.len()),
            TyKind::Record(_) | TyKind::Variant(_) | TyKind::Result { .. } => match &self.name {
                Some(name) => format!("objects (`{name}`)"),
                None => "objects".to_owned(),
            },
            TyKind::Enum(_) => "names".to_owned(),
            TyKind::Flags(_) => "lists of names".to_owned(),
            TyKind::Option(some) => format!("{} or nulls", some.describe_many()),
        }
    }

    /// Host bytes that a result of this type may take for each byte of its JSON.
    ///
    /// Only lists multiply: an element takes one dynamic value but as little as two bytes of JSON
    /// (`0,`), and three bytes of a byte list take four.
    pub(crate) fn expansion(&self) -> u64 {
        let value_bytes = crate::budget::VALUE_BYTES as u64;
        match &self.kind {
            TyKind::Bool
            | TyKind::Int(_)
            | TyKind::F32
            | TyKind::F64
            | TyKind::Char
            | TyKind::String
            | TyKind::Enum(_)
            | TyKind::Flags(_) => 1,
            TyKind::Bytes => value_bytes.saturating_mul(3) / 4,
            TyKind::List(element) => element.expansion().max(value_bytes / 2),
            TyKind::Option(some) => some.expansion(),
            TyKind::Record(fields) => max_of(fields.iter().map(|field| &field.ty)),
            TyKind::Tuple(elements) => max_of(elements.iter()),
            TyKind::Variant(cases) => max_of(cases.iter().filter_map(|case| case.payload.as_ref())),
            TyKind::Result { ok, err } => max_of(ok.iter().chain(err).map(AsRef::as_ref)),
        }
    }
}

fn max_of<'a>(types: impl Iterator<Item = &'a Ty>) -> u64 {
    types.map(Ty::expansion).max().unwrap_or(1)
}

/// The names in backquotes, listed; the first of them where they are many.
pub(crate) fn names(cases: &[Case]) -> String {
    listed(cases.iter().map(|case| case.json.as_str()))
}

/// As [`names`], for any names.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    let mut text = String::new();
    for (at, name) in names.take(NAMES_SHOWN_MAX).enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}`{name}`");
    }
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// Names in one message: a publisher may have thousands, and every caller's mistake would list them.
const NAMES_SHOWN_MAX: usize = 32;
