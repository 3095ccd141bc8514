//! What is offered on the mesh, as far as this node knows: an index for searching, and the newest offer of each
//! provider.
//!
//! It is filled by what this node looks up and by what it hears from peers. What is shown as verified was
//! compared with the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rialto_registry::index::{Entry, Index, IndexLimits, Listing, Vector};
use rialto_registry::lookalike::Known;
use rialto_registry::names::Position;
use rialto_registry::{LookAlikes, Name, PeerId, SignedManifest, SignedOffer, Status};

use super::names::OnChain;

/// What this node knows of the mesh.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) index: Index,
    /// The names that are really offered: a claimed name that nobody serves is nothing to be mistaken for.
    look_alikes: LookAlikes,
    /// The newest offer of each service by each peer.
    offers: BTreeMap<(Name, PeerId), SignedOffer>,
    /// When peers were asked last for a service's offers.
    asked: BTreeMap<Name, Instant>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            index: Index::new(IndexLimits::DEFAULT),
            look_alikes: LookAlikes::default(),
            offers: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Keeps an offer unless a newer one of its service and peer is kept.
    pub(super) fn keep(&mut self, offer: SignedOffer, now: u64) {
        if offer.check_time(now).is_err() {
            return;
        }
        let key = (offer.offer().service.clone(), offer.peer());
        let newer = |old: &SignedOffer| old.offer().seq > offer.offer().seq;
        if self.offers.get(&key).is_some_and(newer) {
            return;
        }
        let of_service = self.offers(&key.0, now).len();
        if of_service >= OFFERS_OF_SERVICE_MAX && !self.offers.contains_key(&key) {
            return;
        }
        if self.offers.len() >= OFFERS_MAX && !self.offers.contains_key(&key) {
            self.offers.retain(|_, old| old.offer().expires > now);
            if self.offers.len() >= OFFERS_MAX {
                return;
            }
        }
        self.offers.insert(key, offer);
    }

    /// Forgets that a peer offers a service.
    pub(super) fn forget(&mut self, service: &Name, peer: PeerId) {
        self.offers.remove(&(service.clone(), peer));
        let publishers = self.index.publishers(service).map(str::to_owned);
        let publishers: Vec<String> = publishers.collect();
        for publisher in publishers {
            self.index.unlist(service, &publisher, peer);
        }
    }

    /// The offers of a service that are known, and whether it is time to ask peers; whoever is told so asks.
    pub(super) fn known(&mut self, service: &Name, now: u64) -> (Vec<SignedOffer>, bool) {
        let known = self.offers(service, now);
        let asked = self.asked.get(service);
        let is_due = asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        if is_due {
            if self.asked.len() >= ASKED_MAX {
                self.asked.retain(|_, asked| asked.elapsed() < ASK_EVERY);
            }
            if self.asked.len() < ASKED_MAX {
                self.asked.insert(service.clone(), Instant::now());
            }
        }
        (known, is_due)
    }

    /// Peers whose offers a host's key signs; a few at most.
    pub(super) fn signed_by(&self, host: Address) -> BTreeSet<PeerId> {
        let signed = self
            .offers
            .values()
            .filter(|it| it.offer().payee.host == host);
        signed
            .map(SignedOffer::peer)
            .take(PEERS_OF_HOST_MAX)
            .collect()
    }

    /// The keys that sign for a peer, and the accounts that own what it offers. Whom its offers say to pay is
    /// not among them: anybody can be named there, and who counts as the peer's own may not rate it.
    pub(super) fn accounts_of(&self, peer: PeerId) -> BTreeSet<Address> {
        let own = self.offers.values().filter(|it| it.peer() == peer);
        let mut accounts = BTreeSet::new();
        for offer in own.map(SignedOffer::offer) {
            accounts.insert(offer.payee.host);
            let publishers = self.index.publishers(&offer.service);
            accounts.extend(publishers.filter_map(|text| text.parse::<Address>().ok()));
        }
        accounts
    }

    /// Whether somebody offers a service, as far as is known.
    pub(super) fn has_offers(&self, service: &Name) -> bool {
        let first = (service.clone(), PeerId::from_key([0; 32]));
        let next = self.offers.range(first..).next();
        next.is_some_and(|((name, _), _)| name == service)
    }

    /// The offers of a service that are good now.
    pub(super) fn offers(&self, service: &Name, now: u64) -> Vec<SignedOffer> {
        let first = (service.clone(), PeerId::from_key([0; 32]));
        let of_service = self.offers.range(first..);
        let of_service = of_service.take_while(|((name, _), _)| name == service);
        of_service
            .filter(|(_, offer)| offer.check_time(now).is_ok())
            .map(|(_, offer)| offer.clone())
            .collect()
    }

    /// Lists a service and one who offers it.
    pub(super) fn learn(
        &mut self,
        offer: &SignedOffer,
        manifest: &SignedManifest,
        known: &OnChain,
        now: u64,
        reputation: u16,
    ) {
        self.keep(offer.clone(), now);
        let mut entry = entry(manifest, known, offer.offer().expires);
        let before = self.index.get(&entry.service, &entry.publisher);
        let others = before.iter().flat_map(|before| &before.listings);
        let others = others.filter(|it| it.provider != offer.peer()).cloned();
        entry.listings = others.chain([listing(offer, reputation)]).collect();
        entry.expires = before.map_or(entry.expires, |it| it.expires.max(entry.expires));
        // A text that is the same means the same.
        let meant = before.filter(|before| text_of(before) == text_of(&entry));
        entry.meaning = meant.and_then(|before| before.meaning.clone());
        let service = entry.service.clone();
        let owner = Some(known.owner);
        let order = order(known.since);
        self.look_alikes.insert(&service, Known { order, owner });
        entry.resembles = self.resembles(&service);
        if let Err(error) = self.index.insert(entry, now) {
            tracing::debug!(service = %manifest.name(), %error, "not listed");
        }
    }
}

impl Directory {
    /// The earlier name that this one looks like.
    fn resembles(&self, service: &Name) -> Option<Name> {
        let found = self.look_alikes.resembles(service, None)?;
        Some(found.name)
    }

    /// Looks anew at which names look like others: names are met in any order.
    pub(super) fn compare_names(&mut self) {
        let changed: Vec<_> = self
            .index
            .entries()
            .map(|entry| (entry, self.resembles(&entry.service)))
            .filter(|(entry, resembles)| entry.resembles != *resembles)
            .map(|(entry, resembles)| (entry.service.clone(), entry.publisher.clone(), resembles))
            .collect();
        for (service, publisher, resembles) in changed {
            self.index.note_resemblance(&service, &publisher, resembles);
        }
    }

    /// Drops what has ended.
    pub(super) fn expire(&mut self, now: u64) {
        self.index.expire(now);
        self.offers.retain(|_, offer| offer.offer().expires > now);
    }

    /// Services of which it is not known yet what they mean: their names, publishers and texts.
    pub(super) fn unread(&self, limit: usize) -> Vec<(Name, String, String)> {
        let unread = self.index.entries().filter(|entry| entry.meaning.is_none());
        unread
            .take(limit)
            .map(|it| (it.service.clone(), it.publisher.clone(), text_of(it)))
            .collect()
    }

    /// Keeps what a text means.
    pub(super) fn understood(&mut self, service: &Name, publisher: &str, meaning: Vector) {
        self.index.note_meaning(service, publisher, meaning);
    }
}

/// What stands for a service's meaning: a line that says what it is, with its tags and methods.
fn text_of(entry: &Entry) -> String {
    let words = entry.tags.iter().map(String::as_str);
    let words: Vec<&str> = words.collect();
    let docs = entry.methods.values().map(String::as_str);
    let docs: Vec<&str> = docs.collect();
    let name = entry.service.as_str().replace('-', " ");
    let text = format!(
        "{name}: {}. {} {}",
        entry.title,
        words.join(", "),
        docs.join(" ")
    );
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// A claim's place in the chain's history as one number.
const fn order(at: Position) -> u64 {
    at.block.saturating_mul(1 << 20).saturating_add(at.index)
}

fn entry(manifest: &SignedManifest, known: &OnChain, expires: u64) -> Entry {
    let methods = manifest.methods().iter();
    let methods = methods.filter_map(|it| Some((it.name.parse().ok()?, it.docs.clone())));
    Entry {
        service: manifest.name().clone(),
        publisher: manifest.publisher().to_string(),
        title: manifest.manifest().description().to_owned(),
        description: String::new(),
        methods: methods.collect(),
        interfaces: manifest.interfaces().iter().cloned().collect(),
        tags: manifest.tags().iter().cloned().collect(),
        licence: manifest.manifest().license().to_owned(),
        version: manifest.version().clone(),
        deprecated: match &known.status {
            Status::Deprecated(why) | Status::Revoked(why) => Some(why.clone()),
            Status::Active => None,
        },
        verified: known.owner == manifest.publisher(),
        resembles: None,
        expires,
        meaning: None,
        listings: Vec::new(),
    }
}

fn listing(offer: &SignedOffer, reputation: u16) -> Listing {
    let said = offer.offer();
    Listing {
        provider: offer.peer(),
        prices: said.prices.clone(),
        region: said.region.as_ref().map(ToString::to_string),
        hardware: said.hardware.iter().map(ToString::to_string).collect(),
        load_permille: said.load,
        expires: said.expires,
        reputation_permille: reputation,
        verified: true,
    }
}

/// Offers that are kept; each takes about as much memory as it has bytes, twice.
const OFFERS_MAX: usize = 65_536;
/// Offers that are kept of one service: more than are ever chosen among.
const OFFERS_OF_SERVICE_MAX: usize = 64;
/// How often peers are asked who offers a service, while somebody wants to know.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Services of which it is remembered when peers were asked.
const ASKED_MAX: usize = 65_536;
/// Offers of one host that are looked at: it has one peer, and a few services.
const PEERS_OF_HOST_MAX: usize = 64;
/// Letters of a service's text that are read for its meaning.
const TEXT_CHARS_MAX: usize = 600;
