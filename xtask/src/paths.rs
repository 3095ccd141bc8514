//! Where everything lies: the checkout, and the cache outside it.
//!
//! The cache is shared by checkouts and survives them, so that heavy builds happen once.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders that tasks read and write; all absolute, none necessarily there yet.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// `$RIALTO_CACHE`, else `$XDG_CACHE_HOME/rialto`, else `~/.cache/rialto`.
    pub(crate) cache: PathBuf,
    /// The host's build folder: `$CARGO_TARGET_DIR`, else `target` in the cache.
    pub(crate) target: PathBuf,
}

impl Paths {
    /// Finds the folders from the environment.
    pub(crate) fn discover() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("xtask's folder has no parent")?
            .to_path_buf();
        let here = env::current_dir().context("the current folder")?;
        let cache = here.join(cache_from(|name| env::var_os(name).map(PathBuf::from))?);
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| cache.join("target"), |target| here.join(target));
        Ok(Self {
            root,
            cache,
            target,
        })
    }

    /// The guests' own workspace.
    pub(crate) fn services_source(&self) -> PathBuf {
        self.root.join("services")
    }

    /// Guests' build folder: another compiler than the host's may build them.
    pub(crate) fn guest_target(&self) -> PathBuf {
        self.cache.join("guest-target")
    }

    /// The private toolchain of the Debian fallback.
    pub(crate) fn toolchain(&self) -> PathBuf {
        self.cache.join("wasm-toolchain")
    }

    /// Built services, one folder each: `component.wasm` and `service.toml`.
    pub(crate) fn services(&self) -> PathBuf {
        self.cache.join("services")
    }

    /// Files that guests embed when they are built.
    pub(crate) fn assets(&self) -> PathBuf {
        self.cache.join("assets")
    }

    /// The artifact store: models by digest.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.cache.join("artifacts")
    }

    /// Clients that nobody here wrote, for the end-to-end tests.
    pub(crate) fn clients(&self) -> PathBuf {
        self.cache.join("clients")
    }

    /// Tools that only benchmarks use.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// The fuzz targets' own workspace.
    pub(crate) fn fuzz_source(&self) -> PathBuf {
        self.root.join("fuzz")
    }

    /// The workspace of strangers' Rust clients.
    pub(crate) fn rust_clients_source(&self) -> PathBuf {
        self.root.join("testing/clients/rust")
    }

    /// Inputs that reach new code, one folder a target; kept between runs.
    pub(crate) fn fuzz_corpus(&self) -> PathBuf {
        self.cache.join("fuzz-corpus")
    }

    /// Inputs that broke a property, one folder a target.
    pub(crate) fn fuzz_found(&self) -> PathBuf {
        self.cache.join("fuzz-found")
    }

    /// Components that only benchmarks run, laid out as services are.
    pub(crate) fn bench_guests(&self) -> PathBuf {
        self.cache.join("bench-guests")
    }

    /// Components that only tests run.
    pub(crate) fn test_guests(&self) -> PathBuf {
        self.cache.join("test-guests")
    }

    /// Output of the commands that ran behind a progress bar.
    pub(crate) fn logs(&self) -> PathBuf {
        self.cache.join("logs")
    }

    /// A program of the host's workspace, built in release.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target
            .join("release")
            .join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Holds every [`Scratch`]; what is here belongs to the task that holds the cache's lock.
    pub(crate) fn scratch_root(&self) -> PathBuf {
        self.cache.join("tmp")
    }

    /// A fresh, empty folder for one task's intermediate files, beside what they become.
    ///
    /// Only for tasks that hold the cache's lock.
    pub(crate) fn scratch(&self, purpose: &str) -> Result<Scratch> {
        Scratch::new(self.scratch_root().join(purpose))
    }
}

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: PathBuf) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind lies in the cache and is removed by the next run of the same purpose.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The cache's place, given a way to look up an environment variable.
fn cache_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    if let Some(cache) = set("RIALTO_CACHE") {
        return Ok(cache);
    }
    if let Some(base) = set("XDG_CACHE_HOME") {
        return Ok(base.join("rialto"));
    }
    set("HOME")
        .map(|home| home.join(".cache/rialto"))
        .context("set RIALTO_CACHE to a folder for builds and downloads: HOME is not set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_first_that_is_set() {
        let check = |set: &[(&str, &str)], expected: Option<&str>| {
            let lookup = |name: &str| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| PathBuf::from(value))
            };
            assert_eq!(
                cache_from(lookup).ok(),
                expected.map(PathBuf::from),
                "{set:?}"
            );
        };
        check(
            &[
                ("RIALTO_CACHE", "/a"),
                ("XDG_CACHE_HOME", "/b"),
                ("HOME", "/c"),
            ],
            Some("/a"),
        );
        check(
            &[
                ("RIALTO_CACHE", ""),
                ("XDG_CACHE_HOME", "/b"),
                ("HOME", "/c"),
            ],
            Some("/b/rialto"),
        );
        check(&[("HOME", "/c")], Some("/c/.cache/rialto"));
        check(&[], None);
    }
}
