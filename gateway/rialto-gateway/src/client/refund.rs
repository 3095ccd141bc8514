//! Taking unspent money back with the host's help. (Without it there is the contract's own
//! withdrawal, in [`withdraw`](super::withdraw).)

use std::sync::Arc;

use http::StatusCode;
use rialto_channels::{Amount, ChannelConfig, ChannelId, SignedVoucher};
use serde::Deserialize;
use serde_json::json;

use super::bounded::ReadError;
use super::call::envelope;
use super::channel::Channel;
use super::lanes::Lane;
use super::quote::Offer;
use super::reading::{self, Correction, amount, settlement};
use super::send::{Reply, Request, Sent};
use super::store::places::Keep;
use super::{Body, ClientError, PayingClient, Quote, Refunded};
use crate::x402::header;
use crate::x402::payment::{ChannelConfigWire, PaymentPayload, VoucherWire};

const RESYNCS_MAX: u32 = 3;

impl PayingClient {
    /// Asks this gateway's host to pay back `amount`, or all that is unspent, of the channel that
    /// this client pays it on: of one that holds money, if there are several.
    ///
    /// # Errors
    /// [`ClientError::Payment`] when the host refuses; [`ClientError::Pay`] when there is nothing
    /// to take back or calls are still open.
    pub async fn refund(&self, refund: Option<Amount>) -> Result<Refunded, ClientError> {
        let open: Vec<_> = {
            let open = self.inner.channels.lock().await;
            let funded = open.values();
            let funded = funded.filter(|channel| !channel.state().left().is_zero());
            funded.map(Arc::clone).collect()
        };
        let pays = |offer: &Offer, channel: &Channel| {
            offer.is_served_by(channel.chain_id(), channel.config())
        };
        let quote = self
            .quote_where(|offer| open.iter().any(|channel| pays(offer, channel)))
            .await?;
        let offer = selling(&quote)?;
        let funded = open.iter().find(|channel| pays(offer, channel));
        let funded = funded.map(Lane::new);
        let lane = match funded {
            Some(lane) => lane,
            None => self.lane(offer).await?,
        };
        self.refund_on(lane.channel(), &quote, offer, refund).await
    }

    /// The same of one kept channel, which this gateway's host is paid on.
    ///
    /// # Errors
    /// As [`refund`](Self::refund); [`ClientError::UnknownChannel`] for one that is not kept here.
    pub async fn refund_channel(
        &self,
        id: ChannelId,
        refund: Option<Amount>,
    ) -> Result<Refunded, ClientError> {
        let stored = self.stored(id)?;
        let config = stored.snapshot.config;
        let quote = self
            .quote_where(|offer| offer.is_served_by(stored.chain_id, &config))
            .await?;
        let offer = selling(&quote)?;
        if !offer.is_served_by(stored.chain_id, &stored.snapshot.config) {
            return Err(ClientError::Offer(
                "its provider has changed its terms since the channel was opened".to_owned(),
            ));
        }
        let lane = self.known_channel(&stored).await?;
        self.refund_on(lane.channel(), &quote, offer, refund).await
    }

    async fn refund_on(
        &self,
        channel: &Channel,
        quote: &Quote,
        offer: &Offer,
        refund: Option<Amount>,
    ) -> Result<Refunded, ClientError> {
        let view = self.view(channel).await?;
        channel.viewed(&view, self.source());
        let url = self.url(&quote.service, &quote.method);
        let mut resyncs = 0;
        let reply = loop {
            let voucher = channel.sign_refund()?;
            let payment = refund_payment(offer, channel.config(), &voucher, refund);
            let reply = self.send_refund(&url, &payment).await?;
            if reply.status != StatusCode::PAYMENT_REQUIRED {
                break reply;
            }
            match reading::correction(&reply)? {
                Correction::Resync(state, seen) if resyncs < RESYNCS_MAX => {
                    resyncs += 1;
                    self.resync(channel, state.as_ref(), &seen).await?;
                }
                Correction::Resync(..) | Correction::Reread => return Err(reply.refusal()),
                Correction::Refused(error) => return Err(error),
            }
        };
        if reply.status != StatusCode::OK {
            return Err(reply.refusal());
        }
        self.refunded(channel, &reply).await
    }

    async fn refunded(&self, channel: &Channel, reply: &Reply) -> Result<Refunded, ClientError> {
        let settlement = settlement(reply)?
            .ok_or_else(|| ClientError::Protocol("a refund without a settlement".to_owned()))?;
        let returned = amount(settlement.amount.as_deref().unwrap_or_default())?;
        match self.view(channel).await {
            Ok(view) => channel.viewed(&view, self.source()),
            Err(_) => channel.refunded(returned)?,
        }
        channel.save(Keep::Now).await?;
        Ok(Refunded {
            channel: channel.id(),
            amount: returned,
            transaction: settlement.transaction,
        })
    }

    async fn send_refund(&self, url: &str, payment: &PaymentPayload) -> Result<Reply, ClientError> {
        let payment = header::encode(payment)?;
        let body = Body::json(&json!({}));
        match self
            .send(url, &mut Request::whole(&body), Some(payment))
            .await
        {
            Sent::Reply(reply, _) => Ok(reply),
            Sent::Lost(error) | Sent::Unreached(error) => Err(error),
            Sent::TooLong { limit } => Err(ReadError::TooLong { limit }.into()),
        }
    }

    /// A quote of a route whose offer fits, or else of any that costs: a host's terms are the same
    /// on all routes of a service, but its services may pay different receivers.
    async fn quote_where(
        &self,
        fits: impl Fn(&Offer) -> bool + Send,
    ) -> Result<Quote, ClientError> {
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
        let services: Services = self.get_json("services").await?;
        let mut first = None;
        for service in &services.services {
            let Some(method) = service.methods.iter().find(|method| !method.free) else {
                continue;
            };
            let body = Body::raw(Vec::new());
            let quote = self.quote(&service.name, &method.name, &body).await;
            if quote
                .as_ref()
                .is_ok_and(|quote| quote.offer.as_ref().is_some_and(&fits))
            {
                return quote;
            }
            first = first.or(Some(quote));
        }
        first.unwrap_or_else(|| Err(ClientError::Offer("this gateway sells nothing".to_owned())))
    }
}

fn selling(quote: &Quote) -> Result<&Offer, ClientError> {
    quote
        .offer
        .as_ref()
        .ok_or_else(|| ClientError::Offer("this gateway sells nothing".to_owned()))
}

fn refund_payment(
    offer: &Offer,
    config: &ChannelConfig,
    voucher: &SignedVoucher,
    refund: Option<Amount>,
) -> PaymentPayload {
    let mut payload = json!({
        "type": "refund",
        "channelConfig": ChannelConfigWire::new(config),
        "voucher": VoucherWire::new(voucher),
    });
    if let Some(refund) = refund {
        payload["amount"] = json!(refund.to_string());
    }
    envelope(offer, payload)
}
