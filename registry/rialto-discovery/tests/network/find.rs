//! Publishing and finding among honest nodes that come and go.

use std::time::Duration;

use rialto_discovery::simulation::PlainRecord;
use rialto_discovery::{Event, Key, PublishError, WANT};

use crate::swarms::{LIMIT, event, publish, record, swarm, waits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_publishes_all_others_find() {
    let swarm = swarm(20).await;
    let nodes = swarm.nodes();
    let stored = publish(&nodes[3].discovery, "alice/echo").await;
    assert!(stored >= 15, "kept at {stored} of 19");
    for node in nodes {
        let found = node.discovery.find(Key::service("alice/echo"), WANT).await;
        assert_eq!(found.records.len(), 1, "{found:?}");
        assert_eq!(found.records[0].judged.publisher, nodes[3].discovery.peer());
        assert!(found.requests <= 20);
        let again = node.discovery.find(Key::service("alice/echo"), 1).await;
        assert!(again.cached && again.requests == 0 && again.records == found.records);
    }
    let nothing = nodes[0]
        .discovery
        .find(Key::service("nobody/nothing"), WANT)
        .await;
    assert!(nothing.records.is_empty() && nothing.requests > 0);
    let nothing = nodes[0]
        .discovery
        .find(Key::service("nobody/nothing"), WANT)
        .await;
    assert!(nothing.cached, "that there is nothing is remembered too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_outlive_their_publishers_neighbours() {
    let mut swarm = swarm(24).await;
    let published = swarm.publish(4, Duration::from_secs(3600)).await;
    let keys: Vec<Key> = published.iter().map(|(key, _)| *key).collect();
    assert!(
        published.iter().all(|(_, stored)| *stored >= 15),
        "{published:?}"
    );
    // Half of all nodes are gone, publishers among them, without a farewell.
    assert_eq!(swarm.kill(500), 12);
    for sample in swarm.look_up(&keys, WANT).await {
        assert!(sample.found >= 1, "{sample:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_providers_of_one_service_are_found_and_a_lookup_stops_when_it_has_enough() {
    let swarm = swarm(20).await;
    let nodes = swarm.nodes();
    for node in &nodes[..12] {
        publish(&node.discovery, "bob/chat").await;
    }
    let key = Key::service("bob/chat");
    let seeker = &nodes[19].discovery;
    let few = seeker.find_anew(key, 1).await;
    let all = seeker.find_anew(key, 12).await;
    assert!(!few.records.is_empty());
    assert_eq!(all.records.len(), 12, "{all:?}");
    assert!(few.requests <= all.requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_record_replaces_the_older_and_a_withdrawn_one_is_gone() {
    let swarm = swarm(12).await;
    let (publisher, seeker) = (&swarm.nodes()[0].discovery, &swarm.nodes()[11].discovery);
    let key = Key::service("carol/ocr");
    publish(publisher, "carol/ocr").await;
    let newer = PlainRecord {
        seq: 2,
        ..record(publisher, "carol/ocr")
    };
    publisher
        .publish(newer.sign(publisher.identity()))
        .await
        .unwrap();
    let found = seeker.find_anew(key, WANT).await;
    assert_eq!(found.records.len(), 1);
    assert_eq!(found.records[0].judged.seq, 2);
    let older = record(publisher, "carol/ocr").sign(publisher.identity());
    assert!(matches!(
        publisher.publish(older).await,
        Err(PublishError::Stale)
    ));
    assert!(publisher.withdraw(key).await >= 8);
    assert!(seeker.find_anew(key, WANT).await.records.is_empty());
    let other = record(seeker, "carol/ocr").sign(seeker.identity());
    assert!(matches!(
        publisher.publish(other).await,
        Err(PublishError::NotOurs(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_record_is_registered_again_in_time() {
    let mut swarm = swarm(8).await;
    let mut config = swarm.config();
    config.periods.refresh = Duration::from_secs(2);
    swarm.add(config).await.unwrap();
    let publisher = swarm.nodes_mut().last_mut().unwrap();
    let known = |node: &rialto_discovery::Discovery| node.snapshot().levels.routing >= 3;
    assert!(publisher.discovery.wait_for(known, LIMIT).await);
    publish(&publisher.discovery, "dave/tts").await;
    let due = event(publisher, |event| matches!(event, Event::RefreshDue { .. })).await;
    assert!(matches!(due, Event::RefreshDue { expires, .. } if expires.0 > 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_is_looked_up_again() {
    let mut swarm = swarm(8).await;
    let mut config = swarm.config();
    config.periods.cache = Duration::from_secs(1);
    swarm.add(config).await.unwrap();
    let (publisher, seeker) = (&swarm.nodes()[0].discovery, &swarm.nodes()[8].discovery);
    waits(seeker, |node| node.snapshot().levels.routing >= 5).await;
    let key = Key::service("erin/ocr");
    publish(publisher, "erin/ocr").await;
    assert_eq!(seeker.find(key, WANT).await.records.len(), 1);
    for seq in 2..4 {
        let newer = PlainRecord {
            seq,
            ..record(publisher, "erin/ocr")
        };
        let newer = newer.sign(publisher.identity());
        publisher.publish(newer).await.unwrap();
        // Each of these is answered from memory; the first stale one has it looked up behind it.
        let finding = async {
            loop {
                let found = seeker.find(key, WANT).await;
                assert!(found.cached, "{found:?}");
                if found.records[0].judged.seq == seq {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, finding).await.unwrap();
    }
    assert!(seeker.snapshot().count("cache_stale") >= 2);
}
