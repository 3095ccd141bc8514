//! The node's and the host's errors as problems. Errors about payment are not problems: they are
//! 402s, which the payment module answers.

use rialto_node::{ArgumentError, Closed, Limit, ServiceCallError as HostError};
use serde_json::{Value, json};

use super::{ErrorCode, Problem};

const HINT_SCHEMA: &str = "GET /openapi.json has the schema of every method";
const HINT_SERVICES: &str = "GET /services lists what this host runs";
const RETRY_AFTER_SECONDS: u64 = 1;

impl Problem {
    /// No service of this name.
    pub(crate) fn unknown_service(name: &str, known: &str) -> Self {
        Self::new(
            ErrorCode::ServiceUnknown,
            format!("no service is named `{name}`; this host runs: {known}"),
        )
        .hint(HINT_SERVICES)
    }

    /// No method of this name.
    pub(crate) fn unknown_method(message: String) -> Self {
        Self::new(ErrorCode::MethodUnknown, message).hint(HINT_SERVICES)
    }

    /// More work than this host takes on.
    pub(crate) fn overloaded(message: &str, seconds: u64) -> Self {
        Self::new(ErrorCode::Overloaded, message)
            .hint("try again after Retry-After; the same payment may be sent again")
            .retry_after(seconds)
    }

    /// A service that takes no calls now.
    pub(crate) fn closed(why: Closed, message: String, seconds: u64) -> Self {
        let code = match why {
            Closed::Preparing => ErrorCode::ServicePreparing,
            Closed::Drained => ErrorCode::ServiceDrained,
            Closed::Quarantined => ErrorCode::ServiceQuarantined,
            _ => ErrorCode::Unavailable,
        };
        Self::new(code, message)
            .hint("try again after Retry-After; nothing was charged")
            .retry_after(seconds)
    }

    /// A payment header that cannot be read.
    pub(crate) fn malformed_payment(message: &str) -> Self {
        Self::new(
            ErrorCode::PaymentMalformed,
            format!("the payment header cannot be read: {message}"),
        )
        .hint("send base64 (standard alphabet) of the JSON that x402 describes")
    }

    /// A bug of ours; the cause is in the log only.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(ErrorCode::Internal, "the host failed; nothing was charged")
            .hint("this is a bug of the host's: its operator finds the cause in the log")
    }
}

impl From<ArgumentError> for Problem {
    fn from(error: ArgumentError) -> Self {
        let message = error.to_string();
        match error {
            ArgumentError::UnknownMethod { .. } => Self::unknown_method(message),
            ArgumentError::Syntax(_) => Self::new(ErrorCode::BodyMalformed, message)
                .hint("send a JSON object of the method's parameters"),
            ArgumentError::Type(_) => {
                Self::new(ErrorCode::ArgumentsInvalid, message).hint(HINT_SCHEMA)
            }
            ArgumentError::NotRaw { .. } => Self::new(ErrorCode::BodyTypeUnsupported, message)
                .hint("send a JSON object of the parameters with content-type: application/json"),
            ArgumentError::TooLarge { .. } => Self::new(ErrorCode::BodyTooLarge, message)
                .hint("the limit is in the service's manifest"),
            ArgumentError::Overloaded => Self::overloaded(&message, RETRY_AFTER_SECONDS),
        }
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let message = error.to_string();
        let limit = error.limit().map(Limit::name);
        let limited = |code| {
            Self::new(code, message.clone())
                .details(json!({ "limit": limit }))
                .hint("nothing was charged; try a smaller input")
        };
        match error {
            HostError::Refused { error } => {
                let details = serde_json::from_slice(&error).unwrap_or(Value::Null);
                Self::new(ErrorCode::ServiceRefused, message)
                    .details(details)
                    .hint("`details` is the service's own error; nothing was charged")
            }
            HostError::Trapped(_) => Self::new(ErrorCode::ServiceCrashed, message)
                .hint("nothing was charged; the same payment may be sent again"),
            HostError::CellEnded(reason) => {
                tracing::warn!(reason, "a service's process ended");
                let message = "the service's process ended before it answered";
                Self::new(ErrorCode::ServiceProcessEnded, message)
                    .hint("nothing was charged; the same payment may be sent again")
            }
            HostError::CellRests { retry_after_ms } => {
                Self::new(ErrorCode::ServiceQuarantined, message)
                    .hint("try again after Retry-After; nothing was charged")
                    .retry_after(retry_after_ms.div_ceil(1_000).max(RETRY_AFTER_SECONDS))
            }
            HostError::StackExhausted => limited(ErrorCode::ServiceStack),
            HostError::TimedOut { .. } => limited(ErrorCode::ServiceTimeout),
            HostError::CpuExceeded { .. } => limited(ErrorCode::ServiceCpu),
            HostError::MemoryExceeded { .. } => limited(ErrorCode::ServiceMemory),
            HostError::TableExceeded { .. } => limited(ErrorCode::ServiceTable),
            HostError::OutputTooLarge { .. } => limited(ErrorCode::ServiceOutput),
            HostError::HostCalls => limited(ErrorCode::ServiceHostCalls),
            HostError::HostBytes { .. } => limited(ErrorCode::ServiceHostBytes),
            HostError::HandlesExceeded { .. } => limited(ErrorCode::ServiceHandles),
            HostError::Overloaded { retry_after_ms } => {
                let seconds = retry_after_ms.div_ceil(1_000).max(RETRY_AFTER_SECONDS);
                Self::overloaded(&message, seconds)
            }
            HostError::State(cause) => {
                tracing::error!(%cause, "a service's state cannot be kept");
                let message = "the host cannot keep the service's state; nothing was charged";
                Self::new(ErrorCode::Unavailable, message)
                    .hint("try again later; the same payment may be sent again")
            }
            HostError::OverShare { retry_after_ms } => {
                let seconds = retry_after_ms.div_ceil(1_000).max(RETRY_AFTER_SECONDS);
                Self::new(ErrorCode::TooManyCalls, message)
                    .hint("wait for some of your calls; the same payment may be sent again")
                    .retry_after(seconds)
            }
            HostError::LongCalls { retry_after_ms } => {
                let seconds = retry_after_ms.div_ceil(1_000).max(RETRY_AFTER_SECONDS);
                Self::new(ErrorCode::TooManyLongCalls, message)
                    .hint("nothing was charged; the same payment may be sent again")
                    .retry_after(seconds)
            }
            HostError::Callee(_) => Self::new(ErrorCode::ServiceCallee, message)
                .hint("nothing was charged; the same payment may be sent again"),
            HostError::Internal(cause) => Self::internal(&cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn check(error: HostError, status: u16, code: &str) {
        let problem = Problem::from(error);
        assert_eq!(problem.code.as_str(), code);
        assert_eq!(problem.code.status(), StatusCode::from_u16(status).unwrap());
    }

    #[test]
    fn a_process_that_ended_is_tried_again_and_one_that_rests_later() {
        let ended = HostError::CellEnded("signal: 9 (SIGKILL)".into());
        check(ended, 502, "service_process_ended");
        let retry_after_ms = 2_500;
        let rests = HostError::CellRests { retry_after_ms };
        assert_eq!(Problem::from(rests.clone()).retry_after_seconds, Some(3));
        check(rests, 503, "service_quarantined");
    }

    #[test]
    fn a_failing_service_is_never_our_bug() {
        let refused = HostError::Refused {
            error: Bytes::from_static(br#""too short""#),
        };
        assert_eq!(
            Problem::from(refused.clone()).details.as_deref(),
            Some(&Value::from("too short"))
        );
        check(refused, 422, "service_refused");
        let trapped = HostError::Trapped("unreachable".into());
        check(trapped, 502, "service_crashed");
        check(
            HostError::Overloaded {
                retry_after_ms: 2_500,
            },
            503,
            "overloaded",
        );
        check(HostError::State("disk".into()), 503, "unavailable");
        check(HostError::Internal("secret".into()), 500, "internal");
        let internal = Problem::from(HostError::Internal("secret".into()));
        assert!(!internal.message.contains("secret"));
    }

    #[test]
    fn every_limit_names_itself() {
        let (limit_ms, bytes_max) = (5, 1);
        let limits = [
            (
                HostError::TimedOut {
                    limit_ms,
                    busy: true,
                },
                504,
                "service_timeout",
            ),
            (
                HostError::CpuExceeded { limit_ms },
                504,
                "service_cpu_exceeded",
            ),
            (
                HostError::MemoryExceeded { bytes_max },
                502,
                "service_memory_exceeded",
            ),
            (
                HostError::TableExceeded { elements_max: 1 },
                502,
                "service_table_exceeded",
            ),
            (HostError::StackExhausted, 502, "service_stack_exhausted"),
            (
                HostError::OutputTooLarge { bytes_max },
                502,
                "service_output_too_large",
            ),
            (HostError::HostCalls, 502, "service_host_calls_exceeded"),
            (
                HostError::HostBytes { bytes_max },
                502,
                "service_host_bytes_exceeded",
            ),
            (
                HostError::HandlesExceeded { handles_max: 1 },
                502,
                "service_handles_exceeded",
            ),
        ];
        for (error, status, code) in limits {
            let limit = error.limit().map(Limit::name);
            let problem = Problem::from(error.clone());
            assert_eq!(problem.details, Some(Box::new(json!({ "limit": limit }))));
            assert_eq!(problem.code.as_str(), code);
            assert_eq!(problem.code.status(), StatusCode::from_u16(status).unwrap());
        }
    }

    #[test]
    fn who_is_turned_away_is_told_when_to_come_again() {
        let retry_after_ms = 2_500;
        for (error, status, code) in [
            (HostError::Overloaded { retry_after_ms }, 503, "overloaded"),
            (
                HostError::OverShare { retry_after_ms },
                429,
                "too_many_calls",
            ),
            (
                HostError::LongCalls { retry_after_ms },
                503,
                "too_many_long_calls",
            ),
        ] {
            let response = Problem::from(error).into_response();
            assert_eq!(response.status().as_u16(), status, "{code}");
            assert_eq!(response.headers()["retry-after"], "3", "{code}");
        }
    }

    #[test]
    fn bad_arguments_are_the_callers_to_fix() {
        let check = |error: ArgumentError, status: u16, code: &str| {
            let problem = Problem::from(error);
            assert_eq!(problem.code.as_str(), code);
            assert_eq!(problem.code.status(), StatusCode::from_u16(status).unwrap());
            assert!(problem.hint.is_some(), "{code} says what to do next");
        };
        check(
            ArgumentError::Type("`texts`: missing".into()),
            400,
            "arguments_invalid",
        );
        check(
            ArgumentError::Syntax("line 1".into()),
            400,
            "body_malformed",
        );
        let large = ArgumentError::TooLarge {
            bytes: 2,
            bytes_max: 1,
        };
        check(large, 413, "body_too_large");
        let raw = ArgumentError::NotRaw {
            method: "m".into(),
            reason: "r".into(),
        };
        check(raw, 415, "body_type_unsupported");
        check(ArgumentError::Overloaded, 503, "overloaded");
    }
}
