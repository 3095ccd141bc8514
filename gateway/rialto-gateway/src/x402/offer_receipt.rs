//! The `offer-receipt` extension on the wire: the host's signature of each offer in a 402, and of
//! the payment in its settlement. Any x402 client can check them; our own receipt says more.
//!
//! Offers are signed once and shown until half of their life is over, so that a 402 stays nearly
//! free to answer.
//!
//! Not here: what is signed (`rialto-channels`) and the key (the node's).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rialto_channels::Signature;
use rialto_channels::offer_receipt::{StandardOffer, StandardReceipt, VERSION};
use rialto_node::Node;
use serde_json::{Value, json};

use super::offer::{PaymentRequired, Requirements};
use super::settlement::Settlement;

/// The extension's key.
pub const KEY: &str = "offer-receipt";

/// Offers that were signed lately.
#[derive(Debug, Default)]
pub(crate) struct SignedOffers {
    known: Mutex<HashMap<Offered, Shown>>,
}

/// What tells one offer of this host from another; the rest is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Offered {
    url: String,
    scheme: String,
    amount: String,
}

/// A signed offer, and until when it is shown.
#[derive(Debug, Clone)]
struct Shown {
    until: u64,
    signed: Value,
}

impl SignedOffers {
    /// The extension of this 402: a signed offer for each way to pay.
    pub(crate) fn extension(&self, node: &Node, required: &PaymentRequired) -> Value {
        let url = required.resource.as_ref().map_or("", |r| r.url.as_str());
        let now = node.chain_now().get();
        let offers: Vec<Value> = required
            .accepts
            .iter()
            .enumerate()
            .map(|(index, offer)| {
                let mut signed = self.signed(node, offer, url, now);
                signed["acceptIndex"] = json!(index);
                signed
            })
            .collect();
        json!({"info": {"offers": offers}, "schema": schema("offers")})
    }

    fn signed(&self, node: &Node, offer: &Requirements, url: &str, now: u64) -> Value {
        let key = Offered {
            url: url.to_owned(),
            scheme: offer.scheme.clone(),
            amount: offer.amount.clone(),
        };
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(shown) = known.get(&key).filter(|shown| now < shown.until) {
                return shown.signed.clone();
            }
        }
        let statement = StandardOffer {
            resource_url: url.to_owned(),
            scheme: offer.scheme.clone(),
            network: offer.network.clone(),
            asset: offer.asset.clone(),
            pay_to: offer.pay_to.clone(),
            amount: offer.amount.clone(),
            valid_until: now.saturating_add(offer.max_timeout_seconds),
        };
        let signed = offer_json(&statement, &node.sign_standard_offer(&statement));
        let shown = Shown {
            until: now.saturating_add(offer.max_timeout_seconds / 2),
            signed: signed.clone(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            // Whoever asks by many names pays with its own waiting: the next answer signs again.
            known.clear();
        }
        known.insert(key, shown);
        signed
    }
}

/// The extension of a settlement: the signed receipt of a payment for `url`.
pub(crate) fn receipt_extension(node: &Node, settlement: &Settlement, url: &str) -> Option<Value> {
    let statement = StandardReceipt {
        network: settlement.network.clone(),
        resource_url: url.to_owned(),
        payer: settlement.payer.clone()?,
        issued_at: node.chain_now().get(),
        transaction: settlement.transaction.clone(),
    };
    let signature = node.sign_standard_receipt(&statement);
    Some(json!({
        "info": {"receipt": receipt_json(&statement, &signature)},
        "schema": schema("receipt"),
    }))
}

fn offer_json(offer: &StandardOffer, signature: &Signature) -> Value {
    json!({
        "format": "eip712",
        "payload": {
            "version": VERSION,
            "resourceUrl": offer.resource_url,
            "scheme": offer.scheme,
            "network": offer.network,
            "asset": offer.asset,
            "payTo": offer.pay_to,
            "amount": offer.amount,
            "validUntil": offer.valid_until,
        },
        "signature": signature.to_hex(),
    })
}

fn receipt_json(receipt: &StandardReceipt, signature: &Signature) -> Value {
    json!({
        "format": "eip712",
        "payload": {
            "version": VERSION,
            "network": receipt.network,
            "resourceUrl": receipt.resource_url,
            "payer": receipt.payer,
            "issuedAt": receipt.issued_at,
            "transaction": receipt.transaction,
        },
        "signature": signature.to_hex(),
    })
}

/// As short as it may be: clients send a 402's extensions back.
fn schema(required: &str) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": [required],
    })
}

/// Signed offers kept: more than the routes of a host, at the sizes that callers ask for.
const KNOWN_MAX: usize = 1_024;
