//! What a call would cost, before anything is signed.

use alloy_primitives::{Address, B256};
use http::StatusCode;
use rialto_channels::{Amount, ChannelConfig, SettlementDomain, TokenDomain};
use serde_json::Value;

use super::bounded::DOCUMENT_BYTES_MAX;
use super::send::Reply;
use super::{Body, ClientError, PayingClient, Token, settlement};
use crate::x402::header::{self, PAYMENT_REQUIRED};
use crate::x402::offer::{PaymentRequired, Requirements};
use crate::x402::{Network, Scheme};

/// What one call costs and how it is paid. Good for any body of the same size.
#[derive(Debug, Clone)]
pub struct Quote {
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// What is charged when the call succeeds, in token base units; zero for a free method.
    pub price: Amount,
    /// The most that is signed for this call; zero for a free method.
    pub ceiling: Amount,
    /// The token's name, as its contract says.
    pub token: String,
    pub(super) offer: Option<Offer>,
}

/// An offer that this client can accept.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// As it came, to be sent back.
    pub(super) accepted: Requirements,
    pub(super) amount: Amount,
    /// The most that one call is charged.
    pub(super) price: Amount,
    pub(super) deposit_min: Option<Amount>,
    pub(super) timeout_seconds: u64,
    /// The provider's terms, as a channel whose vouchers the wallet signs itself. A channel of the
    /// same provider differs in its payer authorizer and its salt alone.
    pub(super) config: ChannelConfig,
    pub(super) settlement: SettlementDomain,
    pub(super) token: TokenDomain,
}

impl Offer {
    /// Whether a channel of these terms is paid by this offer.
    pub(super) fn is_served_by(&self, chain_id: u64, config: &ChannelConfig) -> bool {
        let own = ChannelConfig {
            payer_authorizer: self.config.payer_authorizer,
            salt: self.config.salt,
            ..*config
        };
        chain_id == self.settlement.chain_id && own == self.config
    }
}

impl PayingClient {
    /// Asks what a call with this body costs. Nothing runs and nothing is signed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for an unknown service or method, [`ClientError::TooDear`] above
    /// [`Config::price_max`](super::Config::price_max), [`ClientError::Offer`] for terms that this
    /// client may not accept.
    pub async fn quote(
        &self,
        service: &str,
        method: &str,
        body: &Body,
    ) -> Result<Quote, ClientError> {
        let bytes = u64::try_from(body.bytes.len()).unwrap_or(u64::MAX);
        self.quote_sized(service, method, bytes).await
    }

    /// As [`quote`](Self::quote), for a body of so many bytes.
    ///
    /// # Errors
    /// As [`quote`](Self::quote).
    pub async fn quote_sized(
        &self,
        service: &str,
        method: &str,
        bytes: u64,
    ) -> Result<Quote, ClientError> {
        let url = format!("{}?bytes={bytes}", self.url(service, method));
        let response = self.inner.http.get(url).send().await;
        let response = response.map_err(ClientError::Transport)?;
        let reply = Reply::read(response, DOCUMENT_BYTES_MAX).await?;
        if reply.status != StatusCode::PAYMENT_REQUIRED {
            return free(service, method, reply.refusal());
        }
        let header = reply.headers.get(PAYMENT_REQUIRED).ok_or_else(|| {
            ClientError::Protocol("a 402 without a PAYMENT-REQUIRED header".to_owned())
        })?;
        let required: PaymentRequired = header::decode(header.as_bytes())?;
        let quote = self.quote_of(service, method, &required)?;
        if let Some(offer) = &quote.offer {
            self.check_receiver(service, offer.config.receiver).await?;
        }
        Ok(quote)
    }

    pub(super) fn url(&self, service: &str, method: &str) -> String {
        let gateway = &self.inner.config.gateway;
        format!("{gateway}/services/{service}/{method}")
    }

    pub(super) fn quote_of(
        &self,
        service: &str,
        method: &str,
        required: &PaymentRequired,
    ) -> Result<Quote, ClientError> {
        let offer = required
            .offer(Scheme::BatchSettlement)
            .ok_or_else(|| refused("it has no `batch-settlement`"))?;
        let mut offer = self.offer(offer)?;
        let price = price(required, &offer)?;
        offer.price = price;
        let limit = self.inner.config.price_max;
        if price > limit {
            return Err(ClientError::TooDear { price, limit });
        }
        // What is signed is what can be claimed, whatever price the host states.
        if offer.amount > limit.checked_mul(HEADROOM_MAX).unwrap_or(Amount::MAX) {
            return Err(refused(
                "its ceiling is out of proportion to the price you allow",
            ));
        }
        Ok(Quote {
            service: service.to_owned(),
            method: method.to_owned(),
            price,
            ceiling: offer.amount,
            token: offer.token.name.clone(),
            offer: Some(offer),
        })
    }

    /// Reads an offer into a channel of ours. The token's names are ours, not the host's.
    fn offer(&self, accepted: &Requirements) -> Result<Offer, ClientError> {
        let network: Network = accepted
            .network
            .parse()
            .map_err(|_| refused("its network is not an EVM chain"))?;
        if let Some(expected) = self.inner.config.chain_id.filter(|id| *id != network.0) {
            let found = network.0;
            return Err(ClientError::WrongChain { expected, found });
        }
        let asset = address(&accepted.asset, "asset")?;
        let token = self.token(network, asset)?;
        let extra_text = |name: &str| accepted.extra(name).and_then(Value::as_str);
        if extra_text("assetTransferMethod").is_some_and(|method| method != "eip3009") {
            return Err(refused("it takes no deposits by EIP-3009"));
        }
        let authorizer = extra_text("receiverAuthorizer")
            .ok_or_else(|| refused("it names no receiverAuthorizer"))?;
        let receiver_authorizer = address(authorizer, "receiverAuthorizer")?;
        if receiver_authorizer.is_zero() {
            return Err(refused("its receiverAuthorizer is zero"));
        }
        let withdraw_delay = accepted
            .extra("withdrawDelay")
            .and_then(Value::as_u64)
            .ok_or_else(|| refused("it names no withdrawDelay"))?;
        let payer = self.payer();
        let config = ChannelConfig {
            payer,
            payer_authorizer: payer,
            receiver: address(&accepted.pay_to, "payTo")?,
            receiver_authorizer,
            token: asset,
            withdraw_delay,
            salt: B256::ZERO,
        };
        if !config.delay_in_range() {
            return Err(refused("its withdrawDelay is outside the contract's range"));
        }
        let amount = |text: &str| text.parse().map_err(|_| refused("an amount is no number"));
        let ceiling = amount(&accepted.amount)?;
        Ok(Offer {
            amount: ceiling,
            price: ceiling,
            deposit_min: extra_text("minDeposit").map(amount).transpose()?,
            timeout_seconds: accepted.max_timeout_seconds.min(TIMEOUT_SECONDS_MAX),
            accepted: accepted.clone(),
            config,
            settlement: settlement(network.0),
            token: TokenDomain {
                chain_id: network.0,
                token: asset,
                name: token.name.clone(),
                version: token.version.clone(),
            },
        })
    }

    fn token(&self, network: Network, address: Address) -> Result<&Token, ClientError> {
        self.inner
            .config
            .tokens
            .iter()
            .find(|token| token.chain_id == network.0 && token.address == address)
            .ok_or_else(|| refused(&format!("token {address} on {network} is not one of yours")))
    }
}

/// The price is in the channel offer itself, or the amount of `exact`, or else the ceiling.
fn price(required: &PaymentRequired, offer: &Offer) -> Result<Amount, ClientError> {
    let stated = offer.accepted.extra("price").and_then(Value::as_str);
    let exact = required.offer(Scheme::Exact).map(|e| e.amount.as_str());
    let price = match stated.or(exact) {
        Some(text) => text
            .parse()
            .map_err(|_| refused("its price is no number"))?,
        None => offer.amount,
    };
    if price > offer.amount {
        return Err(refused("its price is above its ceiling"));
    }
    Ok(price)
}

/// A free method has no 402: the gateway says so in the refusal's details.
fn free(service: &str, method: &str, refused: ClientError) -> Result<Quote, ClientError> {
    if let ClientError::Refused { details, .. } = &refused {
        let price = details.as_ref().map(|details| &details["price"]);
        if price.and_then(Value::as_str) == Some("0") {
            return Ok(Quote {
                service: service.to_owned(),
                method: method.to_owned(),
                price: Amount::ZERO,
                ceiling: Amount::ZERO,
                token: String::new(),
                offer: None,
            });
        }
    }
    Err(refused)
}

fn address(text: &str, name: &str) -> Result<Address, ClientError> {
    text.parse()
        .map_err(|_| refused(&format!("its {name} is no address")))
}

fn refused(problem: &str) -> ClientError {
    ClientError::Offer(problem.to_owned())
}

/// The most that is signed for a call, as a multiple of the most that a call may cost: a host needs
/// some for calls that overlap, and could claim all of it.
const HEADROOM_MAX: u128 = 100;

/// A deposit's signature should not outlive the request by much, whatever a host asks.
const TIMEOUT_SECONDS_MAX: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use rialto_channels::SigningKey;
    use serde_json::json;

    use super::*;
    use crate::client::Config;
    use crate::testing::terms;
    use crate::x402::SETTLEMENT;
    use crate::x402::offer::{Resource, offers};

    fn client(price_max: u64) -> PayingClient {
        let mut config = Config::new("http://127.0.0.1:1/");
        config.price_max = price_max.into();
        PayingClient::new(config, SigningKey::from_bytes(&[5; 32]).unwrap()).unwrap()
    }

    fn required() -> PaymentRequired {
        let resource = Resource {
            url: "http://h/services/s/m".to_owned(),
            description: None,
            mime_type: None,
            service_name: None,
        };
        PaymentRequired::new(&terms(), resource, "payment_required")
    }

    #[test]
    fn our_own_offers_can_be_accepted() {
        let quote = client(100).quote_of("s", "m", &required()).unwrap();
        assert_eq!(quote.price, Amount::new(100));
        assert_eq!(quote.ceiling, Amount::new(1000));
        let offer = quote.offer.unwrap();
        assert_eq!(offer.accepted, offers(&terms())[0]);
        assert_eq!(offer.deposit_min, Some(Amount::new(10_000)));
        assert_eq!(offer.settlement.contract, SETTLEMENT);
    }

    #[test]
    fn too_dear_and_unsafe_offers_are_refused() {
        let dear = client(99).quote_of("s", "m", &required());
        assert!(matches!(dear, Err(ClientError::TooDear { .. })));
        let check = |change: fn(&mut Requirements), expected: &str| {
            let mut required = required();
            change(&mut required.accepts[0]);
            let error = client(100).quote_of("s", "m", &required).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(
            |r| r.asset = Address::repeat_byte(1).to_string(),
            "not one of yours",
        );
        check(|r| r.network = "eip155:1".to_owned(), "not one of yours");
        check(|r| r.network = "solana:x".to_owned(), "not an EVM chain");
        check(|r| r.scheme = "upto".to_owned(), "no `batch-settlement`");
        check(|r| r.amount = "99".to_owned(), "above its ceiling");
        check(|r| r.amount = "10001".to_owned(), "out of proportion");
        check(
            |r| {
                let extra = r.extra.as_mut().unwrap();
                extra.insert("withdrawDelay".to_owned(), json!(1));
            },
            "outside the contract's range",
        );
        check(
            |r| {
                let extra = r.extra.as_mut().unwrap();
                extra.remove("receiverAuthorizer");
            },
            "names no receiverAuthorizer",
        );
    }
}
