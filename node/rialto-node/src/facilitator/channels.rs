//! Other servers' channels: vouchers and deposits of their payers, and the servers' own claims,
//! settlements and refunds. What is checked is what the scheme's published facilitator checks.

use alloy_primitives::Address;
use rialto_chain::client::{SignedClaims, SignedRefund};
use rialto_channels::payee::WireCode;
use rialto_channels::{Amount, ChannelConfig};

use crate::Node;
use crate::api::{ChannelPayment, Deposit};
use crate::reject::{bad_signature, invalid};

use super::{
    ChannelOnChain, Facilitation, FacilitatorError, Verified, Wanted, from_chain, not_settleable,
    refused,
};

impl Node {
    /// Whether a voucher, and the deposit that came with it, is good for the server that wants it.
    pub(super) async fn verify_channel(
        &self,
        wanted: &Wanted,
        payment: &ChannelPayment,
        is_refund: bool,
    ) -> Result<Verified, FacilitatorError> {
        let payer = payment.config.payer;
        let channel = self.check_channel(wanted, payment, is_refund).await;
        Ok(Verified {
            payer,
            channel: Some(channel.map_err(|error| error.of(payer))?),
        })
    }

    async fn check_channel(
        &self,
        wanted: &Wanted,
        payment: &ChannelPayment,
        is_refund: bool,
    ) -> Result<ChannelOnChain, FacilitatorError> {
        self.check_terms(wanted, payment)?;
        let voucher = payment
            .voucher
            .verify(self.book().domain(), payment.config.payer_authorizer)
            .map_err(|error| bad_signature(&error))?;
        let channel = self.on_chain(&payment.config).await?;
        let deposited = match &payment.deposit {
            Some(deposit) => deposit.amount,
            None if channel.view.balance.is_zero() => {
                let message = "this channel holds no money: send a deposit first";
                return Err(refused(CHANNEL_NOT_FOUND, message));
            }
            None => Amount::ZERO,
        };
        let (ceiling, claimed) = (voucher.ceiling(), channel.view.claimed);
        let balance = channel.view.balance.checked_add(deposited);
        if !balance.is_ok_and(|balance| ceiling <= balance) {
            let message = format!("a ceiling of {ceiling} is above the channel's balance");
            return Err(invalid(WireCode::CumulativeExceedsBalance, message).into());
        }
        if ceiling < claimed || (ceiling == claimed && !is_refund) {
            let message = format!("a ceiling of {ceiling} is not above the {claimed} claimed");
            return Err(invalid(WireCode::CumulativeBelowClaimed, message).into());
        }
        if let Some(deposit) = &payment.deposit {
            self.check_new_deposit(&payment.config, deposit).await?;
        }
        Ok(channel)
    }

    /// The channel is the one that the server wants.
    fn check_terms(
        &self,
        wanted: &Wanted,
        payment: &ChannelPayment,
    ) -> Result<(), FacilitatorError> {
        let config = &payment.config;
        let id = config.id(self.book().domain());
        let authorizer = wanted.receiver_authorizer.filter(|a| !a.is_zero());
        let delay = wanted.withdraw_delay.unwrap_or(config.withdraw_delay);
        let rules = [
            (
                config.delay_in_range(),
                WireCode::WithdrawDelayOutOfRange,
                "withdrawDelay is outside 900 to 2592000",
            ),
            (
                id == payment.channel && id == payment.voucher.voucher.channel,
                WireCode::ChannelIdMismatch,
                "the channel's id is not that of its terms",
            ),
            (
                config.receiver == wanted.pay_to,
                WireCode::ReceiverMismatch,
                "the channel pays another receiver",
            ),
            (
                authorizer == Some(config.receiver_authorizer),
                WireCode::ReceiverAuthorizerMismatch,
                "the channel has another receiverAuthorizer, or the requirements name none",
            ),
            (
                config.token == wanted.asset,
                WireCode::TokenMismatch,
                "the channel is in another token",
            ),
            (
                config.withdraw_delay == delay,
                WireCode::WithdrawDelayMismatch,
                "the channel has another withdrawDelay",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, code, message)) => Err(invalid(code, message).into()),
            None => Ok(()),
        }
    }

    /// Whether the deposit could be made now.
    async fn check_new_deposit(
        &self,
        config: &ChannelConfig,
        deposit: &Deposit,
    ) -> Result<(), FacilitatorError> {
        self.0.facilitator.check_amount(deposit.amount)?;
        self.check_deposit_time(deposit)?;
        let client = self.chain_client();
        let held = client.token_balance(config.payer).await;
        let held = held.map_err(|error| from_chain(error, RPC_READ_FAILED))?;
        if held < deposit.amount {
            let message = format!("the payer holds {held}, the deposit is {}", deposit.amount);
            return Err(refused(INSUFFICIENT_BALANCE, message));
        }
        client
            .simulate_deposit(config, deposit.amount, &deposit.consent)
            .await
            .map_err(|error| from_chain(error, WireCode::DepositSimulationFailed.as_str()))
    }

    /// Makes the deposit that came with a voucher.
    pub(super) async fn settle_deposit(
        &self,
        wanted: &Wanted,
        payment: &ChannelPayment,
    ) -> Result<Facilitation, FacilitatorError> {
        let Some(deposit) = &payment.deposit else {
            let message = "a voucher is not settled: collect vouchers and send a `claim`";
            return Err(refused(WireCode::PayloadType.as_str(), message));
        };
        let config = &payment.config;
        let _turn = self.turns().take(payment.channel.0.0).await;
        self.verify_channel(wanted, payment, false).await?;
        let deposited = self
            .chain_client()
            .deposit(config, deposit.amount, &deposit.consent)
            .await
            .map_err(|error| {
                from_chain(error, WireCode::DepositTransactionFailed.as_str()).of(config.payer)
            })?;
        let mut channel = self.on_chain(config).await?;
        // An endpoint that lags behind the one that confirmed knows less than we do.
        channel.view.balance = channel.view.balance.max(deposited.balance);
        Ok(Facilitation {
            transaction: deposited.transaction,
            payer: Some(config.payer),
            amount: Some(deposit.amount),
            channel: Some(channel),
        })
    }

    /// Submits a server's claims.
    pub(super) async fn settle_claims(
        &self,
        claims: &SignedClaims,
    ) -> Result<Facilitation, FacilitatorError> {
        let Some(first) = claims.rows.first() else {
            return Err(refused(
                CLAIM_SIMULATION_FAILED,
                "there is nothing to claim",
            ));
        };
        let receiver = first.config.receiver;
        let mut gained = Amount::ZERO;
        for row in &claims.rows {
            let claimed = self.on_chain(&row.config).await?.view.claimed;
            let gain = row.total_claimed.saturating_sub(claimed);
            // Only compared with a minimum, so the largest amount stands for all above it.
            gained = gained.checked_add(gain).unwrap_or(Amount::MAX);
        }
        self.0.facilitator.check_amount(gained)?;
        if gained.is_zero() {
            let message = "everything in these rows is claimed already";
            return Err(refused(CLAIM_SIMULATION_FAILED, message));
        }
        let transaction = self
            .chain_client()
            .claim_signed(claims)
            .await
            .map_err(|error| from_chain(error, CLAIM_SIMULATION_FAILED))?;
        tracing::info!(%transaction, %receiver, rows = claims.rows.len(), "claimed for another server");
        Ok(Facilitation {
            transaction,
            payer: None,
            amount: None,
            channel: None,
        })
    }

    /// Pays out what was claimed for a server.
    pub(super) async fn settle_receiver(
        &self,
        receiver: Address,
        token: Address,
    ) -> Result<Facilitation, FacilitatorError> {
        let client = self.chain_client();
        let due = client.unsettled(receiver, token).await;
        let due = due.map_err(|error| from_chain(error, RPC_READ_FAILED))?;
        let nothing = || {
            refused(
                NOTHING_TO_SETTLE,
                "nothing to settle for receiver and token",
            )
        };
        if due.is_zero() {
            return Err(nothing());
        }
        self.0.facilitator.check_amount(due)?;
        let settled = client
            .settle(receiver, token)
            .await
            .map_err(|error| from_chain(error, SETTLE_TRANSACTION_FAILED))?;
        Ok(Facilitation {
            transaction: settled.transaction.ok_or_else(nothing)?,
            payer: None,
            amount: Some(settled.amount),
            channel: None,
        })
    }

    /// Refunds a server's payer.
    pub(super) async fn settle_refund(
        &self,
        refund: &SignedRefund,
        claims: Option<&SignedClaims>,
    ) -> Result<Facilitation, FacilitatorError> {
        if refund.signature.is_empty() {
            return Err(not_settleable());
        }
        let payer = refund.config.payer;
        let before = self.on_chain(&refund.config).await?;
        let left = before.view.balance.checked_sub(before.view.claimed);
        if refund.amount.is_zero() || left.unwrap_or_default().is_zero() {
            let message = "nothing to refund";
            return Err(
                FacilitatorError::from(invalid(WireCode::RefundNoBalance, message)).of(payer),
            );
        }
        self.0.facilitator.check_amount(refund.amount)?;
        let refunded = self
            .chain_client()
            .refund_signed(refund, claims)
            .await
            .map_err(|error| from_chain(error, REFUND_SIMULATION_FAILED).of(payer))?;
        Ok(Facilitation {
            transaction: refunded.transaction,
            payer: Some(payer),
            amount: Some(refunded.amount),
            channel: Some(self.on_chain(&refund.config).await?),
        })
    }

    async fn on_chain(&self, config: &ChannelConfig) -> Result<ChannelOnChain, FacilitatorError> {
        let view = self.chain_client().channel(config).await;
        Ok(ChannelOnChain {
            id: config.id(self.book().domain()),
            config: *config,
            view: view.map_err(|error| from_chain(error, RPC_READ_FAILED))?,
        })
    }
}

const CHANNEL_NOT_FOUND: &str = "invalid_batch_settlement_evm_channel_not_found";
const INSUFFICIENT_BALANCE: &str = "invalid_batch_settlement_evm_insufficient_balance";
const RPC_READ_FAILED: &str = "invalid_batch_settlement_evm_rpc_read_failed";
const NOTHING_TO_SETTLE: &str = "invalid_batch_settlement_evm_nothing_to_settle";
const CLAIM_SIMULATION_FAILED: &str = "invalid_batch_settlement_evm_claim_simulation_failed";
const SETTLE_TRANSACTION_FAILED: &str = "invalid_batch_settlement_evm_settle_transaction_failed";
const REFUND_SIMULATION_FAILED: &str = "invalid_batch_settlement_evm_refund_simulation_failed";
