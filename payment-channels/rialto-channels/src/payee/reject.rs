//! Why a payee refuses a voucher, and the stable wire codes of the refusals.

use std::fmt;

use crate::{Amount, AmountOverflow, ChainTime};

/// Why a voucher, a channel or a refund is refused. Nothing is charged and nothing reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The ceiling does not cover this call: the payer's count differs from ours. It can
    /// resynchronise from a corrective answer.
    #[error(
        "ceiling {ceiling} does not cover {charged} charged, {in_flight} in flight and {price} for this call"
    )]
    CumulativeMismatch {
        /// Charged so far.
        charged: Amount,
        /// Reserved by calls in flight.
        in_flight: Amount,
        /// Price of this call.
        price: Amount,
        /// What the voucher allows.
        ceiling: Amount,
    },
    /// The ceiling is not above what is already claimed on chain.
    #[error("ceiling {ceiling} is not above the {claimed} already claimed")]
    BelowClaimed {
        /// Claimed on chain.
        claimed: Amount,
        /// What the voucher allows.
        ceiling: Amount,
    },
    /// The ceiling is above the channel's balance (M2); a deposit cures it.
    #[error("ceiling {ceiling} is above the balance {balance}")]
    Overdrawn {
        /// Balance on chain.
        balance: Amount,
        /// What the voucher allows.
        ceiling: Amount,
    },
    /// The payer is withdrawing what this call would need.
    #[error("a withdrawal leaves {usable}, and {promised} is needed")]
    Withdrawing {
        /// Balance less the withdrawal.
        usable: Amount,
        /// Charged, in flight and this call.
        promised: Amount,
    },
    /// Our view of the chain is too old to accept money on; read the chain and try again.
    #[error("the chain was last read at {synced_at}, which is too long ago")]
    ViewStale {
        /// Block time of the last view.
        synced_at: ChainTime,
    },
    /// Too many calls in flight on this channel, or a refund under way.
    #[error("the channel is busy")]
    Busy,
    /// Too much is served and not claimed yet, on this channel or over all of its payer's.
    #[error(
        "{exposure} is served and not claimed yet, and {price} more would pass the limit of {limit}: wait for the next claim and try again (a deposit does not help)"
    )]
    Exposed {
        /// Charged and not claimed, and in flight.
        exposure: Amount,
        /// The most that this call may cost.
        price: Amount,
        /// The provider's limit.
        limit: Amount,
    },
    /// The voucher is drawn on another channel.
    #[error("voucher is drawn on another channel")]
    WrongChannel,
    /// The voucher was verified against another key than the channel's.
    #[error("voucher is signed by another key than the channel's")]
    WrongAuthorizer,
    /// The channel names another token.
    #[error("channel pays with another token")]
    WrongToken,
    /// The channel pays someone else.
    #[error("channel pays another receiver")]
    WrongReceiver,
    /// The channel's claims are signed by someone else.
    #[error("channel names another receiver authorizer")]
    WrongReceiverAuthorizer,
    /// Another withdrawal delay than the offer's.
    #[error("channel has another withdrawal delay than the offer")]
    WrongDelay,
    /// A withdrawal delay the contract does not allow.
    #[error("withdrawal delay is outside what the contract allows")]
    DelayOutOfRange,
    /// The channel leaves voucher signing to a contract wallet, which is not supported.
    #[error("channel names no payer authorizer")]
    NoPayerAuthorizer,
    /// Nothing is left to refund.
    #[error("nothing is left to refund")]
    NothingToRefund,
    /// More is asked back than is left, or zero.
    #[error("refund of {asked} is not within 1..={refundable}")]
    RefundAmount {
        /// Asked for.
        asked: Amount,
        /// Balance less everything charged.
        refundable: Amount,
    },
    /// Amounts whose sum leaves `uint128` (M1).
    #[error("amounts overflow")]
    Overflow,
}

impl Reject {
    /// The code of this refusal on the wire.
    #[must_use]
    pub fn wire_code(&self) -> WireCode {
        match self {
            Self::CumulativeMismatch { .. } => WireCode::CumulativeAmountMismatch,
            Self::BelowClaimed { .. } => WireCode::CumulativeBelowClaimed,
            Self::Overdrawn { .. } | Self::Withdrawing { .. } | Self::Overflow => {
                WireCode::CumulativeExceedsBalance
            }
            Self::ViewStale { .. } => WireCode::VerificationStateUnavailable,
            Self::Busy => WireCode::ChannelBusy,
            Self::Exposed { .. } => WireCode::ExposureLimit,
            Self::WrongChannel => WireCode::ChannelIdMismatch,
            Self::WrongAuthorizer | Self::NoPayerAuthorizer => WireCode::VoucherSignature,
            Self::WrongToken => WireCode::TokenMismatch,
            Self::WrongReceiver => WireCode::ReceiverMismatch,
            Self::WrongReceiverAuthorizer => WireCode::ReceiverAuthorizerMismatch,
            Self::WrongDelay => WireCode::WithdrawDelayMismatch,
            Self::DelayOutOfRange => WireCode::WithdrawDelayOutOfRange,
            Self::NothingToRefund => WireCode::RefundNoBalance,
            Self::RefundAmount { .. } => WireCode::RefundAmountInvalid,
        }
    }

    /// Whether the payer can recover by adopting the payee's state (a corrective answer).
    #[must_use]
    pub fn is_corrective(&self) -> bool {
        matches!(
            self,
            Self::CumulativeMismatch { .. } | Self::BelowClaimed { .. }
        )
    }
}

impl From<AmountOverflow> for Reject {
    fn from(_: AmountOverflow) -> Self {
        Self::Overflow
    }
}

/// Refusals as published x402 clients know them. Stable: clients act on these strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireCode {
    /// The payer's cumulative count differs; carries a corrective state.
    CumulativeAmountMismatch,
    /// The ceiling is not above what is claimed; carries a corrective state.
    CumulativeBelowClaimed,
    /// The ceiling is above the balance.
    CumulativeExceedsBalance,
    /// The voucher's signature is missing or wrong.
    VoucherSignature,
    /// The channel id is not that of the channel's terms.
    ChannelIdMismatch,
    /// The channel id is not a 32-byte value.
    ChannelIdInvalid,
    /// Another token.
    TokenMismatch,
    /// Another receiver.
    ReceiverMismatch,
    /// Another receiver authorizer.
    ReceiverAuthorizerMismatch,
    /// Another withdrawal delay.
    WithdrawDelayMismatch,
    /// A delay that the contract refuses.
    WithdrawDelayOutOfRange,
    /// Too much at once.
    ChannelBusy,
    /// Too much is served and not claimed yet: wait, a deposit does not help.
    ExposureLimit,
    /// The chain cannot be read.
    VerificationStateUnavailable,
    /// No such channel.
    MissingChannel,
    /// The deposit is below the offer's minimum.
    DepositBelowMinimum,
    /// The deposit would revert.
    DepositSimulationFailed,
    /// The deposit reverted or was lost.
    DepositTransactionFailed,
    /// The deposit's signature is wrong.
    ReceiveAuthorizationSignature,
    /// The deposit's authorization is not valid yet.
    AuthorizationValidAfter,
    /// The deposit's authorization expires too soon.
    AuthorizationValidBefore,
    /// A deposit by Permit2 where only EIP-3009 is taken.
    Erc3009AuthorizationRequired,
    /// A deposit by EIP-3009 where only Permit2 is taken.
    Permit2AuthorizationRequired,
    /// The Permit2 signature is for another spender than the collector.
    Permit2InvalidSpender,
    /// The Permit2 signature is over another amount than the deposit.
    Permit2AmountMismatch,
    /// The Permit2 signature expires too soon.
    Permit2DeadlineExpired,
    /// The Permit2 signature is wrong.
    Permit2InvalidSignature,
    /// Permit2 may not take that much of the payer's tokens.
    Permit2AllowanceRequired,
    /// The EIP-2612 permit is over another amount than the deposit.
    Eip2612AmountMismatch,
    /// The payload's type is none that is served.
    PayloadType,
    /// The refund request is malformed.
    RefundPayload,
    /// Nothing to refund.
    RefundNoBalance,
    /// A refund outside what is left.
    RefundAmountInvalid,
    /// The refund reverted or was lost.
    RefundTransactionFailed,
}

impl WireCode {
    /// The string on the wire, as `@x402/evm` 2.27.0 spells it; that of
    /// [`WireCode::ExposureLimit`] is ours.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CumulativeAmountMismatch => {
                "invalid_batch_settlement_evm_cumulative_amount_mismatch"
            }
            Self::CumulativeBelowClaimed => "invalid_batch_settlement_evm_cumulative_below_claimed",
            Self::CumulativeExceedsBalance => {
                "invalid_batch_settlement_evm_cumulative_exceeds_balance"
            }
            Self::VoucherSignature => "invalid_batch_settlement_evm_voucher_signature",
            Self::ChannelIdMismatch => "invalid_batch_settlement_evm_channel_id_mismatch",
            Self::ChannelIdInvalid => "invalid_batch_settlement_evm_channel_id_invalid",
            Self::TokenMismatch => "invalid_batch_settlement_evm_token_mismatch",
            Self::ReceiverMismatch => "invalid_batch_settlement_evm_receiver_mismatch",
            Self::ReceiverAuthorizerMismatch => {
                "invalid_batch_settlement_evm_receiver_authorizer_mismatch"
            }
            Self::WithdrawDelayMismatch => "invalid_batch_settlement_evm_withdraw_delay_mismatch",
            Self::WithdrawDelayOutOfRange => {
                "invalid_batch_settlement_evm_withdraw_delay_out_of_range"
            }
            Self::ChannelBusy => "invalid_batch_settlement_evm_channel_busy",
            Self::ExposureLimit => "rialto_exposure_limit",
            Self::VerificationStateUnavailable => {
                "invalid_batch_settlement_evm_verification_state_unavailable"
            }
            Self::MissingChannel => "invalid_batch_settlement_evm_missing_channel",
            Self::DepositBelowMinimum => "invalid_batch_settlement_evm_deposit_below_min_deposit",
            Self::DepositSimulationFailed => {
                "invalid_batch_settlement_evm_deposit_simulation_failed"
            }
            Self::DepositTransactionFailed => {
                "invalid_batch_settlement_evm_deposit_transaction_failed"
            }
            Self::ReceiveAuthorizationSignature => {
                "invalid_batch_settlement_evm_receive_authorization_signature"
            }
            Self::AuthorizationValidAfter => {
                "invalid_batch_settlement_evm_payload_authorization_valid_after"
            }
            Self::AuthorizationValidBefore => {
                "invalid_batch_settlement_evm_payload_authorization_valid_before"
            }
            Self::Erc3009AuthorizationRequired => {
                "invalid_batch_settlement_evm_erc3009_authorization_required"
            }
            Self::Permit2AuthorizationRequired => {
                "invalid_batch_settlement_evm_permit2_authorization_required"
            }
            Self::Permit2InvalidSpender => "invalid_batch_settlement_evm_permit2_invalid_spender",
            Self::Permit2AmountMismatch => "invalid_batch_settlement_evm_permit2_amount_mismatch",
            Self::Permit2DeadlineExpired => "invalid_batch_settlement_evm_permit2_deadline_expired",
            Self::Permit2InvalidSignature => {
                "invalid_batch_settlement_evm_permit2_invalid_signature"
            }
            Self::Permit2AllowanceRequired => {
                "invalid_batch_settlement_evm_permit2_allowance_required"
            }
            Self::Eip2612AmountMismatch => "invalid_batch_settlement_evm_eip2612_amount_mismatch",
            Self::PayloadType => "invalid_batch_settlement_evm_payload_type",
            Self::RefundPayload => "invalid_batch_settlement_evm_refund_payload",
            Self::RefundNoBalance => "invalid_batch_settlement_evm_refund_no_balance",
            Self::RefundAmountInvalid => "invalid_batch_settlement_evm_refund_amount_invalid",
            Self::RefundTransactionFailed => {
                "invalid_batch_settlement_evm_refund_transaction_failed"
            }
        }
    }
}

impl fmt::Display for WireCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
