//! One attempt to get all chunks of one outline.
//!
//! Chunks wait in one queue; whoever is free takes the next, so fast peers give more. A peer that fails
//! is asked again once at most, if others do no better; its chunk goes back to the queue's front. A peer
//! that is busy rests for a while, longer from time to time. Not here: judging an outline's givers.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use rialto_registry::{Digest, Outline};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{Candidate, PeerError, PeerFailure, PeerName, Peers, chunked::Chunked};
use crate::{
    Config, FetchError, ProgressFn, PutError, Store,
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
    /// Chunks that came, of all peers.
    given: u64,
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
    /// The time for this outline is over.
    Late,
}

/// A peer that gives chunks.
#[derive(Debug)]
struct Helper {
    name: PeerName,
    in_flight: usize,
    failures: u32,
    /// How often it was busy since anybody gave a chunk.
    busy: u32,
    /// [`Transfer::given`] when it was busy last.
    given: u64,
    rests: bool,
    gone: bool,
}

/// What became of a helper.
enum Came {
    /// It gave a chunk, or failed to.
    Chunk(u32, Result<Bytes, PeerFailure>),
    /// It has rested.
    Rested,
}

/// The number is the helper's.
type Coming<'a> = BoxFuture<'a, (usize, Came)>;

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
            given: 0,
            chunked: Some(chunked),
            report,
        })
    }

    /// Gets what is missing by `until` and judges the whole. Adds to `failures` who failed how.
    pub(super) async fn run(
        mut self,
        until: Instant,
        failures: &mut Vec<(PeerName, PeerFailure)>,
    ) -> Result<Done, FetchError> {
        let mut waiting: FuturesUnordered<Coming<'a>> = FuturesUnordered::new();
        let mut came = VecDeque::new();
        loop {
            while let Some(asked) = self.ask_next() {
                waiting.push(asked);
            }
            // Who rests is not waited for when nothing is left to ask for.
            if self.queue.is_empty() && self.in_flight() == 0 {
                break;
            }
            if came.is_empty() {
                // Between chunks, so that none is cut off while it is written.
                let Ok(first) = timeout_at(until, waiting.next()).await else {
                    return Ok(Done::Late);
                };
                came.extend(first);
            }
            match came.pop_front() {
                None => break,
                Some((helper, Came::Rested)) => self.rested(helper),
                Some((helper, Came::Chunk(index, got))) => {
                    self.came_back(helper);
                    match got {
                        Ok(chunk) => {
                            waiting.extend(self.ask_next());
                            let kept = self.keep(helper, index, chunk);
                            meanwhile(kept, &mut waiting, &mut came).await?;
                        }
                        Err(failure) => {
                            waiting.extend(self.give_back(helper, index, failure, failures));
                        }
                    }
                }
            }
        }
        if !self.queue.is_empty() {
            return Ok(Done::Incomplete);
        }
        self.judge().await
    }

    fn in_flight(&self) -> usize {
        self.helpers.iter().map(|helper| helper.in_flight).sum()
    }

    fn rested(&mut self, helper: usize) {
        if let Some(helper) = self.helpers.get_mut(helper) {
            helper.rests = false;
        }
    }

    fn came_back(&mut self, helper: usize) {
        if let Some(helper) = self.helpers.get_mut(helper) {
            helper.in_flight = helper.in_flight.saturating_sub(1);
        }
    }

    /// Asks the least busy helper for the next chunk, if so few are asked for that one more may be.
    fn ask_next(&mut self) -> Option<Coming<'a>> {
        if self.in_flight() >= CHUNKS_AT_ONCE {
            return None;
        }
        let free = |helper: &&mut (usize, &mut Helper)| {
            let helper = &helper.1;
            !helper.gone && !helper.rests && helper.in_flight < CHUNKS_AT_ONCE_A_PEER
        };
        self.queue.front()?;
        let mut helpers: Vec<(usize, &mut Helper)> = self.helpers.iter_mut().enumerate().collect();
        let (at, helper) = helpers
            .iter_mut()
            .filter(free)
            .min_by_key(|(_, helper)| (helper.failures, helper.busy, helper.in_flight))?;
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
            (at, Came::Chunk(index, came))
        }))
    }

    async fn keep(&mut self, helper: usize, index: u32, chunk: Bytes) -> Result<(), FetchError> {
        self.given += 1;
        if let Some(helper) = self.helpers.get_mut(helper) {
            helper.busy = 0;
        }
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

    /// Takes a chunk back that did not come, and says when its helper has rested if it is busy.
    fn give_back(
        &mut self,
        at: usize,
        index: u32,
        failure: PeerFailure,
        failures: &mut Vec<(PeerName, PeerFailure)>,
    ) -> Option<Coming<'a>> {
        self.queue.push_front(index);
        let given = self.given;
        let config = &self.store.inner.config;
        let helper = self.helpers.get_mut(at)?;
        if failure == PeerFailure::Error(PeerError::Busy) {
            // What it was asked for besides says nothing new.
            if helper.rests || helper.gone {
                return None;
            }
            // While chunks come, from it or from others, nobody waits for it in vain.
            helper.busy = if helper.given == given {
                helper.busy + 1
            } else {
                1
            };
            helper.given = given;
            if helper.busy <= config.retries_max {
                helper.rests = true;
                let pause = busy_pause(config, helper.busy);
                return Some(Box::pin(async move {
                    sleep(pause).await;
                    (at, Came::Rested)
                }));
            }
        } else {
            helper.failures += 1;
        }
        let wrong = failure == PeerFailure::WrongChunk;
        if wrong && !self.wrong_chunks.contains(&helper.name) {
            self.wrong_chunks.push(helper.name.clone());
        }
        let over = wrong || helper.failures >= FAILURES_MAX || helper.busy > config.retries_max;
        if over && !helper.gone {
            helper.gone = true;
            failures.push((helper.name.clone(), failure));
        }
        None
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
            busy: 0,
            given: 0,
            rests: false,
            gone: false,
        }
    }
}

/// How long a peer that is busy for the `times`th time is left alone.
pub(super) fn busy_pause(config: &Config, times: u32) -> Duration {
    let doubled = 1 << times.saturating_sub(1).min(6);
    config.retry_pause.saturating_mul(doubled)
}

/// Hashes a chunk off the runtime's threads. A chunk of another length than its place's is none,
/// whatever digest the outline claims for it: it would be written over its neighbours.
async fn check(outline: &Arc<Outline>, index: u32, chunk: Bytes) -> Result<Bytes, PeerFailure> {
    let outline = Arc::clone(outline);
    let long = u64::try_from(chunk.len()).ok();
    if outline.place(index).map(|(_, length)| length) != long {
        return Err(PeerFailure::WrongChunk);
    }
    let checked = spawn_blocking(move || outline.fits(index, &chunk).then_some(chunk));
    match checked.await {
        Ok(Some(chunk)) => Ok(chunk),
        // A chunk that could not be hashed is as good as none.
        Ok(None) | Err(_) => Err(PeerFailure::WrongChunk),
    }
}

/// Waits for a chunk to be written, while others come in: connections that nobody reads would stand still.
async fn meanwhile<'a, T>(
    writing: impl Future<Output = T>,
    waiting: &mut FuturesUnordered<Coming<'a>>,
    came: &mut VecDeque<(usize, Came)>,
) -> T {
    let mut writing = pin!(writing);
    loop {
        tokio::select! {
            biased;
            written = &mut writing => return written,
            Some(next) = waiting.next() => came.push_back(next),
        }
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
/// The most that one peer is asked for at once: half of what it reads for anybody.
const CHUNKS_AT_ONCE_A_PEER: usize = 4;
/// How often one peer may fail in one attempt before it is left alone.
const FAILURES_MAX: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunk_is_as_long_as_its_place() {
        let (claimed, long) = (vec![1; 5], vec![1; 9]);
        for (body, fits) in [(claimed, true), (long, false)] {
            // The digest is right in both cases.
            let outline = Arc::new(Outline::new(5, vec![Digest::of(&body)]).unwrap());
            let checked = check(&outline, 0, body.into()).await;
            assert_eq!(checked.is_ok(), fits, "{checked:?}");
        }
    }
}
