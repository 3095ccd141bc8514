//! What is sent to an identity registry so that a service is an agent: for whoever has the publisher's wallet.

use alloy_primitives::U256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_chain::registry;
use rialto_registry::names::STATUS_KEY;
use rialto_registry::{SignedManifest, Status};
use serde_json::json;

/// Calls of an identity registry, as data of transactions.
#[derive(Debug)]
pub struct AgentCalls;

impl AgentCalls {
    /// Registers an agent of the sender's.
    #[must_use]
    pub fn register(uri: &str, metadata: &[(String, Vec<u8>)]) -> Vec<u8> {
        registry::register(uri, metadata)
    }

    /// Says anew what an agent is: a call for each value.
    #[must_use]
    pub fn update(agent: U256, uri: &str, metadata: &[(String, Vec<u8>)]) -> Vec<Vec<u8>> {
        let values = metadata.iter();
        let values = values.map(|(key, value)| registry::set_metadata(agent, key, value));
        values.chain([registry::set_uri(agent, uri)]).collect()
    }

    /// Says whether a service should still be used.
    #[must_use]
    pub fn status(agent: U256, status: &Status) -> Vec<u8> {
        registry::set_metadata(agent, STATUS_KEY, &status.to_value())
    }

    /// The registration file of ERC-8004, as a URI that holds it whole: nobody has to serve it.
    #[must_use]
    pub fn uri(signed: &SignedManifest) -> String {
        let file = json!({
            "type": "https://eips.ethereum.org/EIPS/eip-8004#registration-v1",
            "name": signed.name().as_str(),
            "description": signed.manifest().description(),
            "image": "",
            "services": [{
                "name": "rialto",
                "endpoint": format!("rialto:{}:{}", signed.registry(), signed.name()),
                "version": signed.version().to_string(),
            }],
            "x402Support": true,
            "active": true,
            "registrations": [],
            "supportedTrust": ["reputation"],
        });
        let encoded = STANDARD.encode(file.to_string());
        format!("data:application/json;base64,{encoded}")
    }
}
