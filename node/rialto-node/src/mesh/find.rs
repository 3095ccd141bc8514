//! What is offered on the mesh, as far as this node knows: an index for searching, and the newest offer of each
//! provider.
//!
//! It is filled by what this node looks up, by what it hears from peers and by a walk over the names that the
//! chain knows. What is shown as verified was compared with the chain.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rialto_chain::client::RegistryError;
use rialto_discovery::{Key, WANT};
use rialto_registry::index::{Entry, Index, IndexLimits, Listing, Query};
use rialto_registry::{Name, PeerId, SignedManifest, SignedOffer, Status};

use super::Mesh;
use super::names::OnChain;
use super::offers::since_epoch;
use crate::Node;
use crate::progress::Progress;

/// What this node knows of the mesh.
#[derive(Debug)]
pub(super) struct Directory {
    index: Index,
    /// The newest offer of each service by each peer.
    offers: BTreeMap<(Name, PeerId), SignedOffer>,
    /// When peers were asked last for a service's offers.
    asked: BTreeMap<Name, Instant>,
}

/// A service that was found, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundService {
    /// Its name.
    pub service: Name,
    /// Its version.
    pub version: String,
    /// What it is, in a line.
    pub description: String,
    /// Who published it.
    pub publisher: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why not to use it, if its owner says so.
    pub deprecated: Option<String>,
    /// Whether the chain vouches for it.
    pub verified: bool,
    /// The better known name that its own looks like.
    pub resembles: Option<Name>,
    /// Where the words were found.
    pub fields: Vec<&'static str>,
    /// Who offers it, best first.
    pub listed: Vec<ListedProvider>,
}

/// A provider of a service that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProvider {
    /// The provider.
    pub peer: PeerId,
    /// For each method the least that a call costs, in base units.
    pub prices: BTreeMap<String, String>,
    /// Where it is, as it says.
    pub region: Option<String>,
    /// What it computes on, as it says.
    pub hardware: Vec<String>,
    /// How much of it is in use, in thousandths.
    pub load: u16,
}

/// Why nothing can be searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The node takes no part in the mesh.
    #[error(
        "this node takes no part in the mesh: start it with --mesh, or set mesh.enabled = true in the configuration"
    )]
    Alone,
    /// The chain cannot be read.
    #[error("the chain cannot be read")]
    Chain(#[from] RegistryError),
}

impl Node {
    /// Providers that offer a service now, as its owner published it.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn providers(&self, service: &Name) -> Result<Vec<SignedOffer>, SearchError> {
        if self.mesh().is_none() {
            return Err(SearchError::Alone);
        }
        let Some(known) = self.name_lately(service).await? else {
            return Ok(Vec::new());
        };
        let found = self.offers_of(service).await;
        let as_published = |offer: &SignedOffer| known.is_offered_by(offer);
        Ok(found.into_iter().filter(as_published).collect())
    }

    /// Searches what this node knows of.
    ///
    /// # Errors
    /// [`SearchError::Alone`].
    pub fn search(&self, query: &Query) -> Result<Vec<FoundService>, SearchError> {
        let mesh = self.mesh().ok_or(SearchError::Alone)?;
        let directory = mesh.directory();
        let hits = directory.index.search(query, since_epoch().as_secs());
        Ok(hits.into_iter().map(FoundService::from).collect())
    }

    /// Looks at the names that the chain knows, one after the other, for as long as the node runs.
    pub(crate) async fn browse_forever(self) {
        let Some(mesh) = self.mesh() else {
            return;
        };
        loop {
            for (name, _) in mesh.owned() {
                tokio::select! {
                    () = self.stopping() => return,
                    looked = self.look_at(mesh, &name) => if let Err(error) = looked {
                        tracing::debug!(%name, %error, "not listed");
                    }
                }
            }
            tokio::select! {
                () = self.stopping() => return,
                () = mesh.names_changed.notified() => {}
                () = tokio::time::sleep(self.config().mesh.offer_every) => {}
            }
        }
    }

    /// Finds who offers a name's service, and lists it.
    async fn look_at(&self, mesh: &Mesh, name: &Name) -> Result<(), super::TakeError> {
        let Some(known) = self.name_on_chain(name).await? else {
            return Ok(());
        };
        let Some(digest) = known.manifest else {
            return Ok(());
        };
        let offers = self.offers_of(name).await;
        let offers: Vec<_> = offers.iter().filter(|it| known.is_offered_by(it)).collect();
        if offers.is_empty() {
            return Ok(());
        }
        let manifest = self.manifest(name, digest, &Progress::silent()).await?;
        if !known.has_signed(name, &manifest) {
            return Err(super::TakeError::NotTheOwner(name.clone()));
        }
        let now = since_epoch().as_secs();
        let mut directory = mesh.directory();
        for offer in offers {
            directory.learn(offer, &manifest, &known, now);
        }
        Ok(())
    }
}

impl OnChain {
    /// Whether a manifest is of this name, by its owner, for this registry.
    pub(super) fn has_signed(&self, name: &Name, manifest: &SignedManifest) -> bool {
        manifest.name() == name
            && manifest.publisher() == self.owner
            && manifest.registry() == self.agent.registry
    }

    /// Whether an offer is of what the name's owner published last, and wants to be used.
    fn is_offered_by(&self, offer: &SignedOffer) -> bool {
        let offer = offer.offer();
        self.manifest == Some(offer.manifest)
            && offer.registry == self.agent.registry
            && !matches!(self.status, Status::Revoked(_))
    }
}

impl Node {
    /// The offers of a service that are good now. Where some are known, whoever asks does not wait for peers:
    /// they are asked meanwhile, every [`ASK_EVERY`].
    async fn offers_of(&self, service: &Name) -> Vec<SignedOffer> {
        let Some(mesh) = self.mesh() else {
            return Vec::new();
        };
        let (known, is_due) = mesh.directory().known(service, since_epoch().as_secs());
        if !is_due && !known.is_empty() {
            return known;
        }
        if known.is_empty() {
            mesh.ask_peers(service).await;
            return mesh.directory().offers(service, since_epoch().as_secs());
        }
        let (node, service) = (self.clone(), service.clone());
        tokio::spawn(async move {
            if let Some(mesh) = node.mesh() {
                mesh.ask_peers(&service).await;
            }
        });
        known
    }
}

impl Mesh {
    /// Asks peers who offers a service, whatever is remembered of the last time.
    async fn ask_peers(&self, service: &Name) {
        let key = Key::service(service.as_str());
        let found = self.discovery.find_anew(key, WANT).await;
        let read = found.records.iter();
        let read = read.filter_map(|record| SignedOffer::parse(&record.bytes).ok());
        let read = read.filter(|offer| offer.offer().service == *service);
        let now = since_epoch().as_secs();
        let mut directory = self.directory();
        for offer in read {
            directory.keep(offer, now);
        }
    }
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            index: Index::new(IndexLimits::DEFAULT),
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

    /// The offers of a service that are known, and whether it is time to ask peers; whoever is told so asks.
    fn known(&mut self, service: &Name, now: u64) -> (Vec<SignedOffer>, bool) {
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

    /// The offers of a service that are good now.
    fn offers(&self, service: &Name, now: u64) -> Vec<SignedOffer> {
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
    ) {
        self.keep(offer.clone(), now);
        let mut entry = entry(manifest, known, offer.offer().expires);
        let before = self.index.get(&entry.service, &entry.publisher);
        let others = before.iter().flat_map(|before| &before.listings);
        let others = others.filter(|it| it.provider != offer.peer()).cloned();
        entry.listings = others.chain([listing(offer)]).collect();
        entry.expires = before.map_or(entry.expires, |it| it.expires.max(entry.expires));
        if let Err(error) = self.index.insert(entry, now) {
            tracing::debug!(service = %manifest.name(), %error, "not listed");
        }
    }
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

fn listing(offer: &SignedOffer) -> Listing {
    let said = offer.offer();
    Listing {
        provider: offer.peer(),
        prices: said.prices.clone(),
        region: said.region.as_ref().map(ToString::to_string),
        hardware: said.hardware.iter().map(ToString::to_string).collect(),
        load_permille: said.load,
        expires: said.expires,
        reputation_permille: NEUTRAL,
        verified: true,
    }
}

impl From<rialto_registry::index::Hit<'_>> for FoundService {
    fn from(hit: rialto_registry::index::Hit<'_>) -> Self {
        let entry = hit.entry;
        let listed = hit.listings.iter().map(|listing| ListedProvider {
            peer: listing.provider,
            prices: listing
                .prices
                .iter()
                .map(|(method, price)| (method.to_snake_case(), price.to_string()))
                .collect(),
            region: listing.region.clone(),
            hardware: listing.hardware.clone(),
            load: listing.load_permille,
        });
        Self {
            service: entry.service.clone(),
            version: entry.version.to_string(),
            description: entry.title.clone(),
            publisher: entry.publisher.clone(),
            tags: entry.tags.iter().cloned().collect(),
            deprecated: entry.deprecated.clone(),
            verified: entry.verified,
            resembles: entry.resembles.clone(),
            fields: hit.fields.iter().map(field).collect(),
            listed: listed.collect(),
        }
    }
}

fn field(field: rialto_registry::index::Field) -> &'static str {
    use rialto_registry::index::Field;
    match field {
        Field::Name => "name",
        Field::Tags => "tags",
        Field::Title | Field::Description => "description",
        Field::Methods => "methods",
        Field::Docs => "docs",
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
/// The reputation of somebody of whom nothing is known.
const NEUTRAL: u16 = 500;
