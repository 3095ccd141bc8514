//! Answers piece by piece, as events of either kind of client.
//!
//! The last event has what the call came to under `rialto`. Clients read over what they do not know.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Value, json};

use super::conversation::{Said, Usage};
use super::{Answered, chat, responses};

/// Which client reads.
pub(crate) enum Writer {
    /// One of chat completions.
    Chat(chat::Manner),
    /// One of responses.
    Response {
        /// How.
        manner: Box<responses::Manner>,
        /// Of the next event.
        number: u64,
    },
}

/// The events of an answer under way, as bytes.
pub(crate) struct Events {
    writer: Writer,
    answered: Answered,
    tokens_max: Option<u64>,
    /// Written and not sent yet.
    waiting: VecDeque<Bytes>,
    /// What was said so far.
    text: String,
}

impl Writer {
    pub(crate) const fn chat(manner: chat::Manner) -> Self {
        Self::Chat(manner)
    }

    pub(crate) fn response(manner: responses::Manner) -> Self {
        Self::Response {
            manner: Box::new(manner),
            number: 0,
        }
    }

    fn beginning(&mut self, answered: &Answered) -> Vec<Value> {
        match self {
            Self::Chat(_) => vec![chat::beginning(answered)],
            Self::Response { manner, .. } => manner.beginning(answered),
        }
    }

    fn piece(&self, answered: &Answered, text: &str) -> Value {
        match self {
            Self::Chat(_) => chat::piece(answered, text),
            Self::Response { .. } => responses::piece(answered, text),
        }
    }

    fn end(&self, answered: &Answered, text: &str, reason: &str, used: Usage) -> Vec<Value> {
        match self {
            Self::Chat(manner) => {
                let mut events = vec![chat::end(answered, reason)];
                if manner.tells_usage {
                    events.push(chat::tokens(answered, used));
                }
                events
            }
            Self::Response { manner, .. } => manner.end(answered, text, reason, used),
        }
    }

    fn failure(&self, error: &Value) -> Value {
        let (code, message) = (&error["code"], &error["message"]);
        match self {
            Self::Chat(_) => json!({ "error": {
                "message": message, "type": "server_error", "param": null, "code": code,
            }}),
            Self::Response { .. } => json!({
                "type": "error", "code": code, "message": message, "param": null,
            }),
        }
    }

    /// An event's bytes.
    fn write(&mut self, mut event: Value) -> Bytes {
        match self {
            Self::Chat(_) => format!("data: {event}\n\n").into(),
            Self::Response { number, .. } => {
                event["sequence_number"] = (*number).into();
                *number = number.saturating_add(1);
                let kind = event["type"].as_str().unwrap_or_default().to_owned();
                format!("event: {kind}\ndata: {event}\n\n").into()
            }
        }
    }
}

impl Events {
    /// An answer of at most so many tokens, as far as the client says.
    pub(crate) fn new(writer: Writer, answered: Answered, tokens_max: Option<u64>) -> Self {
        let mut events = Self {
            writer,
            answered,
            tokens_max,
            waiting: VecDeque::new(),
            text: String::new(),
        };
        let beginning = events.writer.beginning(&events.answered);
        events.push(beginning);
        events
    }

    /// The next bytes to send, if any wait.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        self.waiting.pop_front()
    }

    /// An item of a stream of texts.
    pub(crate) fn item(&mut self, item: &[u8]) {
        let piece: Value = serde_json::from_slice(item).unwrap_or_default();
        self.say(piece.as_str().unwrap_or_default());
    }

    fn say(&mut self, text: &str) {
        self.text.push_str(text);
        let event = self.writer.piece(&self.answered, text);
        self.push(vec![event]);
    }

    /// The good end of a service's answer, which had so many tokens, at this cost.
    pub(crate) fn end(&mut self, body: &[u8], counted: Usage, cost: Value) {
        // A model that does not stream has said all at once.
        let said: Option<Said> = serde_json::from_slice(body).ok();
        if let Some(said) = &said {
            self.say(&said.message.content);
        }
        let used = said.as_ref().map_or(counted, |said| said.usage);
        let is_cut = self
            .tokens_max
            .is_some_and(|most| used.completion_tokens >= most);
        let reason = match &said {
            Some(said) => said.finish_reason.as_str(),
            None if is_cut => "length",
            None => "stop",
        };
        let last = self.writer.end(&self.answered, &self.text, reason, used);
        self.close(last, cost);
    }

    /// An end for this reason, at this cost.
    pub(crate) fn fail(&mut self, error: &Value, cost: Value) {
        let last = vec![self.writer.failure(error)];
        self.close(last, cost);
    }

    fn close(&mut self, mut last: Vec<Value>, cost: Value) {
        if let Some(event) = last.last_mut() {
            event["rialto"] = cost;
        }
        self.push(last);
        if matches!(self.writer, Writer::Chat(_)) {
            self.waiting
                .push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        }
    }

    fn push(&mut self, events: Vec<Value>) {
        for event in events {
            let bytes = self.writer.write(event);
            self.waiting.push_back(bytes);
        }
    }
}
