//! Whether a record that a peer sent is an offer that is good now.

use rialto_discovery::{Judge, Judged, Key, PeerKey, Refusal, Subject, UnixSeconds};
use rialto_registry::offer::OfferError;
use rialto_registry::{Offer, PeerId, SignedOffer};

/// Judges offers by their signatures and times alone. Whether the name's owner published what is offered is
/// asked of the chain by whoever uses an offer: a peer that passes offers on may read another chain, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfferJudge;

impl Judge for OfferJudge {
    fn judge(&self, record: &[u8], _from: PeerKey, now: UnixSeconds) -> Result<Judged, Refusal> {
        let signed = SignedOffer::parse(record).map_err(refusal)?;
        signed.check_time(now.0).map_err(refusal)?;
        let offer = signed.offer();
        let publisher = peer_key(signed.peer()).ok_or(Refusal::Malformed)?;
        let addresses = offer.addresses.iter();
        let addresses: Result<_, _> = addresses.map(|address| address.parse()).collect();
        Ok(Judged {
            keys: keys(offer),
            publisher,
            subject: subject(offer.service.as_str(), signed.peer()),
            seq: offer.seq,
            expires: UnixSeconds(offer.expires),
            addresses: addresses.map_err(|_| Refusal::Malformed)?,
        })
    }
}

/// A peer as the driver names it.
pub(super) fn peer_key(peer: PeerId) -> Option<PeerKey> {
    PeerKey::from_bytes(&peer.to_bytes()).ok()
}

/// Where an offer is found.
pub(super) fn keys(offer: &Offer) -> Vec<Key> {
    let mut keys = vec![Key::service(offer.service.as_str())];
    keys.extend(offer.interfaces.iter().map(|name| Key::interface(name)));
    let region = offer.region.as_ref().map_or("", |region| region.as_str());
    keys.extend(offer.tags.iter().map(|tag| Key::tag(tag.as_str(), region)));
    keys
}

/// What makes an offer the successor of another: the service and the peer.
pub(super) fn subject(service: &str, peer: PeerId) -> Subject {
    Subject::of(&format!("{service}/{peer}"))
}

/// What is late or early may be so by accident; everything else was made so.
fn refusal(error: OfferError) -> Refusal {
    match error {
        OfferError::NotNow { .. } => Refusal::Expired,
        OfferError::Envelope(_) | OfferError::Host(_) => Refusal::Forged,
        OfferError::TooLong(_) | OfferError::Form(_) | OfferError::Field { .. } => {
            Refusal::Malformed
        }
    }
}
