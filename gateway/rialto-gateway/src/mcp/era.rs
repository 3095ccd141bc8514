//! Which revision of MCP a request is in: the stateless one of 2026-07-28, where each request says everything of
//! itself, or one of those before it, which begin with a handshake.
//!
//! Both are answered at the same path. No revision keeps anything here between requests: the handshake of the
//! earlier ones is answered, and forgotten.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::routes::json_rpc::{
    HEADER_MISMATCH, INVALID_PARAMS, Request, RpcError, UNSUPPORTED_VERSION,
};

/// The stateless revision.
pub(super) const STATELESS: &str = "2026-07-28";
/// The earlier ones that are spoken, the newest first.
pub(super) const WITH_HANDSHAKE: [&str; 3] = ["2025-11-25", "2025-06-18", BATCHES];
/// The one that has several messages in a body.
pub(super) const BATCHES: &str = "2025-03-26";

/// How a client is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// As 2026-07-28 says.
    Stateless {
        /// Whether the client knows the extension by which a call demands its payment.
        pays_by_extension: bool,
    },
    /// As the revisions before say.
    WithHandshake,
}

/// What a request says of itself and its client.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(rename = "_meta", default)]
    meta: Option<Value>,
    name: Option<Value>,
    uri: Option<Value>,
}

impl Era {
    pub(super) const fn is_stateless(self) -> bool {
        matches!(self, Self::Stateless { .. })
    }

    /// Whether several messages may come at once: their revision has no header to say so.
    pub(super) fn may_batch(headers: &HeaderMap) -> bool {
        let mut said = headers.get_all(VERSION_HEADER).iter();
        said.all(|version| version == BATCHES)
    }

    /// Reads it from a request.
    ///
    /// # Errors
    /// [`UNSUPPORTED_VERSION`], [`HEADER_MISMATCH`] or [`INVALID_PARAMS`], each as the stateless revision has it.
    pub(super) fn of(headers: &HeaderMap, request: &Request) -> Result<Self, RpcError> {
        let header = text(headers, VERSION_HEADER);
        let said: Said = request.params().unwrap_or_default();
        let meta = said.meta.as_ref();
        let in_body = meta.and_then(|meta| meta.get(VERSION_KEY));
        let is_earlier = header.is_none_or(|version| WITH_HANDSHAKE.contains(&version));
        if is_earlier && in_body.is_none() && request.method != "server/discover" {
            return Ok(Self::WithHandshake);
        }
        // A header alone that names no revision is answered by what there is.
        if in_body.is_none()
            && let Some(version) = header.filter(|version| *version != STATELESS)
        {
            return Err(unsupported(version));
        }
        let capabilities = meta.and_then(|meta| meta.get(CAPABILITIES_KEY));
        let (Some(version), Some(capabilities)) = (in_body, capabilities) else {
            let message =
                format!("`params._meta` has to have `{VERSION_KEY}` and `{CAPABILITIES_KEY}`");
            return Err(RpcError::new(INVALID_PARAMS, message));
        };
        check_headers(headers, request, &said, version)?;
        let version = version.as_str().unwrap_or_default();
        if version != STATELESS {
            return Err(unsupported(version));
        }
        let extension = &capabilities["extensions"][PAYMENT_EXTENSION];
        Ok(Self::Stateless {
            pays_by_extension: extension.is_object(),
        })
    }
}

/// Headers that proxies route by have to say what the body says.
fn check_headers(
    headers: &HeaderMap,
    request: &Request,
    said: &Said,
    version: &Value,
) -> Result<(), RpcError> {
    let mismatch = |name: &str| {
        let message = format!("the header {name} does not say what the body says");
        Err(RpcError::new(HEADER_MISMATCH, message))
    };
    if text(headers, VERSION_HEADER) != version.as_str() || version.as_str().is_none() {
        return mismatch("MCP-Protocol-Version");
    }
    if text(headers, "mcp-method") != Some(request.method.as_str()) {
        return mismatch("Mcp-Method");
    }
    let named = match request.method.as_str() {
        "tools/call" | "prompts/get" => said.name.as_ref(),
        "resources/read" => said.uri.as_ref(),
        _ => None,
    };
    if let Some(named) = named
        && text(headers, "mcp-name").and_then(plain).as_deref() != named.as_str()
    {
        return mismatch("Mcp-Name");
    }
    Ok(())
}

/// A header's text, if there is one of them, without the spaces around it.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    let text = first.trim_matches([' ', '\t']);
    values.next().is_none().then_some(text)
}

/// A name as a header has it, which may be in base 64.
fn plain(value: &str) -> Option<String> {
    let encoded = value.strip_prefix("=?base64?");
    match encoded.and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

fn unsupported(version: &str) -> RpcError {
    let mut supported = vec![STATELESS];
    supported.extend(WITH_HANDSHAKE);
    let message = format!("the revision `{version}` is not spoken here");
    RpcError::new(UNSUPPORTED_VERSION, message)
        .data(json!({ "supported": supported, "requested": version }))
}

/// The revision that a handshake is answered with: the client's own if it is spoken.
pub(super) fn agreed(asked: &str) -> &'static str {
    let known = WITH_HANDSHAKE.into_iter().find(|known| *known == asked);
    known.unwrap_or(WITH_HANDSHAKE[0])
}

const VERSION_HEADER: &str = "mcp-protocol-version";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
/// x402's extension of MCP.
pub(super) const PAYMENT_EXTENSION: &str = "org.x402/payment";

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::routes::json_rpc::{Message, read};

    fn request(method: &str, params: &Value) -> Request {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        match read(body.to_string().as_bytes()).unwrap() {
            Message::Request(request) => request,
            Message::Unanswered => panic!("no request"),
        }
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let all = all.iter();
        all.map(|(name, text)| (HeaderName::from_static(name), value(text)))
            .collect()
    }

    fn envelope(version: &str) -> Value {
        json!({"name": "embed_embed", "_meta": {VERSION_KEY: version, CAPABILITIES_KEY: {}}})
    }

    fn modern(version: &str, method: &str, name: &str) -> HeaderMap {
        headers(&[
            (VERSION_HEADER, version),
            ("mcp-method", method),
            ("mcp-name", name),
        ])
    }

    #[test]
    fn a_client_is_answered_in_its_own_revision() {
        let list = request("tools/list", &json!({}));
        assert_eq!(
            Era::of(&HeaderMap::new(), &list).unwrap(),
            Era::WithHandshake
        );
        let earlier = headers(&[(VERSION_HEADER, "2025-06-18")]);
        assert_eq!(Era::of(&earlier, &list).unwrap(), Era::WithHandshake);
        let call = request("tools/call", &envelope(STATELESS));
        let era = Era::of(&modern(STATELESS, "tools/call", "embed_embed"), &call);
        assert_eq!(
            era.unwrap(),
            Era::Stateless {
                pays_by_extension: false
            }
        );
        let encoded = modern(STATELESS, "tools/call", "=?base64?ZW1iZWRfZW1iZWQ=?=");
        assert!(Era::of(&encoded, &call).is_ok());
        let spaced = modern(STATELESS, "tools/call", " embed_embed\t");
        assert!(Era::of(&spaced, &call).is_ok());
        let mut pays = envelope(STATELESS);
        pays["_meta"][CAPABILITIES_KEY] = json!({"extensions": {PAYMENT_EXTENSION: {}}});
        let call = request("tools/call", &pays);
        let era = Era::of(&modern(STATELESS, "tools/call", "embed_embed"), &call);
        assert_eq!(
            era.unwrap(),
            Era::Stateless {
                pays_by_extension: true
            }
        );
        assert_eq!(
            (agreed("2025-06-18"), agreed(STATELESS)),
            ("2025-06-18", "2025-11-25")
        );
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let call = request("tools/call", &envelope(STATELESS));
        let refused = |headers: &HeaderMap, request| Era::of(headers, request).unwrap_err().code;
        for headers in [
            HeaderMap::new(),
            modern("2025-11-25", "tools/call", "embed_embed"),
            modern(STATELESS, "tools/list", "embed_embed"),
            modern(STATELESS, "tools/call", "other"),
            modern(STATELESS, "tools/call", "=?base64?!?="),
        ] {
            assert_eq!(refused(&headers, &call), HEADER_MISMATCH, "{headers:?}");
        }
        let bare = request("tools/list", &json!({}));
        let headers = modern(STATELESS, "tools/list", "");
        assert_eq!(refused(&headers, &bare), INVALID_PARAMS);
        let strange = headers_of("1999-01-01");
        assert_eq!(refused(&strange, &bare), UNSUPPORTED_VERSION);
        let later = request("tools/call", &envelope("2099-01-01"));
        let headers = modern("2099-01-01", "tools/call", "embed_embed");
        let error = Era::of(&headers, &later).unwrap_err();
        assert_eq!(error.code, UNSUPPORTED_VERSION);
        assert_eq!(error.data.unwrap()["requested"], "2099-01-01");
        let discover = request("server/discover", &json!({}));
        assert_eq!(refused(&HeaderMap::new(), &discover), INVALID_PARAMS);
    }

    fn headers_of(version: &str) -> HeaderMap {
        headers(&[(VERSION_HEADER, version)])
    }
}
