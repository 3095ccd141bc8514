//! A server on this machine that remembers what it was asked, for tests.

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, Response, StatusCode, header},
};
use futures_util::stream;
use tokio::net::TcpListener;

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The first byte of `Range: bytes=N-`.
    pub(super) fn range(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        Some(range.split('-').next().unwrap().parse().unwrap())
    }
}

/// A server; it ends with the test's runtime.
pub(super) struct Server {
    /// Host and port.
    pub(super) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers every request by `answer`, which is also told the server's host and port.
    pub(super) async fn start(
        answer: impl Fn(&str, &Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (kept, answer, named) = (Arc::clone(&seen), Arc::new(answer), host.clone());
        let app = Router::new().fallback(move |request: Request| {
            let (kept, answer, named) = (Arc::clone(&kept), Arc::clone(&answer), named.clone());
            async move {
                let (head, body) = request.into_parts();
                let seen = Seen {
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    headers: head.headers,
                    body: to_bytes(body, 64 << 20).await.unwrap(),
                };
                kept.lock().unwrap().push(seen.clone());
                answer(&named, &seen)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { host, seen }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// What was asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub(super) fn status(status: u16) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder()
        .status(status)
        .body(Body::empty())
        .unwrap()
}

/// What was asked for of `body`, as a server that knows ranges answers.
pub(super) fn ranged(body: &[u8], seen: &Seen) -> Response<Body> {
    cut(body, seen, usize::MAX)
}

/// The same, with a connection that breaks after `bytes_max` bytes.
pub(super) fn cut(body: &[u8], seen: &Seen, bytes_max: usize) -> Response<Body> {
    let start = seen.range().unwrap_or(0);
    if start >= body.len() && start > 0 {
        return status(416);
    }
    let rest = Bytes::copy_from_slice(&body[start..]);
    let mut response = Response::builder()
        .header(header::CONTENT_LENGTH, rest.len())
        .header(header::ETAG, "\"1\"")
        .header(header::LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT");
    if seen.range().is_some() {
        let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, range);
    }
    response.body(flow(rest, bytes_max)).unwrap()
}

/// Checks where a download went on that broke off after each MiB: a broken connection may lose the last
/// pieces of what was sent, but what came is not asked for again.
pub(super) fn assert_goes_on(server: &Server) {
    let seen = server.seen();
    let starts: Vec<_> = seen.iter().map(|it| it.range().unwrap_or(0)).collect();
    assert!(starts.len() > 1, "{starts:?}");
    assert_eq!(starts[0], 0);
    let steps: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let likely = (512 << 10)..=(1 << 20);
    assert!(steps.iter().all(|step| likely.contains(step)), "{starts:?}");
}

/// Bytes in pieces, and an error after so many.
fn flow(bytes: Bytes, bytes_max: usize) -> Body {
    let whole = bytes.len() <= bytes_max;
    let sent = bytes.slice(..bytes.len().min(bytes_max));
    let mut pieces: Vec<io::Result<Bytes>> = sent
        .chunks(64 << 10)
        .map(|piece| Ok(sent.slice_ref(piece)))
        .collect();
    if !whole {
        pieces.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    Body::from_stream(stream::iter(pieces))
}
