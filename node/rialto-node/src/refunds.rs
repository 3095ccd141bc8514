//! The payer asks for its unspent balance: claim what it owes, refund the rest.

use std::sync::Arc;

use rialto_chain::client::{ChainError, Refunded};
use rialto_channels::payee::{Refund, WireCode};
use rialto_channels::{Amount, ClaimRow, VerifiedVoucher};

use crate::Node;
use crate::api::{CallError, PaymentError, RefundOutcome, RefundRequest};
use crate::book::Slot;
use crate::catalog::chain;
use crate::pending::{Kind, RefundKeeper};
use crate::reject::{bad_signature, invalid, refused_on, unavailable};

impl Node {
    /// Refunds a channel's unspent balance to its payer.
    ///
    /// # Errors
    /// [`CallError::Payment`] when the request is not the payer's or nothing is left;
    /// [`CallError::Unavailable`] when the chain cannot be reached.
    pub async fn refund(&self, request: RefundRequest) -> Result<RefundOutcome, CallError> {
        self.book().check(&request.config, request.channel)?;
        let slot = self
            .known(request.channel)
            .await?
            .ok_or_else(|| invalid(WireCode::MissingChannel, "no such channel is known here"))?;
        let voucher = request
            .voucher
            .verify(self.book().domain(), request.config.payer_authorizer)
            .map_err(|error| bad_signature(&error))?;
        // A task of its own: once begun, it is carried through whether or not the caller waits.
        let (node, place) = (self.clone(), self.newcomer()?);
        let task = tokio::spawn(async move {
            let _place = place;
            node.refund_in_order(slot, voucher, request.amount).await
        });
        task.await
            .map_err(|error| unavailable("the refund", error))?
    }

    async fn refund_in_order(
        &self,
        slot: Arc<Slot>,
        voucher: VerifiedVoucher,
        asked: Option<Amount>,
    ) -> Result<RefundOutcome, CallError> {
        let _order = slot.on_chain.lock().await;
        self.refresh_in_order(&slot).await?;
        let now = self.now();
        let begun = self.change(&slot, |channel| {
            channel
                .begin_refund(&voucher, asked, now)
                .map_err(|reject| refused_on(channel, &reject))
        });
        let refund = begun.await??;
        let keeper = self.pending().refund(slot.id);
        let paid = self.pay_refund(&slot, &refund, &keeper).await;
        let confirmed_at = paid.is_ok().then(|| self.now());
        let refunded = match paid {
            Err(Unpaid::Unknown(error)) => {
                // It may be mined yet and take what later calls would be charged: the channel
                // takes no more until it is found out what became of it.
                tracing::error!(channel = %slot.id, error = %chain(&error), "a refund was not confirmed; its channel stays closed until it is looked into");
                return Err(error);
            }
            Err(Unpaid::Refused(error)) => {
                self.change(&slot, |channel| channel.end_refund(refund.clone(), None))
                    .await?;
                keeper.over();
                return Err(error);
            }
            Ok(refunded) => {
                self.change(&slot, |channel| {
                    channel.end_refund(refund.clone(), confirmed_at);
                })
                .await?;
                refunded
            }
        };
        let Refunded {
            transaction,
            amount,
        } = refunded;
        self.record(Kind::Refunded, transaction, amount).await?;
        keeper.over();
        self.refresh_in_order(&slot).await?;
        Ok(RefundOutcome {
            transaction,
            amount,
            channel: slot.view(),
        })
    }

    /// Claims first, so that the refund cannot take what is owed.
    async fn pay_refund(
        &self,
        slot: &Slot,
        refund: &Refund,
        keeper: &RefundKeeper,
    ) -> Result<Refunded, Unpaid> {
        if let Some(row) = &refund.claim {
            self.claim_before_refund(slot, row)
                .await
                .map_err(Unpaid::Refused)?;
        }
        let client = self.chain_client();
        let refunded = client.refund(&refund.config, refund.amount, Some(keeper));
        let refunded = refunded.await;
        refunded.map_err(|error| {
            if matches!(error, ChainError::Dropped { .. }) {
                Unpaid::Unknown(unavailable("the chain", error))
            } else {
                Unpaid::Refused(failed(error))
            }
        })
    }

    async fn claim_before_refund(&self, slot: &Slot, row: &ClaimRow) -> Result<(), CallError> {
        let before = slot.lock().state().claimed;
        let client = self.chain_client();
        let claimed = client.claim(std::slice::from_ref(row)).await;
        let claimed = claimed.map_err(failed)?;
        if let Some(dropped) = claimed.dropped.first() {
            let message = format!("what is owed cannot be claimed: {}", dropped.reason);
            return Err(refused(message));
        }
        let amount = row.total_claimed.checked_sub(before).unwrap_or_default();
        match claimed.transactions.first() {
            Some(transaction) => self.record(Kind::Claimed, *transaction, amount).await,
            None => Ok(()),
        }
    }

    /// The amount that a refund could pay now.
    pub fn refundable(&self, channel: rialto_channels::ChannelId) -> Option<Amount> {
        self.book()
            .get(channel)
            .map(|slot| slot.lock().refundable())
    }
}

/// Why a refund is not known to be paid.
enum Unpaid {
    /// Certainly not paid.
    Refused(CallError),
    /// Sent, and perhaps paid later.
    Unknown(CallError),
}

fn failed(error: ChainError) -> CallError {
    if error.revert().is_some() {
        refused(chain(&error))
    } else {
        unavailable("the chain", error)
    }
}

fn refused(message: String) -> CallError {
    let code = WireCode::RefundTransactionFailed.as_str();
    PaymentError::Settlement { code, message }.into()
}
