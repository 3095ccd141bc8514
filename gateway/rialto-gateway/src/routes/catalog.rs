//! What this host runs, where its money lives, and the machine-readable forms of both.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::listing::ServiceRecord;
use crate::openapi;
use crate::problem::{ErrorCode, Problem};
use crate::routes::calls::Route;
use crate::routes::refusal;
use crate::x402::discovery::{self, Listed};
use crate::x402::offer::{checksummed, located, offers};

pub(crate) async fn services(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let services = ServiceRecord::all(&gateway.node);
    Json(json!({"services": services, "calls": calls(&gateway)}))
}

/// How full this host is, what it takes at all, and what it takes from one payer of whom nothing else is said.
fn calls(gateway: &Gateway) -> Value {
    let (load, config) = (gateway.node.door(), gateway.node.config());
    let (sandbox, payer) = (&config.sandbox, config.payers.usual);
    json!({
        "running": load.running,
        "computing": load.computing,
        "background": load.background,
        "waiting": load.waiting,
        "places": load.places,
        "limits": {
            "calls_max": sandbox.calls_max,
            "background_max": sandbox.background_max,
            "queue_max": sandbox.queue_max,
            "service_queue_max": sandbox.service_queue_max,
        },
        "payer_limits": {
            "calls_max": payer.calls_at_once(sandbox.calls_max),
            "queue_max": payer.calls_waiting(sandbox.queue_max),
            "time_ms_max": payer.time_ms_max,
            "input_bytes_max": payer.input_bytes_max,
        },
    })
}

pub(crate) async fn service(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    match gateway.node.service(&name) {
        Some(view) => Ok(Json(json!(ServiceRecord::new(&view)))),
        None => {
            let all = ServiceRecord::all(&gateway.node);
            let known: Vec<&str> = all.iter().map(|service| service.name.as_str()).collect();
            Err(Problem::unknown_service(&name, &known.join(", ")))
        }
    }
}

/// The manifest as its publisher signed it, for whoever runs the service or checks who wrote it.
pub(crate) async fn signed_manifest(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let signed = gateway.node.signed_manifest(&name).ok_or_else(|| {
        let message = format!("no service that is published as `{name}` is provided here");
        Problem::new(ErrorCode::ServiceUnknown, message)
            .hint("`rialto publish DIR` publishes one; GET /services lists what runs here")
    })?;
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    Ok((json, signed.to_text()).into_response())
}

pub(crate) async fn openapi(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let services = ServiceRecord::all(&gateway.node);
    let token = &gateway.node.payee().token_name;
    Json(openapi::document(&services, gateway.network(), token))
}

/// The discovery manifest: every route that costs, with the offers for an empty request.
pub(crate) async fn manifest(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    Ok(Json(discovery::manifest(&listed(&gateway, &headers)?)))
}

/// Every route that costs.
pub(crate) fn listed(gateway: &Gateway, headers: &HeaderMap) -> Result<Vec<Listed>, Problem> {
    let mut listed = Vec::new();
    for service in ServiceRecord::all(&gateway.node) {
        for method in service.methods.iter().filter(|method| !method.free) {
            let terms = gateway
                .node
                .terms(&service.name, &method.name, 0)
                .map_err(refusal::problem)?;
            let route = Route::new(gateway, headers, &service.name, &method.name);
            let resource = route.resource();
            listed.push(Listed {
                service: service.name.clone(),
                method: method.name.clone(),
                accepts: located(offers(&terms), &resource.url),
                parameters: openapi::parameters(method),
                resource,
            });
        }
    }
    Ok(listed)
}

pub(crate) async fn node(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let chain = gateway.node.chain();
    let payee = gateway.node.payee();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "network": gateway.network().to_string(),
        "chain_id": chain.chain_id,
        "rpc_url": chain.rpc_url,
        "settlement": checksummed(chain.settlement),
        "collector": checksummed(chain.collector),
        "token": {
            "address": checksummed(chain.token),
            "name": payee.token_name,
            "version": payee.token_version,
        },
        "receiver": checksummed(chain.receiver),
        "splitters": splitters(&gateway),
        "host": checksummed(chain.host),
        "withdraw_delay": payee.withdraw_delay,
    }))
}

/// Where services with a royalty are paid.
fn splitters(gateway: &Gateway) -> Value {
    let provider = gateway.node.payee().provider;
    let services = gateway.node.services().into_iter();
    services
        .filter_map(|view| {
            let royalty = view.manifest.royalty()?;
            let name = view.manifest.name().to_string();
            Some((name, json!(checksummed(royalty.receiver(provider)))))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}
