//! Bad records, floods and poisoned stores: refused, counted, and their senders shut out.

use std::time::Duration;

use prost::encoding::encode_varint;
use rialto_discovery::simulation::{PlainRecord, Simulation};
use rialto_discovery::{Discovery, Event, Key, OpenError, Protocol, WANT};
use rialto_registry::Digest;

use crate::hostile::{forged, register, send};
use crate::swarms::{LIMIT, event, publish, record, swarm, waits};

/// A server and somebody who will misbehave.
async fn pair(change: impl Fn(&mut rialto_discovery::Config)) -> Simulation {
    let mut swarm = Simulation::new(11);
    let mut config = swarm.config();
    change(&mut config);
    swarm.add(config).await.unwrap();
    let config = swarm.config();
    swarm.add(config).await.unwrap();
    swarm
}

/// Tries something until the server bans the peer, at most ten times, and checks that it is out.
async fn until_banned(
    swarm: &mut Simulation,
    what: &str,
    bad: impl AsyncFn(&Discovery, &Discovery),
) {
    let culprit = swarm.nodes()[1].discovery.clone();
    let server = swarm.nodes()[0].discovery.clone();
    let mut tries = 0;
    while server.snapshot().count("bans") == 0 {
        tries += 1;
        assert!(tries <= 12, "{what}: not banned");
        bad(&server, &culprit).await;
    }
    let banned = event(&mut swarm.nodes_mut()[0], |event| {
        matches!(event, Event::Banned { .. })
    });
    assert_eq!(
        banned.await,
        Event::Banned {
            peer: culprit.peer()
        },
        "{what}"
    );
    assert_eq!(server.snapshot().levels.records, 0, "{what}");
    waits(&culprit, |node| node.snapshot().levels.peers == 0).await;
    let opened = tokio::time::timeout(LIMIT, culprit.open(server.peer(), Protocol::Http1)).await;
    match opened.unwrap() {
        Err(OpenError::Unreachable(_) | OpenError::Broken | OpenError::NoAddress) => {}
        // The connection may be made and closed at once.
        Ok(_) => waits(&culprit, |node| node.snapshot().levels.peers == 0).await,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_records_are_refused_and_their_sender_is_banned() {
    for (what, code) in [
        ("forged", 2),
        ("ended", 3),
        ("another's key", 5),
        ("senseless", 1),
    ] {
        let mut swarm = pair(|_| {}).await;
        until_banned(&mut swarm, what, async |server, culprit| {
            let good = record(culprit, "a");
            let (key, bytes) = match what {
                "forged" => (Key::service("a"), forged(server, culprit, "a")),
                "ended" => {
                    let ended = PlainRecord {
                        expires: 1000,
                        ..good
                    };
                    (Key::service("a"), ended.sign(culprit.identity()))
                }
                "another's key" => (Key::service("b"), good.sign(culprit.identity())),
                _ => (Key::service("a"), vec![7; 100].into()),
            };
            let reply = register(culprit, server.peer(), key, &bytes).await;
            // The last one may be cut off by the ban.
            if let Some(reply) = reply {
                assert_eq!(reply.refused, Some(code), "{what}");
                assert_eq!(reply.done, None, "{what}");
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_brings_back_the_past_is_refused() {
    let swarm = pair(|_| {}).await;
    let (server, peer) = (&swarm.nodes()[0].discovery, &swarm.nodes()[1].discovery);
    let put = async |seq| {
        let record = PlainRecord {
            seq,
            ..record(peer, "a")
        };
        let bytes = record.sign(peer.identity());
        register(peer, server.peer(), Key::service("a"), &bytes)
            .await
            .unwrap()
    };
    assert!(put(5).await.done.is_some());
    assert_eq!(put(4).await.refused, Some(4));
    assert!(put(6).await.done.is_some());
    let found = server.find(Key::service("a"), WANT).await;
    assert_eq!(found.records[0].judged.seq, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_and_records_that_are_too_long_are_refused() {
    let mut swarm = pair(|_| {}).await;
    until_banned(&mut swarm, "long frame", async |server, culprit| {
        let mut frame = Vec::new();
        encode_varint(200 << 20, &mut frame);
        frame.extend([0; 64]);
        let reply = send(culprit, server.peer(), &frame).await;
        assert!(
            reply.is_none_or(|reply| reply.is_empty()),
            "nothing is answered"
        );
    })
    .await;
    let mut swarm = pair(|_| {}).await;
    until_banned(&mut swarm, "long record", async |server, culprit| {
        let long = PlainRecord {
            padding: vec![0; 4096],
            ..record(culprit, "a")
        };
        let bytes = long.sign(culprit.identity());
        let reply = register(culprit, server.peer(), Key::service("a"), &bytes).await;
        assert!(reply.is_none_or(|reply| reply.refused == Some(1)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_to_wait_and_then_shut_out() {
    let swarm = pair(|config| config.limits.register_per_peer.burst = 5).await;
    let (server, peer) = (&swarm.nodes()[0].discovery, &swarm.nodes()[1].discovery);
    let (mut stored, mut later) = (0, 0);
    for number in 0..200 {
        let name = format!("s/{number}");
        let bytes = record(peer, &name).sign(peer.identity());
        match register(peer, server.peer(), Key::service(&name), &bytes).await {
            Some(reply) if reply.done.is_some() => stored += 1,
            Some(reply) if reply.later.is_some_and(|seconds| seconds >= 1) => later += 1,
            Some(reply) => panic!("{reply:?}"),
            None => break,
        }
    }
    assert!((5..60).contains(&stored), "{stored}");
    assert!((45..60).contains(&later), "{later}");
    assert_eq!(server.snapshot().levels.banned, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoner_fills_no_store() {
    let mut swarm = Simulation::new(13);
    for _ in 0..10 {
        let mut config = swarm.config();
        config.limits.table.records = 100;
        config.limits.table.records_per_publisher = 20;
        config.limits.pointers.pointers = 100;
        config.limits.pointers.pointers_per_peer = 20;
        swarm.add(config).await.unwrap();
    }
    for node in swarm.nodes() {
        waits(&node.discovery, |node| node.snapshot().levels.routing >= 8).await;
    }
    let poisoner = &swarm.nodes()[0].discovery;
    for number in 0..40_u32 {
        let name = format!("poison/{number}");
        let bytes = record(poisoner, &name).sign(poisoner.identity());
        for node in &swarm.nodes()[1..] {
            register(poisoner, node.discovery.peer(), Key::service(&name), &bytes).await;
        }
        poisoner
            .provide_artifact(&Digest::of(&number.to_be_bytes()))
            .await
            .unwrap();
    }
    let honest = &swarm.nodes()[5].discovery;
    let digest = Digest::of(b"honest");
    assert!(publish(honest, "honest/service").await >= 6);
    honest.provide_artifact(&digest).await.unwrap();
    for node in &swarm.nodes()[6..] {
        let levels = node.discovery.snapshot().levels;
        assert!(levels.records <= 30 && levels.pointers <= 30, "{levels:?}");
        let found = node
            .discovery
            .find(Key::service("honest/service"), WANT)
            .await;
        assert_eq!(found.records.len(), 1);
        let providers = async {
            // The pointer is on its way: nothing acknowledges it.
            while !node
                .discovery
                .artifact_providers(&digest)
                .await
                .contains(&honest.peer())
            {}
        };
        tokio::time::timeout(LIMIT, providers).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_ends() {
    let mut swarm = pair(|config| config.periods.ban = Duration::from_secs(1)).await;
    until_banned(&mut swarm, "senseless", async |server, culprit| {
        send(culprit, server.peer(), &[3, 0xff, 0xff, 0xff]).await;
    })
    .await;
    let (server, peer) = (&swarm.nodes()[0].discovery, &swarm.nodes()[1].discovery);
    let bytes = record(peer, "a").sign(peer.identity());
    let back = async {
        let key = Key::service("a");
        while register(peer, server.peer(), key, &bytes)
            .await
            .is_none_or(|r| r.done.is_none())
        {}
    };
    tokio::time::timeout(LIMIT, back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_has_only_so_many_places_in_the_routing_table() {
    let mut swarm = swarm(6).await;
    let mut config = swarm.config();
    config.limits.routing_per_prefix = 2;
    swarm.add(config).await.unwrap();
    // Eight nodes whose memory ports are neighbours: one network.
    for port in 0..8 {
        let mut config = swarm.config();
        config.listen = vec![
            format!("/memory/{}", (77 << 20) + (3 << 8) + port)
                .parse()
                .unwrap(),
        ];
        let victim = swarm.nodes()[6].address().unwrap();
        config.bootstrap = vec![victim];
        swarm.add(config).await.unwrap();
    }
    let victim = &swarm.nodes()[6].discovery;
    waits(victim, |node| node.snapshot().count("routing_refused") >= 6).await;
    assert!(victim.snapshot().levels.routing <= 8);
}
