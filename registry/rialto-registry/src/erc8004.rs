//! The registries of ERC-8004: where chains have them, how they are called, and what they log.
//!
//! Pure: call data and log entries as bytes, for whoever sends and reads them, be it a node with a key or a
//! wallet. The contracts' rules are in `payment-channels/contracts/src/interfaces` (A1 to A6, G1 to G5).
//! Not here: connections and transactions (`rialto-chain`), who owns a name ([`NameBook`](crate::NameBook)),
//! and what feedback is worth.

#[expect(
    clippy::too_many_arguments,
    reason = "the deployed contracts' functions and events have as many"
)]
pub mod abi;
pub mod calls;
pub mod logs;

use alloy_primitives::{Address, U256, address};

use crate::{AgentId, RegistryId};

/// Identity registry of every test network and of development chains.
pub const TESTNET_IDENTITY: Address = address!("8004A818BFB912233c491871b3d84c89A494BD9e");
/// Reputation registry of every test network and of development chains.
pub const TESTNET_REPUTATION: Address = address!("8004B663056A597Dffe9eCcC1965A193B7388713");
/// Identity registry of every main network.
pub const MAINNET_IDENTITY: Address = address!("8004A169FB4a3325136EB29fA0ceB6D2e539a432");
/// Reputation registry of every main network.
pub const MAINNET_REPUTATION: Address = address!("8004BAa17C55a88189AE136b182e5fdA19dE9b63");

/// The two registries of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registries {
    /// The EVM chain.
    pub chain_id: u64,
    /// Where agents are.
    pub identity: Address,
    /// Where feedback on them is.
    pub reputation: Address,
}

impl Registries {
    /// The registries that everybody uses on a chain; none where they are not known to be. The development
    /// chain has its own at the test networks' addresses.
    #[must_use]
    pub fn canonical(chain_id: u64) -> Option<Self> {
        let (identity, reputation) = if MAINNETS.contains(&chain_id) {
            (MAINNET_IDENTITY, MAINNET_REPUTATION)
        } else if TESTNETS.contains(&chain_id) {
            (TESTNET_IDENTITY, TESTNET_REPUTATION)
        } else {
            return None;
        };
        Some(Self {
            chain_id,
            identity,
            reputation,
        })
    }

    /// The identity registry, as agents name it.
    #[must_use]
    pub const fn id(&self) -> RegistryId {
        RegistryId {
            chain_id: self.chain_id,
            address: self.identity,
        }
    }

    /// The agent of this number.
    #[must_use]
    pub const fn agent(&self, token: U256) -> AgentId {
        AgentId {
            registry: self.id(),
            token,
        }
    }
}

/// Ethereum, BNB Chain, Polygon, Base and Arbitrum.
const MAINNETS: [u64; 5] = [1, 56, 137, 8_453, 42_161];
/// Base Sepolia, whose number development chains have too, and Sepolia.
const TESTNETS: [u64; 2] = [84_532, 11_155_111];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_chains_have_the_shared_registries() {
        let check = |chain_id, expected: Option<&str>| {
            let found = Registries::canonical(chain_id);
            let found = found.map(|found| found.agent(U256::from(22)).to_string());
            assert_eq!(found.as_deref(), expected, "{chain_id}");
        };
        check(
            8_453,
            Some("eip155:8453:0x8004A169FB4a3325136EB29fA0ceB6D2e539a432:22"),
        );
        check(
            84_532,
            Some("eip155:84532:0x8004A818BFB912233c491871b3d84c89A494BD9e:22"),
        );
        check(31_337, None);
        check(0, None);
    }
}
