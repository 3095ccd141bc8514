//! The chain's JSON-RPC over HTTP.
//!
//! Only `application/json` is taken, so that a web page cannot reach a chain on this machine
//! without asking (a browser asks first, and there is no CORS answer).

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{DevChain, RpcError};

/// A running server. Dropping it stops the server without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no new connections, answers the requests under way, and ends.
    ///
    /// # Errors
    /// If the server had failed before.
    pub async fn shutdown(mut self) -> io::Result<()> {
        if let Some(stop) = self.stop.take() {
            // An error means that the server has ended already.
            let _ = stop.send(());
        }
        match self.task.await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

pub(super) fn serve(chain: DevChain, listener: TcpListener) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/", post(answer))
        .route(
            "/",
            get(|| async { "Rialto development chain: POST JSON-RPC here\n" }),
        )
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(chain);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(async move {
                // A dropped sender stops the server, too.
                let _ = stopped.await;
            })
            .await
    });
    tracing::info!(%address, "development chain is listening");
    Ok(Server {
        address,
        stop: Some(stop),
        task,
    })
}

async fn answer(State(chain): State<DevChain>, headers: HeaderMap, body: Bytes) -> Response {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        let text = "expected `content-type: application/json`\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    let request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            let error = RpcError::parse(format!("parse error: {error}"));
            return axum::Json(envelope(Value::Null, Err(error))).into_response();
        }
    };
    match answer_any(&chain, request).await {
        Some(answer) => axum::Json(answer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// `None` where JSON-RPC wants no answer: to notifications.
async fn answer_any(chain: &DevChain, request: Value) -> Option<Value> {
    let Value::Array(batch) = request else {
        return answer_one(chain, request).await;
    };
    if batch.is_empty() {
        let error = RpcError::invalid_request("empty batch");
        return Some(envelope(Value::Null, Err(error)));
    }
    if batch.len() > BATCH_MAX {
        let error = RpcError::invalid_request("batch too large");
        return Some(envelope(Value::Null, Err(error)));
    }
    let mut answers = Vec::with_capacity(batch.len());
    for request in batch {
        answers.extend(answer_one(chain, request).await);
    }
    (!answers.is_empty()).then_some(Value::Array(answers))
}

async fn answer_one(chain: &DevChain, request: Value) -> Option<Value> {
    let id = request.get("id").cloned();
    let Ok(request) = serde_json::from_value::<Request>(request) else {
        let error = RpcError::invalid_request("expected an object with `method` and `params`");
        return Some(envelope(id.unwrap_or(Value::Null), Err(error)));
    };
    let result = chain.request(&request.method, request.params).await;
    id.map(|id| envelope(id, result))
}

fn envelope(id: Value, result: Result<Value, RpcError>) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => json!({ "jsonrpc": "2.0", "id": id, "error": error }),
    }
}

#[derive(Debug, Deserialize)]
struct Request {
    method: String,
    #[serde(default)]
    params: Value,
}

/// A whole block's worth of calldata fits twice.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Calls in one batch.
const BATCH_MAX: usize = 1_000;
