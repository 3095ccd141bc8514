//! A JSON-RPC proxy on loopback that delays, loses, garbles, lies and swallows, as it is told: what
//! public chain endpoints do on a bad day.
//!
//! Not here: judging what a client does about it, which is the tests' part.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_primitives::keccak256;
use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The answer takes so long.
    Delay(Duration),
    /// The chain gets it; its answer is lost on the way back.
    LoseAnswer,
    /// An error of the server, by its HTTP status.
    Status(u16),
    /// An answer that is not JSON.
    Garbage,
    /// JSON-RPC, and nothing of what was asked for.
    Nonsense,
    /// The answer to somebody else's question.
    OtherAnswer,
    /// This result, whatever was asked.
    Say(Value),
    /// The request is refused, in these words.
    Refuse(&'static str),
    /// A submission is acknowledged and forgotten.
    Swallow,
}

/// A running proxy. Clones share it; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    plan: Arc<Plan>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Plan {
    upstream: String,
    http: reqwest::Client,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    rules: Vec<Rule>,
    /// Methods, in the order of the calls.
    calls: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    method: &'static str,
    left: usize,
    fault: Fault,
}

impl Proxy {
    /// Starts a proxy in front of an endpoint.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn before(upstream: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let plan = Arc::new(Plan {
            upstream: upstream.to_owned(),
            http: reqwest::Client::builder().no_proxy().build()?,
            told: Mutex::default(),
        });
        let router = Router::new()
            .route("/", post(answer))
            .with_state(Arc::clone(&plan));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let task = server.abort_handle();
        Ok(Self {
            shared: Arc::new(Shared { url, plan, task }),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The next `times` calls of `method` (`*`: of any) meet this fault. Rules apply one after the
    /// other.
    pub fn next(&self, method: &'static str, times: usize, fault: Fault) {
        let rule = Rule {
            method,
            left: times,
            fault,
        };
        self.shared.plan.told().rules.push(rule);
    }

    /// From now on everything is passed on.
    pub fn heal(&self) {
        self.shared.plan.told().rules.clear();
    }

    /// How often `method` was called so far.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        let told = self.shared.plan.told();
        told.calls.iter().filter(|call| *call == method).count()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Plan {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, method: &str) -> Option<Fault> {
        let mut told = self.told();
        told.calls.push(method.to_owned());
        let applies =
            |rule: &&mut Rule| rule.left > 0 && (rule.method == "*" || rule.method == method);
        let rule = told.rules.iter_mut().find(applies)?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }

    async fn pass_on(&self, body: Bytes) -> anyhow::Result<Value> {
        let request = self.http.post(&self.upstream).body(body);
        let request = request.header("content-type", "application/json");
        let answer = request.send().await?.bytes().await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn answer(&self, body: Bytes) -> anyhow::Result<Response> {
        let request: Value = serde_json::from_slice(&body)?;
        let method = request["method"].as_str().context("no method")?;
        let result = |result: Value| {
            let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
            axum::Json(answer).into_response()
        };
        Ok(match self.fault(method) {
            None => axum::Json(self.pass_on(body).await?).into_response(),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                axum::Json(self.pass_on(body).await?).into_response()
            }
            Some(Fault::LoseAnswer) => {
                self.pass_on(body).await?;
                // The client sees a connection that breaks in the middle of the answer.
                Body::from_stream(Broken).into_response()
            }
            Some(Fault::Status(status)) => StatusCode::from_u16(status)?.into_response(),
            Some(Fault::Garbage) => "<html>back soon</html>".into_response(),
            Some(Fault::Nonsense) => result(json!({ "surprise": true })),
            Some(Fault::OtherAnswer) => {
                let answer = json!({ "jsonrpc": "2.0", "id": 987_654_321, "result": "0x5" });
                axum::Json(answer).into_response()
            }
            Some(Fault::Say(value)) => result(value),
            Some(Fault::Refuse(words)) => {
                let error = json!({ "code": -32_602, "message": words });
                let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
                axum::Json(answer).into_response()
            }
            Some(Fault::Swallow) => {
                let raw = request["params"][0].as_str().context("no transaction")?;
                let raw = hex::decode(raw.trim_start_matches("0x"))?;
                result(json!(keccak256(raw)))
            }
        })
    }
}

async fn answer(State(plan): State<Arc<Plan>>, body: Bytes) -> Response {
    let answer = plan.answer(body).await;
    answer.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()).into_response())
}

/// A body that fails at once.
struct Broken;

impl Stream for Broken {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Err(io::Error::other("lost"))))
    }
}
