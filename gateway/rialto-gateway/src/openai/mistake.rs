//! What goes wrong, as OpenAI's clients read it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::problem::{ErrorCode, Problem};

/// Why a request cannot be carried out: the client's to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    message: String,
    param: Option<Cow<'static, str>>,
    code: Option<&'static str>,
    status: StatusCode,
}

impl Mistake {
    /// A value that does not fit.
    pub(crate) fn invalid(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: Some(param.into()),
            code: None,
            status: StatusCode::BAD_REQUEST,
        }
    }

    /// Something that services cannot do.
    pub(crate) fn unsupported(param: impl Into<Cow<'static, str>>) -> Self {
        let param = param.into();
        let message = format!("`{param}` is not supported here: leave it out");
        Self {
            code: Some("unsupported_parameter"),
            ..Self::invalid(param, message)
        }
    }

    /// A body that is no such request.
    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        Self {
            param: None,
            ..Self::invalid("", format!("the request cannot be read: {error}"))
        }
    }

    /// A model that is none here.
    pub(crate) fn unknown_model(model: &str) -> Self {
        let model: String = model.chars().take(64).collect();
        let message =
            format!("no service `{model}` here does this: GET /v1/models lists those that do");
        Self {
            code: Some("model_not_found"),
            status: StatusCode::NOT_FOUND,
            ..Self::invalid("model", message)
        }
    }
}

impl IntoResponse for Mistake {
    fn into_response(self) -> Response {
        let error = json!({
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        });
        (self.status, axum::Json(json!({ "error": error }))).into_response()
    }
}

/// A problem of ours as these clients read it, with the same status.
pub(crate) fn problem(problem: Problem) -> Response {
    let code = problem.code();
    let mut response = problem.clone().into_response();
    let error = problem.error();
    let message = error["message"].as_str().unwrap_or_default();
    let hint = error["hint"].as_str().map(|hint| format!(": {hint}"));
    // Some clients act on OpenAI's own words.
    let (kind, code) = match (code, code.status().is_client_error()) {
        (ErrorCode::BudgetSpent, _) => ("insufficient_quota", "insufficient_quota"),
        (ErrorCode::KeyRefused, _) => ("invalid_request_error", "invalid_api_key"),
        (_, true) => ("invalid_request_error", code.as_str()),
        (_, false) => ("server_error", code.as_str()),
    };
    let body = json!({ "error": {
        "message": format!("{message}{}", hint.unwrap_or_default()),
        "type": kind,
        "param": Value::Null,
        "code": code,
        "details": error.get("details"),
    }});
    *response.body_mut() = body.to_string().into();
    let headers = response.headers_mut();
    headers.remove(http::header::CONTENT_LENGTH);
    if kind == "insufficient_quota" {
        // Their clients would ask again at once.
        headers.insert("x-should-retry", http::HeaderValue::from_static("false"));
    }
    response
}

/// The same of a call that was perhaps paid for: these clients ask again for whatever is a server's fault, and would
/// pay again. They may where the call was certainly not made.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of all others it may have been made"
)]
pub(crate) fn paid_problem(told: Problem) -> Response {
    let may_repeat = match told.code() {
        ErrorCode::Overloaded | ErrorCode::PeerUnreachable => "true",
        _ => "false",
    };
    let mut response = problem(told);
    let headers = response.headers_mut();
    headers.insert("x-should-retry", http::HeaderValue::from_static(may_repeat));
    response
}

/// Reads a request of which these parameters are known, and those that change nothing here, whoever answers.
///
/// # Errors
/// [`Mistake`]: what nobody here knows would be left out silently otherwise.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8], known: &[&str]) -> Result<T, Mistake> {
    let unreadable = |error| Mistake::unreadable(&error);
    let request = serde_json::from_slice(body).map_err(unreadable)?;
    let named: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(body).map_err(unreadable)?;
    let is_known = |name: &str| known.contains(&name) || WITHOUT_EFFECT.contains(&name);
    let says_nothing = |value: &RawValue| ["null", "false", "[]", "{}"].contains(&value.get());
    let mut strange = named
        .iter()
        .filter(|(name, value)| !is_known(name) && !says_nothing(value));
    match strange.next() {
        Some((name, _)) => {
            let name: String = name.chars().take(PARAM_CHARS_MAX).collect();
            Err(Mistake::unsupported(name))
        }
        None => Ok(request),
    }
}

/// Who asks, what is kept of it, and how soon it is wanted: nothing that an answer would differ by.
const WITHOUT_EFFECT: [&str; 7] = [
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
];
/// The most of a strange name that is repeated.
const PARAM_CHARS_MAX: usize = 64;
