//! A provider as the client sees it: its offer, and where it is reached.

use std::time::{SystemTime, UNIX_EPOCH};

use rialto_channels::Amount;
use rialto_registry::router::{
    Abandon, Candidate, Capabilities, Hedge, KeyError, Millis, Permille, ProviderId, Reach,
};
use rialto_registry::{MethodName, PeerId, SignedOffer};

use super::super::{ClientError, Config, Quote};
use super::Ask;

/// Who offers a service, and where.
#[derive(Debug, Clone)]
pub struct Provider {
    id: ProviderId,
    offer: SignedOffer,
    pub(super) base: String,
    reach: Reach,
    reputation: Permille,
    pub(super) public_only: bool,
}

impl Provider {
    /// A provider by its signed offer. `base` is its gateway: its own URL, or that of a local door which leads
    /// to it; `reputation` is what is known of how it serves.
    ///
    /// # Errors
    /// [`KeyError`] if peer and service are too long together to keep counts under, which no valid offer's are.
    pub fn new(
        offer: SignedOffer,
        base: impl Into<String>,
        reach: Reach,
        reputation: Permille,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            id: format!("{}/{}", offer.peer(), offer.offer().service).parse()?,
            offer,
            base: base.into(),
            reach,
            reputation,
            public_only: false,
        })
    }

    /// The same, whose gateway has to be on the internet: the provider itself says where it is.
    #[must_use]
    pub const fn public_only(mut self) -> Self {
        self.public_only = true;
        self
    }

    /// Who it is.
    pub(super) fn peer(&self) -> PeerId {
        self.offer.peer()
    }

    /// Its key for the router: the peer and the service.
    pub(super) fn id(&self) -> &ProviderId {
        &self.id
    }

    /// The gateway of the provider of this id, if it is this one and says where that is.
    pub(super) fn gateway(&self, id: &ProviderId) -> Option<String> {
        let mut said = self.offer.offer().gateways.iter();
        let is_said = *id == self.id && said.any(|url| url.trim_end_matches('/') == self.base);
        is_said.then(|| self.base.clone())
    }

    /// The candidate that this offer makes for a call; none if it does not have the method, or is paid on
    /// another chain or in another token than this client pays.
    pub(super) fn candidate(
        &self,
        ask: &Ask,
        config: &Config,
        channel_open: bool,
        epoch_secs: u64,
        now: Millis,
    ) -> Option<Candidate> {
        let offer = self.offer.offer();
        let method: MethodName = ask.method.parse().ok()?;
        let least: Amount = *offer.prices.get(&method)?;
        // What may be left behind is reckoned with the most that would be signed, which an offer does not say:
        // whoever allows leaving gets the client's own limit, and nobody's call counts as free.
        let price = match (ask.abandon, ask.hedge) {
            (Abandon::Never, Hedge::Never) => least.max(Amount::new(1)),
            (Abandon::UpTo(_), _) | (_, Hedge::Allowed { .. }) => {
                ask.price_max.unwrap_or(config.price_max)
            }
        };
        let pays = |token: &super::super::Token| {
            token.chain_id == offer.payee.chain_id && token.address == offer.payee.token
        };
        if !least.is_zero() && !config.tokens.iter().any(pays) {
            return None;
        }
        let left = offer.expires.saturating_sub(epoch_secs);
        Some(Candidate {
            provider: self.id.clone(),
            price,
            load_permille: offer.load,
            region: offer
                .region
                .as_ref()
                .and_then(|region| region.as_str().parse().ok()),
            capabilities: Capabilities::NONE,
            reputation: self.reputation,
            channel_open,
            reach: self.reach,
            expires: now.plus(Millis(left.saturating_mul(1_000))),
        })
    }

    /// Whether the terms that the gateway answers with are those of the host that signed the offer: whoever
    /// stands in between must not be paid instead.
    pub(super) fn check(&self, quote: &Quote) -> Result<(), ClientError> {
        let Some(terms) = &quote.offer else {
            return Ok(());
        };
        let payee = &self.offer.offer().payee;
        if terms.config.receiver_authorizer == payee.host
            && terms.config.receiver == payee.receiver
            && terms.config.token == payee.token
            && terms.settlement.chain_id == payee.chain_id
        {
            return Ok(());
        }
        Err(ClientError::Offer(format!(
            "its terms are not those of the host {} that signed the offer",
            payee.host
        )))
    }
}

/// Seconds since the Unix epoch.
pub(super) fn since_epoch() -> u64 {
    // A clock before 1970 finds every offer too new, which the judge of offers says.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
