//! The tasks that are kept: so many, so large, for so long.
//!
//! Those that nobody paid for make place for newer ones, the oldest first, and never push out one that was paid for;
//! paid ones are pushed out by paid ones alone. When memory is short answers are forgotten before tasks are: the ledger
//! has those of paid calls, and the same payment fetches them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::entry::Entry;
use super::journal::TaskJournal;
use crate::Config;
use crate::a2a::skills::Order;
use crate::a2a::task::State;
use crate::a2a::{Error, Kind};

/// The tasks of a host.
#[derive(Debug)]
pub(crate) struct Tasks {
    index: Mutex<Index>,
    /// Bytes of all.
    kept: Arc<AtomicUsize>,
    running: Arc<Semaphore>,
    running_free: Arc<Semaphore>,
    /// Kibibytes of what is being told.
    told: Arc<Semaphore>,
    journal: Option<TaskJournal>,
    /// What the gateway before left, until somebody goes on with it.
    left: Mutex<Vec<Arc<Entry>>>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Index {
    all: HashMap<String, Arc<Entry>>,
    /// In the order of their coming; some may be gone, or paid by now.
    unpaid: VecDeque<String>,
    paid: VecDeque<String>,
}

#[derive(Debug, Clone)]
struct Limits {
    unpaid_max: usize,
    paid_max: usize,
    task_bytes_max: usize,
    bytes_max: usize,
    unpaid_for: Duration,
    paid_for: Duration,
}

impl Tasks {
    pub(crate) fn new(config: &Config) -> Self {
        let tasks = Self {
            index: Mutex::default(),
            kept: Arc::default(),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            running_free: Arc::new(Semaphore::new(RUNNING_MAX / 2)),
            told: Arc::new(Semaphore::new(TOLD_KIB_MAX)),
            journal: config.task_journal.clone(),
            left: Mutex::default(),
            limits: Limits {
                unpaid_max: config.tasks_max.max(1),
                paid_max: config.tasks_paid_max.max(1),
                task_bytes_max: config.task_bytes_max,
                bytes_max: config.tasks_bytes_max,
                unpaid_for: config.tasks_kept,
                paid_for: config.tasks_paid_kept,
            },
        };
        let left = config.task_journal.as_ref().map(TaskJournal::left);
        for left in left.into_iter().flatten() {
            let entry = Entry::left(left, Arc::clone(&tasks.kept));
            let entry = tasks.index().add(entry);
            tasks.paid(&entry);
            tasks
                .left
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(entry);
        }
        tasks
    }

    /// What the gateway before left, for the first that asks.
    pub(super) fn left(&self) -> Vec<Arc<Entry>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut left)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_expired(&self, entry: &Entry) -> bool {
        entry.is_expired(self.limits.unpaid_for, self.limits.paid_for)
    }

    /// A new task, which waits for its first status.
    ///
    /// # Errors
    /// [`Kind::Busy`] when there is no place, or too many of this conversation are kept.
    pub(super) fn add(
        &self,
        (agent, context): (Option<String>, String),
        order: &Order,
    ) -> Result<Arc<Entry>, Error> {
        let mut index = self.index();
        index.sweep(|entry| self.is_expired(entry));
        if index.unpaid.len() >= self.limits.unpaid_max && !index.drop_unpaid(None) {
            return Err(busy(
                "this host keeps as many tasks as it may: try again in a while",
            ));
        }
        let of_context = index.all.values().filter(|it| it.context == context);
        if of_context.count() >= CONTEXT_MAX {
            let message = format!(
                "{CONTEXT_MAX} tasks of this context are kept: leave `contextId` out for a new one"
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        let call = (order.service.clone(), order.method.clone());
        let entry = Entry::new((agent, context), call, Arc::clone(&self.kept));
        Ok(index.add(entry))
    }

    /// Lets a task go.
    pub(super) fn remove(&self, id: &str) {
        self.index().all.remove(id);
    }

    /// Where paid tasks are noted.
    pub(super) const fn journal(&self) -> Option<&TaskJournal> {
        self.journal.as_ref()
    }

    /// A task of this agent.
    ///
    /// # Errors
    /// [`Kind::TaskNotFound`].
    pub(super) fn get(&self, id: &str, agent: Option<&str>) -> Result<Arc<Entry>, Error> {
        let found = self.index().all.get(id).cloned();
        found
            .filter(|entry| entry.agent.as_deref() == agent && !self.is_expired(entry))
            .ok_or_else(Error::no_task)
    }

    /// The tasks of a conversation with this agent, the one that changed last first.
    pub(super) fn of_context(&self, context: &str, agent: Option<&str>) -> Vec<Arc<Entry>> {
        let index = self.index();
        let all = index.all.values();
        let found = all.filter(|it| it.context == context && it.agent.as_deref() == agent);
        let mut found: Vec<_> = found.cloned().collect();
        drop(index);
        found.retain(|entry| !self.is_expired(entry));
        found.sort_by_cached_key(|entry| (entry.age(), entry.id.clone()));
        found
    }

    /// A place among the calls that run.
    ///
    /// # Errors
    /// [`Kind::Busy`].
    pub(super) fn place(&self, is_free: bool) -> Result<Place, Error> {
        let take = |of: &Arc<Semaphore>| {
            let place = Arc::clone(of).try_acquire_owned();
            place.map_err(|_| busy("too many tasks are at work: try again in a moment"))
        };
        Ok(Place {
            _of_free: is_free.then(|| take(&self.running_free)).transpose()?,
            _of_all: take(&self.running)?,
        })
    }

    /// Takes room for telling so many bytes of answers, which are in memory until they are read.
    ///
    /// # Errors
    /// [`Kind::Busy`].
    pub(super) fn tell(&self, bytes: usize) -> Result<Telling, Error> {
        if bytes <= TOLD_SMALL {
            return Ok(Telling(None));
        }
        let kib = bytes.saturating_mul(TOLD_COPIES) / 1024;
        let kib = u32::try_from(kib.min(TOLD_KIB_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.told).try_acquire_many_owned(kib);
        let room =
            room.map_err(|_| busy("too many answers are being read: try again in a moment"))?;
        Ok(Telling(Some(room)))
    }

    /// The task was paid for: it stays longer.
    pub(super) fn paid(&self, entry: &Entry) {
        if entry.is_paid() {
            return;
        }
        entry.set_paid();
        let mut index = self.index();
        while index.paid.len() >= self.limits.paid_max {
            match index.paid.pop_front() {
                Some(oldest) => drop(index.all.remove(&oldest)),
                None => break,
            }
        }
        index.paid.push_back(entry.id.clone());
    }

    /// Counts so many bytes more of a task, if there is place for them or can be made. The oldest other tasks that are
    /// unpaid go first, then the oldest answers.
    pub(super) fn count(&self, bytes: usize, of: &Entry) -> bool {
        if self.try_count(bytes) {
            return true;
        }
        let mut index = self.index();
        while index.drop_unpaid(Some(of)) {
            if self.try_count(bytes) {
                return true;
            }
        }
        for id in &index.paid {
            let freed = index.all.get(id).map_or(0, |entry| entry.forget());
            if freed > 0 && self.try_count(bytes) {
                return true;
            }
        }
        false
    }

    fn try_count(&self, bytes: usize) -> bool {
        let (relaxed, most) = (Ordering::Relaxed, self.limits.bytes_max);
        let more = |kept: usize| kept.checked_add(bytes).filter(|sum| *sum <= most);
        self.kept.fetch_update(relaxed, relaxed, more).is_ok()
    }

    /// The most bytes of one answer that are kept.
    pub(super) const fn task_bytes_max(&self) -> usize {
        self.limits.task_bytes_max
    }
}

impl Index {
    fn add(&mut self, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.unpaid.push_back(entry.id.clone());
        self.all.insert(entry.id.clone(), Arc::clone(&entry));
        entry
    }

    /// Lets go what is old. Both queues are nearly in the order of age.
    fn sweep(&mut self, is_expired: impl Fn(&Entry) -> bool) {
        let Self { all, unpaid, paid } = self;
        for queue in [unpaid, paid] {
            while let Some(id) = queue.front() {
                match all.get(id) {
                    Some(entry) if !is_expired(entry) => break,
                    Some(_) => drop(all.remove(id)),
                    None => {}
                }
                queue.pop_front();
            }
        }
    }

    /// Makes a place among those that nobody paid for; not of one whose call runs, or of this one.
    fn drop_unpaid(&mut self, but: Option<&Entry>) -> bool {
        for _ in 0..self.unpaid.len() {
            let Some(id) = self.unpaid.pop_front() else {
                return false;
            };
            match self.all.get(&id) {
                Some(entry) if entry.is_paid() => return true,
                Some(_) if but.is_some_and(|but| but.id == id) => self.unpaid.push_back(id),
                Some(entry) if entry.state() == State::Working => self.unpaid.push_back(id),
                Some(_) => {
                    self.all.remove(&id);
                    return true;
                }
                None => return true,
            }
        }
        false
    }
}

/// Room for what is told.
#[derive(Debug)]
pub(super) struct Telling(Option<OwnedSemaphorePermit>);

impl Telling {
    /// The text, whose room is given back when it is dropped.
    pub(super) fn of(self, text: String) -> Bytes {
        match self.0 {
            Some(room) => Bytes::from_owner(Told { text, _room: room }),
            None => text.into(),
        }
    }
}

struct Told {
    text: String,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Told {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// A place among the calls that run.
#[derive(Debug)]
pub(super) struct Place {
    _of_free: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
}

fn busy(message: &str) -> Error {
    Error::new(Kind::Busy, message)
}

/// So many calls of tasks run at once; half of them may be free ones.
const RUNNING_MAX: usize = 256;
/// What is told at once takes no more.
const TOLD_KIB_MAX: usize = 256 * 1024;
/// An answer in memory, as values and as text, takes so often its bytes.
const TOLD_COPIES: usize = 8;
/// Smaller answers need no room: connections have buffers as large.
const TOLD_SMALL: usize = 16 * 1024;
/// So many tasks of one conversation are kept.
const CONTEXT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::entry::Said;
    use super::*;

    fn tasks(change: impl FnOnce(&mut Config)) -> Tasks {
        let mut config = Config {
            tasks_max: 3,
            tasks_paid_max: 2,
            tasks_bytes_max: 100,
            ..Config::default()
        };
        change(&mut config);
        Tasks::new(&config)
    }

    fn order() -> Order {
        Order {
            service: "s".to_owned(),
            method: "m".to_owned(),
            arguments: Bytes::from_static(b"{}"),
        }
    }

    fn add(tasks: &Tasks, context: &str) -> Result<Arc<Entry>, Error> {
        tasks.add((None, context.to_owned()), &order())
    }

    /// One that was paid, with an answer of so many bytes.
    fn paid(tasks: &Tasks, bytes: usize) -> Arc<Entry> {
        let entry = add(tasks, "paid").unwrap();
        tasks.paid(&entry);
        let mut cost = Map::new();
        cost.insert("rialto/receipt".to_owned(), json!({}));
        assert!(tasks.count(bytes, &entry));
        let whole = Some((Bytes::from(vec![b'1'; bytes]), true));
        entry.end(State::Completed, Said::default(), cost, whole);
        entry
    }

    fn is_kept(tasks: &Tasks, entry: &Entry) -> bool {
        tasks.get(&entry.id, None).is_ok()
    }

    #[test]
    fn unpaid_tasks_make_place_for_each_other_and_paid_ones_for_paid_ones() {
        let tasks = tasks(|_| {});
        let first = paid(&tasks, 10);
        let unpaid: Vec<_> = (0..5).map(|_| add(&tasks, "c").unwrap()).collect();
        let kept = unpaid.iter().filter(|entry| is_kept(&tasks, entry)).count();
        assert_eq!(kept, 3);
        assert!(is_kept(&tasks, &first) && !is_kept(&tasks, &unpaid[0]));
        let others = [paid(&tasks, 10), paid(&tasks, 10)];
        assert!(!is_kept(&tasks, &first), "the oldest paid one");
        assert!(others.iter().all(|entry| is_kept(&tasks, entry)));
        assert!(tasks.get(&others[0].id, Some("another agent")).is_err());
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let tasks = tasks(|_| {});
        let first = paid(&tasks, 60);
        let second = paid(&tasks, 60);
        assert!(first.told(true)["artifacts"][0]["metadata"]["rialto/forgotten"] == true);
        assert!(
            is_kept(&tasks, &first),
            "what was paid is told without its answer"
        );
        let watched = second.watch();
        assert!(!tasks.count(60, &second), "who watches reads on");
        drop(watched);
        assert!(!tasks.count(101, &first), "more than all");
        drop((first, second));
        drop(std::mem::take(&mut *tasks.index()));
        assert_eq!(tasks.kept.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_context_and_the_calls_at_work_are_bounded() {
        let tasks = tasks(|config| config.tasks_max = 1000);
        for _ in 0..CONTEXT_MAX {
            add(&tasks, "one").unwrap();
        }
        assert!(add(&tasks, "one").is_err() && add(&tasks, "other").is_ok());
        let free: Vec<_> = (0..RUNNING_MAX / 2)
            .map(|_| tasks.place(true).unwrap())
            .collect();
        assert!(tasks.place(true).is_err());
        let paid: Vec<_> = (0..RUNNING_MAX / 2)
            .map(|_| tasks.place(false).unwrap())
            .collect();
        assert!(tasks.place(false).is_err());
        drop((free, paid));
        assert!(tasks.place(true).is_ok());
    }

    #[test]
    fn what_is_told_at_once_is_bounded() {
        let tasks = tasks(|_| {});
        let large = TOLD_KIB_MAX * 1024 / TOLD_COPIES / 2;
        let (first, second) = (tasks.tell(large).unwrap(), tasks.tell(large).unwrap());
        assert!(tasks.tell(large).is_err() && tasks.tell(TOLD_SMALL).is_ok());
        let text = first.of("x".repeat(large));
        drop(second);
        assert!(tasks.tell(large).is_ok() && tasks.tell(2 * large).is_err());
        drop(text);
        // More than all is told alone.
        assert!(tasks.tell(4 * large).is_ok());
    }

    #[test]
    fn old_tasks_are_gone() {
        let tasks = tasks(|config| config.tasks_kept = Duration::ZERO);
        let unpaid = add(&tasks, "a name of some length").unwrap();
        assert!(!is_kept(&tasks, &unpaid));
        assert!(tasks.of_context("a name of some length", None).is_empty());
        let kept = paid(&tasks, 1);
        add(&tasks, "another").unwrap();
        assert!(is_kept(&tasks, &kept));
        assert_eq!(tasks.index().all.len(), 2, "swept");
    }
}
