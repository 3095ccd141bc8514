//! One attempt to get all chunks of one outline.
//!
//! Chunks wait in one queue; whoever is free takes the next, so fast peers give more. A peer that fails
//! is asked again once at most, if others do no better; its chunk goes back to the queue's front. Not
//! here: judging an outline's givers.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use rialto_registry::{Digest, Outline};
use tokio::{task::spawn_blocking, time::timeout};

use super::{Candidate, PeerFailure, PeerName, Peers, chunked::Chunked};
use crate::{
    FetchError, ProgressFn, PutError, Store,
    fetch::{blocking, panicked},
    remote::Report,
};

/// A transfer under way.
pub(super) struct Transfer<'a> {
    peers: &'a dyn Peers,
    digest: &'a Digest,
    outline: Arc<Outline>,
    store: &'a Store,
    queue: VecDeque<u32>,
    helpers: Vec<Helper>,
    wrong_chunks: Vec<PeerName>,
    /// `None` while a chunk is being written.
    chunked: Option<Chunked>,
    report: Report,
}

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Done {
    /// The artifact is in the store, so the outline is proven.
    Right { wrong_chunks: Vec<PeerName> },
    /// All chunks fit the outline, and the whole is something else.
    Wrong,
    /// Nobody is left to ask.
    Incomplete,
}

/// A peer that gives chunks.
#[derive(Debug)]
struct Helper {
    name: PeerName,
    in_flight: usize,
    failures: u32,
    gone: bool,
}

/// A chunk as it came, or why it did not. The number is the helper's.
type Came = (usize, u32, Result<Bytes, PeerFailure>);

impl<'a> Transfer<'a> {
    pub(super) async fn begin(
        store: &'a Store,
        peers: &'a dyn Peers,
        digest: &'a Digest,
        candidate: &Candidate,
        progress: &ProgressFn,
    ) -> Result<Self, FetchError> {
        let folder = Arc::clone(&store.inner.folder);
        let (wanted, outline) = (*digest, candidate.outline.clone());
        let opened = spawn_blocking(move || Chunked::open(&folder, &wanted, &outline));
        let chunked = put(opened.await)?;
        let helpers = candidate.givers.iter().chain(&candidate.silent);
        let helpers: Vec<Helper> = helpers.cloned().map(Helper::new).collect();
        let report = Report {
            progress: Arc::clone(progress),
            bytes_total: Some(candidate.outline.bytes()),
            message: format!("fetching from {} peers", helpers.len()),
        };
        report.send(chunked.bytes());
        Ok(Self {
            peers,
            digest,
            outline: Arc::new(candidate.outline.clone()),
            store,
            queue: chunked.missing().into(),
            helpers,
            wrong_chunks: Vec::new(),
            chunked: Some(chunked),
            report,
        })
    }

    /// Gets what is missing and judges the whole. Adds to `failures` who failed how.
    pub(super) async fn run(
        mut self,
        failures: &mut Vec<(PeerName, PeerFailure)>,
    ) -> Result<Done, FetchError> {
        let mut waiting: FuturesUnordered<BoxFuture<'a, Came>> = FuturesUnordered::new();
        loop {
            while waiting.len() < CHUNKS_AT_ONCE {
                let Some(asked) = self.ask_next() else {
                    break;
                };
                waiting.push(asked);
            }
            let Some((helper, index, came)) = waiting.next().await else {
                break;
            };
            if let Some(helper) = self.helpers.get_mut(helper) {
                helper.in_flight = helper.in_flight.saturating_sub(1);
            }
            match came {
                Ok(chunk) => self.keep(index, chunk).await?,
                Err(failure) => self.give_back(helper, index, failure, failures),
            }
        }
        if !self.queue.is_empty() {
            return Ok(Done::Incomplete);
        }
        self.judge().await
    }

    /// Asks the least busy helper for the next chunk.
    fn ask_next(&mut self) -> Option<BoxFuture<'a, Came>> {
        let free = |helper: &&mut (usize, &mut Helper)| {
            !helper.1.gone && helper.1.in_flight < CHUNKS_AT_ONCE_A_PEER
        };
        self.queue.front()?;
        let mut helpers: Vec<(usize, &mut Helper)> = self.helpers.iter_mut().enumerate().collect();
        let (at, helper) = helpers
            .iter_mut()
            .filter(free)
            .min_by_key(|(_, helper)| (helper.failures, helper.in_flight))?;
        helper.in_flight += 1;
        let index = self.queue.pop_front()?;
        let (at, name) = (*at, helper.name.clone());
        let (peers, digest) = (self.peers, self.digest);
        let (outline, time_max) = (Arc::clone(&self.outline), self.store.chunk_time_max());
        Some(Box::pin(async move {
            let asked = timeout(time_max, peers.chunk(&name, digest, index)).await;
            let came = match asked {
                Err(_) => Err(PeerFailure::Slow),
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(chunk)) => check(&outline, index, chunk).await,
            };
            (at, index, came)
        }))
    }

    async fn keep(&mut self, index: u32, chunk: Bytes) -> Result<(), FetchError> {
        let Some(mut chunked) = self.chunked.take() else {
            return Ok(());
        };
        let written = spawn_blocking(move || {
            chunked.write(index, &chunk)?;
            Ok(chunked)
        });
        let chunked = put(written.await)?;
        self.report.send(chunked.bytes());
        self.chunked = Some(chunked);
        Ok(())
    }

    fn give_back(
        &mut self,
        helper: usize,
        index: u32,
        failure: PeerFailure,
        failures: &mut Vec<(PeerName, PeerFailure)>,
    ) {
        self.queue.push_front(index);
        let Some(helper) = self.helpers.get_mut(helper) else {
            return;
        };
        helper.failures += 1;
        let wrong = failure == PeerFailure::WrongChunk;
        if wrong && !self.wrong_chunks.contains(&helper.name) {
            self.wrong_chunks.push(helper.name.clone());
        }
        if !helper.gone && (wrong || helper.failures >= FAILURES_MAX) {
            helper.gone = true;
            failures.push((helper.name.clone(), failure));
        }
    }

    async fn judge(self) -> Result<Done, FetchError> {
        let Some(chunked) = self.chunked else {
            return Ok(Done::Incomplete);
        };
        let right = blocking("peers", move || {
            chunked.finish().map_err(|source| FetchError::Put {
                from: "the chunks of peers".to_owned(),
                source,
            })
        })
        .await?;
        Ok(if right {
            Done::Right {
                wrong_chunks: self.wrong_chunks,
            }
        } else {
            Done::Wrong
        })
    }
}

impl Helper {
    fn new(name: PeerName) -> Self {
        Self {
            name,
            in_flight: 0,
            failures: 0,
            gone: false,
        }
    }
}

/// Hashes a chunk off the runtime's threads.
async fn check(outline: &Arc<Outline>, index: u32, chunk: Bytes) -> Result<Bytes, PeerFailure> {
    let outline = Arc::clone(outline);
    let checked = spawn_blocking(move || outline.fits(index, &chunk).then_some(chunk));
    match checked.await {
        Ok(Some(chunk)) => Ok(chunk),
        // A chunk that could not be hashed is as good as none.
        Ok(None) | Err(_) => Err(PeerFailure::WrongChunk),
    }
}

fn put<T>(done: Result<Result<T, PutError>, tokio::task::JoinError>) -> Result<T, FetchError> {
    done.map_err(|error| panicked("peers", error))?
        .map_err(|source| FetchError::Put {
            from: "the chunks of peers".to_owned(),
            source,
        })
}

/// The most chunks that are asked for at once, of all peers: what may be in memory.
const CHUNKS_AT_ONCE: usize = 8;
/// The most that one peer is asked for at once.
const CHUNKS_AT_ONCE_A_PEER: usize = 2;
/// How often one peer may fail in one attempt before it is left alone.
const FAILURES_MAX: u32 = 2;
