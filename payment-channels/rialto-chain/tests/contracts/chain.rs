//! The two chains that every test runs on, behind one JSON-RPC endpoint each.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use alloy::contract::{CallBuilder, CallDecoder};
use alloy::network::EthereumWallet;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionReceipt;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolError, SolEvent};
use rialto_chain::devchain::{Config, DevChain, Server};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::abi::{
    BatchSettlement, DevPermit2, DevToken, Erc3009DepositCollector, IdentityRegistry,
    Permit2DepositCollector, ReputationRegistry, RoyaltySplitterFactory,
};
use crate::anvil::{AnvilProcess, start_anvil};
use crate::world::{
    COLLECTOR, FACTORY, IDENTITY, PERMIT2, PERMIT2_COLLECTOR, REPUTATION, SETTLEMENT, TOKEN,
    signers,
};

/// The chain id that unmodified x402 clients expect on a development chain.
pub(crate) const CHAIN_ID: u64 = 84_532;
/// What each account holds at genesis, in base units.
pub(crate) const GENESIS_BALANCE: u128 = 1_000_000_000_000;

const GENESIS: &str = include_str!("../../../contracts/artifacts/genesis.json");

/// Which chain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The in-process development chain of this crate.
    Dev,
    /// anvil, an independent implementation.
    Anvil,
}

/// A running chain with the contracts in place; it ends with this value.
pub(crate) struct Chain {
    /// Signs for all the accounts.
    pub(crate) provider: DynProvider,
    settlement: BatchSettlement::BatchSettlementInstance<DynProvider>,
    collector: Erc3009DepositCollector::Erc3009DepositCollectorInstance<DynProvider>,
    token: DevToken::DevTokenInstance<DynProvider>,
    _host: Host,
}

enum Host {
    Dev { _server: Server },
    Anvil { _process: AnvilProcess },
}

/// Runs one test on a fresh chain.
pub(crate) fn run(kind: Kind, test: impl AsyncFnOnce(Chain)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { test(Chain::start(kind).await).await });
}

impl Chain {
    /// Starts a chain whose genesis has the contracts and the accounts' tokens.
    pub(crate) async fn start(kind: Kind) -> Self {
        let (url, host) = match kind {
            Kind::Dev => {
                let chain = DevChain::open(Config::default()).unwrap();
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let server = chain.serve(listener).unwrap();
                (server.url(), Host::Dev { _server: server })
            }
            Kind::Anvil => {
                let (url, process) = start_anvil(CHAIN_ID);
                (url, Host::Anvil { _process: process })
            }
        };
        let mut keys = signers().into_iter();
        let mut wallet = EthereumWallet::new(keys.next().unwrap());
        keys.for_each(|k: PrivateKeySigner| wallet.register_signer(k));
        let provider = ProviderBuilder::new()
            .wallet(wallet)
            .connect_http(url.parse().unwrap())
            .erased();
        let chain = Self {
            settlement: BatchSettlement::new(SETTLEMENT, provider.clone()),
            collector: Erc3009DepositCollector::new(COLLECTOR, provider.clone()),
            token: DevToken::new(TOKEN, provider.clone()),
            provider,
            _host: host,
        };
        if matches!(chain._host, Host::Anvil { .. }) {
            chain.place_genesis().await;
        }
        chain
    }

    pub(crate) fn settlement(&self) -> &BatchSettlement::BatchSettlementInstance<DynProvider> {
        &self.settlement
    }

    pub(crate) fn collector(
        &self,
    ) -> &Erc3009DepositCollector::Erc3009DepositCollectorInstance<DynProvider> {
        &self.collector
    }

    pub(crate) fn token(&self) -> &DevToken::DevTokenInstance<DynProvider> {
        &self.token
    }

    /// What `account` holds of the development token, in base units.
    pub(crate) async fn balance(&self, account: Address) -> u128 {
        u128::try_from(self.token().balanceOf(account).call().await.unwrap()).unwrap()
    }

    /// Sends a transaction and waits for its (successful) execution.
    pub(crate) async fn send<P: Provider, D: CallDecoder>(
        &self,
        call: CallBuilder<P, D>,
    ) -> TransactionReceipt {
        let receipt = self.execute(call).await;
        let hash = receipt.transaction_hash;
        assert!(receipt.status(), "{hash} was reverted");
        receipt
    }

    /// Executes a transaction in a block of exactly this time; whether it was not reverted.
    pub(crate) async fn succeeds_at<P: Provider, D: CallDecoder>(
        &self,
        timestamp: u64,
        call: CallBuilder<P, D>,
    ) -> bool {
        self.rpc("evm_setNextBlockTimestamp", json!([timestamp]))
            .await;
        // With a gas limit, so that nothing is tried out at another time.
        let receipt = self.execute(call.gas(1_000_000)).await;
        assert_eq!(self.now().await, timestamp);
        receipt.status()
    }

    async fn execute<P: Provider, D: CallDecoder>(
        &self,
        call: CallBuilder<P, D>,
    ) -> TransactionReceipt {
        let sent = call.send().await.expect("the transaction is accepted");
        let hash = *sent.tx_hash();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.provider.get_transaction_receipt(hash).await.unwrap();
            if let Some(receipt) = found {
                return receipt;
            }
            assert!(Instant::now() < deadline, "{hash} is not executed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Block time of the newest block, in seconds.
    pub(crate) async fn now(&self) -> u64 {
        let latest = alloy::eips::BlockNumberOrTag::Latest;
        let block = self.provider.get_block_by_number(latest).await.unwrap();
        block.unwrap().header.timestamp
    }

    /// Lets `seconds` pass and makes a block.
    pub(crate) async fn advance(&self, seconds: u64) {
        self.rpc("evm_increaseTime", json!([seconds])).await;
        self.rpc("evm_mine", json!([])).await;
    }

    async fn rpc(&self, method: &'static str, params: Value) -> Value {
        self.provider
            .raw_request(method.into(), params)
            .await
            .unwrap_or_else(|e| panic!("{method}: {e}"))
    }

    /// Puts code and balances where a development chain's genesis has them.
    async fn place_genesis(&self) {
        let code = [
            (SETTLEMENT, &*BatchSettlement::DEPLOYED_BYTECODE),
            (COLLECTOR, &Erc3009DepositCollector::DEPLOYED_BYTECODE),
            (
                PERMIT2_COLLECTOR,
                &Permit2DepositCollector::DEPLOYED_BYTECODE,
            ),
            (TOKEN, &DevToken::DEPLOYED_BYTECODE),
            (PERMIT2, &DevPermit2::DEPLOYED_BYTECODE),
            (FACTORY, &RoyaltySplitterFactory::DEPLOYED_BYTECODE),
            (IDENTITY, &IdentityRegistry::DEPLOYED_BYTECODE),
            (REPUTATION, &ReputationRegistry::DEPLOYED_BYTECODE),
        ];
        for (address, code) in code {
            self.rpc("anvil_setCode", json!([address, code])).await;
        }
        let accounts = signers();
        for account in &accounts {
            let slot = Self::balance_slot(account.address());
            self.set_slot(TOKEN, slot, U256::from(GENESIS_BALANCE).into())
                .await;
        }
        let supply = U256::from(GENESIS_BALANCE) * U256::from(accounts.len());
        self.set_slot(TOKEN, Self::token_slot("totalSupply").into(), supply.into())
            .await;
        // On top of block 0, anvil runs calls at time 0.
        self.rpc("evm_mine", json!([])).await;
    }

    /// Leaves an address without a contract.
    pub(crate) async fn remove_code(&self, contract: Address) {
        self.rpc("anvil_setCode", json!([contract, "0x"])).await;
    }

    /// Writes a word of a contract's storage.
    pub(crate) async fn set_slot(&self, contract: Address, slot: B256, value: B256) {
        self.rpc(
            "anvil_setStorageAt",
            json!([contract, U256::from_be_bytes(slot.0), value]),
        )
        .await;
    }

    /// The slot of a state variable of the token, as the artifacts list it.
    pub(crate) fn token_slot(name: &str) -> U256 {
        let genesis: Value = serde_json::from_str(GENESIS).unwrap();
        U256::from(genesis["slots"]["DevToken"][name].as_u64().unwrap())
    }
}

/// Asserts that a call reverts with exactly this error, fields included.
pub(crate) async fn reverts<P: Provider, D: CallDecoder + Unpin, E: SolError>(
    call: CallBuilder<P, D>,
    expected: E,
) {
    let got = outcome(call).await;
    assert_eq!(
        got,
        Err(expected.abi_encode().into()),
        "expected {}",
        E::SIGNATURE
    );
}

/// Runs a call without a transaction: nothing, or the data that it reverts with.
pub(crate) async fn outcome<P: Provider, D: CallDecoder + Unpin>(
    call: CallBuilder<P, D>,
) -> Result<(), Bytes> {
    match call.call().await {
        Ok(_) => Ok(()),
        Err(e) => Err(e
            .as_revert_data()
            .unwrap_or_else(|| panic!("no revert data: {e}"))),
    }
}

/// The events of one kind in a receipt, in order.
pub(crate) fn events<E: SolEvent>(receipt: &TransactionReceipt) -> Vec<E> {
    let logs = receipt.logs().iter();
    logs.filter_map(|l| E::decode_log(&l.inner).ok())
        .map(|l| l.data)
        .collect()
}

/// Asserts what events of one kind a transaction emitted, in order.
#[track_caller]
pub(crate) fn emitted<E: SolEvent + PartialEq + Debug>(
    receipt: &TransactionReceipt,
    expected: &[E],
) {
    assert_eq!(events::<E>(receipt), expected);
}
