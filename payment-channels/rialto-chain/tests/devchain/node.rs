//! A chain under test and the transactions that tests send to it.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEnvelope, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, B256, Bytes, U256, hex};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use rialto_chain::contracts::{DEV_CHAIN_ID, DEV_TOKEN, IErc3009};
use rialto_chain::devchain::{Config, DEV_ACCOUNTS, DevChain, RpcError};
use serde_json::{Value, json};

pub(crate) struct Node(pub(crate) DevChain);

impl Node {
    pub(crate) fn new() -> Self {
        Self::open(Config::default())
    }

    pub(crate) fn open(config: Config) -> Self {
        Self(DevChain::open(config).unwrap())
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        match self.try_ask(method, params).await {
            Ok(answer) => answer,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    pub(crate) async fn try_ask(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.0.request(method, params).await
    }

    pub(crate) async fn refusal(&self, method: &str, params: Value) -> RpcError {
        self.try_ask(method, params).await.unwrap_err()
    }

    pub(crate) async fn number(&self) -> u64 {
        quantity(&self.ask("eth_blockNumber", json!([])).await)
    }

    pub(crate) async fn nonce(&self, account: Address) -> u64 {
        let answer = self.ask("eth_getTransactionCount", json!([account, "latest"]));
        quantity(&answer.await)
    }

    pub(crate) async fn balance(&self, account: Address) -> U256 {
        let answer = self.ask("eth_getBalance", json!([account, "latest"])).await;
        serde_json::from_value(answer).unwrap()
    }

    pub(crate) async fn latest(&self) -> Value {
        self.ask("eth_getBlockByNumber", json!(["latest", false]))
            .await
    }

    pub(crate) async fn send(&self, raw: &Bytes) -> Result<B256, RpcError> {
        let hash = self.try_ask("eth_sendRawTransaction", json!([raw])).await?;
        Ok(serde_json::from_value(hash).unwrap())
    }

    /// Moves tokens from one development account to another, and returns the receipt.
    pub(crate) async fn move_tokens(&self, from: usize, to: usize, value: u64) -> Value {
        let call = IErc3009::transferCall {
            to: address(to),
            value: U256::from(value),
        };
        let tx = TxEip1559 {
            nonce: self.nonce(address(from)).await,
            to: DEV_TOKEN.into(),
            input: call.abi_encode().into(),
            gas_limit: 100_000,
            ..plain()
        };
        let hash = self.send(&signed(from, tx)).await.unwrap();
        self.ask("eth_getTransactionReceipt", json!([hash])).await
    }

    pub(crate) async fn tokens(&self, account: Address) -> u64 {
        let call = IErc3009::balanceOfCall { account };
        let call = json!({ "to": DEV_TOKEN, "data": hex::encode_prefixed(call.abi_encode()) });
        let answer = self.ask("eth_call", json!([call, "latest"])).await;
        let balance: Bytes = serde_json::from_value(answer).unwrap();
        U256::from_be_slice(&balance).to()
    }
}

pub(crate) fn address(index: usize) -> Address {
    DEV_ACCOUNTS[index].address
}

pub(crate) fn signer(index: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[index].key).unwrap()
}

/// A transfer of nothing from a fresh account to account 9.
pub(crate) fn plain() -> TxEip1559 {
    TxEip1559 {
        chain_id: DEV_CHAIN_ID,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1,
        to: address(9).into(),
        ..TxEip1559::default()
    }
}

pub(crate) fn plain_legacy() -> TxLegacy {
    TxLegacy {
        chain_id: Some(DEV_CHAIN_ID),
        gas_price: 10_000_000_000,
        gas_limit: 21_000,
        to: address(9).into(),
        ..TxLegacy::default()
    }
}

pub(crate) fn plain_2930() -> TxEip2930 {
    TxEip2930 {
        chain_id: DEV_CHAIN_ID,
        gas_price: 10_000_000_000,
        gas_limit: 21_000,
        to: address(9).into(),
        ..TxEip2930::default()
    }
}

pub(crate) fn signed<T>(index: usize, mut tx: T) -> Bytes
where
    T: SignableTransaction<alloy::primitives::Signature>,
    TxEnvelope: From<alloy::consensus::Signed<T>>,
{
    let signature = signer(index).sign_transaction_sync(&mut tx).unwrap();
    let envelope = TxEnvelope::from(tx.into_signed(signature));
    envelope.encoded_2718().into()
}

/// A number as JSON-RPC writes it.
pub(crate) fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value}"));
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}
