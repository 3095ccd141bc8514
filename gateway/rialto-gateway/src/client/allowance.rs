//! What somebody on whose behalf a wallet pays may spend in a day: a budget over everybody together, and one of
//! their own.
//!
//! A call's price is taken off both before anything is signed and replaced by its charge afterwards, in one step
//! each: calls at once never exceed a budget. What nobody knows the end of stays counted in full.
//!
//! Not here: the wallet's own budget ([`Budget`]), and who may ask for what.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::Address;
use rialto_channels::Amount;
use rialto_channels::payer::policy::{OverBudget, Policy, Spending};

use super::budget::{Budget, Purse, Reserved, spent_today};
use super::{ClientError, StoreError};

/// Budgets of a day (by UTC) for those on whose behalf a wallet pays. Clones share the count, and so do programs
/// that use the same folder.
#[derive(Debug, Clone)]
pub struct Allowances {
    purse: Arc<Purse>,
    day_max: Amount,
}

/// What one of them may spend.
#[derive(Debug, Clone)]
pub struct Allowance {
    all: Allowances,
    who: Address,
    own_max: Option<Amount>,
}

/// A call would exceed a budget; nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverAllowance {
    /// That of everybody together.
    #[error(
        "{spent} of the {limit} base units that may be spent a day are spent or held, and this call costs up to {price}"
    )]
    All {
        /// Spent or held today, in base units.
        spent: Amount,
        /// The most that the call may cost.
        price: Amount,
        /// The budget.
        limit: Amount,
    },
    /// That of the one who asks.
    #[error(
        "{spent} of this key's {limit} base units a day are spent or held, and this call costs up to {price}"
    )]
    Own {
        /// Spent or held today, in base units.
        spent: Amount,
        /// The most that the call may cost.
        price: Amount,
        /// The budget.
        limit: Amount,
    },
}

impl Allowances {
    /// Budgets that are counted in this folder; `day_max` is what all may spend together.
    #[must_use]
    pub fn new(dir: &Path, day_max: Amount) -> Self {
        Self {
            // Each call says what its limits are; that there is one makes the purse count.
            purse: Arc::new(Purse::new(Budget::default(), Some(dir.to_owned()))),
            day_max,
        }
    }

    /// What one may spend: `own_max`, where there is one, and no more than is left for all.
    #[must_use]
    pub fn of(&self, who: Address, own_max: Option<Amount>) -> Allowance {
        Allowance {
            all: self.clone(),
            who,
            own_max,
        }
    }

    /// What was spent, or is held, today.
    ///
    /// # Errors
    /// [`StoreError`] when the count cannot be read.
    pub fn today(dir: &Path) -> Result<Spending, StoreError> {
        spent_today(dir)
    }
}

impl Allowance {
    /// Takes a price off the budgets, if it fits.
    pub(super) async fn reserve(&self, price: Amount) -> Result<Reserved, ClientError> {
        let policy = Policy {
            day_max: self.all.day_max,
            provider_day_max: self.own_max.unwrap_or(Amount::MAX),
            ..Policy::UNLIMITED
        };
        let held = self.all.purse.hold(&policy, self.who, price).await?;
        let spend = held.map_err(OverAllowance::from)?;
        Ok(self.all.purse.guard(Some(spend)))
    }
}

impl From<OverBudget> for OverAllowance {
    fn from(over: OverBudget) -> Self {
        match over {
            OverBudget::Provider {
                spent,
                price,
                limit,
                ..
            } => Self::Own {
                spent,
                price,
                limit,
            },
            OverBudget::Day {
                spent,
                price,
                limit,
            } => Self::All {
                spent,
                price,
                limit,
            },
            // Neither has a limit here.
            OverBudget::Call { price, limit }
            | OverBudget::Offer {
                asked: price,
                limit,
            } => Self::All {
                spent: Amount::ZERO,
                price,
                limit,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Address = Address::ZERO;
    const ONE: Address = Address::repeat_byte(1);

    fn amount(units: u128) -> Amount {
        Amount::new(units)
    }

    async fn refused(allowance: &Allowance, price: u128) -> (&'static str, u128) {
        match allowance.reserve(amount(price)).await {
            Err(ClientError::Allowance(OverAllowance::All { spent, .. })) => ("all", spent.get()),
            Err(ClientError::Allowance(OverAllowance::Own { spent, .. })) => ("own", spent.get()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn prices_are_held_until_charges_are_known_and_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let budgets = || Allowances::new(dir.path(), amount(300));
        let (any, one) = (
            budgets().of(ALL, None),
            budgets().of(ONE, Some(amount(150))),
        );
        let first = one.reserve(amount(100)).await.unwrap();
        assert_eq!(refused(&one, 100).await, ("own", 100));
        first.settle(amount(40)).await.unwrap();
        let held = one.reserve(amount(100)).await.unwrap();
        // Another program has the same count.
        let again = budgets().of(ONE, Some(amount(150)));
        assert_eq!(refused(&again, 11).await, ("own", 140));
        let general = any.reserve(amount(160)).await.unwrap();
        assert_eq!(refused(&any, 1).await, ("all", 300));
        assert_eq!(refused(&one, 1).await, ("all", 300));
        general.settle(Amount::ZERO).await.unwrap();
        held.settle(amount(100)).await.unwrap();
        let today = Allowances::today(dir.path()).unwrap();
        assert_eq!(today.total(), amount(140));
    }

    #[tokio::test]
    async fn what_is_dropped_before_it_was_sent_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let one = Allowances::new(dir.path(), amount(100)).of(ONE, None);
        let sent = one.reserve(amount(60)).await.unwrap();
        sent.sent()
            .store(true, std::sync::atomic::Ordering::Relaxed);
        drop(sent);
        drop(one.reserve(amount(40)).await.unwrap());
        let total = || Allowances::today(dir.path()).unwrap().total();
        while total() != amount(60) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(refused(&one, 41).await, ("all", 60));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_that_race_never_exceed_a_budget() {
        let dir = tempfile::tempdir().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..64_u128 {
            // Half of them with a count of their own, as another program has it.
            let own = Some(amount(500)).filter(|_| number % 2 == 0);
            let who = if own.is_some() { ONE } else { ALL };
            let allowance = Allowances::new(dir.path(), amount(1_000)).of(who, own);
            tasks.spawn(async move {
                let held = allowance.reserve(amount(70)).await;
                let is_held = held.is_ok();
                if let Ok(held) = held {
                    held.settle(amount(70)).await.unwrap();
                }
                (own.is_some(), is_held)
            });
        }
        let (mut all, mut keyed) = (0, 0);
        while let Some(done) = tasks.join_next().await {
            let (own, held) = done.unwrap();
            all += u128::from(held);
            keyed += u128::from(held && own);
        }
        assert_eq!(all, 14, "14 times 70 fit in 1,000");
        assert!(keyed <= 7, "{keyed} times 70 exceed 500");
        let today = Allowances::today(dir.path()).unwrap();
        assert_eq!(today.total(), amount(14 * 70));
    }
}
