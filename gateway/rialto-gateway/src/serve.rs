//! Connections: HTTP/1.1 and HTTP/2 on one port, bounded in number, in time and in header size,
//! and finished in order at shutdown.
//!
//! Not here: TLS (a proxy's work), routes.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;

use crate::Config;
use crate::linger::Lingering;

/// Serves `router` on `listener` until `shutdown` resolves, then stops accepting, lets requests in
/// progress finish for at most [`Config::drain`], and returns.
///
/// Dropping the future closes every connection at once.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: Config,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(config.connections_max));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let drain = config.drain;
    let config = Arc::new(config);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept(&listener, &permits) => match accepted {
                Ok((stream, permit)) => {
                    let served = connection(
                        stream, router.clone(), Arc::clone(&config), stopping.clone(), permit,
                    );
                    connections.spawn(served);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    drop(stopping);
    // No receiver left means that no connection is open: nothing to tell.
    let _ = stop.send(true);
    let finished = timeout(drain, async {
        while connections.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at shutdown");
        connections.shutdown().await;
    }
}

/// Cancel-safe: a permit without a connection goes back.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(
    stream: TcpStream,
    router: Router,
    config: Arc<Config>,
    mut stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let spoke = tokio::select! {
        spoke = first_bytes(&stream, config.head_timeout) => spoke,
        _ = stopping.wait_for(|stop| *stop) => false,
    };
    if !spoke {
        return;
    }
    let builder = builder(&config);
    let service = hyper::service::service_fn(move |request| {
        let request = Lingering::wrap(request, &config);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        result = connection.as_mut() => Some(result),
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
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
        .max_header_list_size(HEAD_BYTES_MAX_HTTP2)
        .keep_alive_interval(Some(config.head_timeout))
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Waits until the client has said enough to tell HTTP/1 from HTTP/2: that decision has no time
/// limit of its own in the builder. False when it said nothing in time.
async fn first_bytes(stream: &TcpStream, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut seen = [0_u8; HTTP2_PREFACE.len()];
    loop {
        match tokio::time::timeout_at(deadline, stream.peek(&mut seen)).await {
            Err(_) | Ok(Err(_) | Ok(0)) => return false,
            Ok(Ok(count)) if count == seen.len() => return true,
            Ok(Ok(count)) => {
                if seen.get(..count) != HTTP2_PREFACE.get(..count) {
                    return true;
                }
            }
        }
        // Part of the preface is there; peeking again returns at once with the same bytes.
        sleep(PREFACE_PAUSE).await;
        if Instant::now() >= deadline {
            return false;
        }
    }
}

const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for a payment header of 16 KiB among others.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEAD_BYTES_MAX_HTTP2: u32 = 64 * 1024;
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
