//! Parameters of a JSON-RPC call, by position, with errors that say which one is wrong.

use alloy::eips::{BlockId, BlockNumberOrTag};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RpcError;
use crate::devchain::chain::{At, Chain};

/// The parameter list.
#[derive(Debug)]
pub(super) struct Params(Vec<Value>);

impl Params {
    pub(super) fn new(params: Value) -> Result<Self, RpcError> {
        match params {
            Value::Null => Ok(Self(Vec::new())),
            Value::Array(list) => Ok(Self(list)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Err(
                RpcError::invalid_params("params: expected a list".to_owned()),
            ),
        }
    }

    pub(super) fn required<T: DeserializeOwned>(
        &self,
        index: usize,
        name: &str,
    ) -> Result<T, RpcError> {
        self.optional(index, name)?
            .ok_or_else(|| RpcError::invalid_params(format!("missing parameter {index}: {name}")))
    }

    /// `None` if the parameter is missing or `null`.
    pub(super) fn optional<T: DeserializeOwned>(
        &self,
        index: usize,
        name: &str,
    ) -> Result<Option<T>, RpcError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|error| {
                RpcError::invalid_params(format!("parameter {index}, {name}: {error}"))
            }),
        }
    }

    /// Which state to read; the latest if the parameter is missing.
    pub(super) fn state(&self, chain: &Chain, index: usize) -> Result<At, RpcError> {
        match self.optional::<BlockId>(index, "block")? {
            None => Ok(At::Tip),
            Some(BlockId::Number(
                BlockNumberOrTag::Latest
                | BlockNumberOrTag::Pending
                | BlockNumberOrTag::Safe
                | BlockNumberOrTag::Finalized,
            )) => Ok(At::Tip),
            Some(BlockId::Number(tag)) => block_number(chain, tag)
                .map(At::Block)
                .ok_or_else(|| RpcError::server("header not found".to_owned())),
            Some(BlockId::Hash(hash)) => chain
                .number_of(hash.block_hash)
                .map(At::Block)
                .ok_or_else(|| RpcError::server("header for hash not found".to_owned())),
        }
    }
}

/// The block that a number or tag names; `None` if there is none yet. The pending block is not
/// kept: its tag names the latest.
pub(super) fn block_number(chain: &Chain, tag: BlockNumberOrTag) -> Option<usize> {
    let latest = chain.blocks().len() - 1;
    match tag {
        BlockNumberOrTag::Latest
        | BlockNumberOrTag::Pending
        | BlockNumberOrTag::Safe
        | BlockNumberOrTag::Finalized => Some(latest),
        BlockNumberOrTag::Earliest => Some(0),
        BlockNumberOrTag::Number(number) => usize::try_from(number).ok().filter(|n| *n <= latest),
    }
}
