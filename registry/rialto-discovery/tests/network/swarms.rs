//! Swarms to test with, and waiting for what should happen.
//!
//! Not here: any test.

use std::time::Duration;

use rialto_discovery::simulation::{Node, PlainRecord, Simulation};
use rialto_discovery::{Discovery, Event};

/// How long anything may take before a test fails, on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How long records are good.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A swarm of so many nodes that know each other.
pub(crate) async fn swarm(count: usize) -> Simulation {
    let mut swarm = Simulation::new(7);
    swarm.grow(count).await.unwrap();
    let wanted = (count - 1).min(10);
    for node in swarm.nodes() {
        waits(&node.discovery, |node| {
            node.snapshot().levels.routing >= wanted
        })
        .await;
    }
    swarm
}

/// Waits for a node to be as wanted, and fails if it never is.
pub(crate) async fn waits(node: &Discovery, wanted: impl Fn(&Discovery) -> bool) {
    assert!(
        node.wait_for(wanted, LIMIT).await,
        "waited in vain: {:?}",
        node.snapshot()
    );
}

/// A node's next event that is wanted, or a failure.
pub(crate) async fn event(node: &mut Node, wanted: impl Fn(&Event) -> bool) -> Event {
    let waiting = async {
        loop {
            let event = node.events.recv().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap()
}

/// A first record of a service of a node.
pub(crate) fn record(node: &Discovery, service: &str) -> PlainRecord {
    PlainRecord::of(node, service, HOUR)
}

/// Publishes a service from a node and says at how many peers it is kept.
pub(crate) async fn publish(node: &Discovery, service: &str) -> usize {
    let record = record(node, service).sign(node.identity());
    node.publish(record).await.unwrap().stored_least()
}
