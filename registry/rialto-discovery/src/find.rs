//! Finding records: from memory, or by a lookup that asks, judges and stops when there are enough.
//!
//! Not here: choosing one of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout_at;

use crate::Key;
use crate::ask::{self, AskError, Said};
use crate::cache::Known;
use crate::context::Context;
use crate::counters::Count;
use crate::judge::{Judged, Subject};
use crate::lookup::{Lookup, Question};
use crate::scores::Fault;

/// A record that was judged good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record as its publisher signed it.
    pub bytes: Bytes,
    /// What the judge said of it.
    pub judged: Judged,
}

/// What was found under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Good records that have not ended: the newest of each subject.
    pub records: Vec<Record>,
    /// How many peers were asked; none where the answer was remembered.
    pub requests: usize,
    /// How many steps away the peer was that first had a record; 0 if nobody had to be asked, or had any.
    pub hops: u32,
    /// How many steps away the deepest of all was.
    pub depth: u32,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether this was remembered.
    pub cached: bool,
}

impl Found {
    fn remembered(records: Vec<Record>, begun: Instant) -> Self {
        Self {
            records,
            requests: 0,
            hops: 0,
            depth: 0,
            elapsed: begun.elapsed(),
            cached: true,
        }
    }
}

/// What a lookup asks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// What is remembered, if it is fresh.
    Memory,
    /// The network, whatever is remembered.
    Network,
}

impl Context {
    /// Finds at least `want` records of a key if there are so many, preferring memory.
    pub(crate) async fn find(self: &Arc<Self>, key: Key, want: usize) -> Found {
        let begun = Instant::now();
        let known = self.cache.lock().get(&key, want, self.now());
        match known {
            Known::Fresh(records) => {
                self.counters.one(Count::CacheHits);
                Found::remembered(records, begun)
            }
            Known::Stale(records) => {
                self.counters.one(Count::CacheStale);
                let context = Arc::clone(self);
                tokio::spawn(async move {
                    context.look(key, want, Ask::Network).await;
                    context.cache.lock().not_refreshed(&key);
                });
                Found::remembered(records, begun)
            }
            Known::Nothing => self.look(key, want, Ask::Memory).await,
        }
    }

    /// Looks in the network, one of a bounded number at a time, and remembers what is found.
    pub(crate) async fn look(&self, key: Key, want: usize, first: Ask) -> Found {
        let begun = Instant::now();
        // The semaphore is never closed; if it were, the lookup would only not be counted.
        let _turn = self.lookups.acquire().await;
        if first == Ask::Memory {
            // While this one waited another may have found it.
            let known = self.cache.lock().get(&key, want, self.now());
            if let Known::Fresh(records) = known {
                self.counters.one(Count::CacheHits);
                return Found::remembered(records, begun);
            }
        }
        self.counters.one(Count::Lookups);
        let mut walk = Walk::begin(self, key, want).await;
        walk.run().await;
        let was_answered = walk.answers > 0;
        let found = walk.finish(begun);
        self.counters
            .add(Count::LookupRequests, found.requests as u64);
        self.counters
            .add(Count::RecordsFound, found.records.len() as u64);
        if !found.records.is_empty() || was_answered {
            // A node that nobody answered has learnt nothing.
            self.cache
                .lock()
                .put(key, found.records.clone(), want, self.now());
        }
        found
    }
}

/// One lookup in the network.
struct Walk<'a> {
    context: &'a Context,
    key: Key,
    want: usize,
    lookup: Lookup,
    records: BTreeMap<Subject, Record>,
    hops: u32,
    /// How many peers gave a good answer.
    answers: usize,
}

impl<'a> Walk<'a> {
    async fn begin(context: &'a Context, key: Key, want: usize) -> Self {
        let seeds = context.nearest(key, context.local).await;
        let limit = context.config.limits.requests_per_lookup;
        let mut walk = Self {
            context,
            key,
            want,
            lookup: Lookup::new(context.local, &key, seeds, limit),
            records: BTreeMap::new(),
            hops: 0,
            answers: 0,
        };
        // What others registered here, and this node's own.
        let here = context
            .table
            .lock()
            .get(&key, want, context.now(), rand::random());
        walk.take(here, context.local);
        walk
    }

    async fn run(&mut self) {
        let deadline = tokio::time::Instant::now() + self.context.config.periods.lookup;
        let mut asking = FuturesUnordered::new();
        while self.records.len() < self.want {
            while let Some(question) = self.lookup.next() {
                asking.push(ask_one(self.context, self.key, question));
            }
            let Ok(Some((question, said))) = timeout_at(deadline, asking.next()).await else {
                return;
            };
            self.answered(&question, said);
        }
    }

    fn answered(&mut self, question: &Question, said: Result<Said, AskError>) {
        let peer = question.contact.peer;
        match said {
            Ok(Said::Found { records, closer }) => {
                let count = records.len();
                match self.take(records, peer) {
                    Some(new) => {
                        self.answers += 1;
                        if new > 0 && self.hops == 0 {
                            self.hops = question.depth;
                        }
                        self.lookup.answered(question, count, new, closer);
                    }
                    None => self.lookup.failed(question),
                }
            }
            Ok(Said::Later(_) | Said::Done | Said::Refused(_)) => self.lookup.failed(question),
            Err(error) => {
                self.context.counters.one(Count::LookupFailures);
                tracing::trace!(%peer, %error, "asked in vain");
                self.lookup.failed(question);
            }
        }
    }

    /// Takes the good ones of a peer's records and returns how many subjects are new; nothing if one of
    /// the records shows that the peer is not honest.
    fn take(&mut self, records: Vec<Bytes>, from: libp2p::PeerId) -> Option<usize> {
        let mut good = Vec::new();
        for bytes in records.into_iter().take(RECORDS_PER_ANSWER) {
            match self.context.judge(&bytes, from) {
                Ok(judged) if judged.belongs_to(&self.key) => good.push(Record {
                    // A slice would keep the whole reply it came in.
                    bytes: Bytes::copy_from_slice(&bytes),
                    judged,
                }),
                Ok(_) => {
                    self.context.counters.one(Count::RecordsRefused);
                    self.context.fault(from, Fault::BadRecord);
                    return None;
                }
                // Clocks differ, and what can be known of a record too.
                Err(
                    crate::Refusal::Expired | crate::Refusal::Stale | crate::Refusal::Unavailable,
                ) => {
                    self.context.counters.one(Count::RecordsRefused);
                }
                Err(refusal) => {
                    self.context.fault_of(from, refusal);
                    return None;
                }
            }
        }
        let mut new = 0;
        for record in good {
            let known = self.records.get(&record.judged.subject);
            new += usize::from(known.is_none());
            if known.is_none_or(|known| known.judged.seq < record.judged.seq) {
                self.records.insert(record.judged.subject, record);
            }
        }
        Some(new)
    }

    fn finish(self, begun: Instant) -> Found {
        Found {
            records: self.records.into_values().collect(),
            requests: self.lookup.requests(),
            hops: self.hops,
            depth: self.lookup.depth(),
            elapsed: begun.elapsed(),
            cached: false,
        }
    }
}

async fn ask_one(
    context: &Context,
    key: Key,
    question: Question,
) -> (Question, Result<Said, AskError>) {
    let said = context
        .ask(&question.contact, ask::lookup(&key, RECORDS_PER_ANSWER))
        .await;
    (question, said)
}

/// How many records of one answer count.
const RECORDS_PER_ANSWER: usize = 20;
