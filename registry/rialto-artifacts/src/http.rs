//! HTTP downloads: one client for all, redirects within limits, and ranges.
//!
//! What strangers name is fetched by a client of its own that connects to public addresses only, by the
//! same answer of the resolver that was looked at: a name that leads elsewhere the next time gains nothing.
//! Not here: going on after a break, and what the bytes are for.

use std::{error::Error, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture};
use reqwest::{
    Client, Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE},
    redirect::Policy,
};

use crate::{
    FetchError,
    remote::{Opened, Remote},
};

/// Says of an address whether it is anybody's on the internet, and not this machine's, a private
/// network's or a link's.
pub type IsPublic = fn(IpAddr) -> bool;

/// How downloads reach others: one client for all of a store's.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    client: Client,
    /// Which addresses may be asked, if not any.
    is_public: Option<IsPublic>,
}

impl Web {
    /// Asks wherever the operator says.
    pub(crate) fn open() -> Result<Self, reqwest::Error> {
        Self::build(None)
    }

    /// Asks public addresses only, and no proxy, which would resolve names by itself.
    pub(crate) fn public(is_public: IsPublic) -> Result<Self, reqwest::Error> {
        Self::build(Some(is_public))
    }

    fn build(is_public: Option<IsPublic>) -> Result<Self, reqwest::Error> {
        let policy = Policy::custom(move |attempt| {
            let from = attempt.previous().last();
            if attempt.previous().len() > REDIRECTS_MAX {
                attempt.error("redirected too often")
            } else if !may_ask(is_public, attempt.url()) {
                attempt.error(NotPublic)
            } else if from.is_some_and(|from| may_lead(from, attempt.url())) {
                attempt.follow()
            } else {
                attempt.error("redirected to where it is not safe; only https is followed")
            }
        });
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIME_MAX)
            .read_timeout(READ_TIME_MAX)
            .redirect(policy);
        if let Some(is_public) = is_public {
            builder = builder.dns_resolver(Arc::new(Sieve(is_public))).no_proxy();
        }
        let client = builder.build()?;
        Ok(Self { client, is_public })
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether this is for what strangers name.
    pub(crate) const fn is_public(&self) -> bool {
        self.is_public.is_some()
    }

    /// Whether an address may be asked, as far as it says without its names being resolved.
    pub(crate) fn may_ask(&self, url: &Url) -> bool {
        may_ask(self.is_public, url)
    }
}

/// Addresses in URLs are not resolved, so they are looked at here.
fn may_ask(is_public: Option<IsPublic>, url: &Url) -> bool {
    let address = url.host_str().and_then(literal);
    match (is_public, address) {
        (Some(is_public), Some(address)) => is_public(address),
        (None, _) | (_, None) => true,
    }
}

/// A name or an address leads nowhere that strangers may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leads to no public address")]
pub(crate) struct NotPublic;

/// Whether a request was refused because it led to no public address: not even another try helps.
pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<NotPublic>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Resolves names as the system does, and lets only public addresses through.
#[derive(Debug)]
struct Sieve(IsPublic);

impl Resolve for Sieve {
    fn resolve(&self, name: Name) -> Resolving {
        let is_public = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let good: Vec<_> = found.filter(|it| is_public(it.ip())).collect();
            if good.is_empty() {
                return Err(NotPublic.into());
            }
            let good: Addrs = Box::new(good.into_iter());
            Ok(good)
        })
    }
}

/// Whether a redirect is followed: to https, from this machine to itself, and by plain HTTP only to the
/// very server that was asked so.
fn may_lead(from: &Url, to: &Url) -> bool {
    match to.scheme() {
        "https" => true,
        "http" if from.scheme() == "http" => {
            let same = from.host_str() == to.host_str()
                && from.port_or_known_default() == to.port_or_known_default();
            same || is_loopback(from) && is_loopback(to)
        }
        _ => false,
    }
}

/// Whether an address leads to this machine, where plain HTTP is as good as any.
pub(crate) fn is_loopback(url: &Url) -> bool {
    // An address without a host leads nowhere.
    let Some(host) = url.host_str() else {
        return false;
    };
    host == "localhost" || literal(host).is_some_and(|address| address.is_loopback())
}

/// The address that a host is, if it is no name.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// Whether secrets may be sent to an address.
pub(crate) fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)
}

/// A file at an address.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) web: Web,
    pub(crate) url: String,
    /// Shown to the address's host, and to no host that it redirects to.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Remote for Page {
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, FetchError>> {
        Box::pin(async move {
            if Url::parse(&self.url).is_ok_and(|url| !self.web.may_ask(&url)) {
                return Err(FetchError::NotForStrangers {
                    from: self.url.clone(),
                });
            }
            let mut request = ranged(self.web.client().get(&self.url), from);
            if let Some(authorization) = &self.authorization {
                request = request.header(reqwest::header::AUTHORIZATION, authorization);
            }
            let response = request.send().await.map_err(|e| failed(&self.url, e))?;
            opened(response, from, &self.url)
        })
    }
}

/// Asks for the bytes as they are, from byte `from` on.
pub(crate) fn ranged(request: reqwest::RequestBuilder, from: u64) -> reqwest::RequestBuilder {
    let request = request.header(ACCEPT_ENCODING, "identity");
    if from == 0 {
        return request;
    }
    request.header(RANGE, format!("bytes={from}-"))
}

/// Reads what a server says about the bytes it sends.
pub(crate) fn opened(response: Response, from: u64, url: &str) -> Result<Opened, FetchError> {
    let status = response.status();
    let (start, bytes_total) = if status == StatusCode::PARTIAL_CONTENT {
        let range = response.headers().get(CONTENT_RANGE);
        let range = range.and_then(|range| content_range(range.to_str().ok()?));
        range
            .filter(|(start, _)| *start == from)
            .ok_or_else(|| FetchError::Cut {
                from: url.to_owned(),
                bytes: from,
            })?
    } else if status.is_success() {
        (0, response.content_length())
    } else {
        return Err(FetchError::Status {
            url: url.to_owned(),
            status: status.as_u16(),
        });
    };
    let name = url.to_owned();
    let body = response.bytes_stream();
    Ok(Opened {
        start,
        bytes_total,
        body: Box::pin(body.map(move |chunk| chunk.map_err(|error| failed(&name, error)))),
    })
}

/// The first byte and the size in all of `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((start.parse().ok()?, total))
}

pub(crate) fn failed(url: &str, source: reqwest::Error) -> FetchError {
    FetchError::Http {
        url: url.to_owned(),
        source: source.without_url(),
    }
}

/// Reads a short answer whole; `None` if it is longer than `bytes_max`.
pub(crate) async fn read_short(
    mut response: Response,
    bytes_max: usize,
) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.into()))
}

const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
pub(crate) const READ_TIME_MAX: Duration = Duration::from_secs(60);
const REDIRECTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_no_weaker_place() {
        let check = |from: &str, to: &str, follows: bool| {
            let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
            assert_eq!(may_lead(&from, &to), follows, "{from} {to}");
        };
        check("https://a.example/", "https://b.example/", true);
        check("http://a.example/", "https://b.example/", true);
        check("http://a.example/x", "http://a.example/y", true);
        check("http://127.0.0.1:1/", "http://127.0.0.1:2/", true);
        check("http://localhost/", "http://[::1]:2/", true);
        check("https://a.example/", "http://a.example/", false);
        check("https://a.example/", "http://127.0.0.1/", false);
        check("http://a.example/", "http://b.example/", false);
        check("http://a.example/", "http://a.example:8080/", false);
        check("http://a.example/", "http://127.0.0.1/", false);
        check("http://a.example/", "file:///etc/passwd", false);
        check("file:///a", "file:///b", false);
        assert!(!is_loopback(&Url::parse("data:,x").unwrap()));
    }

    #[test]
    fn ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in [
            "",
            "bytes */10",
            "bytes 5-9",
            "5-9/10",
            "bytes a-9/10",
            "bytes 5-9/x",
        ] {
            assert_eq!(content_range(bad), None, "{bad:?}");
        }
    }
}
