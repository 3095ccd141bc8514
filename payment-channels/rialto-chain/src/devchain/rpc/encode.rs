//! Blocks, transactions, transaction receipts and logs in their JSON-RPC forms.

use alloy::consensus::Transaction as _;
use alloy::consensus::transaction::Recovered;
use alloy::primitives::{B256, U256};
use alloy::rpc::types::{
    Block as RpcBlock, BlockTransactions, Header as RpcHeader, Log, Transaction, TransactionReceipt,
};

use crate::devchain::block::{Block, Mined};

/// A block, with whole transactions or their hashes.
pub(super) fn block(block: &Block, whole: bool) -> RpcBlock {
    let mut bytes = alloy::rlp::Encodable::length(&block.header);
    for mined in &block.transactions {
        bytes += alloy::eips::eip2718::Encodable2718::encode_2718_len(&mined.envelope);
    }
    let transactions = if whole {
        let whole = block.transactions.iter().enumerate();
        BlockTransactions::Full(
            whole
                .map(|(i, mined)| transaction(block, i, mined))
                .collect(),
        )
    } else {
        let hashes = block.transactions.iter().map(hash_of);
        BlockTransactions::Hashes(hashes.collect())
    };
    RpcBlock {
        header: RpcHeader {
            hash: block.hash,
            inner: block.header.clone(),
            total_difficulty: Some(U256::ZERO),
            size: Some(U256::from(bytes)),
        },
        uncles: Vec::new(),
        transactions,
        withdrawals: Some(Vec::new().into()),
    }
}

pub(super) fn transaction(block: &Block, index: usize, mined: &Mined) -> Transaction {
    Transaction {
        inner: Recovered::new_unchecked(mined.envelope.clone(), mined.sender),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        transaction_index: Some(index as u64),
        effective_gas_price: Some(mined.gas_price),
        block_timestamp: Some(block.header.timestamp),
    }
}

pub(super) fn transaction_receipt(
    block: &Block,
    index: usize,
    mined: &Mined,
) -> TransactionReceipt {
    let mut next_log = mined.logs_before;
    let inner = mined.receipt.clone().map_logs(|inner| {
        let log_index = next_log;
        next_log += 1;
        Log {
            inner,
            block_hash: Some(block.hash),
            block_number: Some(block.header.number),
            block_timestamp: Some(block.header.timestamp),
            transaction_hash: Some(hash_of(mined)),
            transaction_index: Some(index as u64),
            log_index: Some(log_index),
            removed: false,
        }
    });
    TransactionReceipt {
        inner,
        transaction_hash: hash_of(mined),
        transaction_index: Some(index as u64),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        gas_used: mined.gas_used,
        effective_gas_price: mined.gas_price,
        blob_gas_used: None,
        blob_gas_price: None,
        from: mined.sender,
        to: mined.envelope.to(),
        contract_address: mined.created,
    }
}

fn hash_of(mined: &Mined) -> B256 {
    *mined.envelope.tx_hash()
}
