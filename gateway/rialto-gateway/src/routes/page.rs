//! The page at `/`: what this host runs, what it costs, and a form to try each method. It loads
//! nothing from elsewhere and works without scripts, but for the form.

mod render;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};

use crate::gateway::Gateway;
use crate::listing::ServiceRecord;

pub(crate) async fn index(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let services = ServiceRecord::all(&gateway.node);
    let base = gateway.base_url(&headers);
    let token = &gateway.node.payee().token_name;
    let html = render::page(&services, &base, &gateway.network().to_string(), token);
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("page/page.css"))
}

pub(crate) async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    )
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
