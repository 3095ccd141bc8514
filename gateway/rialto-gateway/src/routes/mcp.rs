//! `/mcp`: this host's services for strangers' agents, each call paid by whoever asks, as x402 has it for MCP.

mod calls;

use std::sync::Arc;

use axum::extract::{Query, Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri, header};
use serde::Deserialize;
use serde_json::Value;

use self::calls::Call;
use crate::gateway::Gateway;
use crate::mcp::{self, Answered, Payer, ToolCall, Toolbox, Tools, Words, best, no_tool};
use crate::problem::Problem;
use crate::routes::json_rpc::{FORBIDDEN, RpcError};

/// Which tools a client wants to be listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    pub(crate) tools: Option<String>,
}

/// `POST`: a message, or several.
pub(crate) async fn post(
    State(gateway): State<Arc<Gateway>>,
    Query(wanted): Query<Wanted>,
    request: HttpRequest,
) -> Response {
    let (parts, body) = request.into_parts();
    if !may_ask(&parts.headers, gateway.public_url()) {
        let message = "pages of another origin may not ask here";
        return RpcError::new(FORBIDDEN, message).answer(&Value::Null, true);
    }
    let held = match gateway.bodies.read(&parts.headers, body).await {
        Ok(held) => held,
        Err(problem) => return problem.into_response(),
    };
    let hosted = Hosted {
        gateway: &gateway,
        headers: &parts.headers,
    };
    let wanted = wanted.tools.as_deref();
    mcp::answer(&hosted, &parts.headers, wanted, &held.bytes).await
}

/// `GET` and the rest.
pub(crate) async fn other() -> Response {
    mcp::other()
}

/// This host's services, for a client that pays.
struct Hosted<'a> {
    gateway: &'a Gateway,
    headers: &'a HeaderMap,
}

impl Toolbox for Hosted<'_> {
    const INSTRUCTIONS: &'static str = "The tools are methods of AI services that this host runs. Most cost a little, which \
         x402 pays: a call without a payment is answered by what it costs. rialto__search finds tools by words, \
         rialto__describe says what one takes, and rialto__call calls one that is not listed.";
    const PAYER: Payer = Payer::Client;

    fn listed(&self) -> Tools {
        Tools::of(&self.gateway.node, Self::PAYER)
    }

    fn search(&self, query: &str, limit: usize) -> Result<Vec<Value>, Problem> {
        Ok(best(self.listed().found(&Words::of(query)), limit))
    }

    async fn describe(&self, name: &str) -> Result<Value, Problem> {
        let tools = Tools::around(name, &self.gateway.node, Self::PAYER);
        let tool = tools.get(name).ok_or_else(|| no_tool(name))?;
        Ok(tools.describe(tool))
    }

    async fn call(&self, call: ToolCall<'_>) -> Option<Answered> {
        let tools = Tools::around(call.name, &self.gateway.node, Self::PAYER);
        let tool = tools.get(call.name)?;
        Some(
            Call::new(self.gateway, self.headers, tool, call)
                .make()
                .await,
        )
    }
}

/// Whether a page may ask: pages of this machine a host of this machine, and any page a host that has a public
/// name. A page that gave itself a name for this machine asks by that name.
fn may_ask(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host_of = |text: &str| text.parse::<Uri>().ok()?.host().map(str::to_owned);
    let asked = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let asked = asked.and_then(|host| host_of(&format!("http://{host}")));
    let public = public_url.and_then(host_of);
    if public.is_some() && asked == public {
        return true;
    }
    let origin = origin.to_str().ok().and_then(host_of);
    let is_here = |host: Option<String>| {
        host.is_some_and(|host| {
            let plain = host.trim_matches(['[', ']']);
            let address = plain.parse::<std::net::IpAddr>();
            plain == "localhost" || address.is_ok_and(|address| address.is_loopback())
        })
    };
    is_here(asked) && is_here(origin)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pages_ask_hosts_that_they_may_know() {
        let asks = |host: &'static str, origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if !origin.is_empty() {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            may_ask(&headers, Some("https://rialto.example/x"))
        };
        for (host, origin) in [
            ("127.0.0.1:8402", ""),
            ("evil.example", ""),
            ("127.0.0.1:8402", "http://localhost:6274"),
            ("[::1]:8402", "http://127.0.0.2"),
            ("rialto.example", "https://app.example"),
        ] {
            assert!(asks(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("127.0.0.1:8402", "http://evil.example"),
            ("evil.example", "http://evil.example"),
            ("evil.example", "http://localhost"),
            ("127.0.0.1:8402", "null"),
        ] {
            assert!(!asks(host, origin), "{host} {origin}");
        }
    }
}
