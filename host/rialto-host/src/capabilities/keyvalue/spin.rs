//! `fermyon:spin/key-value@2.0.0`: what Spin's SDK has beside `wasi:keyvalue`.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::super::bindings::keyvalue_spin::fermyon::spin::key_value;
use super::{Failure, KEYS_MAX, OpenBucket, other, told};
use crate::keyvalue::{KeyChange, KeyStart};
use crate::state::CallState;
use key_value::Error;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    key_value::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
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

impl key_value::Host for CallState {}

impl key_value::HostStore for CallState {
    fn open(&mut self, label: String) -> Answer<Resource<OpenBucket>> {
        Ok(Ok(told!(self.open_bucket(&label)?)))
    }

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

    async fn get_keys(&mut self, this: Resource<OpenBucket>) -> Answer<Vec<String>> {
        let bytes_max = self.shared.limits.transfer_bytes_max;
        let (mut all, mut bytes) = (Vec::new(), 0_u64);
        loop {
            let start = all.last().cloned().map_or(KeyStart::First, KeyStart::After);
            let page: Vec<String> = told!(self.page(&this, start).await?);
            let is_last = page.len() < KEYS_MAX;
            let sizes = page.iter().map(|key| key.len() as u64);
            bytes = bytes.saturating_add(sizes.sum());
            if bytes > bytes_max {
                let text = format!(
                    "the keys have more than {bytes_max} bytes; list them by `wasi:keyvalue/store`"
                );
                return Ok(Err(other(text).into()));
            }
            all.extend(page);
            if is_last {
                return Ok(Ok(all));
            }
        }
    }

    fn drop(&mut self, this: Resource<OpenBucket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
