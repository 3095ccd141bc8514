//! A model of a disk: what was written is not yet what survives, and syncs can block or fail.

use std::{
    io,
    sync::{Arc, Condvar, Mutex},
};

use redb::StorageBackend;

/// A disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    gate: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What reads see.
    seen: Vec<u8>,
    /// What the last sync made safe.
    safe: Vec<u8>,
    /// What changed since, in order.
    unsynced: Vec<Change>,
    syncs: usize,
    fail_from_sync: Option<usize>,
    len_max: Option<u64>,
    dead: bool,
    closed_gate: bool,
    waiting: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Len(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Len(len) => bytes.resize(*len, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Syncs fail from the `count`th after now on, and everything after it.
    pub(crate) fn fail_sync(&self, count: usize) {
        let mut state = self.state();
        state.fail_from_sync = Some(state.syncs + count);
    }

    /// The disk is full: it can be no longer than it is now.
    pub(crate) fn fill(&self) {
        let mut state = self.state();
        state.len_max = Some(state.seen.len() as u64);
    }

    /// Whether the disk has failed for good.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Syncs wait until the gate is opened.
    pub(crate) fn close_gate(&self) {
        self.state().closed_gate = true;
    }

    pub(crate) fn open_gate(&self) {
        self.state().closed_gate = false;
        self.shared.gate.notify_all();
    }

    /// Waits until a sync waits at the gate.
    pub(crate) fn wait_for_sync(&self) {
        let state = self.state();
        let waited = self
            .shared
            .gate
            .wait_while(state, |state| state.waiting == 0);
        drop(waited.unwrap());
    }

    /// The disk after a power cut: what was synced, and of what was not, the changes that `kept`
    /// picks; the last of them torn in the middle.
    pub(crate) fn after_power_cut(&self, kept: impl Fn(usize) -> bool) -> Self {
        let state = self.state();
        let mut bytes = state.safe.clone();
        let mut survivors: Vec<_> = state
            .unsynced
            .iter()
            .enumerate()
            .filter(|(index, _)| kept(*index))
            .map(|(_, change)| change.clone())
            .collect();
        if let Some(Change::Write(_, data)) = survivors.last_mut() {
            data.truncate(data.len() / 2);
        }
        survivors.iter().for_each(|change| change.apply(&mut bytes));
        let state = State {
            seen: bytes.clone(),
            safe: bytes,
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                gate: Condvar::new(),
            }),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let state = self.state();
        let bytes = state
            .seen
            .get(offset..offset + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.dead || state.len_max.is_some_and(|max| len > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let change = Change::Len(usize::try_from(len).unwrap());
        change.apply(&mut state.seen);
        state.unsynced.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.closed_gate {
            state.waiting += 1;
            self.shared.gate.notify_all();
            state = self
                .shared
                .gate
                .wait_while(state, |state| state.closed_gate)
                .unwrap();
            state.waiting -= 1;
        }
        state.syncs += 1;
        if state.dead || state.fail_from_sync.is_some_and(|from| state.syncs >= from) {
            state.dead = true;
            return Err(io::Error::other("the disk does not answer"));
        }
        state.safe = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.dead {
            return Err(io::Error::other("the disk does not answer"));
        }
        let change = Change::Write(usize::try_from(offset).unwrap(), data.to_vec());
        change.apply(&mut state.seen);
        state.unsynced.push(change);
        Ok(())
    }
}
