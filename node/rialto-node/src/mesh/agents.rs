//! What is sent to an identity registry so that a service is an agent: for whoever has the publisher's wallet.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_registry::erc8004::calls::{self, CallError, Entry};
use rialto_registry::names::{MANIFEST_KEY, STATUS_KEY};
use rialto_registry::reputation::FEEDBACK_TAG;
use rialto_registry::{SignedManifest, Status};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::feedback::ToRate;

/// What the chain has of an agent already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Values by their keys.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// Its registration file.
    pub uri: String,
}

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

    /// Says anew what an agent is: a call for each value that the chain does not have already. The manifest,
    /// by which the rest is believed, comes last: until then all readers see what was.
    ///
    /// # Errors
    /// [`CallError`] if a text is out of bounds.
    pub fn update(
        agent: U256,
        uri: &str,
        metadata: &[(String, Vec<u8>)],
        said: &Said,
    ) -> Result<Vec<Vec<u8>>, CallError> {
        let is_news = |(key, value): &&(String, Vec<u8>)| said.metadata.get(key) != Some(value);
        let (last, rest): (Vec<_>, Vec<_>) = metadata
            .iter()
            .filter(is_news)
            .partition(|(key, _)| key == MANIFEST_KEY);
        let rest = rest.into_iter();
        let uri = (said.uri != uri).then(|| calls::set_uri(agent, uri));
        let set = |it| calls::set_metadata(agent, &entry(it));
        let all = rest.map(set).chain(uri).chain(last.into_iter().map(set));
        all.map(|call| Ok(call?.to_vec())).collect()
    }

    /// Says whether the agent's service should still be used.
    ///
    /// # Errors
    /// [`CallError`] if the reason is too long.
    pub fn status(agent: U256, status: &Status) -> Result<Vec<u8>, CallError> {
        let said = Entry::new(STATUS_KEY, status.to_value());
        Ok(calls::set_metadata(agent, &said)?.to_vec())
    }

    /// Says how good a call was, from -100 to 100, by its receipt. Goes to the reputation registry.
    ///
    /// # Errors
    /// [`CallError`] if a text is too long.
    pub fn rate(to: &ToRate, value: i8) -> Result<Vec<u8>, CallError> {
        let feedback = calls::Feedback {
            agent: to.agent,
            value: value.into(),
            decimals: 0,
            tag1: FEEDBACK_TAG.to_owned(),
            tag2: String::new(),
            endpoint: String::new(),
            uri: to.uri.clone(),
            hash: to.hash,
        };
        Ok(calls::give_feedback(&feedback)?.to_vec())
    }

    /// Gives the agent, and with it its name, to somebody else.
    #[must_use]
    pub fn transfer(agent: U256, from: Address, to: Address) -> Vec<u8> {
        calls::transfer(agent, from, to).to_vec()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn values(component: u8, manifest: u8) -> Vec<(String, Vec<u8>)> {
        let value = |key: &str, value: u8| (key.to_owned(), vec![value; 32]);
        vec![
            value("rialto.name", 0),
            value(MANIFEST_KEY, manifest),
            value("rialto.component", component),
        ]
    }

    #[test]
    fn an_update_says_what_differs_and_the_manifest_last() {
        let said = Said {
            metadata: values(1, 1).into_iter().collect(),
            uri: "data:,one".to_owned(),
        };
        let update = |uri: &str, metadata: &[_]| {
            AgentCalls::update(U256::from(7), uri, metadata, &said).unwrap()
        };
        assert!(update("data:,one", &values(1, 1)).is_empty());
        let manifest = Entry::new(MANIFEST_KEY, vec![2; 32]);
        let manifest = calls::set_metadata(U256::from(7), &manifest).unwrap();
        assert_eq!(update("data:,one", &values(1, 2)), [manifest.to_vec()]);
        let all = update("data:,two", &values(2, 2));
        assert_eq!(all.len(), 3);
        assert_eq!(all[2], manifest.to_vec());
    }
}
