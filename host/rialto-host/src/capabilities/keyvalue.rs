//! `wasi:keyvalue`, both drafts, and Spin's own interface: buckets of the service and of the payer of the call.
//!
//! What they have in common is here; [`draft`], [`draft2`] and [`spin`] only turn it into their types. Every
//! function counts as a call to the host with the bytes of its keys and values. Whoever reads or writes here
//! has the call's answer wait until what it saw is durable (`service::call`).

mod draft;
mod draft2;
mod spin;

use wasmtime::component::{Linker, Resource};

use crate::keyvalue::{Bucket, KeyChange, KeyChanged, KeyEntry, KeyStart};
use crate::state::CallState;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1_024;
/// The largest value, in bytes.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// Keys of one page of a listing, and of one batch.
pub(crate) const KEYS_MAX: usize = 1_000;
/// The farthest that a listing by number may begin.
const PAST_MAX: u64 = 1_000_000;

/// A bucket as the guest's handle sees it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenBucket(Bucket);

/// A key as it was at one moment, as the guest's handle sees it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Noted {
    bucket: Bucket,
    key: String,
    entry: Option<KeyEntry>,
}

/// Defines the interfaces.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    draft::link(linker)?;
    draft2::link(linker)?;
    spin::link(linker)
}

/// Why a guest did not get what it asked for; each interface has a type of its own for it.
enum Failure {
    NoSuchStore,
    Other(String),
}

fn other(text: impl Into<String>) -> Failure {
    Failure::Other(text.into())
}

/// A trap, or what the guest is told.
type Answer<T> = wasmtime::Result<Result<T, Failure>>;

/// Leaves the function with what the guest is told.
macro_rules! told {
    ($answer:expr) => {
        match $answer {
            Ok(value) => value,
            Err(error) => return Ok(Err(error.into())),
        }
    };
}
use told;

impl CallState {
    fn open_bucket(&mut self, identifier: &str) -> Answer<Resource<OpenBucket>> {
        self.charge_host_call(identifier.len() as u64)?;
        let payer = match identifier {
            "" | "default" => String::new(),
            "caller" if self.payer.is_empty() => {
                let text = "nobody pays for this call, so there is no bucket \"caller\"; \
                            \"default\" is every caller's";
                return Ok(Err(other(text)));
            }
            "caller" => self.payer.clone(),
            _ => return Ok(Err(Failure::NoSuchStore)),
        };
        let service = self.shared.service.clone();
        let bucket = OpenBucket(Bucket { service, payer });
        Ok(Ok(self.table.push(bucket)?))
    }

    async fn entries(
        &mut self,
        bucket: &Resource<OpenBucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<KeyEntry>>> {
        let bucket = self.table.get(bucket)?.0.clone();
        self.entries_of(bucket, keys).await
    }

    async fn entries_of(
        &mut self,
        bucket: Bucket,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<KeyEntry>>> {
        let bytes = keys.iter().map(|key| key.len() as u64).sum();
        self.charge_host_call(bytes)?;
        told!(check_count(keys.len()));
        told!(keys.iter().try_for_each(|key| check_key(key)));
        self.touch_state();
        let bytes_max = self.shared.limits.transfer_bytes_max;
        let found = self.shared.key_value.get(bucket, keys, bytes_max).await;
        let found = told!(found.map_err(|error| other(error.0)));
        let values = found.iter().flatten().map(|entry| entry.value.len() as u64);
        self.charge_host_bytes(values.sum())?;
        Ok(Ok(found))
    }

    async fn entry(
        &mut self,
        bucket: &Resource<OpenBucket>,
        key: String,
    ) -> Answer<Option<KeyEntry>> {
        let mut found = told!(self.entries(bucket, vec![key]).await?);
        Ok(Ok(found.pop().flatten()))
    }

    async fn page(
        &mut self,
        bucket: &Resource<OpenBucket>,
        start: KeyStart,
    ) -> Answer<Vec<String>> {
        self.charge_host_call(0)?;
        told!(check_start(&start));
        let bucket = self.table.get(bucket)?.0.clone();
        self.touch_state();
        let found = self.shared.key_value.list(bucket, start, KEYS_MAX).await;
        let keys = told!(found.map_err(|error| other(error.0)));
        self.charge_host_bytes(keys.iter().map(|key| key.len() as u64).sum())?;
        Ok(Ok(keys))
    }

    async fn change(
        &mut self,
        bucket: &Resource<OpenBucket>,
        change: KeyChange,
    ) -> Answer<KeyChanged> {
        let bucket = self.table.get(bucket)?.0.clone();
        self.change_of(bucket, change).await
    }

    async fn change_of(&mut self, bucket: Bucket, change: KeyChange) -> Answer<KeyChanged> {
        let bytes = bytes_of(&change);
        self.charge_host_call(bytes)?;
        told!(check(&change));
        self.state_bytes = self.state_bytes.saturating_add(bytes);
        self.touch_state();
        let bytes_max = self.shared.limits.key_value_bytes_max;
        let changed = self.shared.key_value.change(bucket, change, bytes_max);
        Ok(changed.await.map_err(|error| other(error.0)))
    }

    async fn increase(
        &mut self,
        bucket: &Resource<OpenBucket>,
        key: String,
        delta: i128,
        range: std::ops::RangeInclusive<i128>,
    ) -> Answer<i128> {
        let change = KeyChange::Increment {
            key,
            delta,
            lowest: *range.start(),
            highest: *range.end(),
        };
        match told!(self.change(bucket, change).await?) {
            KeyChanged::Sum(sum) => Ok(Ok(sum)),
            KeyChanged::Done | KeyChanged::Moved => Ok(Err(other("no sum was made"))),
        }
    }

    /// Takes note of a key. What all notes hold is limited like one transfer.
    async fn note(&mut self, bucket: Bucket, key: String) -> Answer<Resource<Noted>> {
        let found = self.entries_of(bucket.clone(), vec![key.clone()]).await?;
        let entry = told!(found).pop().flatten();
        let note = Noted { bucket, key, entry };
        let held = self.noted_bytes.saturating_add(note.bytes());
        let bytes_max = self.shared.limits.transfer_bytes_max;
        if held > bytes_max {
            let text = format!("the call holds more than {bytes_max} bytes of values to swap");
            return Ok(Err(other(text)));
        }
        self.noted_bytes = held;
        Ok(Ok(self.table.push(note)?))
    }

    fn forget_note(&mut self, note: Resource<Noted>) -> wasmtime::Result<Noted> {
        let note = self.table.delete(note)?;
        self.noted_bytes = self.noted_bytes.saturating_sub(note.bytes());
        Ok(note)
    }

    /// From now on the call's answer depends on what is kept.
    fn touch_state(&mut self) {
        let run = || self.shared.key_value.run();
        self.state_run.get_or_insert_with(run);
    }
}

impl Noted {
    fn bytes(&self) -> u64 {
        self.entry.as_ref().map_or(0, |it| it.value.len() as u64)
    }
}

fn bytes_of(change: &KeyChange) -> u64 {
    let bytes: usize = match change {
        KeyChange::Set(pairs) => {
            let pairs = pairs.iter();
            pairs.map(|(key, value)| key.len() + value.len()).sum()
        }
        KeyChange::Delete(keys) => keys.iter().map(String::len).sum(),
        KeyChange::Swap { key, value, .. } => key.len() + value.len(),
        KeyChange::Increment { key, .. } => key.len(),
    };
    bytes as u64
}

/// What is wrong with these keys, whoever sends them.
pub(crate) fn fault_of_keys(keys: &[String]) -> Option<String> {
    let sound = check_count(keys.len());
    let mut keys = keys.iter();
    text_of(sound.and_then(|()| keys.try_for_each(|key| check_key(key))))
}

/// What is wrong with this start of a page.
pub(crate) fn fault_of_start(start: &KeyStart) -> Option<String> {
    text_of(check_start(start))
}

/// What is wrong with this change, whoever sends it.
pub(crate) fn fault_of_change(change: &KeyChange) -> Option<String> {
    text_of(check(change))
}

fn text_of(checked: Result<(), Failure>) -> Option<String> {
    match checked {
        Ok(()) => None,
        Err(Failure::Other(text)) => Some(text),
        Err(Failure::NoSuchStore) => Some("there is no such store".to_owned()),
    }
}

fn check_start(start: &KeyStart) -> Result<(), Failure> {
    if matches!(start, KeyStart::Past(keys) if *keys > PAST_MAX) {
        return Err(other("there is no such page"));
    }
    Ok(())
}

fn check(change: &KeyChange) -> Result<(), Failure> {
    match change {
        KeyChange::Set(pairs) => {
            check_count(pairs.len())?;
            let mut pairs = pairs.iter();
            pairs.try_for_each(|(key, value)| check_key(key).and_then(|()| check_value(value)))
        }
        KeyChange::Delete(keys) => {
            check_count(keys.len())?;
            keys.iter().try_for_each(|key| check_key(key))
        }
        KeyChange::Swap { key, value, .. } => check_key(key).and_then(|()| check_value(value)),
        KeyChange::Increment { key, .. } => check_key(key),
    }
}

fn check_count(keys: usize) -> Result<(), Failure> {
    if keys > KEYS_MAX {
        return Err(other(format!("a batch has at most {KEYS_MAX} keys")));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), Failure> {
    if key.len() > KEY_BYTES_MAX {
        return Err(other(format!("a key has at most {KEY_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), Failure> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(other(format!(
            "a value has at most {VALUE_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}
