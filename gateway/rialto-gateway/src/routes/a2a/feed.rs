//! What becomes of a task, as server-sent events of either binding.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::entry::Watcher;
use super::operations::Reply;
use super::table::{Tasks, Telling};
use crate::a2a::Error;
use crate::routes::json_rpc;
use crate::routes::streams::as_events;

/// How an event is written.
#[derive(Debug)]
pub(super) enum Binding {
    /// As the result of the request of this id.
    Rpc(Value),
    /// As it is.
    Http,
}

struct Feed {
    binding: Binding,
    waiting: VecDeque<Value>,
    /// None after the end.
    watcher: Option<Watcher>,
    /// For the task as it was.
    room: Option<Telling>,
}

/// Events from the task as it is to where it rests.
///
/// # Errors
/// [`Kind::Busy`](crate::a2a::Kind::Busy): there is no room for the answer so far.
pub(super) fn events(tasks: &Tasks, reply: Reply, binding: Binding) -> Result<Response, Error> {
    let feed = match reply {
        Reply::Message(message) => Feed {
            binding,
            waiting: [json!({ "message": message })].into(),
            watcher: None,
            room: None,
        },
        Reply::Task(mut watcher) => Feed {
            binding,
            room: Some(tasks.tell(watcher.answer_bytes())?),
            waiting: [json!({ "task": watcher.task() })].into(),
            watcher: Some(watcher),
        },
    };
    let chunks = futures_util::stream::unfold(feed, |mut feed| async {
        let chunk = feed.next().await?;
        Some((Ok::<Bytes, Infallible>(chunk), feed))
    });
    Ok(as_events(Body::from_stream(chunks)))
}

impl Feed {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                let text = self.binding.write(event);
                return Some(match self.room.take() {
                    Some(room) => room.of(text),
                    None => text.into(),
                });
            }
            let watcher = self.watcher.as_mut()?;
            let Ok((events, is_all)) = timeout(KEEP_ALIVE, watcher.events()).await else {
                return Some(Bytes::from_static(b": at work\n\n"));
            };
            self.waiting.extend(events);
            if is_all {
                // Whoever reads slowly keeps no answer in memory that others could have the place of.
                self.watcher = None;
            }
        }
    }
}

impl Binding {
    fn write(&self, event: Value) -> String {
        let event = match self {
            Self::Rpc(id) => json_rpc::result(id, &event),
            Self::Http => event,
        };
        format!("data: {event}\n\n")
    }
}

/// How long nothing is said.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
