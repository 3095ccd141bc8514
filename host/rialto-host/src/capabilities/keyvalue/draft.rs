//! `wasi:keyvalue@0.2.0-draft`: the first draft, which several hosts serve.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::super::bindings::keyvalue_draft::wasi::keyvalue::{atomics, batch, store};
use super::{Failure, KEYS_MAX, OpenBucket, told};
use crate::keyvalue::{KeyChange, KeyStart};
use crate::state::CallState;
use store::{Error, KeyResponse};

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    atomics::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    batch::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoSuchStore => Self::NoSuchStore,
            Failure::Other(text) => Self::Other(text),
        }
    }
}

impl store::Host for CallState {
    fn open(&mut self, identifier: String) -> Answer<Resource<OpenBucket>> {
        Ok(Ok(told!(self.open_bucket(&identifier)?)))
    }
}

impl store::HostBucket for CallState {
    async fn get(&mut self, this: Resource<OpenBucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let found = told!(self.entry(&this, key).await?);
        Ok(Ok(found.map(|entry| entry.value)))
    }

    async fn set(&mut self, this: Resource<OpenBucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let change = KeyChange::Set(vec![(key, value)]);
        told!(self.change(&this, change).await?);
        Ok(Ok(()))
    }

    async fn delete(&mut self, this: Resource<OpenBucket>, key: String) -> Answer<()> {
        told!(self.change(&this, KeyChange::Delete(vec![key])).await?);
        Ok(Ok(()))
    }

    async fn exists(&mut self, this: Resource<OpenBucket>, key: String) -> Answer<bool> {
        Ok(Ok(told!(self.entry(&this, key).await?).is_some()))
    }

    async fn list_keys(
        &mut self,
        this: Resource<OpenBucket>,
        cursor: Option<u64>,
    ) -> Answer<KeyResponse> {
        let past = cursor.unwrap_or(0);
        let keys = told!(self.page(&this, KeyStart::Past(past)).await?);
        let more = keys.len() == KEYS_MAX;
        let cursor = more.then(|| past.saturating_add(keys.len() as u64));
        Ok(Ok(KeyResponse { keys, cursor }))
    }

    fn drop(&mut self, this: Resource<OpenBucket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl atomics::Host for CallState {
    async fn increment(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        delta: u64,
    ) -> Answer<u64> {
        let range = 0..=u64::MAX.into();
        let sum = told!(self.increase(&bucket, key, delta.into(), range).await?);
        Ok(u64::try_from(sum).map_err(|error| Error::Other(error.to_string())))
    }
}

impl batch::Host for CallState {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let found = told!(self.entries(&bucket, keys.clone()).await?);
        let pairs = keys.into_iter().zip(found);
        let pairs = pairs.map(|(key, entry)| entry.map(|entry| (key, entry.value)));
        Ok(Ok(pairs.collect()))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<OpenBucket>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        told!(self.change(&bucket, KeyChange::Set(key_values)).await?);
        Ok(Ok(()))
    }

    async fn delete_many(&mut self, bucket: Resource<OpenBucket>, keys: Vec<String>) -> Answer<()> {
        told!(self.change(&bucket, KeyChange::Delete(keys)).await?);
        Ok(Ok(()))
    }
}
