//! A model of a disk: what was written is not yet what survives, and syncs can block or fail.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use redb::{Builder, Database, StorageBackend};
use rialto_ledger::{OpenError, Segment, Storage, StorageError};

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

/// The database, or a segment by its number.
type Name = Option<u64>;

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<Name, Contents>,
    /// What changed since its file's last sync, in order.
    unsynced: Vec<(Name, Change)>,
    syncs: usize,
    fail_from_sync: Option<usize>,
    bytes_max: Option<usize>,
    dead: bool,
    read_only: bool,
    closed_gate: bool,
    waiting: usize,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// What reads see.
    seen: Vec<u8>,
    /// What the last sync made safe.
    safe: Vec<u8>,
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

impl State {
    fn seen(&self, name: Name) -> io::Result<&Vec<u8>> {
        let file = self.files.get(&name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&file.seen)
    }

    fn alive(&self) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if self.dead {
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(())
    }

    fn room_for(&self, more: usize) -> io::Result<()> {
        let used: usize = self.files.values().map(|file| file.seen.len()).sum();
        if self.bytes_max.is_some_and(|max| used + more > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change(&mut self, name: Name, change: Change) -> io::Result<()> {
        self.alive()?;
        let file = self.files.get_mut(&name).ok_or(io::ErrorKind::NotFound)?;
        change.apply(&mut file.seen);
        self.unsynced.push((name, change));
        Ok(())
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Syncs fail from the `count`th after now on, and everything after it.
    pub(crate) fn fail_sync(&self, count: usize) {
        let mut state = self.state();
        state.fail_from_sync = Some(state.syncs + count);
    }

    /// The disk is full: its files can be no longer than they are now, in all.
    pub(crate) fn fill(&self) {
        let mut state = self.state();
        state.bytes_max = Some(state.files.values().map(|file| file.seen.len()).sum());
    }

    /// From now on nothing can be written.
    pub(crate) fn turn_read_only(&self) {
        self.state().read_only = true;
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
        self.cut(kept, |len| len / 2)
    }

    /// The disk after a power cut: everything that was written arrived, but of the last write
    /// only this many bytes.
    pub(crate) fn after_torn_write(&self, bytes: usize) -> Self {
        self.cut(|_| true, |len| bytes.min(len))
    }

    /// Another disk in the same state, what was not synced included.
    pub(crate) fn copy(&self) -> Self {
        let state = self.state();
        Self::of(State {
            files: state.files.clone(),
            unsynced: state.unsynced.clone(),
            ..State::default()
        })
    }

    /// Length of the last write that was not synced.
    pub(crate) fn last_write(&self) -> usize {
        match self.state().unsynced.last() {
            Some((_, Change::Write(_, data))) => data.len(),
            other => panic!("no write but {other:?}"),
        }
    }

    /// The segments, as they are seen.
    pub(crate) fn segments(&self) -> Vec<(u64, Vec<u8>)> {
        let state = self.state();
        let files = state.files.iter();
        files
            .filter_map(|(name, file)| Some(((*name)?, file.seen.clone())))
            .collect()
    }

    /// Puts a segment's bytes in place, safely.
    pub(crate) fn put_segment(&self, number: u64, bytes: &[u8]) {
        let file = Contents {
            seen: bytes.to_vec(),
            safe: bytes.to_vec(),
        };
        self.state().files.insert(Some(number), file);
    }

    fn cut(&self, kept: impl Fn(usize) -> bool, torn: impl Fn(usize) -> usize) -> Self {
        let state = self.state();
        let mut files = state.files.clone();
        let mut survivors: Vec<_> = state
            .unsynced
            .iter()
            .enumerate()
            .filter(|(index, _)| kept(*index))
            .map(|(_, change)| change.clone())
            .collect();
        if let Some((_, Change::Write(_, data))) = survivors.last_mut() {
            data.truncate(torn(data.len()));
        }
        for (name, change) in survivors {
            change.apply(&mut files.get_mut(&name).unwrap().safe);
        }
        for file in files.values_mut() {
            file.seen = file.safe.clone();
        }
        Self::of(State {
            files,
            ..State::default()
        })
    }

    fn of(state: State) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                gate: Condvar::new(),
            }),
        }
    }

    /// One sync: waits at the gate, and fails if it is told to.
    fn sync(&self) -> io::Result<MutexGuard<'_, State>> {
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
        }
        state.alive()?;
        Ok(state)
    }
}

impl Storage for Disk {
    fn database(&self, builder: &Builder) -> Result<Database, OpenError> {
        self.state().files.entry(None).or_default();
        builder
            .create_with_backend(File {
                disk: self.clone(),
                name: None,
            })
            .map_err(|error| OpenError::from(StorageError::from(redb::Error::from(error))))
    }

    fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(self.state().files.keys().copied().flatten().collect())
    }

    fn create_segment(&self, number: u64, start: &[u8], len: u64) -> io::Result<Box<dyn Segment>> {
        let mut state = self.sync()?;
        let len = usize::try_from(len).unwrap();
        state.room_for(len)?;
        let mut bytes = start.to_vec();
        bytes.resize(len, 0);
        let file = Contents {
            seen: bytes.clone(),
            safe: bytes,
        };
        state.files.insert(Some(number), file);
        Ok(Box::new(File {
            disk: self.clone(),
            name: Some(number),
        }))
    }

    fn read_segment(&self, number: u64) -> io::Result<Vec<u8>> {
        self.state().seen(Some(number)).cloned()
    }

    fn remove_segment(&self, number: u64) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.files.remove(&Some(number));
        state.unsynced.retain(|(name, _)| *name != Some(number));
        Ok(())
    }
}

/// One file of a disk.
#[derive(Debug)]
struct File {
    disk: Disk,
    name: Name,
}

impl File {
    fn sync_file(&self) -> io::Result<()> {
        let mut state = self.disk.sync()?;
        let name = self.name;
        let file = state.files.get_mut(&name).ok_or(io::ErrorKind::NotFound)?;
        file.safe = file.seen.clone();
        state.unsynced.retain(|(changed, _)| *changed != name);
        Ok(())
    }

    fn write_file(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let change = Change::Write(usize::try_from(offset).unwrap(), data.to_vec());
        self.disk.state().change(self.name, change)
    }
}

impl Segment for File {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_file(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_file()
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().seen(self.name)?.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let state = self.disk.state();
        let bytes = state
            .seen(self.name)?
            .get(offset..offset + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let len = usize::try_from(len).unwrap();
        let more = len.saturating_sub(state.seen(self.name)?.len());
        state.room_for(more)?;
        state.change(self.name, Change::Len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_file()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_file(offset, data)
    }
}
