//! Types: a Rust type as the author wrote it to WIT source text.
//!
//! Works on syntax alone (a macro sees no resolved types), so a type must be written by its own
//! name: `Vec<u8>`, not an alias of it.

use std::collections::BTreeMap;

use quote::ToTokens;
use syn::{Error, GenericArgument, PathArguments, Result, ReturnType, Type, TypePath};

use crate::names::escape;

/// The author's own types: Rust name to WIT name.
pub(crate) type Known = BTreeMap<String, String>;

/// Where a type stands, for the error text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A parameter of a function.
    Parameter,
    /// The result of a function.
    Returned,
    /// A field of a struct or the payload of an enum case.
    Member,
}

/// The WIT text of `ty`.
pub(crate) fn wit(ty: &Type, known: &Known, place: Place) -> Result<String> {
    match ty {
        Type::Path(path) => named(path, known, place),
        Type::Tuple(tuple) if tuple.elems.is_empty() => Err(Error::new_spanned(
            ty,
            "`()` has no WIT type here: it may only be returned, or stand in a `Result`",
        )),
        Type::Tuple(tuple) => {
            let parts = all(tuple.elems.iter(), known, place)?;
            Ok(format!("tuple<{}>", parts.join(", ")))
        }
        Type::Paren(inner) => wit(&inner.elem, known, place),
        Type::Group(inner) => wit(&inner.elem, known, place),
        Type::Reference(reference) => Err(reference_error(ty, &reference.elem, place)),
        Type::Array(array) => Err(unsupported(ty, &instead_list(&array.elem))),
        Type::Slice(slice) => Err(unsupported(ty, &instead_list(&slice.elem))),
        Type::ImplTrait(_) | Type::TraitObject(_) => Err(unsupported(ty, "name one concrete type")),
        other => Err(unsupported(other, "use a plain value type")),
    }
}

/// What a function returns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Returned {
    /// The WIT text after `->`; none for a function that returns nothing.
    pub(crate) result: Option<String>,
    /// For a function that streams, what its items' `next` returns.
    pub(crate) next: Option<String>,
}

/// What a function returns, whose stream would be named `items`.
pub(crate) fn returned(output: &ReturnType, known: &Known, items: &str) -> Result<Returned> {
    let ty = match output {
        ReturnType::Default => return Ok(Returned::default()),
        ReturnType::Type(_, ty) if is_unit(ty) => return Ok(Returned::default()),
        ReturnType::Type(_, ty) => ty,
    };
    let Some(Streamed { item, error }) = streamed(output) else {
        return Ok(Returned {
            result: Some(wit(ty, known, Place::Returned)?),
            next: None,
        });
    };
    let items = escape(items);
    let optional = |item: &Type| {
        let item = wit(item, known, Place::Returned)?;
        Result::Ok(format!("option<{item}>"))
    };
    let next = match result_of(item) {
        None => optional(item)?,
        Some((item, refusal)) => result_text(Some(optional(item)?), refusal, known)?,
    };
    let result = match error {
        None => items,
        Some(error) => result_text(Some(items), error, known)?,
    };
    Ok(Returned {
        result: Some(result),
        next: Some(next),
    })
}

/// A stream that a function returns.
#[derive(Clone, Copy)]
pub(crate) struct Streamed<'a> {
    /// What it consists of; a `Result` if making an item may fail.
    pub(crate) item: &'a Type,
    /// The other part of the `Result` that it is returned in.
    pub(crate) error: Option<&'a Type>,
}

/// The stream that is returned as it is, or as the ok part of a `Result`.
pub(crate) fn streamed(output: &ReturnType) -> Option<Streamed<'_>> {
    let ReturnType::Type(_, ty) = output else {
        return None;
    };
    let of = |ty| match generic(ty, "Stream")?.as_slice() {
        [item] => Some(*item),
        _ => None,
    };
    if let Some(item) = of(ty) {
        return Some(Streamed { item, error: None });
    }
    let (ok, error) = result_of(ty)?;
    let item = of(ok)?;
    Some(Streamed {
        item,
        error: Some(error),
    })
}

/// The two parts of a `Result`.
pub(crate) fn result_of(ty: &Type) -> Option<(&Type, &Type)> {
    match generic(ty, "Result")?.as_slice() {
        [ok, error] => Some((ok, error)),
        _ => None,
    }
}

/// The type arguments of the type of this name.
fn generic<'a>(ty: &'a Type, name: &str) -> Option<Vec<&'a Type>> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let found = last.ident == name && path.qself.is_none();
    found.then(|| arguments(&last.arguments).ok()).flatten()
}

fn named(path: &TypePath, known: &Known, place: Place) -> Result<String> {
    let last = match path.path.segments.last() {
        Some(last) if path.qself.is_none() => last,
        _ => return Err(unsupported(path, "use a plain value type")),
    };
    let name = last.ident.to_string();
    let arguments = arguments(&last.arguments)?;
    match (name.as_str(), arguments.as_slice()) {
        ("Vec", [item]) => Ok(format!("list<{}>", wit(item, known, place)?)),
        ("Option", [item]) => Ok(format!("option<{}>", wit(item, known, place)?)),
        ("Result", [ok, error]) => result(ok, error, known, place),
        ("Result", [_]) => Err(unsupported(
            path,
            "write both types, `Result<T, E>`: an alias hides the error's type",
        )),
        ("Stream", [_]) => Err(unsupported(
            path,
            "a stream can only be returned by a function, as it is or as `Result<Stream<T>, E>`",
        )),
        ("Box" | "Rc" | "Arc", _) => Err(unsupported(path, "use the value itself")),
        ("HashMap" | "BTreeMap" | "HashSet" | "BTreeSet" | "VecDeque", _) => {
            Err(unsupported(path, "use a `Vec`, of pairs for a map"))
        }
        (_, []) => scalar(&name)
            .map(str::to_owned)
            .or_else(|| known.get(&name).map(|wit_name| escape(wit_name)))
            .ok_or_else(|| unknown(path, &name)),
        _ => Err(unsupported(path, "generic types do not cross the sandbox")),
    }
}

fn result(ok: &Type, error: &Type, known: &Known, place: Place) -> Result<String> {
    let ok = part(ok, known, place)?;
    Ok(result_with(ok, part(error, known, place)?))
}

/// A `result` whose ok part is there already.
fn result_text(ok: Option<String>, error: &Type, known: &Known) -> Result<String> {
    Ok(result_with(ok, part(error, known, Place::Returned)?))
}

fn part(ty: &Type, known: &Known, place: Place) -> Result<Option<String>> {
    if is_unit(ty) {
        return Ok(None);
    }
    wit(ty, known, place).map(Some)
}

fn result_with(ok: Option<String>, error: Option<String>) -> String {
    match (ok, error) {
        (None, None) => "result".to_owned(),
        (Some(ok), None) => format!("result<{ok}>"),
        (None, Some(error)) => format!("result<_, {error}>"),
        (Some(ok), Some(error)) => format!("result<{ok}, {error}>"),
    }
}

fn all<'a>(
    types: impl Iterator<Item = &'a Type>,
    known: &Known,
    place: Place,
) -> Result<Vec<String>> {
    types.map(|ty| wit(ty, known, place)).collect()
}

fn arguments(arguments: &PathArguments) -> Result<Vec<&Type>> {
    match arguments {
        PathArguments::None => Ok(Vec::new()),
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                GenericArgument::Type(ty) => Ok(ty),
                other => Err(unsupported(other, "use types only")),
            })
            .collect(),
        PathArguments::Parenthesized(_) => {
            Err(unsupported(arguments, "functions do not cross the sandbox"))
        }
    }
}

fn scalar(name: &str) -> Option<&'static str> {
    Some(match name {
        "bool" => "bool",
        "u8" => "u8",
        "u16" => "u16",
        "u32" => "u32",
        "u64" => "u64",
        "i8" => "s8",
        "i16" => "s16",
        "i32" => "s32",
        "i64" => "s64",
        "f32" => "f32",
        "f64" => "f64",
        "char" => "char",
        "String" => "string",
        _ => return None,
    })
}

fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

fn instead_list(item: &Type) -> String {
    format!("use `Vec<{}>`", text(item))
}

fn reference_error(ty: &Type, to: &Type, place: Place) -> Error {
    let owned = match to {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        other => text(other),
    };
    let message = match place {
        Place::Parameter => {
            format!("a service function cannot take a reference: take `{owned}`")
        }
        Place::Returned => {
            format!("a service function cannot return a reference: return `{owned}`")
        }
        Place::Member => format!("a service type cannot hold a reference: hold `{owned}`"),
    };
    Error::new_spanned(ty, message)
}

fn unknown(path: &TypePath, name: &str) -> Error {
    let hint = match name {
        "usize" => "its size differs between machines: use `u32` or `u64`".to_owned(),
        "isize" => "its size differs between machines: use `i32` or `i64`".to_owned(),
        "u128" | "i128" => "WIT has no 128-bit integers: use a decimal `String`".to_owned(),
        "str" => "use `String`".to_owned(),
        "PathBuf" | "OsString" => "a service sees no files: use `String`".to_owned(),
        _ => format!(
            "`{name}` is not a type of this service: define it in this module as a `pub struct` or `pub enum`"
        ),
    };
    unsupported(path, &hint)
}

fn unsupported(at: &impl ToTokens, hint: &str) -> Error {
    Error::new_spanned(
        at,
        format!("`{}` cannot cross the sandbox: {hint}", text(at)),
    )
}

/// Source text without the spaces that token streams print.
fn text(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (spaced, tight) in [
        (" < ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" :: ", "::"),
        ("& ", "&"),
    ] {
        text = text.replace(spaced, tight);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known::from([("Verdict".to_owned(), "verdict".to_owned())])
    }

    fn map(rust: &str) -> Result<String> {
        wit(&syn::parse_str(rust).unwrap(), &known(), Place::Parameter)
    }

    #[test]
    fn types_map() {
        for (rust, expected) in [
            ("bool", "bool"),
            ("u8", "u8"),
            ("i64", "s64"),
            ("f32", "f32"),
            ("char", "char"),
            ("String", "string"),
            ("std::string::String", "string"),
            ("Vec<u8>", "list<u8>"),
            ("Vec<Vec<f32>>", "list<list<f32>>"),
            ("Option<Verdict>", "option<verdict>"),
            ("(u32, String)", "tuple<u32, string>"),
            ("Result<Verdict, String>", "result<verdict, string>"),
            ("Result<(), String>", "result<_, string>"),
            ("Result<u8, ()>", "result<u8>"),
            ("Result<(), ()>", "result"),
        ] {
            assert_eq!(map(rust).unwrap(), expected, "{rust}");
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (rust, expected) in [
            (
                "&str",
                "a service function cannot take a reference: take `String`",
            ),
            ("&[u8]", "cannot take a reference: take `Vec<u8>`"),
            ("&Verdict", "take `Verdict`"),
            ("usize", "use `u32` or `u64`"),
            ("u128", "decimal `String`"),
            ("[f32; 3]", "use `Vec<f32>`"),
            ("HashMap<String, u8>", "of pairs for a map"),
            ("Box<Verdict>", "use the value itself"),
            ("Other", "`Other` is not a type of this service"),
            ("Page<u8>", "generic types do not cross the sandbox"),
            ("io::Result<u8>", "write both types"),
            ("impl Iterator<Item = u8>", "name one concrete type"),
            ("()", "it may only be returned"),
        ] {
            let error = map(rust).unwrap_err().to_string();
            assert!(error.contains(expected), "{rust}: {error}");
        }
    }

    #[test]
    fn nothing_returned_has_no_type() {
        let none: ReturnType = syn::parse_str("").unwrap();
        assert_eq!(returned(&none, &known(), "x").unwrap(), Returned::default());
        let unit: ReturnType = syn::parse_str("-> ()").unwrap();
        assert_eq!(returned(&unit, &known(), "x").unwrap(), Returned::default());
        let borrowed: ReturnType = syn::parse_str("-> &'static str").unwrap();
        let error = returned(&borrowed, &known(), "x").unwrap_err().to_string();
        assert!(error.contains("cannot return a reference"), "{error}");
    }

    #[test]
    fn streams_become_resources() {
        for (rust, result, next) in [
            ("-> Stream<u32>", "f-items", "option<u32>"),
            (
                "-> rialto_sdk::Stream<Option<Verdict>>",
                "f-items",
                "option<option<verdict>>",
            ),
            (
                "-> Stream<Result<u32, String>>",
                "f-items",
                "result<option<u32>, string>",
            ),
            (
                "-> Result<Stream<Vec<u8>>, Verdict>",
                "result<f-items, verdict>",
                "option<list<u8>>",
            ),
            (
                "-> Result<Stream<Result<char, ()>>, ()>",
                "result<f-items>",
                "result<option<char>>",
            ),
        ] {
            let output: ReturnType = syn::parse_str(rust).unwrap();
            let expected = Returned {
                result: Some(result.to_owned()),
                next: Some(next.to_owned()),
            };
            assert_eq!(returned(&output, &known(), "f-items").unwrap(), expected);
        }
    }
}
