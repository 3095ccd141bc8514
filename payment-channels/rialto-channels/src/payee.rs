//! The payee's side of a channel: which vouchers are good, what may be charged, what to claim.
//!
//! Everything is a method on [`PayeeChannel`]; the caller holds a lock around it, stores the
//! snapshots it hands out (M4: a voucher is durable before its answer is complete), reads the
//! chain and submits claims. One voucher may cover several calls at once: a call is accepted
//! while its voucher's ceiling covers what was charged, what is in flight and its own price.
//!
//! Non-goals: idempotency of calls (the ledger's), wire encoding, contract wallets.

mod chain;
mod charge;
mod error;
mod exposure;
mod payment_key;
mod reject;
mod restore;
mod resume;
mod settle;
mod snapshot;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use alloy_primitives::B256;

pub use charge::{Charge, Committed, Refund, Reservation};
pub use error::{ChargeError, RestoreError};
pub use exposure::{ExposureLimits, PayerExposure};
pub use payment_key::payment_key;
pub use reject::{Reject, WireCode};
pub use resume::SharedState;
pub use settle::CLAIMS_PER_DELAY;
pub use snapshot::ChannelSnapshot;
pub use terms::Terms;

use crate::{
    Amount, ChainTime, ChannelConfig, OnChainView, SettlementDomain, VerifiedVoucher, view_ttl_secs,
};

/// The payee's state machine for one channel.
#[derive(Clone, Debug)]
pub struct PayeeChannel {
    state: ChannelSnapshot,
    in_flight_max: usize,
    in_flight: BTreeMap<u64, Amount>,
    in_flight_sum: Amount,
    next_number: u64,
    /// Something happened that only a view can tell.
    needs_view: bool,
    /// Views read before this block time miss something already known.
    view_floor: ChainTime,
    refunding: bool,
}

impl PayeeChannel {
    /// Starts to serve a channel that this payee holds no state of.
    ///
    /// The cumulative charge starts at what is claimed on chain: all that is provable.
    ///
    /// # Errors
    /// [`Reject`] if the terms differ from the provider's; the peer's fault.
    pub fn new(
        terms: &Terms,
        domain: &SettlementDomain,
        config: ChannelConfig,
        view: &OnChainView,
    ) -> Result<Self, Reject> {
        terms.check(&config)?;
        let state = ChannelSnapshot {
            config,
            id: config.id(domain),
            version: 1,
            balance: view.balance,
            claimed: view.claimed,
            charged: view.claimed,
            best: None,
            refund_nonce: view.refund_nonce,
            withdrawal: view.withdrawal,
            synced_at: view.read_at,
            last_receipt: B256::ZERO,
        };
        Ok(Self::from_state(state, terms.in_flight_max, false))
    }

    /// Continues from a stored snapshot. The chain may have moved meanwhile: nothing is accepted
    /// before the first [`PayeeChannel::on_chain_view`].
    ///
    /// # Errors
    /// [`RestoreError`] if the snapshot breaks M2 or is another channel's; an operator's fault.
    pub fn restore(
        snapshot: ChannelSnapshot,
        domain: &SettlementDomain,
        in_flight_max: usize,
    ) -> Result<Self, RestoreError> {
        snapshot.check(domain)?;
        Ok(Self::from_state(snapshot, in_flight_max, true))
    }

    fn from_state(state: ChannelSnapshot, in_flight_max: usize, needs_view: bool) -> Self {
        Self {
            state,
            in_flight_max,
            in_flight: BTreeMap::new(),
            in_flight_sum: Amount::ZERO,
            next_number: 0,
            needs_view,
            view_floor: ChainTime::ZERO,
            refunding: false,
        }
    }

    /// What must survive a crash. Calls in flight are not in it: they were not charged (M3).
    #[must_use]
    pub fn snapshot(&self) -> ChannelSnapshot {
        self.state.clone()
    }

    /// The current state, to read.
    #[must_use]
    pub fn state(&self) -> &ChannelSnapshot {
        &self.state
    }

    /// Sum of the prices of the calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> Amount {
        self.in_flight_sum
    }

    /// Number of calls in flight.
    #[must_use]
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Accepts a voucher for a call that costs at most `price`.
    ///
    /// The voucher's ceiling must cover what was charged, what is in flight and `price`, and
    /// itself be covered by the channel (M2: charged <= signed ceiling <= balance).
    ///
    /// # Errors
    /// [`Reject`]; nothing is reserved.
    pub fn reserve(
        &mut self,
        voucher: &VerifiedVoucher,
        price: Amount,
        now: ChainTime,
    ) -> Result<Reservation, Reject> {
        let nobody = PayerExposure::default();
        self.reserve_within(voucher, price, now, &ExposureLimits::NONE, &nobody)
    }

    /// As [`PayeeChannel::reserve`], within the provider's limits of what may be at stake.
    /// `payer` sums up all channels of this payer, this one included, and is changed by the
    /// caller ([`PayerExposure::moved`]) after every change of a channel's exposure.
    ///
    /// # Errors
    /// [`Reject`]; nothing is reserved.
    pub fn reserve_within(
        &mut self,
        voucher: &VerifiedVoucher,
        price: Amount,
        now: ChainTime,
        limits: &ExposureLimits,
        payer: &PayerExposure,
    ) -> Result<Reservation, Reject> {
        let promised = self.check(voucher, price, now)?;
        limits.check_channel(self.exposure(), price)?;
        limits.check_payer(payer.sum(), price)?;
        let in_flight_sum = self.in_flight_sum.checked_add(price)?;
        let number = self.next_number;
        self.next_number = number.checked_add(1).ok_or(Reject::Busy)?;
        self.in_flight.insert(number, price);
        self.in_flight_sum = in_flight_sum;
        debug_assert!(promised <= voucher.ceiling(), "M2");
        self.keep_best(voucher);
        Ok(Reservation {
            channel: self.state.id,
            number,
            price,
        })
    }

    /// What [`PayeeChannel::commit`] would record, for the receipt that has to name it.
    ///
    /// # Errors
    /// [`ChargeError`] as for `commit`; the reservation stays.
    pub fn charge(&self, call: &Reservation, actual: Amount) -> Result<Charge, ChargeError> {
        if call.channel != self.state.id || self.in_flight.get(&call.number) != Some(&call.price) {
            return Err(ChargeError::UnknownReservation);
        }
        if actual > call.price {
            return Err(ChargeError::AbovePrice {
                price: call.price,
                actual,
            });
        }
        let before = self.state.charged;
        let after = before
            .checked_add(actual)
            .map_err(|_| ChargeError::AboveCeiling)?;
        // M2: charged <= signed ceiling. `reserve` made sure of it; this is the last check.
        if self
            .state
            .best
            .is_none_or(|best| after > best.voucher.ceiling)
        {
            return Err(ChargeError::AboveCeiling);
        }
        Ok(Charge {
            before,
            charged: actual,
            after,
            previous: self.state.last_receipt,
        })
    }

    /// Charges a call that succeeded: `actual` of at most its price. `receipt` is the digest of
    /// the receipt that states the charge.
    ///
    /// # Errors
    /// [`ChargeError`]: our own bug, not the peer's. The reservation is released and nothing is
    /// charged (M3).
    pub fn commit(
        &mut self,
        call: Reservation,
        actual: Amount,
        receipt: B256,
    ) -> Result<Committed, ChargeError> {
        let charge = self.charge(&call, actual);
        self.release(call);
        let charge = charge?;
        self.state.charged = charge.after;
        self.state.last_receipt = receipt;
        self.touch();
        Ok(Committed {
            charge,
            snapshot: self.snapshot(),
        })
    }

    /// Takes the newest charge back, because its snapshot could not even be queued for storing: a
    /// charge that nothing remembers must not stand (M3). Only under the lock of its
    /// [`PayeeChannel::commit`]; returns whether it was still the newest.
    pub fn take_back(&mut self, charge: &Charge) -> bool {
        if self.state.charged != charge.after {
            return false;
        }
        self.state.charged = charge.before;
        self.state.last_receipt = charge.previous;
        self.touch();
        true
    }

    /// Ends a call that failed (M3: nothing is charged for it).
    pub fn release(&mut self, call: Reservation) {
        if call.channel != self.state.id {
            return;
        }
        if let Some(price) = self.in_flight.remove(&call.number) {
            let rest = self.in_flight_sum.checked_sub(price);
            debug_assert!(rest.is_ok(), "the sum holds every price in flight");
            self.in_flight_sum = rest.unwrap_or_default();
        }
    }

    fn check(
        &self,
        voucher: &VerifiedVoucher,
        price: Amount,
        now: ChainTime,
    ) -> Result<Amount, Reject> {
        self.check_voucher(voucher)?;
        self.check_fresh(now)?;
        if self.refunding || self.in_flight.len() >= self.in_flight_max {
            return Err(Reject::Busy);
        }
        let ceiling = voucher.ceiling();
        let promised = self
            .state
            .charged
            .checked_add(self.in_flight_sum)?
            .checked_add(price)?;
        if ceiling <= self.state.claimed {
            return Err(Reject::BelowClaimed {
                claimed: self.state.claimed,
                ceiling,
            });
        }
        if ceiling < promised {
            return Err(Reject::CumulativeMismatch {
                charged: self.state.charged,
                in_flight: self.in_flight_sum,
                price,
                ceiling,
            });
        }
        if ceiling > self.state.balance {
            return Err(Reject::Overdrawn {
                balance: self.state.balance,
                ceiling,
            });
        }
        let usable = self.usable()?;
        if promised > usable {
            return Err(Reject::Withdrawing { usable, promised });
        }
        Ok(promised)
    }

    fn check_voucher(&self, voucher: &VerifiedVoucher) -> Result<(), Reject> {
        if voucher.channel() != self.state.id {
            return Err(Reject::WrongChannel);
        }
        if voucher.authorizer() != self.state.config.payer_authorizer {
            return Err(Reject::WrongAuthorizer);
        }
        Ok(())
    }

    fn check_fresh(&self, now: ChainTime) -> Result<(), Reject> {
        if self.needs_view(now) {
            return Err(Reject::ViewStale {
                synced_at: self.state.synced_at,
            });
        }
        Ok(())
    }

    /// Whether the chain must be read before the channel takes another call: the last view is
    /// older than [`view_ttl_secs`], or something happened since that only a view can tell.
    #[must_use]
    pub fn needs_view(&self, now: ChainTime) -> bool {
        let age_secs = now.secs_since(self.state.synced_at);
        self.needs_view || age_secs > view_ttl_secs(self.state.config.withdraw_delay)
    }

    /// What the channel can still be charged up to: the balance less a withdrawal under way.
    fn usable(&self) -> Result<Amount, Reject> {
        let Some(withdrawal) = self.state.withdrawal else {
            return Ok(self.state.balance);
        };
        Ok(self.state.balance.saturating_sub(withdrawal.amount))
    }

    fn keep_best(&mut self, voucher: &VerifiedVoucher) {
        let ceiling = voucher.ceiling();
        if self
            .state
            .best
            .is_none_or(|best| best.voucher.ceiling < ceiling)
        {
            self.state.best = Some(voucher.signed());
            self.touch();
        }
    }

    fn touch(&mut self) {
        // A version a nanosecond lasts five centuries; if it ever ends, older state still never
        // overwrites newer.
        self.state.version = self.state.version.saturating_add(1);
    }
}
