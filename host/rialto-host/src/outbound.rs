//! Requests that guests send: to which origins, and which addresses are anybody's.
//!
//! The host decides whether a request may leave; who sends it is a port that the node implements. Names
//! are resolved by the sender, which must refuse addresses that are not [public](is_public) at the moment
//! it connects: a name may resolve to another address each time it is asked for.
//!
//! Non-goals: sockets, TLS, connection pools.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use serde::{Deserialize, Serialize};

/// Where a service may send requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Whether by TLS.
    pub https: bool,
    /// The host in lower case, as URLs write it.
    pub host: String,
    /// Whether all names below `host` are meant, instead of itself.
    pub below: bool,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// Whether a request to this URL goes here.
    #[must_use]
    pub fn covers(&self, url: &http::Uri) -> bool {
        let scheme = if self.https { "https" } else { "http" };
        let usual = if self.https { 443 } else { 80 };
        let Some(host) = url.host() else { return false };
        let host = host.to_ascii_lowercase();
        let named = if self.below {
            let rest = host.strip_suffix(self.host.as_str());
            rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.host
        };
        named && url.scheme_str() == Some(scheme) && url.port_u16().unwrap_or(usual) == self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        let below = if self.below { "*." } else { "" };
        write!(f, "{scheme}://{below}{}", self.host)?;
        if self.port == usual {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// A body as it arrives.
pub type OutboundBody = UnsyncBoxBody<Bytes, OutboundError>;

/// An answer that is on its way.
pub type OutboundAnswer =
    Pin<Box<dyn Future<Output = Result<Response<OutboundBody>, OutboundError>> + Send>>;

/// Sends requests for guests.
pub trait Outbound: fmt::Debug + Send + Sync {
    /// Sends a request whose URL is absolute and granted. Follows no redirect: where one leads is the
    /// guest's next request, which is checked like the first. Gives up at `deadline`. Cancel-safe.
    fn send(&self, request: Request<Bytes>, deadline: Instant) -> OutboundAnswer;
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The host's operator lets no service send requests, or not there.
    #[error("the host does not send requests there: {0}")]
    Denied(String),
    /// The name does not resolve.
    #[error("the name does not resolve: {0}")]
    Name(String),
    /// All addresses are private, reserved or this machine's.
    #[error("{0} leads to no public address")]
    NotPublic(String),
    /// Nobody answers, or not as HTTP.
    #[error("no answer: {0}")]
    Failed(String),
    /// The time is over.
    #[error("no answer in time")]
    Late,
    /// More bytes than the call may move.
    #[error("the answer is too large")]
    TooLarge,
}

/// Sends nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoOutbound;

impl Outbound for NoOutbound {
    fn send(&self, _: Request<Bytes>, _: Instant) -> OutboundAnswer {
        let text = "outbound requests are off";
        Box::pin(async move { Err(OutboundError::Denied(text.to_owned())) })
    }
}

/// Whether an address belongs to anybody on the internet: not this machine, a private or shared network, a
/// link (where clouds keep their metadata), a group, documentation, benchmarks or a range kept for later
/// (the IANA registries of special-purpose addresses, RFC 6890). An IPv6 address that carries an IPv4 one
/// is judged by that one.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    !matches!(
        (a, b, c, d),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, ..)
            | (169, 254, ..)
            | (172, 16..=31, ..)
            | (192, 0, 0 | 2, _)
            | (192, 31, 196, _)
            | (192, 52, 193, _)
            | (192, 88, 99, _)
            | (192, 168, ..)
            | (192, 175, 48, _)
            | (198, 18 | 19, ..)
            | (198, 51, 100, _)
            | (203, 0, 113, _)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // IPv4-mapped and translated addresses.
        (0, 0) if [c, d, e, f] == [0, 0, 0, 0xffff] => carried(g, h),
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => carried(g, h),
        // 6to4 carries an address in its next words.
        (0x2002, _) => carried(b, c),
        // Teredo, benchmarks, overlays and other protocols' assignments; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) => false,
        (0x3fff, 0..=0xfff) => false,
        // Only these are assigned as global unicast.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        let public = "1.1.1.1 8.8.8.8 100.63.0.1 100.128.0.1 172.32.0.1 192.167.1.1 198.20.0.1 \
                      2606:4700::1111 2a00::1 ::ffff:1.1.1.1 64:ff9b::808:808 2002:808:808::1";
        let private = "0.0.0.0 10.1.2.3 127.0.0.1 127.9.9.9 100.64.0.1 100.127.255.255 169.254.169.254 \
                       172.16.0.1 172.31.255.255 192.168.1.1 192.0.0.8 192.0.2.1 198.18.0.1 \
                       198.51.100.7 203.0.113.9 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 \
                       ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::a00:1 \
                       64:ff9b:1::1 fe80::1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 2001::1 \
                       2002:a00:1::1 2002:7f00:1:: 3fff::1 100::1 fec0::1 4000::1";
        for text in public.split_whitespace() {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in private.split_whitespace() {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |below| Origin {
            https: true,
            host: "example.com".to_owned(),
            below,
            port: 443,
        };
        let covers = |below, url: &str| origin(below).covers(&url.parse().unwrap());
        assert!(covers(false, "https://example.com/a?b"));
        assert!(covers(false, "https://EXAMPLE.com:443/"));
        for url in [
            "http://example.com/",
            "https://example.com:8443/",
            "https://www.example.com/",
            "https://example.com.evil.org/",
            "https://example.com@evil.org/",
            "/path",
        ] {
            assert!(!covers(false, url), "{url}");
        }
        assert!(covers(true, "https://a.example.com/") && covers(true, "https://a.b.example.com/"));
        assert!(!covers(true, "https://example.com/"));
        assert!(!covers(true, "https://evilexample.com/"));
        assert_eq!(origin(true).to_string(), "https://*.example.com");
    }
}
