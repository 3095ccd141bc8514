//! What a node of the network is told: where to listen, whom to ask first, and its limits.
//!
//! Not here: reading a file of settings.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::judge::UnixSeconds;
use crate::prefix::AddressRule;
use crate::rates::Rate;
use crate::{Address, Identity};

/// How a node takes part. Begin with [`Config::new`].
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's key.
    pub identity: Identity,
    /// What carries the connections.
    pub network: Network,
    /// Where to listen. Empty: only dials, and is reached through relays if at all.
    pub listen: Vec<Address>,
    /// Peers to join by, each address ending in `/p2p/<peer>`.
    pub bootstrap: Vec<Address>,
    /// Addresses at which others certainly reach this node.
    pub external: Vec<Address>,
    /// Relays to be reached through, each address ending in `/p2p/<peer>`. A node that is not reachable
    /// also takes relays among the peers it meets.
    pub relays: Vec<Address>,
    /// Whether others reach this node directly.
    pub reach: Reach,
    /// Whether to find peers of the local network by mDNS; they are met where `private_addresses` count.
    pub mdns: bool,
    /// Whether to relay for others, within small limits.
    pub relay_server: bool,
    /// Whether to take part in gossip.
    pub gossip: bool,
    /// Whether addresses of private networks and this machine count. If not they are not even dialled,
    /// unless they stand in these settings as a bootstrap peer's or relay's IP.
    pub private_addresses: bool,
    /// What is bounded, and where.
    pub limits: Limits,
    /// When things end and come round again.
    pub periods: Periods,
    /// What time it is.
    pub clock: Clock,
}

impl Config {
    /// The settings of a node that listens nowhere and knows nobody.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            network: Network::Sockets,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            external: Vec::new(),
            relays: Vec::new(),
            reach: Reach::Detect,
            mdns: false,
            relay_server: false,
            gossip: true,
            private_addresses: false,
            limits: Limits::default(),
            periods: Periods::default(),
            clock: Clock::system(),
        }
    }

    pub(crate) const fn rule(&self) -> AddressRule {
        AddressRule {
            private: self.private_addresses,
            memory: matches!(self.network, Network::Memory),
        }
    }
}

/// What carries the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// TCP with noise and yamux, and QUIC; names by DNS.
    Sockets,
    /// Channels within this process, at addresses `/memory/<port>`: for tests and simulations.
    Memory,
}

/// Whether others reach this node directly. Only such a node serves the table of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Yes: what it listens on, or its external addresses.
    Public,
    /// Found out by asking others to dial back; until then no.
    Detect,
    /// No.
    Private,
}

/// What time it is, so that tests can say.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixSeconds + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            // Before 1970 everything has expired or not begun, which is refused.
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            UnixSeconds(since.map_or(0, |since| since.as_secs()))
        })
    }

    /// A clock of one's own.
    #[must_use]
    pub fn new(now: impl Fn() -> UnixSeconds + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What is bounded. The defaults suit a node with some hundred megabytes to spare.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all.
    pub connections: u32,
    /// Connections with one peer.
    pub connections_per_peer: u32,
    /// Connections being opened by others.
    pub connections_pending: u32,
    /// Above this share of the machine's memory in use by this process, in thousandths, no connection is
    /// accepted.
    pub memory_permille: u32,
    /// Streams of this crate's protocols in all, counted for each direction.
    pub streams: usize,
    /// Streams of one peer, counted for each direction.
    pub streams_per_peer: usize,
    /// Streams of one connection that wait for a place.
    pub streams_waiting: usize,
    /// Peers of one /24 or /48 in the routing table.
    pub routing_per_prefix: usize,
    /// Registered records.
    pub table: TableLimits,
    /// Provider pointers.
    pub pointers: PointerLimits,
    /// How often a peer may register or withdraw.
    pub register_per_peer: Rate,
    /// How often a peer may look up.
    pub lookup_per_peer: Rate,
    /// How often a /24 or /48 may ask anything.
    pub requests_per_prefix: Rate,
    /// How often a peer may ask for parts of artifacts.
    pub artifacts_per_peer: Rate,
    /// How often a /24 or /48 may ask for parts of artifacts.
    pub artifacts_per_prefix: Rate,
    /// How many messages of gossip a peer may pass on.
    pub gossip_per_peer: Rate,
    /// Parts of artifacts that are read or on their way at once, of at most 2 MiB each; a peer has a
    /// quarter of them.
    pub artifact_reads: usize,
    /// How often a subject may be announced.
    pub announcements: Rate,
    /// Subjects whose newest announcement is remembered.
    pub subjects_heard: usize,
    /// Peers whose faults or rates are remembered, of each kind.
    pub peers_remembered: usize,
    /// Subjects that this node publishes.
    pub published: usize,
    /// Lookups at once; more wait.
    pub lookups: usize,
    /// Requests of one lookup.
    pub requests_per_lookup: usize,
    /// Keys whose findings are remembered.
    pub cache_keys: usize,
    /// Gossip topics.
    pub topics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 4,
            connections_pending: 128,
            memory_permille: 900,
            streams: 4096,
            streams_per_peer: 256,
            streams_waiting: 64,
            routing_per_prefix: 10,
            table: TableLimits::default(),
            pointers: PointerLimits::default(),
            register_per_peer: Rate {
                burst: 256,
                per_minute: 240,
            },
            lookup_per_peer: Rate {
                burst: 128,
                per_minute: 600,
            },
            requests_per_prefix: Rate {
                burst: 2048,
                per_minute: 6000,
            },
            artifacts_per_peer: Rate {
                burst: 512,
                per_minute: 60_000,
            },
            artifacts_per_prefix: Rate {
                burst: 2048,
                per_minute: 240_000,
            },
            gossip_per_peer: Rate {
                burst: 1024,
                per_minute: 6000,
            },
            artifact_reads: 32,
            announcements: Rate {
                burst: 3,
                per_minute: 6,
            },
            subjects_heard: 16_384,
            peers_remembered: 8192,
            published: 256,
            lookups: 64,
            requests_per_lookup: 60,
            cache_keys: 4096,
            topics: 64,
        }
    }
}

/// Limits of what others register here.
#[derive(Debug, Clone, Copy)]
pub struct TableLimits {
    /// Records in all, of at most 4 KiB each.
    pub records: usize,
    /// Records under one key.
    pub records_per_key: usize,
    /// Records of one publisher.
    pub records_per_publisher: usize,
    /// Records of one publisher under one key.
    pub records_per_publisher_and_key: usize,
    /// Records from one /24 or /48.
    pub records_per_prefix: usize,
    /// Records in one reply.
    pub reply_records: usize,
    /// Bytes of records in one reply.
    pub reply_bytes: usize,
}

impl Default for TableLimits {
    fn default() -> Self {
        Self {
            records: 65_536,
            records_per_key: 256,
            records_per_publisher: 1024,
            records_per_publisher_and_key: 16,
            records_per_prefix: 4096,
            reply_records: 20,
            // With twenty peers and their addresses the reply stays below its 64 KiB.
            reply_bytes: 48 * 1024,
        }
    }
}

/// Limits of provider pointers.
#[derive(Debug, Clone, Copy)]
pub struct PointerLimits {
    /// This node's own keys.
    pub own: usize,
    /// Pointers of others in all.
    pub pointers: usize,
    /// Pointers under one key.
    pub pointers_per_key: usize,
    /// Pointers under one key from one /24 or /48.
    pub pointers_per_key_and_prefix: usize,
    /// Pointers of one peer.
    pub pointers_per_peer: usize,
    /// Pointers from one /24 or /48.
    pub pointers_per_prefix: usize,
}

impl Default for PointerLimits {
    fn default() -> Self {
        Self {
            own: 4096,
            pointers: 65_536,
            pointers_per_key: 64,
            pointers_per_key_and_prefix: 16,
            pointers_per_peer: 1024,
            pointers_per_prefix: 4096,
        }
    }
}

/// When things end and come round again.
#[derive(Debug, Clone, Copy)]
pub struct Periods {
    /// How often a published record is registered again, give or take a tenth. Its publisher is told
    /// then, so that it can sign a new one.
    pub refresh: Duration,
    /// How long others keep a provider pointer.
    pub pointer_ttl: Duration,
    /// How often a provider pointer is left again, give or take a tenth.
    pub pointer_refresh: Duration,
    /// How long a finding is fresh, at most: none of its records may end earlier.
    pub cache: Duration,
    /// How long it is remembered that nothing was found.
    pub cache_negative: Duration,
    /// The least time between two announcements of one subject by this node.
    pub announce: Duration,
    /// How long a banned peer is shut out.
    pub ban: Duration,
    /// How long one request to a peer may take.
    pub request: Duration,
    /// How long one lookup may take.
    pub lookup: Duration,
    /// How long a connection without streams stays.
    pub idle: Duration,
    /// How often the own part of the network is looked at again, and one of the parts far away.
    pub bootstrap: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            pointer_ttl: Duration::from_secs(3 * 3600),
            pointer_refresh: Duration::from_secs(3600),
            cache: Duration::from_secs(600),
            cache_negative: Duration::from_secs(30),
            announce: Duration::from_secs(15),
            ban: Duration::from_secs(600),
            request: Duration::from_secs(5),
            lookup: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            bootstrap: Duration::from_secs(300),
        }
    }
}
