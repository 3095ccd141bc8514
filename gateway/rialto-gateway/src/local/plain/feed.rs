//! Answers piece by piece: what a provider sends, as events of either kind of client.
//!
//! The head goes out with the first piece: a call that fails before is refused like any other. Whoever goes away
//! ends the call; what of it was delivered is charged, and counts in full until that is known.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use super::super::calls::{Made, make};
use super::super::refused;
use super::{Call, cost};
use crate::client::Heard;
use crate::openai::events::Events;
use crate::problem::{ErrorCode, Problem};
use crate::routes::openai::feed::{COMMENT, KEEP_ALIVE, tokens};
use crate::routes::streams::as_events;

type Making = Pin<Box<dyn Future<Output = Result<Made, Problem>> + Send>>;

/// What a provider said.
enum Part {
    Item(Bytes),
    /// It begins anew with something else.
    Anew,
}

/// An answer under way.
pub(super) struct Feed {
    making: Making,
    /// No more than the client reads of an answer.
    parts: UnboundedReceiver<Part>,
    events: Events,
    is_over: bool,
}

impl Feed {
    /// Makes a call, and waits for what comes first.
    pub(super) async fn begin(call: Call, events: Events) -> Result<Self, Problem> {
        let (sender, parts) = mpsc::unbounded_channel();
        let making = async move {
            let each = |heard: Heard<'_>| {
                let part = match heard {
                    Heard::Item(item) => Part::Item(Bytes::copy_from_slice(item)),
                    Heard::Anew => Part::Anew,
                };
                // Nobody listens any more: the call is about to be dropped as well.
                sender.send(part).ok();
            };
            let gateway = call.gateway.as_deref();
            make(&call.client, gateway, &call.ask, Some(&each)).await
        };
        let mut feed = Self {
            making: Box::pin(making),
            parts,
            events,
            is_over: false,
        };
        let first = tokio::select! {
            biased;
            Some(part) = feed.parts.recv() => Ok(part),
            made = &mut feed.making => Err(made),
        };
        match first {
            Ok(part) => feed.hear(part),
            // Nothing of it was heard: it is refused like any other call.
            Err(Err(problem)) if feed.parts.is_empty() => return Err(problem),
            Err(made) => feed.over(made),
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
            let more = async {
                tokio::select! {
                    biased;
                    Some(part) = self.parts.recv() => Ok(part),
                    made = &mut self.making => Err(made),
                }
            };
            match timeout(KEEP_ALIVE, more).await {
                Ok(Ok(part)) => self.hear(part),
                Ok(Err(made)) => self.over(made),
                Err(_) => return Some(Bytes::from_static(COMMENT)),
            }
        }
    }

    fn hear(&mut self, part: Part) {
        match part {
            Part::Item(item) => self.events.item(&item),
            Part::Anew => {
                self.is_over = true;
                let message = "the provider lost its answer and began another one";
                let problem = Problem::new(ErrorCode::PeerBrokeOff, message).hint("ask again");
                self.events.fail(&problem.error(), Value::Null);
            }
        }
    }

    fn over(&mut self, made: Result<Made, Problem>) {
        // What came with the end.
        while let Ok(part) = self.parts.try_recv() {
            self.hear(part);
            if self.is_over {
                return;
            }
        }
        match made {
            Ok(made) => self.end(&made),
            Err(problem) => {
                self.is_over = true;
                self.events.fail(&problem.error(), Value::Null);
            }
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
        let chunks = futures_util::stream::unfold(self, |mut feed| async {
            let chunk = feed.next().await?;
            Some((Ok::<Bytes, Infallible>(chunk), feed))
        });
        as_events(Body::from_stream(chunks))
    }
}
