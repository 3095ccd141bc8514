//! The chain through a JSON-RPC endpoint: deposits, claims, settlement, withdrawals, agents and feedback,
//! and what the contracts say.
//!
//! Works with the development chain, anvil, or any EVM chain with EIP-1559 fees. Every
//! transaction is simulated before it is sent, replaced at a better price when it hangs, and counts
//! only after `confirmations` blocks. Several endpoints of one chain stand in for each other.
//! Non-goals: deciding when to do any of it; keeping keys (one key, given at the start).

mod claim;
mod consent;
mod endpoints;
mod error;
mod events;
mod fees;
mod follow;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kept;
mod permit2;
mod read;
mod registry;
mod relay;
mod royalty;
mod send;
mod trail;
mod transfer;
mod types;
mod wait;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::client::RpcClient;
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::TransportError;
use alloy::transports::http::{Http, reqwest};
use rialto_channels::{Confirmations, SettlementDomain};

pub use consent::{
    AnyConsent, DepositAuthorization, DepositConsent, Permit2Authorization, TokenPermit,
};
pub use error::{ChainError, ConnectError};
pub use events::{ChannelEvent, Event};
pub use follow::Followed;
pub use kept::{Fate, KeepError, KeepSent, Outcome, Sent};
pub use read::{Claims, Sight};
pub use registry::{Given, KeptFeedback, Placed, Registered, RegistryClient, RegistryError, Step};
pub use relay::{SignedClaims, SignedRefund};
pub use royalty::Released;
pub use trail::{BlockRef, Trail};
pub use transfer::{TransferFate, TransferProspect};
pub use types::{Claimed, Deposited, DroppedRow, Refunded, Settled, Withdrawn};

use crate::contracts::Addresses;
use endpoints::{Endpoints, OtherChain, other_chain};
use error::from_rpc;
use send::Nonces;

/// How to reach a chain and whom to be there.
#[derive(Clone)]
pub struct ClientConfig {
    /// The JSON-RPC endpoint, `http://` or `https://`.
    pub rpc_url: String,
    /// Further endpoints of the same chain, used in this order when one fails.
    pub rpc_urls_further: Vec<String>,
    /// EIP-155 chain id that the endpoint must have.
    pub chain_id: u64,
    /// Private key of the account that sends and pays for transactions.
    pub key: B256,
    /// The contracts to work with.
    pub contracts: Addresses,
    /// Blocks, the transaction's own included, after which it counts. At least 1.
    pub confirmations: u64,
    /// How deep a channel's money must lie before a view shows it, by amount, beyond
    /// `confirmations`.
    pub depths: Confirmations,
    /// How long a transaction may take to be mined, and each of its further confirmations.
    pub confirm_within: Duration,
    /// How long a transaction may hang before it is submitted again at a better price.
    pub replace_after: Duration,
    /// Never offer more than this, in wei per gas, base fee and tip together.
    pub fee_max: u128,
    /// How long one call of the endpoint may take.
    pub call_timeout: Duration,
}

impl ClientConfig {
    /// The canonical contracts, one endpoint, one confirmation, one minute to confirm, 20 s a call,
    /// 15 s until a transaction is replaced, at most 500 gwei a gas.
    #[must_use]
    pub fn new(rpc_url: impl Into<String>, chain_id: u64, key: B256) -> Self {
        Self {
            rpc_url: rpc_url.into(),
            rpc_urls_further: Vec::new(),
            chain_id,
            key,
            contracts: Addresses::default(),
            confirmations: 1,
            depths: Confirmations::default(),
            confirm_within: Duration::from_secs(60),
            replace_after: Duration::from_secs(15),
            fee_max: 500_000_000_000,
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
    endpoints: Endpoints,
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
        let first = transport(&config.rpc_url, config.call_timeout)?;
        let further: Result<Vec<_>, _> = config
            .rpc_urls_further
            .iter()
            .map(|url| transport(url, config.call_timeout))
            .collect();
        let endpoints = Endpoints::new(first, further?, config.chain_id, config.call_timeout);
        vouched(&endpoints).await?;
        // Endpoints on this machine get no special treatment: nothing here polls by itself.
        let provider = ProviderBuilder::new()
            .disable_recommended_fillers()
            .connect_client(RpcClient::new(endpoints.clone(), false))
            .erased();
        let Addresses {
            settlement,
            collector,
            token,
            ..
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
                endpoints,
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

    /// How long a transaction may take to be mined, and each of its further confirmations.
    #[must_use]
    pub fn confirm_within(&self) -> Duration {
        self.inner.config.confirm_within
    }

    /// How long it may take until a sum lies as deep as the configured depths demand of it.
    #[must_use]
    pub fn deep_within(&self, amount: rialto_channels::Amount) -> Duration {
        let blocks = self.inner.config.depths.blocks_for(amount);
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        self.confirm_within().saturating_mul(blocks)
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

impl ChainClient {
    /// Sorts an endpoint's error. One that talks nonsense is not asked again while there is another.
    fn failed(&self, error: TransportError) -> ChainError {
        let error = from_rpc(error);
        if matches!(error, ChainError::BadAnswer(_)) {
            self.inner.endpoints.pass_over();
        }
        error
    }

    /// An answer that makes no sense.
    fn nonsense(&self, what: impl Into<String>) -> ChainError {
        self.inner.endpoints.pass_over();
        ChainError::BadAnswer(what.into())
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

fn transport(url: &str, call_timeout: Duration) -> Result<Http<reqwest::Client>, ConnectError> {
    let url: reqwest::Url = url.parse().map_err(|_| ConnectError::Url)?;
    let mut http = reqwest::Client::builder().timeout(call_timeout);
    if url.host_str().is_some_and(is_loopback) {
        http = http.no_proxy();
    }
    let http = http.build().map_err(ConnectError::Http)?;
    Ok(Http::with_client(http, url))
}

/// At the start every endpoint that answers must be of the right chain, and one must answer.
async fn vouched(endpoints: &Endpoints) -> Result<(), ConnectError> {
    let said = endpoints.vouch_all().await;
    let mut good = false;
    let mut failure = None;
    for (index, said) in said.into_iter().enumerate() {
        match said {
            Ok(()) => good = true,
            Err(error) => {
                if let Some(OtherChain { expected, found }) = other_chain(&error) {
                    return Err(ConnectError::WrongChain { expected, found });
                }
                let words = error::describe(&error);
                tracing::warn!(
                    endpoint = index,
                    error = words,
                    "a chain RPC endpoint is away"
                );
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if !good => Err(ConnectError::Chain(from_rpc(error))),
        Some(_) | None => Ok(()),
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
