//! `cargo xtask test`: every check and test, in the order in which they fail soonest.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use crate::host::{self, Format};
use crate::lock;
use crate::paths::Paths;
use crate::report::{Outcome, Report};
use crate::toolchain::InstallTarget;
use crate::{clients, guests, languages, models, prerequisites, process, progress, tidy};

/// Runs all steps, or the named ones, and prints the table; stops at the first failure.
///
/// # Errors
/// A step failed, or a name is no step's.
pub(crate) fn run(paths: &Paths, names: &[String]) -> Result<()> {
    let chosen = choose(names)?;
    let mut report = Report::default();
    let mut failure = None;
    for step in chosen {
        if failure.is_some() {
            report.not_reached(step.name);
            continue;
        }
        progress::heading(format!("{}: {}", step.name, step.what));
        let since = Instant::now();
        let outcome = (step.run)(paths).unwrap_or_else(|error| {
            failure = Some((step.name, error));
            Outcome::Failed
        });
        report.ran(step.name, since.elapsed(), outcome);
    }
    progress::print(format!("\n{report}"))?;
    match failure {
        None => Ok(()),
        Some((step, error)) => Err(error).with_context(|| {
            format!("step `{step}` failed; `cargo xtask test {step}` runs it alone")
        }),
    }
}

/// One step of the suite.
#[derive(Debug)]
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Paths) -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step {
        name: "needs",
        what: "what must be on the machine",
        run: needs,
    },
    Step {
        name: "format",
        what: "every workspace is formatted",
        run: format,
    },
    Step {
        name: "tidy",
        what: "the house's own rules",
        run: tidy,
    },
    Step {
        name: "contracts",
        what: "what is committed is what the sources compile to",
        run: contracts,
    },
    Step {
        name: "clippy",
        what: "the host's lints, warnings denied",
        run: clippy,
    },
    Step {
        name: "guests",
        what: "services build to components",
        run: guests,
    },
    Step {
        name: "services",
        what: "services' lints and tests",
        run: services,
    },
    Step {
        name: "build",
        what: "the host, in release",
        run: build,
    },
    Step {
        name: "models",
        what: "models, fetched and checked",
        run: fetch_models,
    },
    Step {
        name: "clients",
        what: "unmodified clients, installed",
        run: install_clients,
    },
    Step {
        name: "tests",
        what: "units, properties, contracts, end to end",
        run: tests,
    },
    Step {
        name: "failures",
        what: "hosts in network namespaces: delay, loss, partitions, a NAT, a killed host",
        run: failures,
    },
    Step {
        name: "doctests",
        what: "examples in the documentation",
        run: doctests,
    },
    Step {
        name: "docs",
        what: "documentation builds, warnings denied",
        run: docs,
    },
    Step {
        name: "deny",
        what: "licences, advisories and sources of dependencies",
        run: deny,
    },
];

fn choose(names: &[String]) -> Result<Vec<&'static Step>> {
    for name in names {
        if !STEPS.iter().any(|step| step.name == name) {
            let known: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            bail!(
                "there is no step `{name}`; the steps are {}",
                known.join(", ")
            );
        }
    }
    let wanted = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

fn needs(_: &Paths) -> Result<Outcome> {
    prerequisites::install_for_tests()?;
    prerequisites::check(prerequisites::TEST).map(|()| Outcome::Passed)
}

fn format(paths: &Paths) -> Result<Outcome> {
    host::format(paths, Format::Check).context("run `cargo xtask fmt`")?;
    Ok(Outcome::Passed)
}

fn tidy(paths: &Paths) -> Result<Outcome> {
    tidy::run(paths).map(|()| Outcome::Passed)
}

fn contracts(paths: &Paths) -> Result<Outcome> {
    let folder = paths.root.join("payment-channels/contracts");
    clients::npm_ci(paths, &folder)?;
    process::run(
        Command::new("node")
            .args(["compile.mjs", "--check"])
            .current_dir(&folder),
    )
    .context("run `node compile.mjs` in payment-channels/contracts and commit what it writes")?;
    Ok(Outcome::Passed)
}

fn clippy(paths: &Paths) -> Result<Outcome> {
    process::run(process::cargo(paths).args(CLIPPY))?;
    Ok(Outcome::Passed)
}

fn guests(paths: &Paths) -> Result<Outcome> {
    let _lock = lock::hold(paths)?;
    guests::build(paths, InstallTarget::Never)?;
    guests::build_test(paths, InstallTarget::Never)?;
    languages::build(paths, InstallTarget::Never)?;
    Ok(Outcome::Passed)
}

/// A service's own logic is tested natively; as components they are tested end to end.
fn services(paths: &Paths) -> Result<Outcome> {
    for arguments in [CLIPPY, &["test", "--locked", "--workspace"]] {
        let mut command = process::cargo(paths);
        command
            .args(arguments)
            .current_dir(paths.services_source())
            .env("CARGO_TARGET_DIR", paths.guest_target())
            .env("RIALTO_ASSETS", paths.assets());
        process::run(&mut command)?;
    }
    Ok(Outcome::Passed)
}

fn build(paths: &Paths) -> Result<Outcome> {
    host::build(paths).map(|()| Outcome::Passed)
}

fn fetch_models(paths: &Paths) -> Result<Outcome> {
    host::fetch_models(paths)?;
    models::fetch_for_tests(paths)?;
    Ok(Outcome::Passed)
}

fn install_clients(paths: &Paths) -> Result<Outcome> {
    clients::install(paths).map(|()| Outcome::Passed)
}

fn tests(paths: &Paths) -> Result<Outcome> {
    let mut command = process::cargo(paths);
    if process::find("cargo-nextest").is_some() {
        command.args(["nextest", "run", "--release", "--locked", "--workspace"]);
        // It measures how hosts recover, so it runs alone, as a step.
        command.args(["--filterset", "not binary(net)"]);
    } else {
        progress::say("   cargo-nextest is not installed: cargo's own runner does it");
        command.args([
            "test",
            "--release",
            "--locked",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
        ]);
    }
    clients::tell(paths, &mut command)?;
    process::run(&mut command)?;
    Ok(Outcome::Passed)
}

fn failures(paths: &Paths) -> Result<Outcome> {
    if process::find("cargo-nextest").is_none() {
        return Ok(Outcome::Skipped("they ran with the tests".to_owned()));
    }
    if let Some(why) = no_namespaces() {
        return Ok(Outcome::Skipped(why));
    }
    let mut command = process::cargo(paths);
    command.args(["nextest", "run", "--release", "--locked", "--workspace"]);
    command.args(["--filterset", "binary(net)"]);
    clients::tell(paths, &mut command)?;
    process::run(&mut command)?;
    Ok(Outcome::Passed)
}

/// Why hosts cannot have networks of their own on this machine; nothing if they can.
fn no_namespaces() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("network namespaces are Linux's".to_owned());
    }
    let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--net"], &["--net"]];
    let works = |way: &[&str]| {
        let mut probe = Command::new("unshare");
        let probe = probe.args(way).args(["--", "sh", "-c", NETWORK_PROBE]);
        let probed = probe.output();
        probed.is_ok_and(|output| output.status.success())
    };
    let why = "NOT TESTED: no network namespaces or no /dev/net/tun here; docs/failures.md says what they need";
    (!ways.iter().any(|way| works(way))).then(|| why.to_owned())
}

/// Whether a network of one's own can have a device.
const NETWORK_PROBE: &str =
    "ip tuntap add dev probe mode tun && unshare --net -- ip link set lo up && : <>/dev/net/tun";

fn doctests(paths: &Paths) -> Result<Outcome> {
    let mut command = process::cargo(paths);
    process::run(command.args(["test", "--doc", "--release", "--locked", "--workspace"]))?;
    Ok(Outcome::Passed)
}

fn docs(paths: &Paths) -> Result<Outcome> {
    let mut command = process::cargo(paths);
    command.args([
        "doc",
        "--no-deps",
        "--locked",
        "--workspace",
        "--document-private-items",
    ]);
    process::run(command.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    Ok(Outcome::Passed)
}

fn deny(paths: &Paths) -> Result<Outcome> {
    if process::find("cargo-deny").is_none() {
        let why = "cargo-deny is not installed (`cargo install --locked cargo-deny`)";
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    process::run(process::cargo(paths).args(["deny", "--workspace", "check"]))
        .map_err(|error| anyhow!("{error:#}; deny.toml says what is accepted and why"))?;
    Ok(Outcome::Passed)
}

const CLIPPY: &[&str] = &[
    "clippy",
    "--locked",
    "--workspace",
    "--all-targets",
    "--",
    "--deny",
    "warnings",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chosen: &[&Step]) -> Vec<&'static str> {
        chosen.iter().map(|step| step.name).collect()
    }

    #[test]
    fn named_steps_run_in_the_suites_order() {
        let wanted = ["clippy", "tidy"].map(str::to_owned);
        assert_eq!(names(&choose(&wanted).unwrap()), ["tidy", "clippy"]);
    }

    #[test]
    fn without_names_every_step_runs() {
        assert_eq!(choose(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_known_ones() {
        let error = choose(&["lint".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("`lint`") && error.contains("clippy, guests"),
            "{error}"
        );
    }
}
