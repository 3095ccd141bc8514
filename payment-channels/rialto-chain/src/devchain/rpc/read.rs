//! Methods that read blocks and state.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, U64, U256};
use alloy::rpc::types::{FeeHistory, Filter, FilterBlockOption, Log};
use serde_json::Value;

use super::params::{Params, block_number};
use super::{RpcError, encode, quantity, to_json};
use crate::devchain::block::Block;
use crate::devchain::chain::Chain;

pub(super) fn block_by_number(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let tag = params.required::<BlockNumberOrTag>(0, "block")?;
    let whole = params.optional(1, "whole transactions")?.unwrap_or(false);
    block_json(chain, block_number(chain, tag), whole)
}

pub(super) fn block_by_hash(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let hash = params.required::<B256>(0, "hash")?;
    let whole = params.optional(1, "whole transactions")?.unwrap_or(false);
    block_json(chain, chain.number_of(hash), whole)
}

pub(super) fn block_receipts(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let number = match params.required::<BlockId>(0, "block")? {
        BlockId::Number(tag) => block_number(chain, tag),
        BlockId::Hash(hash) => chain.number_of(hash.block_hash),
    };
    let Some(block) = number.and_then(|number| chain.blocks().get(number)) else {
        return Ok(Value::Null);
    };
    let mined = block.transactions.iter().enumerate();
    let receipts: Vec<_> = mined
        .map(|(index, mined)| encode::transaction_receipt(block, index, mined))
        .collect();
    to_json(&receipts)
}

pub(super) fn transaction(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    match chain.transaction(params.required(0, "hash")?) {
        Some((block, index, mined)) => to_json(&encode::transaction(block, index, mined)),
        None => Ok(Value::Null),
    }
}

pub(super) fn transaction_receipt(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    match chain.transaction(params.required(0, "hash")?) {
        Some((block, index, mined)) => to_json(&encode::transaction_receipt(block, index, mined)),
        None => Ok(Value::Null),
    }
}

pub(super) fn logs(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let filter = params.required::<Filter>(0, "filter")?;
    let mut found: Vec<Log> = Vec::new();
    for block in searched(chain, &filter)? {
        if !filter.matches_bloom(block.header.logs_bloom) {
            continue;
        }
        for (index, mined) in block.transactions.iter().enumerate() {
            let receipt = encode::transaction_receipt(block, index, mined);
            let logs = receipt.inner.into_logs().into_iter();
            found.extend(logs.filter(|log| filter.matches(&log.inner)));
        }
        if found.len() > LOGS_MAX {
            let message = format!("more than {LOGS_MAX} logs match; ask for fewer blocks");
            return Err(RpcError::limit_exceeded(message));
        }
    }
    to_json(&found)
}

pub(super) fn balance(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let view = chain.view(params.state(chain, 1)?);
    to_json(&view.account(address).balance)
}

pub(super) fn transaction_count(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let view = chain.view(params.state(chain, 1)?);
    quantity(view.account(address).nonce)
}

pub(super) fn code(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let view = chain.view(params.state(chain, 1)?);
    to_json(&view.code(address).original_bytes())
}

pub(super) fn storage(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let key = params.required::<U256>(1, "slot")?;
    let view = chain.view(params.state(chain, 2)?);
    to_json(&B256::from(view.slot(address, key)))
}

pub(super) fn fee_history(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let count = params.required::<U64>(0, "number of blocks")?.to::<u64>();
    let newest = params.required::<BlockNumberOrTag>(1, "newest block")?;
    let percentiles = params.optional::<Vec<f64>>(2, "percentiles")?;
    if percentiles
        .as_ref()
        .is_some_and(|percentiles| percentiles.len() > PERCENTILES_MAX)
    {
        let message = format!("at most {PERCENTILES_MAX} percentiles");
        return Err(RpcError::invalid_params(message));
    }
    let newest = block_number(chain, newest)
        .ok_or_else(|| RpcError::server("header not found".to_owned()))?;
    let count = usize::try_from(count)
        .unwrap_or(FEE_HISTORY_MAX)
        .clamp(1, FEE_HISTORY_MAX)
        .min(newest + 1);
    let blocks = &chain.blocks()[newest + 1 - count..=newest];
    let mut history = FeeHistory {
        oldest_block: (newest + 1 - count) as u64,
        ..FeeHistory::default()
    };
    for block in blocks {
        history.base_fee_per_gas.push(block.base_fee().into());
        history.gas_used_ratio.push(gas_used_ratio(block));
        history.base_fee_per_blob_gas.push(1);
        history.blob_gas_used_ratio.push(0.0);
    }
    let next = chain.blocks()[newest].next_base_fee();
    history.base_fee_per_gas.push(next.into());
    history.base_fee_per_blob_gas.push(1);
    history.reward = percentiles.map(|percentiles| {
        let rewards = blocks.iter().map(|block| rewards(block, percentiles.len()));
        rewards.collect()
    });
    to_json(&history)
}

fn block_json(chain: &Chain, number: Option<usize>, whole: bool) -> Result<Value, RpcError> {
    match number.and_then(|number| chain.blocks().get(number)) {
        Some(block) => to_json(&encode::block(block, whole)),
        None => Ok(Value::Null),
    }
}

/// The blocks that a filter names.
fn searched<'a>(chain: &'a Chain, filter: &Filter) -> Result<&'a [Block], RpcError> {
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let number = chain
                .number_of(hash)
                .ok_or_else(|| RpcError::server("unknown block".to_owned()))?;
            (number, number)
        }
        FilterBlockOption::Range {
            from_block,
            to_block,
        } => {
            let latest = chain.blocks().len() - 1;
            let from = from_block.unwrap_or_default();
            // Blocks that are not there yet have no logs.
            let Some(from) = block_number(chain, from) else {
                return Ok(&[]);
            };
            let to = block_number(chain, to_block.unwrap_or_default()).unwrap_or(latest);
            if from > to {
                return Err(RpcError::invalid_params(format!(
                    "invalid block range: {from} to {to}"
                )));
            }
            (from, to)
        }
    };
    Ok(&chain.blocks()[from..=to])
}

/// The tips of a block's transactions; they are few, so every percentile is the median.
fn rewards(block: &Block, percentiles: usize) -> Vec<u128> {
    let base_fee = u128::from(block.base_fee());
    let mut tips: Vec<u128> = block
        .transactions
        .iter()
        .map(|mined| mined.gas_price.saturating_sub(base_fee))
        .collect();
    tips.sort_unstable();
    let median = tips.get(tips.len() / 2).copied().unwrap_or(0);
    vec![median; percentiles]
}

fn gas_used_ratio(block: &Block) -> f64 {
    let part = |gas: u64| f64::from(u32::try_from(gas).unwrap_or(u32::MAX));
    part(block.header.gas_used) / part(block.header.gas_limit)
}

/// Logs in one answer.
const LOGS_MAX: usize = 10_000;
/// Percentiles in one fee history, as go-ethereum has it: each is an answer for every block.
const PERCENTILES_MAX: usize = 100;
/// Blocks in one fee history.
const FEE_HISTORY_MAX: usize = 1_024;
