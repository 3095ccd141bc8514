//! Getting money out of a channel: claims for the payee, cooperative refunds for the payer.

use alloy_primitives::U256;

use super::{PayeeChannel, Refund, Reject};
use crate::{Amount, ChainTime, ClaimRow, VerifiedVoucher};

impl PayeeChannel {
    /// The row that claims everything charged so far, or `None` if all of it is claimed.
    ///
    /// Never above the ceiling (M2) nor above the balance: one such row makes the contract
    /// revert the whole batch.
    #[must_use]
    pub fn claimable(&self) -> Option<ClaimRow> {
        let voucher = self.state.best?;
        let total_claimed = self
            .state
            .charged
            .min(voucher.voucher.ceiling)
            .min(self.state.balance);
        (total_claimed > self.state.claimed).then_some(ClaimRow {
            config: self.state.config,
            voucher,
            total_claimed,
        })
    }

    /// Whether a withdrawal under way would take money that is charged and not claimed yet: claim
    /// at once. Charges accepted after the withdrawal was seen never are: they fit what it leaves.
    #[must_use]
    pub fn at_risk(&self) -> bool {
        let left = self.state.withdrawal.map(|withdrawal| {
            let rest = self.state.balance.checked_sub(withdrawal.amount);
            rest.unwrap_or_default()
        });
        left.zip(self.claimable())
            .is_some_and(|(left, row)| row.total_claimed > left)
    }

    /// Whether to claim now whatever it is worth and whatever it costs, because the payer is on its
    /// way out: a withdrawal is under way, and something is charged and not claimed.
    ///
    /// Everything that is owed when the withdrawal is noticed, and at any time what it would take
    /// ([`at_risk`](Self::at_risk)). What is charged afterwards fits what the withdrawal leaves: it
    /// is claimed together, so many times a delay at most ([`CLAIMS_PER_DELAY`]), or a payer that
    /// starts a withdrawal and never ends it could have each of its calls claimed by itself, at the
    /// payee's cost. `last` is when a claim of this kind went through last.
    #[must_use]
    pub fn claim_at_once(&self, last: Option<ChainTime>, now: ChainTime) -> bool {
        if self.state.withdrawal.is_none() || self.claimable().is_none() {
            return false;
        }
        let delay = self.state.config.withdraw_delay;
        let pause = delay.checked_div(CLAIMS_PER_DELAY).unwrap_or_default();
        self.at_risk() || last.is_none_or(|last| now.secs_since(last) >= pause)
    }

    /// What the payer could have back now: the balance less everything charged; nothing while
    /// calls are in flight or another refund is under way.
    #[must_use]
    pub fn refundable(&self) -> Amount {
        if self.refunding || !self.in_flight.is_empty() {
            return Amount::ZERO;
        }
        self.state.balance.saturating_sub(self.state.charged)
    }

    /// Agrees to give the payer back `asked`, or all that is left. The voucher proves that the
    /// payer asks: its ceiling is the cumulative charge, so it is worth nothing more.
    ///
    /// No call is accepted until [`PayeeChannel::end_refund`].
    ///
    /// # Errors
    /// [`Reject`]; nothing changes. [`Reject::Busy`] while calls are in flight.
    pub fn begin_refund(
        &mut self,
        voucher: &VerifiedVoucher,
        asked: Option<Amount>,
        now: ChainTime,
    ) -> Result<Refund, Reject> {
        self.check_voucher(voucher)?;
        self.check_fresh(now)?;
        if self.refunding || !self.in_flight.is_empty() {
            return Err(Reject::Busy);
        }
        if voucher.ceiling() != self.state.charged {
            return Err(Reject::CumulativeMismatch {
                charged: self.state.charged,
                in_flight: Amount::ZERO,
                price: Amount::ZERO,
                ceiling: voucher.ceiling(),
            });
        }
        let refundable = self.refundable();
        if refundable.is_zero() {
            return Err(Reject::NothingToRefund);
        }
        let amount = asked.unwrap_or(refundable);
        if amount.is_zero() || amount > refundable {
            return Err(Reject::RefundAmount {
                asked: amount,
                refundable,
            });
        }
        self.keep_best(voucher);
        self.refunding = true;
        Ok(self.refund_of(amount, self.state.refund_nonce))
    }

    /// Takes up a refund that was begun before a crash and may have been sent since: the state is
    /// that after [`PayeeChannel::begin_refund`]. Whoever sends refunds marks them durably first.
    ///
    /// `None` if the chain shows it done: its nonce is used. Call it after a chain view.
    pub fn resume_refund(&mut self, amount: Amount, nonce: U256) -> Option<Refund> {
        if self.state.refund_nonce > nonce {
            return None;
        }
        self.refunding = true;
        Some(self.refund_of(amount, nonce))
    }

    fn refund_of(&self, amount: Amount, nonce: U256) -> Refund {
        let claim = self.claimable();
        Refund {
            config: self.state.config,
            amount,
            nonce,
            claim,
            owed: claim.map_or(self.state.claimed, |row| row.total_claimed),
        }
    }

    /// Whether a refund may still be sent, some time after it was agreed: nothing was charged since,
    /// and the channel still holds it beside what is owed.
    #[must_use]
    pub fn still_refunds(&self, refund: &Refund) -> bool {
        let rest = self.state.balance.checked_sub(self.state.charged);
        self.refunding && self.in_flight.is_empty() && rest.is_ok_and(|rest| rest >= refund.amount)
    }

    /// Ends a refund: confirmed at a block time, or `None` if it did not happen. Once confirmed,
    /// the channel takes no call before a view read since then.
    pub fn end_refund(&mut self, refund: Refund, confirmed_at: Option<ChainTime>) {
        if refund.config != self.state.config {
            return;
        }
        self.refunding = false;
        if let Some(at) = confirmed_at {
            // Not `on_refunded`: the last view may be of the same second and still be without it.
            self.needs_view = true;
            self.view_floor = self.view_floor.max(at);
        }
    }
}

/// How often what is charged during a withdrawal is claimed within its delay, at most.
pub const CLAIMS_PER_DELAY: u64 = 64;
