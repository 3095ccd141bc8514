//! What a payer allows itself over all its channels: a budget per day, per provider and per call,
//! and when to top a channel up.
//!
//! The day and every amount come in as arguments. Where the ledger of the day is stored between
//! runs is the caller's matter ([`Spending::entries`], [`Spending::restore`]); so is what to do
//! about a refusal.

use std::collections::BTreeMap;

use alloy_primitives::Address;

use super::{PayError, PayerChannel};
use crate::{Amount, AmountOverflow};

/// A payer's limits, in base units of one token. [`Amount::MAX`] means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most that one call may cost.
    pub call_max: Amount,
    /// The most that an offer may ask to sign for one call, headroom included.
    pub offer_max: Amount,
    /// The most that all calls of one day may cost.
    pub day_max: Amount,
    /// The most that all calls of one day at one provider may cost.
    pub provider_day_max: Amount,
    /// The most that one deposit may hold.
    pub deposit_max: Amount,
    /// The most that all deposits of one day may hold.
    pub deposit_day_max: Amount,
}

impl Policy {
    /// No limit at all.
    pub const UNLIMITED: Self = Self {
        call_max: Amount::MAX,
        offer_max: Amount::MAX,
        day_max: Amount::MAX,
        provider_day_max: Amount::MAX,
        deposit_max: Amount::MAX,
        deposit_day_max: Amount::MAX,
    };

    /// Checks an offer before anything is signed: `price` is the most that the call may cost,
    /// `asked` what the offer asks to sign for it.
    ///
    /// # Errors
    /// [`OverBudget::Call`] or [`OverBudget::Offer`].
    pub fn check_offer(&self, price: Amount, asked: Amount) -> Result<(), OverBudget> {
        if price > self.call_max {
            let limit = self.call_max;
            return Err(OverBudget::Call { price, limit });
        }
        if asked > self.offer_max {
            let limit = self.offer_max;
            return Err(OverBudget::Offer { asked, limit });
        }
        Ok(())
    }

    /// The deposit to make before a call that an offer asks `asked` for, or `None` if the channel
    /// holds enough. `offer_min` is the smallest deposit that the offer takes.
    ///
    /// Never more than [`Policy::deposit_max`], nor than what is left of the day's deposits. If
    /// the usual amount does not fit, the smallest that serves is made.
    ///
    /// # Errors
    /// [`TopUpError`]; nothing is signed.
    pub fn top_up(
        &self,
        channel: &PayerChannel,
        asked: Amount,
        offer_min: Option<Amount>,
        spending: &Spending,
    ) -> Result<Option<Amount>, TopUpError> {
        let Some(usual) = channel.deposit_needed(asked, offer_min)? else {
            return Ok(None);
        };
        let left = self.deposit_day_max.saturating_sub(spending.deposited);
        let limit = self.deposit_max.min(left);
        let least = channel
            .deposit_gap(asked)?
            .max(offer_min.unwrap_or_default());
        if least > limit {
            let needed = least;
            return Err(TopUpError::Limit { needed, limit });
        }
        Ok(Some(usual.min(limit)))
    }
}

/// Why no deposit is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopUpError {
    /// The channel's own rules refuse it.
    #[error(transparent)]
    Channel(#[from] PayError),
    /// The smallest deposit that serves is above the limits.
    #[error("a deposit of {needed} is needed, and the budget allows {limit} now: raise the limits")]
    Limit {
        /// The smallest deposit that serves.
        needed: Amount,
        /// What one deposit may hold, or what is left of the day's deposits.
        limit: Amount,
    },
}

/// A call that is part of the budget and whose charge is not known yet. Exactly one of
/// [`Spending::spent`] and [`Spending::free`] must consume it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "until the call's charge is reported, its price is held in the budget"]
pub struct Spend {
    day: u64,
    provider: Address,
    price: Amount,
}

/// What a payer spent on one day. Days are counted by the caller, for example seconds since the
/// Unix epoch divided by [`DAY_SECS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    day: u64,
    deposited: Amount,
    /// Spent or held, by provider; bounded by the providers called in one day.
    providers: BTreeMap<Address, Amount>,
}

impl Spending {
    /// Nothing spent yet on `day`.
    #[must_use]
    pub fn new(day: u64) -> Self {
        Self {
            day,
            ..Self::default()
        }
    }

    /// Continues from what was stored of `day`.
    ///
    /// # Errors
    /// [`AmountOverflow`] if the entries of one provider leave `uint128`.
    pub fn restore(
        day: u64,
        deposited: Amount,
        entries: impl IntoIterator<Item = (Address, Amount)>,
    ) -> Result<Self, AmountOverflow> {
        let mut providers = BTreeMap::new();
        for (provider, amount) in entries {
            let sum: &mut Amount = providers.entry(provider).or_default();
            *sum = sum.checked_add(amount)?;
        }
        Ok(Self {
            day,
            deposited,
            providers,
        })
    }

    /// The day that this is about.
    #[must_use]
    pub fn day(&self) -> u64 {
        self.day
    }

    /// Deposited on this day, in base units.
    #[must_use]
    pub fn deposited(&self) -> Amount {
        self.deposited
    }

    /// What each provider was paid or may still charge, to be stored.
    pub fn entries(&self) -> impl Iterator<Item = (Address, Amount)> + '_ {
        self.providers
            .iter()
            .map(|(provider, amount)| (*provider, *amount))
    }

    /// The sum over all providers, in base units.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.providers
            .values()
            .try_fold(Amount::ZERO, |sum, amount| sum.checked_add(*amount))
            .unwrap_or(Amount::MAX)
    }

    /// Holds the price of a call on `day`. An earlier day's spending is forgotten first.
    ///
    /// # Errors
    /// [`OverBudget`]; nothing is held.
    pub fn hold(
        &mut self,
        policy: &Policy,
        provider: Address,
        price: Amount,
        day: u64,
    ) -> Result<Spend, OverBudget> {
        self.turn_to(day);
        if price > policy.call_max {
            let limit = policy.call_max;
            return Err(OverBudget::Call { price, limit });
        }
        let (total, limit) = (self.total(), policy.day_max);
        if !fits(total, price, limit) {
            return Err(OverBudget::Day {
                spent: total,
                price,
                limit,
            });
        }
        let spent = self.providers.get(&provider).copied().unwrap_or_default();
        let limit = policy.provider_day_max;
        let sum = spent.checked_add(price).ok().filter(|sum| *sum <= limit);
        let Some(sum) = sum else {
            return Err(OverBudget::Provider {
                provider,
                spent,
                price,
                limit,
            });
        };
        self.providers.insert(provider, sum);
        Ok(Spend {
            day: self.day,
            provider,
            price,
        })
    }

    /// The call was charged; what it cost less than its price is free again.
    pub fn spent(&mut self, spend: Spend, charged: Amount) {
        let rest = spend.price.saturating_sub(charged);
        self.give_back(&spend, rest);
    }

    /// The call was not charged. Not for a call whose outcome is unknown: that counts as
    /// [`spent`](Self::spent) in full.
    pub fn free(&mut self, spend: Spend) {
        self.give_back(&spend, spend.price);
    }

    /// Notes a deposit on `day`.
    ///
    /// # Errors
    /// [`AmountOverflow`] above `uint128`.
    pub fn deposit(&mut self, amount: Amount, day: u64) -> Result<(), AmountOverflow> {
        self.turn_to(day);
        self.deposited = self.deposited.checked_add(amount)?;
        Ok(())
    }

    /// A clock that is set back does not give the budget back: an earlier day is taken as this.
    fn turn_to(&mut self, day: u64) {
        if day > self.day {
            *self = Self::new(day);
        }
    }

    fn give_back(&mut self, spend: &Spend, amount: Amount) {
        if spend.day != self.day {
            return;
        }
        if let Some(sum) = self.providers.get_mut(&spend.provider) {
            // What was never taken is not given back: then the budget stays as it is.
            *sum = sum.checked_sub(amount).unwrap_or(*sum);
        }
    }
}

fn fits(spent: Amount, price: Amount, limit: Amount) -> bool {
    spent.checked_add(price).is_ok_and(|sum| sum <= limit)
}

/// Seconds of a day.
pub const DAY_SECS: u64 = 86_400;

/// Which limit a call would break. Nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// One call.
    #[error("the call may cost {price}, and the limit for one call is {limit}")]
    Call {
        /// The most that it may cost.
        price: Amount,
        /// The limit.
        limit: Amount,
    },
    /// What an offer asks to sign.
    #[error("the offer asks to sign {asked} for one call, and the limit is {limit}")]
    Offer {
        /// Asked for.
        asked: Amount,
        /// The limit.
        limit: Amount,
    },
    /// The day's budget.
    #[error("{spent} of the day's budget of {limit} is spent, and the call may cost {price}")]
    Day {
        /// Spent and held.
        spent: Amount,
        /// The most that the call may cost.
        price: Amount,
        /// The limit.
        limit: Amount,
    },
    /// The day's budget for one provider.
    #[error(
        "{spent} of the day's budget of {limit} for provider {provider} is spent, and the call may cost {price}"
    )]
    Provider {
        /// Who would be paid.
        provider: Address,
        /// Spent and held there.
        spent: Amount,
        /// The most that the call may cost.
        price: Amount,
        /// The limit.
        limit: Amount,
    },
}
