//! A peer that nobody reaches directly: found and called through a relay, over real sockets.

use rialto_discovery::simulation::{Node, PlainRecord};
use rialto_discovery::{Address, Config, Discovery, Identity, Key, Protocol, Reach, WANT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::swarms::{HOUR, LIMIT, waits};

fn config(seed: u8, bootstrap: &[Address]) -> Config {
    let mut config = Config::new(Identity::from_seed([seed; 32]));
    config.private_addresses = true;
    config.bootstrap = bootstrap.to_vec();
    config
}

async fn public(seed: u8, bootstrap: &[Address], listen: &str) -> Node {
    let mut config = config(seed, bootstrap);
    config.reach = Reach::Public;
    config.relay_server = true;
    config.listen = vec![listen.parse().unwrap()];
    let node = Node::start(config).unwrap();
    waits(&node.discovery, |node| !node.listening().is_empty()).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_behind_a_relay_is_found_and_called() {
    let relay = public(1, &[], "/ip4/127.0.0.1/tcp/0").await;
    let known = vec![relay.address().unwrap()];
    let caller = public(2, &known, "/ip4/127.0.0.1/tcp/0").await;
    let mut hidden = config(3, &known);
    hidden.reach = Reach::Private;
    hidden.relays = known.clone();
    let mut hidden = Node::start(hidden).unwrap();
    let relayed = |node: &Discovery| {
        node.addresses()
            .iter()
            .any(|address| address.to_string().contains("p2p-circuit"))
    };
    waits(&hidden.discovery, relayed).await;
    waits(&caller.discovery, |node| {
        node.snapshot().levels.routing >= 1
    })
    .await;
    assert!(
        !hidden.discovery.snapshot().levels.serving,
        "a relayed node serves no table"
    );

    let record = PlainRecord::of(&hidden.discovery, "hidden/echo", HOUR);
    let published = hidden
        .discovery
        .publish(record.sign(hidden.discovery.identity()))
        .await;
    assert!(published.unwrap().stored_least() >= 1);
    let found = caller
        .discovery
        .find(Key::service("hidden/echo"), WANT)
        .await;
    assert_eq!(found.records.len(), 1, "{found:?}");

    // By name alone, at a node that has forgotten where it is.
    let stranger = public(4, &known, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    waits(&stranger.discovery, |node| {
        node.snapshot().levels.routing >= 1
    })
    .await;
    for node in [&caller, &stranger] {
        let calling = async {
            let peer = hidden.discovery.peer();
            let mut stream = node.discovery.open(peer, Protocol::Http2).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
            let mut far = hidden.incoming.recv().await.unwrap();
            assert_eq!(far.peer, node.discovery.peer());
            let mut heard = [0; 5];
            far.stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
        };
        tokio::time::timeout(LIMIT, calling).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_be_met_are_refused() {
    let mut nameless = config(5, &["/ip4/127.0.0.1/tcp/1".parse().unwrap()]);
    nameless.reach = Reach::Public;
    assert!(Node::start(nameless).is_err());
    let mut strange = config(6, &[]);
    strange.listen = vec!["/memory/0".parse().unwrap()];
    assert!(Node::start(strange).is_err(), "this node speaks sockets");
}
