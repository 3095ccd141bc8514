//! The chain of a node: the embedded development chain, or any EVM RPC endpoint.

use std::net::SocketAddr;

use alloy_primitives::{Address, B256, address};
use rialto_chain::client::{ChainClient, ChainError, ClientConfig, ConnectError};
use rialto_chain::contracts::{self, Addresses};
use rialto_chain::devchain::{self, DEV_ACCOUNTS, DevChain, Server};
use rialto_channels::SigningKey;
use tokio::net::TcpListener;

use crate::config::{ChainChoice, Config};
use crate::keys::{self, KeyError};

/// A client, and the development chain behind it if there is one.
#[derive(Debug)]
pub(crate) struct Chain {
    client: ChainClient,
    chain_id: u64,
    rpc_url: String,
    dev: Option<Dev>,
}

#[derive(Debug)]
struct Dev {
    address: SocketAddr,
    server: tokio::sync::Mutex<Option<Server>>,
}

impl Chain {
    /// Starts or connects the chain; also the host's key and the provider's payout address.
    pub(crate) async fn start(
        config: &Config,
    ) -> Result<(Self, SigningKey, Address), ChainStartError> {
        match &config.chain {
            ChainChoice::Dev { listen } => Self::start_dev(config, *listen).await,
            ChainChoice::Rpc { url, chain_id } => Self::connect(config, url, *chain_id).await,
        }
    }

    async fn start_dev(
        config: &Config,
        listen: SocketAddr,
    ) -> Result<(Self, SigningKey, Address), ChainStartError> {
        let fail = |source| ChainStartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(fail)?;
        let settings = devchain::Config {
            dir: Some(config.data_dir.join("chain")),
            ..devchain::Config::default()
        };
        let chain_id = settings.chain_id;
        // Opening replays the block log.
        let chain = tokio::task::spawn_blocking(|| DevChain::open(settings))
            .await
            .map_err(ChainStartError::Task)??;
        let server = chain.serve(listener).map_err(fail)?;
        let (address, rpc_url) = (server.address(), server.url());
        let [host, provider, ..] = DEV_ACCOUNTS;
        let client = client(config, &rpc_url, chain_id, &host.key.0).await?;
        let key = SigningKey::from_bytes(&host.key.0).map_err(KeyError::Invalid)?;
        let receiver = config.payout.unwrap_or(provider.address);
        let dev = Some(Dev {
            address,
            server: tokio::sync::Mutex::new(Some(server)),
        });
        Ok((
            Self {
                client,
                chain_id,
                rpc_url,
                dev,
            },
            key,
            receiver,
        ))
    }

    async fn connect(
        config: &Config,
        url: &str,
        chain_id: u64,
    ) -> Result<(Self, SigningKey, Address), ChainStartError> {
        let path = config.data_dir.join("keys").join("host.key");
        let key = keys::load_or_create(&path)?;
        let client = client(config, url, chain_id, &keys::read_bytes(&path)?).await?;
        let receiver = config.payout.ok_or(ChainStartError::NoPayout)?;
        Ok((
            Self {
                client,
                chain_id,
                rpc_url: url.to_owned(),
                dev: None,
            },
            key,
            receiver,
        ))
    }

    /// Whether the chain has what deposits by Permit2 need.
    ///
    /// # Errors
    /// [`ConnectError::MissingContract`] if it does not.
    pub(crate) async fn check_permit2(&self) -> Result<(), ChainStartError> {
        let contracts = self.client.contracts();
        for address in [contracts.permit2, contracts.permit2_collector] {
            if !self.client.has_code(address).await? {
                return Err(ConnectError::MissingContract { address }.into());
            }
        }
        Ok(())
    }

    pub(crate) fn client(&self) -> &ChainClient {
        &self.client
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The endpoint that clients may be told of, or nothing: an operator's own endpoint often
    /// carries its access token in the URL (M7).
    pub(crate) fn public_rpc_url(&self) -> String {
        if self.dev.is_some() || is_bare(&self.rpc_url) {
            self.rpc_url.clone()
        } else {
            String::new()
        }
    }

    pub(crate) fn dev_accounts(&self) -> Vec<(Address, [u8; 32])> {
        let accounts = self.dev.iter().flat_map(|_| DEV_ACCOUNTS);
        accounts
            .map(|account| (account.address, account.key.0))
            .collect()
    }

    pub(crate) fn dev_address(&self) -> Option<SocketAddr> {
        self.dev.as_ref().map(|dev| dev.address)
    }

    pub(crate) async fn shutdown(&self) {
        if let Some(dev) = &self.dev
            && let Some(server) = dev.server.lock().await.take()
            && let Err(error) = server.shutdown().await
        {
            tracing::warn!(%error, "the development chain did not stop cleanly");
        }
    }
}

/// Whether a URL is only a scheme, a host and perhaps a port.
fn is_bare(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    !authority.contains(['/', '@', '?', '#'])
}

async fn client(
    config: &Config,
    url: &str,
    chain_id: u64,
    key: &[u8; 32],
) -> Result<ChainClient, ChainStartError> {
    let (token, ..) = token(chain_id)?;
    let risk = &config.risk;
    let depths = risk.depths(config.payments.confirmations);
    let settings = ClientConfig {
        confirmations: config.payments.confirmations,
        depths: depths.map_err(ChainStartError::Depths)?,
        rpc_urls_further: risk.rpc_further.clone(),
        replace_after: risk.replace_after,
        fee_max: u128::from(risk.fee_gwei_max).saturating_mul(WEI_PER_GWEI),
        contracts: Addresses {
            token,
            ..Addresses::default()
        },
        ..ClientConfig::new(url, chain_id, B256::new(*key))
    };
    Ok(ChainClient::connect(settings).await?)
}

const WEI_PER_GWEI: u128 = 1_000_000_000;

/// Why there is no chain. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum ChainStartError {
    /// The development chain cannot be opened.
    #[error("the development chain cannot be opened")]
    Dev(#[from] devchain::OpenError),
    /// Its address is taken.
    #[error("the development chain cannot listen on {listen}: pass another --chain-listen")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Replaying its blocks failed.
    #[error("the development chain's start failed")]
    Task(#[source] tokio::task::JoinError),
    /// The depths that sums must lie at make no sense.
    #[error("{0}")]
    Depths(String),
    /// The RPC endpoint cannot be used.
    #[error("the chain's RPC endpoint cannot be used")]
    Connect(#[from] ConnectError),
    /// The RPC endpoint does not answer.
    #[error("the chain's RPC endpoint does not answer")]
    Client(#[from] ChainError),
    /// The host's key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No token to be paid in.
    #[error(
        "no token is known for chain {chain_id}: this release knows USDC on chains 8453 and 84532"
    )]
    NoToken {
        /// The chain.
        chain_id: u64,
    },
    /// Nowhere to pay to.
    #[error("the payout address is missing: pass --payout")]
    NoPayout,
}

/// The token a chain is paid in: address, EIP-712 name, EIP-712 version.
pub(crate) fn token(
    chain_id: u64,
) -> Result<(Address, &'static str, &'static str), ChainStartError> {
    match chain_id {
        84_532 => Ok((
            contracts::DEV_TOKEN,
            contracts::DEV_TOKEN_NAME,
            contracts::DEV_TOKEN_VERSION,
        )),
        8_453 => Ok((
            address!("833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"),
            "USD Coin",
            "2",
        )),
        _ => Err(ChainStartError::NoToken { chain_id }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_without_room_for_a_secret_are_published() {
        for bare in ["https://mainnet.base.org", "http://127.0.0.1:8545/"] {
            assert!(is_bare(bare), "{bare}");
        }
        for secret in [
            "https://rpc.example/v2/token",
            "https://user:token@rpc.example",
            "https://rpc.example/?key=token",
            "https://rpc.example?key=token",
        ] {
            assert!(!is_bare(secret), "{secret}");
        }
    }
}
