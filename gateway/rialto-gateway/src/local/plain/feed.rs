//! Answers piece by piece: what a provider sends, as events of either kind of client.
//!
//! The head goes out with the first piece: a call that fails before is refused like any other. Whoever goes away
//! ends the call; what of it was delivered is charged, and counts in full until that is known.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::calls::{Made, listen};
use super::super::refused;
use super::{Call, cost};
use crate::client::Part;
use crate::openai::events::Events;
use crate::problem::{ErrorCode, Problem};
use crate::routes::openai::feed::{COMMENT, KEEP_ALIVE, tokens};
use crate::routes::streams::as_events;

type Ended = Box<Result<Made, Problem>>;

/// An answer under way.
pub(super) struct Feed {
    parts: BoxStream<'static, Part<Ended>>,
    events: Events,
    is_over: bool,
}

impl Feed {
    /// Makes a call, and waits for what comes first.
    pub(super) async fn begin(call: Call, events: Events) -> Result<Self, Problem> {
        let mut feed = Self {
            parts: listen(call.client, call.gateway, call.ask),
            events,
            is_over: false,
        };
        match feed.parts.next().await {
            // Nothing of it was heard: it is refused like any other call.
            Some(Part::Ended(made)) => feed.end(&(*made)?),
            Some(part) => feed.hear(part),
            None => feed.is_over = true,
        }
        Ok(feed)
    }

    /// The next bytes; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.events.pop() {
                return Some(bytes);
            }
            if self.is_over {
                return None;
            }
            match timeout(KEEP_ALIVE, self.parts.next()).await {
                Ok(Some(part)) => self.hear(part),
                Ok(None) => self.is_over = true,
                Err(_) => return Some(Bytes::from_static(COMMENT)),
            }
        }
    }

    fn hear(&mut self, part: Part<Ended>) {
        match part {
            Part::Item(item) => self.events.item(&item),
            Part::Anew => {
                self.is_over = true;
                let message = "the provider lost its answer and began another one";
                let problem = Problem::new(ErrorCode::PeerBrokeOff, message).hint("ask again");
                self.events.fail(&problem.error(), Value::Null);
            }
            Part::Ended(made) => match *made {
                Ok(made) => self.end(&made),
                Err(problem) => {
                    self.is_over = true;
                    self.events.fail(&problem.error(), Value::Null);
                }
            },
        }
    }

    fn end(&mut self, made: &Made) {
        self.is_over = true;
        let cost = cost(made);
        match &made.answer.broke_off {
            Some(why) => {
                let message = format!("the answer broke off, and what came is charged: {why}");
                let code = refused::of_client(why).code().as_str();
                let error = json!({ "code": code, "message": message });
                self.events.fail(&error, cost);
            }
            None => {
                let used = tokens(made.answer.receipt.as_ref());
                self.events.end(&made.answer.body, used, cost);
            }
        }
    }
}

impl IntoResponse for Feed {
    fn into_response(self) -> Response {
        let chunks = stream::unfold(self, |mut feed| async {
            let chunk = feed.next().await?;
            Some((Ok::<Bytes, Infallible>(chunk), feed))
        });
        as_events(Body::from_stream(chunks))
    }
}
