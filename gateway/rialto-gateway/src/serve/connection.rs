//! One connection, from its first byte to its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;

use super::addresses::Guest;
use super::pace::Paced;
use super::progress::{Overdue, Progress};
use crate::Config;
use crate::linger::Lingering;

/// What a connection holds while it is open.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _guest: Guest,
}

/// Serves one connection until its client, its limits or a shutdown ends it.
pub(super) async fn run(
    stream: TcpStream,
    router: Router,
    config: Arc<Config>,
    mut stopping: watch::Receiver<bool>,
    _place: Place,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let spoken = tokio::select! {
        spoken = first_bytes(&stream, config.head_timeout) => spoken,
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    if let Some(version) = spoken {
        let caller = stream.peer_addr().ok().map(|address| Caller(address.ip()));
        converse(stream, version, (router, caller), config, stopping).await;
    }
}

/// Where a request's connection comes from, among its extensions. Streams through libp2p have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) IpAddr);

/// Serves one connection on which this version is spoken.
pub(super) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: Version,
    (router, caller): (Router, Option<Caller>),
    config: Arc<Config>,
    mut stopping: watch::Receiver<bool>,
) {
    let progress = Progress::new(&config);
    let allowance = (version == Version::Http2).then(|| progress.allowance());
    let (pause_max, bytes_min) = (config.write_pause_max, config.bytes_per_second_min);
    let stream = Paced::new(stream, pause_max, bytes_min, allowance);
    let builder = builder(&config);
    let service = hyper::service::service_fn({
        let progress = progress.clone();
        move |request| {
            let asked = progress.asked();
            let sender = progress.clone();
            let request = Lingering::wrap(request, &config, move |bytes| sender.sent(bytes));
            let mut request = request.map(Body::new);
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let answering = router.clone().oneshot(request);
            async move {
                let response = answering.await?;
                Ok::<_, std::convert::Infallible>(response.map(|body| asked.answer(body)))
            }
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        result = connection.as_mut() => End::Done(result.err()),
        overdue = overdue(&progress, version) => End::Overdue(overdue),
        _ = stopping.wait_for(|stop| *stop) => End::Stop,
    };
    let error = match ended {
        End::Done(error) => error,
        End::Overdue(Overdue::Idle) => {
            connection.as_mut().graceful_shutdown();
            let ended = timeout(pause_max, connection.as_mut()).await;
            ended.ok().and_then(Result::err)
        }
        End::Overdue(overdue) => {
            tracing::debug!(?overdue, "a connection is cut");
            None
        }
        End::Stop => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection.as_mut() => result.err(),
                _ = overdue(&progress, version) => None,
            }
        }
    };
    if let Some(error) = error {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// What ends the service of a connection.
enum End<E> {
    Done(Option<E>),
    Overdue(Overdue),
    Stop,
}

/// What a client began to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Resolves when the connection is not worth keeping. Over HTTP/1 the time for the next head is the
/// server's own.
async fn overdue(progress: &Progress, version: Version) -> Overdue {
    loop {
        let overdue = progress.overdue().await;
        if overdue != Overdue::Idle || version == Version::Http2 {
            return overdue;
        }
        sleep(IDLE_LOOK).await;
    }
}

fn builder(config: &Config) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX_HTTP2)
        .keep_alive_interval(Some(config.head_timeout))
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Waits until the client has said enough to tell HTTP/1 from HTTP/2: that decision has no time
/// limit of its own in the builder. None when it said nothing in time.
async fn first_bytes(stream: &TcpStream, limit: Duration) -> Option<Version> {
    let deadline = Instant::now() + limit;
    let mut seen = [0_u8; HTTP2_PREFACE.len()];
    loop {
        match tokio::time::timeout_at(deadline, stream.peek(&mut seen)).await {
            Err(_) | Ok(Err(_) | Ok(0)) => return None,
            Ok(Ok(count)) => {
                if seen.get(..count) != HTTP2_PREFACE.get(..count) {
                    return Some(Version::Http1);
                }
                if count == seen.len() {
                    return Some(Version::Http2);
                }
            }
        }
        // Part of the preface is there; peeking again returns at once with the same bytes.
        sleep(PREFACE_PAUSE).await;
        if Instant::now() >= deadline {
            return None;
        }
    }
}

const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for a payment header of 16 KiB among others.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEAD_BYTES_MAX_HTTP2: u32 = 64 * 1024;
/// Streams that were reset before we looked at them.
const RESETS_MAX: usize = 20;
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
const IDLE_LOOK: Duration = Duration::from_secs(1);
