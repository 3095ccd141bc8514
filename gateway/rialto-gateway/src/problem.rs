//! Every answer that is not a success, except 402: one JSON shape, stable codes, and the next
//! thing to do.
//!
//! `{"error": {"code": "...", "message": "...", "hint": "...", "details": ...}}`. Nothing is
//! charged for any of them (M3).

use std::error::Error;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

mod calls;

/// Stable names of what went wrong; the status follows from the name.
///
/// The service is a program behind this gateway: where it fails, the gateway answers as gateways
/// do, with 502 (it broke) or 504 (it was too slow). 500 is kept for our own bugs, 422 for what
/// the service itself refused, and 503 for what may work a moment later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 400: the payment header cannot be read.
    PaymentMalformed,
    /// 400: the parameters do not fit the method's types.
    ArgumentsInvalid,
    /// 400: the body is not what its content type says.
    BodyMalformed,
    /// 400: an id in the path is not one.
    IdMalformed,
    /// 401: this machine's door wants one of its keys, and this is none.
    KeyRefused,
    /// 403: the key is not for this service.
    KeyNotForService,
    /// 404: there is no such page.
    RouteUnknown,
    /// 404: no such service.
    ServiceUnknown,
    /// 404: no such method.
    MethodUnknown,
    /// 404: no such receipt.
    ReceiptUnknown,
    /// 404: no such channel.
    ChannelUnknown,
    /// 405: calls are made by POST.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    BodyTimeout,
    /// 409: the payment was used for another request.
    PaymentConflict,
    /// 409: the stream that this payment paid for broke off.
    StreamEnded,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 415: the method does not take a body of this type.
    BodyTypeUnsupported,
    /// 422: the service refused the call; `details` is its own error.
    ServiceRefused,
    /// 502: the service crashed.
    ServiceCrashed,
    /// 502: the process that the service has to itself ended.
    ServiceProcessEnded,
    /// 502: the service needs more memory than it may have.
    ServiceMemory,
    /// 502: the service needs more table elements than it may have.
    ServiceTable,
    /// 502: the service recursed too deeply.
    ServiceStack,
    /// 502: the service handed over more than it may, as its answer or in one call to the host.
    ServiceOutput,
    /// 502: the service called the host more often than it may.
    ServiceHostCalls,
    /// 502: another service that it needs did not answer.
    ServiceCallee,
    /// 502: the service moved more bytes through calls to the host than it may.
    ServiceHostBytes,
    /// 502: the service holds more handles than it may.
    ServiceHandles,
    /// 502: another host cannot be reached; nothing was sent.
    PeerUnreachable,
    /// 502: the connection to another host broke off; it may have done what it was asked.
    PeerBrokeOff,
    /// 504: the service did not finish in time.
    ServiceTimeout,
    /// 504: the service needs more processor time than it may have.
    ServiceCpu,
    /// 429: the budget of whoever asks, or of the wallet, does not cover the call; nothing was spent.
    BudgetSpent,
    /// 429: too many calls of this channel failed.
    TooManyFailures,
    /// 503: the host has yet to prepare the service.
    ServicePreparing,
    /// 503: the operator wants no new calls of the service.
    ServiceDrained,
    /// 503: the service kept failing by its own fault.
    ServiceQuarantined,
    /// 429: more calls of this payer wait than its share, or than it may have.
    TooManyCalls,
    /// 503: too many calls that compute for long.
    TooManyLongCalls,
    /// 503: too much at once.
    Overloaded,
    /// 503: the chain or the store cannot be reached.
    Unavailable,
    /// 500: a bug of ours.
    Internal,
}

impl ErrorCode {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentMalformed => "payment_malformed",
            Self::ArgumentsInvalid => "arguments_invalid",
            Self::BodyMalformed => "body_malformed",
            Self::IdMalformed => "id_malformed",
            Self::KeyRefused => "key_refused",
            Self::KeyNotForService => "key_not_for_service",
            Self::RouteUnknown => "route_unknown",
            Self::ServiceUnknown => "service_unknown",
            Self::MethodUnknown => "method_unknown",
            Self::ReceiptUnknown => "receipt_unknown",
            Self::ChannelUnknown => "channel_unknown",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTimeout => "body_timeout",
            Self::PaymentConflict => "payment_conflict",
            Self::StreamEnded => "stream_ended",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTypeUnsupported => "body_type_unsupported",
            Self::ServiceRefused => "service_refused",
            Self::ServiceCrashed => "service_crashed",
            Self::ServiceProcessEnded => "service_process_ended",
            Self::ServiceMemory => "service_memory_exceeded",
            Self::ServiceTable => "service_table_exceeded",
            Self::ServiceStack => "service_stack_exhausted",
            Self::ServiceOutput => "service_output_too_large",
            Self::ServiceHostCalls => "service_host_calls_exceeded",
            Self::ServiceCallee => "service_callee_failed",
            Self::ServiceHostBytes => "service_host_bytes_exceeded",
            Self::ServiceHandles => "service_handles_exceeded",
            Self::PeerUnreachable => "peer_unreachable",
            Self::PeerBrokeOff => "peer_broke_off",
            Self::ServiceTimeout => "service_timeout",
            Self::ServiceCpu => "service_cpu_exceeded",
            Self::BudgetSpent => "budget_spent",
            Self::TooManyFailures => "too_many_failures",
            Self::ServicePreparing => "service_preparing",
            Self::ServiceDrained => "service_drained",
            Self::ServiceQuarantined => "service_quarantined",
            Self::TooManyCalls => "too_many_calls",
            Self::TooManyLongCalls => "too_many_long_calls",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::PaymentMalformed
            | Self::ArgumentsInvalid
            | Self::BodyMalformed
            | Self::IdMalformed => StatusCode::BAD_REQUEST,
            Self::KeyRefused => StatusCode::UNAUTHORIZED,
            Self::KeyNotForService => StatusCode::FORBIDDEN,
            Self::RouteUnknown
            | Self::ServiceUnknown
            | Self::MethodUnknown
            | Self::ReceiptUnknown
            | Self::ChannelUnknown => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::PaymentConflict | Self::StreamEnded => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTypeUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ServiceRefused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ServiceCrashed
            | Self::ServiceProcessEnded
            | Self::ServiceMemory
            | Self::ServiceTable
            | Self::ServiceStack
            | Self::ServiceOutput
            | Self::ServiceHostCalls
            | Self::ServiceCallee
            | Self::ServiceHostBytes
            | Self::ServiceHandles
            | Self::PeerUnreachable
            | Self::PeerBrokeOff => StatusCode::BAD_GATEWAY,
            Self::ServiceTimeout | Self::ServiceCpu => StatusCode::GATEWAY_TIMEOUT,
            Self::BudgetSpent | Self::TooManyFailures | Self::TooManyCalls => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::ServicePreparing
            | Self::ServiceDrained
            | Self::ServiceQuarantined
            | Self::TooManyLongCalls
            | Self::Overloaded
            | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ErrorCode,
    message: String,
    hint: Option<String>,
    details: Option<Box<Value>>,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    /// A problem with a message for people.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            details: None,
            retry_after_seconds: None,
        }
    }

    /// What the service said itself when it refused.
    pub(crate) fn service_error(&self) -> Option<&Value> {
        let details = self.details.as_deref();
        details.filter(|_| self.code == ErrorCode::ServiceRefused)
    }

    /// Adds the next thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the service's own error.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// What stands under `error`.
    pub(crate) fn error(self) -> Value {
        let mut error = json!({"code": self.code.as_str(), "message": self.message});
        if let Some(hint) = self.hint {
            error["hint"] = Value::String(hint);
        }
        if let Some(details) = self.details {
            error["details"] = *details;
        }
        error
    }

    /// The stable name.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, seconds) = (self.code.status(), self.retry_after_seconds);
        let body = json!({"error": self.error()});
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// An error with its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
