//! How long it takes until a fresh offer is known to nine tenths of those who listen to its topic.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::join_all;
use rialto_discovery::simulation::{Node, PlainRecord};
use rialto_discovery::{AnnounceError, Discovery, Event, PeerKey, Topic};
use serde::Serialize;
use tokio::time::timeout;

use super::world::{HOUR, World, topic};
use crate::spread::{Spread, percentile};
use crate::table;

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct News {
    /// Honest nodes that listen.
    listeners: usize,
    /// How long it took them to find each other.
    gather_seconds: f64,
    announcements: usize,
    /// How many of the listeners heard each, in percent.
    reached_percent: Spread,
    p50_ms: Spread,
    /// Until nine tenths knew.
    p90_ms: Spread,
    /// What all nodes sent for one announcement, by its listeners.
    kib_per_listener: Spread,
}

impl News {
    /// Prints the figures.
    pub(super) fn print(&self) {
        table::say(&format!(
            "  a fresh offer among {} listeners: half know after {} ms, nine tenths after {} ms; {} % reached",
            self.listeners, self.p50_ms, self.p90_ms, self.reached_percent
        ));
    }
}

/// Lets some nodes listen, and a few say something each.
///
/// # Errors
/// The topic has no good name.
pub(super) async fn measure(world: &mut World) -> Result<News> {
    let topic = topic()?;
    let begun = Instant::now();
    let gathering = world.swarm.nodes().iter().map(|node| {
        let (node, topic) = (node.discovery.clone(), topic.clone());
        async move {
            // Only some take part in gossip at all.
            let listens = node.subscribe(&topic).await;
            if !listens {
                return None;
            }
            let met = |node: &Discovery| node.listeners(&topic) >= MET;
            node.wait_for(met, GATHER).await;
            Some(node)
        }
    });
    let listening = join_all(gathering).await.into_iter().flatten();
    let listening: Vec<Discovery> = listening.collect();
    let count = listening.len();
    let gather_seconds = begun.elapsed().as_secs_f64();
    // Meshes form with the next heartbeats.
    tokio::time::sleep(FORM).await;
    let (mut reached, mut half, mut most, mut cost) = (vec![], vec![], vec![], vec![]);
    for index in 0..ANNOUNCEMENTS {
        let Some(speaker) = listening.get(index * count / ANNOUNCEMENTS) else {
            continue;
        };
        let before = world.sent();
        let times = say(world, &topic, speaker, &listening).await;
        cost.push((world.sent().bytes - before.bytes) / 1024.0 / count.max(1) as f64);
        let listeners = count.saturating_sub(1).max(1);
        reached.push(100.0 * times.len() as f64 / listeners as f64);
        let mut times = times;
        // Whoever has not heard counts as late.
        times.resize(listeners, HEAR.as_secs_f64() * 1e3);
        times.sort_by(f64::total_cmp);
        half.push(percentile(&times, 50));
        most.push(percentile(&times, 90));
    }
    Ok(News {
        listeners: count,
        gather_seconds,
        announcements: reached.len(),
        reached_percent: Spread::of(reached),
        p50_ms: Spread::of(half),
        p90_ms: Spread::of(most),
        kib_per_listener: Spread::of(cost),
    })
}

/// Announces, and returns after how many milliseconds each that heard it did.
async fn say(
    world: &mut World,
    topic: &Topic,
    speaker: &Discovery,
    listening: &[Discovery],
) -> Vec<f64> {
    let record = PlainRecord::of(speaker, "fresh/offer", HOUR).sign(speaker.identity());
    let said = async {
        loop {
            let begun = Instant::now();
            match speaker.announce(topic, record.clone()).await {
                Err(AnnounceError::NotSent(_)) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(()) | Err(_) => return begun,
            }
        }
    };
    let Ok(begun) = timeout(GATHER, said).await else {
        return Vec::new();
    };
    let peer = speaker.peer();
    let listening: BTreeSet<PeerKey> = listening.iter().map(Discovery::peer).collect();
    let nodes = world.swarm.nodes_mut().iter_mut();
    let hearing = nodes
        .filter(|node| node.discovery.peer() != peer && listening.contains(&node.discovery.peer()))
        .map(|node| timeout(HEAR, hear(node, speaker)));
    let heard = join_all(hearing).await.into_iter().filter_map(Result::ok);
    let times = heard
        .flatten()
        .map(|at| at.saturating_duration_since(begun));
    times.map(|took| took.as_secs_f64() * 1e3).collect()
}

/// When a node hears a record of the speaker; never if it has stopped.
async fn hear(node: &mut Node, speaker: &Discovery) -> Option<Instant> {
    loop {
        if let Event::Heard { record, .. } = node.events.recv().await?
            && record.judged.publisher == speaker.peer()
        {
            return Some(Instant::now());
        }
    }
}

/// How many nodes listen, at most: a topic is one interface in one region, not the whole network.
pub(super) const LISTENERS: usize = 100;
/// How many others a listener should have met.
const MET: usize = 4;
const GATHER: Duration = Duration::from_secs(5);
const FORM: Duration = Duration::from_secs(3);
const HEAR: Duration = Duration::from_secs(3);
const ANNOUNCEMENTS: usize = 3;
