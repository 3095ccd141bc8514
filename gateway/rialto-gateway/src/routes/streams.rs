//! Answers that go out item by item: server-sent events, for whoever accepts `text/event-stream` of a
//! method that streams.
//!
//! `event: item` has one item as JSON; `event: end` or `event: error` is the last, with what was charged,
//! its settlement (as in `PAYMENT-RESPONSE`) and its receipt (as in `Rialto-Receipt`), which are durable by
//! then (M4). Comments keep the connection alive while the service thinks. The status is the ordinary one:
//! the head goes out with the first item, or when that takes long.
//!
//! Not here: what is charged (the node's), and streams that nobody asked for as such, which are answered
//! as JSON arrays.

use std::convert::Infallible;
use std::time::Duration;

use alloy_primitives::B256;
use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use rialto_channels::Amount;
use rialto_node::{
    CallError, CallOutcome, CallStream, ChannelPayment, StreamEnd, StreamPart, Terms,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::problem::Problem;
use crate::record::ReceiptRecord;
use crate::routes::answer::Teller;
use crate::routes::calls::{Asked, Route, Sent};
use crate::routes::refusal::{Refusal, problem};
use crate::x402::payment::{Manner, Means};

/// The media type of server-sent events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// Whether a request wants its answer as events.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let texts = accepted.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(EVENT_STREAM));
        let is_refused = |part: &str| {
            let weight = part.strip_prefix("q=").and_then(|q| q.parse().ok());
            weight.is_some_and(|weight: f32| weight <= 0.0)
        };
        named && !parts.any(is_refused)
    })
}

/// A call that has begun, and has not failed so far.
pub(super) struct Begun {
    /// None if it was over at once.
    stream: Option<CallStream>,
    /// Came before the head went out.
    first: Option<StreamPart>,
    /// What its end needs.
    pub(super) closing: Closing,
}

/// What the events of one answer need.
struct Events {
    begun: Begun,
    items: u64,
}

/// What the last event needs.
pub(super) struct Closing {
    teller: Teller,
    manner: Manner,
    known: Amount,
    deposit: Option<ChannelPayment>,
}

impl Route<'_> {
    /// Whether this method streams, as far as it is there.
    pub(super) fn streams(&self) -> bool {
        self.method_is(|method| method.streams)
    }

    /// Makes a call whose answer goes out as events.
    pub(super) async fn events(
        &self,
        means: Option<Means>,
        manner: Manner,
        terms: &Terms,
        sent: Sent,
    ) -> Result<Response, Refusal> {
        let begun = self.begin(means, manner, terms, sent).await?;
        Ok(response(Events { begun, items: 0 }))
    }

    /// Begins a call, and waits a while for what comes first: a call that fails before has an answer like any
    /// other. A method that does not stream is over by then.
    pub(super) async fn begin(
        &self,
        means: Option<Means>,
        manner: Manner,
        terms: &Terms,
        sent: Sent,
    ) -> Result<Begun, Refusal> {
        if !self.streams() {
            let (outcome, known) = self.make(means, terms, sent).await?;
            let end = StreamEnd {
                outcome: Some(Box::new(outcome)),
                failure: None,
            };
            return Ok(Begun {
                stream: None,
                first: Some(StreamPart::End(end)),
                closing: Closing {
                    teller: self.teller(),
                    manner,
                    known,
                    deposit: None,
                },
            });
        }
        let Asked {
            request,
            deposit,
            known,
        } = self.asked(means, terms, sent)?;
        let of = (terms, request.body_bytes);
        let failed = |error: CallError| self.unanswered(error, of, deposit.clone(), known);
        let mut stream = self.gateway.node.stream(request).await.map_err(failed)?;
        let first = match timeout(HEAD_WAIT, stream.next()).await {
            // Nothing was delivered, so it is an answer like any other.
            Ok(Some(StreamPart::End(StreamEnd {
                outcome: None,
                failure: Some(error),
            }))) => return Err(failed(error)),
            Ok(None) => return Err(Problem::internal(&"a stream had no end").into()),
            Ok(first) => first,
            Err(_) => None,
        };
        let closing = Closing {
            teller: self.teller(),
            manner,
            known,
            deposit,
        };
        Ok(Begun {
            stream: Some(stream),
            first,
            closing,
        })
    }
}

impl Begun {
    /// The id of the receipt that there will be of what is delivered, if it is paid.
    pub(super) fn receipt(&self) -> Option<B256> {
        self.stream.as_ref()?.receipt()
    }

    /// What comes next; none after the end.
    pub(super) async fn next(&mut self) -> Option<StreamPart> {
        match (self.first.take(), &mut self.stream) {
            (Some(first), _) => Some(first),
            (None, Some(stream)) => stream.next().await,
            (None, None) => None,
        }
    }
}

fn response(events: Events) -> Response {
    let chunks = futures_util::stream::unfold(Some(events), |events| async {
        let (chunk, rest) = events?.next().await;
        Some((Ok::<Bytes, Infallible>(chunk), rest))
    });
    let mut response = as_events(Body::from_stream(chunks));
    let accept = HeaderValue::from_static("accept");
    response.headers_mut().insert(header::VARY, accept);
    response
}

/// An answer whose body is server-sent events.
pub(crate) fn as_events(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, "private, no-store"),
        // Proxies that would collect the answer let it through.
        (http::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Events {
    /// The next event, and what follows it; nothing after the last one.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        let Ok(part) = timeout(KEEP_ALIVE, self.begun.next()).await else {
            return (Bytes::from_static(COMMENT), Some(self));
        };
        match part {
            Some(StreamPart::Item(json)) => {
                self.items = self.items.saturating_add(1);
                (event("item", &json), Some(self))
            }
            Some(StreamPart::End(end)) => (self.begun.closing.last(end, self.items), None),
            None => {
                let end = StreamEnd {
                    outcome: None,
                    failure: None,
                };
                (self.begun.closing.last(end, self.items), None)
            }
        }
    }
}

impl Closing {
    /// The last event.
    fn last(&self, end: StreamEnd, items: u64) -> Bytes {
        let StreamEnd { outcome, failure } = end;
        let mut last = json!({ "items": items });
        self.tell_cost(outcome.as_deref(), &mut last);
        let problem = match failure {
            Some(failure) => problem(failure),
            None if outcome.is_some() => return event("end", last.to_string().as_bytes()),
            None => Problem::internal(&"a stream had no end"),
        };
        let problem = match &outcome {
            Some(outcome) if !outcome.charged.is_zero() => problem.hint(HINT_CHARGED),
            Some(_) | None => problem,
        };
        last["status"] = problem.code().status().as_u16().into();
        last["error"] = problem.error();
        event("error", last.to_string().as_bytes())
    }

    /// What a call came to.
    pub(super) fn cost(&self, outcome: Option<&CallOutcome>) -> Value {
        let mut cost = json!({});
        self.tell_cost(outcome, &mut cost);
        cost
    }

    fn tell_cost(&self, outcome: Option<&CallOutcome>, last: &mut Value) {
        match outcome {
            Some(outcome) => {
                last["charged"] = outcome.charged.to_string().into();
                if outcome.payer.is_some() {
                    let settlement = self.teller.settlement(outcome, self.known, &self.manner);
                    last["settlement"] = settlement;
                }
                if let Some(receipt) = &outcome.receipt {
                    last["receipt"] = json!(ReceiptRecord::from(receipt));
                }
                if outcome.replayed {
                    last["replayed"] = true.into();
                }
            }
            None => {
                last["charged"] = "0".into();
                let deposit = self.deposit.as_ref();
                let settled =
                    deposit.and_then(|payment| self.teller.deposit_alone(payment, self.known));
                if let Some(settlement) = settled {
                    last["settlement"] = json!(settlement);
                }
            }
        }
    }
}

/// One event. JSON has no line breaks, so the data is one line.
pub(crate) fn event(name: &'static str, json: &[u8]) -> Bytes {
    debug_assert!(!json.contains(&b'\n'));
    let mut text = BytesMut::with_capacity(json.len().saturating_add(32));
    for part in [
        b"event: ".as_slice(),
        name.as_bytes(),
        b"\ndata: ",
        json,
        b"\n\n",
    ] {
        text.extend_from_slice(part);
    }
    text.freeze()
}

/// What keeps proxies from thinking that nobody is there.
const COMMENT: &[u8] = b": at work\n\n";
/// How long the head waits for the first item: until then a failure has its own status.
const HEAD_WAIT: Duration = Duration::from_secs(3);
/// How long nothing is said.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const HINT_CHARGED: &str = "what was delivered before is charged, by the meter: see `settlement` and `receipt`; \
     the same payment fetches it again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_for_those_who_accept_them() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream; charset=utf-8", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream; q=0.0", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wants_events(&headers), expected, "{accept}");
        }
        assert!(!wants_events(&HeaderMap::new()));
    }

    #[test]
    fn an_event_is_a_name_and_a_line() {
        let text = event("item", br#"{"a":"b\nc"}"#);
        assert_eq!(text, "event: item\ndata: {\"a\":\"b\\nc\"}\n\n");
    }
}
