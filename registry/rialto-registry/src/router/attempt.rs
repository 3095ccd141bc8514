//! Attempts: one request to one provider, and how it ended.
//!
//! Not here: how an HTTP status or a socket's error becomes an [`Outcome`]; whoever sends the request
//! knows whether a byte of it left.

use rialto_channels::Amount;

use super::{candidate::ProviderId, units::Millis};

/// Names an attempt within one [`Router`](super::Router); never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(super) u64);

/// A request to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What to report its outcome under.
    pub id: AttemptId,
    /// Whom to ask.
    pub provider: ProviderId,
    /// What this provider's candidate said the call costs at most.
    pub price: Amount,
    /// When to stop waiting. Unreported by then, it counts as [`Outcome::Unknown`].
    pub timeout_at: Millis,
    /// Why this provider.
    pub why: Why,
}

/// Why an attempt goes where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It cost least of two.
    Chosen,
    /// It was left alone for failing, and this one call shows whether it works again.
    Probe,
    /// It fails, but too many others do for all of them to be left alone.
    Panic,
    /// It was asked before, and is asked again under the same payment.
    Again,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider answered, and is paid for it.
    Answered,
    /// The request itself was wrong, which no other provider would see otherwise. Nothing was executed.
    CallerFault,
    /// Nothing was executed, for certain.
    NotStarted(NotStarted),
    /// The service failed, and the provider says it charged nothing.
    ServiceFault {
        /// False if the provider says that the method did not even begin.
        executed: bool,
    },
    /// It may have been executed and charged: the connection broke, or time ran out, after the request
    /// began to leave.
    Unknown,
}

/// Why nothing was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// No connection, so no byte of the request left.
    Unreachable,
    /// The provider refused before the work: it is too busy, or draining (status 429 or 503).
    Refused {
        /// The rest that it asked for.
        retry_after: Option<Millis>,
    },
}
