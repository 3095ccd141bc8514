//! Bodies that go out while a handler of `wasi:http` writes them.
//!
//! The last chunk follows when the charge for what was delivered is durable (M4). What was charged is known
//! only then: the settlement (as in `PAYMENT-RESPONSE`) and the receipt (as in `Rialto-Receipt`) are trailers, for
//! those who take trailers; for the others the head has the id of the receipt, which is below `/receipts` then. A
//! response that breaks off has no last chunk, so that nobody takes it for whole.
//!
//! Not here: what the head says (`handlers`), and what is charged (the node's).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use alloy_primitives::B256;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use rialto_channels::Amount;
use rialto_node::{CallOutcome, CallStream, StreamEnd, StreamPart};

use crate::demand;
use crate::record::ReceiptRecord;
use crate::routes::answer::Teller;
use crate::x402::Version;
use crate::x402::header::{
    PAYMENT_RESPONSE, RIALTO_RECEIPT, RIALTO_RECEIPT_ID, X_PAYMENT_RESPONSE,
};
use crate::x402::payment::Manner;

/// What the trailers need.
pub(super) struct Closing {
    pub(super) teller: Teller,
    pub(super) manner: Manner,
    pub(super) known: Amount,
}

/// A response with this body, whose receipt, if there will be one, will have this id.
pub(super) fn response(stream: CallStream, receipt: Option<B256>, closing: Closing) -> Response {
    let name = closing.settlement_name();
    let body = Streamed {
        stream,
        closing: Some(closing),
        failure: None,
    };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    // Proxies that would collect the answer let it through.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Some(id) = receipt
        && let Ok(id) = HeaderValue::try_from(id.to_string())
    {
        headers.insert(RIALTO_RECEIPT_ID, id);
        for name in [name, RIALTO_RECEIPT] {
            headers.append(header::TRAILER, HeaderValue::from_static(name));
        }
    }
    response
}

struct Streamed {
    stream: CallStream,
    /// Until the end.
    closing: Option<Closing>,
    /// How it broke off, until that is told.
    failure: Option<io::Error>,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        if self.closing.is_none() {
            return Poll::Ready(None);
        }
        let part = ready!(self.stream.poll_next(context));
        if let Some(StreamPart::Item(bytes)) = part {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let closing = self.closing.take();
        let failure = match (part, closing) {
            (
                Some(StreamPart::End(StreamEnd {
                    failure: None,
                    outcome: Some(outcome),
                })),
                Some(closing),
            ) => {
                let trailers = closing.trailers(&outcome);
                return Poll::Ready(trailers.map(|it| Ok(Frame::trailers(it))));
            }
            (Some(StreamPart::End(StreamEnd { failure, .. })), _) => {
                failure.map_or_else(String::new, |failure| failure.to_string())
            }
            (Some(StreamPart::Item(_)) | None, _) => "a response had no end".to_owned(),
        };
        self.failure = Some(io::Error::other(failure));
        // An error closes the connection at once: what came before it goes out first.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Closing {
    /// What is told of the payment, if there was one.
    fn trailers(&self, outcome: &CallOutcome) -> Option<HeaderMap> {
        outcome.payer?;
        let mut trailers = HeaderMap::new();
        let settlement = self.teller.settlement(outcome, self.known, &self.manner);
        demand::insert(&mut trailers, self.settlement_name(), &settlement);
        if let Some(receipt) = &outcome.receipt {
            demand::insert(&mut trailers, RIALTO_RECEIPT, &ReceiptRecord::from(receipt));
        }
        Some(trailers)
    }

    fn settlement_name(&self) -> &'static str {
        match self.manner.version {
            Version::One => X_PAYMENT_RESPONSE,
            Version::Two => PAYMENT_RESPONSE,
        }
    }
}
