//! Finds the channel of a payment: known, on the chain, or opened by the deposit that came along.
//!
//! A deposit is submitted and confirmed before the work: a deposit that fails after the work would
//! leave it unpaid.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use rialto_chain::client::{Deposited, Sight};
use rialto_channels::payee::{Reject, WireCode};
use rialto_channels::{Amount, ChannelConfig, OnChainView, VerifiedVoucher};
use tracing::Instrument as _;

use crate::Node;
use crate::api::{CallError, ChannelPayment, Deposit, PaymentError};
use crate::book::Slot;
use crate::consent::deposit_refused;
use crate::redeposit::Submitted;
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
        let known = self.known(payment.channel).await?;
        if self.pending().is_refunding(payment.channel) {
            // It may still take what this call would be paid with.
            return Err(invalid(
                WireCode::ChannelBusy,
                "a refund of this channel is being looked into: try again in a minute",
            )
            .into());
        }
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
        let making = async move {
            let _place = place;
            let slot = match known {
                Some(slot) => slot,
                None => node.enter(&payment).await?,
            };
            let made = node
                .deposit(Wanted {
                    slot: &slot,
                    config: &payment.config,
                    deposit: &deposit,
                    ceiling,
                    price,
                })
                .await;
            if made.is_err() {
                node.book().forget_unfunded(&slot);
            }
            Ok((slot, made?))
        };
        let made = tokio::spawn(making.in_current_span());
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
        self.sight_in_order(slot).await.map(drop)
    }

    /// As [`refresh_in_order`](Self::refresh_in_order); returns the balance in the newest block,
    /// part of which may not lie deep enough to count.
    async fn sight_in_order(&self, slot: &Slot) -> Result<Amount, CallError> {
        let config = slot.lock().state().config;
        let sight = self.read(&config).await?;
        self.note_view(slot, &sight.view).await?;
        Ok(sight.newest)
    }

    /// Waits until the channel's balance counts up to `ceiling`, as far as the money is there: a
    /// large deposit has to lie under some blocks first.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when that takes too long.
    async fn await_depth(&self, slot: &Slot, ceiling: Amount) -> Result<(), CallError> {
        let patience = self.chain_client().confirm_within();
        let began = tokio::time::Instant::now();
        let mut lags = 0;
        loop {
            // In its place on the chain for each look alone: withdrawals are looked for meanwhile.
            let order = slot.on_chain.lock().await;
            let newest = self.sight_in_order(slot).await?;
            drop(order);
            if slot.lock().state().balance >= ceiling {
                return Ok(());
            }
            if newest < ceiling {
                // The endpoint that answered is behind the one that confirmed.
                lags += 1;
                if lags >= LAGS_MAX {
                    return Ok(());
                }
            } else if began.elapsed() >= patience {
                return Err(unavailable(
                    "the deposit's confirmation",
                    Shallow { waited: patience },
                ));
            }
            tokio::time::sleep(LAG).await;
        }
    }

    async fn enter(&self, payment: &ChannelPayment) -> Result<Arc<Slot>, CallError> {
        let view = self.read(&payment.config).await?.view;
        if view.balance.is_zero() && payment.deposit.is_none() {
            return Err(invalid(
                WireCode::MissingChannel,
                "this channel holds no money: send a deposit first",
            )
            .into());
        }
        self.enter_seen(&payment.config, &view).await
    }

    /// Enters a channel whatever it holds; the book's `forget_unfunded` undoes it.
    pub(crate) async fn enter_unfunded(
        &self,
        config: &ChannelConfig,
    ) -> Result<Arc<Slot>, CallError> {
        let view = self.read(config).await?.view;
        self.enter_seen(config, &view).await
    }

    async fn enter_seen(
        &self,
        config: &ChannelConfig,
        view: &OnChainView,
    ) -> Result<Arc<Slot>, CallError> {
        let slot = self.book().enter(*config, view)?;
        if self.ledger().shared().is_some() {
            self.note_view(&slot, view).await?;
        }
        Ok(slot)
    }

    async fn read(&self, config: &ChannelConfig) -> Result<Sight, CallError> {
        // Taken before the read: a view may be newer than it says, never older.
        let asked_at = self.now();
        let sight = self.chain_client().sight(config).await;
        let mut sight = sight.map_err(|error| unavailable("the chain", error))?;
        self.observe(sight.view.read_at);
        // If this block is taken back, so is what is believed of it.
        self.watch()
            .saw(sight.block, config.id(self.book().domain()));
        if self.dev_chain_address().is_some() {
            // A development chain makes blocks only for transactions: its newest block may be old
            // and still be the truth. A public chain's newest block is its word on how far it is.
            sight.view.read_at = sight.view.read_at.max(asked_at);
        }
        Ok(sight)
    }

    async fn deposit(&self, wanted: Wanted<'_>) -> Result<Option<(B256, Amount)>, CallError> {
        let (slot, ceiling) = (wanted.slot, wanted.ceiling);
        let Some(made) = self.make_deposit(wanted).await? else {
            // The payer repeats a payment whose deposit went through before: draw on it.
            self.await_depth(slot, ceiling).await?;
            return Ok(None);
        };
        self.await_depth(slot, ceiling.min(made.balance)).await?;
        Ok(Some((made.transaction, wanted.deposit.amount)))
    }

    /// Makes a deposit, unless it was made before, and sees to it that it is made again if a
    /// reorganisation takes it away.
    async fn make_deposit(&self, wanted: Wanted<'_>) -> Result<Option<Deposited>, CallError> {
        let Wanted {
            slot,
            config,
            deposit,
            ..
        } = wanted;
        let _order = slot.on_chain.lock().await;
        self.refresh_in_order(slot).await?;
        self.check_deposit(wanted)?;
        let client = self.chain_client();
        if self.consent_used(config.payer, slot.id, deposit).await? {
            return Ok(None);
        }
        self.check_allowance(config.payer, deposit).await?;
        let deposited = client
            .deposit(config, deposit.amount, &deposit.consent)
            .await
            .map_err(|error| deposit_refused(error, deposit))?;
        self.keep_deposit(Submitted {
            channel: slot.id,
            config: *config,
            deposit: deposit.clone(),
            transaction: deposited.transaction,
            block: deposited.block,
        })
        .await?;
        Ok(Some(deposited))
    }

    /// Everything that can be known of a deposit before gas is spent on it.
    fn check_deposit(&self, wanted: Wanted<'_>) -> Result<(), PaymentError> {
        wanted.check_count()?;
        self.check_authorization(wanted.deposit)
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
        self.check_deposit_method(deposit)?;
        self.check_deposit_time(deposit)
    }
}

/// A deposit that travels with a call.
#[derive(Clone, Copy)]
struct Wanted<'d> {
    slot: &'d Slot,
    config: &'d ChannelConfig,
    deposit: &'d Deposit,
    /// Of the call's voucher.
    ceiling: Amount,
    /// Of the call.
    price: Amount,
}

impl Wanted<'_> {
    /// The voucher must fit what the channel will hold. A payer that lost its count is told ours
    /// before it deposits once more into a channel that has money.
    fn check_count(self) -> Result<(), PaymentError> {
        let Self {
            slot,
            deposit,
            ceiling,
            price,
            ..
        } = self;
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

/// A deposit is on the chain, and not under enough blocks for its amount.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the deposit was made, and does not lie under enough blocks after {} s", waited.as_secs())]
struct Shallow {
    waited: Duration,
}

/// How often a confirmed deposit is looked for in a view, and the pause between two looks.
const LAGS_MAX: u32 = 5;
const LAG: Duration = Duration::from_millis(500);
