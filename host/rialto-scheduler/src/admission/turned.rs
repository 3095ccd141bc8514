//! Why a call is turned away.

use std::time::Duration;

use crate::tenant::Tenant;

/// Why a call is turned away. Each says after which time to come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// Too many calls wait.
    #[error("{waiting} calls wait; come again in {} ms", after.as_millis())]
    Full {
        /// Calls that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
    /// Too many of the tenant's calls wait.
    #[error("{waiting} calls of `{tenant}` wait; come again in {} ms", after.as_millis())]
    TenantFull {
        /// The tenant.
        tenant: Tenant,
        /// Its calls that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
    /// Too many calls wait, and of those nobody has more than this payer.
    #[error("{waiting} calls of one payer wait, more than its share; come again in {} ms", after.as_millis())]
    PayerFull {
        /// The payer's calls that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
    /// As many of the payer's calls wait as may ([`PayerLimits`](super::PayerLimits)).
    #[error("{waiting} calls of one payer wait, as many as may; come again in {} ms", after.as_millis())]
    PayerLimit {
        /// The payer's calls that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
    /// By what calls before it waited, its turn would come after its deadline, or too close to it.
    #[error("its turn would come in about {} ms, too late for its deadline", after.as_millis())]
    TooLate {
        /// When its turn would come.
        after: Duration,
    },
    /// The queue has been long for a while, and would make it wait long too.
    #[error("calls have waited long for a while; come again in {} ms", after.as_millis())]
    Standing {
        /// When its turn would come.
        after: Duration,
    },
}

impl Turned {
    /// The same, with more time for others to be served; a payer who has as many as it may waits for itself.
    pub(super) fn no_sooner_than(mut self, than: Option<Duration>) -> Self {
        let Some(than) = than else { return self };
        match &mut self {
            Self::PayerLimit { .. } => {}
            Self::Full { after, .. }
            | Self::TenantFull { after, .. }
            | Self::PayerFull { after, .. }
            | Self::TooLate { after }
            | Self::Standing { after } => *after = than.max(*after),
        }
        self
    }

    /// After which time to come again.
    #[must_use]
    pub const fn after(&self) -> Duration {
        match self {
            Self::Full { after, .. }
            | Self::TenantFull { after, .. }
            | Self::PayerFull { after, .. }
            | Self::PayerLimit { after, .. }
            | Self::TooLate { after }
            | Self::Standing { after } => *after,
        }
    }
}
