//! Services as models: which can do what, by the shape of their methods.

use serde_json::{Value, json};

use crate::listing::{MethodRecord, ServiceRecord};

/// What a service can do for these clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Model {
    /// It has `chat(messages, options?)`, which answers with a message.
    pub(crate) chats: bool,
    /// It has `stream(messages, options?)`, which answers with pieces of text.
    pub(crate) streams: bool,
    /// It has `embed(texts)`, which answers with a vector for each.
    pub(crate) embeds: bool,
}

impl Model {
    pub(crate) fn of(service: &ServiceRecord) -> Self {
        let method = |name: &str| service.methods.iter().find(|method| method.name == name);
        let chats = method("chat").is_some_and(|chat| {
            let answer = &chat.result["properties"];
            takes(chat, "messages")
                && answer["message"].is_object()
                && answer["finish_reason"].is_object()
        });
        let streams = method("stream").is_some_and(|stream| {
            takes(stream, "messages")
                && stream.streams
                && stream.result["items"]["type"] == "string"
        });
        let embeds = method("embed").is_some_and(|embed| {
            let vector = &embed.result["items"];
            takes(embed, "texts")
                && vector["type"] == "array"
                && is_number(&vector["items"]["type"])
        });
        Self {
            chats,
            streams: chats && streams,
            embeds,
        }
    }

    pub(crate) const fn is_one(self) -> bool {
        self.chats || self.embeds
    }
}

/// Whether a schema's type is that of numbers; what is no number is null in answers.
fn is_number(kind: &Value) -> bool {
    kind == "number" || *kind == json!(["number", "null"])
}

/// Whether a method needs this list and nothing else.
fn takes(method: &MethodRecord, name: &str) -> bool {
    method
        .params
        .iter()
        .any(|param| param.name == name && param.schema["type"] == "array")
        && method
            .params
            .iter()
            .all(|param| param.name == name || !param.required)
}

/// A model as the list of them shows it.
pub(crate) fn model(service: &ServiceRecord, created: u64) -> Value {
    let owner = service
        .royalty
        .as_ref()
        .map_or("rialto", |royalty| royalty.publisher.as_str());
    entry(&service.name, owner, created)
}

/// The same of a service that is known by its name.
pub(crate) fn entry(name: &str, owner: &str, created: u64) -> Value {
    json!({ "id": name, "object": "model", "created": created, "owned_by": owner })
}
