//! Downloading a wheel with the machine's own pip, so that its index, proxy and certificate
//! configuration applies.
//!
//! Only built wheels are accepted: building a source distribution would run its code.

use std::{
    fs, io,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;

use crate::{FetchError, Progress, ProgressFn, fetch::blocking};

/// One download by pip.
#[derive(Debug)]
pub(crate) struct Download<'a> {
    /// The interpreter whose pip to use.
    pub(crate) python: &'a Path,
    /// What to download, as `name==version`.
    pub(crate) requirement: &'a str,
    /// An empty folder; the wheel will be in it.
    pub(crate) dir: &'a Path,
    /// The most bytes to let pip write.
    pub(crate) bytes_max: u64,
    /// Whether pip asks its own public index, whatever this machine's configuration says: that may name
    /// private indexes, and hold what they are shown.
    pub(crate) plain: bool,
}

impl Download<'_> {
    /// Runs pip to its end. Cancel-safe: dropping the future kills the process.
    pub(crate) async fn run(&self, progress: &ProgressFn) -> Result<(), FetchError> {
        let requirement = self.requirement.to_owned();
        let local = |source| FetchError::Local {
            from: requirement.clone(),
            source,
        };
        let scratch = self.dir.join("scratch");
        tokio::fs::create_dir(&scratch).await.map_err(local)?;
        let mut command = Command::new(self.python);
        command
            .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
            .args([
                "--disable-pip-version-check",
                "--no-input",
                "--progress-bar=off",
                "--dest",
            ])
            .arg(self.dir)
            .env("TMPDIR", &scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if self.plain {
            command
                .arg("--isolated")
                .env("PIP_CONFIG_FILE", "/dev/null")
                .env("NETRC", "/dev/null");
        }
        let child = match command.arg("--").arg(self.requirement).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.no_pip()),
            Err(error) => return Err(local(error)),
        };
        let mut ended = std::pin::pin!(child.wait_with_output());
        let mut tick = tokio::time::interval(TICK);
        self.report(progress).await?;
        loop {
            tokio::select! {
                output = &mut ended => return self.judge(&output.map_err(local)?),
                _ = tick.tick() => self.report(progress).await?,
            }
        }
    }

    async fn report(&self, progress: &ProgressFn) -> Result<(), FetchError> {
        let dir = self.dir.to_owned();
        let bytes = blocking(self.requirement, move || Ok(bytes_in(&dir, DEPTH_MAX))).await?;
        if bytes > self.bytes_max {
            let from = self.requirement.to_owned();
            return Err(FetchError::DownloadTooLarge {
                from,
                bytes_max: self.bytes_max,
            });
        }
        let message = format!("downloading {} with pip", self.requirement);
        progress(Progress {
            bytes,
            bytes_total: None,
            message,
        });
        Ok(())
    }

    fn judge(&self, output: &Output) -> Result<(), FetchError> {
        if output.status.success() {
            return Ok(());
        }
        let printed = String::from_utf8_lossy(&output.stderr);
        if printed.contains("No module named pip") {
            return Err(self.no_pip());
        }
        let lines: Vec<&str> = printed
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let tail = lines.len().saturating_sub(LINES_SHOWN);
        let message = match lines.get(tail..) {
            Some(last) if !last.is_empty() => last.join("\n"),
            _ => output.status.to_string(),
        };
        Err(FetchError::Pip {
            requirement: self.requirement.to_owned(),
            message,
        })
    }

    fn no_pip(&self) -> FetchError {
        FetchError::NoPip {
            python: self.python.display().to_string(),
            requirement: self.requirement.to_owned(),
        }
    }
}

/// Bytes of the files below `dir`; what cannot be read counts as nothing, because pip renames and
/// deletes its files while this looks.
fn bytes_in(dir: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let mut bytes = 0;
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 0 => {
                bytes += bytes_in(&entry.path(), depth - 1);
            }
            Ok(metadata) => bytes += metadata.len(),
            Err(_) => {}
        }
    }
    bytes
}

const TICK: Duration = Duration::from_millis(250);
const DEPTH_MAX: u32 = 8;
const LINES_SHOWN: usize = 5;
