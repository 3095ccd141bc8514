//! Gossip reaches everybody, and who abuses it nobody.

use std::time::Duration;

use rialto_discovery::simulation::{Node, PlainRecord, Simulation};
use rialto_discovery::{AnnounceError, Config, Discovery, Event, Topic};

use crate::hostile::{forged, liar};
use crate::swarms::{LIMIT, event, record, waits};

fn topic() -> Topic {
    Topic::new("rialto:ai/chat@1.0.0", "eu-west").unwrap()
}

fn gossiping(swarm: &mut Simulation) -> Config {
    let mut config = swarm.config();
    config.gossip = true;
    config.periods.idle = Duration::from_secs(60);
    config
}

async fn listeners(count: usize) -> Simulation {
    let mut swarm = Simulation::new(5);
    for _ in 0..count {
        let config = gossiping(&mut swarm);
        let node = swarm.add(config).await.unwrap();
        assert!(node.discovery.subscribe(&topic()).await);
    }
    for node in swarm.nodes() {
        waits(&node.discovery, |node| {
            node.listeners(&topic()) >= (count - 1).min(4)
        })
        .await;
    }
    swarm
}

async fn hear(node: &mut Node) -> u64 {
    let heard = event(node, |event| matches!(event, Event::Heard { .. })).await;
    let Event::Heard { record, topic: on } = heard else {
        panic!("{heard:?}");
    };
    assert_eq!(on, topic());
    record.judged.seq
}

/// Announces until the mesh of the topic has formed.
async fn announce(node: &Discovery, seq: u64) {
    let bytes = PlainRecord {
        seq,
        ..record(node, "a/chat")
    }
    .sign(node.identity());
    let announcing = async {
        while let Err(error) = node.announce(&topic(), bytes.clone()).await {
            assert!(matches!(error, AnnounceError::NotSent(_)), "{error}");
        }
    };
    tokio::time::timeout(LIMIT, announcing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_reaches_all_listeners_once() {
    let mut swarm = listeners(8).await;
    let speaker = swarm.nodes()[2].discovery.clone();
    announce(&speaker, 1).await;
    let again = PlainRecord {
        seq: 2,
        ..record(&speaker, "a/chat")
    }
    .sign(speaker.identity());
    let too_soon = speaker.announce(&topic(), again.clone()).await;
    assert!(matches!(too_soon, Err(AnnounceError::TooSoon(_))));
    let elsewhere = Topic::new("rialto:ai/embed@1.0.0", "eu-west").unwrap();
    let unheard = speaker.announce(&elsewhere, again).await;
    assert!(
        matches!(unheard, Err(AnnounceError::NotSent(_))),
        "each topic has its own turn: {unheard:?}"
    );
    for (index, node) in swarm.nodes_mut().iter_mut().enumerate() {
        if index != 2 {
            assert_eq!(hear(node).await, 1);
            assert!(node.events.try_recv().is_err(), "once");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooder_is_cut() {
    let mut swarm = listeners(4).await;
    let mut config = gossiping(&mut swarm);
    config.periods.announce = Duration::ZERO;
    let flooder = swarm.add(config).await.unwrap().discovery.clone();
    assert!(flooder.subscribe(&topic()).await);
    waits(&flooder, |node| node.listeners(&topic()) >= 3).await;
    let flooding = async {
        let mut seq = 0;
        while flooder.snapshot().levels.peers > 0 {
            seq += 1;
            let bytes = PlainRecord {
                seq,
                ..record(&flooder, "a/chat")
            }
            .sign(flooder.identity());
            // Not sent where the queues are full already.
            let _ = flooder.announce(&topic(), bytes).await;
        }
    };
    tokio::time::timeout(LIMIT, flooding).await.unwrap();
    let bans: u64 = swarm
        .nodes()
        .iter()
        .map(|node| node.discovery.snapshot().count("bans"))
        .sum();
    assert!(bans >= 4, "{bans} bans");
    for node in &mut swarm.nodes_mut()[..4] {
        let mut heard = 0;
        while let Ok(event) = node.events.try_recv() {
            heard += usize::from(matches!(event, Event::Heard { .. }));
        }
        assert!(
            heard <= 6,
            "only the first few of a flood are heard: {heard}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forger_is_cut_and_nobody_hears_it() {
    let mut swarm = listeners(4).await;
    let mut config = gossiping(&mut swarm);
    config.periods.announce = Duration::ZERO;
    let forger = liar(config).discovery;
    assert!(forger.subscribe(&topic()).await);
    waits(&forger, |node| node.listeners(&topic()) >= 3).await;
    let victim = swarm.nodes()[0].discovery.clone();
    let forging = async {
        let mut number = 0;
        while forger.snapshot().levels.peers > 0 {
            number += 1;
            let bytes = forged(&victim, &forger, &format!("a/{number}"));
            let _ = forger.announce(&topic(), bytes).await;
        }
    };
    tokio::time::timeout(LIMIT, forging).await.unwrap();
    for node in swarm.nodes_mut() {
        while let Ok(event) = node.events.try_recv() {
            assert!(!matches!(event, Event::Heard { .. }), "{event:?}");
        }
        assert_eq!(node.discovery.snapshot().count("gossip_accepted"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_long_announcements_at_once_are_all_heard() {
    let mut swarm = listeners(3).await;
    let speaker = swarm.nodes()[0].discovery.clone();
    announce(&speaker, 1).await;
    for node in &mut swarm.nodes_mut()[1..] {
        assert_eq!(hear(node).await, 1);
    }
    // Together far more than one read of a connection holds.
    let long = |number: u64| {
        let name = format!("a/{number}");
        let padding = vec![7; 3500];
        PlainRecord {
            seq: number,
            padding,
            ..record(&speaker, &name)
        }
        .sign(speaker.identity())
    };
    let saying = (10..30).map(|number| {
        let (speaker, bytes) = (&speaker, long(number));
        async move { speaker.announce(&topic(), bytes).await.unwrap() }
    });
    futures_util::future::join_all(saying).await;
    for node in &mut swarm.nodes_mut()[1..] {
        let mut heard = Vec::new();
        for _ in 10..30 {
            heard.push(hear(node).await);
        }
        heard.sort_unstable();
        assert_eq!(heard, (10..30).collect::<Vec<u64>>());
    }
}
