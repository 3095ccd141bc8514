//! Development tasks, run as `cargo xtask TASK`.
//!
//! `up` takes a fresh checkout to a running mesh, `test` is what CI runs, and the rest are their
//! parts. This crate is compiled first on a fresh machine and so depends on little; it talks to
//! cargo, npm, pip and apt as a person would, through their command lines.
//!
//! Non-goals: no protocol, no money and no service logic. What an installed `rialto` does without
//! a checkout belongs to `rialto` itself.

mod assets;
mod bench;
mod clients;
mod digest;
mod fuzz;
mod gas;
mod guests;
mod host;
mod languages;
mod lock;
mod models;
mod paths;
mod prerequisites;
mod process;
mod progress;
mod report;
mod suite;
mod tidy;
mod toolchain;
mod up;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::paths::Paths;

fn main() -> ExitCode {
    if let Some(code) = fuzz::instrument::as_compiler() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the task that the first argument names.
fn run(arguments: &[String]) -> Result<()> {
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", arguments),
    };
    if rest.iter().any(|argument| argument == "--help") {
        return help();
    }
    let paths = Paths::discover()?;
    match task {
        "up" => up::run(&paths, rest),
        "test" => suite::run(&paths, rest),
        "tidy" => no_arguments(task, rest).and_then(|()| tidy::run(&paths)),
        "fmt" => no_arguments(task, rest).and_then(|()| host::format(&paths, host::Format::Write)),
        "guests" => {
            let install = only_install_target(task, rest)?;
            let _lock = lock::hold(&paths)?;
            guests::build(&paths, install)
        }
        "languages" => {
            let install = only_install_target(task, rest)?;
            let _lock = lock::hold(&paths)?;
            languages::build(&paths, install)
        }
        "fetch" => {
            let install = only_install_target(task, rest)?;
            let _lock = lock::hold(&paths)?;
            guests::build(&paths, install)?;
            host::build(&paths)?;
            host::fetch_models(&paths)
        }
        "clients" => no_arguments(task, rest).and_then(|()| clients::install(&paths)),
        "bench" => bench::run(&paths, rest),
        "fuzz" => fuzz::run(&paths, rest),
        "models" => models::run(&paths, rest),
        "gas" => no_arguments(task, rest).and_then(|()| gas::run(&paths)),
        "help" | "--help" | "-h" => help(),
        unknown => bail!("there is no task `{unknown}`; `cargo xtask help` lists them"),
    }
}

/// Accepts nothing, or `--install-target`; returns whether it was there.
fn only_install_target(task: &str, rest: &[String]) -> Result<toolchain::InstallTarget> {
    match rest {
        [] => Ok(toolchain::InstallTarget::Never),
        [flag] if flag == toolchain::INSTALL_TARGET_FLAG => {
            Ok(toolchain::InstallTarget::WhenMissing)
        }
        [other, ..] => bail!("`cargo xtask {task}` does not take `{other}`"),
    }
}

/// Accepts nothing.
fn no_arguments(task: &str, rest: &[String]) -> Result<()> {
    match rest.first() {
        None => Ok(()),
        Some(other) => bail!("`cargo xtask {task}` does not take `{other}`"),
    }
}

fn help() -> Result<()> {
    progress::print(HELP)
}

const HELP: &str = "\
cargo xtask TASK

  up [--install-target] [..]  build what is missing, then run `rialto up --tour` with the arguments
                              left (`rialto up --help` lists them)
  test [STEP..]               every check and test, as CI runs them; or only the steps named
  tidy                        dependency directions, file names, module docs, licences, leaks
  fmt                         format every workspace
  guests [--install-target]   build the services in services/ to WebAssembly components
  languages [--install-target]
                              build the templates of `rialto new` by each language's own tools
  fetch [--install-target]    guests, then every model that they name, into the artifact store
  clients                     install the unmodified clients that the end-to-end tests use
  bench [..]                  run the benchmarks with the arguments left
  fuzz [TARGET..] [--seconds N]
                              look for inputs that break a decoder, N seconds a target [60]
  models --table              run every model on every engine and write docs/models.md
  gas                         measure what the contracts cost and write docs/gas.md
  help                        this text

Environment
  RIALTO_CACHE      everything built or fetched outside the checkout [default: ~/.cache/rialto]
  CARGO_TARGET_DIR  the host's build folder [default: target in the cache]

--install-target lets this run `rustup target add wasm32-wasip2` if guests cannot be built otherwise.";
