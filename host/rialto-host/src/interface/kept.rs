//! An interface as bytes, so that a service can be described without its compiled code.
//!
//! What follows from the types (schemas, the parameter of raw bodies) is made again when it is read: only
//! the types and their documentation are kept. Whether bytes may be trusted is for the cache to say.

use serde::{Deserialize, Serialize};

use super::walk::method;
use super::{Interface, Signature};

/// The layout's version: another one is not read.
const LAYOUT: u8 = 1;

#[derive(Serialize)]
struct Written<'a> {
    layout: u8,
    name: &'a str,
    docs: Option<&'a str>,
    methods: Vec<(&'a str, Option<&'a str>, &'a Signature)>,
}

#[derive(Deserialize)]
struct Read {
    layout: u8,
    name: String,
    docs: Option<String>,
    methods: Vec<(String, Option<String>, Signature)>,
}

/// The interface as bytes.
pub(crate) fn to_bytes(interface: &Interface) -> Result<Vec<u8>, postcard::Error> {
    let methods = interface.methods.iter();
    postcard::to_allocvec(&Written {
        layout: LAYOUT,
        name: &interface.name,
        docs: interface.docs.as_deref(),
        methods: methods
            .map(|it| (it.name.as_str(), it.docs.as_deref(), &*it.signature))
            .collect(),
    })
}

/// The interface in bytes of [`to_bytes`]; none if an older version wrote them.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Interface> {
    let read: Read = postcard::from_bytes(bytes).ok()?;
    (read.layout == LAYOUT).then(|| Interface {
        name: read.name,
        docs: read.docs,
        methods: read
            .methods
            .into_iter()
            .map(|(name, docs, signature)| method(name, docs, signature))
            .collect(),
    })
}
