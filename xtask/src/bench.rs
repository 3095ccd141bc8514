//! `cargo xtask bench`: the mesh against its peers and limits, in one run on one machine.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::toolchain::InstallTarget;
use crate::{clients, guests, host, lock, models, process, progress};

/// Builds everything and becomes `rialto-bench` with the arguments.
pub(crate) fn run(paths: &Paths, arguments: &[String]) -> Result<()> {
    {
        let _lock = lock::hold(paths)?;
        guests::build(paths, InstallTarget::Never)?;
        guests::build_bench(paths, InstallTarget::Never)?;
        guests::build_test(paths, InstallTarget::Never)?;
        host::build(paths)?;
        host::fetch_models(paths)?;
        models::fetch(paths)?;
        install_wasmtime(paths)?;
    }
    let mut command = Command::new(paths.program("rialto-bench"));
    command
        .args(arguments)
        .current_dir(&paths.root)
        .env("RIALTO_SERVICES", paths.services())
        .env("RIALTO_ARTIFACTS", paths.artifacts())
        .env("RIALTO_ASSETS", paths.assets())
        .env("RIALTO_BENCH_GUESTS", paths.bench_guests())
        .env("RIALTO_VENV", clients::venv(paths))
        .env("RIALTO_TEST_GUESTS", paths.test_guests())
        .env("RIALTO_BIN", paths.program("rialto"))
        .env("RIALTO_WASMTIME", paths.tools().join("bin/wasmtime"));
    progress::heading("benchmarks");
    process::become_command(&mut command)
}

/// Installs the `wasmtime` program to compare `wasmtime serve` with: the engine's own version.
fn install_wasmtime(paths: &Paths) -> Result<()> {
    let tools = paths.tools();
    let mut version = Command::new(tools.join("bin/wasmtime"));
    if process::output(version.arg("--version")).is_ok_and(|found| found.contains(WASMTIME)) {
        return Ok(());
    }
    progress::heading("wasmtime serve, to compare with");
    let target = tools.join("target");
    let mut command = process::cargo(paths);
    command
        .args(["install", "wasmtime-cli", "--locked", "--version", WASMTIME])
        .args(["--no-default-features", "--features", FEATURES, "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", &target);
    process::run(&mut command)?;
    fs::remove_dir_all(&target).with_context(|| format!("remove {}", target.display()))
}

/// The version that the host embeds.
const WASMTIME: &str = "48.0.8";

/// What `serve` needs to run at its best, and no more.
const FEATURES: &str =
    "run,serve,component-model-async,cranelift,parallel-compilation,pooling-allocator";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_the_engine_that_the_host_embeds() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("wasmtime = {{ version = \"={WASMTIME}\"")));
    }
}
