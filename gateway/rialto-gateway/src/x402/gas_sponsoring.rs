//! The extension `eip2612GasSponsoring`: a payer that has given Permit2 no allowance signs one, and
//! the host pays the gas for it together with the deposit.
//!
//! Not here: whether the signature is good, which the token decides.

use alloy_primitives::U256;
use rialto_channels::payee::WireCode;
use rialto_node::{AnyConsent, ChannelPayment, TokenPermit};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::PERMIT2;
use super::payment::PaymentHeaderError;
use super::payment::fields::{self, malformed};

/// The extension's key.
pub const KEY: &str = "eip2612GasSponsoring";

/// The block in a 402: this host takes such permits.
#[must_use]
pub fn declaration() -> Value {
    json!({
        "info": {
            "description": "sign an EIP-2612 permit for Permit2 and the host pays the gas for it",
            "version": "1",
        },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"signature": {"type": "string"}},
        },
    })
}

/// Adds the permit that came with a payment, if any, to its deposit by Permit2.
///
/// A client that signs nothing echoes the declaration, whose block has no signature.
///
/// # Errors
/// [`PaymentHeaderError`] for a permit that is not of this payer, token, spender and amount.
pub(super) fn attach(
    payment: &mut ChannelPayment,
    extensions: &Map<String, Value>,
) -> Result<(), PaymentHeaderError> {
    let info = extensions.get(KEY).and_then(|block| block.get("info"));
    let Some(info) = info.filter(|info| info.get("signature").is_some()) else {
        return Ok(());
    };
    let config = payment.config;
    let Some(deposit) = &mut payment.deposit else {
        return Ok(());
    };
    let AnyConsent::Permit2(consent) = &mut deposit.consent else {
        return Ok(());
    };
    let info = PermitWire::deserialize(info).map_err(|error| malformed(AT, error.to_string()))?;
    let at = |name: &str| format!("{AT}.{name}");
    let same = |name: &str, text: &str, expected| {
        if fields::address(&at(name), text)? == expected {
            Ok(())
        } else {
            let expected: alloy_primitives::Address = expected;
            Err(malformed(
                &at(name),
                format!("expected {}", expected.to_checksum(None)),
            ))
        }
    };
    same("from", &info.from, config.payer)?;
    same("asset", &info.asset, config.token)?;
    same("spender", &info.spender, PERMIT2)?;
    if fields::amount(&at("amount"), &info.amount)? != deposit.amount {
        return Err(PaymentHeaderError::Unacceptable {
            code: WireCode::Eip2612AmountMismatch.as_str(),
            message: format!(
                "{}: expected the deposit's amount, {}",
                at("amount"),
                deposit.amount
            ),
        });
    }
    let signature = fields::wallet_signature(&at("signature"), &info.signature)?;
    let signature = <[u8; 65]>::try_from(signature.as_ref())
        .map_err(|_| malformed(&at("signature"), "expected 65 bytes"))?;
    consent.allowance = Some(TokenPermit {
        value: U256::from(deposit.amount.get()),
        deadline: fields::seconds(&at("deadline"), &info.deadline)?,
        signature,
    });
    Ok(())
}

#[derive(Debug, Deserialize)]
struct PermitWire {
    from: String,
    asset: String,
    spender: String,
    amount: String,
    deadline: fields::Digits,
    signature: String,
}

/// Where the block stands in a payment.
const AT: &str = "extensions.eip2612GasSponsoring.info";
