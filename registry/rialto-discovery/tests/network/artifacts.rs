//! Parts of artifacts from several peers, checked as they come.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rialto_discovery::simulation::{Node, PlainJudge, Simulation};
use rialto_discovery::{Blobs, CHUNK_BYTES, Config, Discovery, FetchError, Outline, Protocol};
use rialto_registry::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::swarms::{LIMIT, waits};

/// One artifact in memory, or what a liar says of it.
#[derive(Debug)]
struct One {
    bytes: Bytes,
    lies: bool,
}

impl One {
    fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

impl Blobs for One {
    fn outline(&self, digest: &Digest) -> Option<Outline> {
        let chunks = self.bytes.chunks(CHUNK_BYTES).map(Digest::of).collect();
        let size = self.bytes.len() as u64 + u64::from(self.lies) * (1 << 30);
        (*digest == self.digest()).then_some(Outline { size, chunks })
    }

    fn chunk(&self, digest: &Digest, index: u32) -> Option<Bytes> {
        let start = index as usize * CHUNK_BYTES;
        if *digest != self.digest() || start >= self.bytes.len() {
            return None;
        }
        let end = (start + CHUNK_BYTES).min(self.bytes.len());
        Some(if self.lies {
            vec![0; 100].into()
        } else {
            self.bytes.slice(start..end)
        })
    }
}

fn start(config: Config, bytes: &Bytes, lies: bool) -> Node {
    let blobs = Arc::new(One {
        bytes: bytes.clone(),
        lies,
    });
    Discovery::start(config, Arc::new(PlainJudge), blobs)
        .unwrap()
        .into()
}

fn artifact() -> Bytes {
    (0..3 * CHUNK_BYTES + 777)
        .map(|index| u8::try_from(index % 251).unwrap())
        .collect()
}

async fn providers(change: impl Fn(&mut Config)) -> (Simulation, Node) {
    let mut swarm = Simulation::new(17);
    let bytes = artifact();
    for lies in [false, false, true] {
        let mut config = swarm.config();
        change(&mut config);
        let node = start(config, &bytes, lies);
        waits(&node.discovery, |node| !node.listening().is_empty()).await;
        swarm.nodes_mut().push(node);
    }
    let config = swarm.config();
    let consumer = Node::start(config).unwrap();
    waits(&consumer.discovery, |node| {
        node.snapshot().levels.routing >= 3
    })
    .await;
    (swarm, consumer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_come_from_two_peers_and_make_the_whole() {
    let (swarm, consumer) = providers(|_| {}).await;
    let digest = Digest::of(&artifact());
    for node in &swarm.nodes()[..2] {
        node.discovery.provide_artifact(&digest).await.unwrap();
    }
    let finding = async {
        loop {
            let found = consumer.discovery.artifact_providers(&digest).await;
            if found.len() >= 2 {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(LIMIT, finding).await.unwrap();
    let outline = consumer
        .discovery
        .artifact_outline(found[0], &digest)
        .await
        .unwrap();
    assert_eq!(outline.chunks.len(), 4);
    assert_eq!(
        consumer
            .discovery
            .artifact_size(found[1], &digest)
            .await
            .unwrap(),
        outline.size
    );
    let chunks = outline.chunks.iter().enumerate().map(|(index, expected)| {
        let peer = found[index % 2];
        let index = u32::try_from(index).unwrap();
        consumer
            .discovery
            .artifact_chunk(peer, &digest, index, Some(*expected))
    });
    let chunks = futures_util::future::try_join_all(chunks).await.unwrap();
    assert_eq!(Digest::of(&chunks.concat()), digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_chunk_is_refused_and_held_against_its_sender() {
    let (swarm, consumer) = providers(|_| {}).await;
    let digest = Digest::of(&artifact());
    let (honest, liar) = (
        swarm.nodes()[0].discovery.peer(),
        swarm.nodes()[2].discovery.peer(),
    );
    let outline = consumer
        .discovery
        .artifact_outline(honest, &digest)
        .await
        .unwrap();
    let wrong = consumer.discovery.artifact_outline(liar, &digest).await;
    // A chunk that is missing, or an outline that contradicts itself.
    assert!(
        matches!(wrong, Err(FetchError::NotThere | FetchError::Wrong)),
        "{wrong:?}"
    );
    for _ in 0..3 {
        let chunk = consumer
            .discovery
            .artifact_chunk(liar, &digest, 0, Some(outline.chunks[0]));
        let error = chunk.await.unwrap_err();
        assert!(
            matches!(error, FetchError::Wrong | FetchError::Open(_)),
            "{error}"
        );
    }
    assert_eq!(consumer.discovery.snapshot().levels.banned, 1);
    let right = consumer
        .discovery
        .artifact_chunk(honest, &digest, 3, Some(outline.chunks[3]));
    assert_eq!(right.await.unwrap().len(), 777);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_asked_too_often_is_refused() {
    let (swarm, consumer) = providers(|config| config.limits.artifacts_per_peer.burst = 4).await;
    let peer = swarm.nodes()[0].discovery.peer();
    let (digest, other) = (Digest::of(&artifact()), Digest::of(b"other"));
    let consumer = &consumer.discovery;
    let error = consumer.artifact_outline(peer, &other).await.unwrap_err();
    assert!(matches!(error, FetchError::NotThere), "{error}");
    let error = consumer
        .artifact_chunk(peer, &digest, 4, None)
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::NotThere), "{error}");
    let (mut done, mut later) = (0, 0);
    let asks = (0..40).map(|_| consumer.artifact_size(peer, &digest));
    for result in futures_util::future::join_all(asks).await {
        match result {
            Ok(_) => done += 1,
            Err(FetchError::ComeAgain { seconds }) => later += usize::from(seconds >= 1),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(done + later, 40);
    assert!(done >= 2);
}

/// A question for a part, as another implementation would write it.
#[derive(Clone, PartialEq, Message)]
struct Part {
    #[prost(bytes = "vec", tag = "1")]
    digest: Vec<u8>,
    #[prost(uint32, tag = "2")]
    kind: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slow_reader_has_not_taken_still_counts() {
    let (mut swarm, consumer) = providers(|config| config.limits.artifact_reads = 1).await;
    let config = swarm.config();
    let slow = Node::start(config).unwrap().discovery;
    let (peer, digest) = (swarm.nodes()[0].discovery.peer(), Digest::of(&artifact()));
    waits(&slow, |node| node.snapshot().levels.peers >= 1).await;
    let mut stream = slow.open(peer, Protocol::Artifact).await.unwrap();
    let chunk = Part {
        digest: digest.as_bytes().to_vec(),
        kind: 2,
    };
    let asked = chunk.encode_length_delimited_to_vec();
    stream.write_all(&asked).await.unwrap();
    stream.flush().await.unwrap();
    // It begins to come, and more than a window of it waits at the other end.
    stream.read_u8().await.unwrap();
    let size = consumer.discovery.artifact_size(peer, &digest).await;
    assert!(
        matches!(size, Err(FetchError::ComeAgain { .. })),
        "{size:?}"
    );
    drop(stream);
    let again = async {
        while consumer
            .discovery
            .artifact_size(peer, &digest)
            .await
            .is_err()
        {}
    };
    tokio::time::timeout(LIMIT, again).await.unwrap();
}
