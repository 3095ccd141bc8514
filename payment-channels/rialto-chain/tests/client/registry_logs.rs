//! The registries' logs through the client: in parts, without gaps, and only what was asked for.

use alloy::primitives::Address;
use rialto_chain::client::{ChainClient, ChainError, RegistryClient, RegistryError};
use rialto_registry::erc8004::calls::{Entry, VALUE_BYTES_MAX};
use rialto_registry::erc8004::logs::key_topic;
use rialto_registry::names::NAME_KEY;
use rialto_registry::{Name, NameBook};
use rialto_testkit::proxy::{Fault, Proxy};
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::people::{HOST, PAYER, STRANGER};
use crate::registries::{at, name, registered, registries};

on_both!(
    names_are_read_from_the_log,
    steps_end_where_confirmed_blocks_end,
    endpoints_that_refuse_are_asked_for_fewer_blocks,
    logs_that_were_not_asked_for_are_not_believed,
);

async fn names_are_read_from_the_log(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let stranger = registries(&chain, STRANGER).await;
    let first = registered(&host, &[Entry::new("other", *b"embed"), name("embed")]).await;
    let second = registered(&stranger, &[name("embed")]).await;
    let middle = host.metadata_log(&[NAME_KEY], 0).await.unwrap();
    assert_eq!(middle.found.len(), 2);
    let gives_up = [name("")];
    host.set_metadata(&first, &gives_up).await.unwrap();
    let long = [Entry::new(NAME_KEY, [b'x'; VALUE_BYTES_MAX])];
    stranger.set_metadata(&second, &long).await.unwrap();
    stranger
        .set_metadata(&second, &[name("embed")])
        .await
        .unwrap();

    let mut book = NameBook::default();
    let mut claims = 0;
    let embed: Name = "embed".parse().unwrap();
    let mut owners = Vec::new();
    let mut step = middle;
    loop {
        for placed in &step.found {
            let set = &placed.entry;
            assert_eq!(set.key, NAME_KEY);
            book.claim(set.agent, &set.value, placed.at);
            claims += 1;
            owners.push(book.owner(&embed));
        }
        if step.found.is_empty() {
            break;
        }
        step = host.metadata_log(&[NAME_KEY], step.next).await.unwrap();
    }
    assert_eq!(claims, 5);
    let (first, second) = (Some(first), Some(second));
    assert_eq!(owners, [first, first, second, None, second]);
    // Several keys at once, in the chain's order, and none that was not asked for.
    let both = host.metadata_log(&["other", NAME_KEY], 0).await.unwrap();
    assert_eq!(both.found.len(), 6);
    assert_eq!(both.found[0].entry.key, "other");
    assert!(both.found.is_sorted_by_key(|placed| placed.at));
    let none = host.metadata_log(&["unknown"], 0).await.unwrap();
    assert_eq!((none.found.len(), none.next), (0, both.next));
    for keys in [&[][..], &["k"; 17]] {
        let refused = host.metadata_log(keys, 0).await;
        let refused = matches!(
            refused,
            Err(RegistryError::Chain(ChainError::OutOfRange(_)))
        );
        assert!(refused, "{}", keys.len());
    }
}

async fn steps_end_where_confirmed_blocks_end(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let agent = registered(&host, &[name("embed")]).await;
    let mut config = chain.config(PAYER);
    config.confirmations = 3;
    let careful = ChainClient::connect(config).await.unwrap();
    let careful = careful.registries(at()).await.unwrap();
    let from = chain.client(HOST).await.block_number().await.unwrap();
    let step = careful.metadata_log(&[NAME_KEY], from).await.unwrap();
    assert_eq!((step.found.len(), step.next, step.more), (0, from, false));
    for _ in 0..2 {
        chain.mine().await;
    }
    let step = careful.metadata_log(&[NAME_KEY], from).await.unwrap();
    assert_eq!((step.found.len(), step.next), (1, from + 1));
    assert_eq!(step.found[0].entry.agent, agent);
    assert_eq!(step.found[0].at.block, from);
    // Blocks that are not there yet.
    let later = careful.metadata_log(&[NAME_KEY], u64::MAX).await.unwrap();
    assert_eq!((later.found.len(), later.next), (0, u64::MAX));
}

/// A client whose endpoint is the proxy.
async fn behind(chain: &Chain, proxy: &Proxy) -> RegistryClient {
    let mut config = chain.config(PAYER);
    proxy.url().clone_into(&mut config.rpc_url);
    let client = ChainClient::connect(config).await.unwrap();
    client.registries(at()).await.unwrap()
}

async fn endpoints_that_refuse_are_asked_for_fewer_blocks(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let agent = registered(&host, &[name("embed")]).await;
    let wanted = [name("a"), name("b"), name("c")];
    for entry in wanted {
        host.set_metadata(&agent, &[entry]).await.unwrap();
    }
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let reader = behind(&chain, &proxy).await;
    proxy.next("eth_getLogs", 2, Fault::Refuse("too many"));
    let mut step = reader.metadata_log(&[NAME_KEY], 1).await.unwrap();
    assert!(step.more && step.found.len() == 1, "{step:?}");
    let mut found = step.found;
    while step.more {
        step = reader.metadata_log(&[NAME_KEY], step.next).await.unwrap();
        found.extend(step.found);
    }
    let values: Vec<_> = found.iter().map(|one| one.entry.value.as_slice()).collect();
    assert_eq!(values, [&b"embed"[..], b"a", b"b", b"c"]);
    // One that refuses a single block is given up, and nothing is passed over.
    let newest = chain.client(HOST).await.block_number().await.unwrap();
    proxy.next("eth_getLogs", usize::MAX, Fault::Refuse("too many"));
    let before = proxy.count("eth_getLogs");
    let refused = reader.metadata_log(&[NAME_KEY], 1).await;
    let refused = matches!(
        refused,
        Err(RegistryError::Chain(ChainError::Refused { .. }))
    );
    assert!(
        refused && proxy.count("eth_getLogs") - before <= 12,
        "{newest}"
    );
}

async fn logs_that_were_not_asked_for_are_not_believed(chain: Chain) {
    let host = registries(&chain, HOST).await;
    registered(&host, &[Entry::new("other", *b"1"), name("embed")]).await;
    registered(&host, &[name("chat")]).await;
    let newest = chain.client(HOST).await.block_number().await.unwrap();
    let filter = json!([{"fromBlock": "0x0", "address": at().identity}]);
    let all = chain.rpc("eth_getLogs", filter).await;
    let all: Vec<Value> = serde_json::from_value(all).unwrap();
    let of = |key: &str| {
        let topic = json!(key_topic(key));
        all.iter()
            .filter(|log| log["topics"][2] == topic)
            .cloned()
            .collect::<Vec<_>>()
    };
    let (names, others) = (of(NAME_KEY), of("other"));
    let changed = |field: &str, value: Value| {
        let mut log = names[1].clone();
        log[field] = value;
        vec![log]
    };
    let proxy = Proxy::before(&chain.url).await.unwrap();
    let reader = behind(&chain, &proxy).await;
    for (what, lie) in [
        ("another key", others),
        ("another contract", changed("address", json!(Address::ZERO))),
        ("no block", changed("blockNumber", Value::Null)),
        (
            "a later block",
            changed("blockNumber", json!(format!("{:#x}", newest + 1))),
        ),
        ("an earlier block", changed("blockNumber", json!("0x0"))),
        ("no value", changed("data", json!("0x"))),
        ("gone", changed("removed", json!(true))),
        ("twice", vec![names[1].clone(), names[1].clone()]),
        (
            "the wrong way round",
            vec![names[1].clone(), names[0].clone()],
        ),
    ] {
        proxy.next("eth_getLogs", 1, Fault::Say(json!(lie)));
        let believed = reader.metadata_log(&[NAME_KEY], 1).await;
        let refused = matches!(
            believed,
            Err(RegistryError::Chain(ChainError::BadAnswer(_)))
        );
        assert!(refused, "{what}");
    }
    let honest = reader.metadata_log(&[NAME_KEY], 1).await.unwrap();
    assert_eq!(honest.found.len(), 2);
}
