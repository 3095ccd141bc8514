//! The contracts that channels and agents live on: addresses, Rust bindings and the code for development
//! chains.
//!
//! The bindings cover what Rialto calls; `contracts/src/interfaces` has every function with its
//! rules. Non-goals: deployment on public chains, where the canonical contracts are used; the
//! registries' bindings and addresses, which `rialto_registry::erc8004` has.

mod bindings;

use alloy::primitives::{Address, Bytes, U256, address, keccak256};
use alloy::sol_types::SolValue;
use rialto_registry::erc8004::abi::IIdentityRegistry;
use rialto_registry::erc8004::{TESTNET_IDENTITY, TESTNET_REPUTATION};
use serde::Deserialize;

pub use bindings::{
    IBatchSettlement, IErc3009, IErc3009DepositCollector, IPermit2, IPermit2DepositCollector,
    IRoyaltySplitter, IRoyaltySplitterFactory,
};
/// The royalty splitters' factory, at the same address on every chain.
pub use rialto_channels::royalty::SPLITTER_FACTORY;

/// The x402 batch-settlement contract, at the same address on every chain.
pub const BATCH_SETTLEMENT: Address = address!("4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");
/// Its collector of EIP-3009 deposits, at the same address on every chain.
pub const ERC3009_DEPOSIT_COLLECTOR: Address = address!("4020806089470a89826cB9fB1f4059150b550004");
/// Its collector of Permit2 deposits, at the same address on every chain.
pub const PERMIT2_DEPOSIT_COLLECTOR: Address = address!("4020425FAf3B746C082C2f942b4E5159887B0005");
/// Permit2, at the same address on every chain; our own stand-in on a development chain.
pub const PERMIT2: Address = address!("000000000022D473030F116dDEE9F6B43aC78BA3");
/// Deploys anything at an address that follows from its code, on every public chain and on anvil.
pub const CREATE2_DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
/// USDC on Base Sepolia, whose place the development token takes on a development chain.
pub const DEV_TOKEN: Address = address!("036CbD53842c5426634e7929541eC2318f3dCF7e");
/// The development token's EIP-712 name.
pub const DEV_TOKEN_NAME: &str = "USDC";
/// The development token's EIP-712 version.
pub const DEV_TOKEN_VERSION: &str = "2";
/// The chain id that unmodified x402 clients pair with [`DEV_TOKEN`]: Base Sepolia's.
pub const DEV_CHAIN_ID: u64 = 84_532;

/// The addresses that a client works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The batch-settlement contract.
    pub settlement: Address,
    /// The collector of EIP-3009 deposits.
    pub collector: Address,
    /// The token that channels are funded with.
    pub token: Address,
    /// The collector of Permit2 deposits; needed only where they are accepted.
    pub permit2_collector: Address,
    /// Permit2 itself; likewise.
    pub permit2: Address,
}

impl Default for Addresses {
    /// The canonical contracts and the development token.
    fn default() -> Self {
        Self {
            settlement: BATCH_SETTLEMENT,
            collector: ERC3009_DEPOSIT_COLLECTOR,
            token: DEV_TOKEN,
            permit2_collector: PERMIT2_DEPOSIT_COLLECTOR,
            permit2: PERMIT2,
        }
    }
}

/// A compiled contract as committed in `contracts/artifacts`.
#[derive(Clone, Debug, Deserialize)]
pub struct Artifact {
    /// The JSON ABI.
    pub abi: serde_json::Value,
    /// Creation code.
    pub bytecode: Bytes,
    /// Code as it stands on the chain.
    #[serde(rename = "deployedBytecode")]
    pub deployed_bytecode: Bytes,
}

impl Artifact {
    /// Our batch-settlement contract.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn batch_settlement() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/BatchSettlement.json"
        ))
    }

    /// Our collector of EIP-3009 deposits.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn deposit_collector() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/Erc3009DepositCollector.json"
        ))
    }

    /// Our collector of Permit2 deposits.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn permit2_collector() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/Permit2DepositCollector.json"
        ))
    }

    /// Our stand-in for Permit2.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn dev_permit2() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("../../contracts/artifacts/DevPermit2.json"))
    }

    /// The factory of royalty splitters.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn splitter_factory() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/RoyaltySplitterFactory.json"
        ))
    }

    /// A royalty splitter; its deployed code lacks what the constructor fills in.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn splitter() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/RoyaltySplitter.json"
        ))
    }

    /// Our registry of agents.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn identity_registry() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/IdentityRegistry.json"
        ))
    }

    /// Our registry of feedback on agents.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn reputation_registry() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/ReputationRegistry.json"
        ))
    }

    /// The development token.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn dev_token() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("../../contracts/artifacts/DevToken.json"))
    }
}

/// Code and storage that a development chain starts with.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Contract code by address.
    pub code: Vec<(Address, Bytes)>,
    /// Storage values by address and slot.
    pub slots: Vec<(Address, U256, U256)>,
}

impl Placement {
    /// All contracts at their addresses, and `balances` in the development token, in base
    /// units; `minter` may mint more. An account named twice gets the sum. The token's total
    /// supply is the sum of all (token invariant T1).
    ///
    /// # Errors
    /// If a committed artifact is damaged.
    pub fn development(
        balances: &[(Address, U256)],
        minter: Address,
    ) -> Result<Self, serde_json::Error> {
        let code = vec![
            (
                BATCH_SETTLEMENT,
                Artifact::batch_settlement()?.deployed_bytecode,
            ),
            (
                ERC3009_DEPOSIT_COLLECTOR,
                Artifact::deposit_collector()?.deployed_bytecode,
            ),
            (
                PERMIT2_DEPOSIT_COLLECTOR,
                Artifact::permit2_collector()?.deployed_bytecode,
            ),
            (DEV_TOKEN, Artifact::dev_token()?.deployed_bytecode),
            (PERMIT2, Artifact::dev_permit2()?.deployed_bytecode),
            (
                SPLITTER_FACTORY,
                Artifact::splitter_factory()?.deployed_bytecode,
            ),
            (
                TESTNET_IDENTITY,
                Artifact::identity_registry()?.deployed_bytecode,
            ),
            (
                TESTNET_REPUTATION,
                Artifact::reputation_registry()?.deployed_bytecode,
            ),
        ];
        let mut sums = std::collections::BTreeMap::<Address, U256>::new();
        let mut supply = U256::ZERO;
        for (account, balance) in balances {
            let sum = sums.entry(*account).or_default();
            *sum = sum.saturating_add(*balance);
            supply = supply.saturating_add(*balance);
        }
        let mut slots: Vec<_> = sums
            .into_iter()
            .map(|(account, balance)| (DEV_TOKEN, token_balance_slot(account), balance))
            .collect();
        slots.push((DEV_TOKEN, U256::from(TOKEN_SUPPLY_SLOT), supply));
        let minter = minter.into_word().into();
        slots.push((DEV_TOKEN, U256::from(TOKEN_MINTER_SLOT), minter));
        Ok(Self { code, slots })
    }
}

/// The storage slot of an account's balance in the development token.
#[must_use]
pub fn token_balance_slot(account: Address) -> U256 {
    keccak256((account, U256::from(TOKEN_BALANCES_SLOT)).abi_encode()).into()
}

/// The name of a custom error of our contracts, of `Error(string)` or of `Panic(uint256)`, by
/// the first four bytes of revert data.
#[must_use]
pub fn error_name(data: &[u8]) -> Option<&'static str> {
    let selector = *data.first_chunk::<4>()?;
    match selector {
        ERROR_STRING_SELECTOR => Some("Error"),
        PANIC_SELECTOR => Some("Panic"),
        _ => bindings::IBatchSettlement::IBatchSettlementErrors::name_by_selector(selector)
            .or_else(|| bindings::IErc3009::IErc3009Errors::name_by_selector(selector))
            .or_else(|| {
                bindings::IErc3009DepositCollector::IErc3009DepositCollectorErrors::name_by_selector(
                    selector,
                )
            })
            .or_else(|| bindings::IPermit2::IPermit2Errors::name_by_selector(selector))
            .or_else(|| bindings::IRoyaltySplitter::IRoyaltySplitterErrors::name_by_selector(selector))
            .or_else(|| {
                bindings::IRoyaltySplitterFactory::IRoyaltySplitterFactoryErrors::name_by_selector(
                    selector,
                )
            })
            .or_else(|| IIdentityRegistry::IIdentityRegistryErrors::name_by_selector(selector)),
    }
}

/// `contracts/artifacts/genesis.json` lists the slots as the compiler numbers them.
const TOKEN_BALANCES_SLOT: u64 = 0;
const TOKEN_SUPPLY_SLOT: u64 = 2;
const TOKEN_MINTER_SLOT: u64 = 5;
/// `Error(string)`.
const ERROR_STRING_SELECTOR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`.
const PANIC_SELECTOR: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

#[cfg(test)]
mod tests {
    use alloy::json_abi::JsonAbi;

    use super::*;

    fn abi(artifact: Artifact) -> JsonAbi {
        serde_json::from_value(artifact.abi).unwrap()
    }

    #[test]
    fn every_bound_function_and_event_is_in_the_artifact() {
        use alloy::sol_types::SolInterface;
        use bindings::IBatchSettlement::{IBatchSettlementCalls, IBatchSettlementEvents};
        let settlement = abi(Artifact::batch_settlement().unwrap());
        for selector in IBatchSettlementCalls::selectors() {
            assert!(
                settlement.functions().any(|f| f.selector() == selector),
                "{:?}",
                IBatchSettlementCalls::name_by_selector(selector)
            );
        }
        for selector in IBatchSettlementEvents::SELECTORS {
            assert!(settlement.events().any(|e| e.selector().0 == *selector));
        }
        let token = abi(Artifact::dev_token().unwrap());
        for selector in bindings::IErc3009::IErc3009Calls::selectors() {
            assert!(token.functions().any(|f| f.selector() == selector));
        }
        let permit2 = abi(Artifact::dev_permit2().unwrap());
        for selector in bindings::IPermit2::IPermit2Calls::selectors() {
            assert!(permit2.functions().any(|f| f.selector() == selector));
        }
        let splitter = abi(Artifact::splitter().unwrap());
        for selector in bindings::IRoyaltySplitter::IRoyaltySplitterCalls::selectors() {
            assert!(splitter.functions().any(|f| f.selector() == selector));
        }
        let factory = abi(Artifact::splitter_factory().unwrap());
        use bindings::IRoyaltySplitterFactory::IRoyaltySplitterFactoryCalls;
        for selector in IRoyaltySplitterFactoryCalls::selectors() {
            assert!(factory.functions().any(|f| f.selector() == selector));
        }
    }

    #[test]
    fn every_bound_function_and_event_of_the_registries_is_in_the_artifact() {
        use alloy::sol_types::SolInterface;
        use rialto_registry::erc8004::abi::IReputationRegistry;
        let identity = abi(Artifact::identity_registry().unwrap());
        for selector in IIdentityRegistry::IIdentityRegistryCalls::selectors() {
            assert!(identity.functions().any(|f| f.selector() == selector));
        }
        for selector in IIdentityRegistry::IIdentityRegistryEvents::SELECTORS {
            assert!(identity.events().any(|e| e.selector().0 == *selector));
        }
        let reputation = abi(Artifact::reputation_registry().unwrap());
        for selector in IReputationRegistry::IReputationRegistryCalls::selectors() {
            assert!(reputation.functions().any(|f| f.selector() == selector));
        }
        for selector in IReputationRegistry::IReputationRegistryEvents::SELECTORS {
            assert!(reputation.events().any(|e| e.selector().0 == *selector));
        }
    }

    #[test]
    fn addresses_follow_from_the_code() {
        use rialto_channels::royalty::SPLITTER_INIT_CODE_HASH;
        let splitter = Artifact::splitter().unwrap();
        assert_eq!(keccak256(&splitter.bytecode), SPLITTER_INIT_CODE_HASH);
        let factory = Artifact::splitter_factory().unwrap();
        let deployed = CREATE2_DEPLOYER.create2_from_code([0; 32], &factory.bytecode);
        assert_eq!(deployed, SPLITTER_FACTORY);
    }

    #[test]
    fn every_custom_error_of_the_artifacts_has_a_name() {
        for artifact in [
            Artifact::batch_settlement(),
            Artifact::deposit_collector(),
            Artifact::permit2_collector(),
            Artifact::dev_permit2(),
            Artifact::splitter(),
            Artifact::splitter_factory(),
            Artifact::identity_registry(),
            Artifact::reputation_registry(),
            Artifact::dev_token(),
        ] {
            for error in abi(artifact.unwrap()).errors() {
                let unused_by_us = [
                    "ERC2612ExpiredSignature",
                    "ERC2612InvalidSigner",
                    "OnlyMinter",
                ];
                if !unused_by_us.contains(&error.name.as_str()) {
                    let name = error_name(error.selector().as_slice());
                    assert_eq!(name, Some(error.name.as_str()));
                }
            }
        }
        assert_eq!(error_name(&[0, 1, 2, 3]), None);
        assert_eq!(error_name(&[0x08]), None);
    }
}
