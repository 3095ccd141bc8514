//! A call that is paid under one name however often it is made, also by a program that was lost in between.
//!
//! Whom it was sent to, and on which channel, is on the disk before it is sent: a payment's name counts at one host and
//! on one channel, and anywhere else the call would be carried out, and paid, a second time.
//!
//! Not here: what came of it, which whoever places the order keeps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use alloy_primitives::B256;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::store::{at, private_folder, replace};

/// Orders that are not known to have ended, in a folder. Clones share it.
#[derive(Debug, Clone)]
pub struct Orders(Arc<Path>);

/// A call under one name.
#[derive(Debug, Clone)]
pub struct Order {
    orders: Orders,
    pub(super) name: String,
    /// What is sent with it.
    pub(super) headers: HeaderMap,
}

/// Where an order went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Placed {
    /// The provider, as a router names it.
    pub(super) provider: String,
    /// The channel's id.
    pub(super) channel: B256,
}

/// An order at one provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placing<'a> {
    pub(super) order: &'a Order,
    pub(super) provider: &'a str,
}

impl Orders {
    /// Orders in this folder, which is made for its owner alone. Those that are older than hosts keep answers are
    /// forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        private_folder(dir)?;
        for entry in fs::read_dir(dir).map_err(|source| at(dir, source))? {
            let entry = entry.map_err(|source| at(dir, source))?;
            let changed = entry.metadata().and_then(|about| about.modified());
            let age = changed.map(|changed| SystemTime::now().duration_since(changed));
            if matches!(age, Ok(Ok(age)) if age > AGE_MAX) {
                fs::remove_file(entry.path()).ok();
            }
        }
        Ok(Self(dir.into()))
    }

    /// The order of this name, which is a file's, too. The headers go with each of its requests.
    #[must_use]
    pub fn order(&self, name: &str, headers: HeaderMap) -> Order {
        Order {
            orders: self.clone(),
            name: name.to_owned(),
            headers,
        }
    }

    /// Forgets an order: what came of it is kept elsewhere.
    pub fn forget(&self, name: &str) {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "an order stays on the disk for a day");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }
}

impl Order {
    /// Where it went, if it was sent before.
    pub(super) fn placed(&self) -> Result<Option<Placed>, StoreError> {
        let path = self.orders.file(&self.name);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(&path, source)),
        };
        let placed = serde_json::from_slice(&json);
        placed.map(Some).map_err(|error| StoreError::Format {
            path,
            problem: error.to_string(),
        })
    }

    /// Whether it may have been carried out.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !matches!(self.placed(), Ok(None))
    }

    /// Notes where it goes; durable when this returns. False where it went there before.
    pub(super) async fn place(&self, placed: Placed) -> Result<bool, StoreError> {
        if self.placed()?.as_ref() == Some(&placed) {
            return Ok(false);
        }
        let path = self.orders.file(&self.name);
        let written = tokio::task::spawn_blocking(move || {
            let json = serde_json::to_vec(&placed);
            let json = json.map_err(|error| at(&path, io::Error::other(error)))?;
            replace(&path, &json)
        });
        let written = written.await;
        written.map_err(|error| at(&self.orders.0, io::Error::other(error)))??;
        Ok(true)
    }

    /// It was certainly not carried out: it may go anywhere.
    pub(super) fn forget(&self) {
        self.orders.forget(&self.name);
    }
}

/// Longer than the ledgers of hosts keep answers.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(provider: &str) -> Placed {
        Placed {
            provider: provider.to_owned(),
            channel: B256::repeat_byte(7),
        }
    }

    #[tokio::test]
    async fn an_order_is_known_to_whoever_comes_after() {
        let dir = tempfile::tempdir().unwrap();
        let order = || {
            let orders = Orders::open(dir.path()).unwrap();
            orders.order("hire-1", HeaderMap::new())
        };
        assert_eq!(order().placed().unwrap(), None);
        assert!(order().place(placed("a")).await.unwrap());
        assert!(!order().place(placed("a")).await.unwrap());
        assert_eq!(order().placed().unwrap(), Some(placed("a")));
        assert!(order().place(placed("b")).await.unwrap());
        assert_eq!(order().placed().unwrap(), Some(placed("b")));
        order().forget();
        order().forget();
        assert_eq!(order().placed().unwrap(), None);
        // What cannot be read is not taken for nothing.
        fs::write(dir.path().join("hire-1.json"), "{").unwrap();
        order().placed().unwrap_err();
    }
}
