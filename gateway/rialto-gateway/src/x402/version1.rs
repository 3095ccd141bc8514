//! x402 version 1, for the clients that still speak it: the body of a 402, network names, and the
//! settlement header. Version 1 has one scheme, `exact`, and names chains by words of its own.
//!
//! Not here: the payment header (`payment` reads both versions).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::offer::{PaymentRequired, Requirements};
use super::settlement::Settlement;
use super::{Network, Scheme};

/// The version's number.
pub const VERSION: u64 = 1;

/// One way to pay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequirementsV1 {
    /// Always `exact`.
    pub scheme: String,
    /// The chain, by version 1's name.
    pub network: String,
    /// The price, in token base units.
    pub max_amount_required: String,
    /// The route's absolute URL.
    pub resource: String,
    /// For people; may be empty.
    pub description: String,
    /// What an answer's body is.
    pub mime_type: String,
    /// The receiver.
    pub pay_to: String,
    /// How long an authorisation may take to arrive, in seconds.
    pub max_timeout_seconds: u64,
    /// The token.
    pub asset: String,
    /// How the route is called, for catalogues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// The token's EIP-712 name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// Version 1's name for a chain, if it has one.
#[must_use]
pub fn network_name(network: Network) -> Option<&'static str> {
    let found = NETWORKS.iter().find(|(id, _)| *id == network.0)?;
    Some(found.1)
}

/// The chain of a version 1 name.
#[must_use]
pub fn network(name: &str) -> Option<Network> {
    let found = NETWORKS.iter().find(|(_, known)| *known == name)?;
    Some(Network(found.0))
}

/// What a 402's `exact` offers are in version 1; empty on a chain that version 1 has no name for.
#[must_use]
pub fn accepts(required: &PaymentRequired) -> Vec<RequirementsV1> {
    let resource = required.resource.as_ref();
    let url = resource.map_or("", |r| r.url.as_str());
    let description = resource.and_then(|r| r.description.as_deref());
    let mime_type = resource.and_then(|r| r.mime_type.as_deref());
    let exact = |offer: &&Requirements| offer.scheme == Scheme::Exact.as_str();
    required
        .accepts
        .iter()
        .filter(exact)
        .filter_map(|offer| {
            let network = network_name(offer.network.parse().ok()?)?;
            Some(RequirementsV1 {
                scheme: offer.scheme.clone(),
                network: network.to_owned(),
                max_amount_required: offer.amount.clone(),
                resource: url.to_owned(),
                description: description.unwrap_or_default().to_owned(),
                mime_type: mime_type.unwrap_or_default().to_owned(),
                pay_to: offer.pay_to.clone(),
                max_timeout_seconds: offer.max_timeout_seconds,
                asset: offer.asset.clone(),
                output_schema: Some(json!({"input": {"type": "http", "method": "POST"}})),
                extra: token_domain(offer),
            })
        })
        .collect()
}

/// A settlement as `X-PAYMENT-RESPONSE` says it.
#[must_use]
pub fn settlement(settlement: &Settlement, network: Network) -> Value {
    let mut value = json!({
        "success": settlement.success,
        "transaction": settlement.transaction,
        "network": network_name(network).map_or_else(|| network.to_string(), str::to_owned),
    });
    // Version 1's readers take an absent field for none, and no null.
    for (name, text) in [
        ("payer", &settlement.payer),
        ("errorReason", &settlement.error_reason),
    ] {
        if let Some(text) = text {
            value[name] = json!(text);
        }
    }
    value
}

fn token_domain(offer: &Requirements) -> Option<Map<String, Value>> {
    let mut extra = Map::new();
    for name in ["name", "version"] {
        extra.insert(name.to_owned(), offer.extra(name)?.clone());
    }
    Some(extra)
}

/// Chain ids and the names that `x402` 1.2 knows them by.
const NETWORKS: [(u64, &str); 15] = [
    (137, "polygon"),
    (1_328, "sei-testnet"),
    (1_329, "sei"),
    (1_514, "story"),
    (2_741, "abstract"),
    (3_338, "peaq"),
    (4_689, "iotex"),
    (8_453, "base"),
    (11_124, "abstract-testnet"),
    (41_923, "educhain"),
    (43_113, "avalanche-fuji"),
    (43_114, "avalanche"),
    (80_002, "polygon-amoy"),
    (84_532, "base-sepolia"),
    (324_705_682, "skale-base-sepolia"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::terms;
    use crate::x402::offer::Resource;

    fn required(chain_id: u64) -> PaymentRequired {
        let mut terms = terms();
        terms.payee.chain_id = chain_id;
        let resource = Resource {
            url: "http://h/services/a/b".to_owned(),
            description: None,
            mime_type: Some("application/json".to_owned()),
            service_name: None,
        };
        PaymentRequired::new(&terms, resource, "payment_required")
    }

    #[test]
    fn names_and_ids_are_each_others() {
        for (id, name) in NETWORKS {
            assert_eq!(network_name(Network(id)), Some(name));
            assert_eq!(network(name), Some(Network(id)));
        }
        assert_eq!(network_name(Network(1)), None);
        assert_eq!(network("eip155:8453"), None);
    }

    #[test]
    fn only_exact_is_offered_and_only_where_the_chain_has_a_name() {
        let offers = accepts(&required(84_532));
        assert_eq!(offers.len(), 1);
        let offer = json!(offers[0]);
        assert_eq!(offer["network"], "base-sepolia");
        assert_eq!(offer["maxAmountRequired"], "100");
        assert_eq!(offer["resource"], "http://h/services/a/b");
        assert_eq!(offer["description"], "");
        assert_eq!(offer["extra"], json!({"name": "USDC", "version": "2"}));
        assert!(accepts(&required(31_337)).is_empty());
    }
}
