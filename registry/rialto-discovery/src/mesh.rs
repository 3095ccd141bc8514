//! The library's protocols, put together with the settings that this network needs.
//!
//! Not here: what happens on their events (see `swarm`).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Swarm, autonat, dcutr, identify, kad, mdns, memory_connection_limits, ping, relay};
use tokio::sync::mpsc;

use crate::config::{Config, Network, Reach};
use crate::counters::Counters;
use crate::dials::Dials;
use crate::gate::Gate;
use crate::gossip::{self, Gossip};
use crate::pointers::Pointers;
use crate::streams::{self, Arrival, Door};
use crate::transport::{self, BuildError};

/// Everything a node speaks.
///
/// The first three refuse connections before the others spend anything on them.
#[derive(NetworkBehaviour)]
pub(crate) struct Mesh {
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) gate: Gate,
    pub(crate) memory: Toggle<memory_connection_limits::Behaviour>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<Pointers>,
    pub(crate) gossip: Toggle<Gossip>,
    pub(crate) reach: Toggle<autonat::v2::client::Behaviour>,
    pub(crate) reach_server: Toggle<autonat::v2::server::Behaviour>,
    pub(crate) relay: Toggle<relay::Behaviour>,
    pub(crate) relay_client: relay::client::Behaviour,
    pub(crate) punch: dcutr::Behaviour,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) streams: streams::Behaviour,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The transport cannot be made.
    #[error(transparent)]
    Transport(#[from] BuildError),
    /// The local network cannot be asked for peers.
    #[error("cannot listen for peers of the local network; switch mdns off")]
    Mdns(#[source] std::io::Error),
    /// A listening address cannot be used.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// Why, as the transport says it.
        reason: String,
    },
    /// The gossip settings contradict each other: our bug.
    #[error("the gossip settings are not accepted: {0}")]
    Gossip(String),
    /// A bootstrap peer's or relay's address does not say whose it is.
    #[error("{0} does not end in /p2p/<peer>")]
    NoPeer(String),
}

/// Makes the swarm, and the queue of streams that others open.
pub(crate) fn build(
    config: &Config,
    inbound: Arc<Door>,
    counters: &Arc<Counters>,
) -> Result<(Swarm<Mesh>, mpsc::Receiver<Arrival>), StartError> {
    let (carrier, relay_client) = transport::build(
        &config.identity,
        config.network,
        Dials::new(config),
        counters,
    )?;
    let peer = config.identity.peer().id();
    let (streams, arrivals) = streams::Behaviour::new(
        inbound,
        config.limits.streams_waiting,
        config.rule(),
        Arc::clone(counters),
    );
    let public = config.reach == Reach::Public;
    let sockets = config.network == Network::Sockets;
    let mdns = if config.mdns && sockets {
        let found = mdns::tokio::Behaviour::new(mdns::Config::default(), peer);
        Some(found.map_err(StartError::Mdns)?)
    } else {
        None
    };
    let gossip = if config.gossip {
        Some(gossip::behaviour(config).map_err(StartError::Gossip)?)
    } else {
        None
    };
    let detect = (config.reach == Reach::Detect).then(autonat::v2::client::Behaviour::default);
    let mesh = Mesh {
        blocked: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(connection_limits(config)),
        gate: Gate::new(
            config.rule(),
            config.limits.peers_remembered,
            usize::try_from(incoming_max(config)).unwrap_or(usize::MAX),
            Arc::clone(counters),
        ),
        // Simulated nodes share one process, whose memory says nothing about one of them.
        memory: sockets.then(|| memory_limits(config)).into(),
        identify: identify::Behaviour::new(identity(config)),
        ping: ping::Behaviour::default(),
        kad: kademlia(config),
        gossip: gossip.into(),
        reach: detect.into(),
        reach_server: public.then(autonat::v2::server::Behaviour::default).into(),
        relay: config
            .relay_server
            .then(|| relay::Behaviour::new(peer, relay_limits()))
            .into(),
        relay_client,
        punch: dcutr::Behaviour::new(peer),
        mdns: mdns.into(),
        streams,
    };
    let settings = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.periods.idle)
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        .with_smart_dial();
    Ok((Swarm::new(carrier, mesh, peer, settings), arrivals))
}

fn connection_limits(config: &Config) -> ConnectionLimits {
    let limits = &config.limits;
    ConnectionLimits::default()
        .with_max_established(Some(limits.connections))
        .with_max_established_per_peer(Some(limits.connections_per_peer))
        .with_max_pending_incoming(Some(limits.connections_pending))
        .with_max_pending_outgoing(Some(limits.connections_pending))
        .with_max_established_incoming(Some(incoming_max(config)))
}

/// How many connections others may open: a crowd of them leaves room for those this node needs itself.
const fn incoming_max(config: &Config) -> u32 {
    config.limits.connections.saturating_mul(3) / 4
}

fn memory_limits(config: &Config) -> memory_connection_limits::Behaviour {
    let share = f64::from(config.limits.memory_permille) / 1000.0;
    memory_connection_limits::Behaviour::with_max_percentage(share)
}

fn identity(config: &Config) -> identify::Config {
    identify::Config::new(VERSION.to_owned(), config.identity.keypair().public())
        .with_agent_version(concat!("rialto/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
}

fn kademlia(config: &Config) -> kad::Behaviour<Pointers> {
    let peer = config.identity.peer().id();
    let store = Pointers::new(peer, config.limits.pointers, config.rule());
    let mut settings = kad::Config::new(KAD);
    settings
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        .disjoint_query_paths(true)
        .set_query_timeout(config.periods.lookup)
        .set_replication_interval(None)
        .set_publication_interval(None)
        // Pointers are left again by this crate's own schedule, in batches.
        .set_provider_publication_interval(None)
        .set_provider_record_ttl(Some(config.periods.pointer_ttl))
        // It would look through all parts of the network each time: see `Driver::refresh`.
        .set_periodic_bootstrap_interval(None)
        .set_parallelism(NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN));
    let mut kad = kad::Behaviour::with_config(peer, store, settings);
    // Never by itself: a relayed address would make a server of a node that nobody reaches.
    kad.set_mode(Some(match config.reach {
        Reach::Public => kad::Mode::Server,
        Reach::Detect | Reach::Private => kad::Mode::Client,
    }));
    kad
}

fn relay_limits() -> relay::Config {
    relay::Config {
        max_reservations: 128,
        max_reservations_per_peer: 2,
        max_circuits: 64,
        max_circuits_per_peer: 8,
        // A circuit carries the punching of a hole, and calls where no hole can be punched.
        max_circuit_duration: Duration::from_secs(600),
        max_circuit_bytes: 16 << 20,
        ..relay::Config::default()
    }
}

/// What identify calls this network.
pub(crate) const VERSION: &str = "/rialto/1";
/// This network's Kademlia protocol, apart from every other's.
pub(crate) const KAD: libp2p::StreamProtocol = libp2p::StreamProtocol::new("/rialto/kad/1.0.0");
/// Streams of one connection whose protocol is being agreed on.
const NEGOTIATING_MAX: usize = 256;
