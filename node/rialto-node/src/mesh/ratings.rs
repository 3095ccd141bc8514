//! How good providers are to this node: what came of its own calls, kept over restarts.
//!
//! It is written now and then, not at every call: a crash forgets the last half minute, which changes no
//! score that matters.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::Address;
use rialto_registry::PeerId;
use rialto_registry::reputation::{
    Backed, Feedback, FeedbackRefusal, Outcome, Reputation, ReputationConfig,
};
use serde::{Deserialize, Serialize};

use super::offers::since_epoch;
use crate::Node;

/// What this node knows of providers by its own calls.
#[derive(Debug)]
pub(super) struct Ratings {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    reputation: Reputation,
    days: Days,
    is_new: bool,
}

/// For each provider and day, how many calls came to what.
type Days = BTreeMap<String, BTreeMap<u64, Counts>>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Counts {
    in_time: u32,
    late: u32,
    failed: u32,
    bad_receipts: u32,
}

impl Ratings {
    /// Reads what an earlier process left. What cannot be read is forgotten: nothing of value rests on it.
    pub(super) fn open(data_dir: &Path) -> Self {
        let path = data_dir.join("ratings.json");
        let days = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, "what was known of providers cannot be read: it begins anew");
                Days::new()
            }),
            Err(_) => Days::new(),
        };
        let mut reputation = Reputation::new(ReputationConfig::DEFAULT);
        for (peer, days) in &days {
            let Ok(peer) = peer.parse::<PeerId>() else {
                continue;
            };
            for (day, counts) in days {
                counts.each(|outcome| reputation.record(peer, outcome, *day));
            }
        }
        let known = Known {
            reputation,
            days,
            is_new: false,
        };
        Self {
            path,
            known: Mutex::new(known),
        }
    }

    /// Notes what came of a call.
    pub(super) fn note(&self, peer: PeerId, outcome: Outcome) {
        let today = today();
        let mut known = self.known();
        known.reputation.record(peer, outcome, today);
        let peer = peer.to_string();
        if known.days.len() >= PEERS_MAX && !known.days.contains_key(&peer) {
            known.forget_stalest();
        }
        let days = known.days.entry(peer).or_default();
        days.entry(today).or_default().add(outcome);
        known.is_new = true;
    }

    /// How good a provider is, in thousandths.
    pub(super) fn score(&self, peer: PeerId) -> u16 {
        self.known().reputation.score(peer, today()).permille
    }

    /// Takes what somebody says of a provider, to whom these accounts belong, with a receipt that backs it.
    ///
    /// # Errors
    /// [`FeedbackRefusal`] says why it changes nothing.
    pub(super) fn hear(
        &self,
        provider: PeerId,
        accounts: BTreeSet<Address>,
        rater: Address,
        backed: &Backed,
    ) -> Result<(), FeedbackRefusal> {
        let feedback = Feedback {
            rater,
            provider,
            value: backed.value,
            paid: backed.paid,
            day: backed.day,
        };
        let mut known = self.known();
        known.reputation.link(provider, accounts);
        known.reputation.hear(feedback, today())
    }

    /// Forgets what somebody said of a provider: it was taken back.
    pub(super) fn unhear(&self, provider: PeerId, rater: Address) {
        self.known().reputation.unhear(provider, rater);
    }

    /// Writes what is new. Whoever calls may block.
    fn save(&self) -> std::io::Result<()> {
        let text = {
            let mut known = self.known();
            if !known.is_new {
                return Ok(());
            }
            known.is_new = false;
            known.forget_before(today().saturating_sub(DAYS_MAX));
            serde_json::to_vec(&known.days)?
        };
        let fresh = self.path.with_extension("json.new");
        fs::write(&fresh, text)?;
        fs::rename(&fresh, &self.path)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A count more or less after a panic is no harm.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Makes room: who has not been called for longest goes.
    fn forget_stalest(&mut self) {
        let latest = |days: &BTreeMap<u64, Counts>| days.last_key_value().map(|(day, _)| *day);
        let stalest = self.days.iter().min_by_key(|(_, days)| latest(days));
        if let Some(peer) = stalest.map(|(peer, _)| peer.clone()) {
            self.days.remove(&peer);
        }
    }

    fn forget_before(&mut self, day: u64) {
        for days in self.days.values_mut() {
            *days = days.split_off(&day);
        }
        self.days.retain(|_, days| !days.is_empty());
    }
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        let count = match outcome {
            Outcome::InTime => &mut self.in_time,
            Outcome::Late => &mut self.late,
            Outcome::Failed => &mut self.failed,
            Outcome::BadReceipt => &mut self.bad_receipts,
        };
        *count = count.saturating_add(1);
    }

    fn each(self, mut record: impl FnMut(Outcome)) {
        let all = [
            (Outcome::InTime, self.in_time),
            (Outcome::Late, self.late),
            (Outcome::Failed, self.failed),
            (Outcome::BadReceipt, self.bad_receipts),
        ];
        for (outcome, count) in all {
            // More of one day than this changes no score.
            for _ in 0..count.min(CALLS_OF_DAY_MAX) {
                record(outcome);
            }
        }
    }
}

impl Node {
    /// Notes what came of a call of this node's own to a provider.
    pub fn rate(&self, provider: PeerId, outcome: Outcome) {
        if let Some(mesh) = self.mesh() {
            mesh.ratings.note(provider, outcome);
        }
    }

    /// How good a provider is by this node's own calls, in thousandths; 500 for a stranger.
    pub fn reputation(&self, provider: PeerId) -> u16 {
        self.mesh()
            .map_or(STRANGER, |mesh| mesh.ratings.score(provider))
    }

    /// Writes ratings down now and then for as long as the node runs, and when it ends.
    pub(crate) async fn keep_ratings(self) {
        loop {
            let stops = tokio::select! {
                () = self.stopping() => true,
                () = tokio::time::sleep(SAVE_EVERY) => false,
            };
            let node = self.clone();
            let saving = tokio::task::spawn_blocking(move || {
                node.mesh().map_or(Ok(()), |mesh| mesh.ratings.save())
            });
            if let Ok(Err(error)) = saving.await {
                tracing::warn!(%error, "what is known of providers cannot be written");
            }
            if stops {
                return;
            }
        }
    }
}

fn today() -> u64 {
    since_epoch().as_secs() / DAY_SECS
}

/// What a stranger is worth where nothing is known, in thousandths.
const STRANGER: u16 = 500;
const SAVE_EVERY: Duration = Duration::from_secs(30);
const DAY_SECS: u64 = 86_400;
/// After eight half-lives of a week a call counts nothing.
const DAYS_MAX: u64 = 56;
/// As many providers as a reputation is kept of.
const PEERS_MAX: usize = 10_000;
const CALLS_OF_DAY_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (PeerId::from_key([1; 32]), PeerId::from_key([2; 32]));
        let ratings = Ratings::open(dir.path());
        assert_eq!(ratings.score(good), STRANGER);
        for _ in 0..20 {
            ratings.note(good, Outcome::InTime);
            ratings.note(bad, Outcome::Failed);
        }
        let scores = (ratings.score(good), ratings.score(bad));
        assert!(scores.0 > 800 && scores.1 < 200, "{scores:?}");
        ratings.save().unwrap();
        let again = Ratings::open(dir.path());
        assert_eq!((again.score(good), again.score(bad)), scores);
    }

    #[test]
    fn a_damaged_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ratings.json"), b"{\"x\":").unwrap();
        assert_eq!(
            Ratings::open(dir.path()).score(PeerId::from_key([1; 32])),
            STRANGER
        );
    }
}
