//! Answers to a call that are not its result: problems, 402s, and a deposit that outlived its call.

use axum::response::{IntoResponse, Response};
use rialto_node::CallError;

use crate::demand::{self, Demand};
use crate::problem::{ErrorCode, Problem};
use crate::x402::header::PAYMENT_RESPONSE;
use crate::x402::settlement::Settlement;

/// The answer when it is not the result.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Anything that is not about payment.
    Problem(Problem),
    /// A payment is missing or refused.
    Demand(Box<Demand>),
    /// A call that failed after its deposit was made.
    Deposited(Problem, Box<Settlement>),
}

/// Whatever is not about payment, as a problem.
pub(crate) fn problem(error: CallError) -> Problem {
    let message = error.to_string();
    match error {
        CallError::UnknownService { name, known } => Problem::unknown_service(&name, &known),
        CallError::UnknownMethod { .. } => Problem::unknown_method(message),
        CallError::Arguments(error) => error.into(),
        CallError::Service(error) => error.into(),
        CallError::Conflict(_) => Problem::new(ErrorCode::PaymentConflict, message)
            .hint("sign a new payment for another request"),
        CallError::StreamEnded { .. } => Problem::new(ErrorCode::StreamEnded, message).hint(
            "the same payment with `Accept: text/event-stream` fetches the items that were delivered",
        ),
        CallError::Overloaded {
            retry_after_seconds,
        } => Problem::overloaded(&message, retry_after_seconds),
        CallError::NotServing {
            why,
            retry_after_seconds,
            ..
        } => Problem::closed(why, message, retry_after_seconds),
        CallError::TooManyFailures {
            retry_after_seconds,
            ..
        } => Problem::new(ErrorCode::TooManyFailures, message)
            .hint("look at why the calls fail; try again after Retry-After")
            .retry_after(retry_after_seconds),
        CallError::Unavailable { source, .. } => {
            tracing::error!(error = %source, "{message}");
            Problem::new(ErrorCode::Unavailable, message)
                .hint("the same payment may be sent again after Retry-After")
                .retry_after(RETRY_AFTER_SECONDS)
        }
        // Payment errors become 402s where the terms are known.
        CallError::Payment(error) => Problem::internal(&error),
        // So does a price that went up.
        CallError::Repriced { .. } => Problem::internal(&message),
    }
}

/// A path that is called by POST was asked by another method.
pub(crate) fn post_only(message: &str) -> Problem {
    Problem::new(ErrorCode::MethodNotAllowed, message)
        .hint("POST the parameters; GET /openapi.json describes them")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Demand(demand) => demand.into_response(),
            Self::Deposited(problem, settlement) => {
                let mut response = problem.into_response();
                demand::insert(response.headers_mut(), PAYMENT_RESPONSE, &*settlement);
                response
            }
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Demand> for Refusal {
    fn from(demand: Demand) -> Self {
        Self::Demand(Box::new(demand))
    }
}

const RETRY_AFTER_SECONDS: u64 = 2;
