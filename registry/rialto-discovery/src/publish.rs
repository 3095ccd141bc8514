//! Publishing: registering a record at the peers nearest to each of its keys, and again in time.
//!
//! Not here: making records; their publisher is told when a new one is due.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::MissedTickBehavior;

use crate::ask::{self, AskError, Said};
use crate::context::{Command, Context};
use crate::counters::Count;
use crate::judge::{Judged, KEYS_MAX, Refusal, Subject};
use crate::lookup::Contact;
use crate::retries::{Retry, What};
use crate::shelf::NotShelved;
use crate::table::Entry;
use crate::wire::Ask;
use crate::{Event, Key, PeerKey};

/// How a record was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whose record it is.
    pub subject: Subject,
    /// What became of each key. The last is the peer's own.
    pub keys: Vec<Placed>,
}

impl Published {
    /// How many peers keep it under the key that the fewest keep it under.
    #[must_use]
    pub fn stored_least(&self) -> usize {
        self.keys
            .iter()
            .map(|placed| placed.stored)
            .min()
            .unwrap_or(0)
    }
}

/// What became of a record under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The key.
    pub key: Key,
    /// How many peers keep it.
    pub stored: usize,
    /// How many asked to come again later.
    pub later: usize,
    /// How many refused it.
    pub refused: usize,
    /// How many did not answer.
    pub silent: usize,
    /// The longest wait that was asked for, in seconds. Those peers are asked again then.
    pub later_s: u32,
}

/// Why a record is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is not good: our own fault.
    #[error("this node's own record is refused")]
    Refused(#[from] Refusal),
    /// It is another peer's.
    #[error("the record is signed by {0}; a peer publishes only its own")]
    NotOurs(PeerKey),
    /// It has no keys, or too many.
    #[error("the record has {0} keys; give it 1 to {KEYS_MAX}")]
    Keys(usize),
    /// This node publishes as much as it may.
    #[error("too many published records; withdraw some or raise the limit")]
    Full,
    /// A newer record of the subject is published already.
    #[error("a newer record of the same subject is published already; raise its number")]
    Stale,
}

impl Context {
    /// Publishes a record of this peer, and keeps it published until it ends.
    pub(crate) async fn publish(&self, bytes: Bytes) -> Result<Published, PublishError> {
        let judged = self.judge(&bytes, self.local)?;
        if judged.publisher.id() != self.local {
            return Err(PublishError::NotOurs(judged.publisher));
        }
        let count = judged.keys.len();
        if count == 0 || count > KEYS_MAX {
            return Err(PublishError::Keys(count));
        }
        let (keys, periods, now) = (judged.all_keys(), self.config.periods, self.now());
        let put = self.shelf.lock().put(
            bytes.clone(),
            judged.clone(),
            now,
            jittered(periods.refresh),
            jittered(periods.pointer_refresh),
        );
        put.map_err(|not| match not {
            NotShelved::Full => PublishError::Full,
            NotShelved::Stale => PublishError::Stale,
        })?;
        for key in &keys {
            self.keep_own(key, &bytes, &judged);
            self.cache.lock().forget(key);
        }
        for key in &keys {
            // A node that is stopping publishes nothing, which shows below.
            let _ = self.command(Command::Provide { key: *key }).await;
        }
        Ok(self.place_all(&bytes, &judged).await)
    }

    /// Leaves a provider pointer under a key, and keeps it there.
    pub(crate) async fn provide(&self, key: Key) -> Result<(), PublishError> {
        let after = jittered(self.config.periods.pointer_refresh);
        let put = self.shelf.lock().point(key, self.now(), after);
        put.map_err(|_| PublishError::Full)?;
        // A node that is stopping provides nothing any more.
        let _ = self.command(Command::Provide { key }).await;
        Ok(())
    }

    /// Takes what this peer has under a key out again, here and at the peers nearest to it. Returns how
    /// many of them said that it is done.
    pub(crate) async fn withdraw(&self, key: Key) -> usize {
        self.shelf.lock().withdraw(&key);
        self.table.lock().remove_own(&key);
        self.cache.lock().forget(&key);
        let _ = self.command(Command::Unprovide { key }).await;
        let closest = self.closest(key.as_bytes().to_vec()).await;
        stream::iter(closest.into_iter().take(REPLICAS))
            .map(|contact| {
                let retry = Retry {
                    key,
                    contact,
                    what: What::Withdraw,
                    tries: 0,
                };
                async move { self.ask_to_keep(retry, ask::withdraw(&key)).await }
            })
            .buffer_unordered(ASKED_AT_ONCE)
            .filter(|said| std::future::ready(matches!(said, Ok(Said::Done))))
            .count()
            .await
    }

    fn keep_own(&self, key: &Key, bytes: &Bytes, judged: &Judged) {
        let entry = Entry {
            subject: judged.subject,
            publisher: self.local,
            prefix: None,
            seq: judged.seq,
            expires: judged.expires,
            record: bytes.clone(),
        };
        self.table.lock().put_own(*key, entry);
    }

    /// Registers a record at the peers nearest to each of its keys, for as long as it is the newest.
    async fn place_all(&self, bytes: &Bytes, judged: &Judged) -> Published {
        self.retries.lock().forget(&judged.subject);
        let keys = stream::iter(judged.all_keys())
            .map(|key| self.place(key, bytes, judged))
            .buffered(KEYS_AT_ONCE)
            .collect::<Vec<Placed>>()
            .await;
        Published {
            subject: judged.subject,
            keys,
        }
    }

    async fn place(&self, key: Key, bytes: &Bytes, judged: &Judged) -> Placed {
        let mut placed = Placed {
            key,
            stored: 0,
            later: 0,
            refused: 0,
            silent: 0,
            later_s: 0,
        };
        let (subject, seq) = (judged.subject, judged.seq);
        let is_wanted = || self.shelf.lock().holds(&subject, seq, &key);
        if !is_wanted() {
            return placed;
        }
        let closest = self.closest(key.as_bytes().to_vec()).await;
        let mut asking = stream::iter(closest.into_iter().take(REPLICAS))
            .map(|contact: Contact| async move {
                // A newer one may have been published meanwhile, to which this would only be old.
                if !is_wanted() {
                    return None;
                }
                let retry = Retry {
                    key,
                    contact,
                    what: What::Register { subject, seq },
                    tries: 0,
                };
                let ask = ask::register(&key, bytes.clone());
                Some(self.ask_to_keep(retry, ask).await)
            })
            .buffer_unordered(ASKED_AT_ONCE);
        while let Some(said) = asking.next().await {
            if let Some(said) = said {
                placed.count(said);
            }
        }
        placed
    }

    /// Asks a peer to keep or forget a record; one that has no time or room is asked again later.
    async fn ask_to_keep(&self, retry: Retry, ask: Ask) -> Result<Said, AskError> {
        let said = self.ask(&retry.contact, ask).await;
        if let Ok(Said::Later(seconds)) = said {
            self.retries.lock().push(retry, self.now().0, seconds);
        }
        said
    }

    /// Asks those again who had no time or room, if it still matters.
    async fn ask_again(&self) {
        let due = self.retries.lock().due(self.now().0);
        stream::iter(due)
            .for_each_concurrent(None, |retry| async move {
                let ask = match retry.what {
                    What::Register { subject, seq } => {
                        let shelf = self.shelf.lock();
                        shelf
                            .record(&subject, seq)
                            .filter(|shelved| shelved.judged.belongs_to(&retry.key))
                            .map(|shelved| ask::register(&retry.key, shelved.bytes.clone()))
                    }
                    // What is published again should stay.
                    What::Withdraw => {
                        let is_used = self.shelf.lock().is_used(&retry.key);
                        (!is_used).then(|| ask::withdraw(&retry.key))
                    }
                };
                if let Some(ask) = ask {
                    let said = self.ask_to_keep(retry, ask).await;
                    tracing::trace!(?said, "asked again");
                }
            })
            .await;
    }
}

impl Placed {
    fn count(&mut self, said: Result<Said, AskError>) {
        match said {
            Ok(Said::Done) => self.stored += 1,
            Ok(Said::Later(seconds)) => {
                self.later += 1;
                self.later_s = self.later_s.max(seconds.clamp(1, LATER_S_MAX));
            }
            Ok(Said::Refused(code)) => {
                tracing::debug!(code, "refused");
                self.refused += 1;
            }
            Ok(Said::Found { .. }) => self.refused += 1,
            Err(error) => {
                tracing::trace!(%error, "not registered");
                self.silent += 1;
            }
        }
    }
}

/// Registers again what is due, and forgets what others' records have ended, until the node stops.
pub(crate) async fn refresh(context: Arc<Context>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = context.now();
    loop {
        ticks.tick().await;
        let periods = context.config.periods;
        let now = context.now();
        if now.0.saturating_sub(swept.0) >= SWEEP_S {
            context.table.lock().sweep(now);
            swept = now;
        }
        let (records, pointers) = {
            let mut shelf = context.shelf.lock();
            let records = shelf.due(now, jittered(periods.refresh));
            (
                records,
                shelf.pointers_due(now, jittered(periods.pointer_refresh)),
            )
        };
        for key in pointers {
            if context.command(Command::Provide { key }).await.is_err() {
                return;
            }
        }
        context.ask_again().await;
        for shelved in records {
            context.refresh_one(&shelved.bytes, &shelved.judged).await;
        }
    }
}

impl Context {
    /// Registers a record again, and then says that a newer one is due: said before, the newer one would
    /// be on its way at the same time.
    async fn refresh_one(&self, bytes: &Bytes, judged: &Judged) {
        let (subject, expires) = (judged.subject, judged.expires);
        let published = self.place_all(bytes, judged).await;
        if self.shelf.lock().record(&subject, judged.seq).is_none() {
            return;
        }
        if published.stored_least() == 0 {
            self.counters.one(Count::RegisterRefused);
            tracing::debug!(?subject, "nobody keeps this record");
        }
        self.tell(Event::RefreshDue { subject, expires });
    }
}

/// A period, give or take a tenth, so that what began together does not stay together.
fn jittered(period: Duration) -> Duration {
    let permille: u32 = rand::random_range(900..=1100);
    period.saturating_mul(permille) / 1000
}

/// At how many peers a record is registered.
const REPLICAS: usize = 20;
/// How many peers are asked at once for one key.
const ASKED_AT_ONCE: usize = 8;
/// How many keys are placed at once.
const KEYS_AT_ONCE: usize = 4;
/// The longest wait that a peer may ask for, in seconds.
const LATER_S_MAX: u32 = 300;
/// How often ended records are looked for among all, in seconds.
const SWEEP_S: u64 = 60;
/// How often the shelf is looked through.
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_vary_by_a_tenth() {
        let period = Duration::from_secs(1000);
        for _ in 0..1000 {
            let varied = jittered(period);
            assert!((900..=1100).contains(&varied.as_secs()), "{varied:?}");
        }
    }
}
