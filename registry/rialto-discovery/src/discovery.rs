//! The handle: everything a node does with the network.
//!
//! Not here: how any of it is done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;
use rialto_registry::Digest;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::admission::RequestLimits;
use crate::book::Book;
use crate::cache::Cache;
use crate::config::Config;
use crate::context::{Command, Context, Guarded, Status};
use crate::counters::{Counters, Levels, Snapshot};
use crate::find::Ask;
use crate::gossip::{self, Heard, Topic};
use crate::judge::{Blobs, Judge, Outline, RECORD_BYTES_MAX, Refusal, Subject, UnixSeconds};
use crate::mesh::{self, StartError};
use crate::pauses::Pauses;
use crate::publish::{PublishError, Published};
use crate::retries::Retries;
use crate::scores::Scores;
use crate::shelf::Shelf;
use crate::streams::{Door, OpenError, Protocol, Stream};
use crate::swarm::Driver;
use crate::table::Table;
use crate::{Address, FetchError, Found, Identity, Key, PeerKey, Record};
use crate::{gossip_task, publish, server};

/// A node of the network. Clones are handles of the same node, which stops when the last is dropped.
#[derive(Debug, Clone)]
pub struct Discovery {
    context: Arc<Context>,
    announced: Arc<Guarded<HashMap<gossip::Turn, Instant>>>,
    _tasks: Arc<Tasks>,
}

/// A node that was started, and what comes from it.
#[derive(Debug)]
pub struct Started {
    /// The handle.
    pub discovery: Discovery,
    /// What happens. What is not taken in time is dropped, and counted.
    pub events: mpsc::Receiver<Event>,
    /// Calls that peers open. Each holds a place until its stream is dropped.
    pub incoming: mpsc::Receiver<Incoming>,
}

/// A call that a peer opened.
#[derive(Debug)]
pub struct Incoming {
    /// Who calls.
    pub peer: PeerKey,
    /// In which protocol.
    pub protocol: Protocol,
    /// The call.
    pub stream: Stream,
}

/// Something that the node may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new record was heard on a topic.
    Heard {
        /// The topic.
        topic: Topic,
        /// The record, judged good.
        record: Record,
    },
    /// A published record was registered again, and none newer has been published meanwhile; it is time to
    /// sign and publish one.
    RefreshDue {
        /// Whose record.
        subject: Subject,
        /// When the present one ends.
        expires: UnixSeconds,
    },
    /// The addresses at which others reach this node have changed; its offers should say so.
    Addresses(Vec<Address>),
    /// A peer was shut out.
    Banned {
        /// Which.
        peer: PeerKey,
    },
}

/// The node's tasks, which end with it.
#[derive(Debug)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Why an announcement was not made.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The record is not good: our own fault.
    #[error("this node's own record is refused")]
    Refused(#[from] Refusal),
    /// Its subject was announced a moment ago.
    #[error("announced a moment ago; again in {0:?}")]
    TooSoon(Duration),
    /// Gossip takes it not, for instance because nobody is known to listen.
    #[error("gossip does not take it: {0}")]
    NotSent(String),
}

impl Discovery {
    /// Starts a node: listens, and joins by the peers it was told of. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The transport cannot be set up, or an address not be listened on.
    pub fn start(
        config: Config,
        judge: Arc<dyn Judge>,
        blobs: Arc<dyn Blobs>,
    ) -> Result<Started, StartError> {
        for address in config.bootstrap.iter().chain(&config.relays) {
            let last = address.multiaddr().iter().last();
            if !matches!(last, Some(libp2p::multiaddr::Protocol::P2p(_))) {
                return Err(StartError::NoPeer(address.to_string()));
            }
        }
        let counters = Arc::new(Counters::new());
        let inbound = Door::new(config.limits.streams, config.limits.streams_per_peer);
        let (swarm, arrivals) = mesh::build(&config, Arc::clone(&inbound), &counters)?;
        let (commands, orders) = mpsc::channel(COMMANDS);
        let (tell, events) = mpsc::channel(EVENTS);
        let (messages, heard) = mpsc::channel(MESSAGES);
        let (calls, incoming) = mpsc::channel(inbound.places());
        let context = Arc::new(context(
            config, judge, blobs, counters, inbound, commands, tell,
        ));
        let mut driver = Driver::new(swarm, Arc::clone(&context), orders, messages);
        let begun = driver.begin();
        begun.map_err(|(address, reason)| StartError::Listen { address, reason })?;
        let tasks = vec![
            tokio::spawn(driver.run()).abort_handle(),
            tokio::spawn(server::run(Arc::clone(&context), arrivals, calls)).abort_handle(),
            tokio::spawn(gossip_task::run(Arc::clone(&context), heard)).abort_handle(),
            tokio::spawn(publish::refresh(Arc::clone(&context))).abort_handle(),
            tokio::spawn(gather(Arc::clone(&context))).abort_handle(),
        ];
        let discovery = Self {
            context,
            announced: Arc::new(Guarded::new(HashMap::new())),
            _tasks: Arc::new(Tasks(tasks)),
        };
        Ok(Started {
            discovery,
            events,
            incoming,
        })
    }

    /// This node's name.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        PeerKey::new(self.context.local)
    }

    /// This node's key, to sign with.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.context.config.identity
    }

    /// Publishes a record of this peer: registers it at the twenty peers nearest to each of its keys,
    /// leaves provider pointers beside, and does so again until the record ends.
    ///
    /// # Errors
    /// The record is refused, or not this peer's, or there are too many.
    pub async fn publish(&self, record: Bytes) -> Result<Published, PublishError> {
        self.context.publish(record).await
    }

    /// Takes what this peer has under a key out again. Returns how many peers said that it is done; the
    /// others keep it until it ends.
    pub async fn withdraw(&self, key: Key) -> usize {
        self.context.withdraw(key).await
    }

    /// Finds records under a key: at least `want` if there are so many. [`WANT`] is a good number.
    pub async fn find(&self, key: Key, want: usize) -> Found {
        self.context.find(key, want.clamp(1, WANT_MAX)).await
    }

    /// Like [`Self::find`], but asks the network whatever is remembered.
    pub async fn find_anew(&self, key: Key, want: usize) -> Found {
        let want = want.clamp(1, WANT_MAX);
        self.context.look(key, want, Ask::Network).await
    }

    /// Listens to a topic and meets others who do. Returns whether that was possible: there are only so
    /// many topics, and gossip may be off.
    pub async fn subscribe(&self, topic: &Topic) -> bool {
        let (reply, answer) = oneshot::channel();
        let command = Command::Subscribe {
            topic: topic.clone(),
            reply,
        };
        if self.context.command(command).await.is_err() || !matches!(answer.await, Ok(true)) {
            return false;
        }
        // Beyond the shelf's limit the topic is only met by chance.
        if let Err(error) = self.context.provide(Key::topic(topic.name())).await {
            tracing::warn!(%error, "no pointer for a topic");
        }
        true
    }

    /// Listens to a topic no longer.
    pub async fn unsubscribe(&self, topic: &Topic) {
        let key = Key::topic(topic.name());
        self.context.shelf.lock().withdraw(&key);
        // A node that is stopping listens to nothing anyway.
        let _ = self.context.command(Command::Unprovide { key }).await;
        let _ = self
            .context
            .command(Command::Unsubscribe {
                topic: topic.clone(),
            })
            .await;
    }

    /// Says a record of this peer to all who listen to a topic, at most every 15 seconds a subject
    /// and topic.
    ///
    /// # Errors
    /// The record is refused, came too soon after the last, or nobody is known to listen.
    pub async fn announce(&self, topic: &Topic, record: Bytes) -> Result<(), AnnounceError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(Refusal::Malformed.into());
        }
        let judged = self.context.judge(&record, self.context.local)?;
        let turn = (judged.subject, topic.clone());
        self.take_turn(&turn)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Announce {
            topic: topic.clone(),
            record: record.to_vec(),
            reply,
        };
        let stopping = || AnnounceError::NotSent("the node is stopping".to_owned());
        self.context
            .command(command)
            .await
            .map_err(|_| stopping())?;
        let sent = answer.await.map_err(|_| stopping())?;
        if sent.is_err() {
            // What was not said does not count.
            self.announced.lock().remove(&turn);
        }
        sent.map_err(AnnounceError::NotSent)
    }

    fn take_turn(&self, turn: &gossip::Turn) -> Result<(), AnnounceError> {
        let pause = gossip::pause(&self.context.config);
        let mut announced = self.announced.lock();
        announced.retain(|_, at| at.elapsed() < pause);
        if let Some(at) = announced.get(turn) {
            return Err(AnnounceError::TooSoon(pause.saturating_sub(at.elapsed())));
        }
        let limits = &self.context.config.limits;
        if announced.len() >= limits.published.saturating_mul(limits.topics) {
            return Err(AnnounceError::TooSoon(pause));
        }
        announced.insert(turn.clone(), Instant::now());
        Ok(())
    }

    /// Opens a stream for a call. The peer may be known by name alone: its addresses are looked up, and
    /// relays used where there is no other way.
    ///
    /// # Errors
    /// Why there is no stream.
    pub async fn open(&self, peer: PeerKey, protocol: Protocol) -> Result<Stream, OpenError> {
        self.context.reach(peer.id(), protocol).await
    }

    /// Leaves a pointer that this node serves an artifact, and keeps it there.
    ///
    /// # Errors
    /// [`PublishError::Full`] if there are too many pointers.
    pub async fn provide_artifact(&self, digest: &Digest) -> Result<(), PublishError> {
        self.context.provide(Key::artifact(digest)).await
    }

    /// Leaves the pointer no longer; others keep it until it ends.
    pub async fn unprovide_artifact(&self, digest: &Digest) {
        let key = Key::artifact(digest);
        self.context.shelf.lock().withdraw(&key);
        // A node that is stopping provides nothing any more.
        let _ = self.context.command(Command::Unprovide { key }).await;
    }

    /// Peers that say they serve an artifact.
    pub async fn artifact_providers(&self, digest: &Digest) -> Vec<PeerKey> {
        let found = self.context.providers(Key::artifact(digest)).await;
        found.into_iter().map(PeerKey::new).collect()
    }

    /// Asks a peer for an artifact's outline. It is that peer's word until the whole has been checked.
    ///
    /// # Errors
    /// Why it did not come.
    pub async fn artifact_outline(
        &self,
        peer: PeerKey,
        digest: &Digest,
    ) -> Result<Outline, FetchError> {
        self.context.outline(peer.id(), digest).await
    }

    /// Asks a peer for one chunk, and checks it if its digest is given.
    ///
    /// # Errors
    /// Why it did not come. A wrong one is held against the peer.
    pub async fn artifact_chunk(
        &self,
        peer: PeerKey,
        digest: &Digest,
        index: u32,
        expected: Option<Digest>,
    ) -> Result<Bytes, FetchError> {
        self.context.chunk(peer.id(), digest, index, expected).await
    }

    /// Asks a peer for an artifact's length.
    ///
    /// # Errors
    /// Why it did not come.
    pub async fn artifact_size(&self, peer: PeerKey, digest: &Digest) -> Result<u64, FetchError> {
        self.context.size(peer.id(), digest).await
    }

    /// The addresses at which others reach this node, relays' included.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        let status = self.context.status.borrow();
        status.external.iter().cloned().map(Address::new).collect()
    }

    /// What this node listens on.
    #[must_use]
    pub fn listening(&self) -> Vec<Address> {
        let status = self.context.status.borrow();
        status.listening.iter().cloned().map(Address::new).collect()
    }

    /// Waits until the node is as wanted, which is looked at whenever the swarm changes and twenty times a
    /// second. Returns whether it was in time.
    pub async fn wait_for(&self, wanted: impl Fn(&Self) -> bool, limit: Duration) -> bool {
        let mut changes: watch::Receiver<Status> = self.context.status.subscribe();
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        let waiting = async {
            while !wanted(self) {
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = looks.tick() => {}
                }
            }
        };
        timeout(limit, waiting).await.is_ok()
    }

    /// How many listen to a topic as far as this node knows, itself not counted.
    #[must_use]
    pub fn listeners(&self, topic: &Topic) -> usize {
        let status = self.context.status.borrow();
        let known = status
            .listeners
            .iter()
            .find(|(name, _)| name == topic.name());
        known.map_or(0, |(_, count)| *count)
    }

    /// Everything that is counted, now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let context = &self.context;
        let status = context.status.borrow().clone();
        let (records, keys) = context.table.lock().len();
        context.counters.snapshot(Levels {
            peers: status.peers,
            routing: status.routing,
            records,
            keys,
            pointers: status.pointers,
            cached: context.cache.lock().len(),
            published: context.shelf.lock().len().0,
            banned: context.scores.lock().banned().count(),
            streams_in: context.inbound.taken(),
            streams_out: context.outbound.taken(),
            serving: status.serving,
        })
    }
}

impl Context {
    /// Opens a stream to a peer that may be known by name alone.
    pub(crate) async fn reach(
        self: &Context,
        peer: PeerId,
        protocol: Protocol,
    ) -> Result<Stream, OpenError> {
        match self.open(peer, Vec::new(), protocol).await {
            Err(OpenError::NoAddress | OpenError::Unreachable(_)) => {}
            result @ (Ok(_)
            | Err(
                OpenError::Unsupported | OpenError::Broken | OpenError::Full | OpenError::Stopped,
            )) => return result,
        }
        // Its own record says where it is; judging it notes the addresses. A server of the table is
        // found by its name too.
        let found = self
            .look(Key::peer(PeerKey::new(peer)), 1, Ask::Memory)
            .await;
        let mut addresses = Vec::new();
        if found.records.is_empty() {
            let closest = self.closest(peer.to_bytes()).await;
            let it = closest.into_iter().find(|contact| contact.peer == peer);
            addresses = it.ok_or(OpenError::NoAddress)?.addresses;
        }
        self.open(peer, addresses, protocol).await
    }

    /// Peers that left provider pointers under a key.
    pub(crate) async fn providers(&self, key: Key) -> Vec<PeerId> {
        let (reply, answer) = oneshot::channel();
        if self
            .command(Command::Providers { key, reply })
            .await
            .is_err()
        {
            return Vec::new();
        }
        answer.await.unwrap_or_else(|_| Vec::new())
    }
}

/// Meets others who listen to the same topics, while few are known: ever more rarely while nobody comes.
async fn gather(context: Arc<Context>) {
    let mut changes = context.status.subscribe();
    let mut pause = GATHER_MIN;
    let mut before = Vec::new();
    loop {
        let lacking = |status: &Status| {
            status.peers > 0
                && status
                    .listeners
                    .iter()
                    .any(|(_, count)| *count < LISTENERS_WANTED)
        };
        let Ok(status) = changes.wait_for(lacking).await.map(|status| status.clone()) else {
            return;
        };
        for (name, count) in &status.listeners {
            if *count < LISTENERS_WANTED {
                // Asking for them dials them too.
                context.providers(Key::topic(name)).await;
            }
        }
        pause = if status.listeners == before {
            pause.saturating_mul(2).min(GATHER_MAX)
        } else {
            GATHER_MIN
        };
        before = status.listeners;
        tokio::time::sleep(pause).await;
    }
}

fn context(
    config: Config,
    judge: Arc<dyn Judge>,
    blobs: Arc<dyn Blobs>,
    counters: Arc<Counters>,
    inbound: Arc<Door>,
    commands: mpsc::Sender<Command>,
    events: mpsc::Sender<Event>,
) -> Context {
    let limits = &config.limits;
    let ban_ms = u64::try_from(config.periods.ban.as_millis()).unwrap_or(u64::MAX);
    let peers = limits.peers_remembered;
    Context {
        local: config.identity.peer().id(),
        judge,
        blobs,
        counters,
        commands,
        events,
        status: watch::Sender::new(Status::default()),
        table: Guarded::new(Table::new(limits.table)),
        scores: Guarded::new(Scores::new(ban_ms, peers)),
        cache: Guarded::new(Cache::new(
            limits.cache_keys,
            config.periods.cache,
            config.periods.cache_negative,
        )),
        shelf: Guarded::new(Shelf::new(limits.published, limits.pointers.own)),
        retries: Guarded::new(Retries::new(RETRIES_MAX)),
        pauses: Guarded::new(Pauses::new(peers)),
        book: Guarded::new(Book::new(peers)),
        heard: Guarded::new(Heard::new(limits.subjects_heard, limits.announcements)),
        limits: Guarded::new(RequestLimits::new(limits)),
        lookups: Semaphore::new(limits.lookups),
        reads: Door::new(limits.artifact_reads, limits.artifact_reads.div_ceil(4)),
        inbound,
        outbound: Door::new(limits.streams, limits.streams_per_peer),
        begun: Instant::now(),
        config,
    }
}

/// How many records a lookup wants by default.
pub const WANT: usize = 8;
/// How many it may want.
const WANT_MAX: usize = 256;
/// Keys at busy peers that wait to be asked again.
const RETRIES_MAX: usize = 4096;
/// Commands that wait for the swarm's task.
const COMMANDS: usize = 256;
/// Events that wait for the node.
const EVENTS: usize = 1024;
/// Messages that wait to be judged.
const MESSAGES: usize = 256;
/// How long to wait before others who listen to the same topics are looked for again.
const GATHER_MIN: Duration = Duration::from_secs(1);
/// How long at most, when nobody came.
const GATHER_MAX: Duration = Duration::from_secs(300);
/// How many listeners of a topic a node wants to know.
const LISTENERS_WANTED: usize = 4;
