//! `wasi:http`: types for handlers, and requests that a guest sends to granted origins.
//!
//! Linked only where the manifest grants `http`, if only to nobody: components of other hosts import the
//! whole of it. Where a request goes is checked against the grant here and against addresses by whoever
//! [sends](crate::Outbound) it. Bytes and requests of a call are limited.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Limited};
use tracing::{Instrument as _, Level};
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::capabilities::log::Lines;
use crate::meters::{Limit, ServiceMeters};
use crate::outbound::{Origin, Outbound, OutboundBody, OutboundError};
use crate::spec::Limits;
use crate::state::CallState;

/// The most bytes of one header section, as the host holds it.
const FIELDS_BYTES_MAX: usize = 64 << 10;
/// The most bytes of one write to a body.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Defines the interfaces.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    outgoing_handler::add_to_linker::<_, WasiHttp>(linker, CallState::http)?;
    types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), CallState::http)
}

/// What a call knows of HTTP. Made on first use.
pub(crate) struct HttpState {
    context: WasiHttpCtx,
    hooks: Hooks,
}

impl WasiHttpView for CallState {
    /// Called for every call of the guest, which is therefore counted here; a breach is raised at the
    /// next clock tick.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.host_calls = self.host_calls.saturating_add(1);
        let state = self.http.get_or_insert_with(|| {
            let mut context = WasiHttpCtx::new();
            context.set_field_size_limit(FIELDS_BYTES_MAX);
            let limits = &self.shared.limits;
            let hooks = Hooks {
                origins: Arc::clone(&self.shared.origins),
                outbound: Arc::clone(&self.shared.outbound),
                requests_left: limits.outbound_requests_max,
                request_bytes_max: limits.transfer_bytes_max,
                bytes_left: Arc::new(AtomicU64::new(limits.host_bytes_max)),
                deadline: self.deadline,
                lines: self.lines.clone(),
                meters: Arc::clone(&self.shared.meters),
            };
            Box::new(HttpState { context, hooks })
        });
        WasiHttpCtxView {
            hooks: &mut state.hooks,
            table: &mut self.table,
            ctx: &mut state.context,
        }
    }
}

impl HttpState {
    /// Requests that were sent, and the bytes of their bodies both ways, under these limits.
    pub(crate) fn used(&self, limits: &Limits) -> (u64, u64) {
        let requests = limits
            .outbound_requests_max
            .saturating_sub(self.hooks.requests_left);
        let bytes_left = self.hooks.bytes_left.load(Ordering::Relaxed);
        (
            u64::from(requests),
            limits.host_bytes_max.saturating_sub(bytes_left),
        )
    }
}

struct Hooks {
    origins: Arc<[Origin]>,
    outbound: Arc<dyn Outbound>,
    requests_left: u32,
    request_bytes_max: u64,
    /// What the call may still move by requests, both ways.
    bytes_left: Arc<AtomicU64>,
    deadline: Instant,
    lines: Lines,
    meters: Arc<ServiceMeters>,
}

/// What the crate's hook must return.
type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl Hooks {
    /// Whether a request may go to this URL.
    fn admit(&mut self, url: &http::Uri) -> Result<(), Error> {
        if !self.origins.iter().any(|origin| origin.covers(url)) {
            let origin = origin_of(url);
            let line = format!(
                "a request was refused: add \"{origin}\" to `http` in [grants] of service.toml"
            );
            self.lines.push(Level::WARN, &line);
            return Err(Error::HttpRequestDenied);
        }
        let Some(left) = self.requests_left.checked_sub(1) else {
            let line = "a request was refused: the call sent as many as its limit allows";
            self.lines.push(Level::WARN, line);
            self.meters.breach(Limit::OutboundRequests);
            return Err(Error::ConnectionLimitReached);
        };
        self.requests_left = left;
        self.meters.outbound_request();
        Ok(())
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if let Err(error) = self.admit(request.uri()) {
            return Box::new(std::future::ready(Err(error)));
        }
        let wanted = options.and_then(|options| options.first_byte_timeout);
        let own = wanted.and_then(|wanted| Instant::now().checked_add(wanted));
        let deadline = own.map_or(self.deadline, |own| own.min(self.deadline));
        let bytes_max = usize::try_from(self.request_bytes_max).unwrap_or(usize::MAX);
        let (outbound, bytes_left) = (Arc::clone(&self.outbound), Arc::clone(&self.bytes_left));
        let lines = self.lines.clone();
        // The origin alone: paths and queries may hold secrets (M7).
        let span = tracing::info_span!("http.outbound", origin = origin_of(request.uri()));
        let sending = async move {
            let (parts, body) = request.into_parts();
            let body = Limited::new(body, bytes_max).collect().await;
            let body = body.map_err(|_| Error::HttpRequestBodySize(None))?;
            let body = body.to_bytes();
            take(&bytes_left, body.len())?;
            let origin = origin_of(&parts.uri);
            let sent = outbound.send(http::Request::from_parts(parts, body), deadline);
            let response = sent.await.map_err(|error| {
                lines.push(
                    Level::WARN,
                    &format!("a request to {origin} failed: {error}"),
                );
                error_of(&error)
            })?;
            let body = |body| {
                let left = Arc::clone(&bytes_left);
                Counted { body, left }.boxed_unsync()
            };
            let done: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(std::future::ready(Ok(())));
            Ok((response.map(body), done))
        };
        Box::new(sending.instrument(span))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_BYTES_MAX
    }
}

/// A body whose bytes count.
struct Counted {
    body: OutboundBody,
    left: Arc<AtomicU64>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(pin!(&mut self.body).poll_frame(cx));
        let counted = frame.map(|frame| {
            let frame = frame.map_err(|error| error_of(&error))?;
            take(&self.left, frame.data_ref().map_or(0, Bytes::len))?;
            Ok(frame)
        });
        Poll::Ready(counted)
    }
}

/// The origin of a URL for the log, where paths and queries have no place: they may hold secrets.
fn origin_of(url: &http::Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let host = url.host().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    format!("{scheme}://{host}{}", port.unwrap_or_default())
}

/// Takes bytes from what is left.
fn take(left: &AtomicU64, bytes: usize) -> Result<(), Error> {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let less = |left: u64| left.checked_sub(bytes);
    match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::HttpResponseBodySize(None)),
    }
}

fn error_of(error: &OutboundError) -> Error {
    match error {
        OutboundError::Denied(_) => Error::HttpRequestDenied,
        OutboundError::Name(_) => Error::DnsError {
            rcode: None,
            info_code: None,
        },
        OutboundError::NotPublic(_) => Error::DestinationIpProhibited,
        OutboundError::Failed(_) => Error::ConnectionTerminated,
        OutboundError::Late => Error::ConnectionTimeout,
        OutboundError::TooLarge => Error::HttpResponseBodySize(None),
    }
}
