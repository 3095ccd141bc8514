//! Errors of A2A, in both bindings: as JSON-RPC has them, and as the status of an HTTP answer.
//!
//! Their names, codes and statuses are the protocol's; details carry the name, so that clients of either binding
//! know them apart.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::problem::{ErrorCode, Problem};

/// Which error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body is no JSON.
    Parse,
    /// The body is no request.
    Request,
    /// There is no such operation.
    Method,
    /// The parameters do not fit.
    Params,
    /// A bug of ours.
    Internal,
    /// Too much at once.
    Busy,
    /// No such task, or none that may be seen here.
    TaskNotFound,
    /// The task is over.
    NotCancelable,
    /// Nobody is notified by push.
    PushUnsupported,
    /// The operation cannot be done, or not now.
    Unsupported,
    /// A part of a kind that no method takes.
    ContentType,
    /// Another version of the protocol.
    Version,
}

/// Why an operation has no result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Error {
    kind: Kind,
    message: String,
    details: Map<String, Value>,
}

impl Kind {
    const fn code(self) -> i32 {
        match self {
            Self::Parse => -32_700,
            Self::Request => -32_600,
            Self::Method => -32_601,
            Self::Params => -32_602,
            Self::Internal | Self::Busy => -32_603,
            Self::TaskNotFound => -32_001,
            Self::NotCancelable => -32_002,
            Self::PushUnsupported => -32_003,
            Self::Unsupported => -32_004,
            Self::ContentType => -32_005,
            Self::Version => -32_009,
        }
    }

    /// The HTTP status, its name among those of gRPC, and the error's own name.
    const fn names(self) -> (StatusCode, &'static str, &'static str) {
        let bad = StatusCode::BAD_REQUEST;
        match self {
            Self::Parse => (bad, "INVALID_ARGUMENT", "JSON_PARSE"),
            Self::Request => (bad, "INVALID_ARGUMENT", "INVALID_REQUEST"),
            Self::Method => (StatusCode::NOT_FOUND, "NOT_FOUND", "METHOD_NOT_FOUND"),
            Self::Params => (bad, "INVALID_ARGUMENT", "INVALID_PARAMS"),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                "INTERNAL_ERROR",
            ),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "BUSY"),
            Self::TaskNotFound => (StatusCode::NOT_FOUND, "NOT_FOUND", "TASK_NOT_FOUND"),
            Self::NotCancelable => (bad, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE"),
            Self::PushUnsupported => (
                bad,
                "FAILED_PRECONDITION",
                "PUSH_NOTIFICATION_NOT_SUPPORTED",
            ),
            Self::Unsupported => (bad, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"),
            Self::ContentType => (bad, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED"),
            Self::Version => (bad, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"),
        }
    }
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: Map::new(),
        }
    }

    /// One of JSON-RPC's own.
    pub(crate) fn of_code(code: i32, message: impl Into<String>) -> Self {
        let known = [Kind::Parse, Kind::Request, Kind::Method, Kind::Params];
        let kind = known.into_iter().find(|kind| kind.code() == code);
        Self::new(kind.unwrap_or(Kind::Internal), message)
    }

    /// No such task.
    pub(crate) fn no_task() -> Self {
        let message = "there is no such task here, or no longer: tasks are kept for a while only";
        Self::new(Kind::TaskNotFound, message)
    }

    /// Adds something to know about it.
    pub(crate) fn detail(mut self, name: &str, value: impl Into<String>) -> Self {
        let value: String = value.into();
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The status of an HTTP answer.
    pub(crate) const fn status(&self) -> StatusCode {
        self.kind.names().0
    }

    fn info(&self) -> Value {
        let mut info = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.kind.names().2,
            "domain": "a2a-protocol.org",
        });
        if !self.details.is_empty() {
            info["metadata"] = self.details.clone().into();
        }
        info
    }

    /// What stands under `error` in JSON-RPC.
    pub(crate) fn in_rpc(&self) -> Value {
        json!({ "code": self.kind.code(), "message": self.message, "data": [self.info()] })
    }

    /// The body of an HTTP answer.
    pub(crate) fn in_http(&self) -> Value {
        let (status, name, _) = self.kind.names();
        json!({ "error": {
            "code": status.as_u16(),
            "status": name,
            "message": self.message,
            "details": [self.info()],
        }})
    }
}

impl From<Problem> for Error {
    /// Something was wrong before there was a task.
    fn from(problem: Problem) -> Self {
        let code = problem.code();
        let kind = match code.status() {
            _ if code == ErrorCode::Internal => Kind::Internal,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Kind::Busy,
            status if status.is_client_error() => Kind::Params,
            _ => Kind::Internal,
        };
        let told = problem.error();
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let hint = text("hint");
        let message = match hint.is_empty() {
            true => text("message"),
            false => format!("{}; {hint}", text("message")),
        };
        Self::new(kind, message).detail("code", code.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_name_in_both_bindings() {
        let error = Error::no_task().detail("taskId", "x");
        let rpc = error.in_rpc();
        assert_eq!(rpc["code"], -32_001);
        assert_eq!(rpc["data"][0]["reason"], "TASK_NOT_FOUND");
        assert_eq!(rpc["data"][0]["metadata"]["taskId"], "x");
        let http = error.in_http();
        assert_eq!(http["error"]["code"], 404);
        assert_eq!(http["error"]["status"], "NOT_FOUND");
        assert_eq!(http["error"]["details"], rpc["data"]);
        assert_eq!(error.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn problems_are_told_with_what_to_do() {
        let problem = Problem::new(ErrorCode::MethodUnknown, "no such method").hint("look");
        let error = Error::from(problem);
        assert_eq!(error.in_rpc()["code"], -32_602);
        assert_eq!(error.in_rpc()["message"], "no such method; look");
        let busy = Error::from(Problem::overloaded("full", 2));
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(Error::of_code(-32_700, "x").kind, Kind::Parse);
    }
}
