//! What is sent to an identity registry so that a service is an agent: for whoever has the publisher's wallet.

use alloy_primitives::U256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_registry::SignedManifest;
use rialto_registry::erc8004::calls::{self, CallError, Entry};
use serde_json::json;

/// Calls of an identity registry, as data of transactions.
#[derive(Debug)]
pub struct AgentCalls;

impl AgentCalls {
    /// Registers an agent of the sender's.
    ///
    /// # Errors
    /// [`CallError`] if a text is out of bounds.
    pub fn register(uri: &str, metadata: &[(String, Vec<u8>)]) -> Result<Vec<u8>, CallError> {
        let entries: Vec<Entry> = metadata.iter().map(entry).collect();
        Ok(calls::register(uri, &entries)?.to_vec())
    }

    /// Says anew what an agent is: a call for each value.
    ///
    /// # Errors
    /// [`CallError`] if a text is out of bounds.
    pub fn update(
        agent: U256,
        uri: &str,
        metadata: &[(String, Vec<u8>)],
    ) -> Result<Vec<Vec<u8>>, CallError> {
        let values = metadata.iter();
        let values = values.map(|it| calls::set_metadata(agent, &entry(it)));
        let all = values.chain([calls::set_uri(agent, uri)]);
        all.map(|call| Ok(call?.to_vec())).collect()
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

fn entry((key, value): &(String, Vec<u8>)) -> Entry {
    Entry::new(key.clone(), value.clone())
}
