//! Runs fuzz targets on their committed inputs, as an ordinary test: the seeds, and whatever once
//! broke a decoder.
//!
//! The crates that have targets include this file by its path, so that CI needs no libFuzzer. Each
//! input is also cut short and changed in single bytes, at places spread over it. Looking for new
//! inputs is `cargo xtask fuzz`'s.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// Runs one target on all its inputs.
pub(super) fn seeds(target: &str, run: impl Fn(&[u8])) {
    let folder = root().join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} has no seeds");
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        let _running = Running(&path);
        run(&bytes);
        for at in places(bytes.len()) {
            run(&bytes[..at]);
            for change in [0x01, 0x20, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                run(&changed);
            }
        }
    }
}

/// Places spread over an input, so many at most that a test stays short.
fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(length.div_ceil(PLACES_MAX).max(1))
}

/// The checkout that the including crate lies in.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("fuzz/seeds").is_dir())
        .unwrap()
        .to_path_buf()
}

/// Names the input that was running when a property broke.
struct Running<'a>(&'a Path);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input was {}, or a change of it", self.0.display());
        }
    }
}

const PLACES_MAX: usize = 96;
