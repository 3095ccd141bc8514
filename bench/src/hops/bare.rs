//! A bare HTTP/2 call of as many bytes as a paid one has.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

/// A server that answers every request alike, until this process ends.
///
/// # Errors
/// No port is free.
pub(super) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).ok();
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    let mut answer = Response::new(Full::new(Bytes::from_static(b"3")));
    let told = http_header(ANSWER_BYTES);
    answer.headers_mut().insert("rialto-receipt", told);
    Ok(answer)
}

fn http_header(bytes: usize) -> hyper::header::HeaderValue {
    // Letters are a header's value.
    let text = "x".repeat(bytes);
    hyper::header::HeaderValue::from_str(&text)
        .unwrap_or_else(|_| hyper::header::HeaderValue::from_static(""))
}

/// Microseconds of one call, one after the other on one connection.
///
/// # Errors
/// The connection breaks.
pub(super) async fn measure(server: SocketAddr, calls: u32) -> Result<f64> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await?;
    let running = tokio::spawn(connection);
    let begun = Instant::now();
    for _ in 0..calls {
        let body = Full::new(Bytes::from_static(BODY));
        let request = Request::post(format!("http://{server}/services/far/add"))
            .header("payment-signature", http_header(PAYMENT_BYTES))
            .body::<Full<Bytes>>(body)?;
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        ensure!(answer.status().is_success(), "a bare call failed");
        let _: Result<_, Infallible> = Ok(answer.into_body().collect().await?);
    }
    let took = begun.elapsed().as_secs_f64() * 1e6;
    running.abort();
    Ok(took / f64::from(calls))
}

const BODY: &[u8] = br#"{"left_one":1,"right_one":2}"#;
/// What a voucher's header has, nearly.
const PAYMENT_BYTES: usize = 2_600;
/// What an answer's settlement and receipt have, nearly.
const ANSWER_BYTES: usize = 4_000;
