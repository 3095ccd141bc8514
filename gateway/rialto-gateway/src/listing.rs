//! The services of a node as plain data: what `/services` says, and what the OpenAPI document, the
//! discovery manifest and the page are made from.

use std::collections::BTreeMap;

use rialto_channels::price::MethodPrice;
use rialto_channels::royalty::Royalty;
use rialto_node::{Closed, Node, ServiceView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::x402::offer::checksummed;

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
    /// What its author is paid of all that it earns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub royalty: Option<RoyaltyRecord>,
    /// What its author says about it as a whole.
    pub docs: Option<String>,
    /// Whether it takes calls: `open`, `drained` or `quarantined`.
    pub state: &'static str,
    /// Whether its code is in memory: if not, the next call waits until it is.
    pub loaded: bool,
    /// What one of its calls may use on this host, by the names that manifests use.
    pub limits: BTreeMap<&'static str, u64>,
    /// `in-process`, or `process` for a process of its own.
    pub isolation: &'static str,
    /// Its calls that run at the same time here, at most.
    pub calls_max: u32,
    /// Its calls that may wait here.
    pub queue_max: u32,
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

/// What a service's author is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoyaltyRecord {
    /// The author's account.
    pub publisher: String,
    /// The author's share, as a percentage such as `2.5%`.
    pub share: String,
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
    /// Whether its answer comes item by item, for those who accept events.
    pub streams: bool,
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
    /// For each KiB of the answer's body that was begun.
    pub per_output_kib: String,
    /// For each millisecond inside the guest that was begun.
    pub per_guest_ms: String,
    /// For each millisecond inside host functions that was begun.
    pub per_host_ms: String,
    /// For each run of a model or of recorded tensor operations.
    pub per_tensor_run: String,
    /// For each millisecond on a device that was begun, beside `per_host_ms`.
    pub per_device_ms: String,
    /// For each thousand million multiplications with addition that were begun.
    pub per_giga_multiply_adds: String,
    /// For each MiB of tensors moved between guest and device that was begun.
    pub per_moved_mib: String,
    /// For each token that a language model reads.
    pub per_token_read: String,
    /// For each token that a language model writes.
    pub per_token_written: String,
    /// The most that a call spends on other services, which is charged as it was spent, beside all the rest.
    pub spend_max: String,
    /// The most that a call costs whatever it uses, other services left out, if the author states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// All of it in one line.
    pub summary: String,
}

impl PriceRecord {
    /// A price list as callers see it.
    #[must_use]
    pub fn new(price: &MethodPrice) -> Self {
        Self {
            call: price.call.to_string(),
            per_input_kib: price.per_input_kib.to_string(),
            per_output_kib: price.per_output_kib.to_string(),
            per_guest_ms: price.per_guest_ms.to_string(),
            per_host_ms: price.per_host_ms.to_string(),
            per_tensor_run: price.per_tensor_run.to_string(),
            per_device_ms: price.per_device_ms.to_string(),
            per_giga_multiply_adds: price.per_giga_multiply_adds.to_string(),
            per_moved_mib: price.per_moved_mib.to_string(),
            per_token_read: price.per_token_read.to_string(),
            per_token_written: price.per_token_written.to_string(),
            spend_max: price.spend_max.to_string(),
            max: price.max.map(|max| max.to_string()),
            summary: summary(price),
        }
    }
}

/// For example `100 + 2 a KiB of input + 5 a model run, at most 900`.
fn summary(price: &MethodPrice) -> String {
    if price.is_free() {
        return "free".to_owned();
    }
    let parts = [
        (price.per_input_kib, "a KiB of input"),
        (price.per_output_kib, "a KiB of output"),
        (price.per_guest_ms, "a ms in the guest"),
        (price.per_host_ms, "a ms in the host"),
        (price.per_tensor_run, "a model run"),
        (price.per_device_ms, "a ms on the device"),
        (
            price.per_giga_multiply_adds,
            "a thousand million multiply-adds",
        ),
        (price.per_moved_mib, "a MiB moved to or from the device"),
        (price.per_token_read, "a token read"),
        (price.per_token_written, "a token written"),
    ];
    let parts = parts.iter().filter(|(units, _)| !units.is_zero());
    let parts = parts.map(|(units, what)| format!("{units} {what}"));
    let call = (!price.call.is_zero()).then(|| price.call.to_string());
    let mut text = call
        .into_iter()
        .chain(parts)
        .collect::<Vec<_>>()
        .join(" + ");
    if let Some(max) = price.max {
        text.push_str(&format!(", at most {max}"));
    }
    if !price.spend_max.is_zero() {
        let and = if text.is_empty() { "" } else { ", and " };
        text.push_str(&format!(
            "{and}what other services cost, at most {}",
            price.spend_max
        ));
    }
    text
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
            royalty: manifest.royalty().map(RoyaltyRecord::new),
            docs: view.interface.docs.clone(),
            state: state(view.closed),
            loaded: view.loaded,
            limits: view.limits.all().collect(),
            isolation: view.isolation.name(),
            calls_max: view.calls_max,
            queue_max: view.queue_max,
            methods,
            name,
        }
    }
}

fn state(closed: Option<Closed>) -> &'static str {
    match closed {
        None => "open",
        Some(Closed::Drained) => "drained",
        Some(Closed::Quarantined) => "quarantined",
        Some(_) => "preparing",
    }
}

impl RoyaltyRecord {
    /// A royalty as the manifest promises it.
    #[must_use]
    pub fn new(royalty: &Royalty) -> Self {
        Self {
            publisher: checksummed(royalty.publisher),
            share: royalty.share.to_string(),
        }
    }
}

impl MethodRecord {
    fn new(service: &str, method: &rialto_node::Method, price: Option<&MethodPrice>) -> Self {
        let free = price.is_none_or(MethodPrice::is_free);
        let price = PriceRecord::new(&price.copied().unwrap_or_default());
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
            streams: method.streams,
            error: method.error_schema.clone(),
            raw_body: method.raw_bytes_param.clone(),
            price,
            free,
        }
    }
}
