//! Methods that make a step: transactions, mining, the clock, development overrides.

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::{Address, B256, Bytes, Signature, U64, U256};
use serde_json::{Value, json};

use super::params::Params;
use super::{RpcError, to_json};
use crate::devchain::chain::Chain;
use crate::devchain::record::{Override, SenderAndTransaction};

/// Checks a signed transaction and mines it at once, in a block of its own.
pub(super) fn send_raw_transaction(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let raw = params.required::<Bytes>(0, "raw transaction")?;
    let envelope = TxEnvelope::decode_2718_exact(&raw)
        .map_err(|error| RpcError::invalid_params(format!("raw transaction: {error}")))?;
    let hash = *envelope.tx_hash();
    if chain.transaction(hash).is_some() {
        return Err(RpcError::server("already known".to_owned()));
    }
    match envelope.chain_id() {
        Some(found) if found == chain.chain_id() => {}
        Some(found) => {
            let ours = chain.chain_id();
            let message = format!("invalid chain id for signer: have {found} want {ours}");
            return Err(RpcError::server(message));
        }
        None => {
            let message = "only replay-protected (EIP-155) transactions allowed over RPC";
            return Err(RpcError::server(message.to_owned()));
        }
    }
    let sender = sender_of(&envelope)?;
    chain.mine(vec![SenderAndTransaction { sender, envelope }])?;
    to_json(&hash)
}

/// `evm_mine`: one empty block, at the given time if there is one.
pub(super) fn mine(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    if let Some(timestamp) = params.optional::<U64>(0, "timestamp")? {
        chain.set_next_timestamp(timestamp.to())?;
    }
    chain.mine(Vec::new())?;
    Ok(json!("0x0"))
}

/// `anvil_mine`: several empty blocks, so many seconds apart.
pub(super) fn mine_many(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let count = params.optional::<U64>(0, "blocks")?.map_or(1, |n| n.to());
    let interval_secs = params.optional::<U64>(1, "interval")?.map_or(0, |n| n.to());
    if count > MINE_MAX {
        let message = format!("at most {MINE_MAX} blocks at a time");
        return Err(RpcError::limit_exceeded(message));
    }
    for mined in 0..count {
        if mined > 0 && interval_secs > 0 {
            chain.increase_time(interval_secs)?;
        }
        chain.mine(Vec::new())?;
    }
    Ok(Value::Null)
}

/// Answers by how many seconds the clock is ahead in all.
pub(super) fn increase_time(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let secs = params.required::<U64>(0, "seconds")?;
    Ok(json!(chain.increase_time(secs.to())?))
}

pub(super) fn set_next_timestamp(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let timestamp = params.required::<U64>(0, "timestamp")?;
    chain.set_next_timestamp(timestamp.to())?;
    Ok(Value::Null)
}

pub(super) fn revert(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let snapshot = params.required::<U64>(0, "snapshot")?;
    Ok(json!(chain.revert(snapshot.to())?))
}

pub(super) fn set_code(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let code = params.required::<Bytes>(1, "code")?;
    chain.override_state(Override::Code(address, code))?;
    Ok(Value::Null)
}

pub(super) fn set_balance(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let balance = params.required::<U256>(1, "balance")?;
    chain.override_state(Override::Balance(address, balance))?;
    Ok(Value::Null)
}

pub(super) fn set_nonce(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let nonce = params.required::<U64>(1, "nonce")?;
    chain.override_state(Override::Nonce(address, nonce.to()))?;
    Ok(Value::Null)
}

pub(super) fn set_storage(chain: &mut Chain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required::<Address>(0, "address")?;
    let key = params.required::<U256>(1, "slot")?;
    let value = params.required::<B256>(2, "value")?;
    chain.override_state(Override::Slot(address, key, value.into()))?;
    Ok(json!(true))
}

/// Recovers the sender; the signature must be the canonical one (EIP-2).
fn sender_of(envelope: &TxEnvelope) -> Result<Address, RpcError> {
    let (signature, digest): (&Signature, B256) = match envelope {
        TxEnvelope::Legacy(tx) => (tx.signature(), tx.signature_hash()),
        TxEnvelope::Eip2930(tx) => (tx.signature(), tx.signature_hash()),
        TxEnvelope::Eip1559(tx) => (tx.signature(), tx.signature_hash()),
        TxEnvelope::Eip4844(_) | TxEnvelope::Eip7702(_) => {
            return Err(RpcError::server(
                "transaction type not supported".to_owned(),
            ));
        }
    };
    if signature.normalize_s().is_some() {
        return Err(RpcError::server(
            "invalid transaction v, r, s values".to_owned(),
        ));
    }
    signature
        .recover_address_from_prehash(&digest)
        .map_err(|_| RpcError::server("invalid sender".to_owned()))
}

/// Blocks that one call may mine.
const MINE_MAX: u64 = 10_000;
