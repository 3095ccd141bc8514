//! What makes the pieces of an answer: a stream's items, or a response of `wasi:http` as its guest writes it.
//!
//! A response that is small and soon there is an answer like any other, with its length known and kept whole
//! for replays; the rest is handed out while it is made.
//!
//! Not here: to whom, and what is charged.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rialto_host::{
    AnswerText, CallContext, CallError as HostError, GuestResponse, GuestStream, Outcome, Prepared,
    ResponseText, Service, Usage,
};
use tokio::time::{Instant, timeout_at};

use super::delivery::Item;

/// A guest in the middle of its answer.
pub(super) enum Making {
    /// It gives item after item.
    Stream(Box<GuestStream>),
    /// It writes a response, of which some is there already.
    Response(Box<Response>),
}

pub(super) struct Response {
    guest: GuestResponse,
    /// What was written before, in pieces of a few dozen KiB.
    ahead: VecDeque<Item>,
}

/// An answer that began.
pub(super) enum Begun {
    /// It is all there.
    Whole(Box<Outcome>),
    /// It goes on.
    Part(Making),
}

impl Making {
    /// Runs the call until its answer begins; a response that should not be handed out in parts, until it
    /// is whole.
    pub(super) async fn begin(
        service: &Service,
        prepared: Prepared,
        context: CallContext,
    ) -> Result<Begun, HostError> {
        if !prepared.is_request() {
            let guest = service.open(prepared, context).await?;
            return Ok(Begun::Part(Self::Stream(Box::new(guest))));
        }
        let guest = service.respond(prepared, context).await?;
        if has_no_parts(guest.status()) {
            let outcome = guest.collect().await?;
            return Ok(Begun::Whole(Box::new(outcome)));
        }
        gather(guest).await
    }

    /// The text that its pieces make, without any.
    pub(super) fn text(&self) -> AnswerText {
        match self {
            Self::Stream(_) => AnswerText::default(),
            Self::Response(response) => {
                AnswerText::Response(ResponseText::new(response.guest.head()))
            }
        }
    }

    /// A response's head.
    pub(super) fn head(&self) -> Option<Bytes> {
        match self {
            Self::Stream(_) => None,
            Self::Response(response) => Some(response.guest.head().clone()),
        }
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, HostError> {
        let (bytes, usage) = match self {
            Self::Stream(guest) => (guest.next().await?, guest.usage()),
            Self::Response(response) => {
                if let Some(item) = response.ahead.pop_front() {
                    return Ok(Some(item));
                }
                (response.guest.next().await?, response.guest.usage())
            }
        };
        Ok(bytes.map(|bytes| Item {
            bytes,
            usage: usage.clone(),
        }))
    }

    /// What was used so far.
    pub(super) fn usage(&self) -> &Usage {
        match self {
            Self::Stream(guest) => guest.usage(),
            Self::Response(response) => response.guest.usage(),
        }
    }
}

/// Takes what comes soon of a response.
async fn gather(mut guest: GuestResponse) -> Result<Begun, HostError> {
    let until = Instant::now() + wait_for(guest.head());
    let mut text = ResponseText::new(guest.head());
    let mut ahead = Ahead::default();
    loop {
        // What is not there in time is not lost.
        let Ok(next) = timeout_at(until, guest.next()).await else {
            break;
        };
        let Some(bytes) = next? else {
            let outcome = guest.finish(text)?;
            return Ok(Begun::Whole(Box::new(outcome)));
        };
        text.push(&bytes);
        ahead.push(&bytes, guest.usage());
        if ahead.bytes > WHOLE_BYTES_MAX || Instant::now() >= until {
            break;
        }
    }
    let response = Response {
        guest,
        ahead: ahead.pieces(),
    };
    Ok(Begun::Part(Making::Response(Box::new(response))))
}

/// What a guest wrote before anybody wanted it: many small writes are one piece.
#[derive(Default)]
struct Ahead {
    bytes: usize,
    full: VecDeque<Item>,
    last: BytesMut,
    /// What was used up to the last write.
    usage: Usage,
}

impl Ahead {
    fn push(&mut self, bytes: &[u8], usage: &Usage) {
        if self.last.len().saturating_add(bytes.len()) > PIECE_BYTES_MAX {
            self.cut();
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.last.extend_from_slice(bytes);
        self.usage = usage.clone();
    }

    fn cut(&mut self) {
        let bytes = self.last.split().freeze();
        if !bytes.is_empty() {
            let usage = self.usage.clone();
            self.full.push_back(Item { bytes, usage });
        }
    }

    fn pieces(mut self) -> VecDeque<Item> {
        self.cut();
        self.full
    }
}

/// Whether a response of this status goes out when it is whole: failures, which are free and say why, and
/// those without a body, of which a server would not ask for the bytes.
fn has_no_parts(status: u16) -> bool {
    status >= 500 || matches!(status, 204 | 205 | 304)
}

/// How long a response may become whole.
fn wait_for(head: &[u8]) -> Duration {
    if sends_events(head) {
        return Duration::ZERO;
    }
    WHOLE_WAIT
}

/// Whether a head says that events follow: whoever reads them wants them as they come.
fn sends_events(head: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Head {
        headers: Vec<(String, String)>,
    }
    let Ok(Head { headers }) = serde_json::from_slice(head) else {
        return false;
    };
    headers.iter().any(|(name, value)| {
        let essence = value.split(';').next().map(str::trim);
        name.eq_ignore_ascii_case("content-type")
            && essence.is_some_and(|it| it.eq_ignore_ascii_case("text/event-stream"))
    })
}

/// Larger responses are handed out while they are made.
const WHOLE_BYTES_MAX: usize = 1 << 20;
/// So are those that take longer from their head to their end.
const WHOLE_WAIT: Duration = Duration::from_millis(250);
/// What a reader has to take at once.
const PIECE_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_writes_are_one_piece_and_count_what_was_used_for_them() {
        let mut ahead = Ahead::default();
        let usage = |host_calls| Usage {
            host_calls,
            ..Usage::default()
        };
        for call in 1..=3_u64 {
            ahead.push(&vec![b'x'; 30 << 10], &usage(call));
        }
        assert_eq!(ahead.bytes, 90 << 10);
        let pieces = ahead.pieces().into_iter();
        let pieces: Vec<_> = pieces
            .map(|it| (it.bytes.len(), it.usage.host_calls))
            .collect();
        assert_eq!(pieces, [(60 << 10, 2), (30 << 10, 3)]);
        assert!(Ahead::default().pieces().is_empty());
    }

    #[test]
    fn events_are_known_by_their_type() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/plain", false),
            ("application/json; profile=text/event-stream", false),
        ] {
            let head = serde_json::json!({ "status": 200, "headers": [["Content-Type", value]] });
            assert_eq!(
                sends_events(head.to_string().as_bytes()),
                expected,
                "{value}"
            );
        }
        assert!(!sends_events(b"{\"status\":200,\"headers\":[]}"));
    }
}
