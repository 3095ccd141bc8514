//! A PostgreSQL server of a test's own: its data in a scratch folder, its door on the loopback with
//! a password, ended with the test.
//!
//! The programs come from the system's package. They refuse to run as root, so root hands them over
//! to the account that the package made.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A running server; ended when it is dropped.
#[derive(Debug)]
pub struct Server {
    dir: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Connections are broken, everything is written: an operator's restart.
    Fast,
    /// At once and without a word, to be recovered at the next start: a crash.
    Crash,
}

impl Server {
    /// Makes and starts a server with the package's settings.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start; the message says what to do.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Makes and starts a server with more settings, as `name=value`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        let programs = find_programs()?;
        let dir = tempfile::Builder::new().prefix("rialto-pg").tempdir()?;
        if let Some(user) = other_user()? {
            chown(dir.path(), Some(user.uid), Some(user.gid))?;
        }
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        if let Some(user) = other_user()? {
            chown(&password, Some(user.uid), Some(user.gid))?;
        }
        let mut server = Self {
            dir,
            programs,
            port: free_port()?,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            child: None,
        };
        let made = server
            .command("initdb")?
            .arg("--pgdata")
            .arg(server.data())
            .args(["--username", USER, "--auth", "scram-sha-256", "--no-sync"])
            .args(["--encoding", "UTF8", "--locale", "C", "--pwfile"])
            .arg(&password)
            .output()
            .context("cannot start initdb")?;
        ensure!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        server.resume()?;
        Ok(server)
    }

    /// The address of a database here, password included.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// The server's first process, whose children serve the connections; none while it is halted.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The password in [`url`](Self::url), which nobody may print.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Makes a database and returns its address.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn database(&self, name: &str) -> Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(name))
    }

    /// Runs a statement and returns what it answers, a line for each row.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", statement])
            .arg(self.url(database))
            .stdin(Stdio::null())
            .output()
            .context("cannot start psql")?;
        ensure!(
            output.status.success(),
            "psql failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Ends the server; [`resume`](Self::resume) starts it again on the same data and port.
    ///
    /// # Errors
    /// When it does not end within half a minute.
    pub fn halt(&mut self, end: End) -> Result<()> {
        let mut child = self.child.take().context("the server does not run")?;
        let signal = match end {
            End::Fast => "-INT",
            End::Crash => "-QUIT",
        };
        signal_to(&child, signal)?;
        wait_for_end(&mut child)
    }

    /// Starts the server again.
    ///
    /// # Errors
    /// When it does not answer within half a minute.
    pub fn resume(&mut self) -> Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log.txt"))?;
        let mut command = self.command("postgres")?;
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            // A test ends the server's process, never the machine's power. Settings can say otherwise.
            .args(["-c", "fsync=off"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let child = command
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start postgres")?;
        self.child = Some(child);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if self.sql("postgres", "SELECT 1").is_ok() {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("postgres ended with {status}: {}", self.log());
            }
            std::thread::park_timeout(POLL);
        }
        bail!("postgres did not answer within 30 s: {}", self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log.txt")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// One of the server's programs, as somebody who is not root.
    fn command(&self, name: &str) -> Result<Command> {
        let program = self.programs.join(name);
        let mut command = match other_user()? {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={}", user.uid))
                    .arg(format!("--regid={}", user.gid))
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
        };
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        Ok(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take()
            && (signal_to(&child, "-QUIT").is_err() || wait_for_end(&mut child).is_err())
        {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// Who runs the server, if we are root.
fn other_user() -> Result<Option<User>> {
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let (Ok(uid), Ok(gid)) = (id(&["-u", name]), id(&["-g", name])) {
            return Ok(Some(User { uid, gid }));
        }
    }
    bail!("postgres does not run as root, and there is no account `postgres` or `nobody` to run it")
}

fn id(arguments: &[&str]) -> Result<u32> {
    let output = Command::new("id").args(arguments).output()?;
    ensure!(output.status.success(), "there is no such account");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The folder of the newest server that is installed.
fn find_programs() -> Result<PathBuf> {
    let packages = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<(u32, PathBuf)> = packages
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| has_programs(folder))
        .collect();
    found.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = || std::env::split_paths(&on_path).find(|folder| has_programs(folder));
    found
        .pop()
        .map(|(_, folder)| folder)
        .or_else(elsewhere)
        .context(
            "PostgreSQL is not installed: on Debian or Ubuntu, as root, run `apt-get install -y postgresql`",
        )
}

fn has_programs(folder: &Path) -> bool {
    ["initdb", "postgres", "psql"]
        .iter()
        .all(|name| folder.join(name).is_file())
}

fn signal_to(child: &Child, signal: impl AsRef<OsStr>) -> Result<()> {
    // The shell's own: a small system has no program of this name.
    let status = Command::new("sh")
        .args(["-c", r#"kill "$1" "$2""#, "sh"])
        .arg(signal)
        .arg(child.id().to_string())
        .status()?;
    ensure!(status.success(), "postgres had ended by itself");
    Ok(())
}

fn wait_for_end(child: &mut Child) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::park_timeout(POLL);
    }
    bail!("postgres did not end within 30 s")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

const USER: &str = "rialto";
/// Unlike anything else, so that a log can be searched for it.
const PASSWORD: &str = "open-sesame-4711";
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
