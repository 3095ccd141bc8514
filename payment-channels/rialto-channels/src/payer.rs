//! The payer's side of a channel: when to deposit, which voucher to sign next, what was charged,
//! and how to get the rest back.
//!
//! Every method is local and instant; the caller sends, waits, reads the chain and stores
//! snapshots. Calls may overlap: each voucher's ceiling covers every call still in flight.
//!
//! The payer trusts the payee with nothing but the difference between what it signed and what
//! it was charged ([`PayerChannel::at_risk`]).

mod chain;
mod deposit;
mod error;
pub mod lanes;
pub mod policy;
mod resync;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use deposit::DepositPlan;
pub use error::{PayError, PayeeFault, ResyncError};
pub use resync::Corrective;
pub use snapshot::PayerSnapshot;

use crate::{
    Amount, AmountOverflow, ChannelConfig, ChannelId, SettlementDomain, SignedVoucher, SigningKey,
    Voucher,
};

/// What a payer allows itself, whatever an offer asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most that an offer may ask to sign for one call, in base units.
    pub call_max: Amount,
    /// Most that one deposit may hold.
    pub deposit_max: Amount,
    /// How many calls a deposit is meant to last for, unless the offer demands more.
    pub deposit_calls: u32,
}

/// A call that a voucher was signed for. Exactly one of [`PayerChannel::on_charged`],
/// [`PayerChannel::on_failed`] and [`PayerChannel::on_lost`] must consume it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "until the call's outcome is reported, its amount stays promised"]
pub struct Call {
    number: u64,
    epoch: u64,
    amount: Amount,
}

impl Call {
    /// The most that the call may be charged, in base units.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.amount
    }
}

/// The payer's state machine for one channel.
#[derive(Clone, Debug)]
pub struct PayerChannel {
    domain: SettlementDomain,
    state: PayerSnapshot,
    limits: Limits,
    in_flight: BTreeMap<u64, Amount>,
    next_number: u64,
    /// Counts adoptions of a foreign count: the charges of older calls may be part of it.
    epoch: u64,
    deposit_pending: bool,
    /// Charges that answers told of, and calls whose answer did not come, in full.
    explained: Amount,
}

impl PayerChannel {
    /// A channel this payer knows nothing of yet: unfunded until a deposit or a chain view.
    #[must_use]
    pub fn new(domain: SettlementDomain, config: ChannelConfig, limits: Limits) -> Self {
        Self::restore(domain, PayerSnapshot::empty(config, &domain), limits)
    }

    /// Continues from a stored snapshot.
    #[must_use]
    pub fn restore(domain: SettlementDomain, state: PayerSnapshot, limits: Limits) -> Self {
        // What was open or adopted before is taken as it was stored.
        let explained = fits(state.charged.checked_add(state.uncertain));
        Self {
            domain,
            state,
            limits,
            in_flight: BTreeMap::new(),
            next_number: 0,
            epoch: 0,
            deposit_pending: false,
            explained,
        }
    }

    /// What should survive a crash. Calls in flight become uncertain: their vouchers are out.
    ///
    /// # Errors
    /// [`AmountOverflow`] if the promised amounts leave `uint128`.
    pub fn snapshot(&self) -> Result<PayerSnapshot, AmountOverflow> {
        let uncertain = self.state.uncertain.checked_add(self.in_flight()?)?;
        Ok(PayerSnapshot {
            uncertain,
            ..self.state.clone()
        })
    }

    /// The current state, to read.
    #[must_use]
    pub fn state(&self) -> &PayerSnapshot {
        &self.state
    }

    /// The channel's identity.
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.state.id
    }

    /// The channel's terms.
    #[must_use]
    pub fn config(&self) -> &ChannelConfig {
        &self.state.config
    }

    /// Sum of the amounts promised to calls in flight.
    ///
    /// # Errors
    /// [`AmountOverflow`] above `uint128`.
    pub fn in_flight(&self) -> Result<Amount, AmountOverflow> {
        self.in_flight
            .values()
            .try_fold(Amount::ZERO, |sum, amount| sum.checked_add(*amount))
    }

    /// What a dishonest payee could claim beyond what it said it charged.
    #[must_use]
    pub fn at_risk(&self) -> Amount {
        self.state.signed_max.saturating_sub(self.state.charged)
    }

    /// What the payee counts as charged beyond everything that this payer knows of: more than the
    /// answers said, were they all lost calls and calls in flight charged in full. Nothing is
    /// held back because of it; the caller compares it with what it is ready to forgive.
    ///
    /// Zero with an honest payee, unless state was lost on our side, another holder of the key
    /// was charged, or a call that was said to have failed was repeated and succeeded. A payee
    /// that keeps taking vouchers and answers with a higher count instead of work shows here.
    #[must_use]
    pub fn unexplained(&self) -> Amount {
        let open = self.in_flight().unwrap_or(Amount::MAX);
        let known = self.explained.checked_add(open).unwrap_or(Amount::MAX);
        self.state.charged.saturating_sub(known)
    }

    /// Signs the voucher for a call that an offer asks `amount` for. A `deposit` that travels
    /// with the same request counts towards the balance.
    ///
    /// The ceiling covers the charges so far, every call whose outcome is open, and this call;
    /// never more than the channel holds (M2: charged <= signed ceiling <= balance).
    ///
    /// # Errors
    /// [`PayError`]; nothing is signed.
    pub fn next_voucher(
        &mut self,
        amount: Amount,
        deposit: Option<&DepositPlan>,
        key: &SigningKey,
    ) -> Result<(Call, SignedVoucher), PayError> {
        self.check_key(key)?;
        let ceiling = self.next_ceiling(amount)?;
        let carried = deposit.map_or(Amount::ZERO, |plan| plan.amount);
        let funds = self.state.usable()?.checked_add(carried)?;
        if ceiling > funds {
            return Err(PayError::NotFunded { ceiling, funds });
        }
        let number = self.next_number;
        self.next_number = number.checked_add(1).ok_or(AmountOverflow)?;
        self.in_flight.insert(number, amount);
        self.state.signed_max = self.state.signed_max.max(ceiling);
        let voucher = Voucher {
            channel: self.state.id,
            ceiling,
        };
        Ok((
            Call {
                number,
                epoch: self.epoch,
                amount,
            },
            voucher.sign(&self.domain, key),
        ))
    }

    /// The call succeeded and was charged. `cumulative` is the payee's own count, if it sent one.
    ///
    /// Returns the part of that count which this payer cannot explain: zero with an honest payee
    /// and no lost state on our side; never beyond what was signed.
    ///
    /// # Errors
    /// [`PayeeFault`] if the payee charged more than it may. The stated charge is then not
    /// believed, and the call's whole amount counts as uncertain.
    pub fn on_charged(
        &mut self,
        call: Call,
        charged: Amount,
        cumulative: Option<Amount>,
    ) -> Result<Amount, PayeeFault> {
        let before_resync = call.epoch != self.epoch;
        let amount = call.amount;
        if charged > amount {
            self.on_lost(call);
            return Err(PayeeFault::Overcharged { amount, charged });
        }
        if let Some(count) = cumulative.filter(|count| *count > self.state.signed_max) {
            self.on_lost(call);
            return Err(PayeeFault::AboveSigned {
                signed: self.state.signed_max,
                count,
            });
        }
        self.in_flight.remove(&call.number);
        self.explain(charged);
        let sum = self
            .state
            .charged
            .checked_add(charged)
            .unwrap_or(Amount::MAX);
        match cumulative {
            // The adopted state may hold this charge already; the payee's count decides.
            Some(count) if before_resync => self.raise_charged(count),
            // ... and without a count, nobody knows yet.
            None if before_resync => {
                self.state.uncertain = fits(self.state.uncertain.checked_add(charged));
            }
            // Nothing is open: both counts must agree, and the payee's also knows the lost calls.
            // A lower count is an old one: answers may overtake each other on the way.
            Some(count) if self.in_flight.is_empty() && count >= sum => {
                return Ok(self.adopt(sum, count));
            }
            Some(_) | None => self.state.charged = sum,
        }
        Ok(Amount::ZERO)
    }

    /// The payee said that the call failed, so that nothing was charged (M3).
    pub fn on_failed(&mut self, call: Call) {
        self.in_flight.remove(&call.number);
    }

    /// No answer came: the call may or may not have been charged. Its amount stays promised
    /// until the payee's count is known again.
    pub fn on_lost(&mut self, call: Call) {
        if self.in_flight.remove(&call.number).is_some() {
            self.state.uncertain = fits(self.state.uncertain.checked_add(call.amount));
            self.explain(call.amount);
        }
    }

    fn next_ceiling(&self, amount: Amount) -> Result<Amount, PayError> {
        if amount > self.limits.call_max {
            return Err(PayError::AboveLimit {
                amount,
                limit: self.limits.call_max,
            });
        }
        let open = self.in_flight()?.checked_add(self.state.uncertain)?;
        Ok(self.state.charged.checked_add(open)?.checked_add(amount)?)
    }

    /// Learns of charges from elsewhere than their own answers. What is open may be among them,
    /// so its answers are no longer added up.
    fn raise_charged(&mut self, count: Amount) {
        if count > self.state.charged {
            self.state.charged = count;
            self.epoch = self.epoch.saturating_add(1);
        }
    }

    fn adopt(&mut self, sum: Amount, count: Amount) -> Amount {
        let explained = fits(sum.checked_add(self.state.uncertain));
        self.state.charged = count;
        self.state.uncertain = Amount::ZERO;
        count.saturating_sub(explained)
    }

    fn explain(&mut self, amount: Amount) {
        // Only ever compared, so the largest amount stands for all above it.
        self.explained = self.explained.checked_add(amount).unwrap_or(Amount::MAX);
    }

    fn check_key(&self, key: &SigningKey) -> Result<(), PayError> {
        if key.address() == self.state.config.payer_authorizer {
            return Ok(());
        }
        Err(PayError::WrongKey)
    }
}

/// Sums of parts of a ceiling: `next_voucher` added all of them up without an overflow, so the
/// largest amount is never taken. If it were, the next voucher would be refused, not too high.
fn fits(sum: Result<Amount, AmountOverflow>) -> Amount {
    debug_assert!(sum.is_ok(), "part of a checked sum");
    sum.unwrap_or(Amount::MAX)
}
