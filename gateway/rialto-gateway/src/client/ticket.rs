//! What was signed for one call, until its outcome is known.
//!
//! A ticket that is dropped after it was sent (its task was cancelled) counts as a call whose
//! answer was lost: the money stays promised until the host's count is known, and nobody waits for
//! it for ever. One that was never sent promised nothing.

use std::sync::Arc;

use rialto_channels::payer::{Call, DepositPlan};
use rialto_channels::{Amount, Signature, SignedVoucher};
use rialto_node::{AnyConsent, Deposit, DepositAuthorization};

use super::channel::Channel;
use super::receipts::Arrived;
use super::{ClientError, ReceiptFault};

/// What was signed for one call.
#[derive(Debug)]
pub(super) struct Ticket {
    channel: Arc<Channel>,
    call: Option<Call>,
    voucher: SignedVoucher,
    deposit: Option<SignedDeposit>,
    /// The most that the call should cost.
    price: Amount,
    sent: bool,
}

/// A deposit on its way; the wallet's signature comes after the plan.
#[derive(Debug)]
struct SignedDeposit {
    plan: DepositPlan,
    wire: Option<Deposit>,
}

impl Ticket {
    pub(super) fn new(
        channel: Arc<Channel>,
        call: Call,
        voucher: SignedVoucher,
        deposit: Option<DepositPlan>,
        price: Amount,
    ) -> Self {
        Self {
            channel,
            call: Some(call),
            voucher,
            deposit: deposit.map(|plan| SignedDeposit { plan, wire: None }),
            price,
            sent: false,
        }
    }

    pub(super) fn voucher(&self) -> &SignedVoucher {
        &self.voucher
    }

    /// The deposit that the wallet has yet to sign.
    pub(super) fn unsigned(&self) -> Option<&DepositPlan> {
        let deposit = self.deposit.as_ref();
        deposit
            .filter(|deposit| deposit.wire.is_none())
            .map(|deposit| &deposit.plan)
    }

    /// The wallet signed the deposit.
    pub(super) fn sign(&mut self, signature: &Signature) {
        if let Some(SignedDeposit { plan, wire }) = &mut self.deposit {
            let authorization = DepositAuthorization {
                valid_after: plan.authorization.valid_after,
                valid_before: plan.authorization.valid_before,
                salt: plan.salt,
                signature: signature.to_bytes().to_vec(),
            };
            *wire = Some(Deposit {
                amount: plan.amount,
                consent: AnyConsent::Erc3009(authorization),
            });
        }
    }

    pub(super) fn deposit(&self) -> Option<&Deposit> {
        self.deposit.as_ref()?.wire.as_ref()
    }

    /// From now on the host may know of it.
    pub(super) fn sending(&mut self) {
        self.sent = true;
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
        receipt: Option<Arrived>,
    ) -> Result<Option<ReceiptFault>, ClientError> {
        match self.call.take() {
            Some(call) => self
                .channel
                .charge(call, charged, cumulative, receipt, self.price),
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
            if self.sent {
                // It may be on the chain all the same: look before the next signature.
                self.channel.mark_stale();
            }
            self.channel
                .change(|payer| payer.on_deposit_failed(deposit.plan));
        }
        if let Some(call) = self.call.take() {
            if self.sent {
                self.channel.lost(call, self.price);
            } else {
                self.channel.change(|payer| payer.on_failed(call));
            }
        }
    }
}
