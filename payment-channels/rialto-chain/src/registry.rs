//! ERC-8004's identity registries: where they are, and what is sent to them.
//!
//! What a wallet sends is made here as call data and sent by whoever has the wallet. What a registry says is
//! read by the client. Not here: what metadata mean, and who owns a name by the log
//! (`rialto_registry::names`).

use alloy::primitives::{Address, Bytes, U256, address};
use alloy::sol_types::SolCall;

use crate::contracts::IIdentityRegistry;

/// The registry on test networks, and on a development chain.
pub const TEST_IDENTITY_REGISTRY: Address = address!("8004A818BFB912233c491871b3d84c89A494BD9e");
/// The registry on main networks.
pub const IDENTITY_REGISTRY: Address = address!("8004A169FB4a3325136EB29fA0ceB6D2e539a432");

/// The identity registry of a chain; none where this version knows of none.
#[must_use]
pub fn identity_registry(chain_id: u64) -> Option<Address> {
    match chain_id {
        84_532 | 11_155_111 => Some(TEST_IDENTITY_REGISTRY),
        1 | 56 | 137 | 8_453 | 42_161 => Some(IDENTITY_REGISTRY),
        _ => None,
    }
}

/// An agent said what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameClaim {
    /// The agent.
    pub agent: U256,
    /// What it said.
    pub value: Bytes,
    /// The block.
    pub block: u64,
    /// The entry's index in the block.
    pub index: u64,
}

/// The call that registers an agent of the sender's.
#[must_use]
pub fn register(uri: &str, metadata: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entry = |(key, value): &(String, Vec<u8>)| IIdentityRegistry::MetadataEntry {
        metadataKey: key.clone(),
        metadataValue: Bytes::copy_from_slice(value),
    };
    IIdentityRegistry::registerCall {
        agentURI: uri.to_owned(),
        metadata: metadata.iter().map(entry).collect(),
    }
    .abi_encode()
}

/// The call that sets a value of an agent's metadata.
#[must_use]
pub fn set_metadata(agent: U256, key: &str, value: &[u8]) -> Vec<u8> {
    IIdentityRegistry::setMetadataCall {
        agentId: agent,
        metadataKey: key.to_owned(),
        metadataValue: Bytes::copy_from_slice(value),
    }
    .abi_encode()
}

/// The call that sets an agent's URI.
#[must_use]
pub fn set_uri(agent: U256, uri: &str) -> Vec<u8> {
    IIdentityRegistry::setAgentURICall {
        agentId: agent,
        newURI: uri.to_owned(),
    }
    .abi_encode()
}

/// The call that hands an agent over.
#[must_use]
pub fn transfer(from: Address, to: Address, agent: U256) -> Vec<u8> {
    IIdentityRegistry::transferFromCall {
        from,
        to,
        tokenId: agent,
    }
    .abi_encode()
}
