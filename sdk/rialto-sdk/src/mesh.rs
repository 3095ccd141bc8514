//! Other services, called on the account of this call's caller. Needs the grant `calls`.
//!
//! A method may spend what its price keeps for it (`spend_max` in `service.toml`). A call costs nothing unless it is
//! answered, and each has a receipt of its own. The same call made again in a call that is made again, because a
//! host was lost, is not paid again.
//!
//! A service that knows the other's interface imports it and calls its functions instead; what is said here of
//! budgets and receipts holds for those, too.

use std::fmt;
use std::time::Duration;

use crate::bindings::mesh::rialto::mesh::calls;

pub use calls::{Answer, Bill, Error, Estimate, Shortage};

/// What may still be spent on other services, in base units of the host's token.
#[must_use]
pub fn budget_left() -> u64 {
    calls::budget_left()
}

/// What a call with arguments of so many bytes costs at most.
///
/// # Errors
/// [`Error`]: nobody offers it, or it may not be called.
pub fn quote(service: &str, method: &str, arguments_bytes: u64) -> Result<Estimate, Error> {
    calls::quote(service, method, arguments_bytes)
}

/// Calls a method; the arguments are a JSON object of its parameters.
///
/// # Errors
/// [`Error`]; nothing is charged for it.
pub fn call(service: &str, method: &str, arguments: &str) -> Result<Answer, Error> {
    Call::new(service, method).make(arguments)
}

/// Calls a method that streams; its items come as they are made. What does not stream gives its answer as the one item.
///
/// # Errors
/// [`Error`]; nothing is charged for it.
pub fn open(service: &str, method: &str, arguments: &str) -> Result<Items, Error> {
    Call::new(service, method).open(arguments)
}

/// An answer that comes item by item, each as JSON. An item is made when it is asked for, and none ahead where the callee
/// runs on the same host. Dropped, it is ended: what is charged is for the items that were taken.
///
/// The first error is the last item; what came before it may have been charged.
#[derive(Debug)]
pub struct Items(calls::Items);

impl Items {
    /// Ends it, and says what it came to.
    ///
    /// # Errors
    /// [`Error`]: it is not known.
    pub fn end(self) -> Result<Bill, Error> {
        self.0.end()
    }
}

impl Iterator for Items {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().transpose()
    }
}

/// A call with limits of its own.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    service: &'a str,
    method: &'a str,
    price_max: Option<u64>,
    time_max: Option<Duration>,
}

impl<'a> Call<'a> {
    /// A call of this method, which may cost all that is left and take all the time that is left.
    #[must_use]
    pub const fn new(service: &'a str, method: &'a str) -> Self {
        Self {
            service,
            method,
            price_max: None,
            time_max: None,
        }
    }

    /// With the most that it may cost, in base units.
    #[must_use]
    pub const fn price_max(self, price_max: u64) -> Self {
        Self {
            price_max: Some(price_max),
            ..self
        }
    }

    /// With the longest that it may take.
    #[must_use]
    pub const fn time_max(self, time_max: Duration) -> Self {
        Self {
            time_max: Some(time_max),
            ..self
        }
    }

    /// Makes it.
    ///
    /// # Errors
    /// As [`call`].
    pub fn make(self, arguments: &str) -> Result<Answer, Error> {
        calls::call(self.service, self.method, arguments, self.options())
    }

    /// Makes it, item by item.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(self, arguments: &str) -> Result<Items, Error> {
        calls::open(self.service, self.method, arguments, self.options()).map(Items)
    }

    fn options(self) -> calls::Options {
        let time_ms_max = self.time_max.map(|time| time.as_millis());
        calls::Options {
            price_max: self.price_max,
            time_ms_max: time_ms_max.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        }
    }
}

/// What went wrong, as a caller may be told.
#[must_use]
pub fn describe(error: &Error) -> String {
    struct Told<'a>(&'a Error);
    impl fmt::Display for Told<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                Error::OverBudget(Shortage { price_max, left }) => {
                    write!(f, "it costs up to {price_max}, and {left} may be spent")
                }
                Error::Refused(json) => write!(f, "it was refused: {json}"),
                Error::Late => write!(f, "no answer in time"),
                Error::NotGranted(text)
                | Error::Unknown(text)
                | Error::Invalid(text)
                | Error::TooDeep(text)
                | Error::Busy(text)
                | Error::Failed(text) => write!(f, "{text}"),
            }
        }
    }
    Told(error).to_string()
}
