//! Tasks and what is told of them, as the protocol writes them.
//!
//! A task is one call. Its answer is one artifact: a part for each item of a method that streams, and one part for the
//! answer of another. No history is kept: the messages are the client's own.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::payment;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The call runs.
    Working,
    /// The client has to pay, or has to pay otherwise.
    InputRequired,
    /// There is an answer.
    Completed,
    /// There is none.
    Failed,
    /// The client wanted none.
    Canceled,
}

/// What is said of where a task is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// For people; none if there is nothing to say.
    pub(crate) text: Option<String>,
    /// For programs.
    pub(crate) metadata: Map<String, Value>,
    /// When it came to that, as RFC 3339 has it.
    pub(crate) at: String,
}

/// What is told of one task, beside its status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) id: &'a str,
    pub(crate) context: &'a str,
    /// The service and its method.
    pub(crate) call: (&'a str, &'a str),
}

/// An answer, as far as it is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answer {
    /// JSON, each.
    pub(crate) items: Vec<Bytes>,
    /// Whether there are items at all, and not one answer.
    pub(crate) streams: bool,
    /// Whether it was there and is not kept any more.
    pub(crate) forgotten: bool,
}

impl State {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Working, "TASK_STATE_WORKING"),
        (Self::InputRequired, "TASK_STATE_INPUT_REQUIRED"),
        (Self::Completed, "TASK_STATE_COMPLETED"),
        (Self::Failed, "TASK_STATE_FAILED"),
        (Self::Canceled, "TASK_STATE_CANCELED"),
    ];

    /// The protocol's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Working => "TASK_STATE_WORKING",
            Self::InputRequired => "TASK_STATE_INPUT_REQUIRED",
            Self::Completed => "TASK_STATE_COMPLETED",
            Self::Failed => "TASK_STATE_FAILED",
            Self::Canceled => "TASK_STATE_CANCELED",
        }
    }

    /// The state of this name; states that no task is in here count too, as none of them.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, known)| *known == name)
            .map(|(state, _)| state)
    }

    /// Whether nothing comes after it.
    pub(crate) const fn is_over(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Canceled => true,
            Self::Working | Self::InputRequired => false,
        }
    }
}

impl Named<'_> {
    /// A status, the so-many-th of its task.
    fn status(&self, status: &Status, number: u64) -> Value {
        let mut told = json!({ "state": status.state.name(), "timestamp": status.at });
        if let Some(text) = &status.text {
            let mut message = json!({
                "messageId": format!("{}-{number}", self.id),
                "contextId": self.context,
                "taskId": self.id,
                "role": "ROLE_AGENT",
                "parts": [{ "text": text }],
            });
            if !status.metadata.is_empty() {
                message["metadata"] = status.metadata.clone().into();
            }
            if payment::is_in(&status.metadata) {
                message["extensions"] = json!([payment::EXTENSION]);
            }
            told["message"] = message;
        }
        told
    }

    /// The whole task. An answer is left out where it is not asked for.
    pub(crate) fn task(
        &self,
        (status, number): (&Status, u64),
        answer: Option<&Answer>,
        cost: &Map<String, Value>,
    ) -> Value {
        let mut task = json!({
            "id": self.id,
            "contextId": self.context,
            "status": self.status(status, number),
        });
        if let Some(answer) = answer
            && let Some(artifact) = self.artifact(answer)
        {
            task["artifacts"] = json!([artifact]);
        }
        let mut metadata = cost.clone();
        metadata.insert("rialto/service".to_owned(), self.call.0.into());
        metadata.insert("rialto/method".to_owned(), self.call.1.into());
        task["metadata"] = metadata.into();
        task
    }

    /// An event: a new status.
    pub(crate) fn status_update(&self, status: (&Status, u64), cost: &Map<String, Value>) -> Value {
        let mut update = json!({
            "taskId": self.id,
            "contextId": self.context,
            "status": self.status(status.0, status.1),
        });
        if !cost.is_empty() {
            update["metadata"] = cost.clone().into();
        }
        json!({ "statusUpdate": update })
    }

    /// An event: a piece of the answer.
    pub(crate) fn piece(&self, part: Value, is_first: bool, is_last: bool) -> Value {
        let artifact = json!({ "artifactId": ARTIFACT, "name": self.call.1, "parts": [part] });
        json!({ "artifactUpdate": {
            "taskId": self.id,
            "contextId": self.context,
            "artifact": artifact,
            "append": !is_first,
            "lastChunk": is_last,
        }})
    }

    fn artifact(&self, answer: &Answer) -> Option<Value> {
        if answer.forgotten {
            return Some(json!({
                "artifactId": ARTIFACT,
                "name": self.call.1,
                "parts": [{ "text": FORGOTTEN }],
                "metadata": { "rialto/forgotten": true },
            }));
        }
        let parts = answer.parts();
        (!parts.is_empty())
            .then(|| json!({ "artifactId": ARTIFACT, "name": self.call.1, "parts": parts }))
    }
}

impl Answer {
    /// The parts of the whole: texts that came piece by piece are one.
    fn parts(&self) -> Vec<Value> {
        let mut parts: Vec<Value> = Vec::new();
        for item in &self.items {
            let part = part(item);
            let last = parts.last_mut().and_then(|last| last.get_mut("text"));
            match (last, part["text"].as_str()) {
                (Some(Value::String(text)), Some(more)) if self.streams => text.push_str(more),
                _ => parts.push(part),
            }
        }
        parts
    }
}

/// One value as a part: a text as a text, everything else as data.
pub(crate) fn part(item: &[u8]) -> Value {
    match serde_json::from_slice(item) {
        Ok(Value::String(text)) => json!({ "text": text, "mediaType": "text/plain" }),
        Ok(data) => json!({ "data": data, "mediaType": "application/json" }),
        // A stream that broke off has no whole body.
        Err(_) => json!({ "data": null }),
    }
}

/// Whether an item is text, to which nothing can be added without changing it.
pub(crate) fn is_text(item: &[u8]) -> bool {
    item.first() == Some(&b'"')
}

/// The last part of a text that came piece by piece.
pub(crate) fn end_of_pieces() -> Value {
    json!({ "text": "" })
}

const ARTIFACT: &str = "answer";
const FORGOTTEN: &str =
    "this answer is not kept any more: the same payment, sent again, fetches it";

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: Named<'static> = Named {
        id: "t",
        context: "c",
        call: ("types", "text"),
    };

    fn status(state: State, text: Option<&str>) -> Status {
        Status {
            state,
            text: text.map(str::to_owned),
            metadata: Map::new(),
            at: "2026-01-31T23:59:59Z".to_owned(),
        }
    }

    #[test]
    fn a_task_is_written_as_the_protocol_has_it() {
        let answer = Answer {
            items: vec![Bytes::from_static(b"\"hello\"")],
            ..Answer::default()
        };
        let status = status(State::Completed, None);
        let task = NAMED.task((&status, 2), Some(&answer), &Map::new());
        let expected = json!({
            "id": "t",
            "contextId": "c",
            "status": { "state": "TASK_STATE_COMPLETED", "timestamp": "2026-01-31T23:59:59Z" },
            "artifacts": [{
                "artifactId": "answer",
                "name": "text",
                "parts": [{ "text": "hello", "mediaType": "text/plain" }],
            }],
            "metadata": { "rialto/service": "types", "rialto/method": "text" },
        });
        assert_eq!(task, expected);
        let without = NAMED.task((&status, 2), None, &Map::new());
        assert_eq!(without.get("artifacts"), None);
    }

    #[test]
    fn payment_is_told_in_a_message_of_the_status() {
        let mut status = status(State::InputRequired, Some("pay"));
        status.metadata = payment::required(&json!({ "accepts": [] }));
        let update = NAMED.status_update((&status, 1), &Map::new());
        let message = &update["statusUpdate"]["status"]["message"];
        assert_eq!(message["messageId"], "t-1");
        assert_eq!(
            message["metadata"]["x402.payment.status"],
            "payment-required"
        );
        assert_eq!(message["extensions"][0], payment::EXTENSION);
    }

    #[test]
    fn texts_that_came_in_pieces_are_one_and_data_stay_apart() {
        let parts = |items: &[&'static str], streams: bool| {
            let items = items.iter().map(|item| Bytes::from_static(item.as_bytes()));
            let answer = Answer {
                items: items.collect(),
                streams,
                forgotten: false,
            };
            answer.parts()
        };
        let texts = parts(&["\"a \"", "\"b\""], true);
        assert_eq!(texts, [json!({ "text": "a b", "mediaType": "text/plain" })]);
        let data = parts(&["1", "{\"x\":2}"], true);
        assert_eq!(data.len(), 2);
        assert_eq!(data[1]["data"]["x"], 2);
        let forgotten = Answer {
            forgotten: true,
            ..Answer::default()
        };
        let artifact = NAMED.artifact(&forgotten).unwrap();
        assert_eq!(artifact["metadata"]["rialto/forgotten"], true);
        assert_eq!(NAMED.artifact(&Answer::default()), None);
    }

    #[test]
    fn states_have_their_names() {
        for (state, name) in State::ALL {
            assert_eq!((state.name(), State::named(name)), (name, Some(state)));
        }
        assert_eq!(State::named("done"), None);
    }
}
