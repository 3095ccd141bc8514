//! What a call needs to reach: the gateway's documents, the chain, and the time.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bounded::{DOCUMENT_BYTES_MAX, read_bounded};
use super::channel::Channel;
use super::public::may_be_public;
use super::quote::Offer;
use super::rpc::Rpc;
use super::{ClientError, PayingClient};

impl PayingClient {
    /// The RPC endpoint of a channel's chain.
    ///
    /// # Errors
    /// [`ClientError::WrongChain`] when it serves another one.
    pub(super) async fn rpc(&self, channel: &Channel) -> Result<&Rpc, ClientError> {
        let rpc = self.rpc_of(channel.chain_id(), channel.rpc_url()).await?;
        channel.remember_rpc(rpc.url());
        Ok(rpc)
    }

    /// As [`rpc`](Self::rpc): ours, or the one that the gateway names, or else the one that was
    /// used before.
    pub(super) async fn rpc_of(
        &self,
        chain_id: u64,
        remembered: Option<String>,
    ) -> Result<&Rpc, ClientError> {
        let rpc = self
            .inner
            .rpc
            .get_or_try_init(|| async {
                let inner = &self.inner;
                if let Some(url) = &inner.config.rpc_url {
                    return Rpc::connect(inner.chain_http.clone(), url.clone()).await;
                }
                let url = match self.named_rpc().await {
                    Ok(url) => url,
                    Err(error) => remembered.ok_or(error)?,
                };
                if !inner.config.public_rpc {
                    return Rpc::connect(inner.chain_http.clone(), url).await;
                }
                if !may_be_public(&url) {
                    return Err(ClientError::Chain(format!(
                        "a stranger's gateway names {url} as its chain's endpoint: name one of your own (--rpc)"
                    )));
                }
                Rpc::connect(inner.public_http.clone(), url).await
            })
            .await?;
        match rpc.chain_id() {
            found if found == chain_id => Ok(rpc),
            found => Err(ClientError::WrongChain {
                expected: chain_id,
                found,
            }),
        }
    }

    /// A JSON document of the gateway, of at most [`DOCUMENT_BYTES_MAX`].
    pub(super) async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = format!("{}/{path}", self.inner.config.gateway);
        let response = self.inner.http.get(url).send().await;
        let response = response.and_then(reqwest::Response::error_for_status);
        let response = response.map_err(ClientError::Transport)?;
        let body = read_bounded(response, DOCUMENT_BYTES_MAX).await?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Protocol(format!("/{path}: {error}")))
    }

    async fn named_rpc(&self) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct NodeRecord {
            rpc_url: Option<String>,
        }
        let node: NodeRecord = self.get_json("node").await?;
        node.rpc_url.ok_or_else(|| {
            ClientError::Chain("the gateway names no RPC endpoint of its chain".to_owned())
        })
    }

    /// The time that a deposit's end of validity counts from: the later of our clock and the
    /// chain's, because the signature must still be good when it gets there.
    ///
    /// # Errors
    /// [`ClientError::WrongChain`]: nothing is deposited on a chain that is not the offer's. An
    /// endpoint that cannot be reached is no reason to refuse, since the deposit's signature names
    /// its chain.
    pub(super) async fn now(&self, channel: &Channel, offer: &Offer) -> Result<u64, ClientError> {
        let ours = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if !channel.needs_deposit(offer) {
            return Ok(ours);
        }
        match self.rpc(channel).await {
            Ok(rpc) => Ok(rpc.now().await.map_or(ours, |now| ours.max(now.get()))),
            Err(error @ ClientError::WrongChain { .. }) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "the chain's clock cannot be read");
                Ok(ours)
            }
        }
    }
}
