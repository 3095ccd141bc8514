//! Where the programs and components under measurement lie: `cargo xtask bench` says so by
//! environment variables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The programs and components under measurement.
#[derive(Debug)]
pub(crate) struct Places {
    /// Built services, one folder each.
    pub(crate) services: PathBuf,
    /// Models by digest.
    pub(crate) artifacts: PathBuf,
    /// The `rialto` program.
    pub(crate) rialto: PathBuf,
    /// The `wasmtime` program.
    pub(crate) wasmtime: PathBuf,
    /// The components of `bench/guests`, one folder each.
    pub(crate) guests: PathBuf,
}

impl Places {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable is missing.
    pub(crate) fn from_env() -> Result<Self> {
        let path = path_from_env;
        Ok(Self {
            services: path("RIALTO_SERVICES")?,
            artifacts: path("RIALTO_ARTIFACTS")?,
            rialto: path("RIALTO_BIN")?,
            wasmtime: path("RIALTO_WASMTIME")?,
            guests: path("RIALTO_BENCH_GUESTS")?,
        })
    }

    /// The greeting as a service of the mesh.
    pub(crate) fn hello(&self) -> PathBuf {
        self.guests.join("hello/component.wasm")
    }

    /// The greeting as a handler of `wasi:http`.
    pub(crate) fn hello_http(&self) -> PathBuf {
        self.guests.join("hello-http/component.wasm")
    }

    /// Puts together what the mesh runs: the real services and the greeting, each for money and for
    /// nothing.
    ///
    /// # Errors
    /// Something is not built, or the disk is full.
    pub(crate) fn lay_out(&self, folder: &Path) -> Result<()> {
        for service in ["filetype", "embed"] {
            let from = self.services.join(service);
            let component = from.join("component.wasm");
            let manifest = fs::read_to_string(from.join("service.toml"))
                .with_context(|| format!("service {service} is not built"))?;
            place(&component, &folder.join(service), &manifest)?;
            // The same for nothing: without its prices, which stand last.
            let (unpriced, _) = manifest
                .split_once("\n[prices.")
                .with_context(|| format!("service {service} has no price"))?;
            let free = format!("{service}-free");
            let unpriced = renamed(unpriced, service, &free);
            place(&component, &folder.join(&free), &unpriced)?;
        }
        self.lay_out_hello(folder)
    }

    /// Puts together the greeting alone, for money and for nothing.
    ///
    /// # Errors
    /// It is not built, or the disk is full.
    pub(crate) fn lay_out_hello(&self, folder: &Path) -> Result<()> {
        let manifest = fs::read_to_string(self.guests.join("hello/service.toml"))
            .context("bench/guests is not built")?;
        place(&self.hello(), &folder.join("hello"), &manifest)?;
        let paid = renamed(&manifest, "hello", "hello-paid")
            + &format!("\n[prices.hello]\ncall = \"{PRICE}\"\n");
        place(&self.hello(), &folder.join("hello-paid"), &paid)
    }
}

/// A folder or program that `cargo xtask bench` names.
///
/// # Errors
/// The variable is missing.
pub(crate) fn path_from_env(name: &str) -> Result<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: run `cargo xtask bench`"))
}

fn renamed(manifest: &str, from: &str, to: &str) -> String {
    let (from, to) = (format!("name = \"{from}\""), format!("name = \"{to}\""));
    manifest.replacen(&from, &to, 1)
}

fn place(component: &Path, folder: &Path, manifest: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(component, folder.join("component.wasm"))
        .with_context(|| format!("cannot copy {}", component.display()))?;
    fs::write(folder.join("service.toml"), manifest)?;
    Ok(())
}

/// What the paid greeting costs, in base units.
const PRICE: u32 = 100;
