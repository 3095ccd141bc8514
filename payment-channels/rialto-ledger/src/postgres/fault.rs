//! What went wrong in the database, and whether to try again.
//!
//! Distributed SQL promises serialisability by refusing transactions that were in each other's
//! way; PostgreSQL refuses one of two that wait for each other. Both want the transaction to be
//! tried again, after a pause that no two clients share.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::SharedError;

/// Whether a transaction that failed may be tried again, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another transaction was in the way.
    Conflict,
    /// The connection or the server went away, or did not answer in time.
    Outage,
    /// The server understood, and refuses.
    Refusal,
}

impl Fault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest, future ones too, is not cured by trying again"
    )]
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refused) => refused
                .code()
                .map_or(Self::Refusal, |code| Self::by_code(&code)),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Outage,
            _ => Self::Refusal,
        }
    }

    /// By SQLSTATE.
    fn by_code(code: &str) -> Self {
        match code {
            // Serialisation failure; a commit whose outcome the server does not know; deadlock; a key,
            // table or type that another made meanwhile.
            "40001" | "40003" | "40P01" | "23505" | "42P07" | "42710" => Self::Conflict,
            // Too long a wait (statement timeout, lock not available); a server that only reads, since
            // another has taken its place.
            "57014" | "55P03" | "25006" => Self::Outage,
            // Shutdown, crash, starting up; idle in transaction; resources; connection.
            _ if ["57P", "25P03", "53", "08"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Self::Outage
            }
            _ => Self::Refusal,
        }
    }
}

/// How much a failed transaction is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Nothing is done yet: refuse the call rather than let it wait for a database that is away.
    BeforeWork,
    /// The work is done: try for a while to be paid for it.
    AfterWork,
}

/// Decides after each failure whether to try again, and waits.
#[derive(Debug)]
pub(super) struct Backoff<'l> {
    patience: Patience,
    deadline: Instant,
    conflicts: u32,
    outages: u32,
    retries: &'l AtomicU64,
}

impl<'l> Backoff<'l> {
    pub(super) fn new(patience: Patience, settle_within: Duration, retries: &'l AtomicU64) -> Self {
        Self {
            patience,
            deadline: Instant::now() + settle_within,
            conflicts: 0,
            outages: 0,
            retries,
        }
    }

    /// Returns after a pause if the transaction is to be tried again.
    ///
    /// # Errors
    /// What the caller gets to hear: it is not worth another try.
    pub(super) async fn again(&mut self, error: Failure) -> Result<(), SharedError> {
        let error = match error {
            Failure::Final(error) => return Err(error),
            Failure::Database(error) => error,
        };
        let pause = match Fault::of(&error) {
            Fault::Conflict if self.conflicts < CONFLICTS_MAX => {
                self.conflicts += 1;
                self.retries.fetch_add(1, Ordering::Relaxed);
                pause(self.conflicts)
            }
            Fault::Conflict => {
                return Err(SharedError::Contended {
                    tries: self.conflicts,
                    source: Box::new(error),
                });
            }
            Fault::Outage if self.worth_waiting() => {
                self.outages += 1;
                pause(self.outages.saturating_add(PAUSES_SKIPPED))
            }
            Fault::Outage => return Err(SharedError::Unavailable(Box::new(error))),
            Fault::Refusal => return Err(SharedError::Refused(Box::new(error))),
        };
        tracing::debug!(%error, "a transaction is tried again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn worth_waiting(&self) -> bool {
        match self.patience {
            // Once: a pooled connection may have died long ago.
            Patience::BeforeWork => self.outages == 0,
            Patience::AfterWork => Instant::now() < self.deadline,
        }
    }
}

/// Why one try of a transaction failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database's error, to be classified.
    Database(sqlx::Error),
    /// Not the database's doing: trying again would not help.
    Final(SharedError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<SharedError> for Failure {
    fn from(error: SharedError) -> Self {
        Self::Final(error)
    }
}

/// A random part of a time that doubles with every try, up to a bound.
fn pause(tries: u32) -> Duration {
    let bound = PAUSE_FIRST
        .saturating_mul(1 << tries.min(DOUBLINGS_MAX))
        .min(PAUSE_MAX);
    bound.mul_f64(rand::random_range(0.5..1.0))
}

const CONFLICTS_MAX: u32 = 40;
const PAUSE_FIRST: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(250);
const DOUBLINGS_MAX: u32 = 16;
/// An outage does not end within the first few milliseconds.
const PAUSES_SKIPPED: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide() {
        let check = |code, expected| assert_eq!(Fault::by_code(code), expected, "{code}");
        check("40001", Fault::Conflict);
        check("40P01", Fault::Conflict);
        check("40003", Fault::Conflict);
        check("25006", Fault::Outage);
        check("23505", Fault::Conflict);
        check("57P01", Fault::Outage);
        check("57P03", Fault::Outage);
        check("57014", Fault::Outage);
        check("53300", Fault::Outage);
        check("08006", Fault::Outage);
        check("25P03", Fault::Outage);
        check("42P01", Fault::Refusal);
        check("23514", Fault::Refusal);
        check("28P01", Fault::Refusal);
    }

    #[tokio::test]
    async fn tries_are_bounded_and_pauses_differ() {
        let retries = AtomicU64::new(0);
        let mut backoff = Backoff::new(Patience::BeforeWork, Duration::from_secs(1), &retries);
        let outage = || Failure::Database(sqlx::Error::PoolTimedOut);
        backoff.again(outage()).await.unwrap();
        let error = backoff.again(outage()).await.unwrap_err();
        assert!(matches!(error, SharedError::Unavailable(_)), "{error:?}");
        let own = backoff.again(Failure::Final(SharedError::Down)).await;
        assert!(matches!(own, Err(SharedError::Down)));
        assert!((1..=60).all(|tries| pause(tries) <= PAUSE_MAX));
        assert!((0..20).any(|_| pause(8) != pause(8)));
    }
}
