//! JSON to values and back, by type.
//!
//! Decoding is strict and names what is wrong and where; encoding is bounded in size. The mapping is the
//! table in the crate's documentation.

mod decode;
mod encode;
mod problem;
mod value;

use bytes::Bytes;
use wasmtime::component::Val;

use crate::budget::VALUE_BYTES;
use crate::buffers::Buffers;
use crate::interface::ty::Named;
use crate::interface::{Ty, TyKind};

pub(crate) use decode::{decode_params, decode_parts, decode_raw};
pub(crate) use encode::{EncodeError, encode, encode_payload};

/// A checked argument. Whole byte lists stay compact until the call runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arg {
    Val(Val),
    Bytes(Bytes),
}

impl Arg {
    /// The value that the guest gets.
    pub(crate) fn into_val(self, buffers: &Buffers) -> Val {
        match self {
            Self::Val(val) => val,
            Self::Bytes(bytes) => buffers.byte_list(&bytes),
        }
    }

    /// Host memory held now, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        match self {
            Self::Val(val) => weight(val),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Host memory that [`Self::into_val`] adds, in bytes.
    pub(crate) fn expansion_bytes(&self) -> u64 {
        match self {
            Self::Val(_) => 0,
            Self::Bytes(bytes) => (bytes.len() as u64).saturating_mul(VALUE_BYTES as u64),
        }
    }
}

/// Reads one value of a type.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn decode_value(ty: &Ty, json: &[u8]) -> Result<Val, String> {
    let value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    value::decode(ty, value).map_err(|problem| problem.at("").to_string())
}

/// An upper bound of the host memory that [`decode_value`] takes at any time, in bytes.
pub(crate) fn value_cost(ty: &Ty, json: &[u8]) -> u64 {
    cost(ty.holds_bytes(), json)
}

/// An upper bound of the host memory that decoding `json` takes at any time, in bytes.
pub(crate) fn decode_cost(params: &[Named], json: &[u8]) -> u64 {
    // Byte lists that are a whole parameter stay as they are.
    let expanded = params
        .iter()
        .any(|param| param.ty.kind != TyKind::Bytes && param.ty.holds_bytes());
    cost(expanded, json)
}

fn cost(expanded: bool, json: &[u8]) -> u64 {
    /// A parsed JSON value, a dynamic value and their share of growing vectors.
    const PER_VALUE: u64 = 3 * VALUE_BYTES as u64;
    let values = json
        .iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':'))
        .count() as u64;
    // Text is copied at most twice, but in a byte list inside a value each byte becomes a value.
    let per_byte = if expanded { 3 + VALUE_BYTES as u64 } else { 3 };
    values
        .saturating_mul(PER_VALUE)
        .saturating_add((json.len() as u64).saturating_mul(per_byte))
}

fn byte_list(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().map(|&byte| Val::U8(byte)).collect())
}

/// Host memory of a value, in bytes.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other kind of value owns nothing"
)]
fn weight(val: &Val) -> u64 {
    let own = VALUE_BYTES as u64;
    let inside = match val {
        Val::String(text) | Val::Enum(text) => text.len() as u64,
        Val::List(items) | Val::Tuple(items) => items.iter().map(weight).sum(),
        Val::Record(fields) => fields
            .iter()
            .map(|(name, val)| name.len() as u64 + weight(val))
            .sum(),
        Val::Variant(name, payload) => name.len() as u64 + payload.as_deref().map_or(0, weight),
        Val::Option(payload) => payload.as_deref().map_or(0, weight),
        Val::Result(Ok(payload) | Err(payload)) => payload.as_deref().map_or(0, weight),
        Val::Flags(names) => names.iter().map(|name| own + name.len() as u64).sum(),
        _ => 0,
    };
    own.saturating_add(inside)
}

#[cfg(test)]
mod tests;
