//! A service's interface: methods, types, JSON Schemas and documentation, walked from the component.
//!
//! The component's own type is the truth; doc comments come from the WIT text that the SDK embeds and
//! change nothing else. A method may return a stream: a resource of the component's own with the one
//! method `next` ([`stream`]). Other resources, and the component model's streams and futures, are
//! refused here, at load.

pub(crate) mod docs;
mod http;
mod kept;
pub(crate) mod schema;
mod stream;
pub(crate) mod ty;
mod walk;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use kept::{from_bytes, to_bytes};
pub(crate) use stream::{Refusal, Stream};
pub(crate) use ty::{Ty, TyKind};
pub(crate) use walk::{Export, Walked, imported, walk};

/// What a service offers.
#[derive(Debug, Clone)]
pub struct Interface {
    /// The exported WIT interface, for example `rialto:filetype/api@0.1.0`; the world's functions
    /// have the name `root`.
    pub name: String,
    /// The interface's doc comment.
    pub docs: Option<String>,
    /// The methods, in the component's order.
    pub methods: Vec<Method>,
}

/// One exported function.
#[derive(Debug, Clone)]
pub struct Method {
    /// The name in snake_case, as in URLs.
    pub name: String,
    /// The function's doc comment.
    pub docs: Option<String>,
    /// The parameters, in order.
    pub params: Vec<Param>,
    /// The JSON Schema (2020-12) of the answer; of a `result`, its ok part; of a stream, the list of all
    /// its items.
    pub result_schema: Value,
    /// Whether the answer comes item by item.
    pub streams: bool,
    /// The JSON Schema of a refusal, for methods that return a `result`.
    pub error_schema: Option<Value>,
    /// The parameter that raw bodies fill: the only `list<u8>`, all others being optional.
    pub raw_bytes_param: Option<String>,
    pub(crate) signature: Arc<Signature>,
}

/// One parameter of a [`Method`].
#[derive(Debug, Clone)]
pub struct Param {
    /// The name in snake_case, as in JSON.
    pub name: String,
    /// What is known of the parameter: its type's doc comment.
    pub docs: Option<String>,
    /// The JSON Schema (2020-12).
    pub schema: Value,
    /// Whether it may be left out.
    pub optional: bool,
}

/// What a call needs of a method.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// Names in snake_case with their types, in order.
    pub(crate) params: Vec<ty::Named>,
    pub(crate) returns: Returns,
    /// Whether it is a handler of `wasi:http` and not a function of these types.
    pub(crate) is_handler: bool,
}

/// What a method returns.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Returns {
    Nothing,
    Value(Ty),
    Result { ok: Option<Ty>, err: Option<Ty> },
    Stream(Box<Stream>),
}

impl Signature {
    /// The stream that the method returns, if it returns one.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match &self.returns {
            Returns::Stream(stream) => Some(stream),
            Returns::Nothing | Returns::Value(_) | Returns::Result { .. } => None,
        }
    }
}

impl Interface {
    /// The method of this name, in snake_case or kebab-case.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods
            .iter()
            .find(|method| ty::same_name(&method.name, name))
    }

    /// The same with its place in the order.
    pub(crate) fn place(&self, name: &str) -> Option<(usize, &Method)> {
        let mut methods = self.methods.iter().enumerate();
        methods.find(|(_, method)| ty::same_name(&method.name, name))
    }

    /// The methods' names, for messages.
    pub(crate) fn method_names(&self) -> String {
        ty::listed(self.methods.iter().map(|method| method.name.as_str()))
    }
}
