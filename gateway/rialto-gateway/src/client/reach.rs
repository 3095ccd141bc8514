//! What a call needs to reach: the channel, the chain, and the time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::channel::Channel;
use super::quote::Offer;
use super::rpc::Rpc;
use super::{ClientError, PayingClient};

impl PayingClient {
    /// The channel that an offer is paid on; opened at its first use.
    pub(super) async fn channel(&self, offer: &Offer) -> Result<Arc<Channel>, ClientError> {
        let id = offer.config.id(&offer.settlement);
        let mut channels = self.inner.channels.lock().await;
        if let Some(channel) = channels.get(&id) {
            return Ok(Arc::clone(channel));
        }
        let channel = Arc::new(Channel::open(&self.inner.config, offer).await?);
        channels.insert(id, Arc::clone(&channel));
        Ok(channel)
    }

    /// The chain's RPC endpoint, ours or the one that the gateway names.
    pub(super) async fn rpc(&self, offer: &Offer) -> Result<&Rpc, ClientError> {
        self.inner
            .rpc
            .get_or_try_init(|| async {
                let url = match &self.inner.config.rpc_url {
                    Some(url) => url.clone(),
                    None => self.named_rpc().await?,
                };
                let rpc = Rpc::new(self.inner.http.clone(), url);
                rpc.check_chain(offer.settlement.chain_id).await?;
                Ok(rpc)
            })
            .await
    }

    async fn named_rpc(&self) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct NodeRecord {
            rpc_url: String,
        }
        let url = format!("{}/node", self.inner.config.gateway);
        let response = self.inner.http.get(url).send().await;
        let response = response.map_err(ClientError::Transport)?;
        let node: NodeRecord = response.json().await.map_err(ClientError::Transport)?;
        Ok(node.rpc_url)
    }

    /// The time that a deposit's end of validity counts from: the later of our clock and the
    /// chain's, because the signature must still be good when it gets there.
    pub(super) async fn now(&self, channel: &Channel, offer: &Offer) -> u64 {
        let ours = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if !channel.needs_deposit(offer) {
            return ours;
        }
        match self.rpc(offer).await {
            Ok(rpc) => rpc.now().await.map_or(ours, |now| ours.max(now.get())),
            Err(_) => ours,
        }
    }
}
