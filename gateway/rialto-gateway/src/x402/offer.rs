//! What a paid route accepts: the content of a 402.
//!
//! Not here: prices (the node's terms say them) or headers.

use alloy_primitives::Address;
use rialto_channels::Amount;
use rialto_node::{PayeeTerms, Terms};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Network, Scheme, VERSION};

/// The whole of a 402 (`PAYMENT-REQUIRED`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// Always 2 when we write it.
    #[serde(rename = "x402Version")]
    pub x402_version: u64,
    /// A stable code saying why: `payment_required`, or why the last payment was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is being sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// The ways to pay, best first: clients take the first that they can.
    pub accepts: Vec<Requirements>,
    /// Extensions that the route declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Map<String, Value>>,
}

/// What is being sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The route's absolute URL.
    pub url: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What an answer's body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The service's name, when it fits the 32 characters that clients allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
}

/// One way to pay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// `batch-settlement` or `exact`.
    pub scheme: String,
    /// CAIP-2.
    pub network: String,
    /// Token base units: a ceiling for `batch-settlement`, the price for `exact`.
    pub amount: String,
    /// The token.
    pub asset: String,
    /// The receiver.
    pub pay_to: String,
    /// The route's absolute URL once more, where auditors look for it in each offer
    /// ([`PaymentRequired::for_auditors`]); version 2 has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// How long an authorisation may take to arrive, in seconds.
    pub max_timeout_seconds: u64,
    /// The scheme's own terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

impl PaymentRequired {
    /// The 402 of a route with these terms.
    #[must_use]
    pub fn new(terms: &Terms, resource: Resource, error: &str) -> Self {
        Self {
            x402_version: VERSION,
            error: Some(error.to_owned()),
            accepts: offers(terms),
            resource: Some(resource),
            extensions: None,
        }
    }

    /// The same for a question about the price, which is no call: with the route's URL in each offer.
    /// Some auditors, who ask by `GET`, want it there; strict clients, who call, refuse a field that
    /// version 2 does not have.
    #[must_use]
    pub fn for_auditors(mut self) -> Self {
        if let Some(resource) = &self.resource {
            self.accepts = located(self.accepts, &resource.url);
        }
        self
    }

    /// The offer of one scheme, if there is one.
    #[must_use]
    pub fn offer(&self, scheme: Scheme) -> Option<&Requirements> {
        self.accepts.iter().find(|a| a.scheme == scheme.as_str())
    }

    /// Adds fields to the channel offers' `extra`: the states that let a payer catch up.
    pub fn extend_channel_offer(&mut self, name: &str, state: &Value) {
        let is_channel = |a: &&mut Requirements| a.scheme == Scheme::BatchSettlement.as_str();
        for offer in self.accepts.iter_mut().filter(is_channel) {
            offer
                .extra
                .get_or_insert_with(Map::new)
                .insert(name.to_owned(), state.clone());
        }
    }
}

impl Requirements {
    /// A field of `extra`.
    #[must_use]
    pub fn extra(&self, name: &str) -> Option<&Value> {
        self.extra.as_ref()?.get(name)
    }
}

/// The offers of a route, channel first because clients take the first scheme that they know.
///
/// The receiver, the authorizer, the delay and the token are the same on every route of a service:
/// a client that saw others would open another channel. Each method of deposits has an offer.
#[must_use]
pub fn offers(terms: &Terms) -> Vec<Requirements> {
    let payee = &terms.payee;
    let mut channel = token_extra(payee);
    channel.insert(
        "receiverAuthorizer".to_owned(),
        json!(checksummed(payee.receiver_authorizer)),
    );
    channel.insert("withdrawDelay".to_owned(), json!(payee.withdraw_delay));
    channel.insert(
        "minDeposit".to_owned(),
        json!(terms.deposit_min.to_string()),
    );
    channel.insert("price".to_owned(), json!(terms.price.to_string()));
    if let Some(royalty) = &terms.royalty {
        let royalty = json!({
            "publisher": checksummed(royalty.publisher),
            "share": royalty.share.to_string(),
            "provider": checksummed(payee.provider),
        });
        channel.insert("royalty".to_owned(), royalty);
    }
    let mut offers: Vec<_> = payee
        .deposits
        .names()
        .into_iter()
        .map(|method| {
            let mut extra = channel.clone();
            extra.insert("assetTransferMethod".to_owned(), json!(method));
            requirements(Scheme::BatchSettlement, terms.ceiling, payee, extra)
        })
        .collect();
    let exact = token_extra(payee);
    offers.push(requirements(Scheme::Exact, terms.price, payee, exact));
    offers
}

/// The same offers, each with the route's absolute URL.
#[must_use]
pub fn located(mut offers: Vec<Requirements>, url: &str) -> Vec<Requirements> {
    for offer in &mut offers {
        offer.resource = Some(url.to_owned());
    }
    offers
}

/// An address as clients print it (EIP-55).
pub(crate) fn checksummed(address: Address) -> String {
    address.to_checksum(None)
}

fn requirements(
    scheme: Scheme,
    amount: Amount,
    payee: &PayeeTerms,
    extra: Map<String, Value>,
) -> Requirements {
    Requirements {
        scheme: scheme.as_str().to_owned(),
        network: Network(payee.chain_id).to_string(),
        amount: amount.to_string(),
        asset: checksummed(payee.token),
        pay_to: checksummed(payee.receiver),
        resource: None,
        max_timeout_seconds: payee.timeout_seconds,
        extra: Some(extra),
    }
}

/// The token's EIP-712 domain, and that deposits and transfers are by EIP-3009.
fn token_extra(payee: &PayeeTerms) -> Map<String, Value> {
    let mut extra = Map::new();
    extra.insert("name".to_owned(), json!(payee.token_name));
    extra.insert("version".to_owned(), json!(payee.token_version));
    extra.insert("assetTransferMethod".to_owned(), json!("eip3009"));
    extra
}
