//! An answer that comes item by item: hands the items over, and becomes a whole answer at its end.
//!
//! The last event has what the headers of other answers have, so that everything after is the same. An
//! answer that ends without it is lost like any other, and its request is sent again: the host, which
//! executes a payment once, gives what it delivered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Response;
use rialto_node::ItemList;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::bounded::ReadError;
use super::events::{Event, Parser};
use super::send::Reply;
use super::{ClientError, Leave};
use crate::x402::header::{self as x402, PAYMENT_RESPONSE, RIALTO_RECEIPT, RIALTO_REPLAYED};

/// What somebody who listens to an answer is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The next item, as JSON.
    Item(&'a [u8]),
    /// The answer begins anew with other items: what came before is void.
    Anew,
}

/// Hands the items of one call over, however often its request is sent.
pub(super) struct Listener<'a> {
    each: &'a mut (dyn FnMut(Heard<'_>) + Send),
    /// What was handed over.
    told: Vec<Bytes>,
    /// Says when nobody listens any more.
    leave: Option<Leave>,
    /// Nobody does: what is read from now on only tells what was charged.
    has_left: bool,
    /// Whether anything is.
    is_paid: bool,
}

/// The last event.
#[derive(Debug, Deserialize)]
struct Last {
    #[serde(default)]
    settlement: Option<Value>,
    #[serde(default)]
    receipt: Option<Value>,
    #[serde(default)]
    replayed: bool,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    error: Option<Value>,
}

impl<'a> Listener<'a> {
    pub(super) fn new(each: &'a mut (dyn FnMut(Heard<'_>) + Send)) -> Self {
        Self {
            each,
            told: Vec::new(),
            leave: None,
            has_left: false,
            is_paid: false,
        }
    }

    /// The same, who may leave.
    pub(super) fn leaving(self, leave: Option<Leave>) -> Self {
        Self { leave, ..self }
    }

    /// Whether an answer is paid for.
    pub(super) fn pays(&mut self, is_paid: bool) {
        self.is_paid = is_paid;
    }

    /// Whether it was left before anything came: asked for, it might begin.
    pub(super) fn is_gone(&self) -> bool {
        let has_left = self.has_left || self.leave.as_ref().is_some_and(Leave::is_left);
        has_left && self.told.is_empty()
    }

    /// Waits for the beginning of an answer, while somebody listens.
    pub(super) async fn begins<T>(
        &mut self,
        beginning: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        tokio::select! {
            biased;
            () = left(self.leave.as_ref()) => {
                (self.leave, self.has_left) = (None, true);
                Err(ReadError::Unfinished)
            }
            begun = beginning => begun,
        }
    }

    /// Whether an answer comes item by item.
    pub(super) fn is_for(response: &Response) -> bool {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        response.status() == StatusCode::OK
            && kind.is_some_and(|kind| kind.split(';').next() == Some(EVENT_STREAM))
    }

    /// Reads such an answer to its end. `silence_max` is how long nothing may come, not even a comment.
    pub(super) async fn hear(
        &mut self,
        mut response: Response,
        limit: u64,
        silence_max: Duration,
    ) -> Result<Reply, ReadError> {
        let mut parser = Parser::default();
        let mut items = ItemList::default();
        let over = Instant::now() + LISTENING_MAX;
        loop {
            let silence = Instant::now() + silence_max;
            let chunk = tokio::select! {
                biased;
                () = left(self.leave.as_ref()) => return self.left(&response, items),
                chunk = timeout_at(over.min(silence), response.chunk()) => chunk,
            };
            let chunk = chunk.map_err(|_| ReadError::Unfinished)?;
            let Some(chunk) = chunk.map_err(ReadError::Broken)? else {
                return Err(ReadError::Unfinished);
            };
            let too_long = |_| ReadError::TooLong { limit };
            let line_max = limit.saturating_add(LAST_BYTES);
            for event in parser.feed(&chunk, line_max).map_err(too_long)? {
                let Event { name, data } = event;
                match name.as_str() {
                    "item" => {
                        items.push(&data);
                        let length = u64::try_from(items.written().len());
                        if length.map_or(true, |length| length >= limit) {
                            return Err(ReadError::TooLong { limit });
                        }
                        self.tell(items.count(), data.into());
                    }
                    "end" | "error" => {
                        let headers = response.headers().clone();
                        return whole(headers, &data, items).ok_or(ReadError::Unfinished);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Nobody listens any more. What was paid for is asked for again under the same name: the host gives what it had
    /// delivered, with the receipt.
    fn left(&mut self, response: &Response, items: ItemList) -> Result<Reply, ReadError> {
        (self.leave, self.has_left) = (None, true);
        if self.is_paid {
            return Err(ReadError::Unfinished);
        }
        Ok(Reply {
            status: StatusCode::OK,
            headers: response.headers().clone(),
            items: Some(items.count()),
            body: items.unfinished(),
            broke_off: Some(Arc::new(ClientError::Unfinished)),
        })
    }

    /// Hands the item over that is the `number`th of this answer, unless it was before.
    fn tell(&mut self, number: u64, item: Bytes) {
        let told = usize::try_from(number).unwrap_or(usize::MAX);
        match self.told.get(told.saturating_sub(1)) {
            Some(before) if *before == item => return,
            Some(_) => {
                // What follows is another answer: the host had forgotten the first one.
                let same = self.told.iter().take(told.saturating_sub(1)).cloned();
                let same: Vec<Bytes> = same.collect();
                (self.each)(Heard::Anew);
                for item in &same {
                    (self.each)(Heard::Item(item));
                }
                self.told = same;
            }
            None => {}
        }
        (self.each)(Heard::Item(&item));
        self.told.push(item);
    }
}

/// Waits until nobody listens any more.
async fn left(leave: Option<&Leave>) {
    match leave {
        Some(leave) => leave.left().await,
        None => std::future::pending().await,
    }
}

/// Sends a request whose answer may take longer than others.
///
/// # Errors
/// [`ReadError`], also when no head comes within `silence_max`.
pub(super) async fn send(
    request: reqwest::RequestBuilder,
    silence_max: Duration,
) -> Result<Response, ReadError> {
    let request = request
        .header(header::ACCEPT, ACCEPT)
        .timeout(LISTENING_MAX.saturating_add(silence_max));
    let sent = timeout(silence_max, request.send()).await;
    sent.map_err(|_| ReadError::Unfinished)?
        .map_err(ReadError::Broken)
}

/// The answer as others are: with headers, and the items' text as its body. None if it cannot be read.
fn whole(mut headers: HeaderMap, data: &[u8], items: ItemList) -> Option<Reply> {
    let last: Last = serde_json::from_slice(data).ok()?;
    for (name, value) in [
        (PAYMENT_RESPONSE, &last.settlement),
        (RIALTO_RECEIPT, &last.receipt),
    ] {
        headers.remove(name);
        if let Some(value) = value {
            headers.insert(name, x402::encode(value).ok()?);
        }
    }
    if last.replayed {
        headers.insert(RIALTO_REPLAYED, HeaderValue::from_static("true"));
    }
    let is_charged = last.receipt.is_some();
    let refusal = last.error.map(|error| Reply {
        status: last
            .status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(|status| !status.is_success())
            .unwrap_or(StatusCode::BAD_GATEWAY),
        headers: headers.clone(),
        body: Bytes::from(json!({ "error": error }).to_string()),
        items: None,
        broke_off: None,
    });
    match refusal {
        Some(refusal) if !is_charged => Some(refusal),
        Some(refusal) => Some(Reply {
            status: StatusCode::OK,
            headers,
            items: Some(items.count()),
            body: items.unfinished(),
            broke_off: Some(Arc::new(refusal.refusal())),
        }),
        None => Some(Reply {
            status: StatusCode::OK,
            headers,
            items: Some(items.count()),
            body: items.finish(),
            broke_off: None,
        }),
    }
}

impl fmt::Debug for Listener<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("told", &self.told.len())
            .finish_non_exhaustive()
    }
}

const EVENT_STREAM: &str = "text/event-stream";
/// Services without streams answer as ever.
const ACCEPT: HeaderValue = HeaderValue::from_static("text/event-stream, application/json;q=0.9");
/// How long one answer may go on.
const LISTENING_MAX: Duration = Duration::from_secs(3_600);
/// Room for a settlement and a receipt.
const LAST_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_told_once_unless_they_are_others() {
        let mut heard = Vec::new();
        let mut each = |part: Heard<'_>| match part {
            Heard::Item(item) => heard.push(String::from_utf8(item.to_vec()).unwrap()),
            Heard::Anew => heard.push("anew".to_owned()),
        };
        let mut listener = Listener::new(&mut each);
        let mut tell = |items: &[&'static str]| {
            for (at, item) in items.iter().enumerate() {
                listener.tell(at as u64 + 1, Bytes::from_static(item.as_bytes()));
            }
        };
        tell(&["1", "2"]);
        tell(&["1", "2", "3"]);
        tell(&["1", "4"]);
        assert_eq!(heard, ["1", "2", "3", "anew", "1", "4"]);
    }

    #[test]
    fn the_last_event_makes_an_answer_or_a_refusal() {
        let items = || {
            let mut items = ItemList::default();
            items.push(b"1");
            items
        };
        let read = |last: Value| whole(HeaderMap::new(), last.to_string().as_bytes(), items());
        let end = read(json!({ "items": 1, "charged": "0" })).unwrap();
        assert_eq!((end.status, &end.body[..]), (StatusCode::OK, &b"[1]"[..]));
        assert!(end.headers.is_empty() && end.broke_off.is_none());
        let error = json!({ "code": "service_crashed", "message": "m" });
        let free = read(json!({ "items": 1, "status": 502, "error": error })).unwrap();
        assert_eq!(free.status, StatusCode::BAD_GATEWAY);
        assert!(!free.is_anothers(), "the host said so");
        let part = read(json!({ "status": 502, "error": error, "receipt": {}, "settlement": {} }));
        let part = part.unwrap();
        assert_eq!((part.status, &part.body[..]), (StatusCode::OK, &b"[1"[..]));
        assert_eq!(part.headers.len(), 2);
        assert!(
            part.broke_off
                .unwrap()
                .to_string()
                .contains("service_crashed")
        );
        assert!(whole(HeaderMap::new(), b"nonsense", items()).is_none());
    }
}
