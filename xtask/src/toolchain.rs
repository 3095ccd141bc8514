//! A compiler that builds guests for `wasm32-wasip2`, found or made.
//!
//! In this order: the active toolchain's own target, which an ordinary author has added; on
//! Debian, a compiler of Debian's in a private folder of the cache, see [`debian`]; else advice.
//! Nothing runs rustup unasked.

mod debian;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths::Paths;
use crate::{process, progress};

/// The target that guests are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The flag that allows rustup to be run.
pub(crate) const INSTALL_TARGET_FLAG: &str = "--install-target";

/// Whether rustup may be run to add the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstallTarget {
    /// The user asked for it.
    WhenMissing,
    /// Nobody asked.
    Never,
}

/// A compiler with the guests' target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The checkout's own toolchain has it.
    Active,
    /// Another `rustc`, with the standard library built beside it.
    Private(PathBuf),
}

impl Toolchain {
    /// Finds a compiler, or makes one.
    ///
    /// # Errors
    /// There is none and none can be made; says the one command to run.
    pub(crate) fn ensure(paths: &Paths, install: InstallTarget) -> Result<Self> {
        if let Some(found) = Self::find(paths) {
            return Ok(found);
        }
        if install == InstallTarget::WhenMissing {
            process::run(
                Command::new("rustup")
                    .args(["target", "add", TARGET])
                    .current_dir(&paths.root),
            )?;
            return Ok(Self::Active);
        }
        if debian::is_here() {
            let prefix = paths.toolchain();
            debian::install(paths, &prefix)?;
            return Ok(Self::Private(debian::compiler(&prefix)));
        }
        bail!(
            "the active Rust toolchain cannot build for {TARGET}, and this machine has no apt to \
             fetch a compiler that can. Run `rustup target add {TARGET}`, or the same task again \
             with {INSTALL_TARGET_FLAG}"
        )
    }

    /// Returns the compiler that is there already.
    pub(crate) fn find(paths: &Paths) -> Option<Self> {
        if has_target(Path::new("rustc"), &paths.root) {
            return Some(Self::Active);
        }
        let compiler = debian::compiler(&paths.toolchain());
        (compiler.is_file() && has_target(&compiler, &paths.root))
            .then_some(Self::Private(compiler))
    }

    /// Says what [`Toolchain::ensure`] is going to do.
    pub(crate) fn plan(paths: &Paths, install: InstallTarget) -> String {
        match Self::find(paths) {
            Some(Self::Active) => format!("the active toolchain's {TARGET}"),
            Some(Self::Private(_)) => "Debian's rustc for WebAssembly, already in the cache".into(),
            None if install == InstallTarget::WhenMissing => {
                format!("`rustup target add {TARGET}`")
            }
            None if debian::is_here() => debian::PLAN.into(),
            None => format!("missing: needs `rustup target add {TARGET}`"),
        }
    }

    /// Makes a cargo command use this compiler, with guests' own flags.
    pub(crate) fn apply(&self, paths: &Paths, command: &mut Command) {
        let mut flags = remapped_paths(paths);
        if let Self::Private(compiler) = self {
            command.env("RUSTC", compiler);
            flags.push(debian::without_prefix(&paths.toolchain()));
            // Debian's wasi-libc is from 2022 and lacks sockets: what is missing becomes a trap.
            flags.push("-Clink-arg=--unresolved-symbols=ignore-all".into());
        }
        for outer in [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_TARGET",
        ] {
            command.env_remove(outer);
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    }
}

/// Keeps this machine's folders out of the components, which are published, and equal components
/// equal wherever they are built.
fn remapped_paths(paths: &Paths) -> Vec<String> {
    let mut flags = vec![format!(
        "--remap-path-prefix={}=/rialto",
        paths.root.display()
    )];
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    if let Some(home) = cargo_home {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags
}

/// Returns whether a compiler has the target's standard library.
fn has_target(compiler: &Path, folder: &Path) -> bool {
    let mut command = Command::new(compiler);
    command.args(["--print", "sysroot"]).current_dir(folder);
    process::output(&mut command)
        .is_ok_and(|sysroot| has_standard_library(Path::new(sysroot.trim())))
}

/// Returns whether a compiler's folder holds the target's standard library.
fn has_standard_library(sysroot: &Path) -> bool {
    let Ok(entries) = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// Makes the compiler and says so; the part of a task's output that names it.
pub(crate) fn announce(toolchain: &Toolchain) {
    match toolchain {
        Toolchain::Active => progress::say(format!("   guests: the active toolchain's {TARGET}")),
        Toolchain::Private(compiler) => {
            progress::say(format!(
                "   guests: Debian's compiler, {}",
                compiler.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_library_is_recognised_by_its_rlib() {
        let sysroot = tempfile::tempdir().unwrap();
        assert!(!has_standard_library(sysroot.path()));
        let folder = sysroot.path().join("lib/rustlib").join(TARGET).join("lib");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libcore-1.rlib"), "").unwrap();
        assert!(!has_standard_library(sysroot.path()));
        fs::write(folder.join("libstd-1.rlib"), "").unwrap();
        assert!(has_standard_library(sysroot.path()));
    }

    #[test]
    fn guests_do_not_carry_this_machines_folders() {
        let paths = Paths {
            root: "/a b".into(),
            cache: "/c".into(),
            target: "/t".into(),
        };
        let mut command = Command::new("cargo");
        Toolchain::Private("/p/rustc".into()).apply(&paths, &mut command);
        let value = |name: &str| {
            command
                .get_envs()
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value)
        };
        let flags = value("CARGO_ENCODED_RUSTFLAGS")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let mut flags = flags.split('\x1f');
        assert_eq!(flags.next(), Some("--remap-path-prefix=/a b=/rialto"));
        assert!(flags.any(|flag| flag.ends_with("ignore-all")));
        assert_eq!(value("RUSTC"), Some("/p/rustc".as_ref()));
    }
}
