//! What is kept, what is refused, and what a failing disk leaves.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside test functions; a failure is a failed test"
)]

#[path = "state/disk.rs"]
mod disk;

use std::sync::Arc;
use std::time::Duration;

use rialto_state::{Bucket, Change, Changed, Config, ENTRY_BYTES, Start, State, StateError};
use tempfile::TempDir;

const QUOTA: u64 = 1 << 20;

/// Nothing is synced that nobody waits for.
fn config() -> Config {
    Config {
        sync_after: Duration::from_secs(3_600),
        ..Config::default()
    }
}

fn open(config: &Config) -> (State, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (State::open(dir.path(), config).unwrap(), dir)
}

fn bucket(service: &str, payer: &str) -> Bucket {
    Bucket {
        service: service.to_owned(),
        payer: payer.to_owned(),
    }
}

fn set(key: &str, value: &str) -> Change {
    Change::Set(vec![(key.to_owned(), value.into())])
}

async fn write(state: &State, bucket: &Bucket, change: Change) -> Result<Changed, StateError> {
    state.change(bucket.clone(), change, QUOTA).await
}

async fn read(state: &State, bucket: &Bucket, key: &str) -> Option<String> {
    let found = state
        .get(bucket.clone(), vec![key.to_owned()], u64::MAX)
        .await;
    let [found] = <[_; 1]>::try_from(found.unwrap()).unwrap();
    found.map(|entry| String::from_utf8(entry.value).unwrap())
}

async fn keys(state: &State, bucket: &Bucket, start: Start, count: usize) -> Vec<String> {
    state.list(bucket.clone(), start, count).await.unwrap()
}

#[tokio::test]
async fn buckets_know_nothing_of_each_other() {
    let (state, _dir) = open(&config());
    // Names that run into each other if they were joined.
    let buckets = [
        bucket("a", ""),
        bucket("a", "b"),
        bucket("a", "bc"),
        bucket("ab", ""),
        bucket("ab", "c"),
    ];
    for (number, bucket) in buckets.iter().enumerate() {
        let value = number.to_string();
        write(&state, bucket, set("k", &value)).await.unwrap();
        write(&state, bucket, set(&value, "x")).await.unwrap();
    }
    for (number, bucket) in buckets.iter().enumerate() {
        let own = number.to_string();
        assert_eq!(read(&state, bucket, "k").await, Some(own.clone()));
        assert_eq!(
            keys(&state, bucket, Start::First, 10).await,
            [own, "k".to_owned()]
        );
    }
    write(&state, &buckets[1], Change::Delete(vec!["k".to_owned()]))
        .await
        .unwrap();
    assert_eq!(read(&state, &buckets[1], "k").await, None);
    assert_eq!(read(&state, &buckets[0], "k").await, Some("0".to_owned()));
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let (state, _dir) = open(&config());
    let own = bucket("a", "");
    let pairs = (0..10).map(|i| (format!("k{i}"), Vec::new()));
    write(&state, &own, Change::Set(pairs.collect()))
        .await
        .unwrap();
    write(&state, &bucket("a", "p"), set("k99", ""))
        .await
        .unwrap();
    let page = async |start| keys(&state, &own, start, 4).await;
    assert_eq!(page(Start::First).await, ["k0", "k1", "k2", "k3"]);
    let after = Start::After("k3".to_owned());
    assert_eq!(page(after).await, ["k4", "k5", "k6", "k7"]);
    assert_eq!(page(Start::Past(8)).await, ["k8", "k9"]);
    assert_eq!(page(Start::Past(10)).await, [""; 0]);
    // A key that is gone is a place all the same.
    let after = Start::After("k77".to_owned());
    assert_eq!(page(after).await, ["k8", "k9"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost() {
    let (state, _dir) = open(&config());
    let own = bucket("a", "");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (state, own) = (state.clone(), own.clone());
        tasks.spawn(async move {
            for _ in 0..8 {
                let change = Change::Increment {
                    key: "sum".to_owned(),
                    delta: 1,
                    lowest: 0,
                    highest: i128::MAX,
                };
                write(&state, &own, change).await.unwrap();
                loop {
                    let found = state.get(own.clone(), vec!["swap".to_owned()], 100).await;
                    let found = found.unwrap().remove(0);
                    let number = found.as_ref().map_or(0, |entry| entry.value.len());
                    let change = Change::Swap {
                        key: "swap".to_owned(),
                        revision: found.map_or(0, |entry| entry.revision),
                        value: vec![0; (number + 1) % 50],
                    };
                    if write(&state, &own, change).await.unwrap() == Changed::Done {
                        break;
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(read(&state, &own, "sum").await, Some("256".to_owned()));
    let swapped = read(&state, &own, "swap").await.unwrap();
    assert_eq!(swapped.len(), 256 % 50);
}

#[tokio::test]
async fn a_swap_notices_every_change_between() {
    let (state, _dir) = open(&config());
    let own = bucket("a", "");
    let swap = |revision| Change::Swap {
        key: "k".to_owned(),
        revision,
        value: b"mine".to_vec(),
    };
    assert_eq!(write(&state, &own, swap(1)).await, Ok(Changed::Moved));
    assert_eq!(write(&state, &own, swap(0)).await, Ok(Changed::Done));
    assert_eq!(write(&state, &own, swap(0)).await, Ok(Changed::Moved));
    let found = state.get(own.clone(), vec!["k".to_owned()], 100).await;
    let revision = found.unwrap()[0].as_ref().unwrap().revision;
    // The same bytes again are a change.
    write(&state, &own, set("k", "mine")).await.unwrap();
    assert_eq!(
        write(&state, &own, swap(revision)).await,
        Ok(Changed::Moved)
    );
}

#[tokio::test]
async fn increments_count_in_decimals_and_within_bounds() {
    let (state, _dir) = open(&config());
    let own = bucket("a", "");
    let add = |key: &str, delta| Change::Increment {
        key: key.to_owned(),
        delta,
        lowest: -5,
        highest: 5,
    };
    assert_eq!(write(&state, &own, add("n", 5)).await, Ok(Changed::Sum(5)));
    let beyond = write(&state, &own, add("n", 1)).await;
    assert_eq!(beyond, Err(StateError::OutOfRange));
    assert_eq!(
        write(&state, &own, add("n", -8)).await,
        Ok(Changed::Sum(-3))
    );
    assert_eq!(read(&state, &own, "n").await, Some("-3".to_owned()));
    write(&state, &own, set("text", "three")).await.unwrap();
    let text = write(&state, &own, add("text", 1)).await;
    assert_eq!(text, Err(StateError::NotANumber));
    let huge = write(&state, &own, add("m", i128::MAX)).await;
    assert_eq!(huge, Err(StateError::OutOfRange));
    assert_eq!(read(&state, &own, "m").await, None);
}

#[tokio::test]
async fn quotas_hold_and_nothing_of_a_refused_change_stays() {
    let (state, _dir) = open(&Config {
        bytes_max: 4_000,
        payers_max: 2,
        ..config()
    });
    let own = bucket("a", "");
    let entry = 1 + 1_000 + ENTRY_BYTES;
    let pair = |key: &str| (key.to_owned(), vec![0; 1_000]);
    let two = Change::Set(vec![pair("a"), pair("b")]);
    let refused = state.change(own.clone(), two.clone(), 2 * entry - 1).await;
    let bytes_max = 2 * entry - 1;
    let bytes = 2 * entry;
    assert_eq!(refused, Err(StateError::Quota { bytes, bytes_max }));
    assert_eq!(read(&state, &own, "a").await, None);
    state.change(own.clone(), two, 2 * entry).await.unwrap();
    // Twice the same key counts once; what grows no more is allowed above a lowered quota.
    let same = Change::Set(vec![pair("a"), pair("a")]);
    state.change(own.clone(), same, 1).await.unwrap();
    let third = bucket("b", "");
    let change = Change::Set(vec![pair("a"), pair("b")]);
    let full = write(&state, &third, change).await;
    assert_eq!(full, Err(StateError::Full { bytes_max: 4_000 }));
    for (payer, fits) in [("x", true), ("y", true), ("z", false), ("x", true)] {
        let outcome = write(&state, &bucket("a", payer), set("k", "v")).await;
        assert_eq!(outcome.is_ok(), fits, "{payer}: {outcome:?}");
    }
    // A bucket that is empty is none.
    let delete = Change::Delete(vec!["k".to_owned(), "none".to_owned()]);
    write(&state, &bucket("a", "x"), delete).await.unwrap();
    write(&state, &bucket("a", "z"), set("k", "v"))
        .await
        .unwrap();
    let large = state.get(own.clone(), vec!["a".to_owned()], 999).await;
    assert_eq!(large, Err(StateError::TooLarge { bytes_max: 999 }));
}

#[tokio::test]
async fn what_is_closed_is_there_when_it_is_opened_again() {
    let (state, dir) = open(&config());
    let own = bucket("a", "");
    write(&state, &own, set("k", "v")).await.unwrap();
    // Nobody waited for a sync.
    drop(state);
    let state = State::open(dir.path(), &config()).unwrap();
    assert_eq!(read(&state, &own, "k").await, Some("v".to_owned()));
    let twice = State::open(dir.path(), &config());
    assert!(twice.is_err(), "one process at a time");
}

#[tokio::test]
async fn what_was_synced_survives_a_crash() {
    let (state, dir) = open(&config());
    let own = bucket("a", "");
    write(&state, &own, set("synced", "v")).await.unwrap();
    state.sync(state.run()).await.unwrap();
    state.sync(state.run()).await.unwrap();
    // What a crash leaves is the file as it is now.
    let copy = tempfile::tempdir().unwrap();
    let file = "state.redb";
    std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    let after = State::open(copy.path(), &config()).unwrap();
    assert_eq!(read(&after, &own, "synced").await, Some("v".to_owned()));
}

#[tokio::test]
async fn what_nobody_waits_for_is_synced_soon() {
    let disk = disk::Disk::default();
    let quick = Config {
        sync_after: Duration::from_millis(1),
        ..Config::default()
    };
    let state = State::open_at(Arc::new(disk.clone()), &quick).unwrap();
    let own = bucket("a", "");
    let before = disk.syncs();
    write(&state, &own, set("k", "v")).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(60), disk.synced_after(before)).await;
    assert!(waited.is_ok(), "never synced");
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_what_was_durable_stays() {
    let disk = disk::Disk::default();
    let state = State::open_at(Arc::new(disk.clone()), &config()).unwrap();
    let own = bucket("a", "");
    write(&state, &own, set("old", "v")).await.unwrap();
    let run = state.run();
    state.sync(run).await.unwrap();
    disk.fill();
    let large = "x".repeat(100_000);
    write(&state, &own, set("new", &large)).await.unwrap();
    assert_eq!(read(&state, &own, "new").await, Some(large.clone()));
    let error = state.sync(run).await.unwrap_err();
    assert!(matches!(&error, StateError::Lost(_)), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    // Whoever saw that change and comes later is told, too.
    let error = state.sync(run).await.unwrap_err();
    assert!(matches!(error, StateError::Lost(_)), "{error}");
    disk.empty();
    write(&state, &own, set("new", "small")).await.unwrap();
    assert_eq!(read(&state, &own, "old").await, Some("v".to_owned()));
    assert_eq!(read(&state, &own, "new").await, Some("small".to_owned()));
    state.sync(state.run()).await.unwrap();
}

/// What was written and removed leaves a large file, which is made smaller when it is opened again; one that is
/// small, or full, is left as it is.
#[tokio::test]
async fn a_file_that_holds_little_is_made_smaller() {
    let config = |compact_bytes_min| Config {
        compact_bytes_min,
        ..config()
    };
    let (state, dir) = open(&config(u64::MAX));
    let file_bytes = || {
        std::fs::metadata(dir.path().join("state.redb"))
            .unwrap()
            .len()
    };
    let large = "x".repeat(64 << 10);
    let own = bucket("s", "");
    let quota = 1 << 30;
    for number in 0..64 {
        let change = set(&format!("{number:03}"), &large);
        state.change(own.clone(), change, quota).await.unwrap();
    }
    state.sync(state.run()).await.unwrap();
    drop(state);
    let full = file_bytes();
    let state = State::open(dir.path(), &config(1)).unwrap();
    assert_eq!(file_bytes(), full, "it is full");
    // The last of them stays, at the end of the file.
    let removed = (0..63).map(|number| format!("{number:03}")).collect();
    write(&state, &own, Change::Delete(removed)).await.unwrap();
    state.sync(state.run()).await.unwrap();
    drop(state);
    let before = file_bytes();
    drop(State::open(dir.path(), &config(before + 1)).unwrap());
    assert_eq!(file_bytes(), before, "it is small");
    let state = State::open(dir.path(), &config(before)).unwrap();
    assert_eq!(read(&state, &own, "063").await, Some(large.clone()));
    assert_eq!(read(&state, &own, "000").await, None);
    drop(state);
    assert!(file_bytes() < before / 2, "{} of {before}", file_bytes());
    let state = State::open(dir.path(), &config(1)).unwrap();
    assert_eq!(read(&state, &own, "063").await, Some(large));
}
