//! Other hosts' gateways, through libp2p: a request goes on as it came, payment and all, over one HTTP/2
//! connection a peer that stays open between calls.
//!
//! Not here: which peer to ask, and paying.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Uri, header};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rialto_node::{DialError, Node};
use rialto_registry::PeerId;
use tokio::time::timeout;

use super::Local;
use crate::problem::{ErrorCode, Problem};

/// Connections to peers. Beyond [`LINES_MAX`] the one that was used longest ago is closed.
#[derive(Debug)]
pub(super) struct Peers {
    node: Node,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    open: HashMap<PeerId, Line>,
    uses: u64,
}

#[derive(Debug)]
struct Line {
    sender: SendRequest<Body>,
    used: u64,
}

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
enum ForwardError {
    #[error("the peer {peer} cannot be reached")]
    Dial {
        peer: PeerId,
        #[source]
        source: DialError,
    },
    #[error("the peer {0} does not answer in time")]
    Late(PeerId),
    #[error("the peer {peer} broke off")]
    Broke {
        peer: PeerId,
        #[source]
        source: hyper::Error,
    },
}

impl ForwardError {
    /// Whether the peer may have seen the request.
    fn code(&self) -> ErrorCode {
        match self {
            Self::Dial { .. } | Self::Late(_) => ErrorCode::PeerUnreachable,
            Self::Broke { .. } => ErrorCode::PeerBrokeOff,
        }
    }
}

impl Peers {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node,
            lines: Mutex::default(),
        }
    }

    async fn send(&self, peer: PeerId, request: Request) -> Result<Response, ForwardError> {
        let mut sender = self.line(peer).await?;
        let broke = |source| ForwardError::Broke { peer, source };
        let answer = sender.send_request(request).await.map_err(broke)?;
        Ok(answer.map(Body::new))
    }

    /// A connection that takes requests: one that is open, or a new one.
    async fn line(&self, peer: PeerId) -> Result<SendRequest<Body>, ForwardError> {
        let open = self.lines().of(peer);
        if let Some(mut sender) = open
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let opened = timeout(DIAL_TIME_MAX, self.open(peer)).await;
        let sender = opened.map_err(|_| ForwardError::Late(peer))??;
        self.lines().put(peer, sender.clone());
        Ok(sender)
    }

    async fn open(&self, peer: PeerId) -> Result<SendRequest<Body>, ForwardError> {
        let dialed = self.node.dial(peer).await;
        let stream = dialed.map_err(|source| ForwardError::Dial { peer, source })?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ForwardError::Broke { peer, source })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a line to a peer ended");
            }
        });
        Ok(sender)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Lines are put in and taken out whole.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn of(&mut self, peer: PeerId) -> Option<SendRequest<Body>> {
        self.uses = self.uses.saturating_add(1);
        let line = self.open.get_mut(&peer)?;
        line.used = self.uses;
        (!line.sender.is_closed()).then(|| line.sender.clone())
    }

    fn put(&mut self, peer: PeerId, sender: SendRequest<Body>) {
        self.open.retain(|_, line| !line.sender.is_closed());
        if self.open.len() >= LINES_MAX
            && let Some(oldest) = self.open.iter().min_by_key(|(_, line)| line.used)
        {
            let oldest = *oldest.0;
            // Requests on their way hold it open to their end.
            self.open.remove(&oldest);
        }
        let used = self.uses;
        self.open.insert(peer, Line { sender, used });
    }
}

/// Sends a request on to the peer that its path names.
pub(super) async fn forward(
    State(local): State<Arc<Local>>,
    Path(path): Path<HashMap<String, String>>,
    mut request: Request,
) -> Response {
    let named = path.get("peer").map_or("", String::as_str);
    let peer: PeerId = match named.parse() {
        Ok(peer) => peer,
        Err(error) => {
            let message = format!("`{named}` {error}");
            return Problem::new(ErrorCode::IdMalformed, message).into_response();
        }
    };
    let Some(uri) = uri_at(request.uri(), named) else {
        return Problem::new(ErrorCode::RouteUnknown, "there is nothing at this path")
            .into_response();
    };
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    hop(request.headers_mut());
    request.headers_mut().remove(header::HOST);
    match local.peers.send(peer, request).await {
        Ok(mut response) => {
            hop(response.headers_mut());
            response
        }
        Err(error) => {
            tracing::debug!(%peer, error = ?error, "a request was not forwarded");
            Problem::new(error.code(), error.to_string())
                .hint("another provider may be there: `rialto search` lists them")
                .into_response()
        }
    }
}

/// The address of a request at the peer: what follows its name.
fn uri_at(uri: &Uri, peer: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix("/peers/")?.strip_prefix(peer)?;
    let path = match (rest, uri.query()) {
        ("", None) => "/".to_owned(),
        ("", Some(query)) => format!("/?{query}"),
        (rest, None) => rest.to_owned(),
        (rest, Some(query)) => format!("{rest}?{query}"),
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(peer.parse::<Authority>().ok()?);
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// Takes out the headers that are of one connection alone (RFC 9110, section 7.6.1).
fn hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
}

const HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
const LINES_MAX: usize = 256;
const DIAL_TIME_MAX: Duration = Duration::from_secs(20);
/// A peer that says nothing for this long after it was asked whether it is there is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_follows_the_peer_is_asked_of_it() {
        let check = |from: &str, to: Option<&str>| {
            let at = uri_at(&from.parse().unwrap(), "12D3");
            assert_eq!(at.map(|uri| uri.to_string()).as_deref(), to, "{from}");
        };
        check(
            "/peers/12D3/services/a/b?bytes=1",
            Some("http://12D3/services/a/b?bytes=1"),
        );
        check("/peers/12D3", Some("http://12D3/"));
        check("/peers/12D3/", Some("http://12D3/"));
        check("/peers/12D3?a", Some("http://12D3/?a"));
        check("/peers/other/x", None);
        check("/elsewhere", None);
    }

    #[test]
    fn headers_of_a_connection_stay_with_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-secret"),
            ("x-secret", "1"),
            ("transfer-encoding", "chunked"),
            ("payment-signature", "2"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["payment-signature"]);
    }
}
