//! This node as one of many: what it publishes and offers, whom it knows, and whose names it believes.
//!
//! The mesh is a convenience to a node that sells by its own address, and its door to one that does not:
//! nothing here decides about money. Names are the chain's (`names`), offers the peers' (`offers`), and what
//! is fetched is checked against what was signed (`take`).
//!
//! Not here: libp2p (`rialto-discovery`), which provider a call goes to (`rialto_registry::router`).

mod agents;
mod blobs;
mod directory;
mod draft;
mod feedback;
mod find;
mod heard;
mod judge;
mod names;
mod names_kept;
mod offers;
mod publish;
mod published;
mod ratings;
mod room;
mod take;
mod tunnels;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rialto_artifacts::Store;
use rialto_chain::client::{ChainClient, ConnectError, RegistryClient};
use rialto_discovery::{Discovery, Event, Incoming, Started};
use rialto_host::is_public;
use rialto_registry::erc8004::Registries;
use rialto_registry::{Name, NameBook, PeerId, PeerKey, RegistryId};
use tokio::sync::{Notify, mpsc};

use crate::Node;
use crate::config::{Config, Mesh as Settings};
use crate::keys::{self, KeyError};
use crate::shelf::PendingError;

pub use agents::{AgentCalls, Said};
pub use draft::Publishing;
pub use feedback::{RateError, ToRate};
pub use find::{FoundService, ListedProvider, SearchError, Unread};
pub use names::OnChain;
pub use publish::{PublishError, ToPublish, agent_metadata};
pub use take::TakeError;
pub use tunnels::{DialError, Duplex, Tunnel, TunnelProtocol, Tunnels};

use blobs::{Provided, Shelves};
use directory::Directory;
use feedback::Opinions;
use judge::OfferJudge;
use names::Fact;
use names_kept::Reading;
use offers::Sequence;
use published::Published;
use ratings::Ratings;

/// What a node that takes part in the mesh holds.
#[derive(Debug)]
pub(crate) struct Mesh {
    key: PeerKey,
    registry: RegistryId,
    /// What the registry says.
    agents: RegistryClient,
    discovery: Discovery,
    store: Store,
    /// The same store, for what others' manifests name.
    strangers: Store,
    /// What peers may read of it.
    provided: Arc<Provided>,
    published: Published,
    /// Held while pins are set or taken back.
    pinning: tokio::sync::Mutex<()>,
    /// Held while the folder of what is taken in is used.
    taking: tokio::sync::Mutex<()>,
    ratings: Ratings,
    opinions: Opinions,
    names: RwLock<NameBook>,
    /// How far the chain was read for names. Held while it is.
    names_read: tokio::sync::Mutex<Reading>,
    /// Told when names were taken in.
    names_changed: Notify,
    /// What the chain said of names lately.
    facts: Mutex<BTreeMap<Name, Fact>>,
    directory: Mutex<Directory>,
    sequence: Sequence,
    /// What is offered now.
    offered: Mutex<BTreeSet<Name>>,
    /// Told when offers should be made anew.
    wanted: Notify,
    events: Mutex<Option<mpsc::Receiver<Event>>>,
    incoming: Mutex<Option<mpsc::Receiver<Incoming>>>,
}

impl Mesh {
    /// Joins the mesh.
    ///
    /// # Errors
    /// [`MeshError`]; nothing is left running.
    pub(crate) async fn join(
        config: &Config,
        chain: &ChainClient,
        chain_id: u64,
        store: Store,
    ) -> Result<Self, MeshError> {
        let registries = Registries::canonical(chain_id);
        let registries = registries.ok_or(MeshError::NoRegistry(chain_id))?;
        let agents = chain.registries(registries).await?;
        let key = peer_key(&config.data_dir)?;
        let settings = discovery_config(&config.mesh, &key)?;
        let provided = Arc::new(Provided::default());
        let blobs = Arc::new(Shelves {
            store: store.clone(),
            provided: Arc::clone(&provided),
        });
        let strangers = store.for_strangers(is_public)?;
        let from_block = config.mesh.names_from_block;
        let names = Reading::open(&config.data_dir, registries.id(), from_block);
        let Started {
            discovery,
            events,
            incoming,
        } = Discovery::start(settings, Arc::new(OfferJudge), blobs)?;
        Ok(Self {
            key,
            registry: registries.id(),
            agents,
            discovery,
            store,
            strangers,
            provided,
            published: Published::open(&config.data_dir)?,
            pinning: tokio::sync::Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            ratings: Ratings::open(&config.data_dir),
            opinions: Opinions::open(&config.data_dir)?,
            names: RwLock::default(),
            names_read: tokio::sync::Mutex::new(names),
            names_changed: Notify::new(),
            facts: Mutex::default(),
            directory: Mutex::new(Directory::new()),
            sequence: Sequence::default(),
            offered: Mutex::default(),
            wanted: Notify::new(),
            events: Mutex::new(Some(events)),
            incoming: Mutex::new(Some(incoming)),
        })
    }

    /// Who this node is to its peers.
    pub(crate) fn peer(&self) -> PeerId {
        self.key.peer()
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        // An index stays sound whatever a panicking thread did to it: each entry is put in whole.
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether addresses of private networks count: where this node listens on such alone, and where its operator
/// says so.
fn counts_private(settings: &Settings) -> bool {
    settings.private || listens_privately(settings)
}

fn listens_privately(settings: &Settings) -> bool {
    !settings.listen.is_empty() && settings.listen.iter().all(|it| is_private(it))
}

/// Whether a multiaddress begins with an address that nobody on the internet reaches. All addresses at once
/// (`0.0.0.0`) may have a public one among them.
fn is_private(multiaddress: &str) -> bool {
    let mut parts = multiaddress.split('/').skip(1);
    let is_ip = parts.next().is_some_and(|it| it == "ip4" || it == "ip6");
    let address = parts.next().and_then(|text| text.parse::<IpAddr>().ok());
    is_ip && address.is_some_and(|it| !it.is_unspecified() && !is_public(it))
}

/// How libp2p is to behave. Who listens on this machine or a private network alone is reached there, and
/// who says where others reach it is believed; everybody else finds out by asking peers.
fn discovery_config(
    settings: &Settings,
    key: &PeerKey,
) -> Result<rialto_discovery::Config, MeshError> {
    use rialto_discovery::{Identity, Reach};
    let read = |list: &[String]| {
        let parsed = list.iter().map(|text| {
            let address = text.parse();
            address.map_err(|_| MeshError::Address(text.clone()))
        });
        parsed.collect::<Result<Vec<_>, _>>()
    };
    let private = listens_privately(settings);
    let reach = match (settings.listen.is_empty(), settings.external.is_empty()) {
        (true, true) => Reach::Private,
        (false, true) if !private => Reach::Detect,
        (_, _) => Reach::Public,
    };
    Ok(rialto_discovery::Config {
        listen: read(&settings.listen)?,
        bootstrap: read(&settings.bootstrap)?,
        external: read(&settings.external)?,
        relays: read(&settings.relays)?,
        mdns: settings.mdns,
        relay_server: settings.relay,
        private_addresses: counts_private(settings),
        reach,
        ..rialto_discovery::Config::new(Identity::from_seed(key.seed()))
    })
}

/// The peer's key, made once.
///
/// # Errors
/// [`KeyError`] when the file cannot be read or written.
fn peer_key(data_dir: &Path) -> Result<PeerKey, KeyError> {
    let path = data_dir.join("keys").join("peer.key");
    if !path.exists() {
        keys::store(&path, &rand::random())?;
    }
    Ok(PeerKey::from_seed(&keys::read_bytes(&path)?))
}

/// Why a node cannot take part in the mesh. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The peer's key.
    #[error("the peer's key cannot be had")]
    Key(#[from] KeyError),
    /// What was published before cannot be read.
    #[error("what was published cannot be read")]
    Published(#[from] PendingError),
    /// An address in the configuration.
    #[error(
        "[mesh] has `{0}`, which is no multiaddress: one looks like /ip4/192.0.2.7/tcp/8406/p2p/12D3KooW…"
    )]
    Address(String),
    /// Nothing can be fetched for strangers.
    #[error("the artifact store cannot be opened for what others publish")]
    Store(#[from] rialto_artifacts::OpenError),
    /// libp2p cannot start.
    #[error("the mesh cannot be joined: see [mesh] in the configuration")]
    Discovery(#[from] rialto_discovery::StartError),
    /// The registry cannot be used.
    #[error("the chain's identity registry cannot be used")]
    Registry(#[from] ConnectError),
    /// There is no registry on this chain.
    #[error("chain {0} has no identity registry that this version knows: set mesh.enabled = false")]
    NoRegistry(u64),
}

impl Node {
    /// The mesh, if this node takes part in it.
    pub(crate) fn mesh(&self) -> Option<&Mesh> {
        self.0.mesh.as_deref()
    }

    /// Who this node is to its peers; none if it takes no part in the mesh.
    pub fn peer(&self) -> Option<PeerId> {
        self.mesh().map(Mesh::peer)
    }

    /// Whether addresses of this machine and of private networks count as others' addresses.
    pub fn counts_private_addresses(&self) -> bool {
        counts_private(&self.config().mesh)
    }

    /// Where peers reach this node: multiaddresses, each with the peer.
    pub fn peer_addresses(&self) -> Vec<String> {
        let Some(mesh) = self.mesh() else {
            return Vec::new();
        };
        let peer = mesh.peer();
        let listening = mesh.discovery.listening();
        let named = listening.iter().map(|address| match address.to_string() {
            address if address.contains("/p2p/") => address,
            address => format!("{address}/p2p/{peer}"),
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn private_addresses_are_seen() {
        for text in [
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/172.20.1.1/tcp/1",
            "/ip6/fd00::1/tcp/1",
        ] {
            assert!(is_private(text), "{text}");
        }
        for text in [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/9.9.9.9/udp/1/quic-v1",
            "/dns4/host/tcp/1",
        ] {
            assert!(!is_private(text), "{text}");
        }
    }
}
