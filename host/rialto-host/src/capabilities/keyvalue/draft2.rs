//! `wasi:keyvalue@0.2.0-draft2`: the draft with compare-and-swap.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::super::bindings::keyvalue_draft2::wasi::keyvalue::{atomics, batch, store};
use super::{Failure, KEYS_MAX, Noted, OpenBucket, told};
use crate::keyvalue::{KeyChange, KeyChanged, KeyStart};
use crate::state::CallState;
use atomics::CasError;
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

impl From<Failure> for CasError {
    fn from(failure: Failure) -> Self {
        Self::StoreError(failure.into())
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
        cursor: Option<String>,
    ) -> Answer<KeyResponse> {
        let start = cursor.map_or(KeyStart::First, KeyStart::After);
        let keys = told!(self.page(&this, start).await?);
        let more = keys.len() == KEYS_MAX;
        let cursor = keys.last().filter(|_| more).cloned();
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
        delta: i64,
    ) -> Answer<i64> {
        let range = i64::MIN.into()..=i64::MAX.into();
        let sum = told!(self.increase(&bucket, key, delta.into(), range).await?);
        Ok(i64::try_from(sum).map_err(|error| Error::Other(error.to_string())))
    }

    async fn swap(
        &mut self,
        cas: Resource<Noted>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), CasError>> {
        let Noted { bucket, key, entry } = self.forget_note(cas)?;
        let change = KeyChange::Swap {
            key: key.clone(),
            revision: entry.map_or(0, |entry| entry.revision),
            value,
        };
        match told!(self.change_of(bucket.clone(), change).await?) {
            KeyChanged::Done | KeyChanged::Sum(_) => Ok(Ok(())),
            KeyChanged::Moved => {
                let now = told!(self.note(bucket, key).await?);
                Ok(Err(CasError::CasFailed(now)))
            }
        }
    }
}

impl atomics::HostCas for CallState {
    async fn new(&mut self, bucket: Resource<OpenBucket>, key: String) -> Answer<Resource<Noted>> {
        let bucket = self.table.get(&bucket)?.0.clone();
        Ok(Ok(told!(self.note(bucket, key).await?)))
    }

    fn current(&mut self, this: Resource<Noted>) -> Answer<Option<Vec<u8>>> {
        let entry = &self.table.get(&this)?.entry;
        let value = entry.as_ref().map(|entry| entry.value.clone());
        self.charge_host_call(value.as_ref().map_or(0, |value| value.len() as u64))?;
        Ok(Ok(value))
    }

    fn drop(&mut self, this: Resource<Noted>) -> wasmtime::Result<()> {
        self.forget_note(this)?;
        Ok(())
    }
}

impl batch::Host for CallState {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        let found = told!(self.entries(&bucket, keys.clone()).await?);
        let values = found.into_iter().map(|entry| entry.map(|it| it.value));
        Ok(Ok(keys.into_iter().zip(values).collect()))
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
