//! Keys and values that stay from call to call. Needs the grant `key_value`.
//!
//! ```no_run
//! # fn main() -> Result<(), rialto_sdk::state::Error> {
//! let bucket = rialto_sdk::state::Bucket::of_service()?;
//! let visits = bucket.increment("visits", 1)?;
//! bucket.update("last", |_| Some(format!("visit {visits}").into_bytes()))?;
//! # Ok(())
//! # }
//! ```
//!
//! What is written stays written, also if the call fails afterwards: write last. Everybody sees a change
//! when its function returns; it is on the host's disk before the call's answer goes out.

use std::fmt;

use crate::bindings::keyvalue::wasi::keyvalue::{atomics, batch, store};

/// Keys and their values.
#[derive(Debug)]
pub struct Bucket(store::Bucket);

impl Bucket {
    /// The service's own bucket, which all its callers share.
    ///
    /// # Errors
    /// [`Error`] with the host's reason.
    pub fn of_service() -> Result<Self, Error> {
        Ok(Self(store::open("default")?))
    }

    /// The bucket of whoever pays for this call.
    ///
    /// # Errors
    /// [`Error`] if nobody does.
    pub fn of_caller() -> Result<Self, Error> {
        Ok(Self(store::open("caller")?))
    }

    /// The value of a key; none if it is not there.
    ///
    /// # Errors
    /// [`Error`] with the host's reason.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(key)?)
    }

    /// The values of keys, in their order.
    ///
    /// # Errors
    /// [`Error`], also for more than a thousand keys.
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let found = batch::get_many(&self.0, keys)?;
        Ok(found.into_iter().map(|(_, value)| value).collect())
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// [`Error`] with the host's reason.
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.0.exists(key)?)
    }

    /// Writes a key, whatever it held.
    ///
    /// # Errors
    /// [`Error`], also for a quota that is used up.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        Ok(self.0.set(key, value)?)
    }

    /// Writes keys, all or none.
    ///
    /// # Errors
    /// [`Error`], also for a quota that is used up.
    pub fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), Error> {
        Ok(batch::set_many(&self.0, pairs)?)
    }

    /// Removes a key; one that is not there is as good as removed.
    ///
    /// # Errors
    /// [`Error`] with the host's reason.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        Ok(self.0.delete(key)?)
    }

    /// Removes keys, all or none.
    ///
    /// # Errors
    /// [`Error`] with the host's reason.
    pub fn delete_many(&self, keys: &[String]) -> Result<(), Error> {
        Ok(batch::delete_many(&self.0, keys)?)
    }

    /// A page of keys behind the one that `cursor` names, and the next cursor; none after the last page.
    ///
    /// # Errors
    /// [`Error`] with the host's reason.
    pub fn keys(&self, cursor: Option<&str>) -> Result<(Vec<String>, Option<String>), Error> {
        let page = self.0.list_keys(cursor)?;
        Ok((page.keys, page.cursor))
    }

    /// Adds to a key that holds a number as decimal text, from 0 where there is none; returns the sum. No
    /// two calls get the same one.
    ///
    /// # Errors
    /// [`Error`], also if the key holds something else.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        Ok(atomics::increment(&self.0, key, delta)?)
    }

    /// Replaces a value by what `next` makes of it, again if another call was faster, so that no change is
    /// lost; none from `next` leaves it as it is. Returns what is there now.
    ///
    /// # Errors
    /// [`Error`] with the host's reason.
    pub fn update(
        &self,
        key: &str,
        mut next: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut noted = atomics::Cas::new(&self.0, key)?;
        loop {
            let current = noted.current()?;
            let Some(value) = next(current.as_deref()) else {
                return Ok(current);
            };
            match atomics::swap(noted, &value) {
                Ok(()) => return Ok(Some(value)),
                Err(atomics::CasError::CasFailed(now)) => noted = now,
                Err(atomics::CasError::StoreError(error)) => return Err(error.into()),
            }
        }
    }
}

/// Why something was not read or written; in the host's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// So that `?` works in methods whose error is a text.
impl From<Error> for String {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self(match error {
            store::Error::NoSuchStore => "there is no such bucket".to_owned(),
            store::Error::AccessDenied => "the bucket is not for this call".to_owned(),
            store::Error::Other(text) => text,
        })
    }
}
