//! What a node's tasks share: settings, tables behind short locks, and the way to the swarm's task.
//!
//! Not here: what the tasks do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::admission::RequestLimits;
use crate::book::Book;
use crate::cache::Cache;
use crate::config::Config;
use crate::counters::{Count, Counters};
use crate::gossip::Heard;
use crate::judge::{Blobs, Judge, Judged, Refusal, UnixSeconds};
use crate::lookup::Contact;
use crate::pauses::Pauses;
use crate::retries::Retries;
use crate::scores::{Fault, Scores};
use crate::shelf::Shelf;
use crate::streams::{Door, OpenError, Order, Protocol, Stream};
use crate::table::Table;
use crate::{Event, Key, PeerKey, Topic};

/// See the module.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) local: PeerId,
    pub(crate) judge: Arc<dyn Judge>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) table: Guarded<Table>,
    pub(crate) scores: Guarded<Scores>,
    pub(crate) cache: Guarded<Cache>,
    pub(crate) shelf: Guarded<Shelf>,
    pub(crate) retries: Guarded<Retries>,
    pub(crate) pauses: Guarded<Pauses>,
    pub(crate) book: Guarded<Book>,
    pub(crate) heard: Guarded<Heard>,
    pub(crate) limits: Guarded<RequestLimits>,
    pub(crate) lookups: Semaphore,
    pub(crate) reads: Arc<Door>,
    pub(crate) inbound: Arc<Door>,
    pub(crate) outbound: Arc<Door>,
    pub(crate) begun: Instant,
}

/// How the swarm stands, for whoever waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) peers: usize,
    pub(crate) routing: usize,
    pub(crate) pointers: usize,
    pub(crate) serving: bool,
    pub(crate) listening: Vec<Multiaddr>,
    pub(crate) external: Vec<Multiaddr>,
    /// How many peers are known to listen to each topic that this node listens to.
    pub(crate) listeners: Vec<(String, usize)>,
}

/// What the swarm's task is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Open a stream.
    Open {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        order: Order,
    },
    /// Find the peers nearest to these bytes, by asking the network.
    Closest {
        target: Vec<u8>,
        reply: oneshot::Sender<Vec<Contact>>,
    },
    /// The nearest peers that are known, other than one.
    Nearest {
        key: Key,
        except: PeerId,
        reply: oneshot::Sender<Vec<Contact>>,
    },
    /// Leave provider pointers.
    Provide { key: Key },
    /// Leave them no longer.
    Unprovide { key: Key },
    /// Who left provider pointers? They are dialled too, while their addresses are at hand.
    Providers {
        key: Key,
        reply: oneshot::Sender<Vec<PeerId>>,
    },
    /// Shut a peer out.
    Ban { peer: PeerId },
    /// Listen to a topic.
    Subscribe {
        topic: Topic,
        reply: oneshot::Sender<bool>,
    },
    /// No longer.
    Unsubscribe { topic: Topic },
    /// Say something.
    Announce {
        topic: Topic,
        record: Vec<u8>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// What a message that was heard is worth.
    Verdict {
        message: crate::gossip_task::MessageRef,
        verdict: crate::gossip_task::Verdict,
    },
}

/// A value behind a lock that is never held while waiting.
#[derive(Debug)]
pub(crate) struct Guarded<T>(Mutex<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // A panic in another task leaves counts wrong at worst, which their limits survive.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    pub(crate) fn now(&self) -> UnixSeconds {
        self.config.clock.now()
    }

    /// Milliseconds since the start, which only go up.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Judges a record that a peer sent, and remembers where its publisher is reached.
    pub(crate) fn judge(&self, record: &[u8], from: PeerId) -> Result<Judged, Refusal> {
        if record.len() > crate::judge::RECORD_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        let now = self.now();
        let judged = self.judge.judge(record, PeerKey::new(from), now)?;
        if judged.expires <= now {
            return Err(Refusal::Expired);
        }
        let addresses = judged
            .addresses
            .iter()
            .map(|address| address.multiaddr().clone());
        let addresses = self.config.rule().filter(addresses);
        self.book.lock().note(judged.publisher.id(), addresses);
        Ok(judged)
    }

    /// Notes a peer's fault, and shuts it out if that was too much.
    pub(crate) fn fault(&self, peer: PeerId, fault: Fault) {
        if peer == self.local {
            return;
        }
        self.counters.one(Count::Faults);
        let banned = self.scores.lock().fault(peer, fault, self.now_ms());
        if banned {
            self.counters.one(Count::Bans);
            tracing::info!(%peer, "peer banned");
            // If the queue is full the next tick finds the ban in the book.
            if self.commands.try_send(Command::Ban { peer }).is_err() {
                self.counters.one(Count::CommandsDropped);
            }
            self.tell(Event::Banned {
                peer: PeerKey::new(peer),
            });
        }
    }

    /// Notes the fault that a refused record is.
    pub(crate) fn fault_of(&self, peer: PeerId, refusal: Refusal) {
        self.counters.one(Count::RecordsRefused);
        match refusal {
            Refusal::Malformed | Refusal::Forged | Refusal::NotEntitled => {
                self.fault(peer, Fault::BadRecord);
            }
            Refusal::Expired => self.fault(peer, Fault::OldRecord),
            // An old record that crosses with a newer one is nobody's fault.
            Refusal::Stale | Refusal::Unavailable => {}
        }
    }

    /// Tells the node something, if it listens.
    pub(crate) fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.counters.one(Count::EventsDropped);
        }
    }

    /// Asks the swarm's task, waiting for room in its queue.
    pub(crate) async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// The nearest peers to a key that are known here.
    pub(crate) async fn nearest(&self, key: Key, except: PeerId) -> Vec<Contact> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Nearest { key, except, reply };
        if self.command(command).await.is_err() {
            return Vec::new();
        }
        // Nobody is near a node that is stopping.
        answer.await.unwrap_or_else(|_| Vec::new())
    }

    /// The peers nearest to a key or a peer's name, found by asking.
    pub(crate) async fn closest(&self, target: Vec<u8>) -> Vec<Contact> {
        let (reply, answer) = oneshot::channel();
        if self
            .command(Command::Closest { target, reply })
            .await
            .is_err()
        {
            return Vec::new();
        }
        answer.await.unwrap_or_else(|_| Vec::new())
    }

    /// Opens a stream to a peer at these addresses and those that are known.
    pub(crate) async fn open(
        &self,
        peer: PeerId,
        mut addresses: Vec<Multiaddr>,
        protocol: Protocol,
    ) -> Result<Stream, OpenError> {
        if self.scores.lock().is_banned(&peer, self.now_ms()) {
            return Err(OpenError::Unreachable("the peer is banned".to_owned()));
        }
        addresses.extend(self.book.lock().addresses(&peer));
        let wait = self.config.periods.request;
        let pass = self
            .outbound
            .enter(peer, None, wait)
            .await
            .ok_or(OpenError::Full)?;
        let (reply, answer) = oneshot::channel();
        let order = Order { protocol, reply };
        let command = Command::Open {
            peer,
            addresses,
            order,
        };
        self.command(command)
            .await
            .map_err(|_| OpenError::Stopped)?;
        let inner = answer.await.map_err(|_| OpenError::Broken)??;
        Ok(Stream::new(inner, Arc::clone(&self.counters), pass))
    }
}

/// The node is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
