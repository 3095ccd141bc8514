//! What fuzz targets call: the decoders of this crate that read what a caller or a publisher sent,
//! each with the properties that must hold for all they accept. A broken property panics.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: the text form
//! of components (the caller brings the decoder) and the loop that makes inputs (`fuzz/`).

use std::sync::LazyLock;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::buffers::Buffers;
use crate::engine::{Config, engine_config};
use crate::interface::ty::{Case, Int, Named};
use crate::interface::{Interface, Ty, TyKind, walk};
use crate::json::{Arg, decode_cost, decode_params, encode};

/// JSON for a parameter whose type the first bytes describe: a value takes no more memory than was
/// reserved for it, is of its type, and is the same when it was written and read again.
pub fn json_values(data: &[u8]) {
    let mut shape = Shape(data);
    let ty = shape.next(TYPES_DEEP_MAX);
    let json = shape.0;
    let exact = !holds_floats(&ty);
    let params = [named("it", ty)];
    let Ok(args) = decode_params(&params, json) else {
        return;
    };
    let held: u64 = args.iter().map(Arg::held_bytes).sum();
    assert!(held <= decode_cost(&params, json).saturating_add(64));
    let text = written(&params, args);
    let body = [b"{\"it\":", text.as_slice(), b"}"].concat();
    match decode_params(&params, &body) {
        // A double of more than 15 digits may be read one unit in the last place off.
        Ok(again) if exact => assert_eq!(written(&params, again), text),
        Ok(_) => {}
        Err(error) => panic!("what was written is refused: {error}"),
    }
}

/// A component, or its text if `assemble` can read it: an interface within its bounds, or a refusal.
pub fn component(data: &[u8], assemble: impl Fn(&str) -> Option<Vec<u8>>) {
    let text = std::str::from_utf8(data).ok();
    let bytes = match text.filter(|text| text.starts_with('(')) {
        Some(text) => assemble(text).unwrap_or_default(),
        None => data.to_vec(),
    };
    let Ok(component) = Component::from_binary(&ENGINE, &bytes) else {
        return;
    };
    if let Ok(walked) = walk(&ENGINE, &component, &bytes) {
        bounded(&walked.interface);
    }
}

fn bounded(interface: &Interface) {
    assert!(!interface.methods.is_empty());
    let mut bytes = 0;
    for method in &interface.methods {
        assert!(!method.name.is_empty() && !method.name.contains('-'));
        assert!(interface.method(&method.name).is_some());
        let schemas = method.params.iter().map(|param| &param.schema);
        let answers = [Some(&method.result_schema), method.error_schema.as_ref()];
        for schema in schemas.chain(answers.into_iter().flatten()) {
            bytes += schema.to_string().len();
        }
        if let Some(raw) = &method.raw_bytes_param {
            assert!(method.params.iter().any(|param| param.name == *raw));
        }
    }
    assert!(bytes <= SCHEMA_BYTES_MAX, "{bytes} bytes of schemas");
}

fn written(params: &[Named], args: Vec<Arg>) -> Vec<u8> {
    let buffers = Buffers::default();
    let values = args.into_iter().map(|arg| arg.into_val(&buffers));
    let texts = params
        .iter()
        .zip(values)
        .map(|(param, value)| encode(&param.ty, &value, u64::MAX));
    match texts.collect::<Result<Vec<_>, _>>() {
        Ok(texts) => texts.concat(),
        Err(error) => panic!("what was read is not of its type: {error:?}"),
    }
}

/// Bytes that describe a type, and what follows them.
struct Shape<'a>(&'a [u8]);

impl Shape<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn next(&mut self, deep: usize) -> Ty {
        let kind = self.byte();
        if deep == 0 {
            return plain(Self::scalar(kind));
        }
        let inner = deep - 1;
        plain(match kind % 20 {
            12 => TyKind::List(Box::new(self.element(inner))),
            13 => TyKind::Option(Box::new(self.next(inner))),
            14 => TyKind::Tuple(vec![self.next(inner), self.next(inner)]),
            15 => TyKind::Record(vec![
                named("first", self.next(inner)),
                named("the-second", self.next(inner)),
            ]),
            16 => TyKind::Variant(vec![
                case("no-thing", None),
                case("some-thing", Some(self.next(inner))),
            ]),
            17 => TyKind::Result {
                ok: Some(Box::new(self.next(inner))),
                err: None,
            },
            18 => TyKind::Enum(vec![case("red", None), case("light-blue", None)]),
            19 => TyKind::Flags(vec![case("read", None), case("write-all", None)]),
            _ => Self::scalar(kind),
        })
    }

    /// A list's element: a list of bytes is a type of its own.
    fn element(&mut self, deep: usize) -> Ty {
        let ty = self.next(deep);
        if ty.kind == TyKind::Int(Int::U8) {
            return plain(TyKind::Int(Int::U16));
        }
        ty
    }

    fn scalar(kind: u8) -> TyKind {
        match kind % 12 {
            0 => TyKind::String,
            1 => TyKind::Bytes,
            2 => TyKind::Int(Int::U64),
            3 => TyKind::Int(Int::S64),
            4 => TyKind::Int(Int::U32),
            5 => TyKind::Int(Int::S32),
            6 => TyKind::Int(Int::U8),
            7 => TyKind::Int(Int::S8),
            8 => TyKind::F32,
            9 => TyKind::F64,
            10 => TyKind::Char,
            _ => TyKind::Bool,
        }
    }
}

fn plain(kind: TyKind) -> Ty {
    Ty {
        kind,
        name: None,
        docs: None,
    }
}

fn named(wit: &str, ty: Ty) -> Named {
    Named {
        json: wit.replace('-', "_"),
        wit: wit.to_owned(),
        docs: None,
        ty,
    }
}

fn case(wit: &str, payload: Option<Ty>) -> Case {
    Case {
        json: wit.replace('-', "_"),
        wit: wit.to_owned(),
        docs: None,
        payload,
    }
}

fn holds_floats(ty: &Ty) -> bool {
    match &ty.kind {
        TyKind::F32 | TyKind::F64 => true,
        TyKind::Bool
        | TyKind::Int(_)
        | TyKind::Char
        | TyKind::String
        | TyKind::Bytes
        | TyKind::Enum(_)
        | TyKind::Flags(_) => false,
        TyKind::List(inner) | TyKind::Option(inner) => holds_floats(inner),
        TyKind::Record(fields) => fields.iter().any(|field| holds_floats(&field.ty)),
        TyKind::Tuple(elements) => elements.iter().any(holds_floats),
        TyKind::Variant(cases) => cases
            .iter()
            .any(|case| case.payload.as_ref().is_some_and(holds_floats)),
        TyKind::Result { ok, err } => ok.iter().chain(err).any(|ty| holds_floats(ty)),
    }
}

/// As a host has it; nothing here runs a guest.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new("never-opened");
    config.calls_max = 1;
    match Engine::new(&engine_config(&config)) {
        Ok(engine) => engine,
        Err(error) => panic!("no engine: {error:#}"),
    }
});

const TYPES_DEEP_MAX: usize = 4;
/// The bounds of the walk, ten times over: a schema writes more than a type.
const SCHEMA_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_json() {
        replay::seeds("json_values", json_values);
    }

    #[test]
    fn components_are_walked_within_bounds() {
        replay::seeds("component", |data| {
            component(data, |text| rialto_testkit::guests::component(text).ok());
        });
    }
}
