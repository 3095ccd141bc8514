//! Sends guests' requests: by names that lead to public addresses, without redirects and proxies.
//!
//! Each connection's addresses are looked at when its name is resolved, by the same answer that is
//! connected to: a name that leads elsewhere the next time gains nothing. Which origins a service may
//! ask is the host's to check, before.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use rialto_host::{Outbound, OutboundAnswer, OutboundBody, OutboundError, is_public};

use crate::trace::SpanIds;

/// W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

/// Sends by TLS or without, over connections that are kept for a while.
#[derive(Debug)]
pub(crate) struct Requests {
    client: Client,
    gate: Arc<Gate>,
}

/// Which addresses may be connected to.
#[derive(Debug)]
struct Gate {
    /// Addresses that the operator allows although they are not public.
    allowed: Vec<IpAddr>,
}

impl Requests {
    /// `allowed` addresses are good although they are not public.
    ///
    /// # Errors
    /// The system's TLS roots cannot be read.
    pub(crate) fn new(allowed: Vec<IpAddr>) -> Result<Self, reqwest::Error> {
        let gate = Arc::new(Gate { allowed });
        let client = Client::builder()
            .dns_resolver(Arc::clone(&gate))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIME)
            .build()?;
        Ok(Self { client, gate })
    }
}

impl Outbound for Requests {
    fn send(&self, mut request: Request<Bytes>, deadline: Instant) -> OutboundAnswer {
        // The trace that the call belongs to goes on, unless the guest has one of its own.
        if let Some(ids) = SpanIds::current()
            && !request.headers().contains_key(TRACEPARENT)
            && let Ok(value) = HeaderValue::try_from(ids.to_string())
        {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        let client = self.client.clone();
        // Addresses in URLs are not resolved.
        let literal = request.uri().host().and_then(address);
        let refused = literal.filter(|address| !self.gate.lets(*address));
        Box::pin(async move {
            if let Some(address) = refused {
                return Err(OutboundError::NotPublic(address.to_string()));
            }
            let request = reqwest::Request::try_from(request)
                .map_err(|error| OutboundError::Failed(error.to_string()))?;
            let sent = tokio::time::timeout_at(deadline.into(), client.execute(request)).await;
            let response = sent.map_err(|_| OutboundError::Late)?;
            let response: Response<reqwest::Body> = response.map_err(|error| of(&error))?.into();
            Ok(response.map(body))
        })
    }
}

fn body(body: reqwest::Body) -> OutboundBody {
    body.map_err(|error| of(&error)).boxed_unsync()
}

/// An address that a URL names itself.
fn address(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// What the guest may know of a failure; the resolver's own reasons lie deep inside.
fn of(error: &reqwest::Error) -> OutboundError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(error) = source {
        if let Some(known) = error.downcast_ref::<OutboundError>() {
            return known.clone();
        }
        last = error.to_string();
        source = error.source();
    }
    if error.is_timeout() {
        return OutboundError::Late;
    }
    OutboundError::Failed(last)
}

impl Gate {
    fn lets(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.contains(&address)
    }

    /// The addresses of a name that may be connected to.
    fn sift(
        &self,
        name: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, OutboundError> {
        let good: Vec<_> = found.filter(|address| self.lets(address.ip())).collect();
        if good.is_empty() {
            return Err(OutboundError::NotPublic(name.to_owned()));
        }
        Ok(good)
    }
}

impl Resolve for Gate {
    fn resolve(&self, name: Name) -> Resolving {
        let gate = Self {
            allowed: self.allowed.clone(),
        };
        Box::pin(async move {
            let name = name.as_str();
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(|error| OutboundError::Name(format!("{name}: {error}")))?;
            let good: Addrs = Box::new(gate.sift(name, found)?.into_iter());
            Ok(good)
        })
    }
}

/// How long a connection may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Connections to one origin that are kept.
const IDLE_MAX: usize = 8;
/// How long.
const IDLE_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::get;
    use tokio::net::TcpListener;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A server on this machine, and its port.
    async fn server() -> u16 {
        let app = Router::new()
            .route("/", get(async || "hello"))
            .route(
                "/away",
                get(async || Redirect::temporary("http://10.0.0.1/")),
            )
            .route("/never", get(std::future::pending::<()>));
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        port
    }

    async fn ask(
        requests: &Requests,
        url: &str,
        within: Duration,
    ) -> Result<String, OutboundError> {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        let answer = requests.send(request, Instant::now() + within).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Ok(format!("{} {text}", parts.status.as_u16()))
    }

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn this_machine_is_reached_only_if_the_operator_says_so() {
        let port = server().await;
        let closed = Requests::new(Vec::new()).unwrap();
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"] {
            let url = format!("http://{host}:{port}/");
            let error = ask(&closed, &url, SOON).await.unwrap_err();
            assert!(
                matches!(error, OutboundError::NotPublic(_)),
                "{url}: {error}"
            );
        }
        let open = Requests::new(vec![HERE]).unwrap();
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("http://{host}:{port}/");
            assert_eq!(ask(&open, &url, SOON).await.unwrap(), "200 hello");
        }
    }

    #[tokio::test]
    async fn redirects_are_the_guests_to_follow() {
        let port = server().await;
        let open = Requests::new(vec![HERE]).unwrap();
        let url = format!("http://127.0.0.1:{port}/away");
        assert_eq!(ask(&open, &url, SOON).await.unwrap(), "307 ");
    }

    #[tokio::test]
    async fn failures_have_their_own_errors() {
        let port = server().await;
        let open = Requests::new(vec![HERE]).unwrap();
        let never = format!("http://127.0.0.1:{port}/never");
        let late = ask(&open, &never, Duration::from_millis(50)).await;
        assert_eq!(late, Err(OutboundError::Late));
        let nobody = ask(&open, "http://nobody.invalid/", SOON).await;
        assert!(matches!(nobody, Err(OutboundError::Name(_))), "{nobody:?}");
        let closed = ask(&open, "http://127.0.0.1:1/", SOON).await;
        assert!(
            matches!(closed, Err(OutboundError::Failed(_))),
            "{closed:?}"
        );
    }

    #[test]
    fn of_a_names_addresses_only_public_ones_are_used() {
        let gate = Gate {
            allowed: Vec::new(),
        };
        let both = ["10.0.0.1:0", "1.1.1.1:0"].map(|text| text.parse().unwrap());
        assert_eq!(gate.sift("a", both.into_iter()).unwrap(), [both[1]]);
        let error = gate.sift("a", both.into_iter().take(1)).unwrap_err();
        assert_eq!(error, OutboundError::NotPublic("a".to_owned()));
    }
}
