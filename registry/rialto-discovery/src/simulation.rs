//! Swarms of many nodes in one process, on the memory transport: for benchmarks and tests.
//!
//! Nothing here is used by a node. Records are made up and signed plainly; what a lookup costs does not
//! depend on what records say.
//!
//! Not here: delay and loss. The memory transport has neither, so counts of requests and bytes mean
//! something and durations only relative to each other.

mod plain;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::config::{Config, Limits, Network, Periods, Reach};
use crate::discovery::{Discovery, Event, Incoming, Started};
use crate::judge::NoBlobs;
use crate::mesh::StartError;
use crate::{Address, Identity, Key};

pub use plain::{PlainJudge, PlainRecord};

/// A swarm of nodes in this process.
#[derive(Debug)]
pub struct Simulation {
    nodes: Vec<Node>,
    /// Draws, so that a run can be repeated.
    state: u64,
    made: u64,
}

/// One node of a swarm. Dropping it kills the node at once, without a farewell.
#[derive(Debug)]
pub struct Node {
    /// The node.
    pub discovery: Discovery,
    /// What happens there.
    pub events: mpsc::Receiver<Event>,
    /// Calls.
    pub incoming: mpsc::Receiver<Incoming>,
}

/// What one lookup cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How many records it found.
    pub found: usize,
    /// How many peers it asked.
    pub requests: usize,
    /// How many steps away the first record was.
    pub hops: u32,
    /// How many steps away the deepest question was.
    pub depth: u32,
    /// How long it took, on this loaded machine.
    pub elapsed: Duration,
}

/// What all nodes together have done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes that all nodes wrote to their connections.
    pub bytes: u64,
    /// Of these, bytes of this crate's own protocols.
    pub stream_bytes: u64,
    /// Connections that were opened, counted at both ends.
    pub connections: u64,
    /// Records that nodes keep for others.
    pub records: usize,
    /// Peers in routing tables.
    pub routing: usize,
}

impl Simulation {
    /// Makes an empty swarm; equal seeds draw equal nodes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            state: seed | 1,
            made: 0,
        }
    }

    /// The settings of the next node: it listens in memory, is reachable, and knows up to three others.
    pub fn config(&mut self) -> Config {
        self.made += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.made.to_le_bytes());
        seed[8..16].copy_from_slice(&self.draw().to_le_bytes());
        let mut config = Config::new(Identity::from_seed(seed));
        config.network = Network::Memory;
        config.reach = Reach::Public;
        config.gossip = false;
        config.private_addresses = true;
        config.listen = "/memory/0".parse().into_iter().collect();
        config.bootstrap = self.some_addresses(BOOTSTRAP);
        // Short, so that a thousand nodes do not keep all their connections.
        config.periods = Periods {
            idle: Duration::from_secs(10),
            ..Periods::default()
        };
        config.limits = Limits {
            connections: 512,
            ..Limits::default()
        };
        config
    }

    /// Adds a node and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub async fn add(&mut self, config: Config) -> Result<&mut Node, StartError> {
        let node = Node::start(config)?;
        let listens = |node: &Discovery| !node.listening().is_empty();
        node.discovery.wait_for(listens, JOIN).await;
        self.nodes.push(node);
        let last = self.nodes.len() - 1;
        Ok(&mut self.nodes[last])
    }

    /// Adds nodes, a few at a time, each of which joins by the earlier ones, and waits until each knows some. Returns how long that took.
    ///
    /// # Errors
    /// One does not start.
    pub async fn grow(&mut self, count: usize) -> Result<Duration, StartError> {
        let begun = Instant::now();
        let mut left = count;
        while left > 0 {
            // A node joins by nodes that have joined, so the first few come one by one.
            let batch = left.min((self.nodes.len() / 4).clamp(1, JOINING));
            let wanted = self.nodes.len().min(KNOWN);
            let first = self.nodes.len();
            let configs: Vec<Config> = (0..batch).map(|_| self.config()).collect();
            for config in configs {
                self.add(config).await?;
            }
            for node in &self.nodes[first..] {
                let joined = |node: &Discovery| node.snapshot().levels.routing >= wanted;
                node.discovery.wait_for(joined, JOIN).await;
            }
            left -= batch;
        }
        Ok(begun.elapsed())
    }

    /// The nodes that live.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes that live, to be read from or taken out.
    pub fn nodes_mut(&mut self) -> &mut Vec<Node> {
        &mut self.nodes
    }

    /// Publishes one service each by `count` drawn nodes, valid for `valid`, and returns the services'
    /// keys and at how many peers the worst placed of each is kept.
    pub async fn publish(&mut self, count: usize, valid: Duration) -> Vec<(Key, usize)> {
        let chosen: Vec<usize> = (0..count).map(|_| self.pick()).collect();
        let nodes = &self.nodes;
        stream::iter(chosen.into_iter().enumerate())
            .map(|(number, index)| async move {
                let name = format!("simulated/{number}");
                let node = &nodes[index].discovery;
                let record = PlainRecord::of(node, &name, valid);
                let published = node.publish(record.sign(node.identity())).await;
                let stored = published.map_or(0, |published| published.stored_least());
                (Key::service(&name), stored)
            })
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    /// Looks keys up from drawn nodes, asking the network each time.
    pub async fn look_up(&mut self, keys: &[Key], want: usize) -> Vec<Sample> {
        let asked: Vec<(usize, Key)> = keys.iter().map(|key| (self.pick(), *key)).collect();
        let nodes = &self.nodes;
        stream::iter(asked)
            .map(|(index, key)| async move {
                let found = nodes[index].discovery.find_anew(key, want).await;
                Sample {
                    found: found.records.len(),
                    requests: found.requests,
                    hops: found.hops,
                    depth: found.depth,
                    elapsed: found.elapsed,
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    /// Kills a share of the nodes, in thousandths, and returns how many are left.
    pub fn kill(&mut self, permille: u32) -> usize {
        let count = self.nodes.len().saturating_mul(permille as usize) / 1000;
        for _ in 0..count {
            let index = self.pick();
            self.nodes.swap_remove(index);
        }
        self.nodes.len()
    }

    /// What all living nodes have done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for node in &self.nodes {
            let snapshot = node.discovery.snapshot();
            totals.bytes += snapshot.count("bytes_out");
            totals.stream_bytes += snapshot.count("stream_bytes_out");
            totals.connections += snapshot.count("connections_opened");
            totals.records += snapshot.levels.records;
            totals.routing += snapshot.levels.routing;
        }
        totals
    }

    /// Addresses of up to `count` drawn nodes, with their names.
    pub fn some_addresses(&mut self, count: usize) -> Vec<Address> {
        let mut addresses: Vec<Address> = Vec::new();
        if self.nodes.is_empty() {
            return addresses;
        }
        for _ in 0..count {
            let index = self.pick();
            let address = self.nodes[index].address();
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        addresses
    }

    fn pick(&mut self) -> usize {
        let count = u64::try_from(self.nodes.len().max(1)).unwrap_or(1);
        usize::try_from(self.draw() % count).unwrap_or(0)
    }

    fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Node {
    /// Starts a node that takes plain records.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let started = Discovery::start(config, Arc::new(PlainJudge), Arc::new(NoBlobs))?;
        Ok(started.into())
    }

    /// Where the node listens, with its name.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        let address = self.discovery.listening().into_iter().next()?;
        format!("{address}/p2p/{}", self.discovery.peer())
            .parse()
            .ok()
    }
}

impl From<Started> for Node {
    fn from(started: Started) -> Self {
        Self {
            discovery: started.discovery,
            events: started.events,
            incoming: started.incoming,
        }
    }
}

/// How many others a new node knows.
const BOOTSTRAP: usize = 3;
/// How many others a node should know before the next joins.
const KNOWN: usize = 8;
/// How many nodes join at once.
const JOINING: usize = 8;
/// How long a node may take to join.
const JOIN: Duration = Duration::from_secs(10);
/// How many publications or lookups run at once.
const AT_ONCE: usize = 4;
