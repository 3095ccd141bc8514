//! Keys and values in memory, with a disk that can be told to fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rialto_host::{
    Bucket, KeyChange, KeyChanged, KeyEntry, KeyStart, KeyValue, KeyValueAnswer, KeyValueError,
};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    entries: Mutex<BTreeMap<(String, String, String), KeyEntry>>,
    revision: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) broken: AtomicBool,
}

impl Memory {
    fn write(&self, bucket: &Bucket, key: String, value: Option<Vec<u8>>) {
        let place = (bucket.service.clone(), bucket.payer.clone(), key);
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) + 1;
        let mut entries = self.entries.lock().unwrap();
        match value {
            Some(value) => entries.insert(place, KeyEntry { revision, value }),
            None => entries.remove(&place),
        };
    }

    fn read(&self, bucket: &Bucket, key: &str) -> Option<KeyEntry> {
        let place = (bucket.service.clone(), bucket.payer.clone(), key.to_owned());
        self.entries.lock().unwrap().get(&place).cloned()
    }

    fn changed(
        &self,
        bucket: &Bucket,
        change: KeyChange,
        bytes_max: u64,
    ) -> Result<KeyChanged, KeyValueError> {
        let fail = |text: &str| Err(KeyValueError(text.to_owned()));
        match change {
            KeyChange::Set(pairs) => {
                let bytes: usize = pairs.iter().map(|(_, value)| value.len()).sum();
                let entries = self.entries.lock().unwrap();
                let held: usize = entries.values().map(|entry| entry.value.len()).sum();
                drop(entries);
                if (held + bytes) as u64 > bytes_max {
                    return fail("the bucket is full");
                }
                for (key, value) in pairs {
                    self.write(bucket, key, Some(value));
                }
                Ok(KeyChanged::Done)
            }
            KeyChange::Delete(keys) => {
                for key in keys {
                    self.write(bucket, key, None);
                }
                Ok(KeyChanged::Done)
            }
            KeyChange::Swap {
                key,
                revision,
                value,
            } => {
                if self.read(bucket, &key).map_or(0, |it| it.revision) != revision {
                    return Ok(KeyChanged::Moved);
                }
                self.write(bucket, key, Some(value));
                Ok(KeyChanged::Done)
            }
            KeyChange::Increment {
                key,
                delta,
                lowest,
                highest,
            } => {
                let value = self.read(bucket, &key).map(|it| it.value);
                let text = String::from_utf8(value.unwrap_or(b"0".to_vec())).unwrap();
                let Ok(number) = text.parse::<i128>() else {
                    return fail("no number");
                };
                if !(lowest..=highest).contains(&(number + delta)) {
                    return fail("out of range");
                }
                let sum = number + delta;
                self.write(bucket, key, Some(sum.to_string().into_bytes()));
                Ok(KeyChanged::Sum(sum))
            }
        }
    }
}

fn ready<T: Send + 'static>(outcome: Result<T, KeyValueError>) -> KeyValueAnswer<T> {
    Box::pin(std::future::ready(outcome))
}

impl KeyValue for Memory {
    fn run(&self) -> u64 {
        7
    }

    fn get(
        &self,
        bucket: Bucket,
        keys: Vec<String>,
        bytes_max: u64,
    ) -> KeyValueAnswer<Vec<Option<KeyEntry>>> {
        let found: Vec<_> = keys.iter().map(|key| self.read(&bucket, key)).collect();
        let bytes: usize = found.iter().flatten().map(|it| it.value.len()).sum();
        if bytes as u64 > bytes_max {
            return ready(Err(KeyValueError("too large".to_owned())));
        }
        ready(Ok(found))
    }

    fn list(&self, bucket: Bucket, start: KeyStart, count: usize) -> KeyValueAnswer<Vec<String>> {
        let entries = self.entries.lock().unwrap();
        let keys = entries
            .keys()
            .filter(|(service, payer, _)| (service, payer) == (&bucket.service, &bucket.payer));
        let keys = keys.map(|(_, _, key)| key.clone());
        let keys: Vec<String> = match start {
            KeyStart::First => keys.take(count).collect(),
            KeyStart::After(last) => keys.filter(|key| *key > last).take(count).collect(),
            KeyStart::Past(past) => {
                let past = usize::try_from(past).unwrap();
                keys.skip(past).take(count).collect()
            }
        };
        ready(Ok(keys))
    }

    fn change(
        &self,
        bucket: Bucket,
        change: KeyChange,
        bytes_max: u64,
    ) -> KeyValueAnswer<KeyChanged> {
        ready(self.changed(&bucket, change, bytes_max))
    }

    fn sync(&self, run: u64) -> KeyValueAnswer<()> {
        assert_eq!(run, 7);
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return ready(Err(KeyValueError("the disk is full".to_owned())));
        }
        ready(Ok(()))
    }
}
