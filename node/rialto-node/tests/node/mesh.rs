//! A node of the mesh over restarts: it reads names on from where it stopped, and gives back the disk of old
//! versions.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rialto_chain::client::RegistryClient;
use rialto_chain::contracts::DEV_CHAIN_ID;
use rialto_chain::devchain::{DEV_ACCOUNTS, DevChain};
use rialto_channels::SigningKey;
use rialto_node::{Artifacts, Config, Progress, Publishing, agent_metadata};
use rialto_registry::erc8004::Registries;
use rialto_registry::erc8004::calls::Entry;
use rialto_registry::names::NAME_KEY;
use rialto_registry::{Digest, Name, SignedManifest};
use serde_json::{Value, json};

use crate::world::{PAYER, World, install_as};

fn in_the_mesh(config: &mut Config) {
    config.mesh.enabled = true;
    config.mesh.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config.mesh.mdns = false;
    config.mesh.names_every = Duration::from_millis(50);
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

async fn publisher(world: &World) -> RegistryClient {
    let registries = Registries::canonical(DEV_CHAIN_ID).unwrap();
    world.payer().await.registries(registries).await.unwrap()
}

async fn claim(world: &World, text: &str) {
    let claim = [Entry::new(NAME_KEY, text)];
    let claimed = publisher(world).await.register("", &claim, None).await;
    claimed.unwrap();
}

/// What the chain says, once it says anything: one that is shorter than it was gets some time.
async fn is_owned(world: &World, text: &str) -> bool {
    let name = name(text);
    let asking = async {
        loop {
            match world.node.name_on_chain(&name).await {
                Ok(known) => return known.is_some(),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(20), asking).await;
    said.expect("the chain cannot be read")
}

/// What the node keeps of names.
fn kept(data_dir: &Path) -> Value {
    let text = std::fs::read(data_dir.join("names.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_read_on_from_where_the_last_process_stopped() {
    let world = World::start(in_the_mesh).await;
    claim(&world, "embed").await;
    assert!(is_owned(&world, "embed").await);
    let head = world.client.block_number().await.unwrap();
    // What was read before is not read again: it is believed as it was kept.
    let world = world
        .restart(async |data_dir| {
            let mut names = kept(&data_dir);
            assert_eq!(names["next"], json!(head + 1));
            assert_eq!(names["claims"][0][1], "embed");
            names["claims"] = json!([]);
            std::fs::write(data_dir.join("names.json"), names.to_string()).unwrap();
        })
        .await;
    assert!(!is_owned(&world, "embed").await);
    claim(&world, "chat").await;
    assert!(is_owned(&world, "chat").await);
    // A file that is no good is as none.
    let world = world
        .restart(async |data_dir| {
            assert_eq!(kept(&data_dir)["claims"][0][1], "chat");
            std::fs::write(data_dir.join("names.json"), "{").unwrap();
        })
        .await;
    assert!(is_owned(&world, "embed").await && is_owned(&world, "chat").await);
    world.node.shutdown().await;
}

/// Ends the chain's life after `mark`, and gives it another of so many blocks.
async fn another(chain: &DevChain, mark: &Value, blocks: u64) {
    let rpc = [
        ("evm_revert", json!([mark])),
        ("evm_increaseTime", json!([5])),
    ];
    let mining = (0..blocks).map(|_| ("evm_mine", json!([])));
    for (method, params) in rpc.into_iter().chain(mining) {
        chain.request(method, params).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_chain_that_began_anew_are_forgotten() {
    for blocks in [0, 20] {
        let world = World::start(in_the_mesh).await;
        let mark = world.mark().await;
        claim(&world, "embed").await;
        assert!(is_owned(&world, "embed").await);
        let chain = world.chain.clone();
        let world = world
            .restart(async |data_dir| {
                assert_eq!(kept(&data_dir)["claims"][0][1], "embed");
                another(&chain, &mark, blocks).await;
            })
            .await;
        assert!(!is_owned(&world, "embed").await, "{blocks}");
        claim(&world, "chat").await;
        assert!(is_owned(&world, "chat").await, "{blocks}");
        let world = world
            .restart(async |data_dir| {
                let claims = kept(&data_dir)["claims"].clone();
                assert_eq!(claims.as_array().unwrap().len(), 1, "{claims}");
            })
            .await;
        assert!(is_owned(&world, "chat").await && !is_owned(&world, "embed").await);
        world.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_blocks_that_went_are_forgotten_by_a_node_that_runs() {
    let world = World::start(in_the_mesh).await;
    let mark = world.mark().await;
    claim(&world, "embed").await;
    assert!(is_owned(&world, "embed").await);
    another(&world.chain.clone(), &mark, 20).await;
    claim(&world, "chat").await;
    assert!(is_owned(&world, "chat").await && !is_owned(&world, "embed").await);
    let data_dir = world.data_dir().to_owned();
    world.node.shutdown().await;
    let claims = kept(&data_dir)["claims"].clone();
    assert_eq!(claims.as_array().unwrap().len(), 1, "{claims}");
}

/// Publishes a version of a free service, as its owner does, without this node's taking part.
async fn publish(world: &World, version: &str) -> SignedManifest {
    let folder = world.data_dir().with_file_name(format!("free-{version}"));
    install_as(&folder, "free", version, "");
    let publishing = Publishing {
        tags: Vec::new(),
        sources: Vec::new(),
        publisher: DEV_ACCOUNTS[PAYER].address,
    };
    let prepared = world.node.prepare_publishing(&folder, &publishing).await;
    let prepared = prepared.unwrap();
    let key = SigningKey::from_bytes(&DEV_ACCOUNTS[PAYER].key.0).unwrap();
    let signature = key.sign(prepared.sign.digest);
    let signed = SignedManifest::check(prepared.payload.clone(), signature).unwrap();
    let metadata = agent_metadata(&signed).into_iter();
    let metadata: Vec<_> = metadata
        .map(|(key, value)| Entry::new(key, value))
        .collect();
    let registry = publisher(world).await;
    match &prepared.agent {
        Some(agent) => drop(registry.set_metadata(agent, &metadata).await.unwrap()),
        None => drop(registry.register("", &metadata, None).await.unwrap()),
    }
    let bytes = signature.to_bytes();
    let published = world.node.publish(&folder, prepared.payload, &bytes).await;
    published.unwrap().0
}

/// Takes in what the owner of the name published last. Returns its manifest, and what it is called here.
async fn take_in(world: &World) -> (Digest, String) {
    let taken = world.node.take_in(&name("free"), &Progress::silent()).await;
    let (signed, changed) = taken.unwrap();
    (signed.digest(), changed.version)
}

/// What this node pins in its store.
fn pinned(data_dir: &Path) -> BTreeSet<String> {
    let artifacts = Artifacts::open(&data_dir.join("artifacts")).unwrap();
    let all = artifacts.list().unwrap().into_iter();
    let own = all.filter(|entry| {
        entry
            .pins
            .iter()
            .any(|pin| pin.as_str().starts_with("mesh."))
    });
    own.map(|entry| entry.digest.to_string()).collect()
}

fn parts(signed: &SignedManifest) -> BTreeSet<String> {
    [signed.digest(), signed.component()]
        .map(|digest| digest.to_string())
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_of_old_versions_is_given_back() {
    let world = World::start(in_the_mesh).await;
    let taken = world.data_dir().join("taken");
    let first = publish(&world, "0.1.0").await;
    let (digest, before) = take_in(&world).await;
    assert_eq!(digest, first.digest());
    assert_eq!(pinned(world.data_dir()), parts(&first));
    let second = publish(&world, "0.2.0").await;
    assert_eq!(pinned(world.data_dir()), parts(&second));
    let (digest, now) = take_in(&world).await;
    assert_eq!(digest, second.digest());
    assert!(!taken.exists());
    // Going back needs neither.
    let back = world.node.roll_back("free", Some(&before)).await;
    assert_eq!(back.unwrap().version, before);
    world.call_free("free").await.unwrap();
    assert_eq!(pinned(world.data_dir()), parts(&second));

    // What a crash leaves is removed by the next start; pins of others are theirs.
    let peer = world.node.peer().unwrap();
    let world = world
        .restart(async |data_dir| {
            std::fs::create_dir_all(data_dir.join("taken/half")).unwrap();
            let artifacts = Artifacts::open(&data_dir.join("artifacts")).unwrap();
            let old = first.component().to_string();
            artifacts.pin(&old, &format!("mesh.{peer}")).unwrap();
            artifacts.pin(&old, "operator").unwrap();
        })
        .await;
    assert!(!taken.exists());
    assert_eq!(pinned(world.data_dir()), parts(&second));
    let artifacts = Artifacts::open(&world.data_dir().join("artifacts")).unwrap();
    let old = first.component().to_string();
    assert!(artifacts.unpin(&old, "operator").unwrap());

    world.node.remove_service("free").await.unwrap();
    assert_eq!(pinned(world.data_dir()), BTreeSet::new());
    world.node.roll_back("free", Some(&now)).await.unwrap();
    world.call_free("free").await.unwrap();
    world.node.shutdown().await;
}
