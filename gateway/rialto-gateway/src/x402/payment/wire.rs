//! The JSON shapes of a payment, and their conversion into the node's types. The paying client
//! writes the same shapes.

use alloy_primitives::Address;
use rialto_channels::{
    Amount, ChannelConfig, ChannelId, SignedVoucher, TransferAuthorization, Voucher,
};
use rialto_node::{AnyConsent, ChannelPayment, Deposit, ExactPayment, RefundRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::consent::{Erc3009Wire, Permit2Wire};
use super::fields::{self, Digits, malformed};
use super::{Accepted, Means, PaymentHeaderError};
use crate::x402::offer::{Requirements, checksummed};

/// The envelope of every payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentPayload {
    /// Always 2.
    #[serde(rename = "x402Version")]
    pub x402_version: u64,
    /// The scheme's own content.
    pub payload: Value,
    /// The offer that is accepted.
    pub accepted: Requirements,
    /// Echoed extensions, with what the client adds to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Map<String, Value>>,
}

/// A channel in full.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelConfigWire {
    payer: String,
    payer_authorizer: String,
    receiver: String,
    receiver_authorizer: String,
    token: String,
    withdraw_delay: u64,
    salt: String,
}

/// A signed ceiling.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VoucherWire {
    channel_id: String,
    max_claimable_amount: String,
    signature: String,
}

/// A deposit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DepositWire {
    amount: String,
    authorization: DepositAuthorizationWire,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DepositAuthorizationWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erc3009_authorization: Option<Erc3009Wire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permit2_authorization: Option<Permit2Wire>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChannelPayloadWire {
    #[serde(rename = "type")]
    kind: String,
    channel_config: ChannelConfigWire,
    voucher: VoucherWire,
    #[serde(default)]
    deposit: Option<DepositWire>,
    #[serde(default)]
    amount: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExactPayloadWire {
    signature: String,
    #[serde(default)]
    authorization: Option<TransferWire>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransferWire {
    from: String,
    to: String,
    value: String,
    valid_after: Digits,
    valid_before: Digits,
    nonce: String,
}

impl Requirements {
    /// Reads an accepted offer.
    pub(super) fn parse(self) -> Result<Accepted, PaymentHeaderError> {
        let scheme = self
            .scheme
            .parse()
            .map_err(|_| PaymentHeaderError::Unacceptable {
                code: "unsupported_scheme",
                message: "accepted.scheme: this host takes `batch-settlement` and `exact`"
                    .to_owned(),
            })?;
        let network = self
            .network
            .parse()
            .map_err(|_| malformed("accepted.network", "expected `eip155:` and a chain id"))?;
        Ok(Accepted {
            scheme,
            network,
            amount: fields::amount("accepted.amount", &self.amount)?,
            asset: fields::address("accepted.asset", &self.asset)?,
            pay_to: fields::address("accepted.payTo", &self.pay_to)?,
            extra: self.extra.unwrap_or_default(),
        })
    }
}

impl ChannelConfigWire {
    /// Writes a channel as clients do.
    #[must_use]
    pub fn new(config: &ChannelConfig) -> Self {
        Self {
            payer: checksummed(config.payer),
            payer_authorizer: checksummed(config.payer_authorizer),
            receiver: checksummed(config.receiver),
            receiver_authorizer: checksummed(config.receiver_authorizer),
            token: checksummed(config.token),
            withdraw_delay: config.withdraw_delay,
            salt: config.salt.to_string(),
        }
    }

    pub(super) fn parse(&self) -> Result<ChannelConfig, PaymentHeaderError> {
        let address = |name: &str, text: &str| -> Result<Address, PaymentHeaderError> {
            fields::address(&format!("payload.channelConfig.{name}"), text)
        };
        Ok(ChannelConfig {
            payer: address("payer", &self.payer)?,
            payer_authorizer: address("payerAuthorizer", &self.payer_authorizer)?,
            receiver: address("receiver", &self.receiver)?,
            receiver_authorizer: address("receiverAuthorizer", &self.receiver_authorizer)?,
            token: address("token", &self.token)?,
            withdraw_delay: self.withdraw_delay,
            salt: fields::word("payload.channelConfig.salt", &self.salt)?,
        })
    }
}

impl VoucherWire {
    /// Writes a signed voucher.
    #[must_use]
    pub fn new(voucher: &SignedVoucher) -> Self {
        Self {
            channel_id: voucher.voucher.channel.to_string(),
            max_claimable_amount: voucher.voucher.ceiling.to_string(),
            signature: voucher.signature.to_hex(),
        }
    }

    fn parse(&self) -> Result<SignedVoucher, PaymentHeaderError> {
        Ok(SignedVoucher {
            voucher: Voucher {
                channel: ChannelId(fields::word("payload.voucher.channelId", &self.channel_id)?),
                ceiling: fields::amount(
                    "payload.voucher.maxClaimableAmount",
                    &self.max_claimable_amount,
                )?,
            },
            signature: fields::key_signature("payload.voucher.signature", &self.signature)?,
        })
    }
}

impl DepositWire {
    /// Writes a deposit into `channel`.
    #[must_use]
    pub fn new(deposit: &Deposit, config: &ChannelConfig, channel: ChannelId) -> Self {
        let mut authorization = DepositAuthorizationWire {
            erc3009_authorization: None,
            permit2_authorization: None,
        };
        match &deposit.consent {
            AnyConsent::Erc3009(consent) => {
                authorization.erc3009_authorization = Some(Erc3009Wire::new(consent));
            }
            AnyConsent::Permit2(consent) => {
                let wire = Permit2Wire::new(consent, deposit.amount, config, channel);
                authorization.permit2_authorization = Some(wire);
            }
        }
        Self {
            amount: deposit.amount.to_string(),
            authorization,
        }
    }

    fn parse(
        &self,
        config: &ChannelConfig,
        channel: ChannelId,
    ) -> Result<Deposit, PaymentHeaderError> {
        let amount = positive("payload.deposit.amount", &self.amount)?;
        let authorization = &self.authorization;
        let consent = match (
            &authorization.erc3009_authorization,
            &authorization.permit2_authorization,
        ) {
            (Some(wire), None) => AnyConsent::Erc3009(wire.parse()?),
            (None, Some(wire)) => AnyConsent::Permit2(wire.parse(amount, config, channel)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(PaymentHeaderError::Unacceptable {
                    code: "invalid_batch_settlement_evm_deposit_payload",
                    message: "payload.deposit.authorization: expected one of \
                              `erc3009Authorization` and `permit2Authorization`"
                        .to_owned(),
                });
            }
        };
        Ok(Deposit { amount, consent })
    }
}

/// Reads a `batch-settlement` payload of any of its three types.
pub(super) fn channel_means(
    payload: Value,
    payment_id: Option<String>,
) -> Result<Means, PaymentHeaderError> {
    let wire: ChannelPayloadWire = shape(payload)?;
    let config = wire.channel_config.parse()?;
    let voucher = wire.voucher.parse()?;
    let channel = voucher.voucher.channel;
    let deposit = match (wire.kind.as_str(), &wire.deposit) {
        ("deposit", Some(deposit)) => Some(deposit.parse(&config, channel)?),
        ("deposit", None) => {
            return Err(malformed(
                "payload.deposit",
                "missing in a `deposit` payment",
            ));
        }
        ("voucher" | "refund", _) => None,
        _ => {
            return Err(malformed(
                "payload.type",
                "expected `deposit`, `voucher` or `refund`",
            ));
        }
    };
    if wire.kind == "refund" {
        let amount = wire
            .amount
            .map(|text| positive("payload.amount", &text))
            .transpose()?;
        return Ok(Means::Refund(Box::new(RefundRequest {
            config,
            channel,
            voucher,
            amount,
        })));
    }
    Ok(Means::Channel(Box::new(ChannelPayment {
        config,
        channel,
        voucher,
        deposit,
        payment_id,
    })))
}

/// Reads an `exact` payload by EIP-3009.
pub(super) fn exact(
    payload: Value,
    payment_id: Option<String>,
) -> Result<ExactPayment, PaymentHeaderError> {
    if payload.get("permit2Authorization").is_some() {
        return Err(PaymentHeaderError::Unacceptable {
            code: "unsupported_payload_type",
            message: "payload: this host takes EIP-3009 transfers, not Permit2".to_owned(),
        });
    }
    let wire: ExactPayloadWire = shape(payload)?;
    let transfer = wire
        .authorization
        .ok_or_else(|| malformed("payload.authorization", "missing"))?;
    let at = |name: &str| format!("payload.authorization.{name}");
    Ok(ExactPayment {
        authorization: TransferAuthorization {
            from: fields::address(&at("from"), &transfer.from)?,
            to: fields::address(&at("to"), &transfer.to)?,
            value: fields::amount(&at("value"), &transfer.value)?,
            valid_after: fields::seconds(&at("validAfter"), &transfer.valid_after)?,
            valid_before: fields::seconds(&at("validBefore"), &transfer.valid_before)?,
            nonce: fields::word(&at("nonce"), &transfer.nonce)?,
        },
        signature: fields::wallet_signature("payload.signature", &wire.signature)?.0,
        payment_id,
    })
}

fn shape<T: for<'de> Deserialize<'de>>(payload: Value) -> Result<T, PaymentHeaderError> {
    shape_at("payload", payload)
}

/// Reads a JSON value that stands at `path`.
pub(super) fn shape_at<T: for<'de> Deserialize<'de>>(
    path: &str,
    value: Value,
) -> Result<T, PaymentHeaderError> {
    serde_json::from_value(value).map_err(|error| malformed(path, error.to_string()))
}

fn positive(path: &str, text: &str) -> Result<Amount, PaymentHeaderError> {
    let amount = fields::amount(path, text)?;
    if amount.is_zero() {
        return Err(malformed(path, "expected more than zero"));
    }
    Ok(amount)
}
