//! A disk in memory that can be full, and outlives the database that is on it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::{Builder, Database, StorageBackend};
use rialto_state::{OpenError, Place};
use tokio::sync::Notify;

#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Platter>);

#[derive(Debug, Default)]
struct Platter {
    bytes: Mutex<Vec<u8>>,
    full: AtomicBool,
    syncs: AtomicU64,
    synced: Notify,
}

impl Disk {
    /// From now on nothing more can be written.
    pub(crate) fn fill(&self) {
        self.0.full.store(true, Ordering::SeqCst);
    }

    pub(crate) fn empty(&self) {
        self.0.full.store(false, Ordering::SeqCst);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::SeqCst)
    }

    /// Returns when there were more than `before` syncs.
    pub(crate) async fn synced_after(&self, before: u64) {
        loop {
            let next = self.0.synced.notified();
            if self.syncs() > before {
                return;
            }
            next.await;
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.0.full.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"));
        }
        Ok(())
    }
}

/// The database's view of the disk.
#[derive(Debug)]
struct View(Disk);

impl Place for Disk {
    fn open(&self, builder: &mut Builder) -> Result<Database, OpenError> {
        let opened = builder.create_with_backend(View(self.clone()));
        opened.map_err(|error| OpenError::Database(error.to_string()))
    }
}

fn range(offset: u64, len: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + len
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.0.bytes.lock().unwrap();
        let found = bytes.get(range(offset, out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.0.0.bytes.lock().unwrap();
        let len = usize::try_from(len).unwrap();
        if len > bytes.len() {
            self.0.check()?;
        }
        bytes.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.check()?;
        self.0.0.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.0.synced.notify_waiters();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.check()?;
        let mut bytes = self.0.0.bytes.lock().unwrap();
        bytes[range(offset, data.len())].copy_from_slice(data);
        Ok(())
    }
}
