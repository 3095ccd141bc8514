//! What was signed for one call, until its outcome is known.
//!
//! A ticket that is dropped (its task was cancelled) counts as a call whose answer was lost: the
//! money stays promised until the host's count is known, and nobody waits for it for ever.

use std::sync::Arc;

use rialto_channels::payer::{Call, DepositPlan};
use rialto_channels::receipt::Receipt;
use rialto_channels::{Amount, SignedVoucher};
use rialto_node::Deposit;

use super::channel::Channel;
use super::{ClientError, ReceiptFault};

/// What was signed for one call.
#[derive(Debug)]
pub(super) struct Ticket {
    channel: Arc<Channel>,
    call: Option<Call>,
    voucher: SignedVoucher,
    deposit: Option<SignedDeposit>,
}

/// A deposit on its way.
#[derive(Debug)]
pub(super) struct SignedDeposit {
    pub(super) plan: DepositPlan,
    pub(super) wire: Deposit,
}

impl Ticket {
    pub(super) fn new(
        channel: Arc<Channel>,
        call: Call,
        voucher: SignedVoucher,
        deposit: Option<SignedDeposit>,
    ) -> Self {
        Self {
            channel,
            call: Some(call),
            voucher,
            deposit,
        }
    }

    pub(super) fn voucher(&self) -> &SignedVoucher {
        &self.voucher
    }

    pub(super) fn deposit(&self) -> Option<&Deposit> {
        self.deposit.as_ref().map(|deposit| &deposit.wire)
    }

    /// The deposit was confirmed. Returns its amount, if there was one.
    pub(super) fn deposited(&mut self) -> Result<Option<Amount>, ClientError> {
        let Some(deposit) = self.deposit.take() else {
            return Ok(None);
        };
        self.channel
            .change(|payer| payer.on_deposited(&deposit.plan))?;
        Ok(Some(deposit.plan.amount))
    }

    /// The call was charged; see [`Channel::charge`].
    pub(super) fn charged(
        mut self,
        charged: Amount,
        cumulative: Option<Amount>,
        receipt: Option<&Receipt>,
    ) -> Result<Option<ReceiptFault>, ClientError> {
        match self.call.take() {
            Some(call) => self.channel.charge(call, charged, cumulative, receipt),
            None => Ok(None), // A ticket is used once: every use consumes it.
        }
    }

    /// Nothing was charged.
    pub(super) fn failed(mut self) {
        if let Some(call) = self.call.take() {
            self.channel.change(|payer| payer.on_failed(call));
        }
    }

    /// No answer came: the call may or may not have been charged.
    pub(super) fn lost(self) {
        drop(self);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(deposit) = self.deposit.take() {
            // It may be on the chain all the same: look before the next signature.
            self.channel.mark_stale();
            self.channel
                .change(|payer| payer.on_deposit_failed(deposit.plan));
        }
        if let Some(call) = self.call.take() {
            self.channel.change(|payer| payer.on_lost(call));
        }
    }
}
