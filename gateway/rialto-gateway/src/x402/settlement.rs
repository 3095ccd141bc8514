//! What came of a payment: `PAYMENT-RESPONSE`, and the states that let a payer catch up.
//!
//! A payer counts its own charges: it adds `chargedAmount` to what it knew, and ignores the answer
//! when `chargedCumulativeAmount` disagrees, so that a payer behind once would fall further behind
//! with every answer. The cumulative figure is left out whenever calls overlap: while others are
//! in flight, and when the payer signed before it knew of all earlier charges.

use rialto_channels::Amount;
use rialto_node::{CallOutcome, ChannelView, RefundOutcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Network;
use super::offer::checksummed;

/// The content of `PAYMENT-RESPONSE`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// Whether the payment was taken.
    pub success: bool,
    /// A stable code, when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The transaction, or nothing for a voucher.
    pub transaction: String,
    /// CAIP-2.
    pub network: String,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// What the transaction moved, in token base units; empty for a voucher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// The scheme's own content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<SettlementExtra>,
    /// What extensions add, such as a signed receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Map<String, Value>>,
}

/// What a channel's settlement adds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementExtra {
    /// What this call cost, in token base units; absent for a refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged_amount: Option<String>,
    /// The channel afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_state: Option<ChannelState>,
    /// Anything else, kept as it came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A channel as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    /// The channel.
    pub channel_id: String,
    /// On the chain, in token base units.
    pub balance: String,
    /// On the chain, in token base units.
    pub total_claimed: String,
    /// When a withdrawal was started, by the chain's clock; 0 for none.
    pub withdraw_requested_at: u64,
    /// The next refund's nonce.
    pub refund_nonce: String,
    /// Charged so far; absent while calls overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged_cumulative_amount: Option<String>,
}

/// The highest ceiling that the payer signed, by its own signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoucherState {
    /// The ceiling, in token base units.
    pub signed_max_claimable: String,
    /// The payer's signature of it.
    pub signature: String,
}

impl Settlement {
    /// The settlement of an answered call. `known` is what the payer knew to be charged when it
    /// signed, in token base units.
    #[must_use]
    pub fn of_call(outcome: &CallOutcome, known: Amount, network: Network) -> Self {
        let (transaction, amount) = match &outcome.transaction {
            Some((hash, amount)) => (hash.to_string(), amount.to_string()),
            None => (String::new(), String::new()),
        };
        let extra = outcome.channel.as_ref().map(|channel| SettlementExtra {
            charged_amount: Some(outcome.charged.to_string()),
            channel_state: Some(ChannelState::of_call(channel, outcome.charged, known)),
            other: Map::new(),
        });
        Self {
            success: true,
            error_reason: None,
            error_message: None,
            transaction,
            network: network.to_string(),
            payer: outcome.payer.map(checksummed),
            amount: Some(amount),
            extra,
            extensions: None,
        }
    }

    /// The settlement of a call that failed after its deposit was confirmed: the deposit counts,
    /// the call costs nothing (M3). `known` is as in [`of_call`](Self::of_call).
    #[must_use]
    pub fn of_deposit_alone(
        channel: &ChannelView,
        deposited: Amount,
        known: Amount,
        network: Network,
    ) -> Self {
        Self {
            success: true,
            error_reason: None,
            error_message: None,
            transaction: String::new(),
            network: network.to_string(),
            payer: Some(checksummed(channel.config.payer)),
            amount: Some(deposited.to_string()),
            extra: Some(SettlementExtra {
                charged_amount: Some(Amount::ZERO.to_string()),
                channel_state: Some(ChannelState::of_call(channel, Amount::ZERO, known)),
                other: Map::new(),
            }),
            extensions: None,
        }
    }

    /// The settlement of a refund.
    #[must_use]
    pub fn of_refund(outcome: &RefundOutcome, network: Network) -> Self {
        Self {
            success: true,
            error_reason: None,
            error_message: None,
            transaction: outcome.transaction.to_string(),
            network: network.to_string(),
            payer: Some(checksummed(outcome.channel.config.payer)),
            amount: Some(outcome.amount.to_string()),
            extra: Some(SettlementExtra {
                charged_amount: None,
                channel_state: Some(ChannelState::new(&outcome.channel)),
                other: Map::new(),
            }),
            extensions: None,
        }
    }

    /// A payment that the chain refused.
    #[must_use]
    pub fn refused(code: &str, message: &str, network: Network) -> Self {
        Self {
            success: false,
            error_reason: Some(code.to_owned()),
            error_message: Some(message.to_owned()),
            transaction: String::new(),
            network: network.to_string(),
            payer: None,
            amount: None,
            extra: None,
            extensions: None,
        }
    }
}

impl ChannelState {
    /// The whole state: for a payer that is behind.
    #[must_use]
    pub fn new(channel: &ChannelView) -> Self {
        let requested_at = channel.withdrawal_finalizes_at.map_or(0, |at| {
            at.get().saturating_sub(channel.config.withdraw_delay)
        });
        Self {
            channel_id: channel.id.to_string(),
            balance: channel.balance.to_string(),
            total_claimed: channel.claimed.to_string(),
            withdraw_requested_at: requested_at,
            refund_nonce: channel.refund_nonce.to_string(),
            charged_cumulative_amount: Some(channel.charged.to_string()),
        }
    }

    /// The state after a call that cost `charged`, for a payer that knew of `known` when it
    /// signed; without the cumulative charge if other calls overlapped with this one.
    #[must_use]
    pub fn of_call(channel: &ChannelView, charged: Amount, known: Amount) -> Self {
        let mut state = Self::new(channel);
        let knew_all = known
            .checked_add(charged)
            .is_ok_and(|sum| sum >= channel.charged);
        if !channel.in_flight.is_zero() || !knew_all {
            state.charged_cumulative_amount = None;
        }
        state
    }
}

impl VoucherState {
    /// What the payer signed, if it signed anything yet.
    #[must_use]
    pub fn new(channel: &ChannelView) -> Option<Self> {
        channel.ceiling.map(|(ceiling, signature)| Self {
            signed_max_claimable: ceiling.to_string(),
            signature: signature.to_hex(),
        })
    }
}
