//! The rialto command: host, call, pay.
//!
//! Each command is a module of its name; this file only picks one and shows what went wrong.

mod admin;
mod args;
mod artifacts;
mod call;
mod channel;
mod doors;
mod engines;
mod exit;
mod heard;
mod home;
mod key;
mod ledger;
mod lifecycle;
mod mcp;
mod name;
mod new;
mod pay;
mod policy;
mod progress;
mod publish;
mod receipt;
mod search;
mod services;
mod show;
mod telemetry;
mod top;
mod tour;
mod up;
mod wallet;

use std::process::ExitCode;

use anyhow::Result;
use args::{Cli, Command, ConfigCommand};
use clap::Parser;
use rialto_node::Config;

fn main() -> ExitCode {
    // What confines itself does so thread by thread: it must not have any yet.
    match std::env::args_os().nth(1) {
        Some(word) if word == engines::WORKER => rialto_node::serve_engine_worker(),
        Some(word) if word == engines::CELL => rialto_node::serve_cell(),
        Some(_) | None => start(),
    }
}

#[tokio::main]
async fn start() -> ExitCode {
    let cli = Cli::parse();
    // A configuration that cannot be read is reported by the command itself.
    let config = if let Command::Up(args) = &cli.command {
        up::config(args).ok()
    } else {
        None
    };
    let observability = config.map(|config| config.observability);
    let telemetry = match telemetry::start(observability.as_ref()) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            show::note(format!("error: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let done = run(cli.command).await;
    telemetry.end().await;
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::note(format!("error: {error}"));
            for cause in error.chain().skip(1) {
                show::note(format!("  because: {cause}"));
            }
            if let Some(word) = exit::services_word(&error) {
                show::note(format!("  the service says: {word}"));
            }
            if let Some(next) = exit::next_step(&error) {
                show::note(format!("  try: {next}"));
            }
            exit::code(&error)
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(args) => up::run(*args).await,
        Command::New(args) => new::run(args),
        Command::Call(args) => call::run(args).await,
        Command::Mcp(args) => mcp::run(args).await,
        Command::Services(args) => services::run(args).await,
        Command::Deploy(args) => lifecycle::deploy(args).await,
        Command::Publish(args) => publish::run(args).await,
        Command::Search(args) => search::run(args).await,
        Command::Name(command) => name::run(command).await,
        Command::Rollback(args) => lifecycle::rollback(args).await,
        Command::Drain(args) => lifecycle::drain(args).await,
        Command::Resume(args) => lifecycle::resume(args).await,
        Command::Remove(args) => lifecycle::remove(args).await,
        Command::Channel(command) => channel::run(command).await,
        Command::Wallet(args) => wallet::run(args).await,
        Command::Key(command) => key::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Receipt(command) => receipt::run(command).await,
        Command::Ledger(args) => ledger::run(args).await,
        Command::Top(args) => top::run(args).await,
        Command::Config(ConfigCommand::Show { data, config }) => {
            let data_dir = home::data_dir(data.data_dir.as_deref())?;
            let file = config.unwrap_or_else(|| data_dir.join("rialto.toml"));
            let config = if file.exists() {
                Config::load(&data_dir, &file)?
            } else {
                Config::in_dir(&data_dir)
            };
            config.check()?;
            show::line(config.effective());
            Ok(())
        }
        Command::Engines(args) => engines::run(args).await,
        Command::Artifacts(command) => artifacts::run(command).await,
    }
}
