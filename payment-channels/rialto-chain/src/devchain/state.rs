//! The world state: accounts, storage and code, with undo.
//!
//! Purpose: hold the latest state flat in memory, apply change sets and take them back, and show
//! any past block's state through an overlay of undone changes.
//! Non-goals: a Merkle tree. [`State::commitment`] chains a digest over every change, so two
//! replays agree on it exactly when they agree on the state; there are no account proofs.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use alloy::primitives::{Address, B256, Keccak256, U256};
use revm::DatabaseRef;
use revm::bytecode::Bytecode;
use revm::primitives::KECCAK_EMPTY;
use revm::state::{AccountInfo, EvmState};

/// What the chain stores of one account, besides its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountRecord {
    pub(super) balance: U256,
    pub(super) nonce: u64,
    pub(super) code_hash: B256,
}

impl Default for AccountRecord {
    fn default() -> Self {
        Self {
            balance: U256::ZERO,
            nonce: 0,
            code_hash: KECCAK_EMPTY,
        }
    }
}

impl AccountRecord {
    /// Empty accounts are not stored (EIP-161).
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// New values of the accounts, slots and code that one step touches.
#[derive(Clone, Debug, Default)]
pub(super) struct ChangeSet {
    pub(super) accounts: BTreeMap<Address, AccountRecord>,
    pub(super) slots: BTreeMap<(Address, U256), U256>,
    pub(super) codes: Vec<(B256, Bytecode)>,
}

impl ChangeSet {
    /// Collects what a transaction changed, in an order that does not depend on hash maps.
    pub(super) fn from_evm(evm: EvmState) -> Self {
        let mut changes = Self::default();
        for (address, account) in evm {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() {
                // Since Cancun only an account made by the same transaction can go (EIP-6780),
                // so it has no stored slots.
                changes.accounts.insert(address, AccountRecord::default());
                continue;
            }
            if let Some(code) = &account.info.code
                && !code.is_empty()
            {
                changes.codes.push((account.info.code_hash, code.clone()));
            }
            let record = AccountRecord {
                balance: account.info.balance,
                nonce: account.info.nonce,
                code_hash: account.info.code_hash,
            };
            changes.accounts.insert(address, record);
            for (key, slot) in &account.storage {
                if slot.is_changed() {
                    changes.slots.insert((address, *key), slot.present_value());
                }
            }
        }
        changes
    }

    fn digest(&self, previous: B256) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(previous);
        for (address, record) in &self.accounts {
            hasher.update(address);
            hasher.update(record.balance.to_be_bytes::<32>());
            hasher.update(record.nonce.to_be_bytes());
            hasher.update(record.code_hash);
        }
        for ((address, key), value) in &self.slots {
            hasher.update(address);
            hasher.update(key.to_be_bytes::<32>());
            hasher.update(value.to_be_bytes::<32>());
        }
        hasher.finalize()
    }
}

/// What restores the state from before a [`ChangeSet`].
#[derive(Clone, Debug)]
pub(super) struct Undo {
    accounts: Vec<(Address, Option<AccountRecord>)>,
    slots: Vec<((Address, U256), U256)>,
    commitment: B256,
}

/// The latest state.
#[derive(Debug)]
pub(super) struct State {
    accounts: HashMap<Address, AccountRecord>,
    slots: HashMap<(Address, U256), U256>,
    codes: HashMap<B256, Bytecode>,
    commitment: B256,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            accounts: HashMap::new(),
            slots: HashMap::new(),
            codes: HashMap::from([(KECCAK_EMPTY, Bytecode::default())]),
            commitment: B256::ZERO,
        }
    }

    /// A digest over all changes so far, in order; block headers carry it as their state root.
    pub(super) fn commitment(&self) -> B256 {
        self.commitment
    }

    pub(super) fn account(&self, address: Address) -> AccountRecord {
        self.accounts.get(&address).copied().unwrap_or_default()
    }

    /// Makes `changes` the latest state and returns what takes them back.
    pub(super) fn apply(&mut self, changes: ChangeSet) -> Undo {
        let commitment = changes.digest(self.commitment);
        let mut undo = Undo {
            accounts: Vec::with_capacity(changes.accounts.len()),
            slots: Vec::with_capacity(changes.slots.len()),
            commitment: std::mem::replace(&mut self.commitment, commitment),
        };
        for (address, record) in changes.accounts {
            let previous = if record.is_empty() {
                self.accounts.remove(&address)
            } else {
                self.accounts.insert(address, record)
            };
            undo.accounts.push((address, previous));
        }
        for (slot, value) in changes.slots {
            let previous = self.set_slot(slot, value);
            undo.slots.push((slot, previous));
        }
        self.codes.extend(changes.codes);
        undo
    }

    /// Takes the latest [`apply`](Self::apply) back; `undo` must be what it returned.
    pub(super) fn undo(&mut self, undo: &Undo) {
        for (address, previous) in &undo.accounts {
            match previous {
                Some(record) => self.accounts.insert(*address, *record),
                None => self.accounts.remove(address),
            };
        }
        for (slot, previous) in &undo.slots {
            self.set_slot(*slot, *previous);
        }
        self.commitment = undo.commitment;
    }

    fn set_slot(&mut self, slot: (Address, U256), value: U256) -> U256 {
        if value.is_zero() {
            self.slots.remove(&slot).unwrap_or_default()
        } else {
            self.slots.insert(slot, value).unwrap_or_default()
        }
    }
}

/// Values of a past block that later blocks changed.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    accounts: HashMap<Address, AccountRecord>,
    slots: HashMap<(Address, U256), U256>,
}

impl Overlay {
    /// Goes one change set further back; call from the newest to the oldest.
    pub(super) fn step_back(&mut self, undo: &Undo) {
        for (address, previous) in &undo.accounts {
            self.accounts
                .insert(*address, (*previous).unwrap_or_default());
        }
        self.slots.extend(undo.slots.iter().copied());
    }
}

/// The state of one block, read-only, in the form that the EVM reads.
#[derive(Debug)]
pub(super) struct View<'a> {
    state: &'a State,
    overlay: Overlay,
    hashes: &'a [B256],
}

impl<'a> View<'a> {
    /// `hashes[n]` is the hash of block `n`.
    pub(super) fn new(state: &'a State, overlay: Overlay, hashes: &'a [B256]) -> Self {
        Self {
            state,
            overlay,
            hashes,
        }
    }

    pub(super) fn account(&self, address: Address) -> AccountRecord {
        match self.overlay.accounts.get(&address) {
            Some(record) => *record,
            None => self.state.account(address),
        }
    }

    pub(super) fn code(&self, address: Address) -> Bytecode {
        self.code_by_hash(self.account(address).code_hash)
    }

    pub(super) fn slot(&self, address: Address, key: U256) -> U256 {
        let slot = (address, key);
        match self.overlay.slots.get(&slot) {
            Some(value) => *value,
            None => self.state.slots.get(&slot).copied().unwrap_or_default(),
        }
    }

    fn code_by_hash(&self, hash: B256) -> Bytecode {
        self.state.codes.get(&hash).cloned().unwrap_or_default()
    }
}

impl DatabaseRef for &View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        let record = self.account(address);
        if record.is_empty() {
            return Ok(None);
        }
        let code = self.code_by_hash(record.code_hash);
        Ok(Some(AccountInfo {
            balance: record.balance,
            nonce: record.nonce,
            code_hash: record.code_hash,
            code: Some(code),
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.code_by_hash(hash))
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, key))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        Ok(self.hashes.get(index).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(address: u8, balance: u64, slot: u64) -> ChangeSet {
        let address = Address::repeat_byte(address);
        let mut changes = ChangeSet::default();
        let record = AccountRecord {
            balance: U256::from(balance),
            ..AccountRecord::default()
        };
        changes.accounts.insert(address, record);
        changes
            .slots
            .insert((address, U256::from(1)), U256::from(slot));
        changes
    }

    #[test]
    fn undo_restores_values_and_commitment() {
        let mut state = State::new();
        state.apply(change(1, 5, 7));
        let before = state.commitment();
        let undo = state.apply(change(1, 0, 0));
        assert_ne!(state.commitment(), before);
        assert!(state.accounts.is_empty() && state.slots.is_empty());
        state.undo(&undo);
        assert_eq!(state.commitment(), before);
        let view = View::new(&state, Overlay::default(), &[]);
        let address = Address::repeat_byte(1);
        assert_eq!(view.account(address).balance, U256::from(5));
        assert_eq!(view.slot(address, U256::from(1)), U256::from(7));
    }

    #[test]
    fn overlay_shows_the_oldest_step() {
        let mut state = State::new();
        state.apply(change(1, 5, 7));
        let second = state.apply(change(1, 6, 8));
        let third = state.apply(change(1, 9, 9));
        let mut overlay = Overlay::default();
        overlay.step_back(&third);
        overlay.step_back(&second);
        let view = View::new(&state, overlay, &[]);
        let address = Address::repeat_byte(1);
        assert_eq!(view.account(address).balance, U256::from(5));
        assert_eq!(view.slot(address, U256::from(1)), U256::from(7));
    }
}
