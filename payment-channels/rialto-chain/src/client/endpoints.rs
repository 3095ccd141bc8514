//! The endpoints of one chain as one transport: bounded retries, failover, and a chain id that is
//! asked for again.
//!
//! An endpoint is asked for its chain id before its first use, after every failure, and every
//! minute: one that was pointed at another chain meanwhile is passed over, whatever it answers. A
//! submission is tried again only while it certainly did not arrive; whether it may be sent twice
//! is decided by the sender, who knows its nonce.
//! Non-goals: comparing the answers of several endpoints. One that lies about balances on the right
//! chain is believed: use an endpoint that you trust, or your own.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::primitives::U64;
use alloy::rpc::json_rpc::{Id, Request, RequestPacket, ResponsePacket};
use alloy::transports::http::{Http, reqwest};
use alloy::transports::{RpcError, TransportError, TransportErrorKind, TransportFut};
use tokio::time::Instant;
use tower::Service;
use tracing::Instrument as _;

use super::error::{describe, never_left};

/// The endpoints; clones share which one is in use.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    first: Arc<Endpoint>,
    /// All of them, the first included.
    list: Vec<Arc<Endpoint>>,
    current: AtomicUsize,
    chain_id: u64,
    call_timeout: Duration,
}

struct Endpoint {
    http: Http<reqwest::Client>,
    /// When it last said the right chain id; `None` if it has to say it again.
    vouched: Mutex<Option<Instant>>,
}

/// The endpoint is of another chain.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the RPC endpoint is of chain {found}, not {expected}")]
pub(super) struct OtherChain {
    pub(super) expected: u64,
    pub(super) found: u64,
}

/// The endpoint answered another request than the one that was sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the RPC endpoint answered another request than the one it was sent")]
struct OtherAnswer;

impl Endpoints {
    pub(super) fn new(
        first: Http<reqwest::Client>,
        further: Vec<Http<reqwest::Client>>,
        chain_id: u64,
        call_timeout: Duration,
    ) -> Self {
        let endpoint = |http| {
            let vouched = Mutex::default();
            Arc::new(Endpoint { http, vouched })
        };
        let first = endpoint(first);
        let further = further.into_iter().map(endpoint);
        Self {
            shared: Arc::new(Shared {
                list: [Arc::clone(&first)].into_iter().chain(further).collect(),
                first,
                current: AtomicUsize::new(0),
                chain_id,
                call_timeout,
            }),
        }
    }

    /// Asks every endpoint for its chain id. What each said is returned in their order.
    pub(super) async fn vouch_all(&self) -> Vec<Result<(), TransportError>> {
        let mut said = Vec::with_capacity(self.shared.list.len());
        for endpoint in &self.shared.list {
            said.push(endpoint.vouch(self.shared.chain_id).await);
        }
        if let Some(good) = said.iter().position(Result::is_ok) {
            self.shared.current.store(good, Ordering::Relaxed);
        }
        said
    }

    /// Leaves the endpoint in use for the next: what it answered makes no sense.
    pub(super) fn pass_over(&self) {
        let (index, endpoint) = self.current();
        endpoint.doubt();
        self.turn_from(index);
    }

    fn current(&self) -> (usize, &Endpoint) {
        let index = self.shared.current.load(Ordering::Relaxed);
        let endpoint = self.shared.list.get(index);
        (index, endpoint.unwrap_or(&self.shared.first))
    }

    /// Moves on, unless another task did so already.
    fn turn_from(&self, index: usize) {
        let next = (index + 1) % self.shared.list.len();
        let moved =
            self.shared
                .current
                .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() && next != index {
            tracing::warn!(
                from = index,
                to = next,
                "another chain RPC endpoint is used"
            );
        }
    }

    async fn carry(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let submits = packet.method_names().any(|name| name == SUBMISSION);
        let began = Instant::now();
        let count = u32::try_from(self.shared.list.len()).unwrap_or(u32::MAX);
        let mut attempt = 0_u32;
        loop {
            attempt = attempt.saturating_add(1);
            let (index, endpoint) = self.current();
            let outcome = endpoint.ask(&packet, self.shared.chain_id).await;
            let may_repeat = match &outcome {
                Ok(answer) if !is_throttled(answer) => return outcome,
                // It was refused, so it did not arrive.
                Ok(_) => true,
                Err(error) => !submits || never_left(error) || other_chain(error).is_some(),
            };
            if let Err(error) = &outcome {
                endpoint.doubt();
                let error = describe(error);
                tracing::debug!(error, endpoint = index, attempt, "chain RPC");
            }
            self.turn_from(index);
            let spent = attempt >= ATTEMPTS_MAX || began.elapsed() >= self.shared.call_timeout;
            if !may_repeat || (spent && attempt >= count) {
                return outcome;
            }
            tokio::time::sleep(pause(attempt)).await;
        }
    }
}

impl Service<RequestPacket> for Endpoints {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let method = packet.method_names().next().unwrap_or("no method");
        let span = tracing::info_span!("chain.call", rpc.method = method);
        Box::pin(self.clone().carry(packet).instrument(span))
    }
}

impl Endpoint {
    async fn ask(
        &self,
        packet: &RequestPacket,
        chain_id: u64,
    ) -> Result<ResponsePacket, TransportError> {
        if !self.is_vouched() {
            self.vouch(chain_id).await?;
        }
        let answer = self.post(packet.clone()).await?;
        let answers = |id: &Id| answer.responses().iter().any(|answer| answer.id == *id);
        let complete = match packet {
            RequestPacket::Single(request) => answers(request.id()),
            RequestPacket::Batch(requests) => requests.iter().all(|one| answers(one.id())),
        };
        // Some endpoints answer an error they find before they parse with no id at all.
        if complete || answer.is_error() {
            Ok(answer)
        } else {
            Err(TransportErrorKind::custom(OtherAnswer))
        }
    }

    /// Asks for the chain id.
    async fn vouch(&self, expected: u64) -> Result<(), TransportError> {
        let request = Request::new("eth_chainId", Id::Number(0), ());
        let request = request.serialize().map_err(TransportError::SerError)?;
        let answer = self.post(RequestPacket::Single(request)).await?;
        let found = answer.responses().first().and_then(|answer| {
            let text = answer.payload.as_success()?.get();
            serde_json::from_str::<U64>(text).ok()
        });
        let Some(found) = found else {
            return Err(RpcError::NullResp);
        };
        let found = found.to::<u64>();
        if found != expected {
            return Err(TransportErrorKind::custom(OtherChain { expected, found }));
        }
        *self.lock() = Some(Instant::now());
        Ok(())
    }

    fn post(
        &self,
        packet: RequestPacket,
    ) -> impl Future<Output = Result<ResponsePacket, TransportError>> + Send + use<> {
        // Its own `poll_ready` is always ready.
        self.http.clone().call(packet)
    }

    fn is_vouched(&self) -> bool {
        self.lock().is_some_and(|at| at.elapsed() < VOUCHED_FOR)
    }

    fn doubt(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.vouched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Endpoint {
    /// Without the URL, which may carry an access token (M7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// The chain id that the endpoint said, if that is what is wrong.
pub(super) fn other_chain(error: &TransportError) -> Option<OtherChain> {
    let RpcError::Transport(TransportErrorKind::Custom(cause)) = error else {
        return None;
    };
    cause.downcast_ref().copied()
}

/// Whether the endpoint asks to be asked later or less often.
fn is_throttled(answer: &ResponsePacket) -> bool {
    answer
        .iter_errors()
        .any(alloy::rpc::json_rpc::ErrorPayload::is_retry_err)
}

/// How long to wait after this many attempts: twice as long each time, and at random between half
/// and all of it, so that clients of one endpoint do not come back together.
fn pause(attempt: u32) -> Duration {
    let doubled = PAUSE_FIRST.saturating_mul(1 << attempt.min(PAUSE_DOUBLINGS));
    let longest = doubled.min(PAUSE_LAST);
    longest / 2 + longest.mul_f64(rand::random::<f64>() / 2.0)
}

const SUBMISSION: &str = "eth_sendRawTransaction";
/// Attempts at one call, all endpoints together, if there are not more endpoints than this.
const ATTEMPTS_MAX: u32 = 4;
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LAST: Duration = Duration::from_secs(1);
const PAUSE_DOUBLINGS: u32 = 8;
/// For so long an endpoint's word on its chain id is good.
const VOUCHED_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds_and_differ() {
        for attempt in 1..20 {
            let longest = (PAUSE_FIRST * (1 << attempt.min(8))).min(PAUSE_LAST);
            let pause = pause(attempt);
            assert!(pause >= longest / 2 && pause <= longest, "{attempt}");
        }
        let pauses: std::collections::BTreeSet<_> = (0..8).map(|_| pause(5)).collect();
        assert!(pauses.len() > 1, "all alike");
    }
}
