//! Parts of artifacts between peers, by `/rialto/artifact/1`.
//!
//! One question a stream, written whole before the answer is read. A chunk is checked against the
//! outline, and the outline's own truth is the artifact's digest, which only who has all can check.
//!
//! Not here: which peer to ask for what, and putting artifacts together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libp2p::PeerId;
use rialto_registry::Digest;
use tokio::time::timeout;

use crate::admission::Asked;
use crate::context::Context;
use crate::counters::Count;
use crate::judge::{CHUNK_BYTES, CHUNKS_MAX, Outline};
use crate::prefix::Prefix;
use crate::scores::Fault;
use crate::streams::{OpenError, Pass, Protocol, Stream};
use crate::wire::{self, Part, PartReply, code, part};

/// Why a part of an artifact did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer cannot be asked.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The connection broke.
    #[error("the connection to the peer broke")]
    Broken(#[source] io::Error),
    /// The peer did not answer in time.
    #[error("the peer did not answer in time")]
    Late,
    /// The peer does not have it.
    #[error("the peer does not have this artifact")]
    NotThere,
    /// The peer asks to come again later.
    #[error("the peer asks to come again in {seconds} s")]
    ComeAgain {
        /// In how many seconds.
        seconds: u32,
    },
    /// What the peer sent is not what was asked for: its fault, and held against it.
    #[error("the peer sent something else")]
    Wrong,
}

/// Answers one question.
pub(crate) async fn serve(
    context: &Context,
    peer: PeerId,
    network: Option<Prefix>,
    mut stream: Stream,
) {
    let serving = async {
        let part = wire::read::<Part>(&mut stream, wire::PART_BYTES_MAX).await?;
        if let Err(limited) = context.admit(Asked::Artifact, peer, network) {
            return wire::write_part(&mut stream, refusal(code::LATER, limited.seconds())).await;
        }
        // Held until the answer is written: a slow reader would else keep any number in memory.
        let Some(turn) = context.reads.enter(peer, network, READ_WAIT).await else {
            context.counters.one(Count::RequestsLimited);
            return wire::write_part(&mut stream, refusal(code::LATER, 1)).await;
        };
        let (reply, _turn) = answer(context, peer, &part, turn).await;
        wire::write_part(&mut stream, reply).await
    };
    match timeout(
        context.config.periods.request.saturating_mul(SLOWNESS),
        serving,
    )
    .await
    {
        Ok(Ok(())) => context.counters.one(Count::PartsServed),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            context.fault(peer, Fault::BadMessage);
        }
        // A connection that broke, or a peer that was slow, is nobody's fault.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Reads what was asked for, and gives the turn back with it: the reading itself goes on when nobody
/// waits for it any more.
async fn answer(
    context: &Context,
    peer: PeerId,
    asked: &Part,
    turn: Pass,
) -> (PartReply, Option<Pass>) {
    let Ok(digest) = <[u8; 32]>::try_from(&asked.digest[..]).map(Digest::new) else {
        context.fault(peer, Fault::BadMessage);
        return (refusal(code::MALFORMED, 0), Some(turn));
    };
    let (blobs, kind, index) = (Arc::clone(&context.blobs), asked.kind, asked.index);
    let reading = tokio::task::spawn_blocking(move || {
        let found = match kind {
            part::SIZE => blobs
                .outline(&digest)
                .map(|outline| (outline.size, Bytes::new())),
            part::OUTLINE => blobs
                .outline(&digest)
                .filter(Outline::is_consistent)
                .map(flatten),
            part::CHUNK => blobs
                .chunk(&digest, index)
                .map(|chunk| (chunk.len() as u64, chunk)),
            _ => None,
        };
        (found, turn)
    });
    // A store that panicked has nothing for anybody.
    let (found, turn) = reading
        .await
        .map_or((None, None), |(found, turn)| (found, Some(turn)));
    let reply = found.map_or_else(
        || refusal(code::NOT_HERE, 0),
        |(size, data)| PartReply {
            code: code::OK,
            size,
            data,
        },
    );
    (reply, turn)
}

fn flatten(outline: Outline) -> (u64, Bytes) {
    let digests = outline.chunks.iter().flat_map(|digest| *digest.as_bytes());
    (outline.size, digests.collect())
}

fn refusal(code: u32, seconds: u32) -> PartReply {
    PartReply {
        code,
        size: seconds.into(),
        data: Bytes::new(),
    }
}

impl Context {
    /// Asks a peer for an artifact's outline.
    pub(crate) async fn outline(
        &self,
        peer: PeerId,
        digest: &Digest,
    ) -> Result<Outline, FetchError> {
        let reply = self.part(peer, digest, part::OUTLINE, 0).await?;
        let (chunks, rest) = reply.data.as_chunks::<32>();
        let outline = Outline {
            size: reply.size,
            chunks: chunks
                .iter()
                .take(CHUNKS_MAX)
                .map(|chunk| Digest::new(*chunk))
                .collect(),
        };
        if rest.is_empty() && outline.is_consistent() {
            Ok(outline)
        } else {
            self.fault(peer, Fault::BadMessage);
            Err(FetchError::Wrong)
        }
    }

    /// Asks a peer for one chunk.
    pub(crate) async fn chunk(
        &self,
        peer: PeerId,
        digest: &Digest,
        index: u32,
        expected: Option<Digest>,
    ) -> Result<Bytes, FetchError> {
        let reply = self.part(peer, digest, part::CHUNK, index).await?;
        let right = expected.is_none_or(|expected| Digest::of(&reply.data) == expected);
        if reply.data.len() <= CHUNK_BYTES && right {
            self.counters.one(Count::PartsFetched);
            Ok(reply.data)
        } else {
            self.fault(peer, Fault::BadRecord);
            Err(FetchError::Wrong)
        }
    }

    /// Asks a peer for an artifact's length.
    pub(crate) async fn size(&self, peer: PeerId, digest: &Digest) -> Result<u64, FetchError> {
        Ok(self.part(peer, digest, part::SIZE, 0).await?.size)
    }

    async fn part(
        &self,
        peer: PeerId,
        digest: &Digest,
        kind: u32,
        index: u32,
    ) -> Result<PartReply, FetchError> {
        let asked = Part {
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            kind,
            index,
        };
        let asking = async {
            let mut stream = self.reach(peer, Protocol::Artifact).await?;
            wire::write(&mut stream, &asked)
                .await
                .map_err(FetchError::Broken)?;
            let limit = if kind == part::CHUNK {
                CHUNK_REPLY_MAX
            } else {
                wire::PART_REPLY_BYTES_MAX
            };
            let reply = wire::read::<PartReply>(&mut stream, limit).await;
            reply.map_err(|error| {
                if error.kind() == io::ErrorKind::InvalidData {
                    FetchError::Wrong
                } else {
                    FetchError::Broken(error)
                }
            })
        };
        let limit = self.config.periods.request.saturating_mul(SLOWNESS);
        let reply = timeout(limit, asking).await.map_err(|_| FetchError::Late)?;
        if matches!(reply, Err(FetchError::Wrong)) {
            self.fault(peer, Fault::BadMessage);
        }
        let reply = reply?;
        match reply.code {
            code::OK => Ok(reply),
            code::LATER => Err(FetchError::ComeAgain {
                seconds: u32::try_from(reply.size).unwrap_or(u32::MAX),
            }),
            _ => Err(FetchError::NotThere),
        }
    }
}

/// How long a question waits for its turn to be answered.
const READ_WAIT: Duration = Duration::from_secs(2);
/// How much longer than a request a chunk may take.
const SLOWNESS: u32 = 6;
/// The longest answer with a chunk.
const CHUNK_REPLY_MAX: usize = CHUNK_BYTES + 64;
