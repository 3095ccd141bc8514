//! A message as clients send it: what it asks for, what it continues, and how it pays.
//!
//! Fields that nobody knows are read over, as the protocol wants; files are refused, since methods take values.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::payment::{self, Said};
use super::{Error, Kind, numbers};

/// A message that can be answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    /// The conversation that it belongs to, if it says one.
    pub(crate) context: Option<String>,
    /// The task that it continues, if any.
    pub(crate) task: Option<String>,
    pub(crate) content: Content,
    pub(crate) payment: Said,
    /// Whether the client waits for no end.
    pub(crate) returns_at_once: bool,
}

/// What a message asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Content {
    /// Its data, if it has any.
    pub(crate) data: Option<Value>,
    /// Its text, if it has any.
    pub(crate) text: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    message: Message,
    configuration: Option<Configuration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: Option<String>,
    context_id: Option<String>,
    task_id: Option<String>,
    role: Option<String>,
    #[serde(default)]
    parts: Vec<Part>,
    metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    data: Option<Value>,
    raw: Option<Value>,
    url: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    return_immediately: Option<bool>,
}

/// Reads what a message is sent with.
///
/// # Errors
/// [`Kind::Params`] for what does not fit, [`Kind::ContentType`] for files.
pub(crate) fn read(params: &[u8]) -> Result<Sent, Error> {
    let refuse = |message: &str| Err(Error::new(Kind::Params, message));
    let request: Request = serde_json::from_slice(params)
        .map_err(|error| Error::new(Kind::Params, format!("no message: {error}")))?;
    let message = request.message;
    if message.message_id.is_none_or(|id| id.is_empty()) {
        return refuse("`message.messageId` is missing: any text that is new each time");
    }
    if message.role.as_deref() != Some("ROLE_USER") {
        return refuse("`message.role` has to be ROLE_USER");
    }
    let context = message.context_id.filter(|id| !id.is_empty());
    if context
        .as_ref()
        .is_some_and(|id| id.len() > CONTEXT_BYTES_MAX)
    {
        return refuse("`message.contextId` is too long: leave it out, and the task will have one");
    }
    let mut metadata = message.metadata.unwrap_or_default();
    Ok(Sent {
        context,
        task: message.task_id.filter(|id| !id.is_empty()),
        content: content(message.parts)?,
        payment: payment::said(&mut metadata)?,
        returns_at_once: request
            .configuration
            .and_then(|it| it.return_immediately)
            .unwrap_or_default(),
    })
}

fn content(parts: Vec<Part>) -> Result<Content, Error> {
    if parts.is_empty() {
        let message =
            "`message.parts` is empty: send a data part {\"method\": …, \"arguments\": {…}}";
        return Err(Error::new(Kind::Params, message));
    }
    let mut content = Content::default();
    for part in parts {
        if part.raw.is_some() || part.url.is_some() {
            let message = "files are not taken: send a data part with the method's arguments, \
                 bytes in them in base64";
            return Err(Error::new(Kind::ContentType, message));
        }
        if let Some(text) = part.text {
            match &mut content.text {
                Some(before) => {
                    before.push('\n');
                    before.push_str(&text);
                }
                None => content.text = Some(text),
            }
        }
        if let Some(mut data) = part.data {
            if content.data.is_some() {
                let message = "there are two data parts: send one call in a message";
                return Err(Error::new(Kind::Params, message));
            }
            numbers::whole(&mut data);
            content.data = Some(data);
        }
    }
    Ok(content)
}

/// The longest name of a conversation.
const CONTEXT_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(fields: Value) -> Value {
        let mut message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}]});
        for (name, value) in fields.as_object().unwrap() {
            message[name] = value.clone();
        }
        json!({ "message": message })
    }

    #[test]
    fn a_message_asks_continues_and_pays() {
        let sent = message(json!({
            "contextId": "", "taskId": "t", "new": 1,
            "parts": [{"text": "a", "mediaType": "text/plain"}, {"text": "b"}, {"data": {"x": 4.0}}],
            "metadata": {"x402.payment.payload": {"x402Version": 2.0}},
        }));
        let mut sent = sent;
        sent["configuration"] = json!({"returnImmediately": true, "acceptedOutputModes": []});
        let read = read(sent.to_string().as_bytes()).unwrap();
        assert_eq!((read.context, read.task.as_deref()), (None, Some("t")));
        assert_eq!(read.content.text.as_deref(), Some("a\nb"));
        assert_eq!(read.content.data.unwrap().to_string(), r#"{"x":4}"#);
        assert_eq!(read.payment, Said::Submitted(json!({"x402Version": 2})));
        assert!(read.returns_at_once);
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        for fields in [
            json!({"messageId": ""}),
            json!({"role": "ROLE_AGENT"}),
            json!({"role": "user"}),
            json!({"parts": []}),
            json!({"parts": "x"}),
            json!({"parts": [{"data": {}}, {"data": {}}]}),
            json!({"parts": [{"raw": "aGk="}]}),
            json!({"parts": [{"url": "http://x"}]}),
            json!({"contextId": "x".repeat(129)}),
            json!({"metadata": {"x402.payment.status": "payment-submitted"}}),
        ] {
            assert!(
                read(message(fields.clone()).to_string().as_bytes()).is_err(),
                "{fields}"
            );
        }
        assert!(read(b"{}").is_err() && read(b"nonsense").is_err());
    }
}
