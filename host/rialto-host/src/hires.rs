//! Calls that a guest makes of other services: a port that the node implements.
//!
//! The host hands over what the guest asks for; who is called, where, for how much and on whose account is decided
//! behind the port, which lives as long as the guest's own call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;

/// A call that a guest asks for.
#[derive(Debug, Clone)]
pub struct Hire {
    /// The service's name, as the guest says it.
    pub service: String,
    /// The method, in either spelling.
    pub method: String,
    /// Its parameters as JSON.
    pub arguments: Bytes,
    /// The most that it may cost; what is left of the budget if not given.
    pub price_max: Option<u128>,
    /// When it is over at the latest.
    pub deadline: Instant,
    /// Host memory that the guest leaves to whoever is called, in bytes: it moves nothing while it waits.
    pub lends: u64,
}

/// What it came to.
#[derive(Debug, Clone)]
pub struct Hired {
    /// The answer as JSON.
    pub body: Bytes,
    /// What it cost.
    pub charged: u128,
    /// The name of its receipt, if it cost anything.
    pub receipt: Option<String>,
}

/// What a stream of items came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// What it cost.
    pub charged: u128,
    /// The name of its receipt, if it cost anything.
    pub receipt: Option<String>,
}

/// What a call would cost.
#[derive(Debug, Clone)]
pub struct HireQuote {
    /// At most.
    pub price_max: u128,
    /// Who would answer.
    pub provider: String,
}

/// What a guest spent on others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls that were answered.
    pub calls: u64,
    /// What its caller is charged for them.
    pub amount: u128,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HireError {
    /// The manifest does not let the service call this one.
    #[error("{0}")]
    NotGranted(String),
    /// There is no such service or method.
    #[error("{0}")]
    Unknown(String),
    /// It costs more than may be spent.
    #[error("it costs up to {price_max}, and {left} may be spent")]
    OverBudget {
        /// What it costs at most.
        price_max: u128,
        /// What may be spent.
        left: u128,
    },
    /// The arguments are not those of the method.
    #[error("{0}")]
    Invalid(String),
    /// The service's own refusal, as JSON.
    #[error("the service refused: {0}")]
    Refused(String),
    /// The chain of calls is a circle, or too long.
    #[error("{0}")]
    TooDeep(String),
    /// It would not be answered now.
    #[error("{0}")]
    Busy(String),
    /// Time is over.
    #[error("no answer in time")]
    Late,
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// An answer that is on its way.
pub type Hiring<T> = Pin<Box<dyn Future<Output = Result<T, HireError>> + Send>>;

/// A step of an answer that comes item by item.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, HireError>> + Send + 'a>>;

/// An answer that comes item by item. Dropped, it is ended.
///
/// What is charged is for what was given: for all of it what any call costs, for a part what the callee's price list
/// says of a stream that its reader left, and of one that broke off no more than what was used until its last item.
pub trait HiredItems: fmt::Debug + Send {
    /// The next item as JSON; none after the last one, and ever after. Whoever drops the future ends the stream.
    fn next(&mut self) -> Step<'_, Option<Bytes>>;

    /// Ends it, and says what it came to; said again if asked again.
    fn end(&mut self) -> Step<'_, Bill>;
}

/// Calls other services for one call of a guest.
pub trait Hirer: fmt::Debug + Send + Sync {
    /// What may still be spent.
    fn left(&self) -> u128;

    /// What was spent so far.
    fn spent(&self) -> Spent;

    /// What a call with arguments of so many bytes costs.
    fn quote(&self, service: String, method: String, arguments_bytes: u64) -> Hiring<HireQuote>;

    /// Makes a call. Dropped, it gives the call up, and counts what it may have cost.
    fn call(&self, hire: Hire) -> Hiring<Hired>;

    /// Begins a call of a method that streams. Dropped, it gives the call up.
    fn open(&self, hire: Hire) -> Hiring<Box<dyn HiredItems>>;
}

/// Calls nobody: for guests whose call is not one of a node's.
#[derive(Debug, Clone, Copy)]
pub struct NoHirer;

impl Hirer for NoHirer {
    fn left(&self) -> u128 {
        0
    }

    fn spent(&self) -> Spent {
        Spent::default()
    }

    fn quote(&self, service: String, _: String, _: u64) -> Hiring<HireQuote> {
        Box::pin(async move { Err(nobody(&service)) })
    }

    fn call(&self, hire: Hire) -> Hiring<Hired> {
        Box::pin(async move { Err(nobody(&hire.service)) })
    }

    fn open(&self, hire: Hire) -> Hiring<Box<dyn HiredItems>> {
        Box::pin(async move { Err(nobody(&hire.service)) })
    }
}

fn nobody(service: &str) -> HireError {
    HireError::Unknown(format!("nobody here calls `{service}`"))
}
