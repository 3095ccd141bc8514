//! What libFuzzer watches, compiled into our own crates only.
//!
//! Cargo can ask another program to run the compiler: here that is xtask itself, which passes the
//! call on and adds the coverage pass where the crate is ours. Dependencies are compiled as ever, so
//! those of the host's own build are used again, and a decoder's own branches are what guides the
//! search.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::process;

/// Makes a cargo command compile through `this` program.
pub(super) fn by(command: &mut Command, this: &Path) {
    command.env("RUSTC_WRAPPER", this).env(MARK, "1");
}

/// Runs the compiler if that is what this process was started for; `None` if it was not.
pub(crate) fn as_compiler() -> Option<ExitCode> {
    env::var_os(MARK)?;
    let call: Vec<OsString> = env::args_os().skip(1).collect();
    let package = env::var("CARGO_PKG_NAME").ok();
    match compile(&call, package.as_deref()) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: {error:#}");
            Some(ExitCode::FAILURE)
        }
    }
}

fn compile(call: &[OsString], package: Option<&str>) -> Result<()> {
    let (compiler, arguments) = call.split_first().context("no compiler was named")?;
    let mut command = Command::new(compiler);
    command.args(arguments).env_remove(MARK);
    if is_ours(package, arguments) {
        command.args(COVERAGE);
    }
    process::become_quietly(&mut command)
}

/// Whether a crate is one of ours that runs in a target: no macro and no build script.
fn is_ours(package: Option<&str>, arguments: &[OsString]) -> bool {
    let is_at_build_time = arguments.windows(2).any(|pair| {
        (pair[0] == "--crate-type" && pair[1] == "proc-macro")
            || (pair[0] == "--crate-name" && pair[1] == "build_script_build")
    });
    package.is_some_and(|name| name.starts_with("rialto")) && !is_at_build_time
}

/// As `cargo fuzz` does it, less the sanitizers, which need a nightly compiler.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Marks the processes that cargo starts as its compiler.
const MARK: &str = "RIALTO_FUZZ_COMPILER";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_crates_are_watched() {
        let check = |package: Option<&str>, arguments: &[&str], expected: bool| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(is_ours(package, &arguments), expected, "{package:?}");
        };
        check(
            Some("rialto-channels"),
            &["--crate-name", "rialto_channels"],
            true,
        );
        check(Some("rialto-fuzz"), &["--crate-name", "voucher"], true);
        check(Some("rialto-sdk"), &["--crate-type", "proc-macro"], false);
        check(
            Some("rialto-host"),
            &["--crate-name", "build_script_build"],
            false,
        );
        check(Some("serde"), &["--crate-name", "serde"], false);
        check(None, &["-vV"], false);
    }
}
