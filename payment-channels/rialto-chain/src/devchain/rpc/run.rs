//! Methods that run code without changing anything.

use alloy::primitives::TxKind;
use alloy::rpc::types::TransactionRequest;
use revm::context::result::ExecutionResult;
use serde_json::{Map, Value};

use super::params::Params;
use super::{RpcError, quantity, to_json};
use crate::devchain::block::GAS_LIMIT;
use crate::devchain::chain::{At, Chain};
use crate::devchain::evm::Call;

pub(super) fn call(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let (call, at) = request(chain, params)?;
    match chain.call(at, &call)? {
        ExecutionResult::Success { output, .. } => to_json(output.data()),
        ExecutionResult::Revert { output, .. } => Err(RpcError::reverted(&output)),
        ExecutionResult::Halt { reason, .. } => Err(RpcError::server(reason.to_string())),
    }
}

/// The least gas, to within 1.5 per cent, with which the call succeeds. A call needs more than it
/// uses where refunds come at the end or a called contract gets only part of what is left
/// (EIP-150).
pub(super) fn estimate_gas(chain: &Chain, params: &Params) -> Result<Value, RpcError> {
    let (mut call, at) = request(chain, params)?;
    let used = match chain.call(at, &call)? {
        ExecutionResult::Success { gas, .. } => gas.tx_gas_used(),
        ExecutionResult::Revert { output, .. } => return Err(RpcError::reverted(&output)),
        ExecutionResult::Halt { reason, .. } => {
            let limit = call.gas;
            let message = format!("gas required exceeds allowance ({limit}): {reason}");
            return Err(RpcError::server(message));
        }
    };
    // `enough` succeeds; `short` does not.
    let mut enough = call.gas;
    let mut short = used.saturating_sub(1);
    let mut guess = used;
    while enough - short > 1 && (enough - short) > enough / PRECISION {
        call.gas = guess.clamp(short + 1, enough - 1);
        // A limit below the transaction's own cost is refused, not run.
        if matches!(chain.call(at, &call), Ok(outcome) if outcome.is_success()) {
            enough = call.gas;
        } else {
            short = call.gas;
        }
        guess = short + (enough - short) / 2;
        if guess > short.saturating_mul(2) {
            guess = short.saturating_mul(2);
        }
    }
    quantity(enough)
}

fn request(chain: &Chain, params: &Params) -> Result<(Call, At), RpcError> {
    let request = params.required::<TransactionRequest>(0, "transaction")?;
    let at = params.state(chain, 1)?;
    let overrides = params.optional::<Map<String, Value>>(2, "state overrides")?;
    if overrides.is_some_and(|overrides| !overrides.is_empty()) {
        let message = "state overrides are not supported; use anvil_setCode and its kin";
        return Err(RpcError::invalid_params(message.to_owned()));
    }
    if request.blob_versioned_hashes.is_some() || request.authorization_list.is_some() {
        let message = "blobs and authorization lists are not supported";
        return Err(RpcError::invalid_params(message.to_owned()));
    }
    if request.input.input.is_some()
        && request.input.data.is_some()
        && request.input.input != request.input.data
    {
        let message = "`input` and `data` differ";
        return Err(RpcError::invalid_params(message.to_owned()));
    }
    let call = Call {
        from: request.from.unwrap_or_default(),
        to: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: request.input.into_input().unwrap_or_default(),
        gas: request.gas.unwrap_or(GAS_LIMIT).min(GAS_LIMIT),
    };
    Ok((call, at))
}

/// Stop searching once the error is below one part in this many.
const PRECISION: u64 = 64;
