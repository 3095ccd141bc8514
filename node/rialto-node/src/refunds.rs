//! The payer asks for its unspent balance: claim what it owes, refund the rest.

use std::sync::Arc;

use alloy_primitives::B256;
use rialto_channels::Amount;
use rialto_channels::payee::{Refund, WireCode};
use rialto_ledger::Entry;

use crate::Node;
use crate::api::{CallError, PaymentError, RefundOutcome, RefundRequest};
use crate::book::Slot;
use crate::catalog::chain;
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
            .book()
            .get(request.channel)
            .ok_or_else(|| invalid(WireCode::MissingChannel, "no such channel is known here"))?;
        // A task of its own: once begun, it is carried through whether or not the caller waits.
        let node = self.clone();
        let task = tokio::spawn(async move { node.refund_in_order(slot, request).await });
        task.await
            .map_err(|error| unavailable("the refund", error))?
    }

    async fn refund_in_order(
        &self,
        slot: Arc<Slot>,
        request: RefundRequest,
    ) -> Result<RefundOutcome, CallError> {
        let voucher = request
            .voucher
            .verify(self.book().domain(), request.config.payer_authorizer)
            .map_err(|error| bad_signature(&error))?;
        let _order = slot.on_chain.lock().await;
        self.refresh_in_order(&slot).await?;
        let refund = {
            let mut channel = slot.lock();
            channel
                .begin_refund(&voucher, request.amount, self.now())
                .map_err(|reject| refused_on(&channel, &reject))?
        };
        let amount = refund.amount;
        let paid = self.pay_refund(&refund).await;
        let confirmed_at = paid.is_ok().then(|| self.now());
        slot.lock().end_refund(refund, confirmed_at);
        let transaction = paid?;
        self.record(Entry::Refunded, transaction, amount).await?;
        self.refresh_in_order(&slot).await?;
        Ok(RefundOutcome {
            transaction,
            amount,
            channel: slot.view(),
        })
    }

    /// Claims first, so that the refund cannot take what is owed.
    async fn pay_refund(&self, refund: &Refund) -> Result<B256, CallError> {
        let client = self.chain_client();
        let failed = |error: rialto_chain::client::ChainError| -> CallError {
            if error.revert().is_some() {
                let code = WireCode::RefundTransactionFailed.as_str();
                PaymentError::Settlement {
                    code,
                    message: chain(&error),
                }
                .into()
            } else {
                unavailable("the chain", error)
            }
        };
        if let Some(row) = &refund.claim {
            let before = self
                .book()
                .get(row.voucher.voucher.channel)
                .map(|slot| slot.lock().state().claimed);
            let claimed = client
                .claim(std::slice::from_ref(row))
                .await
                .map_err(failed)?;
            let amount = row
                .total_claimed
                .checked_sub(before.unwrap_or_default())
                .unwrap_or_default();
            if let Some(transaction) = claimed.transactions.first() {
                self.record(Entry::Claimed, *transaction, amount).await?;
            }
        }
        let refunded = client
            .refund(&refund.config, refund.amount)
            .await
            .map_err(failed)?;
        Ok(refunded.transaction)
    }

    /// The amount that a refund could pay now.
    pub fn refundable(&self, channel: rialto_channels::ChannelId) -> Option<Amount> {
        self.book()
            .get(channel)
            .map(|slot| slot.lock().refundable())
    }
}
