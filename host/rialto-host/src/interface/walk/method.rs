//! A method as callers see it, from its signature.

use std::sync::Arc;

use serde_json::Value;

use crate::interface::schema::{Direction, schema};
use crate::interface::ty::{Ty, TyKind};
use crate::interface::{Method, Param, Refusal, Returns, Signature};

/// Adds what follows from a signature: schemas, and the parameter that raw bodies fill.
pub(in crate::interface) fn method(
    name: String,
    docs: Option<String>,
    signature: Signature,
) -> Method {
    let params = signature
        .params
        .iter()
        .map(|param| Param {
            name: param.json.clone(),
            docs: param.ty.docs.clone(),
            schema: schema(&param.ty, Direction::In),
            optional: param.ty.is_optional(),
        })
        .collect();
    let null = || serde_json::json!({ "type": "null" });
    let out = |ty: &Option<Ty>| {
        ty.as_ref()
            .map_or_else(null, |ty| schema(ty, Direction::Out))
    };
    let (result_schema, error_schema) = match &signature.returns {
        Returns::Nothing => (null(), None),
        Returns::Value(ty) => (schema(ty, Direction::Out), None),
        Returns::Result { ok, err } => (out(ok), Some(out(err))),
        Returns::Stream(stream) => {
            let item = schema(&stream.item, Direction::Out);
            let all = serde_json::json!({ "type": "array", "items": item });
            let refusals = [&stream.opening, &stream.pulling].map(|refusal| match refusal {
                Refusal::Never => None,
                Refusal::With(ty) => Some(out(ty)),
            });
            (all, either(refusals))
        }
    };
    let mut required = signature
        .params
        .iter()
        .filter(|param| !param.ty.is_optional());
    let raw_bytes_param = match (required.next(), required.next()) {
        (Some(only), None) if only.ty.kind == TyKind::Bytes => Some(only.json.clone()),
        _ => None,
    };
    Method {
        name,
        docs,
        params,
        result_schema,
        streams: signature.stream().is_some(),
        error_schema,
        raw_bytes_param,
        signature: Arc::new(signature),
    }
}

/// The schema of what either schema allows.
fn either(schemas: [Option<Value>; 2]) -> Option<Value> {
    match schemas {
        [Some(first), Some(second)] if first != second => {
            Some(serde_json::json!({ "anyOf": [first, second] }))
        }
        [first, second] => first.or(second),
    }
}
