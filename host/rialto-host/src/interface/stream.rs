//! Streams: what a method returns whose answer comes item by item.
//!
//! In WIT a stream is a resource that the component itself exports, with one method and nothing else:
//! `next: func() -> option<t>`, or `func() -> result<option<t>, e>`. The method returns it as it is or as
//! the ok part of a `result`. The host asks for one item after the other until there is none: a guest
//! that nobody asks does nothing, and one that nobody wants any more is dropped.

use serde::{Deserialize, Serialize};
use wasmtime::component::ComponentExportIndex;
use wasmtime::component::types::{ComponentFunc, ResourceType};

use super::ty::{Ty, TyKind};

/// What a call needs of a stream.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// What an item is.
    pub(crate) item: Ty,
    /// How the method itself may refuse.
    pub(crate) opening: Refusal,
    /// How `next` may refuse.
    pub(crate) pulling: Refusal,
}

/// Whether a function may refuse, and with what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It returns no `result`.
    Never,
    /// With a value of this type, or without one.
    With(Option<Ty>),
}

impl Refusal {
    /// The type of its value, if it has one.
    pub(crate) fn ty(&self) -> Option<&Ty> {
        match self {
            Self::Never | Self::With(None) => None,
            Self::With(Some(ty)) => Some(ty),
        }
    }
}

/// A resource of an interface.
pub(super) struct Resource<P = ComponentExportIndex> {
    pub(super) name: String,
    pub(super) ty: ResourceType,
    /// Its method `next`, and its place where the component exports it.
    pub(super) next: Option<(ComponentFunc, P)>,
    /// Another function of the resource: then it is no stream.
    pub(super) other: Option<String>,
}

impl<P> Resource<P> {
    /// Takes over the resource's functions out of all exported ones.
    pub(super) fn new(
        name: &str,
        ty: ResourceType,
        functions: &mut Vec<(String, ComponentFunc, P)>,
    ) -> Self {
        let mut resource = Self {
            name: name.to_owned(),
            ty,
            next: None,
            other: None,
        };
        let next = format!("[method]{name}.next");
        for (function_name, function, place) in std::mem::take(functions) {
            if function_name == next {
                resource.next = Some((function, place));
            } else if is_of(&function_name, name) {
                resource.other = Some(function_name);
            } else {
                functions.push((function_name, function, place));
            }
        }
        resource
    }

    /// The name of its method, as documentation has it.
    pub(super) fn next_name(&self) -> String {
        format!("[method]{}.next", self.name)
    }

    /// Why it is no stream.
    pub(super) fn not_a_stream(&self, problem: &str) -> String {
        format!(
            "the resource `{}` cannot be served: {problem}; a stream is a resource with the one method \
             `next: func() -> option<t>` or `func() -> result<option<t>, e>`, and other resources become \
             plain values",
            self.name
        )
    }
}

/// Whether a function belongs to this resource: `[static]name.f`, `[constructor]name`.
fn is_of(function: &str, resource: &str) -> bool {
    let Some((_, path)) = function
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    else {
        return false;
    };
    path.split('.').next() == Some(resource)
}

/// Takes what `next` returns apart: the item, and how it may refuse.
pub(super) fn parts(returned: Ty) -> Option<(Ty, Refusal)> {
    fn item(ty: Ty) -> Option<Ty> {
        if let TyKind::Option(item) = ty.kind {
            return Some(*item);
        }
        None
    }
    if let TyKind::Result { ok, err } = returned.kind {
        let refusal = Refusal::With(err.map(|err| *err));
        return Some((item(*ok?)?, refusal));
    }
    Some((item(returned)?, Refusal::Never))
}
