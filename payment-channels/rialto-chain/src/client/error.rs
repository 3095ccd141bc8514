//! What can go wrong with a chain, by what the caller does next.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256, hex};
use alloy::sol_types::{Panic, Revert, SolError};
use alloy::transports::http::reqwest;
use alloy::transports::{RpcError, TransportError, TransportErrorKind};

use super::endpoints::{OtherChain, other_chain};
use crate::contracts;

/// Why a client did not connect. All are the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The private key is zero or not below the group order.
    #[error("the chain key is not a private key")]
    Key,
    /// The endpoint is not a URL.
    #[error("the chain's RPC address is not a URL")]
    Url,
    /// No HTTP client could be made.
    #[error("HTTP client")]
    Http(#[source] reqwest::Error),
    /// The endpoint belongs to another chain.
    #[error("the RPC endpoint is of chain {found}, not {expected}")]
    WrongChain {
        /// The chain id that was asked for.
        expected: u64,
        /// The chain id of the endpoint.
        found: u64,
    },
    /// A contract is not deployed on this chain.
    #[error("there is no contract at {address} on this chain")]
    MissingContract {
        /// Where it should be.
        address: Address,
    },
    /// The endpoint did not answer, or not as a chain does.
    #[error(transparent)]
    Chain(ChainError),
}

/// Why a call or transaction did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The endpoint cannot be reached: try again later. Nothing was sent.
    #[error("chain RPC is unreachable")]
    Unreachable(#[source] TransportError),
    /// The contract refuses, for a reason that the same call meets again.
    #[error("contract reverted: {name}")]
    Reverted {
        /// The custom error's name, the text of `Error(string)`, or the start of unknown data.
        name: String,
        /// The whole revert data.
        data: Bytes,
        /// The transaction, if it was mined; `None` if the simulation stopped it.
        transaction: Option<B256>,
    },
    /// Every endpoint that answers belongs to another chain: the operator's to mend. Nothing was
    /// sent.
    #[error("the RPC endpoint is of chain {found}, not {expected}")]
    WrongChain {
        /// The chain id that was asked for.
        expected: u64,
        /// The chain id of the endpoint.
        found: u64,
    },
    /// Another transaction of the same account took its nonce: it will never be mined.
    #[error("transaction {transaction} lost its nonce to another one and will never be mined")]
    Superseded {
        /// Its hash.
        transaction: B256,
    },
    /// What the chain said does not hold together: it changed while it was read. Ask again.
    #[error("the chain changed while it was read")]
    Changed,
    /// The transaction was sent and not confirmed in time. It may still be mined: look before
    /// sending another.
    #[error("transaction {transaction} was not confirmed within {} s", waited.as_secs())]
    Dropped {
        /// Its hash.
        transaction: B256,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The sending account cannot pay for gas: the operator has to fund it.
    #[error("account {account} cannot pay for gas: {message}")]
    InsufficientFunds {
        /// The account.
        account: Address,
        /// The endpoint's words.
        message: String,
    },
    /// The endpoint refuses the request.
    #[error("chain RPC refused: {message} (code {code})")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// The endpoint's words.
        message: String,
    },
    /// The endpoint answers with something that it should not.
    #[error("chain RPC answered badly: {0}")]
    BadAnswer(String),
    /// A value does not fit the contract's type: a fault of the caller.
    #[error("{0} does not fit the contract's type")]
    OutOfRange(&'static str),
    /// What must be remembered of a transaction could not be stored, so it was not submitted: see
    /// the store's own error.
    #[error("a transaction could not be remembered before it was sent")]
    NotKept(#[source] super::kept::KeepError),
    /// The signer failed: a fault of ours.
    #[error("transaction not signed")]
    Sign(#[source] alloy::signers::Error),
}

impl ChainError {
    pub(super) fn reverted(data: Bytes, transaction: Option<B256>) -> Self {
        Self::Reverted {
            name: revert_name(&data),
            data,
            transaction,
        }
    }

    /// The name of the contract's error, if this is a revert.
    #[must_use]
    pub fn revert(&self) -> Option<&str> {
        if let Self::Reverted { name, .. } = self {
            Some(name)
        } else {
            None
        }
    }
}

/// Sorts an endpoint's error.
pub(super) fn from_rpc(error: TransportError) -> ChainError {
    if let Some(OtherChain { expected, found }) = other_chain(&error) {
        return ChainError::WrongChain { expected, found };
    }
    match error {
        RpcError::ErrorResp(payload) => {
            let message = payload.message.to_string();
            if let Some(data) = payload.as_revert_data() {
                ChainError::reverted(data, None)
            } else if payload.code == REVERT_CODE || message.contains("execution reverted") {
                ChainError::reverted(Bytes::new(), None)
            } else {
                let code = payload.code;
                ChainError::Refused { code, message }
            }
        }
        RpcError::Transport(kind) => ChainError::Unreachable(RpcError::Transport(nameless(kind))),
        RpcError::NullResp => ChainError::BadAnswer("null".to_owned()),
        RpcError::DeserError { err, .. } => ChainError::BadAnswer(err.to_string()),
        RpcError::SerError(error) => ChainError::BadAnswer(error.to_string()),
        RpcError::UnsupportedFeature(what) => {
            ChainError::BadAnswer(format!("{what} is not supported"))
        }
        RpcError::LocalUsageError(error) => ChainError::BadAnswer(error.to_string()),
    }
}

/// What went wrong, in a few words and without the endpoint's URL (M7).
pub(super) fn describe(error: &TransportError) -> String {
    let RpcError::Transport(TransportErrorKind::Custom(cause)) = error else {
        let mut words = error.to_string();
        words.truncate(words.floor_char_boundary(WORDS_MAX));
        return words;
    };
    match cause.downcast_ref::<reqwest::Error>() {
        Some(error) if error.is_timeout() => "no answer in time".to_owned(),
        Some(error) if error.is_connect() => "no connection".to_owned(),
        Some(_) => "the connection broke".to_owned(),
        None => cause.to_string(),
    }
}

/// Without the endpoint's URL, which may carry an access token (M7).
fn nameless(kind: TransportErrorKind) -> TransportErrorKind {
    let TransportErrorKind::Custom(cause) = kind else {
        return kind;
    };
    TransportErrorKind::Custom(match cause.downcast::<reqwest::Error>() {
        Ok(error) => Box::new(error.without_url()),
        Err(cause) => cause,
    })
}

/// Whether the request certainly never reached the endpoint.
pub(super) fn never_left(error: &TransportError) -> bool {
    let RpcError::Transport(TransportErrorKind::Custom(cause)) = error else {
        return false;
    };
    cause
        .downcast_ref::<reqwest::Error>()
        .is_some_and(reqwest::Error::is_connect)
}

fn revert_name(data: &Bytes) -> String {
    if let Ok(revert) = Revert::abi_decode(data) {
        return one_line(&revert.reason);
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return panic_name(panic.code);
    }
    match (contracts::error_name(data), data.first_chunk::<4>()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(selector)) => hex::encode_prefixed(selector),
        (None, None) => "without a reason".to_owned(),
    }
}

/// A contract's own text, as a log or a terminal can show it.
fn one_line(reason: &str) -> String {
    let visible = reason.chars().filter(|c| !c.is_control()).take(WORDS_MAX);
    let line: String = visible.collect();
    if line.trim().is_empty() {
        return "without a reason".to_owned();
    }
    line
}

fn panic_name(code: U256) -> String {
    format!("Panic({code:#x})")
}

/// What go-ethereum and its followers use for reverted calls.
const REVERT_CODE: i64 = 3;
/// Bytes of an endpoint's words that are kept for a log.
const WORDS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolError;

    use super::*;
    use crate::contracts::IBatchSettlement;

    #[tokio::test]
    async fn an_unreachable_endpoint_is_not_named() {
        let url = "http://127.0.0.1:1/secret-token";
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let error = http.get(url).send().await.unwrap_err();
        assert!(format!("{error:?}").contains("secret-token"));
        let error = from_rpc(TransportErrorKind::custom(error));
        assert!(matches!(error, ChainError::Unreachable(_)));
        assert!(!format!("{error:?}").contains("secret-token"), "{error:?}");
    }

    #[test]
    fn revert_data_gets_its_name() {
        let check = |data: Vec<u8>, name: &str| assert_eq!(revert_name(&data.into()), name);
        check(
            IBatchSettlement::ClaimExceedsBalance {}.abi_encode(),
            "ClaimExceedsBalance",
        );
        check(Revert::from("no money").abi_encode(), "no money");
        check(
            Revert::from("\u{1b}[31mno\n money").abi_encode(),
            "[31mno money",
        );
        check(Revert::from("").abi_encode(), "without a reason");
        let long = Revert::from("x".repeat(10_000)).abi_encode();
        check(long, &"x".repeat(WORDS_MAX));
        let panic = Panic {
            code: U256::from(0x11),
        };
        check(panic.abi_encode(), "Panic(0x11)");
        check(vec![1, 2, 3, 4, 5], "0x01020304");
        check(Vec::new(), "without a reason");
    }
}
