//! Reading what somebody else sends, up to a limit: an answer without an end must not take this
//! machine's memory.
//!
//! Not here: how long a read may take, which the request's own timeout bounds.

use bytes::{Bytes, BytesMut};
use reqwest::Response;

/// Why an answer was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It broke off.
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
    /// It ended before its end, or nothing came any more.
    #[error("the answer ended too early")]
    Unfinished,
    /// It is longer than may be read.
    #[error("the answer is longer than {limit} bytes, the most that is read of it")]
    TooLong {
        /// The limit, in bytes.
        limit: u64,
    },
}

/// Reads an answer of at most `limit` bytes. One that says that it is longer is refused before any
/// of it is read.
///
/// # Errors
/// [`ReadError`]; the connection is given up then.
pub async fn read_bounded(mut response: Response, limit: u64) -> Result<Bytes, ReadError> {
    let fits = |bytes: u64| bytes <= limit;
    if response.content_length().is_some_and(|bytes| !fits(bytes)) {
        return Err(ReadError::TooLong { limit });
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Broken)? {
        let read = body.len().saturating_add(chunk.len());
        if !u64::try_from(read).is_ok_and(fits) {
            return Err(ReadError::TooLong { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The most that is read of a gateway's own documents and refusals, in bytes: thousands of
/// services fit.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers everything with this head, and then sends without end for as long as
    /// somebody reads.
    pub(in crate::client) async fn endless(head: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = vec![0; 64 << 10];
                    if connection.read(&mut request).await.is_err()
                        || connection.write_all(head.as_bytes()).await.is_err()
                    {
                        return;
                    }
                    let chunk = [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat();
                    while connection.write_all(&chunk).await.is_ok() {}
                });
            }
        });
        url
    }

    pub(in crate::client) const ENDLESS: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

    /// Far less than it takes to fill a memory.
    pub(in crate::client) const PATIENCE: Duration = Duration::from_secs(20);

    async fn get(url: &str, limit: u64) -> Result<Bytes, ReadError> {
        let read = async {
            let response = reqwest::get(url).await.unwrap();
            read_bounded(response, limit).await
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_without_end_is_given_up_at_the_limit() {
        let url = endless(ENDLESS).await;
        for limit in [0, 100_000, 1 << 20] {
            let refused = get(&url, limit).await.unwrap_err();
            assert!(matches!(refused, ReadError::TooLong { limit: said } if said == limit));
            assert!(refused.to_string().contains(&limit.to_string()));
        }
    }

    #[tokio::test]
    async fn a_length_that_is_stated_is_believed_at_once() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
        let url = endless(head).await;
        assert!(matches!(
            get(&url, 1 << 20).await,
            Err(ReadError::TooLong { .. })
        ));
    }

    #[tokio::test]
    async fn what_just_fits_is_read() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n12345";
        let url = endless(head).await;
        assert_eq!(get(&url, 5).await.unwrap(), "12345");
        assert!(matches!(
            get(&url, 4).await,
            Err(ReadError::TooLong { limit: 4 })
        ));
    }
}
