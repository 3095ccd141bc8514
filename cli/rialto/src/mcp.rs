//! `rialto mcp`: tools for an agent that starts programs, over standard input and output.
//!
//! Those of one host are paid from this user's wallet within a budget. What costs nothing to answer is the gateway's
//! to answer: it is passed on as it stands. A call of a tool is made as `rialto call` makes it, with the same channels,
//! receipts and limits.
//!
//! Those of the mesh (`--mesh`) are the local door's of a node, which pays: all is passed on to it.

mod door;
mod lines;
mod tool;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use self::door::Door;
use self::lines::Line;
use self::tool::{Call, Caller};
use crate::args::McpArgs;
use crate::{pay, show};

/// Answers until the agent closes its end.
pub(crate) async fn run(args: McpArgs) -> Result<()> {
    if args.mesh {
        let door = Door::new(&args.door.local, args.key);
        show::note(format!(
            "MCP on standard input and output for {}, whose node pays",
            door.url()
        ));
        return serve(Arc::new(Backend::Door(door))).await;
    }
    let budget = args.budget.map(|units| units.0);
    let client = pay::client_with(&args.payer, |config| {
        if let Some(max) = args.max_price {
            config.price_max = max.0;
        }
        let usual = config.budget.day_max.unwrap_or(BUDGET);
        config.budget.day_max = Some(budget.unwrap_or(usual));
    })?;
    let gateway = args.payer.gateway.gateway.trim_end_matches('/').to_owned();
    show::note(format!(
        "MCP on standard input and output for {gateway}; it pays from {}",
        client.payer()
    ));
    let caller = Caller::new(client, gateway)?;
    serve(Arc::new(Backend::Gateway(caller))).await
}

/// Who answers.
#[derive(Debug)]
enum Backend {
    /// One host, and this program pays.
    Gateway(Caller),
    /// A node of this machine, which pays.
    Door(Door),
}

/// A message of the agent's, as far as it decides who answers.
#[derive(Debug, Deserialize)]
struct Message {
    id: Option<Value>,
    method: Option<String>,
    params: Option<Value>,
}

/// Which calls run, by their ids.
type Running = Arc<Mutex<HashMap<String, AbortHandle>>>;

async fn serve(backend: Arc<Backend>) -> Result<()> {
    let mut lines = lines::read()?;
    let running = Running::default();
    let places = Arc::new(Semaphore::new(CALLS_AT_ONCE));
    let mut tasks = JoinSet::new();
    while let Some(line) = lines.recv().await {
        while tasks.try_join_next().is_some() {}
        let text = match line {
            Line::Whole(text) => text,
            Line::TooLong => {
                let message = format!("a message has more than {} bytes", lines::BYTES_MAX);
                lines::write(&error(&Value::Null, INVALID_REQUEST, &message));
                continue;
            }
        };
        let message: Message = match serde_json::from_slice(&text) {
            Ok(message) => message,
            Err(problem) => {
                let message = format!("no JSON-RPC message: {problem}");
                lines::write(&error(&Value::Null, PARSE_ERROR, &message));
                continue;
            }
        };
        if message.method.as_deref() == Some("notifications/cancelled") {
            cancel(&running, message.params.as_ref());
            continue;
        }
        if tasks.len() >= TASKS_MAX {
            let id = message.id.clone().unwrap_or_default();
            lines::write(&error(&id, INVALID_REQUEST, "too many requests at once"));
            continue;
        }
        let (places, is_call) = (
            Arc::clone(&places),
            message.method.as_deref() == Some("tools/call"),
        );
        let (backend, done) = (Arc::clone(&backend), Arc::clone(&running));
        let key = message.id.as_ref().map(Value::to_string);
        let own = key.clone();
        // Whoever ends at once waits until it is known.
        let mut known = table(&running);
        let task = tasks.spawn(async move {
            // What else is asked waits for no call, and a call that waits can be cancelled.
            let _place = match is_call {
                true => places.acquire_owned().await.ok(),
                false => None,
            };
            answer(&backend, &message, text).await;
            if let Some(key) = own {
                table(&done).remove(&key);
            }
        });
        if let Some(key) = key {
            known.insert(key, task);
        }
        drop(known);
    }
    // The agent asks nothing more; what it asked for is finished.
    while tasks.join_next().await.is_some() {}
    Ok(())
}

fn table(running: &Running) -> std::sync::MutexGuard<'_, HashMap<String, AbortHandle>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a call. What it has signed stays good for the next one.
fn cancel(running: &Running, params: Option<&Value>) {
    let id = params.and_then(|params| params.get("requestId"));
    let task = id.and_then(|id| table(running).remove(&id.to_string()));
    if let Some(task) = task {
        task.abort();
    }
}

/// Answers one message, if it wants an answer.
async fn answer(backend: &Backend, message: &Message, text: Vec<u8>) {
    let params = message.params.as_ref();
    let is_call = message.method.as_deref() == Some("tools/call");
    let call = params.filter(|_| is_call).and_then(Call::read);
    match (backend, &message.id, call) {
        (Backend::Gateway(caller), Some(id), Some(call)) => {
            pay(caller, &call, id, message.meta()).await;
        }
        _ => pass_on(backend, message, text).await,
    }
}

/// Makes a call and pays for it.
async fn pay(caller: &Caller, call: &Call, id: &Value, meta: Option<&Value>) {
    let token = meta.and_then(|meta| meta.get("progressToken")).cloned();
    let mut items = 0_u64;
    let mut result = caller
        .call(call, |item| {
            if let Some(token) = &token {
                items += 1;
                lines::write(&progress(token, items, item));
            }
        })
        .await;
    if meta.is_some_and(|meta| meta.get(VERSION_KEY).is_some()) {
        result["resultType"] = "complete".into();
    }
    lines::write(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
}

/// Lets somebody else answer.
async fn pass_on(backend: &Backend, message: &Message, text: Vec<u8>) {
    let headers = message.headers();
    let passed = match backend {
        Backend::Gateway(caller) => {
            let passed = caller.pass_on(text, &headers).await;
            passed.map(|answer| {
                if message.id.is_some() {
                    lines::write(&answer);
                }
            })
        }
        Backend::Door(door) => door.pass_on(text, &headers, lines::write).await,
    };
    if let (Err(problem), Some(id)) = (passed, &message.id) {
        lines::write(&error(id, INTERNAL, &format!("{problem:#}")));
    }
}

impl Message {
    fn meta(&self) -> Option<&Value> {
        self.params.as_ref()?.get("_meta")
    }

    /// What HTTP has to say besides, in the stateless revision.
    fn headers(&self) -> Vec<(&'static str, &str)> {
        let version = self.meta().and_then(|meta| meta.get(VERSION_KEY));
        let version = version.and_then(Value::as_str);
        let (Some(version), Some(method)) = (version, &self.method) else {
            return vec![];
        };
        let name = self
            .params
            .as_ref()
            .and_then(|params| params["name"].as_str());
        let mut headers = vec![("mcp-protocol-version", version), ("mcp-method", method)];
        headers.extend(name.map(|name| ("mcp-name", name)));
        headers
    }
}

fn progress(token: &Value, items: u64, item: &[u8]) -> Value {
    let item: Value = serde_json::from_slice(item).unwrap_or_default();
    let text = tool::as_text(&item);
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": { "progressToken": token, "progress": items, "message": text },
    })
}

fn error(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// What an agent may spend a day unless its user says otherwise, in base units: one dollar.
const BUDGET: rialto_channels::Amount = rialto_channels::Amount::new(1_000_000);
/// Messages that are answered at once; the next one waits.
const CALLS_AT_ONCE: usize = 16;
/// Requests that are not answered yet.
const TASKS_MAX: usize = 256;
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const INTERNAL: i32 = -32_603;
