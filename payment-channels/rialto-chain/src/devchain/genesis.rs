//! What the chain starts with: contracts, funded accounts, and nothing else. The first well-known
//! account may mint the token.

use alloy::primitives::{Address, U256};
use revm::bytecode::Bytecode;

use super::accounts::DEV_ACCOUNTS;
use super::state::{AccountRecord, ChangeSet};
use crate::contracts::Placement;

/// Money that an account has at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funding {
    /// The account.
    pub address: Address,
    /// Wei for gas.
    pub wei: U256,
    /// Development tokens, in base units (six decimals).
    pub tokens: U256,
}

impl Funding {
    /// What each well-known account has: 10,000 ETH and 1,000,000 USDC.
    #[must_use]
    pub fn generous(address: Address) -> Self {
        const WEI_PER_ETH: u128 = 1_000_000_000_000_000_000;
        Self {
            address,
            wei: U256::from(10_000 * WEI_PER_ETH),
            tokens: U256::from(1_000_000_000_000_u64),
        }
    }
}

/// The genesis state.
pub(super) fn changes(funded: &[Funding]) -> Result<ChangeSet, serde_json::Error> {
    let balances: Vec<_> = funded.iter().map(|f| (f.address, f.tokens)).collect();
    let placement = Placement::development(&balances, DEV_ACCOUNTS[0].address)?;
    let mut changes = ChangeSet::default();
    for funding in funded {
        let account = changes.accounts.entry(funding.address).or_default();
        account.balance = account.balance.saturating_add(funding.wei);
    }
    for (address, code) in placement.code {
        let code = Bytecode::new_legacy(code);
        let record = AccountRecord {
            nonce: 1,
            code_hash: code.hash_slow(),
            ..AccountRecord::default()
        };
        changes.accounts.insert(address, record);
        changes.codes.push((record.code_hash, code));
    }
    for (address, slot, value) in placement.slots {
        changes.slots.insert((address, slot), value);
    }
    Ok(changes)
}
