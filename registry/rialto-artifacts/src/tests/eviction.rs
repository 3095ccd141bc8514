//! Full stores: what goes, and what never does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use rialto_registry::Digest;

use super::Place;
use crate::{Config, Held, PinOwner, PutError, Store};

fn open(dir: &Path, bytes_max: u64, use_grace: Duration) -> Store {
    Store::open(Config {
        store_bytes_max: bytes_max,
        use_grace,
        ..Config::new(dir.join("store"))
    })
    .unwrap()
}

fn owner() -> PinOwner {
    "operator".parse().unwrap()
}

/// Makes an artifact look as if it was last used so many hours ago.
fn age(dir: &Path, digest: &Digest, hours: u64) {
    let file = File::open(dir.join("store").join(digest.to_string())).unwrap();
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    file.set_modified(then).unwrap();
}

/// Bytes on the disk, however counted.
fn on_disk(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir.join("store")).unwrap();
    let files = entries.map(|entry| entry.unwrap().metadata().unwrap());
    files.filter(fs::Metadata::is_file).map(|it| it.len()).sum()
}

#[test]
fn the_least_recently_used_goes_first() {
    let place = Place::new();
    let dir = place.dir.path();
    let store = open(dir, 30, Duration::from_secs(600));
    let [a, b, c] = [b"aaaaaaaaaa", b"bbbbbbbbbb", b"cccccccccc"].map(|body| {
        let digest = store.put_bytes(body).unwrap();
        age(dir, &digest, 5);
        digest
    });
    age(dir, &b, 9);
    // Used again, by another process.
    let other = open(dir, 30, Duration::from_secs(600));
    other.get(&a).unwrap().unwrap();
    store.put_bytes(b"dddddddddd").unwrap();
    assert!(store.get(&b).unwrap().is_none());
    store.put_bytes(b"eeeee").unwrap();
    assert!(store.get(&c).unwrap().is_none());
    assert!(store.get(&a).unwrap().is_some());
    assert_eq!(store.bytes_used(), 25);
    // What is left was used within the grace period.
    let error = store.put_bytes(b"ffffffffff").unwrap_err();
    assert!(
        matches!(error, PutError::Full { bytes_max: 30, .. }),
        "{error:?}"
    );
    let error = error.to_string();
    assert!(error.contains("rialto artifacts unpin"), "{error}");
    assert!(error.contains("raise `store_bytes_max`"), "{error}");
}

#[test]
fn what_is_pinned_or_held_stays() {
    let place = Place::new();
    let dir = place.dir.path();
    let store = open(dir, 100, Duration::ZERO);
    let [pinned, held, free] =
        [&b"pinned"[..], b"held", b"free"].map(|body| store.put_bytes(body).unwrap());
    assert!(store.pin(&pinned, &owner()).unwrap());
    // A hold of another process counts, too.
    let other = open(dir, 100, Duration::ZERO);
    let hold = other.hold(&held).unwrap().unwrap();
    for digest in [&pinned, &held, &free] {
        age(dir, digest, 5);
    }
    let done = store.gc(0).unwrap();
    let evicted: Vec<_> = done.evicted.iter().map(|entry| entry.digest).collect();
    assert_eq!(evicted, [free]);
    assert_eq!((done.pinned, done.in_use, done.bytes_used), (1, 1, 10));
    assert_eq!(fs::read(hold.path()).unwrap(), b"held");
    drop(hold);
    assert_eq!(store.gc(0).unwrap().evicted[0].digest, held);
    assert!(store.gc(0).unwrap().evicted.is_empty());
    assert!(store.unpin(&pinned, &owner()).unwrap());
    assert_eq!(store.gc(0).unwrap().evicted.len(), 1);
    assert_eq!((store.bytes_used(), on_disk(dir)), (0, 0));
    assert!(store.hold(&held).unwrap().is_none());
}

#[test]
fn a_full_store_of_pins_refuses() {
    let place = Place::new();
    let store = open(place.dir.path(), 10, Duration::ZERO);
    let digest = store.put_bytes(b"12345678").unwrap();
    store.pin(&digest, &owner()).unwrap();
    assert!(matches!(
        store.put_bytes(b"abc"),
        Err(PutError::Full { .. })
    ));
    store.put_bytes(b"ab").unwrap();
    assert!(store.get(&digest).unwrap().is_some());
    // Larger than the whole store: nothing has to go for nothing.
    let file = place.dir.path().join("big");
    fs::write(&file, [0; 100]).unwrap();
    assert!(matches!(store.put_file(&file), Err(PutError::Full { .. })));
}

#[test]
fn unfinished_downloads_count_and_go_first() {
    let place = Place::new();
    let dir = place.dir.path();
    let store = open(dir, 30, Duration::ZERO);
    let kept = store.put_bytes(b"0123456789").unwrap();
    let partial = dir.join("store/.partial");
    let left = partial.join(format!("{}.part", Digest::of(b"x")));
    fs::write(&left, [0; 15]).unwrap();
    let store = open(dir, 30, Duration::ZERO);
    assert_eq!(store.bytes_used(), 25);
    store.put_bytes(b"abcdefghij").unwrap();
    assert!(!left.exists());
    assert!(store.get(&kept).unwrap().is_some());
    fs::write(&left, [0; 7]).unwrap();
    let done = store.gc(20).unwrap();
    assert_eq!((done.unfinished_bytes, done.evicted.len()), (7, 0));
}

#[test]
fn the_list_says_what_is_here() {
    let place = Place::new();
    let dir = place.dir.path();
    let store = open(dir, 100, Duration::ZERO);
    let [old, new] = [&b"old"[..], b"new!"].map(|body| store.put_bytes(body).unwrap());
    age(dir, &old, 5);
    store.pin(&old, &owner()).unwrap();
    // What is no artifact is not ours to list.
    fs::write(dir.join("store/notes.txt"), "by hand").unwrap();
    let listed = store.list().unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|entry| (entry.digest, entry.bytes, entry.pins.len()))
        .collect();
    assert_eq!(listed, [(new, 4, 0), (old, 3, 1)]);
}

/// What may happen to a store.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Pin(u8),
    Unpin(u8),
    Hold(u8),
    LetGo,
    Collect(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..6_u8;
    prop_oneof![
        5 => (which.clone(), 0..60_u8).prop_map(|(which, bytes)| Step::Put(which, bytes)),
        2 => which.clone().prop_map(Step::Pin),
        2 => which.clone().prop_map(Step::Unpin),
        1 => which.prop_map(Step::Hold),
        1 => Just(Step::LetGo),
        1 => (0..100_u8).prop_map(Step::Collect),
        1 => Just(Step::Reopen),
    ]
}

/// A store of 100 bytes, and what must be true of it.
struct Checked {
    place: Place,
    store: Store,
    known: BTreeMap<u8, Digest>,
    /// Pinned while they were here, so they must stay.
    pinned: BTreeSet<Digest>,
    holds: Vec<Held>,
}

impl Checked {
    fn new() -> Self {
        let place = Place::new();
        let store = open(place.dir.path(), 100, Duration::ZERO);
        Self {
            place,
            store,
            known: BTreeMap::new(),
            pinned: BTreeSet::new(),
            holds: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Put(which, bytes) => match self.store.put_bytes(&vec![which; bytes.into()]) {
                Ok(digest) => {
                    self.known.insert(which, digest);
                }
                Err(error) => assert!(matches!(error, PutError::Full { .. }), "{error:?}"),
            },
            Step::Pin(which) => {
                if let Some(digest) = self.known.get(&which)
                    && self.store.pin(digest, &owner()).unwrap()
                {
                    self.pinned.insert(*digest);
                }
            }
            Step::Unpin(which) => {
                if let Some(digest) = self.known.get(&which) {
                    self.store.unpin(digest, &owner()).unwrap();
                    self.pinned.remove(digest);
                }
            }
            Step::Hold(which) => {
                if let Some(digest) = self.known.get(&which) {
                    self.holds.extend(self.store.hold(digest).unwrap());
                }
            }
            Step::LetGo => self.holds.clear(),
            Step::Collect(bytes) => {
                self.store.gc(bytes.into()).unwrap();
            }
            Step::Reopen => self.store = open(self.place.dir.path(), 100, Duration::ZERO),
        }
        self.check();
    }

    fn check(&self) {
        let bytes = on_disk(self.place.dir.path());
        assert!(bytes <= 100, "{bytes} bytes");
        assert_eq!(self.store.bytes_used(), bytes);
        for digest in &self.pinned {
            assert!(
                self.store.get(digest).unwrap().is_some(),
                "{digest} was pinned"
            );
        }
        for held in &self.holds {
            assert!(held.path().exists(), "{} is in use", held.digest());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn limits_hold_and_pins_stay(steps in prop::collection::vec(step(), 1..24)) {
        let mut store = Checked::new();
        for step in &steps {
            store.take(step);
        }
    }
}
