//! Fetching from pretended peers, honest and otherwise.

use std::{collections::BTreeMap, fs, sync::Mutex, time::Duration};

use futures_util::future::{FutureExt, pending};
use rialto_registry::outline::CHUNK_BYTES;

use super::*;
use crate::{Config, silent};

const CHUNKS: usize = 6;

/// How one peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Gives another outline, and chunks that fit that.
    OutlineLiar(u8),
    /// Gives the right outline and wrong chunks.
    ChunkLiar,
    /// Gives the right outline and never a chunk.
    Slow,
    /// Gives another outline and never a chunk.
    Stalling,
    /// Is busy so often before it is honest.
    Busy(u32),
    /// Never answers anything.
    Silent,
    /// Is gone after one chunk.
    Vanishing,
    Absent,
    /// Claims a huge artifact.
    Boasting,
}

/// A network of pretended peers who have `body`.
struct Mesh {
    body: Vec<u8>,
    manners: Vec<(PeerName, Manner)>,
    given: Mutex<BTreeMap<PeerName, Vec<u32>>>,
    /// How often who was busy.
    busy: Mutex<BTreeMap<PeerName, u32>>,
    /// After this many chunks in all, nobody gives more.
    chunks_max: usize,
}

fn outline_of(body: &[u8]) -> Outline {
    let size = usize::try_from(CHUNK_BYTES).unwrap();
    let chunks = body.chunks(size).map(Digest::of).collect();
    Outline::new(u64::try_from(body.len()).unwrap(), chunks).unwrap()
}

fn chunk_of(body: &[u8], index: u32) -> Bytes {
    let size = usize::try_from(CHUNK_BYTES).unwrap();
    let index = usize::try_from(index).unwrap();
    Bytes::copy_from_slice(body.chunks(size).nth(index).unwrap())
}

impl Mesh {
    fn new(manners: &[Manner]) -> Self {
        let size = usize::try_from(CHUNK_BYTES).unwrap() * (CHUNKS - 1) + 100;
        let named = (0..).zip(manners);
        Self {
            body: (0..size)
                .map(|i| u8::try_from(i / 9 % 241).unwrap())
                .collect(),
            manners: named.map(|(i, manner)| (peer(i), *manner)).collect(),
            given: Mutex::default(),
            busy: Mutex::default(),
            chunks_max: usize::MAX,
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.body)
    }

    fn manner(&self, peer: &PeerName) -> Manner {
        self.manners
            .iter()
            .find(|(name, _)| name == peer)
            .unwrap()
            .1
    }

    fn lie(&self, which: u8) -> Vec<u8> {
        let mut body = self.body.clone();
        body[5] ^= which;
        body
    }

    fn is_busy(&self, peer: &PeerName, times: u32) -> bool {
        let mut busy = self.busy.lock().unwrap();
        let so_far = busy.entry(peer.clone()).or_default();
        *so_far += 1;
        *so_far <= times
    }

    fn given(&self, number: usize) -> Vec<u32> {
        let given = self.given.lock().unwrap();
        given.get(&peer(number)).cloned().unwrap_or_default()
    }

    fn total(&self) -> usize {
        self.given.lock().unwrap().values().map(Vec::len).sum()
    }
}

fn peer(number: usize) -> PeerName {
    format!("peer{number}").parse().unwrap()
}

impl Peers for Mesh {
    fn providers<'a>(&'a self, _: &'a Digest) -> BoxFuture<'a, Result<Vec<PeerName>, PeerError>> {
        let mut names: Vec<_> = self.manners.iter().map(|(name, _)| name.clone()).collect();
        // Some networks say things twice.
        names.extend(names.clone());
        async { Ok(names) }.boxed()
    }

    fn outline<'a>(
        &'a self,
        peer: &'a PeerName,
        _: &'a Digest,
    ) -> BoxFuture<'a, Result<Outline, PeerError>> {
        let outline = match self.manner(peer) {
            Manner::Silent => return pending().boxed(),
            Manner::Absent => return async { Err(PeerError::Absent) }.boxed(),
            Manner::OutlineLiar(which) => outline_of(&self.lie(which)),
            Manner::Stalling => outline_of(&self.lie(3)),
            Manner::Boasting => Outline::new(1 << 36, vec![Digest::of(b"x"); 1 << 16]).unwrap(),
            Manner::Honest
            | Manner::ChunkLiar
            | Manner::Slow
            | Manner::Vanishing
            | Manner::Busy(_) => outline_of(&self.body),
        };
        async { Ok(outline) }.boxed()
    }

    fn chunk<'a>(
        &'a self,
        peer: &'a PeerName,
        _: &'a Digest,
        index: u32,
    ) -> BoxFuture<'a, Result<Bytes, PeerError>> {
        let gone = || PeerError::Unreachable("connection closed".to_owned());
        if self.total() >= self.chunks_max {
            return async move { Err(gone()) }.boxed();
        }
        let manner = self.manner(peer);
        if let Manner::Busy(times) = manner
            && self.is_busy(peer, times)
        {
            return async { Err(PeerError::Busy) }.boxed();
        }
        let mut given = self.given.lock().unwrap();
        let given = given.entry(peer.clone()).or_default();
        let chunk = match manner {
            Manner::Slow | Manner::Silent | Manner::Stalling => return pending().boxed(),
            Manner::Vanishing if !given.is_empty() => return async move { Err(gone()) }.boxed(),
            Manner::Honest | Manner::Vanishing | Manner::Busy(_) => chunk_of(&self.body, index),
            Manner::OutlineLiar(which) => chunk_of(&self.lie(which), index),
            Manner::ChunkLiar => Bytes::from_static(b"wrong"),
            Manner::Absent | Manner::Boasting => panic!("nobody asks {peer} for a chunk"),
        };
        given.push(index);
        // Lets others answer, too.
        async move {
            tokio::task::yield_now().await;
            Ok(chunk)
        }
        .boxed()
    }
}

struct Here {
    dir: tempfile::TempDir,
    store: Store,
}

fn here() -> Here {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    Here { dir, store }
}

fn open(dir: &std::path::Path) -> Store {
    Store::open(Config {
        chunk_time_max: Duration::from_millis(300),
        retry_pause: Duration::from_millis(2),
        ..Config::new(dir)
    })
    .unwrap()
}

impl Here {
    async fn fetch(&self, mesh: &Mesh) -> Result<std::path::PathBuf, FetchError> {
        self.store
            .fetch_any(&[], Some(mesh), &mesh.digest(), &silent())
            .await
    }

    fn is_marked(&self, number: usize) -> bool {
        self.store.marks().is_marked(&Culprit::Peer(peer(number)))
    }
}

#[tokio::test]
async fn several_peers_share_the_work() {
    let (here, mesh) = (here(), Mesh::new(&[Manner::Honest; 3]));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let progress: ProgressFn = Arc::new(move |step| kept.lock().unwrap().push(step));
    let path = here
        .store
        .fetch_any(&[], Some(&mesh), &mesh.digest(), &progress)
        .await
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), mesh.body);
    for number in 0..3 {
        assert!(
            mesh.given(number).len() >= 2,
            "{number}: {:?}",
            mesh.given(number)
        );
    }
    assert_eq!(mesh.total(), CHUNKS, "no chunk came twice");
    let seen = seen.lock().unwrap();
    let total = u64::try_from(mesh.body.len()).unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.bytes, last.bytes_total), (total, Some(total)));
    assert_eq!(last.message, "fetching from 3 peers");
    assert!(here.store.marks().is_empty());
    // What was proven is served on without another look at the whole.
    let kept = here
        .dir
        .path()
        .join(".outlines")
        .join(mesh.digest().to_string());
    assert_eq!(fs::read(kept).unwrap(), outline_of(&mesh.body).encode());
    assert_eq!(
        fs::read_dir(here.dir.path().join(".partial"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn liars_slow_ones_and_those_who_vanish_are_done_without() {
    let here = here();
    let mesh = Mesh::new(&[
        Manner::ChunkLiar,
        Manner::Slow,
        Manner::Vanishing,
        Manner::OutlineLiar(1),
        Manner::Silent,
        Manner::Absent,
        Manner::Boasting,
        Manner::Honest,
    ]);
    let path = here.fetch(&mesh).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), mesh.body);
    let marked: Vec<_> = (0..8).filter(|it| here.is_marked(*it)).collect();
    // Who claimed what is too large may even be right, as far as anybody here knows.
    assert_eq!(marked, [0, 3]);
}

#[tokio::test]
async fn a_wrong_majority_is_found_out_and_marked() {
    let here = here();
    let mesh = Mesh::new(&[
        Manner::OutlineLiar(1),
        Manner::OutlineLiar(1),
        Manner::OutlineLiar(1),
        Manner::OutlineLiar(2),
        Manner::OutlineLiar(2),
        Manner::Honest,
    ]);
    let path = here.fetch(&mesh).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), mesh.body);
    let marked: Vec<_> = (0..6).filter(|it| here.is_marked(*it)).collect();
    assert_eq!(marked, [0, 1, 2, 3, 4]);
    // Who is marked is not asked while there are others.
    let before: Vec<_> = (0..5).map(|it| mesh.given(it).len()).collect();
    fs::remove_file(here.store.get(&mesh.digest()).unwrap().unwrap()).unwrap();
    here.fetch(&mesh).await.unwrap();
    let after: Vec<_> = (0..5).map(|it| mesh.given(it).len()).collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_majority_that_stalls_leaves_time_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config {
        // What is asked for never ends by itself.
        chunk_time_max: Duration::from_secs(60),
        fetch_time_max: Duration::from_secs(4),
        ..Config::new(dir.path())
    })
    .unwrap();
    let here = Here { dir, store };
    let mesh = Mesh::new(&[Manner::Stalling, Manner::Stalling, Manner::Honest]);
    let path = here.fetch(&mesh).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), mesh.body);
    // The outline that was proven shows who claimed another.
    let marked: Vec<_> = (0..3).filter(|it| here.is_marked(*it)).collect();
    assert_eq!(marked, [0, 1]);
}

#[tokio::test]
async fn who_is_busy_is_waited_for() {
    let (here, mesh) = (here(), Mesh::new(&[Manner::Busy(4)]));
    let path = here.fetch(&mesh).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), mesh.body);
    // Who is busy whenever it is asked is done without, and left in the end.
    let always = Manner::Busy(u32::MAX);
    let (here, mesh) = (self::here(), Mesh::new(&[always, Manner::Honest]));
    here.fetch(&mesh).await.unwrap();
    let (here, mesh) = (self::here(), Mesh::new(&[always]));
    let error = here.fetch(&mesh).await.unwrap_err().to_string();
    assert!(error.contains("peer0 is busy"), "{error}");
    let asked = mesh.busy.lock().unwrap()[&peer(0)];
    // Four at once, five times.
    assert!((5..=20).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_transfer_goes_on_after_a_restart() {
    let here = here();
    let mut mesh = Mesh::new(&[Manner::Honest; 2]);
    mesh.chunks_max = 4;
    let error = here.fetch(&mesh).await.unwrap_err();
    let FetchError::Peers(PeersError::Failed { failures, .. }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(failures.len(), 2);
    assert!(
        error
            .to_string()
            .contains("peer1 cannot be reached: connection closed"),
        "{error}"
    );
    assert!(here.store.get(&mesh.digest()).unwrap().is_none());
    let Here { dir, store } = here;
    drop(store);
    mesh.chunks_max = usize::MAX;
    let store = open(dir.path());
    let path = store
        .fetch_any(&[], Some(&mesh), &mesh.digest(), &silent())
        .await
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), mesh.body);
    assert_eq!(mesh.total(), CHUNKS, "no chunk came twice");
    assert_eq!(store.bytes_used(), u64::try_from(mesh.body.len()).unwrap());
}

#[tokio::test]
async fn when_all_fail_each_is_named() {
    let here = here();
    let mesh = Mesh::new(&[
        Manner::OutlineLiar(1),
        Manner::Slow,
        Manner::ChunkLiar,
        Manner::Absent,
    ]);
    let error = here.fetch(&mesh).await.unwrap_err().to_string();
    for line in [
        "peer0 gave a wrong outline",
        "peer1 took too long",
        "peer2 gave a chunk that does not fit the outline",
        "peer3 does not have it",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
    assert!(here.is_marked(0));
    // By an outline that nobody proved, nobody can be blamed for a chunk.
    assert!(!here.is_marked(2));
    let nobody = Mesh::new(&[]);
    let error = here.fetch(&nobody).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Peers(PeersError::Nobody { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn one_peer_is_enough() {
    let (here, mesh) = (here(), Mesh::new(&[Manner::Honest]));
    here.fetch(&mesh).await.unwrap();
    assert_eq!(mesh.given(0), [0, 1, 2, 3, 4, 5]);
    let empty = Mesh {
        body: Vec::new(),
        ..Mesh::new(&[Manner::Honest])
    };
    assert_eq!(fs::read(here.fetch(&empty).await.unwrap()).unwrap(), b"");
}

#[test]
fn names_are_short_and_visible() {
    assert_eq!(peer(1).to_string(), "peer1");
    let long = "p".repeat(129);
    for bad in ["", "a b", "a\n", "ü", &long] {
        assert!(bad.parse::<PeerName>().is_err(), "{bad:?}");
    }
}
