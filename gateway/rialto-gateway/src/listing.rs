//! The services of a node as plain data: what `/services` says, and what the OpenAPI document, the
//! discovery manifest and the page are made from.

use rialto_channels::price::MethodPrice;
use rialto_node::{Node, ServiceView};
use serde::Serialize;
use serde_json::Value;

/// One service.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceRecord {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// SHA-256 of the component.
    pub component: String,
    /// The models that it may use.
    pub models: Vec<ModelRecord>,
    /// What its author says about it as a whole.
    pub docs: Option<String>,
    /// Its methods.
    pub methods: Vec<MethodRecord>,
}

/// A model that a service may use.
#[derive(Debug, Clone, Serialize)]
pub struct ModelRecord {
    /// The service's name for it.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// One method.
#[derive(Debug, Clone, Serialize)]
pub struct MethodRecord {
    /// Its name, in snake_case.
    pub name: String,
    /// Where it is called, by POST.
    pub path: String,
    /// What its author says about it.
    pub docs: Option<String>,
    /// Its parameters, in order.
    pub params: Vec<ParamRecord>,
    /// The JSON Schema of its answer.
    pub result: Value,
    /// The JSON Schema of its own errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// The parameter that a raw body fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_body: Option<String>,
    /// What a call costs.
    pub price: PriceRecord,
    /// Whether a call costs nothing.
    pub free: bool,
}

/// One parameter.
#[derive(Debug, Clone, Serialize)]
pub struct ParamRecord {
    /// Its name, in snake_case.
    pub name: String,
    /// What is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// Its JSON Schema.
    pub schema: Value,
    /// Whether it must be given.
    pub required: bool,
}

/// A price, in token base units.
#[derive(Debug, Clone, Serialize)]
pub struct PriceRecord {
    /// For each call.
    pub call: String,
    /// For each KiB of the request's body that was begun.
    pub per_input_kib: String,
}

impl ServiceRecord {
    /// All services of a node, by name.
    #[must_use]
    pub fn all(node: &Node) -> Vec<Self> {
        node.services().iter().map(Self::new).collect()
    }

    /// One service.
    #[must_use]
    pub fn new(view: &ServiceView) -> Self {
        let manifest = &view.manifest;
        let name = manifest.name().to_string();
        let methods = view
            .interface
            .methods
            .iter()
            .map(|method| {
                let listed = manifest
                    .prices()
                    .iter()
                    .find(|(listed, _)| listed.to_snake_case() == method.name);
                MethodRecord::new(&name, method, listed.map(|(_, price)| price))
            })
            .collect();
        let models = manifest.models().iter();
        Self {
            version: manifest.version().to_string(),
            description: manifest.description().to_owned(),
            license: manifest.license().to_owned(),
            component: view.component.to_string(),
            models: models
                .map(|model| ModelRecord {
                    name: model.name.to_string(),
                    sha256: model.digest.to_string(),
                })
                .collect(),
            docs: view.interface.docs.clone(),
            methods,
            name,
        }
    }
}

impl MethodRecord {
    fn new(service: &str, method: &rialto_node::Method, price: Option<&MethodPrice>) -> Self {
        let free = price.is_none_or(MethodPrice::is_free);
        let price = match price {
            Some(price) => PriceRecord {
                call: price.call.to_string(),
                per_input_kib: price.per_input_kib.to_string(),
            },
            None => PriceRecord {
                call: "0".to_owned(),
                per_input_kib: "0".to_owned(),
            },
        };
        Self {
            path: format!("/services/{service}/{}", method.name),
            name: method.name.clone(),
            docs: method.docs.clone(),
            params: method
                .params
                .iter()
                .map(|param| ParamRecord {
                    name: param.name.clone(),
                    docs: param.docs.clone(),
                    schema: param.schema.clone(),
                    required: !param.optional,
                })
                .collect(),
            result: method.result_schema.clone(),
            error: method.error_schema.clone(),
            raw_body: method.raw_bytes_param.clone(),
            price,
            free,
        }
    }
}
