//! `POST /v1/responses`.
//!
//! Nothing is kept between requests: a conversation goes on by sending what was said.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conversation::{self, Content, Said, Usage};
use super::{Answered, Asked, Mistake, mistake};

/// What is asked for.
#[derive(Debug, Deserialize)]
struct Request {
    model: String,
    input: Input,
    instructions: Option<String>,
    max_output_tokens: Option<Value>,
    temperature: Option<Value>,
    top_p: Option<Value>,
    stream: Option<bool>,
    previous_response_id: Option<Value>,
    conversation: Option<Value>,
    background: Option<bool>,
    tools: Option<Vec<Value>>,
    text: Option<Value>,
    metadata: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    content: Option<Content>,
}

/// How the answer is wanted, and what it repeats of the request.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// Event by event.
    pub(crate) streams: bool,
    /// The most tokens, where the client says so.
    pub(crate) tokens_max: Option<u64>,
    echo: Map<String, Value>,
}

/// Reads a request.
///
/// # Errors
/// [`Mistake`].
pub(crate) fn read(body: &[u8]) -> Result<(Asked, Manner), Mistake> {
    let request: Request = mistake::read(body, &PARAMS)?;
    request.check()?;
    let mut messages = Vec::new();
    if let Some(instructions) = &request.instructions {
        messages.push(conversation::message(
            "system",
            instructions.clone(),
            "instructions",
        )?);
    }
    match request.input {
        Input::Text(text) => messages.push(conversation::message("user", text, "input")?),
        Input::Items(items) => {
            for item in items {
                messages.push(item.message()?);
            }
        }
    }
    let options = conversation::options([
        ("max_tokens", request.max_output_tokens.clone()),
        ("temperature", request.temperature.clone()),
        ("top_p", request.top_p.clone()),
    ]);
    let manner = Manner {
        streams: request.stream.unwrap_or(false),
        tokens_max: request.max_output_tokens.as_ref().and_then(Value::as_u64),
        echo: [
            ("instructions", json!(request.instructions)),
            ("max_output_tokens", json!(request.max_output_tokens)),
            ("temperature", json!(request.temperature)),
            ("top_p", json!(request.top_p)),
            ("metadata", request.metadata.unwrap_or_else(|| json!({}))),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect(),
    };
    let asked = Asked {
        service: request.model,
        method: "chat",
        arguments: conversation::arguments(messages, options),
    };
    Ok((asked, manner))
}

impl Request {
    /// Refuses what would be answered otherwise than it was asked.
    fn check(&self) -> Result<(), Mistake> {
        let is_given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
        let format = self.text.as_ref().map(|text| &text["format"]["type"]);
        let is_text = format.is_none_or(|kind| kind.is_null() || kind == "text");
        let unsupported = [
            ("previous_response_id", is_given(&self.previous_response_id)),
            ("conversation", is_given(&self.conversation)),
            ("background", self.background == Some(true)),
            (
                "tools",
                self.tools.as_ref().is_some_and(|tools| !tools.is_empty()),
            ),
            ("text.format", !is_text),
        ];
        match unsupported.into_iter().find(|(_, is_asked)| *is_asked) {
            Some((param, _)) => Err(Mistake::unsupported(param)),
            None => Ok(()),
        }
    }
}

impl Item {
    fn message(self) -> Result<Value, Mistake> {
        let (kind, role) = (self.kind.as_deref().unwrap_or("message"), self.role);
        let (Some(role), Some(content), "message") = (role, self.content, kind) else {
            let message =
                format!("an item of type `{kind}` is no message: models here call no tools");
            return Err(Mistake::invalid("input", message));
        };
        conversation::message(&role, content.text("input")?, "input")
    }
}

impl Manner {
    /// A response in a state, with what it has so far.
    fn response(&self, answered: &Answered, status: &str, output: Value, used: Value) -> Value {
        let mut response = json!({
            "id": format!("resp_{}", answered.id),
            "object": "response",
            "created_at": answered.created,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "model": answered.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "store": false,
            "text": { "format": { "type": "text" } },
            "tool_choice": "auto",
            "tools": [],
            "truncation": "disabled",
            "usage": used,
        });
        for (name, value) in &self.echo {
            response[name] = value.clone();
        }
        response
    }

    /// A response that has ended.
    pub(crate) fn whole(
        &self,
        answered: &Answered,
        text: &str,
        reason: &str,
        used: Usage,
    ) -> Value {
        let is_cut = reason == "length";
        let status = if is_cut { "incomplete" } else { "completed" };
        let item = item(answered, status, &[part(text)]);
        let mut response = self.response(answered, status, json!([item]), usage(used));
        if is_cut {
            response["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        response
    }

    /// A service's answer as a whole; none if it is no answer to a chat.
    pub(crate) fn answer(&self, body: &[u8], answered: &Answered) -> Option<Value> {
        let said: Said = serde_json::from_slice(body).ok()?;
        Some(self.whole(
            answered,
            &said.message.content,
            &said.finish_reason,
            said.usage,
        ))
    }

    /// The events before the first piece.
    pub(crate) fn beginning(&self, answered: &Answered) -> Vec<Value> {
        let begun = self.response(answered, "in_progress", json!([]), Value::Null);
        let item = item(answered, "in_progress", &[]);
        vec![
            json!({ "type": "response.created", "response": begun }),
            json!({ "type": "response.in_progress", "response": begun }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": item }),
            json!({
                "type": "response.content_part.added", "item_id": name(answered),
                "output_index": 0, "content_index": 0, "part": part(""),
            }),
        ]
    }

    /// The events after the last piece.
    pub(crate) fn end(
        &self,
        answered: &Answered,
        text: &str,
        reason: &str,
        used: Usage,
    ) -> Vec<Value> {
        let whole = self.whole(answered, text, reason, used);
        let last = match reason {
            "length" => "response.incomplete",
            _ => "response.completed",
        };
        let place = json!({ "item_id": name(answered), "output_index": 0, "content_index": 0 });
        let mut done = json!({ "type": "response.output_text.done", "text": text, "logprobs": [] });
        let mut closed = json!({ "type": "response.content_part.done", "part": part(text) });
        for event in [&mut done, &mut closed] {
            for (key, value) in place.as_object().into_iter().flatten() {
                event[key] = value.clone();
            }
        }
        let item = whole["output"][0].clone();
        vec![
            done,
            closed,
            json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
            json!({ "type": last, "response": whole }),
        ]
    }
}

/// A piece of text.
pub(crate) fn piece(answered: &Answered, text: &str) -> Value {
    json!({
        "type": "response.output_text.delta", "item_id": name(answered), "output_index": 0,
        "content_index": 0, "delta": text, "logprobs": [],
    })
}

fn name(answered: &Answered) -> String {
    format!("msg_{}", answered.id)
}

fn item(answered: &Answered, status: &str, parts: &[Value]) -> Value {
    json!({
        "type": "message", "id": name(answered), "status": status, "role": "assistant", "content": parts,
    })
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn usage(used: Usage) -> Value {
    json!({
        "input_tokens": used.prompt_tokens,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": used.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": used.total(),
    })
}

/// What is read, and what says only how tools would be chosen or what they would say, of which there are none.
const PARAMS: [&str; 20] = [
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "temperature",
    "top_p",
    "stream",
    "previous_response_id",
    "conversation",
    "background",
    "tools",
    "text",
    "include",
    "max_tool_calls",
    "parallel_tool_calls",
    "stream_options",
    "tool_choice",
    "top_logprobs",
    "truncation",
    "metadata",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_put_in_our_terms() {
        let body =
            br#"{"model":"chat","instructions":"Be brief.","input":"Hello","max_output_tokens":5}"#;
        let (asked, manner) = read(body).unwrap();
        let arguments: Value = serde_json::from_slice(&asked.arguments).unwrap();
        let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]);
        assert_eq!(
            arguments,
            json!({"messages": messages, "options": {"max_tokens": 5}})
        );
        assert_eq!(manner.tokens_max, Some(5));
        let items = br#"{"model":"chat","input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"b"}]},
            {"role":"user","content":"c"}]}"#;
        let (asked, _) = read(items).unwrap();
        let arguments: Value = serde_json::from_slice(&asked.arguments).unwrap();
        assert_eq!(
            arguments["messages"][1],
            json!({"role": "assistant", "content": "b"})
        );
        for (more, param) in [
            (r#""tools":[{}]"#, "tools"),
            (r#""reasoning":{"effort":"low"}"#, "reasoning"),
            (r#""previous_response_id":"x""#, "previous_response_id"),
            (r#""text":{"format":{"type":"json_schema"}}"#, "text.format"),
        ] {
            let body = format!(r#"{{"model":"chat","input":"a",{more}}}"#);
            assert_eq!(
                read(body.as_bytes()).unwrap_err(),
                Mistake::unsupported(param)
            );
        }
    }

    #[test]
    fn events_tell_one_response_from_beginning_to_end() {
        let (_, manner) = read(br#"{"model":"chat","input":"a","stream":true}"#).unwrap();
        let answered = Answered {
            id: "1".to_owned(),
            created: 5,
            model: "chat".to_owned(),
        };
        let used = Usage {
            prompt_tokens: 2,
            completion_tokens: 3,
        };
        let begun = manner.beginning(&answered);
        assert_eq!(begun[0]["response"]["status"], "in_progress");
        let ended = manner.end(&answered, "Hi", "length", used);
        assert_eq!(ended[3]["type"], "response.incomplete");
        assert_eq!(
            ended[3]["response"]["output"][0]["content"][0]["text"],
            "Hi"
        );
        assert_eq!(ended[3]["response"]["usage"]["total_tokens"], 5);
        assert_eq!(ended[0]["item_id"], piece(&answered, "x")["item_id"]);
    }
}
