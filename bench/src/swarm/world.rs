//! A swarm with its hostile nodes: it grows, publishes, loses nodes and is asked.
//!
//! Not here: what is counted as what.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rialto_discovery::simulation::{Node, PlainRecord, Simulation};
use rialto_discovery::{Config, Discovery, Key, PeerKey, Topic, WANT};

use super::dice::Dice;
use super::hostile::{self, Manner};
use super::news::LISTENERS;

/// Honest and hostile nodes, and what the honest ones publish.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) swarm: Simulation,
    pub(super) hostile: Vec<(Manner, Node)>,
    pub(super) services: Vec<Service>,
    dice: Dice,
    /// Whether a fifth is hostile.
    with_hostile: bool,
    made: usize,
}

/// A published service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) key: Key,
    publisher: PeerKey,
    /// Whether silent nodes lie around its key.
    pub(super) attacked: bool,
}

/// What one lookup came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) found: bool,
    pub(super) attacked: bool,
    pub(crate) ms: f64,
    pub(crate) requests: f64,
    /// How many steps away the peer was that first had a record.
    pub(super) hops: f64,
}

/// What publishing once came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(super) ms: f64,
    /// At how many peers the key is kept that the fewest keep.
    pub(super) stored: f64,
}

/// What all nodes have sent so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) bytes: f64,
    /// Questions of this network's own protocols; each has an answer.
    pub(super) questions: f64,
    /// Connections that were opened, each counted at both ends.
    pub(super) connections: f64,
    pub(super) at: Instant,
}

impl World {
    /// An empty one.
    pub(crate) fn new(seed: u64, with_hostile: bool) -> Self {
        Self {
            swarm: Simulation::new(seed),
            hostile: Vec::new(),
            services: Vec::new(),
            dice: Dice::new(seed ^ 0x5eed),
            with_hostile,
            made: 0,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.swarm.nodes().len() + self.hostile.len()
    }

    /// Adds nodes, a few at a time, until there are so many or the time is over; every fifth is hostile as
    /// long as fewer than a fifth are.
    pub(crate) async fn grow(&mut self, count: usize, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        while self.count() < count && begun.elapsed() < limit {
            let batch = (count - self.count()).min((self.count() / 4).clamp(1, JOINING));
            let wanted = self.count().min(KNOWN);
            let mut joining = Vec::new();
            for _ in 0..batch {
                joining.push(self.add().await?);
            }
            for node in joining {
                let joined = |node: &Discovery| node.snapshot().levels.routing >= wanted;
                node.wait_for(joined, JOIN).await;
            }
        }
        Ok(())
    }

    async fn add(&mut self) -> Result<Discovery> {
        self.made += 1;
        let config = self.config();
        if self.with_hostile
            && self.made.is_multiple_of(5)
            && self.hostile.len() * 5 < self.count() + 5
        {
            let number = self.hostile.len();
            let manner = match number % 3 {
                0 => Manner::Forger,
                1 => Manner::Silent(Key::service(&attacked(number / (3 * SURROUND)))),
                _ => Manner::Flooder,
            };
            let node = hostile::start(config, manner, &mut self.dice)?;
            let discovery = node.discovery.clone();
            let listens = |node: &Discovery| !node.listening().is_empty();
            discovery.wait_for(listens, JOIN).await;
            self.hostile.push((manner, node));
            return Ok(discovery);
        }
        Ok(self.swarm.add(config).await?.discovery.clone())
    }

    /// As the simulation has it, and who joins may get a hostile node's address too.
    fn config(&mut self) -> Config {
        let mut config = self.swarm.config();
        // Whoever listens to nothing needs none.
        config.gossip = self.swarm.nodes().len() < LISTENERS;
        let one = self.dice.below(self.hostile.len());
        let address = self.hostile.get(one).and_then(|(_, node)| node.address());
        config.bootstrap.extend(address);
        config
    }

    /// How many services have silent nodes around their keys.
    pub(super) fn surrounded(&self) -> usize {
        let silent = |(manner, _): &&(Manner, Node)| matches!(manner, Manner::Silent(_));
        let silent = self.hostile.iter().filter(silent).count();
        silent.div_ceil(SURROUND)
    }

    /// Publishes a service from a drawn honest node.
    pub(crate) async fn publish(&mut self, name: &str, attacked: bool) -> Result<Placed> {
        let node = self.honest()?;
        let record = PlainRecord::of(&node, name, HOUR).sign(node.identity());
        let begun = Instant::now();
        let published = node.publish(record).await?;
        self.services.push(Service {
            name: name.to_owned(),
            key: Key::service(name),
            publisher: node.peer(),
            attacked,
        });
        Ok(Placed {
            ms: begun.elapsed().as_secs_f64() * 1e3,
            stored: published.stored_least() as f64,
        })
    }

    /// Looks a drawn service up from a drawn honest node, asking the network.
    pub(crate) async fn look_up(&mut self, want: usize) -> Result<Asked> {
        let service = self.dice.below(self.services.len());
        let service = self.services.get(service).context("nothing is published")?;
        let (key, publisher, attacked) = (service.key, service.publisher, service.attacked);
        let node = self.honest()?;
        let found = node.find_anew(key, want).await;
        let mut records = found.records.iter();
        Ok(Asked {
            found: records.any(|record| record.judged.publisher == publisher),
            attacked,
            ms: found.elapsed.as_secs_f64() * 1e3,
            requests: found.requests as f64,
            hops: f64::from(found.hops),
        })
    }

    /// The forgers give each other records that seem to be of honest nodes.
    pub(super) async fn forge(&mut self) -> Result<()> {
        let victim = self.honest()?;
        let forgers: Vec<Discovery> = self.of(Manner::Forger);
        for (index, forger) in forgers.iter().enumerate() {
            let other = forgers
                .get((index + 1) % forgers.len())
                .context("a forger")?;
            for service in self.services.iter().rev().take(FORGED) {
                hostile::plant(other, forger.peer(), &victim, &service.name).await;
            }
        }
        Ok(())
    }

    /// Hostile nodes of a kind.
    pub(super) fn of(&self, kind: Manner) -> Vec<Discovery> {
        let found = self.hostile.iter().filter(|(manner, _)| *manner == kind);
        found.map(|(_, node)| node.discovery.clone()).collect()
    }

    /// A drawn honest node.
    pub(super) fn honest(&mut self) -> Result<Discovery> {
        let index = self.dice.below(self.swarm.nodes().len());
        let node = self.swarm.nodes().get(index).context("no node is left")?;
        Ok(node.discovery.clone())
    }

    /// What all nodes have sent.
    pub(super) fn sent(&self) -> Sent {
        let (mut bytes, mut questions, mut connections) = (0, 0, 0);
        let hostile = self.hostile.iter().map(|(_, node)| node);
        for node in self.swarm.nodes().iter().chain(hostile) {
            let snapshot = node.discovery.snapshot();
            bytes += snapshot.count("bytes_out");
            questions += snapshot.count("streams_out");
            connections += snapshot.count("connections_opened");
        }
        Sent {
            bytes: bytes as f64,
            questions: questions as f64,
            connections: connections as f64,
            at: Instant::now(),
        }
    }

    /// How often honest nodes have shut somebody out.
    pub(super) fn bans(&self) -> u64 {
        let nodes = self.swarm.nodes().iter();
        nodes
            .map(|node| node.discovery.snapshot().count("bans"))
            .sum()
    }

    /// How many records a node keeps for others, and how many peers it knows, on average.
    pub(super) fn levels(&self) -> (f64, f64) {
        let totals = self.swarm.totals();
        let count = self.swarm.nodes().len().max(1) as f64;
        (totals.records as f64 / count, totals.routing as f64 / count)
    }
}

/// The name of the service that is attacked as number so.
pub(super) fn attacked(number: usize) -> String {
    format!("attacked/{number}")
}

/// The topic on which a fresh offer is told.
pub(super) fn topic() -> Result<Topic> {
    Ok(Topic::new("rialto:bench/swarm@1.0.0", "here")?)
}

/// How many silent nodes lie around one service's key: half of the twenty places where it is kept.
const SURROUND: usize = 10;
/// How many services a forger tells lies about.
const FORGED: usize = 8;
/// How many others a node should know before the next joins.
const KNOWN: usize = 8;
/// How many nodes join at once.
const JOINING: usize = 8;
/// How long a node may take to join.
const JOIN: Duration = Duration::from_secs(10);
/// How long records are good.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// As many records as a client asks for.
pub(super) const ALL: usize = WANT;
