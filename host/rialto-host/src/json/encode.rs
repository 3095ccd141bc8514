//! Values to JSON, bounded in size.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every pair of type and value that does not match is the same bug"
)]

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmtime::component::Val;

use crate::interface::ty::{Case, same_name};
use crate::interface::{Ty, TyKind};

/// Why a value was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// The JSON exceeds the limit.
    TooLarge,
    /// The value is not of the type: a bug of the host's.
    Mismatch,
}

/// The JSON of `val`, which has type `ty`, in at most `bytes_max` bytes.
pub(crate) fn encode(ty: &Ty, val: &Val, bytes_max: u64) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Bounded {
        out: Vec::new(),
        bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
    };
    write_value(&mut writer, ty, val)?;
    Ok(writer.out)
}

/// The JSON of a payload that may be absent, which is `null`.
pub(crate) fn encode_payload(
    ty: Option<&Ty>,
    val: Option<&Val>,
    bytes_max: u64,
) -> Result<Vec<u8>, EncodeError> {
    match (ty, val) {
        (Some(ty), Some(val)) => encode(ty, val, bytes_max),
        (None, None) => Ok(b"null".to_vec()),
        _ => Err(EncodeError::Mismatch),
    }
}

/// Refuses bytes beyond its limit before it holds them.
struct Bounded {
    out: Vec<u8>,
    bytes_max: usize,
}

impl Bounded {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if self.bytes_max.saturating_sub(self.out.len()) < bytes.len() {
            return Err(EncodeError::TooLarge);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn json(&mut self, value: &impl serde::Serialize) -> Result<(), EncodeError> {
        // The only failure of plain scalars is the limit.
        serde_json::to_writer(self, value).map_err(|_| EncodeError::TooLarge)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_value(w: &mut Bounded, ty: &Ty, val: &Val) -> Result<(), EncodeError> {
    match (&ty.kind, val) {
        (TyKind::Bool, Val::Bool(value)) => w.json(value),
        (TyKind::Int(_), _) => write_int(w, val),
        (TyKind::F32, Val::Float32(value)) if value.is_finite() => w.json(value),
        (TyKind::F64, Val::Float64(value)) if value.is_finite() => w.json(value),
        (TyKind::F32, Val::Float32(_)) | (TyKind::F64, Val::Float64(_)) => w.put(b"null"),
        (TyKind::Char, Val::Char(value)) => w.json(value),
        (TyKind::String, Val::String(text)) => w.json(text),
        (TyKind::Bytes, Val::List(items)) => write_bytes(w, items),
        (TyKind::List(element), Val::List(items)) => {
            write_sequence(w, items.iter().map(|item| (element.as_ref(), item)))
        }
        (TyKind::Tuple(elements), Val::Tuple(items)) if elements.len() == items.len() => {
            write_sequence(w, elements.iter().zip(items))
        }
        (TyKind::Record(fields), Val::Record(values)) if fields.len() == values.len() => {
            let mut separator: &[u8] = b"{";
            if fields.is_empty() {
                w.put(separator)?;
            }
            for (field, (_, value)) in fields.iter().zip(values) {
                w.put(separator)?;
                write_key(w, &field.json)?;
                write_value(w, &field.ty, value)?;
                separator = b",";
            }
            w.put(b"}")
        }
        (TyKind::Enum(cases), Val::Enum(name)) => w.json(&find(cases, name)?.json),
        (TyKind::Flags(flags), Val::Flags(set)) => {
            let mut names = Vec::with_capacity(set.len());
            for name in set {
                names.push(&find(flags, name)?.json);
            }
            w.json(&names)
        }
        (TyKind::Variant(cases), Val::Variant(name, payload)) => {
            let case = find(cases, name)?;
            match (&case.payload, payload) {
                (None, None) => w.json(&case.json),
                (Some(ty), Some(value)) => write_wrapped(w, &case.json, Some((ty, value))),
                _ => Err(EncodeError::Mismatch),
            }
        }
        (TyKind::Option(_), Val::Option(None)) => w.put(b"null"),
        (TyKind::Option(some), Val::Option(Some(value))) if some.is_optional() => {
            write_wrapped(w, "some", Some((some, value)))
        }
        (TyKind::Option(some), Val::Option(Some(value))) => write_value(w, some, value),
        (TyKind::Result { ok, .. }, Val::Result(Ok(value))) => {
            write_wrapped(w, "ok", ok.as_deref().zip(value.as_deref()))
        }
        (TyKind::Result { err, .. }, Val::Result(Err(value))) => {
            write_wrapped(w, "err", err.as_deref().zip(value.as_deref()))
        }
        _ => Err(EncodeError::Mismatch),
    }
}

fn write_int(w: &mut Bounded, val: &Val) -> Result<(), EncodeError> {
    /// The largest integer that JavaScript's numbers hold exactly: 2^53 - 1.
    const EXACT_MAX: u64 = 9_007_199_254_740_991;
    match val {
        Val::S8(value) => w.json(value),
        Val::U8(value) => w.json(value),
        Val::S16(value) => w.json(value),
        Val::U16(value) => w.json(value),
        Val::S32(value) => w.json(value),
        Val::U32(value) => w.json(value),
        Val::S64(value) if value.unsigned_abs() > EXACT_MAX => w.json(&value.to_string()),
        Val::S64(value) => w.json(value),
        Val::U64(value) if *value > EXACT_MAX => w.json(&value.to_string()),
        Val::U64(value) => w.json(value),
        _ => Err(EncodeError::Mismatch),
    }
}

fn write_bytes(w: &mut Bounded, items: &[Val]) -> Result<(), EncodeError> {
    let bytes: Vec<u8> = items
        .iter()
        .map(|item| match item {
            Val::U8(byte) => Ok(*byte),
            _ => Err(EncodeError::Mismatch),
        })
        .collect::<Result<_, _>>()?;
    w.put(b"\"")?;
    w.put(STANDARD.encode(bytes).as_bytes())?;
    w.put(b"\"")
}

fn write_sequence<'a>(
    w: &mut Bounded,
    items: impl Iterator<Item = (&'a Ty, &'a Val)>,
) -> Result<(), EncodeError> {
    w.put(b"[")?;
    for (at, (ty, item)) in items.enumerate() {
        if at > 0 {
            w.put(b",")?;
        }
        write_value(w, ty, item)?;
    }
    w.put(b"]")
}

/// `{"name": payload}`, with null for none.
fn write_wrapped(
    w: &mut Bounded,
    name: &str,
    payload: Option<(&Ty, &Val)>,
) -> Result<(), EncodeError> {
    w.put(b"{")?;
    write_key(w, name)?;
    match payload {
        Some((ty, value)) => write_value(w, ty, value)?,
        None => w.put(b"null")?,
    }
    w.put(b"}")
}

/// A WIT name needs no escapes.
fn write_key(w: &mut Bounded, name: &str) -> Result<(), EncodeError> {
    w.put(b"\"")?;
    w.put(name.as_bytes())?;
    w.put(b"\":")
}

fn find<'a>(cases: &'a [Case], wit: &str) -> Result<&'a Case, EncodeError> {
    cases
        .iter()
        .find(|case| same_name(&case.wit, wit))
        .ok_or(EncodeError::Mismatch)
}
