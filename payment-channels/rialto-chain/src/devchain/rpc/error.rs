//! JSON-RPC errors.

use alloy::primitives::{Bytes, hex};
use alloy::sol_types::decode_revert_reason;
use revm::context::result::InvalidTransaction;
use serde::Serialize;
use serde_json::Value;

use crate::contracts;
use crate::devchain::step::StepError;

/// What a JSON-RPC call answers when it fails.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct RpcError {
    /// JSON-RPC's or Ethereum's number of the error.
    pub code: i64,
    /// For people; some libraries match it against go-ethereum's words.
    pub message: String,
    /// Revert data as a hexadecimal string, for code 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// The request is not JSON (-32700).
    pub(crate) fn parse(message: String) -> Self {
        Self::new(-32700, message)
    }

    /// The request is JSON, but not a JSON-RPC request (-32600).
    pub(crate) fn invalid_request(message: &str) -> Self {
        Self::new(-32600, message.to_owned())
    }

    pub(super) fn method_not_found(method: &str) -> Self {
        let shown: String = method.chars().take(64).collect();
        Self::new(
            -32601,
            format!("the method {shown} does not exist on this chain"),
        )
    }

    pub(super) fn invalid_params(message: String) -> Self {
        Self::new(-32602, message)
    }

    /// Our fault, or the disk's (-32603).
    pub(crate) fn internal(message: String) -> Self {
        Self::new(-32603, message)
    }

    /// Too many calls at once (-32005, EIP-1474).
    pub(crate) fn busy() -> Self {
        Self::new(-32005, "too many requests are waiting".to_owned())
    }

    pub(super) fn limit_exceeded(message: String) -> Self {
        Self::new(-32005, message)
    }

    pub(super) fn server(message: String) -> Self {
        Self::new(-32000, message)
    }

    /// A call that reverted, with what it reverted with.
    pub(super) fn reverted(data: &Bytes) -> Self {
        let message = match (decode_revert_reason(data), contracts::error_name(data)) {
            (Some(reason), _) => {
                let reason = reason.strip_prefix("revert: ").unwrap_or(&reason);
                format!("execution reverted: {reason}")
            }
            (None, Some(name)) => format!("execution reverted: {name}"),
            (None, None) => "execution reverted".to_owned(),
        };
        Self {
            code: 3,
            message,
            data: Some(Value::String(hex::encode_prefixed(data))),
        }
    }

    fn new(code: i64, message: String) -> Self {
        Self {
            code,
            message,
            data: None,
        }
    }
}

impl From<StepError> for RpcError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Transaction(refused) => Self::server(words(&refused)),
            StepError::TimeRunsBackwards { .. } => Self::invalid_params(error.to_string()),
            StepError::Log(source) => Self::internal(format!("block log: {source}")),
            StepError::Machine(_) | StepError::OtherHash { .. } => {
                Self::internal(error.to_string())
            }
        }
    }
}

/// go-ethereum's words for a refused transaction.
fn words(refused: &InvalidTransaction) -> String {
    use InvalidTransaction as Refused;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest have no words that libraries look for"
    )]
    match refused {
        Refused::NonceTooLow { tx, state } => {
            format!("nonce too low: next nonce {state}, tx nonce {tx}")
        }
        Refused::NonceTooHigh { tx, state } => {
            format!("nonce too high: next nonce {state}, tx nonce {tx}; this chain keeps no queue")
        }
        Refused::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: balance {balance}, tx cost {fee}")
        }
        Refused::GasPriceLessThanBasefee => "max fee per gas less than block base fee".to_owned(),
        Refused::PriorityFeeGreaterThanMaxFee => {
            "max priority fee per gas higher than max fee per gas".to_owned()
        }
        Refused::CallerGasLimitMoreThanBlock => "exceeds block gas limit".to_owned(),
        Refused::CallGasCostMoreThanGasLimit {
            initial_gas,
            gas_limit,
        } => format!("intrinsic gas too low: gas {gas_limit}, minimum needed {initial_gas}"),
        Refused::GasFloorMoreThanGasLimit {
            gas_floor,
            gas_limit,
        } => format!("intrinsic gas too low: gas {gas_limit}, calldata floor {gas_floor}"),
        Refused::RejectCallerWithCode => "sender not an eoa".to_owned(),
        other => other.to_string(),
    }
}
