//! The Debian fallback: a compiler from Debian's archive in a private folder.
//!
//! `rustc-web` is the compiler that Debian builds its browsers with; its standard library for the
//! guests' target is built here once from Debian's own sources. Packages are downloaded and
//! unpacked, not installed: nothing lands on `PATH` or meets rustup's toolchain. What lies in the
//! folder is complete: it is made beside its place and moved there at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{TARGET, has_standard_library};
use crate::paths::Paths;
use crate::process::{self, Growing};
use crate::progress;

/// What making the compiler costs, for the plan that is shown first.
pub(super) const PLAN: &str = "Debian's rustc for WebAssembly: 141 MB of packages, its std built once (a few minutes, 573 MB)";

/// Returns whether this machine can fetch and unpack Debian's packages.
pub(super) fn is_here() -> bool {
    ["apt-get", "apt-cache", "dpkg-deb", "tar"]
        .iter()
        .all(|name| process::find(name).is_some())
}

/// The compiler in a prefix, there or not.
pub(super) fn compiler(prefix: &Path) -> PathBuf {
    prefix.join("rustc")
}

/// The flag that keeps a prefix out of what is built with its sources: where it lies is this
/// machine's affair, and it is moved once.
pub(super) fn without_prefix(prefix: &Path) -> String {
    format!("--remap-path-prefix={}=/toolchain", prefix.display())
}

/// Makes the compiler and the target's standard library in `prefix`.
pub(super) fn install(paths: &Paths, prefix: &Path) -> Result<()> {
    let scratch = paths.scratch("wasm-toolchain")?;
    let made = scratch.path().join("prefix");
    fs::create_dir_all(&made).with_context(|| format!("create {}", made.display()))?;
    let packages = resolve(paths)?;
    let debs = scratch.path().join("debs");
    download(paths, &packages, &debs)?;
    unpack(paths, &debs, &made)?;
    write_compiler(&made)?;
    build_standard_library(paths, scratch.path(), &made)?;
    if prefix.exists() {
        fs::remove_dir_all(prefix).with_context(|| format!("remove {}", prefix.display()))?;
    }
    fs::rename(&made, prefix).with_context(|| format!("move to {}", prefix.display()))
}

/// Names the packages; the versions in their names are whatever Debian has now.
fn resolve(paths: &Paths) -> Result<Vec<String>> {
    if !process::succeeds(Command::new("apt-cache").args(["show", "rustc-web"])) {
        process::behind_progress(
            paths,
            "updating apt's package lists",
            Command::new("apt-get").arg("update"),
            None,
        )
        .context("run `apt-get update` as root, then this again")?;
    }
    let std = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&std, "libllvm")?;
    let version = llvm.trim_start_matches("libllvm").to_owned();
    let mut packages: Vec<String> = [
        "rustc-web",
        "libstd-rust-web-dev",
        "rust-web-src",
        "rust-web-llvm",
        "wasi-libc",
    ]
    .map(str::to_owned)
    .into();
    packages.extend([std, llvm, format!("lld-{version}")]);
    Ok(packages)
}

/// Returns the first dependency of a package whose name is a prefix and a number.
fn dependency(package: &str, prefix: &str) -> Result<String> {
    let text = process::output(Command::new("apt-cache").args(["depends", package]))?;
    parse_dependency(&text, prefix)
        .with_context(|| format!("Debian's {package} depends on no {prefix}NUMBER"))
}

fn parse_dependency(text: &str, prefix: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(str::to_owned)
}

/// Fetches the packages; apt checks their signatures and hashes.
fn download(paths: &Paths, packages: &[String], debs: &Path) -> Result<()> {
    fs::create_dir_all(debs).with_context(|| format!("create {}", debs.display()))?;
    let uris = process::output(
        Command::new("apt-get")
            .args(["download", "--print-uris"])
            .args(packages)
            .current_dir(debs),
    )?;
    let growing = Growing {
        folder: debs,
        bytes: total_bytes(&uris),
    };
    process::behind_progress(
        paths,
        &format!(
            "downloading Debian's compiler, {}",
            progress::megabytes(growing.bytes)
        ),
        Command::new("apt-get")
            .args(["download", "-q"])
            .args(packages)
            .current_dir(debs),
        Some(growing),
    )
}

/// Sums the sizes in what `apt-get download --print-uris` prints: `'URI' FILE SIZE HASH`.
fn total_bytes(uris: &str) -> u64 {
    uris.lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
        .sum()
}

/// Unpacks the packages: of the sources only the library.
fn unpack(paths: &Paths, debs: &Path, prefix: &Path) -> Result<()> {
    // Positional parameters keep every path out of the script.
    let script = r#"
        set -eu
        for deb in "$1"/*.deb; do
            case $deb in
            *rust-web-src*)
                dpkg-deb --fsys-tarfile "$deb" | tar -C "$2" -x --wildcards \
                    './usr/src/rustc-*/library' './usr/lib/rustlib/src' ;;
            *) dpkg-deb -x "$deb" "$2" ;;
            esac
        done
        rm -rf "$2/usr/share"
    "#;
    process::behind_progress(
        paths,
        "unpacking Debian's compiler",
        Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(debs)
            .arg(prefix),
        None,
    )
}

/// Writes the `rustc` that finds its libraries and linker beside itself, wherever it is moved.
fn write_compiler(prefix: &Path) -> Result<()> {
    let libraries = library_folder(prefix)?;
    let path = compiler(prefix);
    let script = format!(
        "#!/bin/sh\n\
         here=$(CDPATH='' cd -- \"$(dirname -- \"$0\")\" && pwd)\n\
         export LD_LIBRARY_PATH=\"$here/usr/lib/{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n\
         export PATH=\"$here/usr/bin:$PATH\"\n\
         exec \"$here/usr/bin/rustc\" \"$@\"\n"
    );
    fs::write(&path, script).with_context(|| format!("write {}", path.display()))?;
    make_executable(&path)?;
    process::output(Command::new(&path).arg("--version")).map(|version| {
        progress::say(format!("   {}", version.trim()));
    })
}

/// Returns Debian's name of this machine's library folder, such as `x86_64-linux-gnu`.
fn library_folder(prefix: &Path) -> Result<String> {
    let folder = prefix.join("usr/lib");
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with("-linux-gnu") {
            return Ok(name);
        }
    }
    bail!(
        "Debian's compiler brought no library folder to {}",
        folder.display()
    )
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

/// Builds the target's standard library from Debian's sources and puts it beside the compiler.
fn build_standard_library(paths: &Paths, scratch: &Path, prefix: &Path) -> Result<()> {
    let seed = scratch.join("seed");
    fs::create_dir_all(seed.join("src")).with_context(|| format!("create {}", seed.display()))?;
    fs::write(seed.join("src/lib.rs"), "").context("write the seed crate")?;
    fs::write(seed.join("Cargo.toml"), SEED).context("write the seed crate")?;
    let target = scratch.join("seed-target");
    let mut command = process::cargo(paths);
    for outer in [
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(outer);
    }
    command
        .current_dir(&seed)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC", compiler(prefix))
        // Only here, never for guests: `-Zbuild-std` is cargo's one way to build a standard library.
        .env("RUSTC_BOOTSTRAP", "1")
        // Bitcode lets guests optimise across crates with this library, as with rustup's.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("-Cembed-bitcode=yes\x1f{}", without_prefix(prefix)),
        )
        .args([
            "build",
            "--release",
            "-Zbuild-std=std,panic_abort",
            "--target",
            TARGET,
        ]);
    process::behind_progress(
        paths,
        "building the guests' standard library",
        &mut command,
        None,
    )?;
    let built = target.join(TARGET).join("release/deps");
    let library = prefix.join("usr/lib/rustlib").join(TARGET).join("lib");
    copy_standard_library(&built, &prefix.join("usr/lib/wasm32-wasi"), &library)?;
    if has_standard_library(&prefix.join("usr")) {
        return Ok(());
    }
    bail!(
        "the standard library was built but is not in {}",
        library.display()
    )
}

/// Copies the compiled crates of the standard library, and the C library's start files.
fn copy_standard_library(built: &Path, libc: &Path, library: &Path) -> Result<()> {
    let own = library.join("self-contained");
    fs::create_dir_all(&own).with_context(|| format!("create {}", own.display()))?;
    let entries = fs::read_dir(built).with_context(|| format!("read {}", built.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".rlib") && !text.contains("std_seed") {
            copy(&entry.path(), &library.join(&name))?;
        }
    }
    for name in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
        copy(&libc.join(name), &own.join(name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(|_| ())
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

const SEED: &str = "\
[package]
name = \"std_seed\"
version = \"0.0.0\"
edition = \"2024\"

[workspace]

[profile.release]
opt-level = 3
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependency_with_a_number_is_taken() {
        let text = "libstd-rust-web-dev\n  Depends: libstd-rust-web-dev-tools\n  Depends: gcc\n  \
                    Depends: libstd-rust-web-1.96\n  Suggests: libstd-rust-web-1.95\n";
        let found = parse_dependency(text, "libstd-rust-web-");
        assert_eq!(found.as_deref(), Some("libstd-rust-web-1.96"));
        assert_eq!(parse_dependency(text, "libllvm"), None);
    }

    #[test]
    fn sizes_are_summed() {
        let text =
            "'scheme:one' one.deb 1000 SHA256:aa\n'scheme:two' two.deb 234 SHA256:bb\nnoise\n";
        assert_eq!(total_bytes(text), 1_234);
    }

    #[test]
    fn only_compiled_crates_and_start_files_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for place in ["built", "libc"] {
            fs::create_dir(at(place)).unwrap();
        }
        for file in [
            "built/libstd-1.rlib",
            "built/libstd_seed-1.rlib",
            "built/libstd-1.rmeta",
        ] {
            fs::write(at(file), "").unwrap();
        }
        for file in ["libc/libc.a", "libc/crt1-command.o", "libc/crt1-reactor.o"] {
            fs::write(at(file), "").unwrap();
        }
        copy_standard_library(&at("built"), &at("libc"), &at("library")).unwrap();
        assert!(at("library/libstd-1.rlib").is_file());
        assert!(at("library/self-contained/crt1-reactor.o").is_file());
        assert!(!at("library/libstd_seed-1.rlib").exists());
        assert!(!at("library/libstd-1.rmeta").exists());
    }
}
