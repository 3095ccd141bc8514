//! Where a build finds the files that come with the models: included by each service's build script.
//!
//! Not here: fetching. `cargo xtask` downloads and verifies; a build only reads.

use std::path::{Path, PathBuf};

/// Reads one asset, for example `magika/config.min.json`.
///
/// Looks in `$RIALTO_ASSETS`, else in `assets` of `$RIALTO_CACHE`, `$XDG_CACHE_HOME/rialto` or
/// `~/.cache/rialto`. Stops the build with advice if the file is missing.
pub fn read(name: &str) -> Vec<u8> {
    for variable in ["RIALTO_ASSETS", "RIALTO_CACHE", "XDG_CACHE_HOME"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let path = folder().join(name);
    println!("cargo::rerun-if-changed={}", path.display());
    match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            println!(
                "cargo::error=cannot read {}: {error}. Run `cargo xtask guests`, which fetches and \
                 verifies it, or set RIALTO_ASSETS to the folder that holds `{name}`",
                path.display()
            );
            std::process::exit(1);
        }
    }
}

/// A path in the folder for generated files.
pub fn out(name: &str) -> PathBuf {
    Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(name)
}

fn folder() -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("RIALTO_ASSETS")
        .or_else(|| variable("RIALTO_CACHE").map(|cache| cache.join("assets")))
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("rialto/assets")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/rialto/assets")))
        .unwrap_or_else(|| PathBuf::from("assets"))
}
