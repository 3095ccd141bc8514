//! Orders on the disk: a file of cells of one size, an order in each, which are written over when it is forgotten.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::super::StoreError;
use super::super::store::sealed::{seal, unseal};
use super::super::store::{at, private, private_folder};
use super::Placed;

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Cells {
    path: PathBuf,
    state: Mutex<State>,
    file: Arc<File>,
    /// How much of what was noted is durable; held while the disk is waited for.
    durable: tokio::sync::Mutex<u64>,
    _lock: File,
}

#[derive(Debug)]
struct State {
    /// By name, in which cell.
    taken: HashMap<String, (u64, Placed)>,
    free: Vec<u64>,
    /// All cells.
    count: u64,
    /// How often something was noted.
    noted: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    name: String,
    #[serde(flatten)]
    placed: Placed,
}

impl Cells {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        private_folder(dir)?;
        let lock = lock(&dir.join(LOCK))?;
        let path = dir.join(FILE);
        let fails = |source| at(&path, source);
        let file = private()
            .read(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = file.map_err(fails)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fails)?;
        // A program before this one may have left that to the system.
        file.sync_all()
            .and_then(|()| File::open(dir)?.sync_all())
            .map_err(fails)?;
        let state = State::read(&bytes);
        let cells = Self {
            path,
            state: Mutex::new(state),
            file: Arc::new(file),
            durable: tokio::sync::Mutex::default(),
            _lock: lock,
        };
        cells.adopt(dir)?;
        Ok(cells)
    }

    pub(super) fn get(&self, name: &str) -> Option<Placed> {
        let state = self.state();
        state.taken.get(name).map(|(_, placed)| placed.clone())
    }

    /// Notes an order; not durable yet.
    pub(super) fn put(&self, name: &str, placed: Placed) -> Result<(), StoreError> {
        let fails = |source| at(&self.path, source);
        let record = Record {
            name: name.to_owned(),
            placed,
        };
        let json = serde_json::to_string(&record);
        let json = json.map_err(|error| fails(io::Error::other(error)))?;
        let line = seal(now_secs(), &json);
        if line.len() >= CELL_BYTES {
            let long = "an order's name and its provider's are too long together";
            return Err(fails(io::Error::new(io::ErrorKind::InvalidInput, long)));
        }
        let mut state = self.state();
        let cell = match state.taken.get(name) {
            // Where it was noted before it does not go, or no more.
            Some((cell, _)) => *cell,
            None => self.free_cell(&mut state).map_err(fails)?,
        };
        state.noted = state.noted.saturating_add(1);
        state.taken.insert(name.to_owned(), (cell, record.placed));
        self.write(cell, &line).map_err(fails)
    }

    /// Forgets an order. That it comes back after a power cut does no harm.
    pub(super) fn clear(&self, name: &str) -> Result<(), StoreError> {
        let mut state = self.state();
        let Some((cell, _)) = state.taken.remove(name) else {
            return Ok(());
        };
        state.free.push(cell);
        let written = self.write(cell, "");
        written.map_err(|source| at(&self.path, source))
    }

    /// Waits until all that was noted before is durable.
    pub(super) async fn durable(&self) -> Result<(), StoreError> {
        let wanted = self.state().noted;
        let mut durable = self.durable.lock().await;
        if *durable >= wanted {
            return Ok(());
        }
        let (noted, file) = (self.state().noted, Arc::clone(&self.file));
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        let synced = synced.unwrap_or_else(|error| Err(io::Error::other(error)));
        synced.map_err(|source| at(&self.path, source))?;
        *durable = noted;
        Ok(())
    }

    fn free_cell(&self, state: &mut State) -> io::Result<u64> {
        if let Some(cell) = state.free.pop() {
            return Ok(cell);
        }
        if state.count >= CELLS_MAX {
            return Err(io::Error::other(
                "too many orders wait for hosts that do not say what became of them",
            ));
        }
        // What is written over needs no new space of the disk while an order waits.
        let more = state.count..state.count.saturating_add(CELLS_MORE);
        for cell in more.clone() {
            self.write(cell, "")?;
        }
        self.file.sync_all()?;
        state.count = more.end;
        state.free.extend(more.rev());
        state.free.pop().ok_or_else(|| io::Error::other("no cell"))
    }

    fn write(&self, cell: u64, line: &str) -> io::Result<()> {
        let mut bytes = line.as_bytes().to_vec();
        bytes.resize(CELL_BYTES.saturating_sub(1), b' ');
        bytes.push(b'\n');
        let mut file: &File = &self.file;
        let start = cell.saturating_mul(CELL_BYTES as u64);
        file.seek(SeekFrom::Start(start))?;
        file.write_all(&bytes)
    }

    /// Takes over the orders of earlier versions, which had a file each.
    fn adopt(&self, dir: &Path) -> Result<(), StoreError> {
        let mut old = Vec::new();
        for entry in fs::read_dir(dir).map_err(|source| at(dir, source))? {
            let path = entry.map_err(|source| at(dir, source))?.path();
            let is_old = path.extension().is_some_and(|kind| kind == "json");
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if !is_old {
                continue;
            }
            let json = fs::read(&path).map_err(|source| at(&path, source))?;
            let placed = serde_json::from_slice(&json);
            let placed = placed.map_err(|error| StoreError::Format {
                path: path.clone(),
                problem: error.to_string(),
            })?;
            self.put(name, placed)?;
            old.push(path);
        }
        self.file
            .sync_data()
            .map_err(|source| at(&self.path, source))?;
        for path in old {
            fs::remove_file(&path).map_err(|source| at(&path, source))?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each step under this lock leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn read(bytes: &[u8]) -> Self {
        let mut state = Self {
            taken: HashMap::new(),
            free: Vec::new(),
            count: 0,
            noted: 0,
        };
        let since = now_secs().saturating_sub(AGE_SECS_MAX);
        for cell in bytes.chunks(CELL_BYTES) {
            // What is torn was never sent.
            let record = unseal(cell).filter(|(noted_at, _)| *noted_at >= since);
            let record = record.and_then(|(_, json)| serde_json::from_str::<Record>(json).ok());
            match record {
                Some(Record { name, placed }) => {
                    state.taken.insert(name, (state.count, placed));
                }
                None => state.free.push(state.count),
            }
            state.count = state.count.saturating_add(1);
        }
        state
    }
}

/// Takes a lock, waiting a little for whoever is about to let go of it. Blocks.
fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private().create(true).truncate(false).open(path);
    let file = file.map_err(|source| at(path, source))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(at(path, source)),
        }
    }
}

fn now_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

const FILE: &str = "orders.jsonl";
const LOCK: &str = "orders.lock";
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Room for the names of an order, a provider and a channel. Disks write as much at once, or more.
const CELL_BYTES: usize = 512;
const CELLS_MORE: u64 = 64;
/// 32 MiB.
const CELLS_MAX: u64 = 1 << 16;
/// Longer than the ledgers of hosts keep answers.
const AGE_SECS_MAX: u64 = 7 * 24 * 60 * 60;

#[cfg(test)]
mod tests;
