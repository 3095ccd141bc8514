//! Agents: services as an ERC-8004 identity registry knows them, by chain, contract and token.
//!
//! Not here: what a registry says of an agent, which the chain's client reads.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, U256};

/// An identity registry: a contract on a chain. Displays as `eip155:84532:0x8004…`, which is CAIP-10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryId {
    /// The EVM chain.
    pub chain_id: u64,
    /// The contract.
    pub address: Address,
}

/// An agent of a registry. Displays as its registry with `:` and the token's number in decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId {
    /// The registry.
    pub registry: RegistryId,
    /// The ERC-721 token, `agentId` in ERC-8004.
    pub token: U256,
}

/// Why a text names no registry and no agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgentIdError {
    /// Another form than `eip155:CHAIN:0xADDRESS` (and `:TOKEN`).
    #[error("has another form than eip155:CHAIN:0xADDRESS, and :NUMBER for an agent")]
    Form,
    /// The chain's number.
    #[error("has a chain that is no number")]
    Chain,
    /// The contract's address.
    #[error("has an address that is not 0x and 40 hex digits")]
    Address,
    /// The token's number.
    #[error("has a token that is no number")]
    Token,
}

impl fmt::Display for RegistryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}:{}", self.chain_id, self.address)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.registry, self.token)
    }
}

impl FromStr for RegistryId {
    type Err = AgentIdError;

    fn from_str(text: &str) -> Result<Self, AgentIdError> {
        let rest = text.strip_prefix("eip155:").ok_or(AgentIdError::Form)?;
        let (chain, address) = rest.split_once(':').ok_or(AgentIdError::Form)?;
        if address.len() != ADDRESS_LENGTH || !address.starts_with("0x") {
            return Err(AgentIdError::Address);
        }
        Ok(Self {
            chain_id: decimal(chain).ok_or(AgentIdError::Chain)?,
            address: address.parse().map_err(|_| AgentIdError::Address)?,
        })
    }
}

impl FromStr for AgentId {
    type Err = AgentIdError;

    fn from_str(text: &str) -> Result<Self, AgentIdError> {
        let (registry, token) = text.rsplit_once(':').ok_or(AgentIdError::Form)?;
        Ok(Self {
            registry: registry.parse()?,
            token: decimal(token).ok_or(AgentIdError::Token)?,
        })
    }
}

/// A number in decimal digits alone: parsers of numbers take signs and prefixes, too, and two texts for
/// one agent would be two agents to whoever compares texts.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit());
    // An empty text is zero to some parsers.
    let canonical = text == "0" || !text.starts_with('0') && !text.is_empty();
    (plain && canonical && text.len() <= U256_DIGITS_MAX)
        .then(|| text.parse().ok())
        .flatten()
}

const ADDRESS_LENGTH: usize = 42;
/// 2^256 - 1 has so many decimal digits.
const U256_DIGITS_MAX: usize = 78;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        let check = |text: &str, expected: Result<(), AgentIdError>| {
            assert_eq!(text.parse::<AgentId>().map(|_| ()), expected, "{text}");
        };
        let a = "0x8004A818BFB912233c491871b3d84c89A494BD9e";
        check(&format!("eip155:84532:{a}:22"), Ok(()));
        check(&format!("eip155:84532:{a}:0"), Ok(()));
        check(&format!("eip155:84532:{a}"), Err(AgentIdError::Form));
        check(&format!("eip155:84532:{a}:"), Err(AgentIdError::Token));
        check(&format!("eip155:84532:{a}:-1"), Err(AgentIdError::Token));
        check(&format!("eip155:84532:{a}:0x1"), Err(AgentIdError::Token));
        check(&format!("eip155:84532:{a}:01"), Err(AgentIdError::Token));
        check(&format!("eip155:0x1:{a}:1"), Err(AgentIdError::Chain));
        check(&format!("solana:1:{a}:1"), Err(AgentIdError::Form));
        check("eip155:1:0x12:1", Err(AgentIdError::Address));
        check("", Err(AgentIdError::Form));
    }

    proptest! {
        #[test]
        fn texts_round_trip(chain_id: u64, address: [u8; 20], token: [u8; 32]) {
            let registry = RegistryId { chain_id, address: Address::new(address) };
            let agent = AgentId { registry, token: U256::from_be_bytes(token) };
            prop_assert_eq!(agent.to_string().parse(), Ok(agent));
            prop_assert_eq!(registry.to_string().parse(), Ok(registry));
        }
    }
}
