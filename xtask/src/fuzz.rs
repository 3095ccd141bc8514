//! `cargo xtask fuzz`: builds the fuzz targets of `fuzz/` and runs them in turn with libFuzzer.
//!
//! On the stable compiler: what libFuzzer watches is an LLVM pass, not a sanitizer. Only our own
//! crates get it ([`instrument`]); their dependencies are the very ones that the host is built with.
//! Not here: the targets and what they assert (each crate's `fuzzing.rs`).

pub(crate) mod instrument;
mod outcome;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::{process, progress};
use outcome::{Outcome, Row, table};

/// One program of `fuzz/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    name: &'static str,
    /// The feature that brings its crate in, if that is not a light one.
    feature: Option<&'static str>,
    /// The longest input that is tried, in bytes.
    input_bytes_max: u32,
}

const fn target(name: &'static str, feature: Option<&'static str>, input_bytes_max: u32) -> Target {
    Target {
        name,
        feature,
        input_bytes_max,
    }
}

/// Every target, the quickest to build first.
const TARGETS: &[Target] = &[
    target("channel_text", None, 256),
    target("voucher", None, 128),
    target("manifest", None, 4096),
    target("outline", None, 4096),
    target("source", None, 512),
    target("registration", None, 4096),
    target("offer", None, 4096),
    target("signed_manifest", None, 8192),
    target("envelope", None, 1024),
    target("gguf_file", Some("lm"), 4096),
    target("gguf_model", Some("lm"), 4096),
    target("ledger_rows", Some("ledger"), 2048),
    target("ledger_log", Some("ledger"), 2048),
    target("chain_answers", Some("chain"), 512),
    target("chain_logs", Some("chain"), 2048),
    target("devchain_log", Some("chain"), 2048),
    target("devchain_rpc", Some("chain"), 2048),
    target("facilitator", Some("gateway"), 8192),
    target("form", Some("gateway"), 2048),
    target("payment", Some("gateway"), 8192),
    target("payment_required", Some("gateway"), 8192),
    target("payment_response", Some("gateway"), 4096),
    target("receipt", Some("gateway"), 4096),
    target("json_values", Some("host"), 2048),
    target("component", Some("host"), 4096),
    target("worker_reply", Some("tensor"), 512),
    target("onnx_graph", Some("tensor"), 4096),
    target("onnx_model", Some("tensor"), 4096),
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    targets: Vec<Target>,
    seconds: u32,
}

/// Builds the named targets, or all, runs each for a while, and prints a table.
///
/// # Errors
/// A name is no target's, a target does not build, or an input broke a property: the message says
/// where it is kept and what to do with it.
pub(crate) fn run(paths: &Paths, arguments: &[String]) -> Result<()> {
    let asked = parse(arguments)?;
    needs()?;
    build(paths, &asked.targets)?;
    progress::heading("fuzz");
    let mut rows = Vec::new();
    for target in &asked.targets {
        rows.push(run_one(paths, *target, asked.seconds)?);
    }
    progress::print(format!("\n{}", table(&rows)))?;
    let broken: Vec<&Row> = rows.iter().filter(|row| row.outcome.is_broken()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    for row in &broken {
        progress::say(row.advice());
    }
    bail!("{} of {} targets broke", broken.len(), rows.len())
}

fn parse(arguments: &[String]) -> Result<Asked> {
    let mut asked = Asked {
        targets: Vec::new(),
        seconds: SECONDS,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            asked.seconds = rest
                .next()
                .and_then(|text| text.parse().ok())
                .filter(|seconds| (1..=SECONDS_MAX).contains(seconds))
                .with_context(|| format!("`--seconds` takes a number from 1 to {SECONDS_MAX}"))?;
            continue;
        }
        match TARGETS.iter().find(|target| target.name == argument) {
            Some(target) => asked.targets.push(*target),
            None => {
                let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                bail!(
                    "there is no fuzz target `{argument}`; the targets are {}",
                    known.join(", ")
                );
            }
        }
    }
    if asked.targets.is_empty() {
        asked.targets = TARGETS.to_vec();
    }
    Ok(asked)
}

/// libFuzzer is C++, compiled with the first target.
fn needs() -> Result<()> {
    if ["c++", "g++", "clang++"]
        .iter()
        .any(|name| process::find(name).is_some())
    {
        return Ok(());
    }
    bail!(
        "libFuzzer needs a C++ compiler: on Debian or Ubuntu, as root, `apt-get install -y g++`; \
         elsewhere, install one the way your system does. Then run the same command again"
    )
}

fn build(paths: &Paths, targets: &[Target]) -> Result<()> {
    progress::heading("fuzz targets");
    let features: BTreeSet<&str> = targets.iter().filter_map(|target| target.feature).collect();
    let features: Vec<&str> = features.into_iter().collect();
    let mut command = process::cargo(paths);
    command
        .current_dir(paths.fuzz_source())
        .args(["build", "--release", "--locked", "--features"])
        .arg(features.join(","));
    for target in targets {
        command.args(["--bin", target.name]);
    }
    let this = env::current_exe().context("this program's path")?;
    instrument::by(&mut command, &this);
    process::run(&mut command)
}

fn run_one(paths: &Paths, target: Target, seconds: u32) -> Result<Row> {
    let corpus = paths.fuzz_corpus().join(target.name);
    let found = paths.fuzz_found().join(target.name);
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let seeds = paths.fuzz_source().join("seeds").join(target.name);
    let what = format!("fuzz {}", target.name);
    let mut command = Command::new(paths.program(target.name));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.input_bytes_max))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"])
        .arg(&corpus)
        .arg(&seeds);
    let since = Instant::now();
    let before = newest(&found);
    let ended = process::behind_progress(paths, &what, &mut command, None);
    let log = fs::read_to_string(process::log_of(paths, &what)).unwrap_or_default();
    let outcome = match ended {
        Ok(()) => Outcome::Held,
        Err(error) => match newest(&found).filter(|input| Some(input) != before.as_ref()) {
            Some((_, input)) => Outcome::Broke { input },
            // It did not even run: not a finding, and the same for every other target.
            None => return Err(error),
        },
    };
    Ok(Row::new(target.name, since.elapsed(), &log, outcome, seeds))
}

/// The input that was kept last, with its time, so that an older one is not taken for it.
fn newest(found: &PathBuf) -> Option<(Duration, PathBuf)> {
    let entries = fs::read_dir(found).ok()?.flatten();
    entries
        .filter_map(|entry| {
            let modified = entry.metadata().ok()?.modified().ok()?;
            let age = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some((age, entry.path()))
        })
        .max()
}

/// How long each target runs unless the command line says otherwise.
const SECONDS: u32 = 60;
const SECONDS_MAX: u32 = 7 * 24 * 3600;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn asked(words: &[&str]) -> Result<Asked> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words)
    }

    #[test]
    fn targets_and_time_are_read() {
        assert_eq!(asked(&[]).unwrap().targets, TARGETS);
        let one = asked(&["voucher", "--seconds", "5"]).unwrap();
        assert_eq!(one.seconds, 5);
        assert_eq!(one.targets.len(), 1);
        assert_eq!(one.targets[0].name, "voucher");
        for bad in [
            &["--seconds"][..],
            &["--seconds", "0"],
            &["--seconds", "x"],
            &["vuocher"],
        ] {
            assert!(asked(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_target_has_a_program_seeds_and_its_feature() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let programs = fs::read_dir(folder.join("fuzz_targets")).unwrap().count();
        assert_eq!(programs, TARGETS.len());
        for target in TARGETS {
            let name = target.name;
            assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file());
            let seeds = fs::read_dir(folder.join("seeds").join(name)).unwrap();
            assert!(seeds.count() > 0, "{name} has no seeds");
            let (_, declared) = manifest
                .split_once(&format!("name = \"{name}\""))
                .unwrap_or_else(|| panic!("fuzz/Cargo.toml has no program {name}"));
            let declared = declared.split("[[bin]]").next().unwrap();
            let feature = target
                .feature
                .map(|feature| format!("required-features = [\"{feature}\"]"));
            let has = declared.contains("required-features");
            assert_eq!(has, feature.is_some(), "{name}");
            assert!(feature.is_none_or(|feature| declared.contains(&feature)));
        }
    }
}
