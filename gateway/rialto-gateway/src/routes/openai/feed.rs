//! Answers piece by piece, as events of either kind of client.
//!
//! The last event has what the call came to under `rialto`: what was charged, its settlement and its receipt, which
//! are durable by then (M4).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rialto_channels::receipt::SignedReceipt;
use rialto_node::{StreamEnd, StreamPart};
use tokio::time::timeout;

use crate::openai::conversation::Usage;
use crate::openai::events::Events;
use crate::problem::Problem;
use crate::routes::refusal;
use crate::routes::streams::{Begun, as_events};

/// An answer under way.
pub(super) struct Feed {
    begun: Begun,
    events: Events,
    is_over: bool,
}

impl Feed {
    pub(super) const fn new(begun: Begun, events: Events) -> Self {
        Self {
            begun,
            events,
            is_over: false,
        }
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
            let Ok(part) = timeout(KEEP_ALIVE, self.begun.next()).await else {
                return Some(Bytes::from_static(COMMENT));
            };
            match part {
                Some(StreamPart::Item(item)) => self.events.item(&item),
                Some(StreamPart::End(end)) => self.end(end),
                None => self.end(StreamEnd {
                    outcome: None,
                    failure: None,
                }),
            }
        }
    }

    fn end(&mut self, end: StreamEnd) {
        self.is_over = true;
        let StreamEnd { outcome, failure } = end;
        let cost = self.begun.closing.cost(outcome.as_deref());
        match (&outcome, failure) {
            (Some(outcome), None) => {
                let used = tokens(outcome.receipt.as_ref());
                self.events.end(&outcome.body, used, cost);
            }
            (_, failure) => {
                let problem = failure.map_or_else(
                    || Problem::internal(&"a stream had no end"),
                    refusal::problem,
                );
                self.events.fail(&problem.error(), cost);
            }
        }
    }
}

/// Tokens as a receipt counts them.
pub(crate) fn tokens(receipt: Option<&SignedReceipt>) -> Usage {
    let device = receipt.map(|signed| signed.receipt.usage.device);
    let device = device.unwrap_or_default();
    Usage {
        prompt_tokens: device.tokens_read,
        completion_tokens: device.tokens_written,
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

/// How long nothing is said.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Says that the answer is under way.
pub(crate) const COMMENT: &[u8] = b": at work\n\n";
