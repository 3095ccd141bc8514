//! The command line, as clap sees it. What each command does is in the module of its name.

mod books;
mod key;
mod mesh;
mod wallet;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rialto_node::LogFormat;
use rialto_templates::{Language, ProjectName};

use crate::artifacts::ArtifactsCommand;
use crate::policy::Units;

pub(crate) use books::{LedgerArgs, LedgerCommand, LedgerFormat, LedgerView, ReceiptCommand};
pub(crate) use key::{KeyCommand, KeyOptions};
pub(crate) use mesh::{DoorArgs, MeshArgs, MeshCallArgs, NameCommand, PublishArgs, SearchArgs};
pub(crate) use wallet::{PolicyCommand, WalletArgs, WalletCommand};

/// A mesh of AI services in WebAssembly, paid per call.
#[derive(Debug, Parser)]
#[command(name = "rialto", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "Start here:\n  rialto up                     everything on this machine, with a development chain\n  rialto services               what can be called, and for how much\n  rialto call embed similarity '{\"texts\": [\"a cat\", \"a kitten\"]}'\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 your own policy or wallet said no,\n  4 somebody broke their word (a bad receipt, books that do not add up), 5 nobody answers";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the mesh on this machine: chain, host, services and gateway.
    Up(Box<UpArgs>),
    /// Write a new service: a small, complete project to change.
    New(NewArgs),
    /// Call a method of a service and pay for it.
    Call(CallArgs),
    /// Give an agent a host's services as tools (MCP over standard input and output), paid within a budget.
    Mcp(McpArgs),
    /// List the services of a host, with their methods and prices.
    Services(ServicesArgs),
    /// Let a running node take in a new version of a service, without dropping calls.
    Deploy(DeployArgs),
    /// Sign a service, register it on the chain and offer it on the mesh.
    Publish(PublishArgs),
    /// Search the mesh for services.
    Search(SearchArgs),
    /// Show a published name, deprecate, revoke or restore it, or give it away.
    #[command(subcommand)]
    Name(NameCommand),
    /// Let a running node go back to an earlier version of a service.
    Rollback(RollbackArgs),
    /// Let no new calls of a service in; those that run end.
    Drain(DrainArgs),
    /// Let calls of a service in again.
    Resume(ResumeArgs),
    /// Take a service off a running node; its versions are kept.
    Remove(RemoveArgs),
    /// Look at payment channels, or close one.
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Show the wallet, or make, import, choose and export one.
    Wallet(WalletArgs),
    /// Make keys with which programs spend at the local door, list them, or take one back.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show or change what this wallet allows itself.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Look at receipts and check them, offline.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Show a provider's books: balances, open exposure, claimed and settled.
    Ledger(LedgerArgs),
    /// Watch a running host: its services with rates, times, earnings and memory.
    Top(TopArgs),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look after the artifact store: fetch and check, list, pin, make room.
    #[command(subcommand)]
    Artifacts(ArtifactsCommand),
    /// Show the engines that run models: which are here, how fast, and what to install for more.
    Engines(EnginesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The service's name: lowercase words joined by hyphens.
    pub(crate) name: ProjectName,
    /// What it is written in: rust, javascript or python.
    #[arg(long, value_name = "LANGUAGE", default_value_t = Language::Rust)]
    pub(crate) language: Language,
    /// Write it here instead of into a folder of its name.
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Rust only: take rialto-sdk from this folder (`sdk/rialto-sdk` of a checkout), not from its
    /// repository.
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

/// How lines of log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogLines {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl From<LogLines> for LogFormat {
    fn from(lines: LogLines) -> Self {
        match lines {
            LogLines::Human => Self::Human,
            LogLines::Json => Self::Json,
        }
    }
}

/// What is shown of a running host.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print one plain table and end.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print one JSON document for scripts and end.
    #[arg(long)]
    pub(crate) json: bool,
    /// Look so often, in seconds; rates of `--once` and `--json` are over so long.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) every: u32,
    /// The running host's folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Where durable things live.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// Folder for keys, channels, the ledger and the development chain.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// A file whose first line is the wallet's password; without it you are asked.
    #[arg(long, env = "RIALTO_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// What a host runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServicesArgs {
    /// Show what a call of each may use, instead of its methods.
    #[arg(long)]
    pub(crate) limits: bool,
    /// Show versions and states of the node that runs on the data folder, as its operator sees them.
    #[arg(long, conflicts_with = "limits")]
    pub(crate) versions: bool,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

/// A version to take in.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// A folder with service.toml and component.wasm; with --mesh the name of a published service.
    pub(crate) folder: PathBuf,
    /// Run what somebody published under this name: it gets the grants that its manifest asks for.
    #[arg(long)]
    pub(crate) mesh: bool,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    /// The running node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// A version to go back to.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The service's name.
    pub(crate) service: String,
    /// The version, as `rialto services --versions` shows it, or its number alone; without it the one that
    /// ran before.
    pub(crate) version: Option<String>,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    /// The running node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// What to let no new calls into.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The service's name.
    #[arg(required_unless_present = "all")]
    pub(crate) service: Option<String>,
    /// All services, until the node ends.
    #[arg(long, conflicts_with = "service")]
    pub(crate) all: bool,
    /// How many seconds to wait until the calls that run have ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) wait: u64,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    /// The running node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// What to let calls into again.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The service's name.
    #[arg(required_unless_present = "all")]
    pub(crate) service: Option<String>,
    /// Ends `rialto drain --all`.
    #[arg(long, conflicts_with = "service")]
    pub(crate) all: bool,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    /// The running node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// What to take off.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The service's name.
    pub(crate) service: String,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    /// The running node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Which gateway to speak to.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayArgs {
    /// The gateway's address.
    #[arg(
        long,
        env = "RIALTO_GATEWAY",
        default_value = "http://127.0.0.1:8402",
        value_name = "URL"
    )]
    pub(crate) gateway: String,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// Who pays, and through which chain endpoint.
#[derive(Debug, Clone, Args)]
pub(crate) struct PayerArgs {
    /// The chain's RPC endpoint; without it the gateway names one.
    #[arg(long = "rpc", env = "RIALTO_RPC", value_name = "URL")]
    pub(crate) rpc: Option<String>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

/// For commands that touch the wallet's files alone.
#[derive(Debug, Clone, Args)]
pub(crate) struct WalletOptions {
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// A configuration file; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the gateway listens; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8402", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// How lines of log look.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogLines>,
    /// Where the operator's own listener serves /metrics; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// A folder of built services (NAME/service.toml and NAME/component.wasm).
    #[arg(long, env = "RIALTO_SERVICES", value_name = "DIR")]
    pub(crate) services: Option<PathBuf>,
    /// The artifact store that models are fetched into.
    #[arg(long, env = "RIALTO_ARTIFACTS", value_name = "DIR")]
    pub(crate) artifacts: Option<PathBuf>,
    /// Use this EVM RPC endpoint instead of the development chain.
    #[arg(long, value_name = "URL", requires = "chain_id")]
    pub(crate) rpc: Option<String>,
    /// The chain id that the RPC endpoint must report.
    #[arg(long, value_name = "ID", requires = "rpc")]
    pub(crate) chain_id: Option<u64>,
    /// Where the development chain's RPC listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", conflicts_with = "rpc")]
    pub(crate) chain_listen: Option<SocketAddr>,
    /// The provider's payout address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) payout: Option<String>,
    /// Share the record of money with other replicas: a PostgreSQL database
    /// (postgres://user@host:port/name; its password is better kept in ~/.pgpass or PGPASSWORD).
    #[arg(
        long,
        env = "RIALTO_LEDGER",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) ledger: Option<String>,
    #[command(flatten)]
    pub(crate) mesh: MeshArgs,
    /// Make one paid call of each known service, then claim and settle, and show what happened.
    #[arg(long)]
    pub(crate) tour: bool,
    /// Write this file when ready (JSON: gateway, local, openai_base_url, mcp, chain_rpc, chain_id, addresses, test_keys, services).
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// The service's name.
    pub(crate) service: String,
    /// The method's name.
    pub(crate) method: String,
    /// The parameters as a JSON object; `@PATH` reads it from a file, `-` from standard input.
    #[arg(value_name = "JSON")]
    pub(crate) parameters: Option<String>,
    /// Take a parameter of bytes from a file.
    #[arg(long = "file", value_name = "FIELD=PATH")]
    pub(crate) files: Vec<String>,
    /// Refuse to pay a higher price: base units (1000000 is one USDC) or `0.05 USDC`.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) max_price: Option<Units>,
    /// Refuse to spend more than this today, with what was spent before.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) budget: Option<Units>,
    /// Make the same call so often.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) times: u32,
    #[command(flatten)]
    pub(crate) mesh: MeshCallArgs,
    /// Make so many calls at once, on several channels if one is not enough.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) parallel: Option<u32>,
    #[command(flatten)]
    pub(crate) payer: PayerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    /// Refuse to pay a higher price for one call: base units (1000000 is one USDC) or `0.05 USDC`.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) max_price: Option<Units>,
    /// Refuse to spend more than this today, with what was spent before; one USDC unless the wallet's policy says
    /// otherwise.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) budget: Option<Units>,
    /// Give the tools of the mesh, by way of this machine's node, which pays for them within its own budget.
    #[arg(long, conflicts_with_all = ["max_price", "budget"])]
    pub(crate) mesh: bool,
    /// With --mesh: a key of that node's (`rialto key new`), where it wants one or the agent is to have a budget of
    /// its own.
    #[arg(long, env = "RIALTO_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
    #[command(flatten)]
    pub(crate) payer: PayerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// List this wallet's channels.
    Ls(GatewayArgs),
    /// Ask the provider for the unspent balance and close the channel.
    Close {
        /// The channel's id, or its first digits; may be left out when there is only one.
        id: Option<String>,
        /// Take the money back without the provider, which takes until the channel's delay is over.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        payer: PayerArgs,
    },
    /// Finish withdrawals whose delay is over, and show when the others can be finished.
    Finalize {
        /// The channel's id, or its first digits; without it, all.
        id: Option<String>,
        #[command(flatten)]
        payer: PayerArgs,
    },
    /// Read the channels' state from the chain.
    Refresh {
        /// The channel's id, or its first digits; without it, all.
        id: Option<String>,
        #[command(flatten)]
        payer: PayerArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective configuration.
    Show {
        #[command(flatten)]
        data: DataArgs,
        /// A configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EnginesArgs {
    /// A configuration file, for what it says about engines.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}
