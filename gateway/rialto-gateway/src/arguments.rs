//! A body's bytes as a call's arguments, by its content type.
//!
//! JSON is an object of parameters, a form is one part a parameter, anything else is the bytes of
//! the method's byte list. Types that tools send without being asked (`curl -d`) mean whatever
//! the method takes.
//!
//! Not here: whether the arguments fit the method's types (the host checks).

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use rialto_node::{Arguments, Part};

use crate::problem::{ErrorCode, Problem};

/// Reads a body into arguments.
///
/// # Errors
/// 415 for a compressed body, 400 for a form that breaks the format.
pub(crate) async fn read(
    headers: &HeaderMap,
    bytes: &Bytes,
    takes_raw_bytes: bool,
) -> Result<Arguments, Problem> {
    if is_compressed(headers) {
        return Err(Problem::new(
            ErrorCode::BodyTypeUnsupported,
            "compressed bodies are not taken",
        )
        .hint("send it without content-encoding"));
    }
    match Kind::of(headers, bytes, takes_raw_bytes) {
        Kind::Json => Ok(Arguments::Json(bytes.clone())),
        Kind::Raw => Ok(Arguments::Raw(bytes.clone())),
        Kind::Form => form(headers, bytes).await,
    }
}

enum Kind {
    Json,
    Raw,
    Form,
}

impl Kind {
    fn of(headers: &HeaderMap, bytes: &Bytes, takes_raw_bytes: bool) -> Self {
        let essence = essence(headers);
        if essence == "multipart/form-data" {
            Self::Form
        } else if is_json(&essence) || (essence.is_empty() && bytes.is_empty()) {
            Self::Json
        } else if essence.is_empty() || essence == "application/x-www-form-urlencoded" {
            if takes_raw_bytes {
                Self::Raw
            } else {
                Self::Json
            }
        } else {
            Self::Raw
        }
    }
}

/// The content type without its parameters, in lower case; empty when absent or unreadable.
fn essence(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase())
        .unwrap_or_default()
}

fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

async fn form(headers: &HeaderMap, bytes: &Bytes) -> Result<Arguments, Problem> {
    let mut request = Request::new(Body::from(bytes.clone()));
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type.clone());
    }
    // The body is here already, within our own limit.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| malformed(&error.body_text()))?;
    let mut parts = Vec::new();
    while let Some(field) = form
        .next_field()
        .await
        .map_err(|error| malformed(&error.body_text()))?
    {
        if parts.len() >= PARTS_MAX {
            return Err(malformed(&format!("more than {PARTS_MAX} parts")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(malformed("a part has no name"));
        }
        let content = field
            .bytes()
            .await
            .map_err(|error| malformed(&error.body_text()))?;
        parts.push(Part { name, content });
    }
    Ok(Arguments::Parts(parts))
}

fn malformed(problem: &str) -> Problem {
    Problem::new(
        ErrorCode::BodyMalformed,
        format!("the form cannot be read: {problem}"),
    )
    .hint("send multipart/form-data with one named part for each parameter")
}

const PARTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        headers
    }

    async fn kind(headers: &HeaderMap, body: &'static str, takes_raw_bytes: bool) -> &'static str {
        let body = Bytes::from_static(body.as_bytes());
        match read(headers, &body, takes_raw_bytes).await {
            Ok(Arguments::Json(_)) => "json",
            Ok(Arguments::Raw(_)) => "raw",
            Ok(Arguments::Parts(_)) => "parts",
            Err(problem) => problem.code().as_str(),
        }
    }

    #[tokio::test]
    async fn the_content_type_decides() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/json",
            "a/b+json",
        ] {
            assert_eq!(kind(&typed(json), "{}", true).await, "json", "{json}");
        }
        for raw in ["application/octet-stream", "image/png", "text/plain"] {
            assert_eq!(kind(&typed(raw), "x", true).await, "raw", "{raw}");
            assert_eq!(kind(&typed(raw), "x", false).await, "raw", "{raw}");
        }
        let curl = typed("application/x-www-form-urlencoded");
        assert_eq!(kind(&curl, "{}", false).await, "json");
        assert_eq!(kind(&curl, "{}", true).await, "raw");
        let none = HeaderMap::new();
        assert_eq!(kind(&none, "", true).await, "json");
        assert_eq!(kind(&none, "x", true).await, "raw");
        assert_eq!(kind(&none, "{}", false).await, "json");
    }

    #[tokio::test]
    async fn compressed_bodies_are_refused() {
        let mut headers = typed("application/json");
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(kind(&headers, "{}", false).await, "body_type_unsupported");
        headers.insert(header::CONTENT_ENCODING, "Identity".parse().unwrap());
        assert_eq!(kind(&headers, "{}", false).await, "json");
    }

    #[tokio::test]
    async fn forms_become_parts_or_a_clear_error() {
        let form = typed("multipart/form-data; boundary=b");
        let body = "--b\r\nContent-Disposition: form-data; name=\"content\"; filename=\"a\"\r\n\
            Content-Type: image/png\r\n\r\n\u{1}\u{2}\r\n--b--\r\n";
        let read_body = read(&form, &Bytes::from_static(body.as_bytes()), true).await;
        match read_body.unwrap() {
            Arguments::Parts(parts) => {
                assert_eq!(parts.len(), 1);
                assert_eq!(parts[0].name, "content");
                assert_eq!(&parts[0].content[..], [1, 2]);
            }
            other @ (Arguments::Json(_) | Arguments::Raw(_)) => panic!("{other:?}"),
        }
        assert_eq!(kind(&form, "--b\r\nnonsense", true).await, "body_malformed");
        let unbounded = typed("multipart/form-data");
        assert_eq!(kind(&unbounded, "x", true).await, "body_malformed");
        let nameless = "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n";
        assert_eq!(kind(&form, nameless, true).await, "body_malformed");
    }
}
