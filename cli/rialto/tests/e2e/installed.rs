//! Rialto as its users have it: the services as built, the program as installed, and strangers'
//! programs beside it. Where they are comes from `cargo xtask test`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::{Mesh, MeshConfig, path_from_env};
use serde_json::Value;
use tokio::process::Command;

/// A scratch folder with some of the real services.
pub(crate) struct Installed {
    dir: tempfile::TempDir,
}

impl Installed {
    /// These services and no others, with a configuration file.
    pub(crate) fn new(services: &[&str], config: &str) -> Result<Self> {
        let built = path_from_env("RIALTO_SERVICES")?;
        let installed = Self {
            dir: tempfile::tempdir()?,
        };
        for service in services {
            let folder = installed.dir().join("services").join(service);
            std::fs::create_dir_all(&folder)?;
            for file in ["service.toml", "component.wasm"] {
                let from = built.join(service).join(file);
                std::fs::copy(&from, folder.join(file)).with_context(|| {
                    format!("{} is not built: run `cargo xtask test`", from.display())
                })?;
            }
        }
        std::fs::create_dir_all(installed.data())?;
        installed.configure(config)?;
        Ok(installed)
    }

    /// Adds to a service's manifest; it counts from the next start on.
    pub(crate) fn append(&self, service: &str, text: &str) -> Result<()> {
        let file = self
            .dir()
            .join("services")
            .join(service)
            .join("service.toml");
        let manifest = std::fs::read_to_string(&file)?;
        Ok(std::fs::write(file, manifest + text)?)
    }

    /// Replaces the configuration file; it counts from the next start on.
    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        Ok(std::fs::write(self.data().join("rialto.toml"), config)?)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Starts the mesh on free ports.
    pub(crate) fn start(&self, args: &[&str]) -> Result<Mesh> {
        Mesh::start(&MeshConfig {
            program: program(),
            data_dir: self.data(),
            services: self.dir().join("services"),
            artifacts: path_from_env("RIALTO_ARTIFACTS")?,
            listen: "127.0.0.1:0".to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        })
    }

    /// Runs a command of `rialto` against a mesh, with this folder's wallet.
    pub(crate) async fn rialto(&self, mesh: &Mesh, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(program());
        command.args(args).args(["--gateway", mesh.gateway()]);
        command.arg("--data-dir").arg(self.data());
        run(&mut command).await
    }

    /// The same with `--json`, which must succeed and print one JSON value.
    pub(crate) async fn rialto_json(&self, mesh: &Mesh, args: &[&str]) -> Result<Value> {
        let args = [args, &["--json"]].concat();
        self.rialto(mesh, &args).await?.json()
    }
}

/// Installs a guest of the tests as a service of a folder, on these terms.
pub(crate) fn install_guest(base: &Path, guest: &str, name: &str, terms: &str) -> Result<()> {
    let folder = base.join("services").join(name);
    std::fs::create_dir_all(&folder)?;
    let built = path_from_env("RIALTO_TEST_GUESTS")?;
    let component = built.join(guest).join("component.wasm");
    std::fs::copy(component, folder.join("component.wasm"))?;
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"For tests.\"\nlicense = \"Apache-2.0\"\n{terms}"
    );
    Ok(std::fs::write(folder.join("service.toml"), manifest)?)
}

/// A program of the Python environment with the strangers' packages.
pub(crate) fn python_program(name: &str) -> Result<Command> {
    Ok(Command::new(
        path_from_env("RIALTO_VENV")?.join("bin").join(name),
    ))
}

/// A file of this repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) success: bool,
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The one JSON value that a successful program printed.
    pub(crate) fn json(&self) -> Result<Value> {
        ensure!(self.success, "it failed:\n{}\n{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("not one JSON value:\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Runs a program to its end, at most two minutes.
pub(crate) async fn run(command: &mut Command) -> Result<Output> {
    let what = format!("{:?}", command.as_std());
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {what}"))?;
    let output = tokio::time::timeout(PROGRAM_TIME_MAX, child.wait_with_output())
        .await
        .with_context(|| format!("not finished after {PROGRAM_TIME_MAX:?}: {what}"))??;
    Ok(Output {
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The program under test, for commands that need no mesh.
pub(crate) fn program_of_users() -> Command {
    Command::new(program())
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rialto"))
}

const PROGRAM_TIME_MAX: Duration = Duration::from_secs(120);
