//! JSON-RPC on the chain: which method does what.
//!
//! Errors have the codes and texts that viem, web3.py and alloy recognise: code 3 with the revert
//! data in `data`, -32000 with go-ethereum's words for refused transactions.
//! Non-goals: subscriptions, filters kept on the server, tracing, account management.

mod encode;
mod error;
mod params;
mod read;
mod run;
mod write;

use alloy::primitives::{U64, U256};
use serde::Serialize;
use serde_json::{Value, json};

pub use error::RpcError;

use super::chain::Chain;
use params::Params;

/// Answers one call. Only the chain's own thread calls this.
pub(super) fn dispatch(chain: &mut Chain, method: &str, params: Value) -> Result<Value, RpcError> {
    let params = Params::new(params)?;
    if let Some(answer) = constant(chain, method) {
        return Ok(answer);
    }
    match method {
        "eth_getBlockByNumber" => read::block_by_number(chain, &params),
        "eth_getBlockByHash" => read::block_by_hash(chain, &params),
        "eth_getBlockReceipts" => read::block_receipts(chain, &params),
        "eth_getTransactionByHash" => read::transaction(chain, &params),
        "eth_getTransactionReceipt" => read::transaction_receipt(chain, &params),
        "eth_getLogs" => read::logs(chain, &params),
        "eth_getBalance" => read::balance(chain, &params),
        "eth_getTransactionCount" => read::transaction_count(chain, &params),
        "eth_getCode" => read::code(chain, &params),
        "eth_getStorageAt" => read::storage(chain, &params),
        "eth_feeHistory" => read::fee_history(chain, &params),
        "eth_call" => run::call(chain, &params),
        "eth_estimateGas" => run::estimate_gas(chain, &params),
        "eth_sendRawTransaction" => write::send_raw_transaction(chain, &params),
        "evm_mine" => write::mine(chain, &params),
        "anvil_mine" => write::mine_many(chain, &params),
        "evm_increaseTime" => write::increase_time(chain, &params),
        "evm_setNextBlockTimestamp" => write::set_next_timestamp(chain, &params),
        "evm_snapshot" => quantity(chain.snapshot()),
        "evm_revert" => write::revert(chain, &params),
        "anvil_setCode" => write::set_code(chain, &params),
        "anvil_setBalance" => write::set_balance(chain, &params),
        "anvil_setNonce" => write::set_nonce(chain, &params),
        "anvil_setStorageAt" => write::set_storage(chain, &params),
        _ => Err(RpcError::method_not_found(method)),
    }
}

/// Methods that take no parameters and cannot fail.
fn constant(chain: &Chain, method: &str) -> Option<Value> {
    let base_fee = u128::from(chain.pending().base_fee);
    Some(match method {
        "eth_chainId" => json!(U64::from(chain.chain_id())),
        "net_version" => json!(chain.chain_id().to_string()),
        "web3_clientVersion" => json!(concat!("rialto-devchain/", env!("CARGO_PKG_VERSION"))),
        "net_listening" => json!(true),
        "eth_syncing" => json!(false),
        "eth_accounts" => json!([]),
        "eth_blockNumber" => json!(U64::from(chain.latest().header.number)),
        "eth_gasPrice" => json!(U256::from(base_fee + PRIORITY_FEE)),
        "eth_maxPriorityFeePerGas" => json!(U256::from(PRIORITY_FEE)),
        "eth_blobBaseFee" => json!(U64::from(1)),
        _ => return None,
    })
}

/// A number as JSON-RPC writes it.
fn quantity(number: u64) -> Result<Value, RpcError> {
    to_json(&U64::from(number))
}

fn to_json<T: Serialize>(value: &T) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|error| RpcError::internal(error.to_string()))
}

/// What the chain suggests as a tip, in wei per gas: 1 gwei. Any tip is accepted.
const PRIORITY_FEE: u128 = 1_000_000_000;
