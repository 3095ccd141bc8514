//! The payer asks for its unspent balance: claim what it owes, wait until that is for good, refund
//! the rest.
//!
//! Until the refund's own transaction nothing needs to be durable: after a crash the payer asks
//! again. Not here: which refunds are agreed to (`rialto-channels`), and refunds whose outcome is
//! unknown (`resolve`).

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use rialto_chain::client::{ChainError, Refunded};
use rialto_channels::payee::{Refund, WireCode};
use rialto_channels::{Amount, ChainTime, ClaimRow, VerifiedVoucher};
use tokio::time::Instant;
use tracing::Instrument as _;

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
        let refunding = async move {
            let _place = place;
            node.refund_in_order(slot, voucher, request.amount).await
        };
        let task = tokio::spawn(refunding.in_current_span());
        // Deep claims take long. The channel is busy meanwhile, so asking again pays nothing twice.
        let patience = self.chain_client().confirm_within().saturating_mul(2);
        match tokio::time::timeout(patience, task).await {
            Ok(done) => done.map_err(|error| unavailable("the refund", error))?,
            Err(_) => Err(unavailable("the refund", UnderWay)),
        }
    }

    async fn refund_in_order(
        &self,
        slot: Arc<Slot>,
        voucher: VerifiedVoucher,
        asked: Option<Amount>,
    ) -> Result<RefundOutcome, CallError> {
        // Each costs this host two transactions and its payer nothing.
        let favour = self.refunds_made().begin(slot.id)?;
        let refund = self.begin_refund(&slot, &voucher, asked).await?;
        favour.spend();
        let keeper = self.pending().refund(slot.id);
        // Not in the channel's place on the chain, which others need meanwhile.
        let secured = self.secure_claims(&slot, &refund).await;
        let _order = slot.on_chain.lock().await;
        let paid = match secured {
            Ok(()) => self.pay_refund(&slot, &refund, &keeper).await,
            Err(error) => Err(Unpaid::Refused(error)),
        };
        let confirmed_at = match &paid {
            Ok(refunded) => Some(self.shown_from(refunded.transaction).await),
            Err(_) => None,
        };
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

    async fn begin_refund(
        &self,
        slot: &Slot,
        voucher: &VerifiedVoucher,
        asked: Option<Amount>,
    ) -> Result<Refund, CallError> {
        let _order = slot.on_chain.lock().await;
        self.refresh_in_order(slot).await?;
        let now = self.now();
        let begun = self.change(slot, |channel| {
            channel
                .begin_refund(voucher, asked, now)
                .map_err(|reject| refused_on(channel, &reject))
        });
        Ok(begun.await??)
    }

    /// Claims what is owed, and waits until no reorganisation takes back more of it than the
    /// operator risks: a withdrawal that ends meanwhile would let the refund take it
    /// ([`Refund::claim`]). A claim that vanishes is made again.
    ///
    /// # Errors
    /// [`CallError::Payment`] if the chain refuses the claim; [`CallError::Unavailable`] if it does
    /// not answer, or takes too long.
    async fn secure_claims(&self, slot: &Slot, refund: &Refund) -> Result<(), CallError> {
        let client = self.chain_client();
        let (began, patience) = (Instant::now(), client.deep_within(refund.owed));
        // An endpoint that is behind the one that confirmed does not show the claim at once.
        let mut missing = LAGS_MAX;
        loop {
            let order = slot.on_chain.lock().await;
            let claims = client.claims(&refund.config).await.map_err(failed)?;
            if claims.deep >= refund.owed {
                return Ok(());
            }
            missing = if claims.newest < refund.owed {
                missing.saturating_add(1)
            } else {
                0
            };
            if missing > LAGS_MAX {
                self.refresh_in_order(slot).await?;
                let row = slot.lock().claimable();
                if let Some(row) = row.or(refund.claim) {
                    self.claim_before_refund(&row).await?;
                }
                missing = 0;
                continue;
            }
            drop(order);
            if began.elapsed() >= patience {
                return Err(unavailable("the refund", Shallow { waited: patience }));
            }
            tokio::select! {
                () = self.stopping() => return Err(unavailable("the refund", Stopping)),
                () = tokio::time::sleep(LAG) => {}
            }
        }
    }

    /// Sends the refund. What is owed is claimed for good.
    async fn pay_refund(
        &self,
        slot: &Slot,
        refund: &Refund,
        keeper: &RefundKeeper,
    ) -> Result<Refunded, Unpaid> {
        // Time has passed since it was agreed.
        let still = async {
            self.refresh_in_order(slot).await?;
            self.change(slot, |channel| channel.still_refunds(refund))
                .await
        };
        if !still.await.map_err(Unpaid::Refused)? {
            let message = "the channel does not hold the refund any more: see its state";
            return Err(Unpaid::Refused(refused(message.to_owned())));
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

    /// From which block time on a view shows what a transaction did. Not the machine's time, which may
    /// be ahead of a chain that has no newer block for long.
    pub(crate) async fn shown_from(&self, transaction: B256) -> ChainTime {
        match self.chain_client().mined_at(transaction).await {
            Ok(Some(at)) => at,
            Ok(None) | Err(_) => self.now(),
        }
    }

    async fn claim_before_refund(&self, row: &ClaimRow) -> Result<(), CallError> {
        let (claimed, _) = self.claim_rows(std::slice::from_ref(row), failed).await?;
        match claimed.dropped.first() {
            Some(dropped) => {
                let message = format!("what is owed cannot be claimed: {}", dropped.reason);
                Err(refused(message))
            }
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

/// The caller does not wait any longer, and the refund goes on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "the refund waits for its claim to lie deep enough and then is paid once: look at the channel, or ask again later"
)]
struct UnderWay;

/// The claim that a refund relies on does not lie deep enough in time. Nothing was refunded.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("what is owed was claimed, and does not lie under enough blocks after {} s", waited.as_secs())]
struct Shallow {
    waited: Duration,
}

/// The node stops. Nothing was refunded.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this host stops before the refund was sent: ask again")]
struct Stopping;

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

/// How often in a row a claim may be missing from the chain before it is made again, and the pause
/// between two looks.
const LAGS_MAX: u32 = 5;
const LAG: Duration = Duration::from_millis(500);
