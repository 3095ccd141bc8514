//! What other servers ask a facilitator: a payment, or an action of their own, with what they want.
//! Both versions of the protocol; strict, with a path to whatever does not fit.

use alloy_primitives::Address;
use rialto_channels::{ChannelConfig, ClaimRow, SettlementDomain, SignedVoucher, U256, Voucher};
use rialto_node::{Action, ChannelPayment, Facilitated, SignedClaims, SignedRefund, Wanted};
use serde::Deserialize;
use serde_json::Value;

use super::fields::{self, Digits, malformed};
use super::version1::PaymentPayloadV1;
use super::wire::{ChannelConfigWire, shape_at};
use super::{Means, PaymentHeaderError, PaymentPayload, Presented};
use crate::x402::offer::Requirements;
use crate::x402::version1::{self, RequirementsV1};
use crate::x402::{Network, SETTLEMENT, Scheme, VERSION};

/// The body of `/verify` and `/settle`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FacilitatorRequest {
    #[serde(default, rename = "x402Version")]
    x402_version: Option<u64>,
    payment_payload: Value,
    payment_requirements: Value,
}

/// A request that can be worked on, and the words to answer it in.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Facilitated,
    /// The network as the caller writes it.
    pub(crate) network_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimWire {
    voucher: ClaimVoucherWire,
    signature: String,
    total_claimed: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimVoucherWire {
    channel: ChannelConfigWire,
    max_claimable_amount: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimPayloadWire {
    claims: Vec<ClaimWire>,
    #[serde(default)]
    claim_authorizer_signature: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SettlePayloadWire {
    receiver: String,
    token: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundPayloadWire {
    channel_config: ChannelConfigWire,
    amount: String,
    refund_nonce: Digits,
    #[serde(default)]
    claims: Vec<ClaimWire>,
    #[serde(default)]
    refund_authorizer_signature: Option<String>,
    #[serde(default)]
    claim_authorizer_signature: Option<String>,
}

impl FacilitatorRequest {
    /// The network as the caller writes it, for answers to requests that cannot be read further.
    pub(crate) fn network_name(&self) -> String {
        let network = self.payment_requirements.get("network");
        let name = network.and_then(Value::as_str).unwrap_or_default();
        name.chars().take(NETWORK_NAME_MAX).collect()
    }

    /// Reads the request.
    ///
    /// # Errors
    /// [`PaymentHeaderError`], always the caller's fault.
    pub(crate) fn parse(self) -> Result<Asked, PaymentHeaderError> {
        let network_name = self.network_name();
        let inner = self.payment_payload.get("x402Version");
        let version = inner.and_then(Value::as_u64).or(self.x402_version);
        let request = match version {
            Some(version1::VERSION) => self.version1()?,
            Some(VERSION) | None => self.version2()?,
            Some(_) => return Err(malformed("x402Version", "expected 1 or 2")),
        };
        Ok(Asked {
            request,
            network_name,
        })
    }

    fn version1(self) -> Result<Facilitated, PaymentHeaderError> {
        let wanted: RequirementsV1 = shape_at("paymentRequirements", self.payment_requirements)?;
        let payload: PaymentPayloadV1 = shape_at("paymentPayload", self.payment_payload)?;
        let network = version1::network(&wanted.network)
            .ok_or_else(|| unknown_network("paymentRequirements.network"))?;
        if payload.network != wanted.network {
            return Err(network_mismatch());
        }
        let asset = fields::address("paymentRequirements.asset", &wanted.asset)?;
        let amount = &wanted.max_amount_required;
        let extra = |name: &str| text_in(wanted.extra.as_ref()?.get(name)?);
        Ok(Facilitated {
            wanted: Wanted {
                chain_id: network.0,
                pay_to: fields::address("paymentRequirements.payTo", &wanted.pay_to)?,
                asset,
                amount: fields::amount("paymentRequirements.maxAmountRequired", amount)?,
                token_name: extra("name"),
                token_version: extra("version"),
                receiver_authorizer: None,
                withdraw_delay: None,
            },
            action: action_of(super::version1::from_payload(payload, asset)?)?,
        })
    }

    fn version2(self) -> Result<Facilitated, PaymentHeaderError> {
        let wanted: Requirements = shape_at("paymentRequirements", self.payment_requirements)?;
        let payload: PaymentPayload = shape_at("paymentPayload", self.payment_payload)?;
        let scheme: Scheme =
            wanted
                .scheme
                .parse()
                .map_err(|_| PaymentHeaderError::Unacceptable {
                    code: "unsupported_scheme",
                    message: "this facilitator knows `batch-settlement` and `exact`".to_owned(),
                })?;
        let network: Network = wanted
            .network
            .parse()
            .map_err(|_| unknown_network("paymentRequirements.network"))?;
        if payload.accepted.network != wanted.network {
            return Err(network_mismatch());
        }
        if payload.accepted.scheme != wanted.scheme {
            return Err(PaymentHeaderError::Unacceptable {
                code: "invalid_scheme",
                message: "the payment is of another scheme than the requirements".to_owned(),
            });
        }
        let domain = SettlementDomain {
            chain_id: network.0,
            contract: SETTLEMENT,
        };
        let action = match own_action(scheme, &payload.payload, &domain)? {
            Some(action) => action,
            None => action_of(super::from_payload(payload)?)?,
        };
        let wanted = wanted_of(&wanted, network)?;
        Ok(Facilitated { wanted, action })
    }
}

/// What only servers ask for, not their payers.
fn own_action(
    scheme: Scheme,
    payload: &Value,
    domain: &SettlementDomain,
) -> Result<Option<Action>, PaymentHeaderError> {
    if scheme != Scheme::BatchSettlement {
        return Ok(None);
    }
    let kind = payload.get("type").and_then(Value::as_str);
    match kind {
        Some("claim") => {
            let wire: ClaimPayloadWire = shape_at("payload", payload.clone())?;
            let signature = wire.claim_authorizer_signature.as_deref();
            Ok(Some(Action::Claim(claims(
                &wire.claims,
                signature,
                domain,
            )?)))
        }
        Some("settle") => {
            let wire: SettlePayloadWire = shape_at("payload", payload.clone())?;
            Ok(Some(Action::Settle {
                receiver: fields::address("payload.receiver", &wire.receiver)?,
                token: fields::address("payload.token", &wire.token)?,
            }))
        }
        Some("refund") if payload.get("refundNonce").is_some() => {
            let wire: RefundPayloadWire = shape_at("payload", payload.clone())?;
            refund(&wire, domain).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

fn refund(
    wire: &RefundPayloadWire,
    domain: &SettlementDomain,
) -> Result<Action, PaymentHeaderError> {
    let signature = wire.refund_authorizer_signature.as_deref();
    let nonce = match &wire.refund_nonce {
        Digits::Number(number) => U256::from(*number),
        Digits::Text(text) => fields::salt("payload.refundNonce", text)?,
    };
    let claim_signature = wire.claim_authorizer_signature.as_deref();
    let claims = if wire.claims.is_empty() {
        None
    } else {
        Some(claims(&wire.claims, claim_signature, domain)?)
    };
    Ok(Action::Refund {
        refund: Box::new(SignedRefund {
            config: wire.channel_config.parse()?,
            amount: fields::amount("payload.amount", &wire.amount)?,
            nonce,
            signature: authorizer_signature("payload.refundAuthorizerSignature", signature)?,
        }),
        claims,
    })
}

fn claims(
    wires: &[ClaimWire],
    signature: Option<&str>,
    domain: &SettlementDomain,
) -> Result<SignedClaims, PaymentHeaderError> {
    if wires.is_empty() || wires.len() > CLAIMS_MAX {
        return Err(malformed(
            "payload.claims",
            format!("expected 1 to {CLAIMS_MAX} claims"),
        ));
    }
    let rows: Result<Vec<ClaimRow>, _> = wires.iter().map(|wire| wire.row(domain)).collect();
    Ok(SignedClaims {
        rows: rows?,
        signature: authorizer_signature("payload.claimAuthorizerSignature", signature)?,
    })
}

impl ClaimWire {
    fn row(&self, domain: &SettlementDomain) -> Result<ClaimRow, PaymentHeaderError> {
        let at = |name: &str| format!("payload.claims.{name}");
        let config: ChannelConfig = self.voucher.channel.parse()?;
        let ceiling = fields::amount(
            &at("voucher.maxClaimableAmount"),
            &self.voucher.max_claimable_amount,
        )?;
        Ok(ClaimRow {
            config,
            voucher: SignedVoucher {
                voucher: Voucher {
                    channel: config.id(domain),
                    ceiling,
                },
                signature: fields::key_signature(&at("signature"), &self.signature)?,
            },
            total_claimed: fields::amount(&at("totalClaimed"), &self.total_claimed)?,
        })
    }
}

/// This facilitator is no server's receiver authorizer: it has the server's signature or nothing.
fn authorizer_signature(path: &str, text: Option<&str>) -> Result<Vec<u8>, PaymentHeaderError> {
    let Some(text) = text else {
        return Err(PaymentHeaderError::Unacceptable {
            code: "invalid_batch_settlement_evm_authorizer_not_configured",
            message: format!(
                "{path}: this facilitator signs for nobody; sign with your own receiverAuthorizer"
            ),
        });
    };
    Ok(fields::wallet_signature(path, text)?.0.to_vec())
}

fn action_of(presented: Presented) -> Result<Action, PaymentHeaderError> {
    Ok(match presented.means {
        Means::Exact(payment) => Action::Exact(payment),
        Means::Channel(payment) => Action::Channel(payment),
        Means::Refund(request) => Action::RefundRequest(Box::new(ChannelPayment {
            config: request.config,
            channel: request.channel,
            voucher: request.voucher,
            deposit: None,
            payment_id: None,
        })),
    })
}

fn wanted_of(wanted: &Requirements, network: Network) -> Result<Wanted, PaymentHeaderError> {
    let text = |name: &str| text_in(wanted.extra(name)?);
    let authorizer: Option<Address> = text("receiverAuthorizer")
        .map(|text| fields::address("paymentRequirements.extra.receiverAuthorizer", &text))
        .transpose()?;
    let withdraw_delay = match wanted.extra("withdrawDelay") {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) | None => None,
    };
    Ok(Wanted {
        chain_id: network.0,
        pay_to: fields::address("paymentRequirements.payTo", &wanted.pay_to)?,
        asset: fields::address("paymentRequirements.asset", &wanted.asset)?,
        amount: fields::amount("paymentRequirements.amount", &wanted.amount)?,
        token_name: text("name"),
        token_version: text("version"),
        receiver_authorizer: authorizer,
        withdraw_delay,
    })
}

fn text_in(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn unknown_network(path: &str) -> PaymentHeaderError {
    PaymentHeaderError::Unacceptable {
        code: "invalid_network",
        message: format!("{path}: not an EVM chain that this facilitator has a name for"),
    }
}

fn network_mismatch() -> PaymentHeaderError {
    PaymentHeaderError::Unacceptable {
        code: "invalid_network",
        message: "the payment is on another network than the requirements".to_owned(),
    }
}

/// What the contract's gas allows in one transaction.
const CLAIMS_MAX: usize = 100;
const NETWORK_NAME_MAX: usize = 64;

#[cfg(test)]
mod tests;
