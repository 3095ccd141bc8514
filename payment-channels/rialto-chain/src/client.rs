//! The chain through a JSON-RPC endpoint: deposits, claims, settlement, withdrawals, and what the
//! contracts say.
//!
//! Works with the development chain, anvil, or any EVM chain with EIP-1559 fees. Every
//! transaction is simulated before it is sent, and counts only after `confirmations` blocks.
//! Non-goals: deciding when to do any of it; keeping keys (one key, given at the start).

mod claim;
mod error;
mod events;
mod read;
mod send;
mod transfer;
mod types;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::http::reqwest;
use rialto_channels::SettlementDomain;

pub use error::{ChainError, ConnectError};
pub use events::{ChannelEvent, Event};
pub use transfer::TransferFate;
pub use types::{
    Claimed, DepositAuthorization, Deposited, DroppedRow, Refunded, Settled, Withdrawn,
};

use crate::contracts::Addresses;
use error::from_rpc;
use send::Nonces;

/// How to reach a chain and whom to be there.
#[derive(Clone)]
pub struct ClientConfig {
    /// The JSON-RPC endpoint, `http://` or `https://`.
    pub rpc_url: String,
    /// EIP-155 chain id that the endpoint must have.
    pub chain_id: u64,
    /// Private key of the account that sends and pays for transactions.
    pub key: B256,
    /// The contracts to work with.
    pub contracts: Addresses,
    /// Blocks, the transaction's own included, after which it counts. At least 1.
    pub confirmations: u64,
    /// How long a transaction may take to be confirmed.
    pub confirm_within: Duration,
    /// How long one call of the endpoint may take.
    pub call_timeout: Duration,
}

impl ClientConfig {
    /// The canonical contracts, one confirmation, one minute to confirm, 20 s a call.
    #[must_use]
    pub fn new(rpc_url: impl Into<String>, chain_id: u64, key: B256) -> Self {
        Self {
            rpc_url: rpc_url.into(),
            chain_id,
            key,
            contracts: Addresses::default(),
            confirmations: 1,
            confirm_within: Duration::from_secs(60),
            call_timeout: Duration::from_secs(20),
        }
    }
}

impl fmt::Debug for ClientConfig {
    /// Without the key, and without the URL, which may carry an access token (M7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("chain_id", &self.chain_id)
            .field("contracts", &self.contracts)
            .field("confirmations", &self.confirmations)
            .finish_non_exhaustive()
    }
}

/// A connection to one chain, as one account. Clones share it, and may send at the same time.
#[derive(Clone)]
pub struct ChainClient {
    inner: Arc<Inner>,
}

struct Inner {
    provider: DynProvider,
    signer: PrivateKeySigner,
    nonces: Nonces,
    config: ClientConfig,
}

impl ChainClient {
    /// Connects, and checks that this is the right chain and that the contracts are there.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let signer = PrivateKeySigner::from_bytes(&config.key).map_err(|_| ConnectError::Key)?;
        let url: reqwest::Url = config.rpc_url.parse().map_err(|_| ConnectError::Url)?;
        let mut http = reqwest::Client::builder().timeout(config.call_timeout);
        if url.host_str().is_some_and(is_loopback) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(ConnectError::Http)?;
        let provider = ProviderBuilder::new()
            .disable_recommended_fillers()
            .connect_reqwest(http, url)
            .erased();
        let found = provider
            .get_chain_id()
            .await
            .map_err(|error| ConnectError::Chain(from_rpc(error)))?;
        if found != config.chain_id {
            let expected = config.chain_id;
            return Err(ConnectError::WrongChain { expected, found });
        }
        let Addresses {
            settlement,
            collector,
            token,
        } = config.contracts;
        for address in [settlement, collector, token] {
            let code = provider.get_code_at(address).await;
            if code
                .map_err(|error| ConnectError::Chain(from_rpc(error)))?
                .is_empty()
            {
                return Err(ConnectError::MissingContract { address });
            }
        }
        Ok(Self {
            inner: Arc::new(Inner {
                provider,
                signer,
                nonces: Nonces::default(),
                config,
            }),
        })
    }

    /// The account that sends the transactions.
    #[must_use]
    pub fn address(&self) -> Address {
        self.inner.signer.address()
    }

    /// EIP-155 chain id.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.inner.config.chain_id
    }

    /// The contracts that this client works with.
    #[must_use]
    pub fn contracts(&self) -> Addresses {
        self.inner.config.contracts
    }

    /// The settlement contract as vouchers are bound to it.
    #[must_use]
    pub fn domain(&self) -> SettlementDomain {
        SettlementDomain {
            chain_id: self.inner.config.chain_id,
            contract: self.inner.config.contracts.settlement,
        }
    }
}

impl fmt::Debug for ChainClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainClient")
            .field("address", &self.address())
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// A proxy is for the world outside; the chain on this machine is reached directly.
fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
