//! Connections: HTTP/1.1 and HTTP/2 on one port, bounded in number, by address, in time and in header
//! size, and finished in order at shutdown.
//!
//! Not here: TLS (a proxy's work), routes.

mod addresses;
mod connection;
mod pace;
mod progress;
mod tunnels;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Config;
use addresses::Addresses;
pub(crate) use connection::Caller;
use connection::Place;

pub use tunnels::serve_tunnels;

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
    let addresses = Addresses::new(&config);
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
                Ok((stream, address, permit)) => {
                    let Some(guest) = addresses.enter(address.ip()) else {
                        turn_away(&stream);
                        continue;
                    };
                    let place = Place { _permit: permit, _guest: guest };
                    let served = connection::run(
                        stream, router.clone(), Arc::clone(&config), stopping.clone(), place,
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
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}

/// Tells a client whose address holds as many connections as it may, as far as that needs no waiting.
fn turn_away(stream: &TcpStream) {
    tracing::debug!("a connection was refused: its address holds as many as it may");
    // Nothing is owed to it: what does not fit into a fresh socket's buffer is not sent.
    if let Err(error) = stream.try_write(TOO_MANY) {
        tracing::debug!(%error, "nor could it be told");
    }
}

/// To HTTP/1; to others it is as good as a closed connection.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 159\r\n\r\n\
    {\"error\":{\"code\":\"too_many_connections\",\"message\":\"your address holds as many connections as \
    one may\",\"hint\":\"send the next request on one of those you have\"}}";
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
