//! The JSON shapes of a payer's consent to a deposit.

use alloy_primitives::{B256, U256, hex};
use rialto_channels::payee::WireCode;
use rialto_channels::{Amount, ChannelConfig, ChannelId};
use rialto_node::{DepositAuthorization, Permit2Authorization};
use serde::{Deserialize, Serialize};

use super::PaymentHeaderError;
use super::fields::{self, Digits};
use crate::x402::PERMIT2_COLLECTOR;
use crate::x402::offer::checksummed;

/// By EIP-3009.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Erc3009Wire {
    valid_after: Digits,
    valid_before: Digits,
    salt: String,
    signature: String,
}

/// By Permit2.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Permit2Wire {
    from: String,
    permitted: PermittedWire,
    spender: String,
    nonce: String,
    deadline: Digits,
    witness: WitnessWire,
    signature: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PermittedWire {
    token: String,
    amount: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WitnessWire {
    channel_id: String,
}

impl Erc3009Wire {
    pub(super) fn new(consent: &DepositAuthorization) -> Self {
        Self {
            valid_after: consent.valid_after.into(),
            valid_before: consent.valid_before.into(),
            salt: consent.salt.to_string(),
            signature: hex::encode_prefixed(&consent.signature),
        }
    }

    pub(super) fn parse(&self) -> Result<DepositAuthorization, PaymentHeaderError> {
        let at = |name: &str| format!("payload.deposit.authorization.erc3009Authorization.{name}");
        Ok(DepositAuthorization {
            valid_after: fields::seconds(&at("validAfter"), &self.valid_after)?,
            valid_before: fields::seconds(&at("validBefore"), &self.valid_before)?,
            salt: B256::from(fields::salt(&at("salt"), &self.salt)?),
            signature: fields::wallet_signature(&at("signature"), &self.signature)?.to_vec(),
        })
    }
}

impl Permit2Wire {
    pub(super) fn new(
        consent: &Permit2Authorization,
        amount: Amount,
        config: &ChannelConfig,
        channel: ChannelId,
    ) -> Self {
        Self {
            from: checksummed(config.payer),
            permitted: PermittedWire {
                token: checksummed(config.token),
                amount: amount.to_string(),
            },
            spender: checksummed(PERMIT2_COLLECTOR),
            nonce: consent.nonce.to_string(),
            deadline: consent.deadline.into(),
            witness: WitnessWire {
                channel_id: channel.to_string(),
            },
            signature: hex::encode_prefixed(&consent.signature),
        }
    }

    /// What was signed must be this deposit: everything but the nonce and the deadline follows from
    /// it, and is only compared, so that the payer hears what differs.
    pub(super) fn parse(
        &self,
        amount: Amount,
        config: &ChannelConfig,
        channel: ChannelId,
    ) -> Result<Permit2Authorization, PaymentHeaderError> {
        let at = |name: &str| format!("payload.deposit.authorization.permit2Authorization.{name}");
        let token = fields::address(&at("permitted.token"), &self.permitted.token)?;
        let permitted = fields::amount(&at("permitted.amount"), &self.permitted.amount)?;
        let witness = fields::word(&at("witness.channelId"), &self.witness.channel_id)?;
        let rules = [
            (
                fields::address(&at("from"), &self.from)? == config.payer,
                WireCode::Permit2InvalidSignature,
                "from: expected the channel's payer",
            ),
            (
                fields::address(&at("spender"), &self.spender)? == PERMIT2_COLLECTOR,
                WireCode::Permit2InvalidSpender,
                "spender: expected the collector of Permit2 deposits",
            ),
            (
                token == config.token,
                WireCode::TokenMismatch,
                "permitted.token: expected the channel's token",
            ),
            (
                permitted == amount,
                WireCode::Permit2AmountMismatch,
                "permitted.amount: expected the deposit's amount",
            ),
            (
                witness == channel.0,
                WireCode::ChannelIdMismatch,
                "witness.channelId: expected the channel's id",
            ),
        ];
        if let Some((_, code, problem)) = rules.into_iter().find(|(holds, ..)| !holds) {
            return Err(PaymentHeaderError::Unacceptable {
                code: code.as_str(),
                message: at(problem),
            });
        }
        Ok(Permit2Authorization {
            nonce: nonce(&at("nonce"), &self.nonce)?,
            deadline: fields::seconds(&at("deadline"), &self.deadline)?,
            signature: fields::wallet_signature(&at("signature"), &self.signature)?.to_vec(),
            allowance: None,
        })
    }
}

/// A nonce of 256 bits in decimal digits, as clients write it.
fn nonce(path: &str, text: &str) -> Result<U256, PaymentHeaderError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| U256::from_str_radix(text, 10).ok())
        .flatten()
        .ok_or_else(|| fields::malformed(path, "expected decimal digits below 2^256"))
}
