//! One request with its payment, sent until something comes back: the payment's name makes
//! sending it again safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rialto_node::trace::SpanIds;
use serde_json::Value;
use tokio::time::sleep;

use super::allowance::Allowance;
use super::bounded::{DOCUMENT_BYTES_MAX, ReadError, read_bounded};
use super::call::Fate;
use super::listen::{self, Listener};
use super::order::Placing;
use super::{Body, ClientError, PayingClient};
use crate::problem::ErrorCode;
use crate::x402::header::PAYMENT_SIGNATURE;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How many items came, if it came item by item.
    pub(super) items: Option<u64>,
    /// Why the items ended early.
    pub(super) broke_off: Option<Arc<ClientError>>,
}

/// What is sent, and who listens to the answer.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) body: &'a Body,
    /// None for somebody who wants the whole answer.
    pub(super) listener: Option<Listener<'a>>,
    /// What the one on whose behalf it is sent may spend, besides the wallet's own budget.
    pub(super) allowance: Option<&'a Allowance>,
    /// The order that it carries out, if it is one.
    pub(super) order: Option<Placing<'a>>,
    /// Whether it may have been sent before, by a program that was lost.
    pub(super) is_repeated: bool,
    /// Told when it is sent.
    pub(super) sent: Vec<Arc<AtomicBool>>,
}

impl<'a> Request<'a> {
    /// From now on nobody knows whether the host has it.
    pub(super) fn is_sent(&self) {
        for sent in &self.sent {
            sent.store(true, Ordering::Relaxed);
        }
    }

    /// For the whole answer.
    pub(super) fn whole(body: &'a Body) -> Self {
        Self {
            body,
            listener: None,
            allowance: None,
            order: None,
            is_repeated: false,
            sent: Vec::new(),
        }
    }
}

/// What came of sending.
#[derive(Debug)]
pub(super) enum Sent {
    /// An answer, and whether the host may have seen the request more than once.
    Reply(Reply, bool),
    /// No answer, and the host may have seen the request.
    Lost(ClientError),
    /// No answer, and the host cannot have seen it.
    Unreached(ClientError),
    /// An answer that is longer than may be read, in bytes.
    TooLong { limit: u64 },
}

impl Reply {
    /// Reads an answer: a service's of at most `answer_max` bytes, a refusal of at most
    /// [`DOCUMENT_BYTES_MAX`].
    pub(super) async fn read(
        response: reqwest::Response,
        answer_max: u64,
    ) -> Result<Self, ReadError> {
        let limit = match response.status() {
            StatusCode::OK => answer_max,
            _ => DOCUMENT_BYTES_MAX,
        };
        Ok(Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: read_bounded(response, limit).await?,
            items: None,
            broke_off: None,
        })
    }

    /// The refusal that this answer is.
    pub(super) fn refusal(&self) -> ClientError {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let error = &body["error"];
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        ClientError::Refused {
            status: self.status.as_u16(),
            code: text("code").unwrap_or_else(|| "unknown".to_owned()),
            message: text("message").unwrap_or_else(|| format!("HTTP {}", self.status)),
            hint: text("hint"),
            details: error.get("details").cloned().map(Box::new),
        }
    }

    /// Whether something on the way failed, and not the host: its failures have codes of its own.
    pub(super) fn is_anothers(&self) -> bool {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let code = body["error"]["code"].as_str();
        self.status.is_server_error()
            && code.is_none_or(|code| code == ErrorCode::PeerBrokeOff.as_str())
    }

    /// What the host made of the call.
    pub(super) fn fate(&self) -> Fate {
        if self.status == StatusCode::OK {
            return Fate::Answered;
        }
        if self.is_anothers() {
            return Fate::Lost;
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let seconds = self.headers.get(header::RETRY_AFTER);
        let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
        Fate::Refused {
            status: self.status,
            code: body["error"]["code"]
                .as_str()
                .unwrap_or("unknown")
                .to_owned(),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    /// How long the host asks to wait, if it is only busy.
    fn busy(&self) -> Option<Duration> {
        let is_busy = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&self.status);
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        let wait = Duration::from_secs(seconds.parse().ok()?);
        is_busy.then_some(wait.min(RETRY_AFTER_MAX))
    }
}

impl PayingClient {
    /// Posts a call, with its payment if there is one.
    pub(super) async fn send(
        &self,
        url: &str,
        request: &mut Request<'_>,
        payment: Option<HeaderValue>,
    ) -> Sent {
        let config = &self.inner.config;
        let mut seen = false;
        let mut attempt: u32 = 1;
        loop {
            let posted = self.post(url, request, payment.clone()).await;
            if posted.is_err() && request.listener.as_ref().is_some_and(Listener::is_gone) {
                return Sent::Lost(ClientError::Left);
            }
            seen |= match &posted {
                Ok(reply) => config.repeats > 0 && reply.is_anothers(),
                Err(ReadError::Broken(error)) => !error.is_connect(),
                Err(ReadError::Unfinished) => true,
                Err(ReadError::TooLong { .. }) => false,
            };
            // A payment that may have arrived is safe to send again, and the way to its answer.
            let repeats = match seen && payment.is_some() {
                true => config.repeats,
                false => 0,
            };
            let last = attempt >= config.attempts.saturating_add(repeats);
            let wait = match posted {
                Ok(reply) if seen && !last && reply.is_anothers() => backoff(attempt),
                Ok(reply) => match reply.busy() {
                    Some(wait) if !last => wait,
                    Some(_) | None => return Sent::Reply(reply, seen),
                },
                // It would be as long the next time.
                Err(ReadError::TooLong { limit }) => return Sent::TooLong { limit },
                Err(ReadError::Broken(_) | ReadError::Unfinished) if !last => backoff(attempt),
                Err(ReadError::Broken(error)) if seen => {
                    return Sent::Lost(ClientError::Transport(error));
                }
                Err(ReadError::Broken(error)) => {
                    return Sent::Unreached(ClientError::Transport(error));
                }
                Err(ReadError::Unfinished) => return Sent::Lost(ClientError::Unfinished),
            };
            sleep(wait).await;
            attempt += 1;
        }
    }

    async fn post(
        &self,
        url: &str,
        sent: &mut Request<'_>,
        payment: Option<HeaderValue>,
    ) -> Result<Reply, ReadError> {
        let (body, config) = (sent.body, &self.inner.config);
        let mut request = self
            .inner
            .http
            .post(url)
            .header(header::CONTENT_TYPE, &body.content_type)
            .body(body.bytes.clone());
        if let Some(ids) = SpanIds::current() {
            request = request.header("traceparent", ids.to_string());
        }
        if let Some(placing) = &sent.order {
            request = request.headers(placing.order.headers.clone());
        }
        let is_paid = payment.is_some();
        if let Some(mut payment) = payment {
            payment.set_sensitive(true);
            request = request.header(PAYMENT_SIGNATURE, payment);
        }
        let Some(listener) = &mut sent.listener else {
            let response = request.send().await.map_err(ReadError::Broken)?;
            return Reply::read(response, config.answer_bytes_max).await;
        };
        let beginning = listen::send(request, config.timeout);
        let response = listener.begins(beginning).await?;
        if Listener::is_for(&response) {
            let limit = config.answer_bytes_max;
            listener.pays(is_paid);
            return listener.hear(response, limit, config.timeout).await;
        }
        Reply::read(response, config.answer_bytes_max).await
    }
}

/// 50 ms, 100 ms, 200 ms, and so on, with half of it random so that clients spread out.
fn backoff(attempt: u32) -> Duration {
    let whole = BACKOFF_FIRST
        .saturating_mul(
            1_u32
                .checked_shl(attempt.saturating_sub(1))
                .unwrap_or(u32::MAX),
        )
        .min(RETRY_AFTER_MAX);
    whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
