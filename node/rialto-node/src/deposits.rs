//! Finds the channel of a payment: known, on the chain, or opened by the deposit that came along.
//!
//! A deposit is submitted and confirmed before the work: a deposit that fails after the work would
//! leave it unpaid.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use rialto_chain::client::DepositAuthorization;
use rialto_channels::digest::deposit_nonce;
use rialto_channels::payee::{Reject, WireCode};
use rialto_channels::{Amount, ChannelConfig, OnChainView, VerifiedVoucher};
use rialto_ledger::Entry;

use crate::Node;
use crate::api::{CallError, ChannelPayment, Deposit, PaymentError};
use crate::book::Slot;
use crate::catalog::chain;
use crate::reject::{invalid, refused_on, unavailable};

/// A channel that may be drawn on, and the deposit made for it now.
type Funded = (Arc<Slot>, Option<(B256, Amount)>);

impl Node {
    /// The channel of this payment with a fresh view of the chain, after its deposit if it brings one.
    pub(crate) async fn funded(
        &self,
        payment: &ChannelPayment,
        voucher: &VerifiedVoucher,
        price: Amount,
    ) -> Result<Funded, CallError> {
        let known = self.book().get(payment.channel);
        let Some(deposit) = payment.deposit.clone() else {
            let slot = match known {
                Some(slot) => slot,
                None => {
                    let _place = self.newcomer()?;
                    self.enter(payment).await?
                }
            };
            self.freshen(&slot).await?;
            return Ok((slot, None));
        };
        if known.is_none() {
            // Costs nothing to check, unlike the chain, which strangers must not keep busy.
            self.check_authorization(&deposit)?;
        }
        // A task of its own: a caller that goes away must not leave a deposit unaccounted for.
        let (node, place) = (self.clone(), self.newcomer()?);
        let (payment, ceiling) = (payment.clone(), voucher.ceiling());
        let made = tokio::spawn(async move {
            let _place = place;
            let slot = match known {
                Some(slot) => slot,
                None => node.enter(&payment).await?,
            };
            let made = node
                .deposit(&slot, &payment.config, &deposit, ceiling, price)
                .await;
            if made.is_err() {
                node.book().forget_unfunded(&slot);
            }
            Ok((slot, made?))
        });
        made.await
            .map_err(|error| unavailable("the deposit", error))?
    }

    /// Reads the channel from the chain if its last view is too old, once for all calls that wait.
    async fn freshen(&self, slot: &Slot) -> Result<(), CallError> {
        if !slot.lock().needs_view(self.now()) {
            return Ok(());
        }
        let _order = slot.on_chain.lock().await;
        if slot.lock().needs_view(self.now()) {
            self.refresh_in_order(slot).await?;
        }
        Ok(())
    }

    /// Reads the channel from the chain and takes note of it, durably if anything changed.
    pub(crate) async fn refresh(&self, slot: &Slot) -> Result<(), CallError> {
        let _order = slot.on_chain.lock().await;
        self.refresh_in_order(slot).await
    }

    /// As [`refresh`](Self::refresh), for callers that hold the channel's place on the chain.
    pub(crate) async fn refresh_in_order(&self, slot: &Slot) -> Result<(), CallError> {
        let config = slot.lock().state().config;
        let view = self.read(&config).await?;
        let durable = {
            let mut channel = slot.lock();
            if !channel.on_chain_view(&view) {
                return Ok(());
            }
            let entry = Entry::Channel(channel.snapshot());
            self.ledger()
                .enqueue(entry)
                .map_err(|error| unavailable("the ledger", error))?
        };
        durable
            .await
            .map_err(|error| unavailable("the ledger", error))
    }

    async fn enter(&self, payment: &ChannelPayment) -> Result<Arc<Slot>, CallError> {
        let view = self.read(&payment.config).await?;
        if view.balance.is_zero() && payment.deposit.is_none() {
            return Err(invalid(
                WireCode::MissingChannel,
                "this channel holds no money: send a deposit first",
            )
            .into());
        }
        Ok(self.book().enter(payment.config, &view)?)
    }

    async fn read(&self, config: &ChannelConfig) -> Result<OnChainView, CallError> {
        // Taken before the read: a view may be newer than it says, never older.
        let asked_at = self.now();
        let mut view = self
            .chain_client()
            .channel(config)
            .await
            .map_err(|error| unavailable("the chain", error))?;
        if self.dev_chain_address().is_some() {
            // A development chain makes blocks only for transactions: its newest block may be old
            // and still be the truth. A public chain's newest block is its word on how far it is.
            view.read_at = view.read_at.max(asked_at);
        }
        Ok(view)
    }

    async fn deposit(
        &self,
        slot: &Slot,
        config: &ChannelConfig,
        deposit: &Deposit,
        ceiling: Amount,
        price: Amount,
    ) -> Result<Option<(B256, Amount)>, CallError> {
        let _order = slot.on_chain.lock().await;
        self.refresh_in_order(slot).await?;
        self.check_deposit(slot, deposit, ceiling, price)?;
        let authorization = DepositAuthorization {
            valid_after: deposit.valid_after,
            valid_before: deposit.valid_before,
            salt: deposit.salt.into(),
            signature: deposit.signature.to_vec(),
        };
        let client = self.chain_client();
        let nonce = deposit_nonce(&slot.id, authorization.salt);
        let used = client.authorization_used(config.payer, nonce).await;
        if used.map_err(|error| unavailable("the chain", error))? {
            // The payer repeats a payment whose deposit went through before: draw on it.
            return Ok(None);
        }
        let deposited = client
            .deposit(config, deposit.amount, &authorization)
            .await
            .map_err(|error| {
                if error.revert().is_some() {
                    let code = WireCode::DepositSimulationFailed;
                    PaymentError::Settlement {
                        code: code.as_str(),
                        message: chain(&error),
                    }
                    .into()
                } else {
                    unavailable("the chain", error)
                }
            })?;
        for _ in 0..LAGS_MAX {
            self.refresh_in_order(slot).await?;
            if slot.lock().state().balance >= deposited.balance {
                break;
            }
            // The endpoint that answered is behind the one that confirmed.
            tokio::time::sleep(LAG).await;
        }
        Ok(Some((deposited.transaction, deposit.amount)))
    }

    /// Everything that can be known of a deposit before gas is spent on it.
    fn check_deposit(
        &self,
        slot: &Slot,
        deposit: &Deposit,
        ceiling: Amount,
        price: Amount,
    ) -> Result<(), PaymentError> {
        self.check_count(slot, deposit, ceiling, price)?;
        self.check_authorization(deposit)
    }

    /// What can be known of a deposit without its channel.
    fn check_authorization(&self, deposit: &Deposit) -> Result<(), PaymentError> {
        let minimum = self.config().payments.deposit_min;
        if deposit.amount < minimum {
            return Err(invalid(
                WireCode::DepositBelowMinimum,
                format!(
                    "a deposit of {} is below the smallest accepted, {minimum}",
                    deposit.amount
                ),
            ));
        }
        let now = self.now().get();
        if deposit.valid_after > now {
            return Err(invalid(
                WireCode::AuthorizationValidAfter,
                "the deposit's authorization is not valid yet",
            ));
        }
        if deposit.valid_before <= now.saturating_add(DEPOSIT_SECONDS) {
            return Err(invalid(
                WireCode::AuthorizationValidBefore,
                "the deposit's authorization expires too soon",
            ));
        }
        Ok(())
    }

    /// The voucher must fit what the channel will hold. A payer that lost its count is told ours
    /// before it deposits once more into a channel that has money.
    fn check_count(
        &self,
        slot: &Slot,
        deposit: &Deposit,
        ceiling: Amount,
        price: Amount,
    ) -> Result<(), PaymentError> {
        let channel = slot.lock();
        let (charged, in_flight) = (channel.state().charged, channel.in_flight());
        let overflow = |_| invalid(WireCode::CumulativeExceedsBalance, "the amounts overflow");
        let promised = charged
            .checked_add(in_flight)
            .and_then(|sum| sum.checked_add(price))
            .map_err(overflow)?;
        if ceiling < promised {
            let reject = Reject::CumulativeMismatch {
                charged,
                in_flight,
                price,
                ceiling,
            };
            return Err(refused_on(&channel, &reject));
        }
        let balance = channel
            .state()
            .balance
            .checked_add(deposit.amount)
            .map_err(overflow)?;
        if ceiling > balance {
            return Err(invalid(
                WireCode::CumulativeExceedsBalance,
                format!(
                    "a ceiling of {ceiling} is above the balance of {balance} that the deposit would give"
                ),
            ));
        }
        Ok(())
    }
}

/// How often a confirmed deposit is looked for in a view, and the pause between two looks.
const LAGS_MAX: u32 = 5;
const LAG: Duration = Duration::from_millis(500);
/// A transaction takes this long to be included on a slow day.
const DEPOSIT_SECONDS: u64 = 6;
