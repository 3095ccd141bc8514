//! What an attempt's end means to the router: whether anything can have been carried out.

use http::StatusCode;
use rialto_registry::reputation::Outcome as Rating;
use rialto_registry::router::{Millis, NotStarted, Outcome};

use super::super::call::{Course, Fate};
use super::super::{Answer, ClientError, ReceiptFault};
use crate::problem::ErrorCode;

/// The outcome of an attempt that came to this.
pub(super) fn of(answer: &Result<Answer, ClientError>, course: &Course) -> Outcome {
    match (&course.fate, answer) {
        (_, Ok(_)) => Outcome::Answered,
        (Fate::Unsent, Err(error)) => unsent(error),
        (Fate::Unreached, Err(_)) => Outcome::NotStarted(NotStarted::Unreachable),
        (Fate::Lost | Fate::Answered, Err(_)) => Outcome::Unknown,
        (
            Fate::Refused {
                status,
                code,
                retry_after,
            },
            Err(_),
        ) => {
            let retry_after =
                retry_after.map(|it| Millis(u64::try_from(it.as_millis()).unwrap_or(u64::MAX)));
            refused(*status, code, retry_after)
        }
    }
}

/// What an attempt says of the provider; nothing where the fault was the caller's, or the provider only said
/// that it is busy.
pub(super) fn rating(outcome: Outcome, answer: &Result<Answer, ClientError>) -> Option<Rating> {
    let breach = |answer: &Answer| {
        let fault = answer.receipt_fault.as_ref();
        fault.is_some_and(ReceiptFault::is_breach)
    };
    match (outcome, answer) {
        // It may have had no time to.
        (_, Err(ClientError::Left)) => None,
        (Outcome::Answered, Ok(answer)) if breach(answer) => Some(Rating::BadReceipt),
        (Outcome::Answered, _) => Some(Rating::InTime),
        (
            Outcome::Unknown
            | Outcome::ServiceFault { .. }
            | Outcome::NotStarted(NotStarted::Unreachable),
            _,
        ) => Some(Rating::Failed),
        (Outcome::CallerFault | Outcome::NotStarted(NotStarted::Refused { .. }), _) => None,
    }
}

/// Before anything was sent: the provider cannot be reached or will not do, or this client's own rules say
/// no, which they would at every other provider.
fn unsent(error: &ClientError) -> Outcome {
    match error {
        ClientError::Transport(_) | ClientError::Unfinished => {
            Outcome::NotStarted(NotStarted::Unreachable)
        }
        ClientError::Refused { status, code, .. } => refused(
            StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            None,
        ),
        ClientError::Left
        | ClientError::Deposits(_)
        | ClientError::Wallet(_)
        | ClientError::Store(_)
        | ClientError::UnknownChannel(_)
        | ClientError::NotWithdrawing(_)
        | ClientError::TooEarly { .. }
        | ClientError::FeeTooHigh { .. }
        | ClientError::NoGas { .. } => Outcome::CallerFault,
        // Another one may be cheaper, or be asked already.
        ClientError::Budget(_)
        | ClientError::Allowance(_)
        | ClientError::DocumentTooLong { .. }
        | ClientError::AnswerTooLong { .. }
        | ClientError::Payment { .. }
        | ClientError::TooDear { .. }
        | ClientError::WrongChain { .. }
        | ClientError::Broken { .. }
        | ClientError::WrongReceiver { .. }
        | ClientError::Offer(_)
        | ClientError::Pay(_)
        | ClientError::Unproven { .. }
        | ClientError::Resync(_)
        | ClientError::Fault(_)
        | ClientError::Chain(_)
        | ClientError::Protocol(_) => will_not_do(),
    }
}

/// What a host's refusal says by its status and its stable code.
fn refused(status: StatusCode, code: &str, retry_after: Option<Millis>) -> Outcome {
    match status {
        // Said also when an answer could not be recorded after the work; and of a bug nobody knows more.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR
            if code == ErrorCode::Unavailable.as_str() || code == ErrorCode::Internal.as_str() =>
        {
            Outcome::Unknown
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Outcome::NotStarted(NotStarted::Refused { retry_after })
        }
        // It does not have the service (any more), or there is trouble about its payment.
        StatusCode::NOT_FOUND | StatusCode::PAYMENT_REQUIRED => will_not_do(),
        StatusCode::CONFLICT => Outcome::Unknown,
        StatusCode::BAD_GATEWAY if code == ErrorCode::PeerUnreachable.as_str() => {
            Outcome::NotStarted(NotStarted::Unreachable)
        }
        status if status.is_server_error() => Outcome::ServiceFault { executed: true },
        _ => Outcome::CallerFault,
    }
}

fn will_not_do() -> Outcome {
    Outcome::NotStarted(NotStarted::Refused { retry_after: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_whether_anything_was_done() {
        let busy = |retry_after| Outcome::NotStarted(NotStarted::Refused { retry_after });
        let done = Outcome::ServiceFault { executed: true };
        for (status, code, outcome) in [
            (429, "too_many_calls", busy(Some(Millis(7)))),
            (503, "overloaded", busy(Some(Millis(7)))),
            (404, "service_unknown", busy(None)),
            (402, "payment_required", busy(None)),
            (409, "payment_conflict", Outcome::Unknown),
            (503, "unavailable", Outcome::Unknown),
            (500, "internal", Outcome::Unknown),
            (
                502,
                "peer_unreachable",
                Outcome::NotStarted(NotStarted::Unreachable),
            ),
            (502, "service_crashed", done),
            (504, "service_timeout", done),
            (422, "service_refused", Outcome::CallerFault),
            (400, "arguments_invalid", Outcome::CallerFault),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(refused(status, code, Some(Millis(7))), outcome, "{code}");
        }
    }
}
