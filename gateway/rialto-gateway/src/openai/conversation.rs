//! Conversations: what is asked for in our services' terms, and what they say.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::Mistake;

/// A call of a service that a request asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    /// The service: what clients call a model.
    pub(crate) service: String,
    /// The method.
    pub(crate) method: &'static str,
    /// Its arguments, as JSON.
    pub(crate) arguments: Bytes,
}

/// What a service's answer came to, besides itself.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// A name for it of letters and digits.
    pub(crate) id: String,
    /// When, in seconds since the Unix epoch.
    pub(crate) created: u64,
    /// The model, as the client called it.
    pub(crate) model: String,
}

impl Answered {
    /// An answer that is given now, under a name that says nothing of the question.
    pub(crate) fn now(digest: &[u8; 32], model: &str) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(digest);
        hash.update(now.as_nanos().to_le_bytes());
        let id = hash.finalize()[..12]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            id,
            created: now.as_secs(),
            model: model.to_owned(),
        }
    }
}

/// A text, or parts of one that are all text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    /// As it is.
    Text(String),
    /// In parts.
    Parts(Vec<Part>),
}

/// A part of what is said.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(rename = "type", default)]
    kind: String,
    text: Option<String>,
}

impl Content {
    /// All of it as one text.
    ///
    /// # Errors
    /// For pictures, sounds and files.
    pub(crate) fn text(self, param: &'static str) -> Result<String, Mistake> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Parts(parts) => {
                let texts = parts
                    .into_iter()
                    .map(|part| match (part.kind.as_str(), part.text) {
                        ("text" | "input_text" | "output_text", Some(text)) => Ok(text),
                        (kind, _) => {
                            let message = format!(
                                "a part of type `{kind}` is no text: models here read text alone"
                            );
                            Err(Mistake::invalid(param, message))
                        }
                    });
                texts.collect()
            }
        }
    }
}

/// One contribution to a conversation, in our services' terms.
///
/// # Errors
/// For a role that is none.
pub(crate) fn message(role: &str, text: String, param: &'static str) -> Result<Value, Mistake> {
    let role = match role {
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        other => {
            let message =
                format!("the role `{other}` is none of system, developer, user, assistant");
            return Err(Mistake::invalid(param, message));
        }
    };
    Ok(json!({ "role": role, "content": text }))
}

/// The arguments of a chat: messages, and options if there are any.
pub(crate) fn arguments(messages: Vec<Value>, options: Map<String, Value>) -> Bytes {
    let mut arguments = json!({ "messages": messages });
    if !options.is_empty() {
        arguments["options"] = Value::Object(options);
    }
    arguments.to_string().into()
}

/// Puts what was given under our services' names.
pub(crate) fn options<const N: usize>(given: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let given = given.into_iter();
    let present = given.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.filter(|(_, value)| !value.is_null()).collect()
}

/// A service's answer to a chat.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) message: Message,
    pub(crate) finish_reason: String,
    #[serde(default)]
    pub(crate) usage: Usage,
}

/// What a service says.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) content: String,
}

/// Tokens that it took.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

impl Usage {
    pub(crate) const fn total(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}
