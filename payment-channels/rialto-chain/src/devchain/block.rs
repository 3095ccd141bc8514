//! Blocks: headers, transactions and their transaction receipts.
//!
//! Non-goals: running transactions; [`Draft`] only collects what running them gave.

use alloy::consensus::constants::EMPTY_WITHDRAWALS;
use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::{
    EMPTY_OMMER_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope, Transaction as _,
    TxEnvelope,
};
use alloy::eips::eip1559::BaseFeeParams;
use alloy::eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy::primitives::{Address, B256, Bloom, TxKind, keccak256};
use revm::context::result::ExecutionResult;

use super::evm::Surroundings;

/// A mined block. Immutable.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) header: Header,
    pub(super) hash: B256,
    pub(super) transactions: Vec<Mined>,
}

/// A transaction in a block, with what came of it.
#[derive(Debug)]
pub(super) struct Mined {
    pub(super) envelope: TxEnvelope,
    pub(super) sender: Address,
    pub(super) receipt: ReceiptEnvelope,
    pub(super) gas_used: u64,
    /// Wei per gas that the sender paid.
    pub(super) gas_price: u128,
    /// The contract that the transaction deployed.
    pub(super) created: Option<Address>,
    /// How many logs the block has before this transaction's own.
    pub(super) logs_before: u64,
}

impl Block {
    /// Block 0, with a fixed time, so that equal configurations give equal hashes. The chain id
    /// is in it so that logs of different chains do not mix.
    pub(super) fn genesis(state_root: B256, chain_id: u64) -> Self {
        let header = Header {
            state_root,
            timestamp: GENESIS_TIME,
            extra_data: chain_id.to_be_bytes().into(),
            ..blank_header()
        };
        Self::seal(header, Vec::new())
    }

    /// What the block after this one runs in.
    pub(super) fn next(&self, chain_id: u64, timestamp: u64) -> Surroundings {
        Surroundings {
            chain_id,
            number: self.header.number + 1,
            timestamp,
            base_fee: self.next_base_fee(),
            gas_limit: GAS_LIMIT,
            randomness: keccak256(self.hash),
        }
    }

    /// The base fee that EIP-1559 gives the next block, in wei.
    pub(super) fn next_base_fee(&self) -> u64 {
        self.header
            .next_block_base_fee(BaseFeeParams::ethereum())
            .unwrap_or(INITIAL_BASE_FEE)
    }

    pub(super) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or(INITIAL_BASE_FEE)
    }

    fn seal(header: Header, transactions: Vec<Mined>) -> Self {
        let hash = header.hash_slow();
        Self {
            header,
            hash,
            transactions,
        }
    }
}

/// A block in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    transactions: Vec<Mined>,
    gas_used: u64,
    logs: u64,
}

impl Draft {
    /// Adds a transaction that ran, and its outcome.
    pub(super) fn add(
        &mut self,
        around: &Surroundings,
        sender: Address,
        envelope: TxEnvelope,
        outcome: ExecutionResult,
    ) {
        let gas_used = outcome.tx_gas_used();
        self.gas_used += gas_used;
        let success = outcome.is_success();
        let created = match envelope.kind() {
            TxKind::Create if success => Some(sender.create(envelope.nonce())),
            TxKind::Create | TxKind::Call(_) => None,
        };
        // Logs of a failed transaction never happened.
        let logs = if success {
            outcome.into_logs()
        } else {
            Vec::new()
        };
        let logs_before = self.logs;
        self.logs += logs.len() as u64;
        let receipt = Receipt {
            status: Eip658Value::Eip658(success),
            cumulative_gas_used: self.gas_used,
            logs,
        };
        let gas_price = envelope.effective_gas_price(Some(around.base_fee));
        self.transactions.push(Mined {
            receipt: ReceiptEnvelope::from_typed(envelope.tx_type(), receipt.with_bloom()),
            envelope,
            sender,
            gas_used,
            gas_price,
            created,
            logs_before,
        });
    }

    /// Closes the block on top of `parent`.
    pub(super) fn seal(self, parent: &Block, around: &Surroundings, state_root: B256) -> Block {
        let mut bloom = Bloom::ZERO;
        let mut receipts = Vec::with_capacity(self.transactions.len());
        let mut envelopes = Vec::with_capacity(self.transactions.len());
        for mined in &self.transactions {
            bloom |= *mined.receipt.logs_bloom();
            receipts.push(mined.receipt.clone());
            envelopes.push(mined.envelope.clone());
        }
        let header = Header {
            parent_hash: parent.hash,
            state_root,
            transactions_root: calculate_transaction_root(&envelopes),
            receipts_root: calculate_receipt_root(&receipts),
            logs_bloom: bloom,
            number: around.number,
            gas_limit: around.gas_limit,
            gas_used: self.gas_used,
            timestamp: around.timestamp,
            mix_hash: around.randomness,
            base_fee_per_gas: Some(around.base_fee),
            ..blank_header()
        };
        Block::seal(header, self.transactions)
    }
}

fn blank_header() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        gas_limit: GAS_LIMIT,
        base_fee_per_gas: Some(INITIAL_BASE_FEE),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Gas that one block, and so one transaction or call, may use.
pub(super) const GAS_LIMIT: u64 = 30_000_000;
/// Wei per gas in the first block: 1 gwei.
const INITIAL_BASE_FEE: u64 = 1_000_000_000;
/// 1 January 2025, 00:00 UTC; before any block that a user makes.
const GENESIS_TIME: u64 = 1_735_689_600;
