//! Publishing at peers that are busy, and while newer records come.

use std::time::Duration;

use rialto_discovery::simulation::{PlainRecord, Simulation};
use rialto_discovery::{Discovery, Event, Key, Rate};

use crate::swarms::{event, publish, record, swarm, waits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_peer_is_not_asked_again_at_once() {
    let mut swarm = Simulation::new(19);
    let mut config = swarm.config();
    config.limits.register_per_peer = Rate {
        burst: 1,
        per_minute: 60,
    };
    swarm.add(config).await.unwrap();
    let config = swarm.config();
    swarm.add(config).await.unwrap();
    let (busy, publisher) = (&swarm.nodes()[0].discovery, &swarm.nodes()[1].discovery);
    waits(publisher, |node| node.snapshot().levels.routing >= 1).await;
    let record = record(publisher, "frank/ocr").sign(publisher.identity());
    let published = publisher.publish(record).await.unwrap();
    let later: usize = published.keys.iter().map(|placed| placed.later).sum();
    assert_eq!(later, 1, "{published:?}");
    let asked = |node: &Discovery| node.snapshot().count("requests_served");
    let before = asked(busy);
    let again = busy.wait_for(|node| asked(node) > before + 1, Duration::from_secs(3));
    assert!(!again.await, "asked again {} times", asked(busy) - before);
    assert_eq!(busy.snapshot().count("bans"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_record_never_crosses_with_the_older() {
    let mut swarm = swarm(8).await;
    let mut config = swarm.config();
    config.periods.refresh = Duration::from_secs(1);
    swarm.add(config).await.unwrap();
    let publisher = swarm.nodes_mut().last_mut().unwrap();
    waits(&publisher.discovery, |node| {
        node.snapshot().levels.routing >= 5
    })
    .await;
    publish(&publisher.discovery, "grace/tts").await;
    for seq in 2..5 {
        event(publisher, |event| matches!(event, Event::RefreshDue { .. })).await;
        let newer = PlainRecord {
            seq,
            ..record(&publisher.discovery, "grace/tts")
        };
        let newer = newer.sign(publisher.discovery.identity());
        publisher.discovery.publish(newer).await.unwrap();
    }
    let key = Key::service("grace/tts");
    for node in swarm.nodes() {
        let snapshot = node.discovery.snapshot();
        assert_eq!(snapshot.count("faults"), 0);
        assert_eq!(snapshot.count("register_refused"), 0);
        let found = node.discovery.find_anew(key, 1).await;
        assert_eq!(found.records[0].judged.seq, 4);
    }
}
