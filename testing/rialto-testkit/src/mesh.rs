//! A whole mesh as a child process: `rialto up` in a scratch folder, with its ready file read.
//!
//! The program is the one under test (`CARGO_BIN_EXE_rialto`); nothing here looks inside it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How to start a mesh.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// The `rialto` program.
    pub program: PathBuf,
    /// Its data folder, which outlives the process.
    pub data_dir: PathBuf,
    /// The services to run.
    pub services: PathBuf,
    /// The artifact store with the models.
    pub artifacts: PathBuf,
    /// Where the gateway listens; port 0 picks a free one.
    pub listen: String,
    /// More arguments.
    pub args: Vec<String>,
}

/// A running mesh; ended when it is dropped.
pub struct Mesh {
    child: Child,
    ready: Value,
}

impl std::fmt::Debug for Mesh {
    /// Without the ready file, which holds keys (M7: no key in a log).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh")
            .field("process", &self.child.id())
            .finish_non_exhaustive()
    }
}

impl Mesh {
    /// Starts `rialto up` and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready within a minute; its log is in the data folder.
    pub fn start(config: &MeshConfig) -> Result<Self> {
        std::fs::create_dir_all(&config.data_dir)?;
        let ready_file = config.data_dir.join("ready.json");
        std::fs::remove_file(&ready_file).ok();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(config.data_dir.join("log.txt"))?;
        let mut child = Command::new(&config.program)
            .args(["up", "--json", "--listen", &config.listen])
            .arg("--data-dir")
            .arg(&config.data_dir)
            .arg("--services")
            .arg(&config.services)
            .arg("--artifacts")
            .arg(&config.artifacts)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(&config.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", config.program.display()))?;
        let ready = match wait_until_ready(&mut child, &ready_file) {
            Ok(ready) => ready,
            Err(error) => {
                child.kill().ok();
                child.wait().ok();
                let log =
                    std::fs::read_to_string(config.data_dir.join("log.txt")).unwrap_or_default();
                return Err(error.context(format!("its log:\n{log}")));
            }
        };
        Ok(Self { child, ready })
    }

    /// The gateway's URL.
    ///
    /// # Panics
    /// When the ready file has no such field, which is a failure of the program under test.
    #[must_use]
    pub fn gateway(&self) -> &str {
        self.text("/gateway")
    }

    /// The chain's RPC endpoint.
    ///
    /// # Panics
    /// As [`gateway`](Self::gateway).
    #[must_use]
    pub fn chain_rpc(&self) -> &str {
        self.text("/chain_rpc")
    }

    /// A funded private key that nobody else uses.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn test_key(&self, index: usize) -> &str {
        self.text(&format!("/test_keys/{index}"))
    }

    /// A text of the ready file.
    ///
    /// # Panics
    /// When it has no such field.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        match self.ready.pointer(pointer).and_then(Value::as_str) {
            Some(text) => text,
            // Not the whole file: it holds keys (M7: no key in a log).
            None => panic!("the ready file has no text at {pointer}"),
        }
    }

    /// The process, for measurements.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// The ready file.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Ends the process as a power cut would: no handler runs.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("the mesh had ended by itself")?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to stop, as a service manager does, and waits for it.
    ///
    /// # Errors
    /// When it does not stop within half a minute, or not cleanly.
    pub fn stop(self) -> Result<()> {
        self.end_by("-TERM")
    }

    /// Asks the process to stop, as Ctrl-C does, and waits for it.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn interrupt(self) -> Result<()> {
        self.end_by("-INT")
    }

    fn end_by(mut self, signal: &str) -> Result<()> {
        let id = self.child.id().to_string();
        let signalled = Command::new("sh")
            .args(["-c", r#"kill "$1" "$2""#, "sh", signal, &id])
            .status()?;
        anyhow::ensure!(signalled.success(), "the mesh had ended by itself");
        let give_up = Instant::now() + Duration::from_secs(30);
        while Instant::now() < give_up {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "the mesh stopped with {status}");
                return Ok(());
            }
            std::thread::park_timeout(POLL);
        }
        bail!("the mesh did not stop within 30 s")
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn wait_until_ready(child: &mut Child, file: &Path) -> Result<Value> {
    let give_up = Instant::now() + Duration::from_secs(60);
    while Instant::now() < give_up {
        if let Ok(bytes) = std::fs::read(file) {
            return serde_json::from_slice(&bytes).context("the ready file is not JSON");
        }
        if let Some(status) = child.try_wait()? {
            bail!("the mesh ended before it was ready: {status}");
        }
        std::thread::park_timeout(POLL);
    }
    bail!("the mesh was not ready within 60 s")
}

/// A path that `cargo xtask test` passes to tests.
///
/// # Errors
/// When the variable is missing: the tests were not started by `cargo xtask test`.
pub fn path_from_env(variable: &str) -> Result<PathBuf> {
    let value = std::env::var_os(variable)
        .with_context(|| format!("{variable} is not set: run the tests with `cargo xtask test`"))?;
    Ok(PathBuf::from(value))
}

const POLL: Duration = Duration::from_millis(20);
