//! One call of a tool: quoted, paid and told as an agent reads it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rialto_gateway::client::{Answer, Body, ClientError, Heard, PayingClient};
use serde_json::{Value, json};

use crate::exit;

/// Pays and passes on.
#[derive(Debug)]
pub(super) struct Caller {
    client: PayingClient,
    http: reqwest::Client,
    gateway: String,
    /// What services answer, by name, and when they were asked.
    known: Mutex<HashMap<String, (Instant, Value)>>,
}

/// Which tool is called, with what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    service: String,
    method: String,
    arguments: Value,
}

impl Call {
    /// Reads a call that has to be paid for perhaps; none for the tools that find others, and for what makes no
    /// sense, which the gateway answers.
    pub(super) fn read(params: &Value) -> Option<Self> {
        let (mut name, mut arguments) = (params["name"].as_str()?, &params["arguments"]);
        if name == "rialto__call" {
            (name, arguments) = (arguments["name"].as_str()?, &arguments["arguments"]);
        }
        let (service, method) = name.split_once('_')?;
        let arguments = match arguments {
            Value::Null => json!({}),
            object @ Value::Object(_) => object.clone(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
        };
        let is_plain = |text: &str| {
            let mut letters = text.bytes();
            letters.all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter))
        };
        let is_tool = !method.starts_with('_') && is_plain(service) && is_plain(method);
        is_tool.then(|| Self {
            service: service.to_owned(),
            method: method.to_owned(),
            arguments,
        })
    }
}

impl Caller {
    pub(super) fn new(client: PayingClient, gateway: String) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(ASKING_MAX).build();
        Ok(Self {
            client,
            http: http.context("no HTTP client")?,
            gateway,
            known: Mutex::default(),
        })
    }

    /// Lets the gateway answer a message.
    pub(super) async fn pass_on(&self, text: Vec<u8>, headers: &[(&str, &str)]) -> Result<Value> {
        let url = format!("{}/mcp", self.gateway);
        let mut request = self.http.post(&url).body(text);
        request = request.header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let unreachable = || format!("no gateway answers at {url}: `rialto up` starts one");
        let answer = request.send().await.with_context(unreachable)?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        let other = || format!("{url} answered {status}: it is no gateway, or one without MCP");
        let message: Value = serde_json::from_slice(&body).with_context(other)?;
        anyhow::ensure!(message["jsonrpc"] == "2.0", other());
        Ok(message)
    }

    /// Makes a call, and pays for it. Tells what came item by item.
    pub(super) async fn call(&self, call: &Call, each: impl FnMut(&[u8]) + Send) -> Value {
        match self.paid(call, each).await {
            Ok(result) => result,
            Err(error) => failed(error),
        }
    }

    async fn paid(
        &self,
        call: &Call,
        mut each: impl FnMut(&[u8]) + Send,
    ) -> Result<Value, ClientError> {
        let body = Body::json(&call.arguments);
        let quote = self
            .client
            .quote(&call.service, &call.method, &body)
            .await?;
        let hear = |part: Heard<'_>| match part {
            Heard::Item(item) => each(item),
            Heard::Anew => {}
        };
        // Before it is paid: an answer that cannot be told in its schema's terms is thrown away by clients.
        let is_object = self.answers_object(call).await?;
        let answer = self.client.stream(&quote, &body, hear).await?;
        Ok(told(&answer, is_object))
    }

    /// Whether a method's answer is an object by its schema: what is none travels in one.
    async fn answers_object(&self, call: &Call) -> Result<bool, ClientError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&call.service)
            .cloned();
        let fresh = known.filter(|(asked, _)| asked.elapsed() < KNOWN_FOR);
        let service = match fresh {
            Some((_, service)) => service,
            None => {
                let url = format!("{}/services/{}", self.gateway, call.service);
                let asked = self.http.get(url).send().await;
                let answer = asked.and_then(reqwest::Response::error_for_status);
                let answer = answer.map_err(ClientError::Transport)?;
                let service: Value = answer.json().await.map_err(ClientError::Transport)?;
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.insert(call.service.clone(), (Instant::now(), service.clone()));
                service
            }
        };
        let methods = service["methods"].as_array();
        let method =
            methods.and_then(|all| all.iter().find(|it| it["name"] == call.method.as_str()));
        Ok(method.is_some_and(|method| method["result"]["type"] == "object"))
    }
}

/// An answer as a tool's result.
fn told(answer: &Answer, is_object: bool) -> Value {
    let unread = |_| String::from_utf8_lossy(&answer.body).into();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(unread);
    let mut meta = json!({ "rialto/charged": answer.charged.to_string() });
    if let Some(signed) = &answer.receipt {
        meta["rialto/receipt"] = signed.receipt.id.to_string().into();
    }
    let mut content = vec![json!({ "type": "text", "text": as_text(&body) })];
    let broke_off = answer
        .broke_off
        .as_ref()
        .map(|error| format!("the answer broke off, and what came before it is charged: {error}"));
    let fault = answer
        .receipt_fault
        .as_ref()
        .map(|fault| format!("the host broke its word: {fault}"));
    let is_error = broke_off.is_some();
    for text in broke_off.into_iter().chain(fault) {
        content.push(json!({ "type": "text", "text": text }));
    }
    let mut result = json!({ "content": content, "_meta": meta });
    if is_error {
        result["isError"] = true.into();
    } else {
        result["structuredContent"] = match is_object && body.is_object() {
            true => body,
            false => json!({ "result": body }),
        };
    }
    result
}

fn failed(error: ClientError) -> Value {
    let error = anyhow::Error::new(error);
    let causes = error.chain().map(ToString::to_string);
    let mut text = causes.collect::<Vec<_>>().join(": ");
    let word = exit::services_word(&error).map(|word| word.to_string());
    let next = exit::next_step(&error).map(|next| format!("try: {next}"));
    for more in [word, next].into_iter().flatten() {
        text.push('\n');
        text.push_str(&more);
    }
    json!({ "isError": true, "content": [{ "type": "text", "text": text }] })
}

/// A value for agents to read: a text as it is.
pub(super) fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// How long the gateway may take for what it answers itself.
const ASKING_MAX: Duration = Duration::from_secs(30);
/// How long what a service answers is believed.
const KNOWN_FOR: Duration = Duration::from_secs(60);
const KNOWN_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_called_by_their_own_names_or_through_another() {
        let call = Call {
            service: "file-type".to_owned(),
            method: "identify_all".to_owned(),
            arguments: json!({"a": 1}),
        };
        let own = json!({"name": "file-type_identify_all", "arguments": {"a": 1}});
        assert_eq!(Call::read(&own).as_ref(), Some(&call));
        let through = json!({"name": "rialto__call", "arguments": own});
        assert_eq!(Call::read(&through), Some(call));
        for other in [
            json!({"name": "rialto__search", "arguments": {"query": ""}}),
            json!({"name": "nothing"}),
            json!({"name": "a_b", "arguments": [1]}),
            json!({"name": "a_../../b"}),
            json!({}),
        ] {
            assert_eq!(Call::read(&other), None, "{other}");
        }
        assert!(Call::read(&json!({"name": "a_b"})).is_some());
    }
}
