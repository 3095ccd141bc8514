//! Cargo's commands on the host's workspace, each with the features of all members together.
//!
//! `--workspace` everywhere: what `up` builds, the tests and the benchmarks use as it is.

use std::path::Path;

use anyhow::Result;

use crate::paths::Paths;
use crate::{process, progress};

/// Whether to change files or only to complain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Rewrite them.
    Write,
    /// Fail if one would change.
    Check,
}

/// Formats the host's workspace, the guests', the fuzz targets' and the Rust clients'.
pub(crate) fn format(paths: &Paths, format: Format) -> Result<()> {
    for folder in [
        paths.root.clone(),
        paths.services_source(),
        paths.root.join("bench/guests"),
        paths.root.join("testing/guests"),
        paths.fuzz_source(),
        paths.rust_clients_source(),
    ] {
        let mut command = process::cargo(paths);
        command.args(["fmt", "--all"]).current_dir(folder);
        if format == Format::Check {
            command.arg("--check");
        }
        process::run(&mut command)?;
    }
    Ok(())
}

/// Builds all of the host's workspace in release.
pub(crate) fn build(paths: &Paths) -> Result<()> {
    progress::heading("host");
    process::run(process::cargo(paths).args(["build", "--release", "--locked", "--workspace"]))
}

/// Fetches every model that the built services name into the artifact store.
pub(crate) fn fetch_models(paths: &Paths) -> Result<()> {
    progress::heading("models");
    process::run(
        std::process::Command::new(paths.program("rialto"))
            .args(["artifacts", "fetch", "--services"])
            .arg(paths.services())
            .arg("--store")
            .arg(paths.artifacts()),
    )
}

/// Says whether a release build is there to build on.
pub(crate) fn plan(paths: &Paths) -> String {
    let built = |path: &Path| path.is_file();
    if built(&paths.program("rialto")) {
        "a release build of what changed".into()
    } else {
        "a release build; the first takes about half an hour on two cores".into()
    }
}
