//! One text that is replaced again and again, in a file with two places for it.
//!
//! Writing over a file that is there takes the disk a fraction of the time of replacing it. Whatever is cut on the way,
//! one place is whole: only the one is written that was not made durable last.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::sealed::{seal, unseal};
use super::{StoreError, at, private, replace};

/// When what is written is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Keep {
    /// When writing returns.
    Now,
    /// When the system gets to it: a power cut before takes it back to what was durable.
    Soon,
}

/// A file with two places. Whoever writes has it alone.
#[derive(Debug)]
pub(in crate::client) struct Places {
    path: PathBuf,
    /// None while there is no file of this form.
    file: Option<File>,
    place_bytes: u64,
    /// The number of what was written last.
    number: u64,
    /// The place that is not written over.
    durable: u64,
}

/// The text in a file of two places, or the whole of any other; none without a file. Others may write meanwhile.
pub(in crate::client) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(
            newest(&bytes).map_or_else(|| bytes.clone(), |it| it.text),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at(path, source)),
    }
}

impl Places {
    /// Opens a file, and reads it as [`read`] does.
    pub(in crate::client) fn open(path: &Path) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        let fails = |source| at(path, source);
        let mut places = Self {
            path: path.to_owned(),
            file: None,
            place_bytes: 0,
            number: 0,
            durable: 0,
        };
        let mut file = match private().read(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((places, None)),
            Err(source) => return Err(fails(source)),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fails)?;
        let Some(newest) = newest(&bytes) else {
            return Ok((places, Some(bytes)));
        };
        places.file = Some(file);
        places.place_bytes = u64::try_from(bytes.len() / 2).unwrap_or(u64::MAX);
        (places.number, places.durable) = (newest.number, newest.place);
        Ok((places, Some(newest.text)))
    }

    /// Makes durable what was found in the file: another program may have left that to the system.
    pub(in crate::client) fn settle(&self) -> Result<(), StoreError> {
        let settled = self.file.as_ref().map_or(Ok(()), File::sync_data);
        settled.map_err(|source| at(&self.path, source))
    }

    /// Replaces the text, which is JSON. Blocks.
    pub(in crate::client) fn write(&mut self, json: &str, keep: Keep) -> Result<(), StoreError> {
        let number = self.number.saturating_add(1);
        let line = seal(number, json);
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let fails = |source| at(&self.path, source);
        match &mut self.file {
            // The last byte of a place ends its line.
            Some(file) if length < self.place_bytes => {
                let place = 1 - self.durable;
                let start = place.saturating_mul(self.place_bytes);
                file.seek(SeekFrom::Start(start)).map_err(fails)?;
                file.write_all(&padded(&line, self.place_bytes))
                    .map_err(fails)?;
                if keep == Keep::Now {
                    file.sync_data().map_err(fails)?;
                    self.durable = place;
                }
            }
            Some(_) | None => self.make(&line, length)?,
        }
        self.number = number;
        Ok(())
    }

    /// Makes the file anew, with room for this line.
    fn make(&mut self, line: &str, length: u64) -> Result<(), StoreError> {
        let place_bytes = length.saturating_add(1).next_multiple_of(PLACE_BYTES);
        let both = [padded(line, place_bytes), padded("", place_bytes)].concat();
        replace(&self.path, &both)?;
        let file = private().read(true).open(&self.path);
        self.file = Some(file.map_err(|source| at(&self.path, source))?);
        (self.place_bytes, self.durable) = (place_bytes, 0);
        Ok(())
    }
}

/// What a place has.
struct Newest {
    place: u64,
    number: u64,
    text: Vec<u8>,
}

/// The newer of two places; none where neither is whole.
fn newest(bytes: &[u8]) -> Option<Newest> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let whole = [(0, first), (1, second)].into_iter();
    let whole = whole.filter_map(|(place, bytes)| {
        let (number, json) = unseal(bytes)?;
        let text = json.as_bytes().to_vec();
        Some(Newest {
            place,
            number,
            text,
        })
    });
    whole.max_by_key(|newest| newest.number)
}

fn padded(line: &str, place_bytes: u64) -> Vec<u8> {
    let length = usize::try_from(place_bytes).unwrap_or(usize::MAX);
    let mut bytes = line.as_bytes().to_vec();
    bytes.resize(length.saturating_sub(1), b' ');
    bytes.push(b'\n');
    bytes
}

/// What disks write at once.
const PLACE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> Option<String> {
        let text = read(path).unwrap();
        text.map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_newest_text_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.json");
        assert_eq!(text(&path), None);
        let (mut places, found) = Places::open(&path).unwrap();
        assert_eq!(found, None);
        for (number, keep) in [Keep::Soon, Keep::Now, Keep::Soon, Keep::Soon, Keep::Now]
            .into_iter()
            .enumerate()
        {
            places.write(&number.to_string(), keep).unwrap();
            assert_eq!(text(&path), Some(number.to_string()));
            assert_eq!(fs::metadata(&path).unwrap().len(), 2 * PLACE_BYTES);
        }
        let (mut places, found) = Places::open(&path).unwrap();
        assert_eq!(found, Some(b"4".to_vec()));
        // What does not fit gets more room.
        let long = format!("\"{}\"", "x".repeat(5000));
        places.write(&long, Keep::Soon).unwrap();
        assert_eq!(text(&path), Some(long));
        places.write("[]", Keep::Now).unwrap();
        assert_eq!(text(&path), Some("[]".to_owned()));
    }

    /// What is left when everything that was not durable is torn.
    fn torn(path: &Path, place: u64) -> String {
        let mut bytes = fs::read(path).unwrap();
        let at = usize::try_from(place * PLACE_BYTES).unwrap();
        bytes[at + 20..at + 40].fill(0);
        fs::write(path, bytes).unwrap();
        text(path).unwrap()
    }

    #[test]
    fn what_is_durable_outlives_what_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.json");
        let begin = || {
            let (mut places, _) = Places::open(&path).unwrap();
            places.write("1", Keep::Now).unwrap();
            places
        };
        let mut places = begin();
        let other = 1 - places.durable;
        places.write("2", Keep::Soon).unwrap();
        places.write("3", Keep::Soon).unwrap();
        assert_eq!(torn(&path, other), "1");
        let mut places = begin();
        places.write("2", Keep::Soon).unwrap();
        places.write("3", Keep::Now).unwrap();
        let other = 1 - places.durable;
        places.write("4", Keep::Soon).unwrap();
        assert_eq!(torn(&path, other), "3");
        // Another program makes durable what it finds, and does not write over it.
        let (mut next, found) = Places::open(&path).unwrap();
        assert_eq!(found, Some(b"3".to_vec()));
        next.settle().unwrap();
        next.write("5", Keep::Soon).unwrap();
        assert_eq!(torn(&path, 1 - next.durable), "3");
    }

    #[test]
    fn any_other_file_is_read_whole_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.json");
        fs::write(&path, "{\n}").unwrap();
        let (mut places, found) = Places::open(&path).unwrap();
        assert_eq!(found, Some(b"{\n}".to_vec()));
        assert_eq!(text(&path), Some("{\n}".to_owned()));
        places.write("1", Keep::Now).unwrap();
        assert_eq!(text(&path), Some("1".to_owned()));
        fs::write(&path, "").unwrap();
        assert_eq!(text(&path), Some(String::new()));
    }
}
