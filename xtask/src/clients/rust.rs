//! Strangers' Rust clients: the program of `testing/clients/rust`, a workspace with a lock file of
//! its own. It is built for its few seconds of work: in the `dev` profile, in a folder of its own,
//! so that none of what it depends on is built with, or instead of, the host's.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::paths::Paths;
use crate::process;

/// Builds what is missing or changed; cargo knows.
pub(super) fn build(paths: &Paths, source: &Path, target: &Path) -> Result<()> {
    let mut command = process::cargo(paths);
    command
        .args(["build", "--locked"])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", target);
    process::behind_progress(paths, "building the Rust clients", &mut command, None)
}

/// Where the program is when it is built.
pub(super) fn program(target: &Path) -> PathBuf {
    target
        .join("debug")
        .join(format!("rialto-rust-clients{}", env::consts::EXE_SUFFIX))
}
