//! Keeps keys and values: through the SDK, and through the interfaces that other hosts' components import.

mod first;
mod second;

/// Keeps keys and values.
#[rialto_sdk::service]
pub mod state {
    use crate::{first, second};
    use rialto_sdk::state::Bucket;

    fn open(of_caller: bool) -> Result<Bucket, String> {
        if of_caller {
            return Ok(Bucket::of_caller()?);
        }
        Ok(Bucket::of_service()?)
    }

    /// Writes a key.
    pub fn set(of_caller: bool, key: String, value: String) -> Result<(), String> {
        Ok(open(of_caller)?.set(&key, value.as_bytes())?)
    }

    /// Reads a key.
    pub fn get(of_caller: bool, key: String) -> Result<Option<String>, String> {
        let found = open(of_caller)?.get(&key)?;
        Ok(found.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// Removes a key; says whether it was there and whether it is.
    pub fn delete(key: String) -> Result<(bool, bool), String> {
        let bucket = open(false)?;
        let before = bucket.exists(&key)?;
        bucket.delete(&key)?;
        Ok((before, bucket.exists(&key)?))
    }

    /// Adds to a key by an increment.
    pub fn increment(key: String, delta: i64) -> Result<i64, String> {
        Ok(open(false)?.increment(&key, delta)?)
    }

    /// Adds one to a key by reading, adding and swapping until nobody else was faster.
    pub fn count(of_caller: bool, key: String) -> Result<u64, String> {
        let bucket = open(of_caller)?;
        let number = |value: Option<&[u8]>| {
            let text = std::str::from_utf8(value.unwrap_or(b"0")).unwrap_or("0");
            text.parse::<u64>().unwrap_or(0)
        };
        let next = |value: Option<&[u8]>| Some((number(value) + 1).to_string().into_bytes());
        let now = bucket.update(&key, next)?;
        Ok(number(now.as_deref()))
    }

    /// Writes so many keys at once, reads them at once with one that is not there, and counts them in
    /// pages; removes them again.
    pub fn batch(keys: u32) -> Result<(u32, u32), String> {
        let bucket = open(false)?;
        let name = |number| format!("batch-{number:05}");
        let all: Vec<u32> = (0..keys).collect();
        let mut found = 0;
        for part in all.chunks(500) {
            let pairs = part.iter().map(|&it| (name(it), it.to_le_bytes().to_vec()));
            bucket.set_many(&pairs.collect::<Vec<_>>())?;
            let mut names: Vec<String> = part.iter().map(|&it| name(it)).collect();
            names.push("not there".to_owned());
            let values = bucket.get_many(&names)?;
            found += u32::try_from(values.iter().flatten().count()).unwrap_or(0);
        }
        let (mut listed, mut cursor) = (0, None);
        loop {
            let (names, next) = bucket.keys(cursor.as_deref())?;
            listed += u32::try_from(names.len()).unwrap_or(0);
            for part in names.chunks(500) {
                bucket.delete_many(part)?;
            }
            cursor = next;
            if cursor.is_none() {
                return Ok((found, listed));
            }
        }
    }

    /// Writes values of so many bytes under new keys until it is refused; says how many and why.
    pub fn fill(of_caller: bool, bytes: u32) -> Result<(u32, String), String> {
        let bucket = open(of_caller)?;
        let value = vec![b'x'; bytes as usize];
        let mut written = 0;
        loop {
            match bucket.set(&format!("fill-{written}"), &value) {
                Ok(()) => written += 1,
                Err(error) => return Ok((written, error.into())),
            }
        }
    }

    /// Writes a key, and then traps, or refuses.
    pub fn write_and_fail(key: String, traps: bool) -> Result<(), String> {
        open(false)?.set(&key, b"written")?;
        assert!(!traps, "as it was asked to");
        Err("as it was asked to".to_owned())
    }

    /// Takes note of a key, writes it, and tries to swap it: what the host says is there instead.
    pub fn swap_late(key: String) -> Result<String, String> {
        second::swap_late(&key)
    }

    /// Takes notes of a key until it is refused; says how many and why.
    pub fn hold_notes(key: String) -> Result<(u32, String), String> {
        second::hold(&key)
    }

    /// Opens a bucket by its name.
    pub fn open_by_name(name: String) -> Result<(), String> {
        second::open(&name)
    }

    /// Uses the first draft alone: writes, increments, lists and reads; says what it saw.
    pub fn by_first_draft(keys: u32) -> Result<Vec<String>, String> {
        first::run(keys)
    }
}
