//! Finding services and who offers them: asking peers, a walk over the names that the chain knows, searching.
//!
//! Not here: what is kept of it (`directory`).

use std::collections::BTreeMap;

use rialto_chain::client::RegistryError;
use rialto_discovery::{Key, WANT};
use rialto_registry::index::{Query, Vector};
use rialto_registry::{Name, PeerId, SignedManifest, SignedOffer, Status};

use super::names::OnChain;
use super::offers::since_epoch;
use super::{Mesh, TakeError};
use crate::Node;
use crate::progress::Progress;

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
    /// Its methods, as HTTP paths write them, each with its documentation.
    pub methods: BTreeMap<String, String>,
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
    /// How near its meaning is to what was asked for, in thousandths, where that made it a hit.
    pub nearness: Option<u16>,
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

/// A service whose text nobody has read for its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its name.
    pub service: Name,
    /// Who published it.
    pub publisher: String,
    /// What is to be read.
    pub text: String,
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

    /// What the owner of a name published last; none where nobody did, or it is revoked.
    ///
    /// # Errors
    /// [`TakeError`], where the manifest cannot be had.
    pub async fn published(&self, service: &Name) -> Result<Option<SignedManifest>, TakeError> {
        let known = self.name_lately(service).await?;
        let known = known.filter(|known| !matches!(known.status, Status::Revoked(_)));
        let digest = known.as_ref().and_then(|known| known.manifest);
        let (Some(known), Some(digest)) = (known, digest) else {
            return Ok(None);
        };
        let manifest = self.manifest(service, digest, &Progress::silent()).await?;
        if !known.has_signed(service, &manifest) {
            return Err(TakeError::NotTheOwner(service.clone()));
        }
        Ok(Some(manifest))
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

    /// Services of which this node does not know yet what they mean, with the texts to be read: so many at most.
    pub fn unread_services(&self, limit: usize) -> Vec<Unread> {
        let Some(mesh) = self.mesh() else {
            return Vec::new();
        };
        let unread = mesh.directory().unread(limit).into_iter();
        unread
            .map(|(service, publisher, text)| Unread {
                service,
                publisher,
                text,
            })
            .collect()
    }

    /// Keeps what the text of a service means, for searching by meaning.
    pub fn understand(&self, read: &Unread, meaning: Vector) {
        if let Some(mesh) = self.mesh() {
            let mut directory = mesh.directory();
            directory.understood(&read.service, &read.publisher, meaning);
        }
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
            {
                let mut directory = mesh.directory();
                directory.expire(since_epoch().as_secs());
                directory.compare_names();
            }
            tokio::select! {
                () = self.stopping() => return,
                () = mesh.names_changed.notified() => {}
                () = tokio::time::sleep(self.config().mesh.offer_every) => {}
            }
        }
    }

    /// Finds who offers a name's service, and lists it.
    async fn look_at(&self, mesh: &Mesh, name: &Name) -> Result<(), TakeError> {
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
            return Err(TakeError::NotTheOwner(name.clone()));
        }
        let now = since_epoch().as_secs();
        let mut directory = mesh.directory();
        for offer in offers {
            let reputation = self.reputation(offer.peer());
            directory.learn(offer, &manifest, &known, now, reputation);
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
    /// they are asked meanwhile, every few seconds.
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
            methods: entry
                .methods
                .iter()
                .map(|(method, docs)| (method.to_snake_case(), docs.clone()))
                .collect(),
            tags: entry.tags.iter().cloned().collect(),
            deprecated: entry.deprecated.clone(),
            verified: entry.verified,
            resembles: entry.resembles.clone(),
            nearness: hit.nearness_permille,
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
