//! Where ONNX Runtime's library is.
//!
//! Found by, in this order: the file that the configuration names; the environment variable
//! `ORT_DYLIB_PATH`; the system's library folders; the packages of this machine's Pythons, as
//! `pip install onnxruntime` puts them there. The first three may hold a library built for CUDA.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The library's file, and why there is none.
///
/// # Errors
/// [`NotFound`] with what was looked for. A file that the configuration or the environment names and
/// that is not there is an error even if another would be found.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, NotFound> {
    if let Some(file) = configured {
        return named(file, "the configuration");
    }
    if let Some(file) = env::var_os(VARIABLE).filter(|file| !file.is_empty()) {
        return named(Path::new(&file), VARIABLE);
    }
    let places = || library_folders().chain(python_folders());
    let found = places().find_map(|folder| newest_in(&folder));
    found.ok_or_else(|| NotFound::Nowhere {
        looked: places().filter(|folder| folder.is_dir()).count(),
    })
}

/// The version in the library's file name, links followed: `libonnxruntime.so.1.31.1`.
#[must_use]
pub fn version(library: &Path) -> Option<String> {
    let file = fs::canonicalize(library).ok()?;
    let name = file.file_name()?.to_str()?;
    let rest = name.strip_prefix(STEM)?;
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let version = digits.trim_end_matches(|c: char| !c.is_ascii_digit());
    (version.split('.').count() > 1).then(|| version.to_owned())
}

/// Why there is no ONNX Runtime here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// The file that somebody named is not there.
    #[error("ONNX Runtime's library is not at {}, which {by} names", file.display())]
    Named {
        /// The file.
        file: PathBuf,
        /// Who names it.
        by: &'static str,
    },
    /// It is not in any usual place.
    #[error(
        "ONNX Runtime is in none of the {looked} usual folders: install it with \
         `pip install onnxruntime`, or name libonnxruntime's file in ORT_DYLIB_PATH or in \
         [engines] of the configuration"
    )]
    Nowhere {
        /// How many folders were looked through.
        looked: usize,
    },
}

fn named(file: &Path, by: &'static str) -> Result<PathBuf, NotFound> {
    // Absolute: a worker has another working folder.
    match fs::canonicalize(file) {
        Ok(absolute) if absolute.is_file() => Ok(absolute),
        Ok(_) | Err(_) => Err(NotFound::Named {
            file: file.to_owned(),
            by,
        }),
    }
}

/// The library with the highest version in a folder.
fn newest_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let libraries = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix(STEM))
            .is_some_and(|rest| rest.starts_with(ENDING) || rest.ends_with(ENDING))
    });
    let numbers = |path: &PathBuf| -> Vec<u32> {
        let version = version(path).unwrap_or_default();
        version
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect()
    };
    libraries
        .max_by_key(numbers)
        .and_then(|library| fs::canonicalize(library).ok())
}

fn library_folders() -> impl Iterator<Item = PathBuf> {
    let architecture = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    [
        "/usr/local/lib",
        "/usr/lib",
        "/usr/lib64",
        "/opt/homebrew/lib",
    ]
    .into_iter()
    .map(PathBuf::from)
    .chain([PathBuf::from(architecture)])
}

/// Where the packages of this machine's Pythons keep ONNX Runtime.
fn python_folders() -> impl Iterator<Item = PathBuf> {
    let active = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let user = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    let system = ["/usr/local", "/usr", "/opt/homebrew"].map(PathBuf::from);
    let prefixes = active.into_iter().chain(user).chain(system);
    prefixes.flat_map(|prefix| in_python(&prefix))
}

/// The places below one Python's prefix, newest Python first.
pub(crate) fn in_python(prefix: &Path) -> Vec<PathBuf> {
    let library = prefix.join("lib");
    let entries = fs::read_dir(&library).into_iter().flatten().flatten();
    let mut pythons: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("python3"))
        })
        .collect();
    pythons.sort_unstable();
    pythons.reverse();
    let packages = |python: PathBuf| {
        ["site-packages", "dist-packages"].map(|name| python.join(name).join("onnxruntime/capi"))
    };
    pythons.into_iter().flat_map(packages).collect()
}

/// The environment variable that other programs use for this, too.
const VARIABLE: &str = "ORT_DYLIB_PATH";
const STEM: &str = "libonnxruntime.";
const ENDING: &str = if cfg!(target_os = "macos") {
    "dylib"
} else {
    "so"
};

/// The library that the tests' Python came with.
#[cfg(test)]
pub(crate) fn of_tests() -> PathBuf {
    let venv = env::var_os("RIALTO_VENV").expect("`cargo xtask test` makes and names the clients");
    let places = in_python(Path::new(&venv));
    let found = places.iter().find_map(|folder| newest_in(folder));
    found.expect("the clients' Python has onnxruntime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_of_a_folder_is_found() {
        let folder = env::temp_dir().join(format!("rialto-find-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let place = |name: &str| folder.join(name);
        for name in [
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.a",
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
        ] {
            fs::write(place(name), "").unwrap();
        }
        if cfg!(target_os = "linux") {
            let newest = newest_in(&folder).unwrap();
            assert!(newest.ends_with("libonnxruntime.so.1.31.1"));
            assert_eq!(version(&newest).unwrap(), "1.31.1");
        }
        fs::write(place("libonnxruntime.so"), "").unwrap();
        assert_eq!(version(&place("libonnxruntime.so")), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_named_file_must_be_there() {
        let missing = Path::new("/nowhere/libonnxruntime.so");
        let error = find(Some(missing)).unwrap_err();
        assert!(error.to_string().contains("which the configuration names"));
    }
}
