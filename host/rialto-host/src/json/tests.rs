//! Both directions against each other, and the texts of every kind of error.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::ArgumentError;
use crate::interface::Ty;
use crate::interface::ty::{Case, Int};

fn ty(kind: TyKind) -> Ty {
    Ty::plain(kind)
}

fn list(element: TyKind) -> Ty {
    ty(TyKind::List(Box::new(ty(element))))
}

fn named(wit: &str, ty: Ty) -> Named {
    Named {
        json: crate::interface::ty::snake(wit),
        wit: wit.to_owned(),
        docs: None,
        ty,
    }
}

fn case(wit: &str, payload: Option<Ty>) -> Case {
    Case {
        json: crate::interface::ty::snake(wit),
        wit: wit.to_owned(),
        docs: None,
        payload,
    }
}

fn params() -> Vec<Named> {
    let point = TyKind::Record(vec![
        named("x", ty(TyKind::F32)),
        named(
            "y-offset",
            ty(TyKind::Option(Box::new(ty(TyKind::Int(Int::U8))))),
        ),
    ]);
    vec![
        named("texts", list(TyKind::String)),
        named("points", ty(TyKind::Option(Box::new(list(point))))),
        named("data", ty(TyKind::Option(Box::new(ty(TyKind::Bytes))))),
        named(
            "mode",
            ty(TyKind::Option(Box::new(ty(TyKind::Enum(vec![
                case("fast-one", None),
                case("slow", None),
            ]))))),
        ),
        named(
            "big",
            ty(TyKind::Option(Box::new(ty(TyKind::Int(Int::U64))))),
        ),
        named(
            "shape",
            ty(TyKind::Option(Box::new(ty(TyKind::Variant(vec![
                case("point", None),
                case("circle", Some(ty(TyKind::F64))),
            ]))))),
        ),
        named(
            "pair",
            ty(TyKind::Option(Box::new(list(TyKind::Tuple(vec![
                ty(TyKind::Bool),
                ty(TyKind::Char),
            ]))))),
        ),
        named(
            "grid",
            ty(TyKind::Option(Box::new(ty(TyKind::List(Box::new(list(
                TyKind::F32,
            ))))))),
        ),
    ]
}

fn check(body: serde_json::Value, expected: &str) {
    let body = serde_json::to_vec(&body).unwrap();
    let error = decode_params(&params(), &body).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn errors_name_the_place_and_what_belongs_there() {
    check(
        json!({ "texts": ["a", "b", 3] }),
        "`texts`: expected a list of strings, found a number at index 2",
    );
    check(json!({}), "`texts`: missing; expected a list of strings");
    check(
        json!({ "texts": "a" }),
        "`texts`: expected a list of strings, found a string",
    );
    check(
        json!({ "texts": [], "txets": 1 }),
        "`txets`: unknown parameter; this method takes `texts`, `points`, `data`, `mode`, `big`, \
         `shape`, `pair`, `grid`",
    );
    check(
        json!({ "texts": [], "points": [{ "x": 1 }, { "x": 1, "y_offset": 300 }] }),
        "`points[1].y_offset`: expected an integer from 0 to 255, found 300",
    );
    check(
        json!({ "texts": [], "points": [{ "x": 1, "z": 1 }] }),
        "`points[0].z`: unknown field; known are `x`, `y_offset`",
    );
    check(
        json!({ "texts": [], "points": [{}] }),
        "`points[0].x`: missing; expected a number",
    );
    check(
        json!({ "texts": [], "points": [{ "x": 1, "y-offset": 1, "y_offset": 1 }] }),
        "`points[0].y_offset`: given twice",
    );
    check(
        json!({ "texts": [], "points": [{ "x": 1e39 }] }),
        "`points[0].x`: expected a number, found 1e+39",
    );
    check(
        json!({ "texts": [], "data": "%%" }),
        "`data`: expected bytes as a base64 string, found other text (Invalid symbol 37, offset 0.)",
    );
    check(
        json!({ "texts": [], "data": [1, 256] }),
        "`data`: expected bytes from 0 to 255, found 256 at index 1",
    );
}

#[test]
fn errors_name_ranges_and_choices() {
    check(
        json!({ "texts": [], "mode": "quick" }),
        "`mode`: expected one of `fast_one`, `slow`, found \"quick\"",
    );
    check(
        json!({ "texts": [], "big": -1 }),
        "`big`: expected an integer from 0 to 18446744073709551615, found -1",
    );
    check(
        json!({ "texts": [], "big": "18446744073709551616" }),
        "`big`: expected an integer from 0 to 18446744073709551615, found \"18446744073709551616\"",
    );
    check(
        json!({ "texts": [], "big": 1.5 }),
        "`big`: expected an integer from 0 to 18446744073709551615, found 1.5",
    );
    check(
        json!({ "texts": [], "shape": "circle" }),
        "`shape`: `circle` needs a value: {\"circle\": a number}",
    );
    check(
        json!({ "texts": [], "shape": { "circle": 1, "point": null } }),
        "`shape`: expected an object with exactly one of `point`, `circle`",
    );
    check(
        json!({ "texts": [], "pair": [[true, "ab"]] }),
        "`pair[0][1]`: expected a string of one character, found \"ab\"",
    );
    check(
        json!({ "texts": [], "pair": [[true]] }),
        "`pair[0]`: expected a list of exactly 2 values, found 1",
    );
    check(
        json!({ "texts": [], "grid": [[1.0], [2, "x"]] }),
        "`grid[1]`: expected a list of numbers, found a string at index 1",
    );
    check(
        json!([1]),
        "expected a JSON object with `texts`, `points`, `data`, `mode`, `big`, `shape`, `pair`, \
         `grid`, found a list",
    );
}

#[test]
fn broken_json_is_a_syntax_error() {
    for body in ["{", "{\"texts\": NaN}", "{\"texts\": 1e999}", "nonsense"] {
        let error = decode_params(&params(), body.as_bytes()).unwrap_err();
        assert!(matches!(error, ArgumentError::Syntax(_)), "{body}: {error}");
    }
    let deep = format!("{{\"texts\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let error = decode_params(&params(), deep.as_bytes()).unwrap_err();
    assert!(matches!(error, ArgumentError::Syntax(_)), "{error}");
}

#[test]
fn kebab_case_numbers_in_text_and_whole_floats_are_accepted() {
    let body = json!({
        "texts": [],
        "points": [{ "x": 1, "y-offset": 2.0 }],
        "big": "18446744073709551615",
        "mode": "fast-one",
        "data": "AAE",
    });
    let args = decode_params(&params(), body.to_string().as_bytes()).unwrap();
    assert_eq!(
        args[4],
        Arg::Val(Val::Option(Some(Box::new(Val::U64(u64::MAX)))))
    );
    let bytes = Val::List(vec![Val::U8(0), Val::U8(1)]);
    assert_eq!(args[2], Arg::Val(Val::Option(Some(Box::new(bytes)))));
}

#[test]
fn form_parts_are_bytes_text_or_json() {
    let parts = vec![
        ("texts".to_owned(), Bytes::from_static(b"[\"a\"]")),
        ("data".to_owned(), Bytes::from_static(b"\xff")),
        ("mode".to_owned(), Bytes::from_static(b"slow")),
        ("big".to_owned(), Bytes::from_static(b"7")),
    ];
    let args = decode_parts(&params(), parts).unwrap();
    assert_eq!(
        args[0],
        Arg::Val(Val::List(vec![Val::String("a".to_owned())]))
    );
    let data = Val::List(vec![Val::U8(255)]);
    assert_eq!(args[2], Arg::Val(Val::Option(Some(Box::new(data)))));
    let bad = vec![("texts".to_owned(), Bytes::from_static(b"a"))];
    let error = decode_parts(&params(), bad).unwrap_err().to_string();
    assert!(
        error.starts_with("`texts`: expected a list of strings, found a part"),
        "{error}"
    );
}

#[test]
fn output_is_bounded_and_not_finite_is_null() {
    let text = ty(TyKind::String);
    let value = Val::String("x".repeat(10));
    assert_eq!(encode(&text, &value, 12).unwrap().len(), 12);
    assert_eq!(encode(&text, &value, 11), Err(EncodeError::TooLarge));
    let float = ty(TyKind::F32);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(encode(&float, &Val::Float32(value), 9).unwrap(), b"null");
    }
    assert_eq!(encode(&float, &Val::Float32(0.1), 9).unwrap(), b"0.1");
    assert_eq!(
        encode(&float, &Val::Bool(true), 9),
        Err(EncodeError::Mismatch)
    );
    let wide = ty(TyKind::Int(Int::U64));
    let exact = encode(&wide, &Val::U64((1 << 53) - 1), 99).unwrap();
    assert_eq!(exact, b"9007199254740991");
    assert_eq!(
        encode(&wide, &Val::U64(1 << 53), 99).unwrap(),
        b"\"9007199254740992\""
    );
}

/// A type without parts, together with a value of it.
fn leaf() -> BoxedStrategy<(Ty, Val)> {
    let finite = any::<f32>().prop_filter("finite", |value| value.is_finite());
    prop_oneof![
        any::<bool>().prop_map(|v| (TyKind::Bool, Val::Bool(v))),
        any::<i8>().prop_map(|v| (TyKind::Int(Int::S8), Val::S8(v))),
        any::<u16>().prop_map(|v| (TyKind::Int(Int::U16), Val::U16(v))),
        any::<i64>().prop_map(|v| (TyKind::Int(Int::S64), Val::S64(v))),
        any::<u64>().prop_map(|v| (TyKind::Int(Int::U64), Val::U64(v))),
        finite.prop_map(|v| (TyKind::F32, Val::Float32(v))),
        // The JSON reader may be one unit in the last place off beyond 15 digits.
        any::<i32>().prop_map(|v| (TyKind::F64, Val::Float64(f64::from(v) / 8.0))),
        any::<char>().prop_map(|v| (TyKind::Char, Val::Char(v))),
        any::<String>().prop_map(|v| (TyKind::String, Val::String(v))),
        any::<Vec<u8>>().prop_map(|v| (TyKind::Bytes, byte_list(&v))),
        Just((
            TyKind::Enum(vec![case("a-b", None), case("c", None)]),
            Val::Enum("a-b".to_owned())
        )),
        Just((
            TyKind::Flags(vec![case("r", None), case("w-x", None)]),
            Val::Flags(vec!["w-x".to_owned()])
        )),
    ]
    .prop_map(|(kind, val)| (ty(kind), val))
    .boxed()
}

/// A type together with a value of it.
fn typed() -> BoxedStrategy<(Ty, Val)> {
    leaf()
        .prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|fields| {
                    let (types, vals): (Vec<Ty>, Vec<Val>) = fields.into_iter().unzip();
                    let name = |at: usize| format!("field-{at}");
                    let fields = types.into_iter().enumerate();
                    let fields = fields.map(|(at, ty)| named(&name(at), ty)).collect();
                    let vals = vals.into_iter().enumerate();
                    let vals = vals.map(|(at, val)| (name(at), val)).collect();
                    (ty(TyKind::Record(fields)), Val::Record(vals))
                }),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|elements| {
                    let (types, vals) = elements.into_iter().unzip();
                    (ty(TyKind::Tuple(types)), Val::Tuple(vals))
                }),
                (inner.clone(), 0_usize..4)
                    .prop_filter("bytes have a type of their own", |((t, _), _)| {
                        t.kind != TyKind::Int(Int::U8)
                    })
                    .prop_map(|((element, val), count)| {
                        (
                            ty(TyKind::List(Box::new(element))),
                            Val::List(vec![val; count]),
                        )
                    }),
                (inner.clone(), any::<bool>()).prop_map(|((some, val), present)| {
                    let val = present.then(|| Box::new(val));
                    (ty(TyKind::Option(Box::new(some))), Val::Option(val))
                }),
                (inner.clone(), inner.clone(), any::<bool>()).prop_map(
                    |((ok, a), (err, b), good)| {
                        let val = if good {
                            Ok(Some(Box::new(a)))
                        } else {
                            Err(Some(Box::new(b)))
                        };
                        let kind = TyKind::Result {
                            ok: Some(Box::new(ok)),
                            err: Some(Box::new(err)),
                        };
                        (ty(kind), Val::Result(val))
                    }
                ),
                (inner, any::<bool>()).prop_map(|((payload, val), with)| {
                    let cases = vec![case("no-thing", None), case("some-thing", Some(payload))];
                    let val = if with {
                        Val::Variant("some-thing".to_owned(), Some(Box::new(val)))
                    } else {
                        Val::Variant("no-thing".to_owned(), None)
                    };
                    (ty(TyKind::Variant(cases)), val)
                }),
            ]
        })
        .boxed()
}

proptest! {
    #[test]
    fn every_value_survives_json((ty, val) in typed()) {
        let json = encode(&ty, &val, u64::MAX).unwrap();
        let params = [named("it", ty)];
        let mut body = b"{\"it\":".to_vec();
        body.extend(&json);
        body.push(b'}');
        let back = decode_params(&params, &body).unwrap().remove(0);
        prop_assert!(back.held_bytes() <= decode_cost(&params, &body) + 64);
        prop_assert_eq!(back.into_val(&Buffers::default()), val);
    }

    #[test]
    fn no_json_makes_decoding_panic(body in any::<Vec<u8>>(), (ty, _) in typed()) {
        drop(decode_params(&[named("it", ty)], &body));
    }
}
