//! JSON Schema (draft 2020-12) of value types, inline: OpenAPI 3.1 and tool descriptions take it as is.

use serde_json::{Map, Value, json};

use super::ty::{Case, Int, Named, Ty, TyKind};

/// Which way a value goes; some are written more strictly than they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the caller.
    In,
    /// To the caller.
    Out,
}

/// The schema of `ty`, with its name as title and its docs as description.
pub(crate) fn schema(ty: &Ty, direction: Direction) -> Value {
    let mut schema = shape(&ty.kind, direction);
    annotate(&mut schema, ty.name.as_deref(), ty.docs.as_deref());
    schema
}

fn shape(kind: &TyKind, direction: Direction) -> Value {
    match kind {
        TyKind::Bool => json!({ "type": "boolean" }),
        TyKind::Int(int) => integer(*int),
        TyKind::F32 => number("float", direction),
        TyKind::F64 => number("double", direction),
        TyKind::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        TyKind::String => json!({ "type": "string" }),
        TyKind::Bytes => json!({
            "type": "string",
            "contentEncoding": "base64",
            "contentMediaType": "application/octet-stream",
        }),
        TyKind::List(element) => json!({ "type": "array", "items": schema(element, direction) }),
        TyKind::Record(fields) => object(fields, direction),
        TyKind::Tuple(elements) => {
            let items: Vec<Value> = elements.iter().map(|ty| schema(ty, direction)).collect();
            json!({
                "type": "array",
                "prefixItems": items,
                "minItems": elements.len(),
                "maxItems": elements.len(),
            })
        }
        TyKind::Variant(cases) => {
            json!({ "oneOf": cases.iter().map(|case| variant_case(case, direction)).collect::<Vec<_>>() })
        }
        TyKind::Enum(cases) => names(cases),
        TyKind::Flags(flags) => {
            json!({ "type": "array", "items": names(flags), "uniqueItems": true })
        }
        TyKind::Option(some) => {
            let some_schema = schema(some, direction);
            let some_schema = if some.is_optional() {
                wrapped("some", some_schema)
            } else {
                some_schema
            };
            json!({ "anyOf": [some_schema, { "type": "null" }] })
        }
        TyKind::Result { ok, err } => {
            let side = |name: &str, ty: &Option<Box<Ty>>| {
                let payload = ty
                    .as_ref()
                    .map_or_else(|| json!({ "type": "null" }), |ty| schema(ty, direction));
                wrapped(name, payload)
            };
            json!({ "oneOf": [side("ok", ok), side("err", err)] })
        }
    }
}

fn integer(int: Int) -> Value {
    let (least, most) = int.bounds();
    // Both bounds of every 64-bit type fit one of the two JSON integer forms.
    let bound = |value: i128| {
        i64::try_from(value).map_or_else(
            |_| u64::try_from(value).map_or(Value::Null, Value::from),
            Value::from,
        )
    };
    if int.is_wide() {
        // Numbers above 2^53 - 1 are not exact in JavaScript, so decimal text is allowed.
        json!({
            "type": ["integer", "string"],
            "format": int.format(),
            "minimum": bound(least),
            "maximum": bound(most),
            "pattern": "^-?[0-9]+$",
        })
    } else {
        json!({
            "type": "integer",
            "format": int.format(),
            "minimum": bound(least),
            "maximum": bound(most),
        })
    }
}

fn number(format: &str, direction: Direction) -> Value {
    match direction {
        Direction::In => json!({ "type": "number", "format": format }),
        // A result that is not finite is null.
        Direction::Out => json!({ "type": ["number", "null"], "format": format }),
    }
}

fn object(fields: &[Named], direction: Direction) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut property = schema(&field.ty, direction);
        annotate(&mut property, None, field.docs.as_deref());
        properties.insert(field.json.clone(), property);
        if direction == Direction::Out || !field.ty.is_optional() {
            required.push(field.json.as_str());
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn variant_case(case: &Case, direction: Direction) -> Value {
    let mut schema = match &case.payload {
        Some(payload) => wrapped(&case.json, schema(payload, direction)),
        None => json!({ "const": case.json }),
    };
    annotate(&mut schema, None, case.docs.as_deref());
    schema
}

/// Names as an enumeration; documented ones each with their description.
fn names(cases: &[Case]) -> Value {
    if cases.iter().any(|case| case.docs.is_some()) {
        let each: Vec<Value> = cases
            .iter()
            .map(|case| {
                let mut schema = json!({ "const": case.json });
                annotate(&mut schema, None, case.docs.as_deref());
                schema
            })
            .collect();
        json!({ "type": "string", "oneOf": each })
    } else {
        let all: Vec<&str> = cases.iter().map(|case| case.json.as_str()).collect();
        json!({ "type": "string", "enum": all })
    }
}

/// An object with exactly one property.
fn wrapped(name: &str, payload: Value) -> Value {
    let mut properties = Map::new();
    properties.insert(name.to_owned(), payload);
    json!({
        "type": "object",
        "properties": properties,
        "required": [name],
        "additionalProperties": false,
    })
}

fn annotate(schema: &mut Value, title: Option<&str>, description: Option<&str>) {
    if let Some(schema) = schema.as_object_mut() {
        if let Some(title) = title {
            schema.insert("title".to_owned(), title.into());
        }
        if let Some(description) = description {
            schema.insert("description".to_owned(), description.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: TyKind, direction: Direction, expected: Value) {
        assert_eq!(schema(&Ty::plain(kind), direction), expected);
    }

    #[test]
    fn scalars_have_bounds() {
        check(
            TyKind::Int(Int::U8),
            Direction::In,
            json!({ "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255 }),
        );
        let wide = schema(&Ty::plain(TyKind::Int(Int::U64)), Direction::In);
        assert_eq!(wide["maximum"], json!(u64::MAX));
        assert_eq!(wide["type"], json!(["integer", "string"]));
        check(
            TyKind::F32,
            Direction::Out,
            json!({ "type": ["number", "null"], "format": "float" }),
        );
    }

    #[test]
    fn optional_fields_are_not_required_on_input_but_always_sent() {
        let field = |name: &str, kind| Named {
            json: name.to_owned(),
            wit: name.to_owned(),
            docs: Some(format!("The {name}.")),
            ty: Ty::plain(kind),
        };
        let record = Ty::plain(TyKind::Record(vec![
            field("id", TyKind::String),
            field("hint", TyKind::Option(Box::new(Ty::plain(TyKind::Bool)))),
        ]));
        let input = schema(&record, Direction::In);
        assert_eq!(input["required"], json!(["id"]));
        assert_eq!(input["properties"]["id"]["description"], "The id.");
        let output = schema(&record, Direction::Out);
        assert_eq!(output["required"], json!(["id", "hint"]));
    }

    #[test]
    fn nested_options_stay_distinct() {
        let inner = Ty::plain(TyKind::Option(Box::new(Ty::plain(TyKind::Bool))));
        let outer = schema(&Ty::plain(TyKind::Option(Box::new(inner))), Direction::In);
        assert_eq!(outer["anyOf"][0]["required"], json!(["some"]));
    }
}
