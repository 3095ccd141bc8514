//! How much room a store has left.
//!
//! What lies in the folder is counted by a listing; what this process is writing, exactly and before
//! it is written. Non-goals: what other processes are writing; their files count once they lie there.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes used in a store.
#[derive(Debug)]
pub(crate) struct Quota {
    state: Mutex<State>,
    max: u64,
}

#[derive(Debug)]
struct State {
    /// Bytes that lie in the folder and nobody here writes.
    kept: u64,
    /// Bytes that this process is writing.
    in_flight: u64,
    /// Unfinished downloads that this process has open, by file name: no listing counts them.
    open: BTreeSet<OsString>,
}

/// Room taken for one artifact; given back on drop, unless the bytes stay.
#[derive(Debug)]
pub(crate) struct Room {
    quota: Arc<Quota>,
    bytes: u64,
    name: Option<OsString>,
    /// How many of the bytes stay in the folder if this is dropped.
    pub(crate) stays: u64,
}

/// No room left.
#[derive(Debug)]
pub(crate) struct Full;

impl Quota {
    pub(crate) fn new(used: u64, max: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                kept: used,
                in_flight: 0,
                open: BTreeSet::new(),
            }),
            max,
        })
    }

    pub(crate) fn room(self: &Arc<Self>) -> Room {
        Room {
            quota: Arc::clone(self),
            bytes: 0,
            name: None,
            stays: 0,
        }
    }

    /// The room of an unfinished download of `bytes` that lies in the folder under `name`.
    pub(crate) fn reopen(self: &Arc<Self>, name: &OsStr, bytes: u64) -> Room {
        let mut state = self.state();
        state.kept = state.kept.saturating_sub(bytes);
        state.in_flight += bytes;
        state.open.insert(name.to_owned());
        drop(state);
        Room {
            quota: Arc::clone(self),
            bytes,
            name: Some(name.to_owned()),
            stays: 0,
        }
    }

    /// Gives back the room of something that lay in the folder and is gone.
    pub(crate) fn give_back(&self, bytes: u64) {
        // Saturating: another process may have put it there, and it was never counted.
        let mut state = self.state();
        state.kept = state.kept.saturating_sub(bytes);
    }

    /// Counts what lies in the folder again; `list` is told which unfinished downloads to leave out.
    pub(crate) fn recount(
        &self,
        list: impl FnOnce(&BTreeSet<OsString>) -> io::Result<u64>,
    ) -> io::Result<()> {
        let mut state = self.state();
        state.kept = list(&state.open)?;
        Ok(())
    }

    /// Whether this process has an unfinished download open under `name`.
    pub(crate) fn is_open(&self, name: &OsStr) -> bool {
        self.state().open.contains(name)
    }

    pub(crate) fn used(&self) -> u64 {
        let state = self.state();
        state.kept.saturating_add(state.in_flight)
    }

    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters stay sound whatever a panicking thread did: a recount sets them right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        let mut state = self.quota.state();
        let fits = state
            .kept
            .saturating_add(state.in_flight)
            .checked_add(bytes)
            .is_some_and(|sum| sum <= self.quota.max);
        if !fits {
            return Err(Full);
        }
        state.in_flight += bytes;
        drop(state);
        self.bytes += bytes;
        Ok(())
    }

    /// Gives the room back but goes on, because the bytes are thrown away.
    pub(crate) fn empty(&mut self) {
        let mut state = self.quota.state();
        state.in_flight = state.in_flight.saturating_sub(self.bytes);
        self.bytes = 0;
    }

    /// Gives back what is taken beyond `bytes`.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let over = self.bytes.saturating_sub(bytes);
        let mut state = self.quota.state();
        state.in_flight = state.in_flight.saturating_sub(over);
        self.bytes -= over;
    }

    /// The bytes that there is room for.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets `place` move the bytes to where they stay. Nobody counts meanwhile, so that they are
    /// counted once; and not at all if `place` says that they were there already.
    pub(crate) fn settle<E>(mut self, place: impl FnOnce() -> Result<Placed, E>) -> Result<(), E> {
        let quota = Arc::clone(&self.quota);
        let mut state = quota.state();
        let placed = place();
        state.in_flight = state.in_flight.saturating_sub(self.bytes);
        if matches!(placed, Ok(Placed::Anew)) {
            state.kept = state.kept.saturating_add(self.bytes);
        }
        if let Some(name) = self.name.take() {
            state.open.remove(&name);
        }
        drop(state);
        (self.bytes, self.stays) = (0, 0);
        placed.map(|_| ())
    }
}

/// What became of an artifact that was moved to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is there now.
    Anew,
    /// It was there before.
    Again,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.quota.state();
        state.in_flight = state.in_flight.saturating_sub(self.bytes);
        state.kept = state.kept.saturating_add(self.stays);
        if let Some(name) = self.name.take() {
            state.open.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_unless_it_stays() {
        let quota = Quota::new(10, 100);
        let mut room = quota.room();
        room.grow(60).unwrap();
        assert!(room.grow(31).is_err());
        room.grow(30).unwrap();
        assert_eq!(quota.used(), 100);
        drop(room);
        assert_eq!(quota.used(), 10);
        for (placed, used) in [(Placed::Anew, 15), (Placed::Again, 15)] {
            let mut room = quota.room();
            room.grow(5).unwrap();
            room.settle(|| Ok::<_, Full>(placed)).unwrap();
            assert_eq!(quota.used(), used);
        }
        let mut room = quota.room();
        room.grow(5).unwrap();
        assert!(room.settle(|| Err(Full)).is_err());
        assert_eq!(quota.used(), 15);
        assert!(quota.room().grow(u64::MAX).is_err());
        quota.give_back(1_000);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn an_open_download_is_counted_once() {
        let quota = Quota::new(30, 100);
        let mut room = quota.reopen(OsStr::new("a.part"), 20);
        assert_eq!(
            (quota.used(), quota.is_open(OsStr::new("a.part"))),
            (30, true)
        );
        room.grow(5).unwrap();
        quota
            .recount(|open| {
                assert!(open.contains(OsStr::new("a.part")));
                Ok(10)
            })
            .unwrap();
        assert_eq!(quota.used(), 35);
        room.stays = 22;
        drop(room);
        assert_eq!(
            (quota.used(), quota.is_open(OsStr::new("a.part"))),
            (32, false)
        );
    }
}
