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

    /// What the payer could have back now: the balance less everything charged; nothing while
    /// calls are in flight or another refund is under way.
    #[must_use]
    pub fn refundable(&self) -> Amount {
        if self.refunding || !self.in_flight.is_empty() {
            return Amount::ZERO;
        }
        self.state
            .balance
            .checked_sub(self.state.charged)
            .unwrap_or_default()
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
        Ok(Refund {
            config: self.state.config,
            amount,
            nonce: self.state.refund_nonce,
            claim: self.claimable(),
        })
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
        Some(Refund {
            config: self.state.config,
            amount,
            nonce,
            claim: self.claimable(),
        })
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
