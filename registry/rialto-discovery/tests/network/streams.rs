//! Streams for calls: none is lost, limits hold, and a name is enough to reach a peer.

use std::time::Duration;

use rialto_discovery::simulation::{Node, Simulation};
use rialto_discovery::{Incoming, OpenError, PeerKey, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::swarms::{LIMIT, swarm, waits};

/// Sends back what it is sent, on every stream.
fn echo(node: &mut Node) {
    let (_, closed) = tokio::sync::mpsc::channel(1);
    let mut incoming = std::mem::replace(&mut node.incoming, closed);
    tokio::spawn(async move {
        while let Some(Incoming { mut stream, .. }) = incoming.recv().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                stream.read_to_end(&mut request).await.unwrap();
                stream.write_all(&request).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
}

async fn call(
    node: &Node,
    peer: PeerKey,
    protocol: Protocol,
    bytes: usize,
) -> std::io::Result<usize> {
    let calling = async {
        let opened = node.discovery.open(peer, protocol).await;
        let mut stream = opened.map_err(std::io::Error::other)?;
        stream.write_all(&vec![7; bytes]).await?;
        stream.shutdown().await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        Ok(reply.len())
    };
    timeout(LIMIT, calling).await.unwrap()
}

async fn pair(change: impl Fn(&mut rialto_discovery::Config)) -> Simulation {
    let mut swarm = Simulation::new(3);
    let mut config = swarm.config();
    change(&mut config);
    swarm.add(config).await.unwrap();
    let config = swarm.config();
    let client = swarm.add(config).await.unwrap();
    waits(&client.discovery, |node| node.snapshot().levels.peers == 1).await;
    swarm
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_calls_at_once_none_is_lost() {
    let mut swarm = pair(|_| {}).await;
    echo(&mut swarm.nodes_mut()[0]);
    let server = swarm.nodes()[0].discovery.peer();
    let client = &swarm.nodes()[1];
    for round in 0..4 {
        let calls = (0..64).map(|_| call(client, server, Protocol::Http1, 1024));
        for result in futures_util::future::join_all(calls).await {
            assert_eq!(result.unwrap(), 1024, "round {round}");
        }
    }
    let snapshot = client.discovery.snapshot();
    assert_eq!(
        snapshot.count("connections_opened"),
        1,
        "all over one connection"
    );
    assert_eq!(snapshot.levels.streams_out, 0, "every place is given back");
    assert_eq!(
        swarm.nodes()[0]
            .discovery
            .snapshot()
            .count("streams_refused"),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_limit_wait_for_a_place() {
    let mut swarm = pair(|config| config.limits.streams_per_peer = 4).await;
    echo(&mut swarm.nodes_mut()[0]);
    let server = swarm.nodes()[0].discovery.peer();
    let client = &swarm.nodes()[1];
    let calls = (0..48).map(|_| call(client, server, Protocol::Http1, 64));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap(), 64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_all_places_gets_no_more() {
    let mut swarm = pair(|config| {
        config.limits.streams_per_peer = 2;
        config.limits.streams_waiting = 0;
    })
    .await;
    let server = swarm.nodes()[0].discovery.peer();
    let client = swarm.nodes()[1].discovery.clone();
    let (mut held, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let mut stream = client.open(server, Protocol::Http2).await.unwrap();
        stream.write_all(b"hold").await.unwrap();
        stream.flush().await.unwrap();
        held.push(stream);
        // It has arrived, and keeps its place while somebody has it.
        let taken = timeout(LIMIT, swarm.nodes_mut()[0].incoming.recv())
            .await
            .unwrap()
            .unwrap();
        kept.push(taken);
    }
    let mut third = client.open(server, Protocol::Http2).await.unwrap();
    let mut reply = Vec::new();
    // The library writes the protocol's name with the first bytes; then the refusal shows.
    let _ = third.write_all(b"more").await;
    let _ = third.flush().await;
    let ended = timeout(LIMIT, third.read_to_end(&mut reply)).await.unwrap();
    assert!(ended.is_err() || reply.is_empty());
    let refused =
        |node: &rialto_discovery::Discovery| node.snapshot().count("streams_refused") == 1;
    assert!(refused(&swarm.nodes()[0].discovery));
    assert_eq!((held.len(), kept.len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_enough_to_reach_a_peer() {
    let mut swarm = swarm(14).await;
    // Nobody else has ever connected with this one.
    let config = swarm.config();
    echo(swarm.add(config).await.unwrap());
    let server = swarm.nodes()[14].discovery.peer();
    let known = |node: &rialto_discovery::Discovery| node.snapshot().levels.routing >= 5;
    assert!(swarm.nodes()[14].discovery.wait_for(known, LIMIT).await);
    for client in [0, 7, 13] {
        assert_eq!(
            call(&swarm.nodes()[client], server, Protocol::Http2, 9)
                .await
                .unwrap(),
            9
        );
    }
    let nobody = rialto_discovery::Identity::from_seed([9; 32]).peer();
    let opening = swarm.nodes()[0].discovery.open(nobody, Protocol::Http2);
    let error = timeout(LIMIT, opening).await.unwrap().unwrap_err();
    assert!(matches!(error, OpenError::NoAddress), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mebibyte_goes_both_ways_at_once() {
    let mut swarm = pair(|_| {}).await;
    let server = swarm.nodes()[0].discovery.peer();
    let client = swarm.nodes()[1].discovery.clone();
    let opening = tokio::spawn(async move { client.open(server, Protocol::Http2).await.unwrap() });
    let mut near = opening.await.unwrap();
    let sending = async {
        let (mut reader, mut writer) = tokio::io::split(&mut near);
        let write = async {
            writer.write_all(&vec![1; 1 << 20]).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let read = async {
            let mut reply = Vec::new();
            reader.read_to_end(&mut reply).await.unwrap();
            reply.len()
        };
        tokio::join!(write, read).1
    };
    let node = &mut swarm.nodes_mut()[0];
    let answering = async {
        let mut far = node.incoming.recv().await.unwrap().stream;
        let (mut reader, mut writer) = tokio::io::split(&mut far);
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let both = async { tokio::join!(sending, answering).0 };
    assert_eq!(
        timeout(Duration::from_secs(60), both).await.unwrap(),
        1 << 20
    );
}
