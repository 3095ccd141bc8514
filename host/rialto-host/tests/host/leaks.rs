//! What one tenant wrote, no other reads: instances of a pool begin as if they were the first.

use tokio::task::JoinSet;

use super::*;

/// Words of two memories of 8 MiB, elements of the table, and the global.
const ALL: u64 = 2 * (8 << 20) / 8 + 4_096 + 1;

fn roomy() -> Limits {
    Limits {
        memory_bytes_max: 32 << 20,
        ..patient()
    }
}

#[tokio::test]
async fn the_looker_would_find_what_was_left() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::LEAK, Grants::default(), roomy());
    let found = answer(&service, "stain_and_look", json!({})).await;
    assert_eq!(found, ALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_shows_no_byte_of_an_earlier_tenant() {
    // Two places: whoever looks gets what a stainer left.
    let fixture = Fixture::with(|config| config.calls_max = 2);
    let stainer = fixture.load_as("stainer", guests::LEAK, Grants::default(), roomy());
    // Other code, so that its places are not kept for its own images.
    let other = guests::LEAK.replace("rialto:leak/api", "rialto:other/api");
    let looker = fixture.load_as("looker", &other, Grants::default(), roomy());
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let (stainer, looker) = (stainer.clone(), looker.clone());
        calls.spawn(async move {
            let error = call(&stainer, "stain", json!({})).await.unwrap_err();
            assert_eq!(error.wire_code(), "trapped");
            assert_eq!(answer(&looker, "look", json!({})).await, 0);
            // Its own earlier instances are strangers too.
            assert_eq!(answer(&stainer, "look", json!({})).await, 0);
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
}
