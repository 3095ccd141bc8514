//! Keys and values that outlive a call: what the host needs of whoever keeps them.
//!
//! Which bucket a guest may open is decided by the capability; the port keeps buckets apart and within their
//! quotas, and makes each change whole and in one order for everybody.
//!
//! What crosses the socket to a [cell](crate::cell) can be encoded; no other encoding of it exists.
//!
//! Non-goals: storage, and what WebAssembly sees of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

/// Whose keys: a service's own, or those of one of its payers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The service's name; its versions share it.
    pub service: String,
    /// The payer; empty for the service's own bucket.
    pub payer: String,
}

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// The number of the change that wrote it, from 1.
    pub revision: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// A change of one bucket: all of it happens, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyChange {
    /// Writes keys; of one that is given twice, the last value counts.
    Set(Vec<(String, Vec<u8>)>),
    /// Removes keys; those that are not there are passed over.
    Delete(Vec<String>),
    /// Writes a key if nobody wrote or removed it since `revision`, where 0 is "it is not there".
    Swap {
        /// The key.
        key: String,
        /// What [`KeyEntry::revision`] said.
        revision: u64,
        /// The new value.
        value: Vec<u8>,
    },
    /// Adds to the decimal number of a key, which is 0 where there is none.
    Increment {
        /// The key.
        key: String,
        /// What is added.
        delta: i128,
        /// The least sum.
        lowest: i128,
        /// The greatest sum.
        highest: i128,
    },
}

/// What became of a [`KeyChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyChanged {
    /// It was made.
    Done,
    /// Somebody else changed the key first; nothing was done.
    Moved,
    /// The sum of an increment.
    Sum(i128),
}

/// Where a listing of keys begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyStart {
    /// At the first key.
    First,
    /// Behind this key, whether or not it is still there.
    After(String),
    /// Behind so many keys.
    Past(u64),
}

/// Why something was not read or not changed; the guest gets the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyValueError(pub String);

/// An answer that is on its way.
pub type KeyValueAnswer<T> = Pin<Box<dyn Future<Output = Result<T, KeyValueError>> + Send>>;

/// Keeps keys and values for guests. Nothing here blocks; every answer is cancel-safe: a change whose answer
/// is dropped is made whole or not at all.
pub trait KeyValue: fmt::Debug + Send + Sync {
    /// Which run of the store this is: another one after changes were lost.
    fn run(&self) -> u64;

    /// The values of keys in their order, at most `bytes_max` bytes together.
    fn get(
        &self,
        bucket: Bucket,
        keys: Vec<String>,
        bytes_max: u64,
    ) -> KeyValueAnswer<Vec<Option<KeyEntry>>>;

    /// At most `count` keys in their order.
    fn list(&self, bucket: Bucket, start: KeyStart, count: usize) -> KeyValueAnswer<Vec<String>>;

    /// Makes a change, after which everybody sees it, and the bucket has no more than `bytes_max` bytes or
    /// none more than before.
    fn change(
        &self,
        bucket: Bucket,
        change: KeyChange,
        bytes_max: u64,
    ) -> KeyValueAnswer<KeyChanged>;

    /// Waits until all that anybody can see is durable; fails if something was lost since [`run`](Self::run)
    /// was `run`.
    fn sync(&self, run: u64) -> KeyValueAnswer<()>;
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoKeyValue;

impl KeyValue for NoKeyValue {
    fn run(&self) -> u64 {
        0
    }

    fn get(&self, _: Bucket, _: Vec<String>, _: u64) -> KeyValueAnswer<Vec<Option<KeyEntry>>> {
        none()
    }

    fn list(&self, _: Bucket, _: KeyStart, _: usize) -> KeyValueAnswer<Vec<String>> {
        none()
    }

    fn change(&self, _: Bucket, _: KeyChange, _: u64) -> KeyValueAnswer<KeyChanged> {
        none()
    }

    fn sync(&self, _: u64) -> KeyValueAnswer<()> {
        Box::pin(async { Ok(()) })
    }
}

fn none<T: 'static>() -> KeyValueAnswer<T> {
    let text = "this host keeps no state: its operator sets sandbox.state_bytes_max";
    Box::pin(async move { Err(KeyValueError(text.to_owned())) })
}
