//! What must be on the machine already: everything else is fetched or built.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, progress};

/// One thing that a machine has or lacks.
#[derive(Debug)]
pub(crate) struct Prerequisite {
    name: &'static str,
    why: &'static str,
    /// Debian's packages that bring it.
    debian: &'static str,
    present: fn() -> bool,
}

/// Needed to build the host and its services.
pub(crate) const BUILD: &[Prerequisite] = &[C_COMPILER, PYTHON_PIP];

/// Needed to check everything.
pub(crate) const TEST: &[Prerequisite] = &[
    C_COMPILER,
    PYTHON_PIP,
    NODE_NPM,
    POSTGRESQL,
    SOFTWARE_VULKAN,
    NAMESPACES,
];

/// Names everything that is missing at once, with the command that installs it.
///
/// # Errors
/// Something is missing.
pub(crate) fn check(needed: &[Prerequisite]) -> Result<()> {
    let missing: Vec<&Prerequisite> = needed.iter().filter(|one| !(one.present)()).collect();
    for one in needed {
        let state = if missing.iter().any(|other| other.name == one.name) {
            "MISSING"
        } else {
            "found"
        };
        progress::say(format!("   {:<18} {state:<8} ({})", one.name, one.why));
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", advice(&missing))
}

/// Installs what only tests need (PostgreSQL, a software Vulkan driver, iproute2) where it is missing and
/// this machine lets us: a clean machine with Debian's package manager, as root. Elsewhere [`check`] says what
/// to do.
///
/// # Errors
/// The package manager fails.
pub(crate) fn install_for_tests() -> Result<()> {
    let may = process::find("apt-get").is_some() && is_root();
    let missing: Vec<&Prerequisite> = [&POSTGRESQL, &SOFTWARE_VULKAN, &NAMESPACES]
        .into_iter()
        .filter(|one| !(one.present)())
        .collect();
    if missing.is_empty() || !may {
        return Ok(());
    }
    for one in &missing {
        progress::say(format!(
            "   {} is missing: installing it with apt-get ({})",
            one.name, one.debian
        ));
    }
    let quiet = |arguments: &[&str]| {
        process::run(
            Command::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    // A fresh image has no list of packages yet.
    quiet(&["update", "-q"])?;
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(missing.iter().flat_map(|one| one.debian.split(' ')));
    quiet(&install)
}

/// Says what to install and how.
fn advice(missing: &[&Prerequisite]) -> String {
    let names: Vec<_> = missing.iter().map(|one| one.name).collect();
    let packages: Vec<_> = missing.iter().map(|one| one.debian).collect();
    format!(
        "missing: {}. On Debian or Ubuntu, as root: `apt-get install -y {}`; elsewhere, install them \
         the way your system does. Then run the same command again",
        names.join(", "),
        packages.join(" ")
    )
}

fn has_c_compiler() -> bool {
    // The linker that rustc calls; some dependencies also compile C.
    ["cc", "gcc", "clang"]
        .iter()
        .any(|name| process::find(name).is_some())
}

fn has_pip() -> bool {
    process::succeeds(Command::new(PYTHON).args(["-m", "pip", "--version"]))
}

fn has_npm() -> bool {
    ["node", "npm"]
        .iter()
        .all(|name| process::succeeds(Command::new(name).arg("--version")))
}

/// The server's own programs, and the client that tests ask it with: Debian keeps them out of the path,
/// a folder for each version.
fn has_postgresql() -> bool {
    let packaged = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .any(|version| {
            let programs = version.path().join("bin");
            POSTGRESQL_PROGRAMS
                .iter()
                .all(|name| programs.join(name).is_file())
        });
    let on_path = || {
        POSTGRESQL_PROGRAMS
            .iter()
            .all(|name| process::find(name).is_some())
    };
    packaged || on_path()
}

/// The loader that programs open, and Mesa's driver that computes on processor cores.
fn has_software_vulkan() -> bool {
    let holds = |folder: &str, name: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name())
            .any(|file| file.to_string_lossy().starts_with(name))
    };
    let libraries = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let loader = libraries
        .map(|entry| entry.path().join("libvulkan.so.1"))
        .chain(["/usr/lib/libvulkan.so.1", "/usr/lib64/libvulkan.so.1"].map(PathBuf::from))
        .any(|file| file.exists());
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    loader && drivers.iter().any(|folder| holds(folder, "lvp_icd"))
}

/// Networks of a test's own are a matter of Linux alone.
fn has_namespaces() -> bool {
    let needed = ["ip", "unshare", "nsenter"];
    !cfg!(target_os = "linux") || needed.iter().all(|name| process::find(name).is_some())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// The Python that tasks start.
pub(crate) const PYTHON: &str = "python3";

const C_COMPILER: Prerequisite = Prerequisite {
    name: "C compiler",
    why: "links programs, builds libsecp256k1",
    debian: "gcc libc6-dev",
    present: has_c_compiler,
};

const PYTHON_PIP: Prerequisite = Prerequisite {
    name: "Python 3 with pip",
    why: "fetches models, which ship in wheels",
    debian: "python3 python3-pip",
    present: has_pip,
};

const NODE_NPM: Prerequisite = Prerequisite {
    name: "Node with npm",
    why: "compiles the contracts, runs foreign clients",
    debian: "nodejs npm",
    present: has_npm,
};

const POSTGRESQL_PROGRAMS: [&str; 3] = ["initdb", "postgres", "psql"];

const POSTGRESQL: Prerequisite = Prerequisite {
    name: "PostgreSQL",
    why: "a ledger that replicas share, tested on a server of its own",
    debian: "postgresql",
    present: has_postgresql,
};

const SOFTWARE_VULKAN: Prerequisite = Prerequisite {
    name: "software Vulkan",
    why: "tests tensor operations for graphics processors without one",
    debian: "mesa-vulkan-drivers libvulkan1",
    present: has_software_vulkan,
};

const NAMESPACES: Prerequisite = Prerequisite {
    name: "network namespaces",
    why: "tests hosts on a network that delays, loses and breaks",
    debian: "iproute2 util-linux",
    present: has_namespaces,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_everything_missing_and_one_command() {
        let text = advice(&[&C_COMPILER, &NODE_NPM]);
        assert!(text.contains("C compiler, Node with npm"), "{text}");
        assert!(
            text.contains("`apt-get install -y gcc libc6-dev nodejs npm`"),
            "{text}"
        );
    }

    #[test]
    fn nothing_missing_is_no_error() {
        assert!(check(&[]).is_ok());
    }
}
