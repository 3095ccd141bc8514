//! The one task that owns the swarm: it takes commands and events, and does nothing that takes time.
//!
//! Not here: judging records, reading artifacts, looking up, which have tasks of their own.

mod commands;
mod neighbours;
mod reach;
mod refresh;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use libp2p::core::transport::ListenerId;
use libp2p::kad::{self, QueryId};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, gossipsub};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::Topic;
use crate::context::{Command, Context};
use crate::counters::Count;
use crate::gossip_task::{Message, MessageRef, Verdict};
use crate::judge::RECORD_BYTES_MAX;
use crate::lookup::Contact;
use crate::mesh::{Mesh, MeshEvent};
use crate::prefix::Prefix;
use crate::scores::Fault;

/// The swarm's task.
pub(crate) struct Driver {
    swarm: Swarm<Mesh>,
    context: Arc<Context>,
    commands: mpsc::Receiver<Command>,
    messages: mpsc::Sender<Message>,
    queries: HashMap<QueryId, Query>,
    /// The networks of connected peers, by the connection they came over last.
    networks: HashMap<PeerId, Option<Prefix>>,
    /// The networks of the routing table's peers: where they were connected from, and all they claim.
    routed: HashMap<PeerId, BTreeSet<Prefix>>,
    /// The same of those that wait for a place in it.
    candidates: VecDeque<(PeerId, BTreeSet<Prefix>)>,
    /// Whether a peer could not be reached since there was last a connection.
    lost: bool,
    /// Listeners that are circuits through relays.
    circuits: HashMap<ListenerId, PeerId>,
    /// Peers that offered to relay.
    relays: Vec<Contact>,
    /// When each relay was last asked for a place, in ticks.
    relays_asked: HashMap<PeerId, u64>,
    /// When a new peer last displaced another in the routing table, in ticks.
    challenged: Option<u64>,
    topics: HashSet<Topic>,
    /// How many listen to each topic, as of the last tick.
    listeners: Vec<(String, usize)>,
    ticks: u64,
}

/// What a running query is for.
enum Query {
    Closest(oneshot::Sender<Vec<Contact>>),
    Providers {
        found: HashSet<PeerId>,
        reply: oneshot::Sender<Vec<PeerId>>,
    },
}

impl Driver {
    pub(crate) fn new(
        swarm: Swarm<Mesh>,
        context: Arc<Context>,
        commands: mpsc::Receiver<Command>,
        messages: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            swarm,
            context,
            commands,
            messages,
            queries: HashMap::new(),
            networks: HashMap::new(),
            routed: HashMap::new(),
            candidates: VecDeque::new(),
            lost: false,
            circuits: HashMap::new(),
            relays: Vec::new(),
            relays_asked: HashMap::new(),
            challenged: None,
            topics: HashSet::new(),
            listeners: Vec::new(),
            ticks: 0,
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                _ = ticks.tick() => self.on_tick(),
            }
            self.publish_status();
        }
    }

    fn on_event(&mut self, event: SwarmEvent<MeshEvent>) {
        let counters = Arc::clone(&self.context.counters);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's events are non-exhaustive, and the others ask for nothing"
        )]
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, ..
            } => {
                counters.one(Count::ConnectionsOpened);
                let network = self.context.config.rule().network_of(&endpoint);
                self.networks.insert(peer_id, network);
                self.lost = false;
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established,
                ..
            } => {
                counters.one(Count::ConnectionsClosed);
                if num_established == 0 {
                    self.networks.remove(&peer_id);
                }
            }
            SwarmEvent::IncomingConnectionError { .. } => counters.one(Count::ConnectionsRefused),
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                counters.one(Count::DialsFailed);
                if let (Some(peer), DialError::Transport(_)) = (peer_id, &error) {
                    self.unreachable(&peer);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                self.circuits.remove(&listener_id);
            }
            SwarmEvent::ExternalAddrConfirmed { .. } | SwarmEvent::ExternalAddrExpired { .. } => {
                self.on_external();
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: MeshEvent) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "ping, relays, hole punching and the gates need nothing done"
        )]
        match event {
            MeshEvent::Identify(event) => self.on_identify(event),
            MeshEvent::Kad(event) => self.on_kad(event),
            MeshEvent::Gossip(event) => self.on_gossip(event),
            MeshEvent::Mdns(event) => self.on_mdns(event),
            _ => {}
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's other events ask for nothing"
        )]
        match event {
            kad::Event::OutboundQueryProgressed {
                id, result, step, ..
            } => {
                self.on_query(id, result, step.last);
            }
            kad::Event::InboundRequest {
                request:
                    kad::InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } => self.on_pointer(record),
            kad::Event::RoutingUpdated {
                peer,
                is_new_peer,
                addresses,
                old_peer,
                ..
            } => {
                if let Some(old) = old_peer {
                    self.routed.remove(&old);
                }
                let addresses: Vec<Multiaddr> = addresses.into_vec();
                if is_new_peer {
                    let networks = self.claimed_networks(&peer, &addresses);
                    self.routed.insert(peer, networks);
                }
                self.trim(&peer, &[]);
            }
            _ => {}
        }
    }

    fn on_pointer(&mut self, record: kad::ProviderRecord) {
        let prefix = self.networks.get(&record.provider).copied().flatten();
        let taken = self
            .swarm
            .behaviour_mut()
            .kad
            .store_mut()
            .admit(record, prefix);
        let count = if taken {
            Count::PointersTaken
        } else {
            Count::PointersRefused
        };
        self.context.counters.one(count);
    }

    fn on_query(&mut self, id: QueryId, result: kad::QueryResult, last: bool) {
        if let kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders {
            providers,
            ..
        })) = &result
        {
            self.on_providers(id, providers);
        }
        if !last {
            return;
        }
        match (self.queries.remove(&id), result) {
            (Some(Query::Closest(reply)), kad::QueryResult::GetClosestPeers(result)) => {
                let peers = match result {
                    Ok(found) => found.peers,
                    // What was found until the time was up is still close.
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                let rule = self.context.config.rule();
                let contacts = peers.into_iter().map(|info| Contact {
                    peer: info.peer_id,
                    addresses: rule.filter(info.addrs),
                });
                // Whoever gave up waiting does not want to know.
                let _ = reply.send(contacts.collect());
            }
            (Some(Query::Providers { found, reply }), _) => {
                let _ = reply.send(found.into_iter().collect());
            }
            (Some(Query::Closest(_)) | None, _) => {}
        }
    }

    /// Connects with providers while the query that found them still knows their addresses.
    fn on_providers(&mut self, id: QueryId, providers: &HashSet<PeerId>) {
        let Some(Query::Providers { found, .. }) = self.queries.get_mut(&id) else {
            return;
        };
        let mut fresh = Vec::new();
        for provider in providers {
            if *provider != self.context.local
                && found.len() < PROVIDERS_MAX
                && found.insert(*provider)
            {
                fresh.push(*provider);
            }
        }
        for provider in fresh {
            self.dial(provider, Vec::new());
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message {
            propagation_source: from,
            message_id: id,
            message,
        } = event
        else {
            // Who listens is counted on each tick: to count on each of these would be a flood's price.
            return;
        };
        let reference = MessageRef { id, from };
        let topic = Topic::of(&message.topic);
        let (Some(topic), true) = (topic, message.data.len() <= RECORD_BYTES_MAX) else {
            self.context.fault(from, Fault::BadMessage);
            self.verdict(&reference, Verdict::Reject);
            return;
        };
        let now_ms = self.context.now_ms();
        if !self.context.limits.lock().may_forward(from, now_ms) {
            self.context.counters.one(Count::GossipIgnored);
            self.verdict(&reference, Verdict::Ignore);
            return;
        }
        let heard = Message {
            reference: reference.clone(),
            author: message.source,
            topic,
            record: Bytes::from(message.data),
        };
        if self.messages.try_send(heard).is_err() {
            self.context.counters.one(Count::GossipIgnored);
            self.verdict(&reference, Verdict::Ignore);
        }
    }

    fn verdict(&mut self, message: &MessageRef, verdict: Verdict) {
        if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
            gossip.report_message_validation_result(&message.id, &message.from, verdict.into());
        }
    }

    fn on_tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            let store = self.swarm.behaviour_mut().kad.store_mut();
            store.sweep(Instant::now());
        }
        self.reconcile_bans();
        self.queries.retain(|_, query| match query {
            Query::Closest(reply) => !reply.is_closed(),
            Query::Providers { reply, .. } => !reply.is_closed(),
        });
        if self.ticks.is_multiple_of(REJOIN_TICKS) {
            self.rejoin();
        }
        self.refresh();
        self.seek_relays();
        self.count_listeners();
    }

    fn publish_status(&mut self) {
        let peers = self.networks.len();
        let routing = self.routed.len();
        let pointers = self.swarm.behaviour_mut().kad.store_mut().len();
        let serving = self.swarm.behaviour().kad.mode() == kad::Mode::Server;
        let listeners = &self.listeners;
        self.context.status.send_if_modified(|status| {
            let changed = status.peers != peers
                || status.routing != routing
                || status.pointers != pointers
                || status.serving != serving
                || status.listeners != *listeners;
            if changed {
                status.peers = peers;
                status.routing = routing;
                status.pointers = pointers;
                status.serving = serving;
                status.listeners.clone_from(listeners);
            }
            changed
        });
    }

    fn count_listeners(&mut self) {
        let Some(gossip) = self.swarm.behaviour().gossip.as_ref() else {
            return;
        };
        let mut listeners: Vec<(String, usize)> = self
            .topics
            .iter()
            .map(|topic| {
                let hash = topic.hash();
                let peers = gossip
                    .all_peers()
                    .filter(|(_, topics)| topics.contains(&&hash));
                (topic.name().to_owned(), peers.count())
            })
            .collect();
        listeners.sort();
        self.listeners = listeners;
    }
}

/// How often bans and relays are looked after.
const TICK: Duration = Duration::from_secs(1);
/// After how many ticks a node without peers tries to join again.
const REJOIN_TICKS: u64 = 15;
/// After how many ticks ended pointers are looked for among all.
const SWEEP_TICKS: u64 = 60;
/// How many providers of one query count.
const PROVIDERS_MAX: usize = 32;
