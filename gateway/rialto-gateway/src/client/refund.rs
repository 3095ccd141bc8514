//! Taking unspent money back with the host's help. (Without it there is the contract's own
//! withdrawal, which waits for the channel's delay.)

use http::StatusCode;
use rialto_channels::{Amount, SignedVoucher};
use serde::Deserialize;
use serde_json::json;

use super::call::envelope;
use super::channel::Channel;
use super::quote::Offer;
use super::reading::{self, Correction, amount, settlement};
use super::send::{Reply, Sent};
use super::{Body, ClientError, PayingClient, Quote, Refunded};
use crate::x402::header;
use crate::x402::payment::{ChannelConfigWire, VoucherWire};

const RESYNCS_MAX: u32 = 3;

impl PayingClient {
    /// Asks this gateway's host to pay back `amount`, or all that is unspent, of our channel.
    ///
    /// # Errors
    /// [`ClientError::Payment`] when the host refuses; [`ClientError::Pay`] when there is nothing
    /// to take back or calls are still open.
    pub async fn refund(&self, refund: Option<Amount>) -> Result<Refunded, ClientError> {
        let quote = self.any_quote().await?;
        let offer = quote
            .offer
            .as_ref()
            .ok_or_else(|| ClientError::Offer("this gateway sells nothing".to_owned()))?;
        let channel = self.channel(offer).await?;
        let view = self.view(&channel, offer).await?;
        channel.viewed(&view);
        let url = self.url(&quote.service, &quote.method);
        let mut resyncs = 0;
        let reply = loop {
            let voucher = channel.sign_refund(&offer.settlement, &self.inner.key)?;
            let reply = self.send_refund(&url, offer, &voucher, refund).await?;
            if reply.status != StatusCode::PAYMENT_REQUIRED {
                break reply;
            }
            match reading::correction(&reply)? {
                Correction::Resync(state, seen) if resyncs < RESYNCS_MAX => {
                    resyncs += 1;
                    self.resync(&channel, offer, state.as_ref(), &seen).await?;
                }
                Correction::Resync(..) | Correction::Reread => return Err(reply.refusal()),
                Correction::Refused(error) => return Err(error),
            }
        };
        if reply.status != StatusCode::OK {
            return Err(reply.refusal());
        }
        self.refunded(&channel, offer, &reply).await
    }

    async fn refunded(
        &self,
        channel: &Channel,
        offer: &Offer,
        reply: &Reply,
    ) -> Result<Refunded, ClientError> {
        let settlement = settlement(reply)?
            .ok_or_else(|| ClientError::Protocol("a refund without a settlement".to_owned()))?;
        let returned = amount(settlement.amount.as_deref().unwrap_or_default())?;
        match self.view(channel, offer).await {
            Ok(view) => channel.viewed(&view),
            Err(_) => channel.refunded(returned)?,
        }
        channel.save().await?;
        Ok(Refunded {
            channel: channel.id(),
            amount: returned,
            transaction: settlement.transaction,
        })
    }

    async fn send_refund(
        &self,
        url: &str,
        offer: &Offer,
        voucher: &SignedVoucher,
        refund: Option<Amount>,
    ) -> Result<Reply, ClientError> {
        let mut payload = json!({
            "type": "refund",
            "channelConfig": ChannelConfigWire::new(&offer.config),
            "voucher": VoucherWire::new(voucher),
        });
        if let Some(refund) = refund {
            payload["amount"] = json!(refund.to_string());
        }
        let payment = header::encode(&envelope(offer, payload))?;
        let body = Body::json(&json!({}));
        match self.send(url, &body, Some(payment)).await {
            Sent::Reply(reply) => Ok(reply),
            Sent::Lost(error) | Sent::Unreached(error) => Err(ClientError::Transport(error)),
        }
    }

    /// A quote of any route that costs: a host's terms are the same on all of them.
    async fn any_quote(&self) -> Result<Quote, ClientError> {
        #[derive(Deserialize)]
        struct Services {
            services: Vec<ServiceRecord>,
        }
        #[derive(Deserialize)]
        struct ServiceRecord {
            name: String,
            methods: Vec<MethodRecord>,
        }
        #[derive(Deserialize)]
        struct MethodRecord {
            name: String,
            free: bool,
        }
        let url = format!("{}/services", self.inner.config.gateway);
        let response = self.inner.http.get(url).send().await;
        let response = response.map_err(ClientError::Transport)?;
        let services: Services = response.json().await.map_err(ClientError::Transport)?;
        for service in &services.services {
            if let Some(method) = service.methods.iter().find(|method| !method.free) {
                let body = Body::raw(Vec::new());
                return self.quote(&service.name, &method.name, &body).await;
            }
        }
        Err(ClientError::Offer("this gateway sells nothing".to_owned()))
    }
}
