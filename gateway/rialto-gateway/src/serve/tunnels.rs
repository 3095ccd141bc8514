//! HTTP over libp2p streams: how a host is called that nobody reaches otherwise.
//!
//! A stream is a connection like any other, served by the same router, with the same limits and payments. Who
//! is at its other end is a peer, which libp2p has proven, and each peer may have so many.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use rialto_node::{Tunnel, TunnelProtocol, Tunnels};
use rialto_registry::PeerId;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::{Version, converse};
use crate::Config;

/// Serves `router` on the streams that peers open, until `shutdown` resolves or no more can come; then lets
/// requests in progress finish for at most [`Config::drain`], and returns.
///
/// Dropping the future closes every stream at once.
pub async fn serve_tunnels(
    mut tunnels: Tunnels,
    router: Router,
    config: Config,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    let (stop, stopping) = watch::channel(false);
    let mut held: HashMap<PeerId, usize> = HashMap::new();
    let mut running: JoinSet<PeerId> = JoinSet::new();
    let (drain, each_max) = (config.drain, config.tunnels_per_peer_max);
    let config = Arc::new(config);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = running.join_next(), if !running.is_empty() => leave(&mut held, ended),
            next = tunnels.next() => {
                let Some(tunnel) = next else {
                    break;
                };
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    tracing::debug!(peer = %tunnel.peer, "a stream was refused: all places are taken");
                    continue;
                };
                let count = held.get(&tunnel.peer).copied().unwrap_or(0);
                if count >= each_max {
                    tracing::debug!(peer = %tunnel.peer, "a stream was refused: its peer has as many as it may");
                    continue;
                }
                held.insert(tunnel.peer, count.saturating_add(1));
                let (router, config, stopping) = (router.clone(), Arc::clone(&config), stopping.clone());
                running.spawn(async move {
                    let Tunnel { peer, protocol, stream } = tunnel;
                    let version = match protocol {
                        TunnelProtocol::Http1 => Version::Http1,
                        TunnelProtocol::Http2 => Version::Http2,
                    };
                    converse(stream, version, (router, None), config, stopping).await;
                    drop(place);
                    peer
                });
            }
        }
    }
    drop(stopping);
    // No receiver left means that no stream is open: nothing to tell.
    let _ = stop.send(true);
    let finished = timeout(drain, async {
        while running.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(open = running.len(), "streams were cut at shutdown");
        running.shutdown().await;
    }
}

/// A task that crashed keeps its peer's place: which one it was, nobody knows.
fn leave(held: &mut HashMap<PeerId, usize>, ended: Result<PeerId, tokio::task::JoinError>) {
    if let Ok(peer) = ended
        && let Some(count) = held.get_mut(&peer)
    {
        *count = count.saturating_sub(1);
        if *count == 0 {
            held.remove(&peer);
        }
    }
}
