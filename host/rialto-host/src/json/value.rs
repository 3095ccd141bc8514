//! One JSON value to a value of a type.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON kinds that fit no type are all the same mistake"
)]

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;

use super::byte_list;
use super::problem::{Problem, Step, brief, kind_of, parameters, shorten};
use crate::interface::ty::{Case, Int, Named, names, same_name};
use crate::interface::{Ty, TyKind};

/// Reads a value; strict about kinds, ranges and names.
pub(crate) fn decode(ty: &Ty, value: Value) -> Result<Val, Problem> {
    match (&ty.kind, value) {
        (TyKind::Bool, Value::Bool(value)) => Ok(Val::Bool(value)),
        (TyKind::Int(int), Value::Number(number)) => integer(ty, *int, &number),
        (TyKind::Int(int), Value::String(text)) if int.is_wide() => wide_text(ty, *int, &text),
        (TyKind::F32 | TyKind::F64, Value::Number(number)) => float(ty, &number),
        (TyKind::Char, Value::String(text)) => character(ty, &text),
        (TyKind::String, Value::String(text)) => Ok(Val::String(text)),
        (TyKind::Bytes, value) => byte_string(ty, value).map(|bytes| byte_list(&bytes)),
        (TyKind::List(element), Value::Array(items)) => {
            let decoded = items
                .into_iter()
                .enumerate()
                .map(|(at, item)| decode(element, item).map_err(|p| p.in_list(ty, at)));
            decoded.collect::<Result<_, _>>().map(Val::List)
        }
        (TyKind::Tuple(elements), Value::Array(items)) => tuple(ty, elements, items),
        (TyKind::Record(fields), Value::Object(object)) => record(fields, object),
        (TyKind::Enum(cases), Value::String(text)) => {
            Ok(Val::Enum(case(ty, cases, &text)?.wit.clone()))
        }
        (TyKind::Flags(flags), Value::Array(items)) => set_of_flags(ty, flags, items),
        (TyKind::Variant(cases), value) => variant(ty, cases, value),
        (TyKind::Option(_), Value::Null) => Ok(Val::Option(None)),
        (TyKind::Option(some), value) => {
            let value = if some.is_optional() {
                only_entry(ty, value, &["some"])?.1
            } else {
                value
            };
            Ok(Val::Option(Some(Box::new(decode(some, value)?))))
        }
        (TyKind::Result { ok, err }, value) => {
            let (name, value) = only_entry(ty, value, &["ok", "err"])?;
            let side = if name == "ok" { ok } else { err };
            let inside = payload(side.as_deref(), value).map_err(|p| p.under(&name))?;
            Ok(Val::Result(if name == "ok" {
                Ok(inside)
            } else {
                Err(inside)
            }))
        }
        (_, other) => Err(Problem::kind(ty, kind_of(&other))),
    }
}

fn integer(ty: &Ty, int: Int, number: &Number) -> Result<Val, Problem> {
    let exact = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
        .or_else(|| integral(number.as_f64()?));
    exact
        .and_then(|value| int_val(int, value))
        .ok_or_else(|| out_of_range(ty, &number.to_string()))
}

/// The integer that a number such as `3.0` or `1e3` is, if doubles hold it exactly.
fn integral(value: f64) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    if value.fract() != 0.0 || value.abs() > EXACT_MAX {
        return None;
    }
    // Exact by the check above, and safe where a cast would not be: the text has no fraction.
    format!("{value:.0}").parse().ok()
}

fn wide_text(ty: &Ty, int: Int, text: &str) -> Result<Val, Problem> {
    let parsed: Option<i128> = text.parse().ok();
    parsed
        .and_then(|value| int_val(int, value))
        .ok_or_else(|| out_of_range(ty, &format!("{:?}", shorten(text))))
}

fn out_of_range(ty: &Ty, found: &str) -> Problem {
    Problem::value(format!("expected {}, found {found}", ty.describe()))
}

fn int_val(int: Int, value: i128) -> Option<Val> {
    Some(match int {
        Int::S8 => Val::S8(value.try_into().ok()?),
        Int::U8 => Val::U8(value.try_into().ok()?),
        Int::S16 => Val::S16(value.try_into().ok()?),
        Int::U16 => Val::U16(value.try_into().ok()?),
        Int::S32 => Val::S32(value.try_into().ok()?),
        Int::U32 => Val::U32(value.try_into().ok()?),
        Int::S64 => Val::S64(value.try_into().ok()?),
        Int::U64 => Val::U64(value.try_into().ok()?),
    })
}

fn float(ty: &Ty, number: &Number) -> Result<Val, Problem> {
    let value = number.as_f64().filter(|value| value.is_finite());
    let value = value.ok_or_else(|| out_of_range(ty, &number.to_string()))?;
    if ty.kind == TyKind::F64 {
        return Ok(Val::Float64(value));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to the nearest f32 is meant; overflow is checked below"
    )]
    let narrow = value as f32;
    if narrow.is_finite() {
        Ok(Val::Float32(narrow))
    } else {
        Err(out_of_range(ty, &number.to_string()))
    }
}

fn character(ty: &Ty, text: &str) -> Result<Val, Problem> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Ok(Val::Char(only)),
        _ => Err(out_of_range(ty, &format!("{:?}", shorten(text)))),
    }
}

pub(crate) fn byte_string(ty: &Ty, value: Value) -> Result<Vec<u8>, Problem> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    match value {
        Value::String(text) => BASE64.decode(text.as_bytes()).map_err(|error| {
            Problem::value(format!(
                "expected {}, found other text ({error})",
                ty.describe()
            ))
        }),
        Value::Array(items) => {
            let byte = |(at, item): (usize, Value)| {
                let byte = item.as_u64().and_then(|byte| u8::try_from(byte).ok());
                byte.ok_or_else(|| {
                    Problem::value(format!(
                        "expected bytes from 0 to 255, found {} at index {at}",
                        brief(&item)
                    ))
                })
            };
            items.into_iter().enumerate().map(byte).collect()
        }
        other => Err(Problem::kind(ty, kind_of(&other))),
    }
}

fn tuple(ty: &Ty, elements: &[Ty], items: Vec<Value>) -> Result<Val, Problem> {
    if items.len() != elements.len() {
        return Err(Problem::value(format!(
            "expected {}, found {}",
            ty.describe(),
            items.len()
        )));
    }
    let decoded = elements
        .iter()
        .zip(items)
        .enumerate()
        .map(|(at, (ty, item))| {
            decode(ty, item).map_err(|mut problem| {
                problem.of_kind = None;
                problem.path.push(Step::Index(at));
                problem
            })
        });
    decoded.collect::<Result<_, _>>().map(Val::Tuple)
}

fn record(fields: &[Named], object: Map<String, Value>) -> Result<Val, Problem> {
    let mut given: Vec<Option<Val>> = fields.iter().map(|_| None).collect();
    for (name, value) in object {
        let slot = fields
            .iter()
            .zip(&mut given)
            .find(|(field, _)| same_name(&field.json, &name));
        let Some((field, slot)) = slot else {
            let text = format!("unknown field; known are {}", parameters(fields));
            return Err(Problem::value(text).under(shorten(&name)));
        };
        if slot.is_some() {
            return Err(Problem::value("given twice".to_owned()).under(&field.json));
        }
        *slot = Some(decode(&field.ty, value).map_err(|p| p.under(&field.json))?);
    }
    let complete = fields.iter().zip(given).map(|(field, value)| {
        let value = match value {
            Some(value) => value,
            None if field.ty.is_optional() => Val::Option(None),
            None => return Err(Problem::missing(&field.ty).under(&field.json)),
        };
        Ok((field.wit.clone(), value))
    });
    complete.collect::<Result<_, _>>().map(Val::Record)
}

fn set_of_flags(ty: &Ty, flags: &[Case], items: Vec<Value>) -> Result<Val, Problem> {
    let mut set = Vec::with_capacity(items.len().min(flags.len()));
    for (at, item) in items.into_iter().enumerate() {
        let Value::String(text) = item else {
            return Err(Problem::kind(ty, kind_of(&item)).in_list(ty, at));
        };
        let flag = case(ty, flags, &text)?;
        if !set.contains(&flag.wit) {
            set.push(flag.wit.clone());
        }
    }
    Ok(Val::Flags(set))
}

fn variant(ty: &Ty, cases: &[Case], value: Value) -> Result<Val, Problem> {
    let (name, inside) = match value {
        Value::String(name) => (name, None),
        Value::Object(object) if object.len() == 1 => object
            .into_iter()
            .next()
            .map(|(name, inside)| (name, Some(inside)))
            .unwrap_or_default(),
        Value::Object(_) => {
            let text = format!("expected an object with exactly one of {}", names(cases));
            return Err(Problem::value(text));
        }
        other => {
            let text = format!(
                "expected one of {}, found {}",
                names(cases),
                kind_of(&other)
            );
            return Err(Problem::value(text));
        }
    };
    let case = case(ty, cases, &name)?;
    let inside = match (&case.payload, inside) {
        (Some(payload), None) => {
            return Err(Problem::value(format!(
                "`{}` needs a value: {{\"{}\": {}}}",
                case.json,
                case.json,
                payload.describe()
            )));
        }
        (payload_ty, inside) => {
            let value = inside.unwrap_or(Value::Null);
            payload(payload_ty.as_ref(), value).map_err(|p| p.under(&case.json))?
        }
    };
    Ok(Val::Variant(case.wit.clone(), inside))
}

fn payload(ty: Option<&Ty>, value: Value) -> Result<Option<Box<Val>>, Problem> {
    match (ty, value) {
        (Some(ty), value) => Ok(Some(Box::new(decode(ty, value)?))),
        (None, Value::Null) => Ok(None),
        (None, other) => Err(Problem::value(format!(
            "expected null, found {}",
            kind_of(&other)
        ))),
    }
}

fn case<'a>(ty: &Ty, cases: &'a [Case], name: &str) -> Result<&'a Case, Problem> {
    let found = cases.iter().find(|case| same_name(&case.json, name));
    found.ok_or_else(|| {
        let expected = match ty.kind {
            TyKind::Variant(_) => format!("one of {}", names(cases)),
            _ => ty.describe(),
        };
        Problem::value(format!("expected {expected}, found {:?}", shorten(name)))
    })
}

/// The entry of an object that must have exactly one, out of `known`.
fn only_entry(ty: &Ty, value: Value, known: &[&str]) -> Result<(String, Value), Problem> {
    let found = kind_of(&value);
    let entry = match value {
        Value::Object(object) if object.len() == 1 => object.into_iter().next(),
        _ => None,
    };
    entry
        .filter(|(name, _)| known.contains(&name.as_str()))
        .ok_or_else(|| {
            let wanted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            let one = wanted.join(" or ");
            Problem::kind(ty, format!("{found} without exactly one of {one}"))
        })
}
