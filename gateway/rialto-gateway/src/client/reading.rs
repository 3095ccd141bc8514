//! Reading what a gateway answers: settlements, receipts, and what a 402 asks for.

use rialto_channels::payer::Corrective;
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Amount, ChainTime, OnChainView};
use serde_json::Value;

use super::send::Reply;
use super::{ClientError, ReceiptFault};
use crate::record::ReceiptRecord;
use crate::x402::Scheme;
use crate::x402::header::{self, PAYMENT_REQUIRED, PAYMENT_RESPONSE, RIALTO_RECEIPT};
use crate::x402::offer::PaymentRequired;
use crate::x402::settlement::{ChannelState, Settlement, VoucherState};

/// What a 402 asks of a payer that is behind, or why the payment is refused for good.
#[derive(Debug)]
pub(super) enum Correction {
    /// Behind: the host's count, perhaps with our own signature as proof.
    Resync(Option<Corrective>, ChannelState),
    /// The contract holds less than we thought: read the chain.
    Reread,
    /// Refused for good.
    Refused(ClientError),
}

/// What a 402 asks for.
pub(super) fn correction(reply: &Reply) -> Result<Correction, ClientError> {
    if let Some(settlement) = settlement(reply)? {
        return Ok(Correction::Refused(ClientError::Payment {
            code: settlement.error_reason.unwrap_or_default(),
            message: settlement.error_message.unwrap_or_default(),
        }));
    }
    let required: PaymentRequired = match reply.headers.get(PAYMENT_REQUIRED) {
        Some(header) => header::decode(header.as_bytes())?,
        None => return Ok(Correction::Refused(reply.refusal())),
    };
    let code = required.error.clone().unwrap_or_default();
    if code == CODE_EXCEEDS_BALANCE {
        return Ok(Correction::Reread);
    }
    let offer = required.offer(Scheme::BatchSettlement);
    let state = offer.and_then(|offer| offer.extra("channelState").cloned());
    let (true, Some(offer), Some(state)) = (CODES_RESYNC.contains(&code.as_str()), offer, state)
    else {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        let message = body["detail"]["message"]
            .as_str()
            .unwrap_or("no reason given");
        return Ok(Correction::Refused(ClientError::Payment {
            code,
            message: message.to_owned(),
        }));
    };
    let unreadable = |error: serde_json::Error| ClientError::Protocol(error.to_string());
    let state: ChannelState = serde_json::from_value(state).map_err(unreadable)?;
    let voucher: Option<VoucherState> = offer
        .extra("voucherState")
        .map(|voucher| serde_json::from_value(voucher.clone()))
        .transpose()
        .map_err(unreadable)?;
    let corrective = match (&state.charged_cumulative_amount, voucher) {
        (Some(charged), Some(voucher)) => Some(Corrective {
            charged: amount(charged)?,
            signed_max: amount(&voucher.signed_max_claimable)?,
            signature: voucher
                .signature
                .parse()
                .map_err(|_| ClientError::Protocol("a signature cannot be read".to_owned()))?,
        }),
        _ => None,
    };
    Ok(Correction::Resync(corrective, state))
}

/// The host's word for what the contract holds.
pub(super) fn said(state: &ChannelState) -> Result<OnChainView, ClientError> {
    let nonce = state.refund_nonce.parse();
    Ok(OnChainView {
        balance: amount(&state.balance)?,
        claimed: amount(&state.total_claimed)?,
        refund_nonce: nonce
            .map_err(|_| ClientError::Protocol("a nonce is no number".to_owned()))?,
        withdrawal: None,
        read_at: ChainTime::ZERO,
    })
}

/// The settlement that came with an answer.
pub(super) fn settlement(reply: &Reply) -> Result<Option<Settlement>, ClientError> {
    match reply.headers.get(PAYMENT_RESPONSE) {
        Some(header) => Ok(Some(header::decode(header.as_bytes())?)),
        None => Ok(None),
    }
}

/// The receipt that came with an answer, unchecked.
pub(super) fn receipt(reply: &Reply) -> Result<SignedReceipt, ReceiptFault> {
    let header = reply
        .headers
        .get(RIALTO_RECEIPT)
        .ok_or(ReceiptFault::Missing)?;
    let record: ReceiptRecord = header::decode(header.as_bytes())
        .map_err(|error| ReceiptFault::Unreadable(error.to_string()))?;
    SignedReceipt::try_from(record).map_err(|error| ReceiptFault::Unreadable(error.to_string()))
}

/// The host's count of all charges, if it sent one.
pub(super) fn cumulative(state: Option<&ChannelState>) -> Result<Option<Amount>, ClientError> {
    let count = state.and_then(|state| state.charged_cumulative_amount.as_deref());
    count.map(amount).transpose()
}

/// An amount on the wire.
pub(super) fn amount(text: &str) -> Result<Amount, ClientError> {
    text.parse()
        .map_err(|_| ClientError::Protocol("an amount is no number".to_owned()))
}

/// Another client of ours, or a withdrawal, took money out of the channel.
const CODE_EXCEEDS_BALANCE: &str = "invalid_batch_settlement_evm_cumulative_exceeds_balance";

/// The codes of a 402 that lets a payer catch up.
const CODES_RESYNC: [&str; 2] = [
    "invalid_batch_settlement_evm_cumulative_amount_mismatch",
    "invalid_batch_settlement_evm_cumulative_below_claimed",
];

#[cfg(test)]
mod tests;
