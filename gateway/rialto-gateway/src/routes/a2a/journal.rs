//! Paid tasks on the disk: what a gateway was asked and paid for, so that the next one goes on with it.
//!
//! A task is noted before its call begins and goes when that failed or was canceled. One whose answer the ledger keeps
//! stays for as long as tasks are kept. A gateway that starts sends each payment again to itself: what was done is
//! read from the ledger, what was not is done now, and nothing is charged twice.
//!
//! Not here: answers, which are the ledger's; tasks that nobody paid for; replicas, which go on with their own tasks.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::client::StoreError;
use crate::client::{at, private_folder, replace};

/// Paid tasks of A2A, in a folder. Clones share it.
#[derive(Debug, Clone)]
pub struct TaskJournal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    bytes_max: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By their ids.
    all: HashMap<String, Noted>,
    bytes: u64,
    /// Those that the gateway before left, in the order of their coming.
    left: Vec<Left>,
}

/// What is known of a task that the gateway before left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) id: String,
    pub(super) context: String,
    pub(super) agent: Option<String>,
    /// The service and its method.
    pub(super) call: (String, String),
    /// SHA-256 of the payment.
    pub(super) payment: [u8; 32],
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    bytes: u64,
    /// Since when there is an answer; none while it is worked at.
    over: Option<Instant>,
}

/// A task as it is noted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) context: String,
    /// The service whose agent has it; none for the host's own.
    pub(super) agent: Option<String>,
    pub(super) service: String,
    pub(super) method: String,
    /// As they were sent: their digest is part of the call's name.
    pub(super) arguments: Box<RawValue>,
    /// Where the agent was asked.
    pub(super) url: String,
    pub(super) payment: Value,
    /// So many gateways began it: what ends its host each time is not begun for ever.
    pub(super) begun: u32,
}

impl TaskJournal {
    /// The tasks in this folder, which is made for its owner alone. Old ones, and what is no task, are forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, BYTES_MAX)
    }

    fn open_with(folder: &Path, bytes_max: u64) -> Result<Self, StoreError> {
        private_folder(folder)?;
        let fails = |source| at(folder, source);
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(fails)? {
            let entry = entry.map_err(fails)?;
            let about = entry.metadata().map_err(fails)?;
            let changed = about.modified().map_err(fails)?;
            let age = SystemTime::now().duration_since(changed);
            match entry.file_name().to_str().and_then(named) {
                Some((id, over)) if age.unwrap_or_default() < age_max(over) => {
                    found.push((changed, id.to_owned(), over, about.len()));
                }
                Some(_) | None => fs::remove_file(entry.path()).map_err(fails)?,
            }
        }
        found.sort();
        let journal = Self(Arc::new(Inner {
            folder: folder.to_owned(),
            bytes_max,
            known: Mutex::default(),
        }));
        for (_, id, over, bytes) in found {
            let over = over.then(Instant::now);
            journal.known().add(id.clone(), Noted { bytes, over });
            if let Some(kept) = journal.read(&id) {
                journal.known().left.push(kept.left());
            }
        }
        Ok(journal)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        let known = self.0.known.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: &str, over: bool) -> PathBuf {
        let end = if over { OVER } else { WORKING };
        self.0.folder.join(format!("{id}{end}"))
    }

    /// What the gateway before left, for the first that asks.
    pub(super) fn left(&self) -> Vec<Left> {
        std::mem::take(&mut self.known().left)
    }

    /// Whether there was an answer.
    pub(super) fn is_over(&self, id: &str) -> bool {
        let known = self.known();
        known.all.get(id).is_some_and(|noted| noted.over.is_some())
    }

    /// A task that was left. One that cannot be read, or was begun too often, is forgotten. Blocks.
    pub(super) fn read(&self, id: &str) -> Option<Kept> {
        let kept = fs::read(self.file(id, self.is_over(id)));
        let kept = kept.and_then(|json| {
            let kept: Kept = serde_json::from_slice(&json).map_err(io::Error::other)?;
            match kept.begun < BEGUN_MAX && kept.id == id {
                true => Ok(kept),
                false => Err(io::Error::other("it was begun too often")),
            }
        });
        if let Err(error) = &kept {
            tracing::warn!(task = id, %error, "a paid task is given up: its payer may send the payment again");
            self.forget(id);
        }
        kept.ok()
    }

    /// Notes a task; durable when this returns. False if it is not noted, for want of place or of a disk: it ends with
    /// this gateway then. One that is not `wanted` any more once it is written is forgotten.
    pub(super) async fn note(
        &self,
        kept: &Kept,
        wanted: impl FnOnce() -> bool + Send + 'static,
    ) -> bool {
        let Ok(json) = serde_json::to_vec(kept) else {
            return false;
        };
        let id = kept.id.clone();
        if !self.reserve(&id, u64::try_from(json.len()).unwrap_or(u64::MAX)) {
            tracing::warn!(
                task = id,
                "a paid task would not outlive this gateway: its journal is full"
            );
            return false;
        }
        let journal = self.clone();
        // Goes on when its caller does not, who was canceled.
        let written = tokio::task::spawn_blocking(move || {
            let written = replace(&journal.file(&id, false), &json);
            if written.is_err() || !wanted() {
                journal.forget(&id);
            }
            written
        });
        let written = written.await;
        if let Ok(Err(error)) = &written {
            tracing::warn!(%error, "a paid task would not outlive this gateway");
        }
        matches!(written, Ok(Ok(())))
    }

    /// Makes place by forgetting tasks that are over, the oldest first.
    fn reserve(&self, id: &str, bytes: u64) -> bool {
        let mut known = self.known();
        known.subtract(id);
        loop {
            let over = known.all.iter();
            let over = over.filter_map(|(id, noted)| Some((noted.over?, id)));
            let oldest = over.min().map(|(over, id)| (over.elapsed(), id.clone()));
            let is_full = known.all.len() >= TASKS_MAX
                || known.bytes.saturating_add(bytes) > self.0.bytes_max;
            match oldest {
                Some((age, oldest)) if is_full || age >= age_max(true) => {
                    self.remove(&mut known, &oldest);
                }
                Some(_) | None if is_full => return false,
                Some(_) | None => break,
            }
        }
        known.add(id.to_owned(), Noted { bytes, over: None });
        true
    }

    /// There is an answer, which the same payment fetches.
    pub(super) fn over(&self, id: &str) {
        let mut known = self.known();
        let Some(noted) = known.all.get_mut(id) else {
            return;
        };
        noted.over = Some(Instant::now());
        // Where this is lost the next gateway looks for the answer, too.
        if let Err(error) = fs::rename(self.file(id, false), self.file(id, true))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a task that is over is noted as if it were not");
        }
    }

    /// There is nothing to go on with.
    pub(super) fn forget(&self, id: &str) {
        let mut known = self.known();
        self.remove(&mut known, id);
    }

    fn remove(&self, known: &mut Known, id: &str) {
        known.subtract(id);
        for over in [false, true] {
            match fs::remove_file(self.file(id, over)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a task stays on the disk");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl Kept {
    fn left(self) -> Left {
        Left {
            payment: Sha256::digest(self.payment.to_string()).into(),
            id: self.id,
            context: self.context,
            agent: self.agent,
            call: (self.service, self.method),
        }
    }
}

impl Known {
    fn add(&mut self, id: String, noted: Noted) {
        self.bytes = self.bytes.saturating_add(noted.bytes);
        self.all.insert(id, noted);
    }

    fn subtract(&mut self, id: &str) {
        let gone = self.all.remove(id).map_or(0, |noted| noted.bytes);
        self.bytes = self.bytes.saturating_sub(gone);
    }
}

/// The task that a file is of, and whether there was an answer.
fn named(file: &str) -> Option<(&str, bool)> {
    let over = file.strip_suffix(OVER).map(|id| (id, true));
    over.or_else(|| Some((file.strip_suffix(WORKING)?, false)))
}

const fn age_max(over: bool) -> Duration {
    if over { OVER_FOR } else { LEFT_FOR }
}

const WORKING: &str = ".json";
const OVER: &str = ".over.json";
/// So many gateways begin a task.
const BEGUN_MAX: u32 = 3;
const TASKS_MAX: usize = 4_096;
const BYTES_MAX: u64 = 256 << 20;
/// As long as gateways keep paid tasks in memory.
const OVER_FOR: Duration = Duration::from_secs(60 * 60);
/// As long as ledgers keep answers.
const LEFT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(id: &str, text: &str) -> Kept {
        Kept {
            id: id.to_owned(),
            context: "c".to_owned(),
            agent: None,
            service: "s".to_owned(),
            method: "m".to_owned(),
            arguments: RawValue::from_string(format!("{{\"text\":\"{text}\"}}")).unwrap(),
            url: "http://localhost/a2a".to_owned(),
            payment: json!({ "b": 1, "a": 2 }),
            begun: 1,
        }
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[tokio::test]
    async fn what_is_noted_is_left_for_the_next_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = TaskJournal::open(dir.path()).unwrap();
        for id in ["one", "two", "three"] {
            assert!(first.note(&kept(id, id), || true).await);
        }
        first.forget("two");
        first.over("one");
        first.over("two");
        let next = TaskJournal::open(dir.path()).unwrap();
        let left = next.left();
        let mut ids: Vec<_> = left.iter().map(|left| left.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["one", "three"]);
        assert!(next.left().is_empty());
        assert!(next.is_over("one") && !next.is_over("three"));
        let one = next.read("one").unwrap();
        assert_eq!(one.arguments.get(), "{\"text\":\"one\"}");
        assert_eq!(one.payment.to_string(), kept("", "").payment.to_string());
        assert!(next.note(&one, || true).await);
        assert!(!next.is_over("one"));
    }

    #[tokio::test]
    async fn what_is_canceled_while_it_is_noted_is_not_left() {
        let dir = tempfile::tempdir().unwrap();
        let journal = TaskJournal::open(dir.path()).unwrap();
        journal.note(&kept("one", "x"), || false).await;
        assert_eq!((files(dir.path()), journal.known().bytes), (0, 0));
    }

    #[tokio::test]
    async fn what_cannot_be_begun_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let journal = TaskJournal::open(dir.path()).unwrap();
        let mut often = kept("often", "x");
        often.begun = BEGUN_MAX;
        assert!(journal.note(&often, || true).await);
        fs::write(dir.path().join("torn.json"), "{").unwrap();
        fs::write(dir.path().join("half.json.new"), "{").unwrap();
        let next = TaskJournal::open(dir.path()).unwrap();
        assert!(next.left().is_empty());
        assert_eq!((files(dir.path()), next.known().bytes), (0, 0));
    }

    #[tokio::test]
    async fn tasks_that_are_over_make_place_and_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let journal = TaskJournal::open_with(dir.path(), 4096).unwrap();
        let large = "x".repeat(2048);
        assert!(journal.note(&kept("one", &large), || true).await);
        assert!(!journal.note(&kept("two", &large), || true).await);
        journal.over("one");
        assert!(journal.note(&kept("two", &large), || true).await);
        assert_eq!((files(dir.path()), journal.known().all.len()), (1, 1));
        assert!(!journal.is_over("two"));
    }
}
