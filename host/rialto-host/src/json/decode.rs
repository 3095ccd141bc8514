//! Arguments by parameter name, from a JSON object, form parts or a raw body.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other kind of type is read as JSON"
)]

use bytes::Bytes;
use serde_json::{Map, Value};
use wasmtime::component::Val;

use super::problem::{Problem, kind_of, parameters, shorten};
use super::value::{byte_string, decode};
use super::{Arg, byte_list};
use crate::error::ArgumentError;
use crate::interface::ty::{Named, same_name};
use crate::interface::{Ty, TyKind};

/// Reads a JSON object of parameters.
///
/// # Errors
/// [`ArgumentError::Syntax`] or [`ArgumentError::Type`].
pub(crate) fn decode_params(params: &[Named], json: &[u8]) -> Result<Vec<Arg>, ArgumentError> {
    let value = if json.iter().all(u8::is_ascii_whitespace) {
        Value::Object(Map::new())
    } else {
        parse(json)?
    };
    let Value::Object(object) = value else {
        let found = kind_of(&value);
        return Err(ArgumentError::Type(format!(
            "expected a JSON object with {}, found {found}",
            parameters(params)
        )));
    };
    let mut args = Args::new(params);
    for (name, value) in object {
        args.set(&name, |ty| arg(ty, value))?;
    }
    args.finish()
}

/// Reads form parts: bytes and text as they are, everything else as JSON.
///
/// # Errors
/// [`ArgumentError::Syntax`] or [`ArgumentError::Type`].
pub(crate) fn decode_parts(
    params: &[Named],
    parts: Vec<(String, Bytes)>,
) -> Result<Vec<Arg>, ArgumentError> {
    let mut args = Args::new(params);
    for (name, content) in parts {
        args.set(&name, |ty| part(ty, content))?;
    }
    args.finish()
}

/// Gives the whole body to the parameter `name` and nothing to the others.
pub(crate) fn decode_raw(
    params: &[Named],
    name: &str,
    body: Bytes,
) -> Result<Vec<Arg>, ArgumentError> {
    let mut args = Args::new(params);
    args.set(name, |_| Ok(Arg::Bytes(body)))?;
    args.finish()
}

/// Collects arguments by name.
struct Args<'a> {
    params: &'a [Named],
    given: Vec<Option<Arg>>,
}

impl<'a> Args<'a> {
    fn new(params: &'a [Named]) -> Self {
        Self {
            params,
            given: params.iter().map(|_| None).collect(),
        }
    }

    fn set(
        &mut self,
        name: &str,
        read: impl FnOnce(&Ty) -> Result<Arg, Problem>,
    ) -> Result<(), ArgumentError> {
        let slot = self
            .params
            .iter()
            .zip(&mut self.given)
            .find(|(param, _)| same_name(&param.json, name));
        let Some((param, slot)) = slot else {
            return Err(ArgumentError::Type(format!(
                "`{}`: unknown parameter; this method takes {}",
                shorten(name),
                parameters(self.params)
            )));
        };
        if slot.is_some() {
            return Err(ArgumentError::Type(format!(
                "`{}`: given twice",
                param.json
            )));
        }
        *slot = Some(read(&param.ty).map_err(|problem| problem.at(&param.json))?);
        Ok(())
    }

    fn finish(self) -> Result<Vec<Arg>, ArgumentError> {
        let filled = self.given.into_iter().zip(self.params);
        filled
            .map(|(given, param)| match given {
                Some(arg) => Ok(arg),
                None if param.ty.is_optional() => Ok(Arg::Val(Val::Option(None))),
                None => Err(Problem::missing(&param.ty).at(&param.json)),
            })
            .collect()
    }
}

fn parse(json: &[u8]) -> Result<Value, ArgumentError> {
    serde_json::from_slice(json).map_err(|error| ArgumentError::Syntax(error.to_string()))
}

fn arg(ty: &Ty, value: Value) -> Result<Arg, Problem> {
    if ty.kind == TyKind::Bytes {
        return byte_string(ty, value).map(|bytes| Arg::Bytes(bytes.into()));
    }
    decode(ty, value).map(Arg::Val)
}

fn part(ty: &Ty, content: Bytes) -> Result<Arg, Problem> {
    match &ty.kind {
        TyKind::Bytes => Ok(Arg::Bytes(content)),
        TyKind::Option(some) => {
            let inside = match part(some, content)? {
                Arg::Val(inside) => inside,
                Arg::Bytes(bytes) => byte_list(&bytes),
            };
            Ok(Arg::Val(Val::Option(Some(Box::new(inside)))))
        }
        TyKind::String | TyKind::Char | TyKind::Enum(_) => {
            let text = String::from_utf8(content.into())
                .map_err(|_| Problem::kind(ty, "bytes that are not UTF-8"))?;
            arg(ty, Value::String(text))
        }
        _ => {
            let value = serde_json::from_slice(&content)
                .map_err(|error| Problem::kind(ty, format!("a part that is not JSON ({error})")))?;
            arg(ty, value)
        }
    }
}
