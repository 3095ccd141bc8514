//! HTTP/1.1 as the load generator speaks it: one keep-alive connection, one request at a time.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

/// A request but for its payment.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The path.
    pub(crate) path: String,
    /// The body's media type.
    pub(crate) media_type: &'static str,
    /// The body.
    pub(crate) body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Connection {
    /// Connects, without Nagle's delay.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; what ends it earlier shows at the next request.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { sender })
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }
}

impl Call {
    /// A call with a JSON body.
    pub(crate) fn json(path: &str, body: impl Into<Bytes>) -> Self {
        Self {
            path: path.to_owned(),
            media_type: "application/json",
            body: body.into(),
        }
    }

    /// The request, with a payment's header if there is one.
    ///
    /// # Errors
    /// The path is not one.
    pub(crate) fn request(&self, payment: Option<HeaderValue>) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, "127.0.0.1")
            .header(CONTENT_TYPE, self.media_type);
        if let Some(payment) = payment {
            request = request.header(PAYMENT, payment);
        }
        Ok(request.body(Full::new(self.body.clone()))?)
    }
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// The answer is another one; the text says which.
    pub(crate) fn success(self) -> Result<Bytes> {
        ensure!(
            self.status.is_success(),
            "answered {}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(self.body)
    }
}

/// The address in a URL like `http://127.0.0.1:8402`.
///
/// # Errors
/// It is another kind of URL.
pub(crate) fn address(url: &str) -> Result<SocketAddr> {
    let authority = url.strip_prefix("http://").context("not an http URL")?;
    Ok(authority.trim_end_matches('/').parse()?)
}

const PAYMENT: &str = "payment-signature";
