//! The command line, as clap sees it. What each command does is in the module of its name.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A mesh of AI services in WebAssembly, paid per call.
#[derive(Debug, Parser)]
#[command(name = "rialto", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "Start here:\n  rialto up                     everything on this machine, with a development chain\n  rialto services               what can be called, and for how much\n  rialto call embed similarity '{\"texts\": [\"a cat\", \"a kitten\"]}'";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the mesh on this machine: chain, host, services and gateway.
    Up(Box<UpArgs>),
    /// Call a method of a service and pay for it.
    Call(CallArgs),
    /// List the services of a host, with their methods and prices.
    Services(GatewayArgs),
    /// Look at payment channels, or close one.
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Show this wallet: its address and what it holds.
    Wallet(WalletArgs),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Fetch and check the models that services need.
    #[command(subcommand)]
    Artifacts(ArtifactsCommand),
}

/// Where durable things live.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// Folder for keys, channels, the ledger and the development chain.
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
    /// Make one paid call of each known service, then claim and settle, and show what happened.
    #[arg(long)]
    pub(crate) tour: bool,
    /// Write this file when ready (JSON: gateway, chain_rpc, chain_id, addresses, test_keys, services).
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
    /// The parameters as a JSON object.
    #[arg(value_name = "JSON")]
    pub(crate) parameters: Option<String>,
    /// Take a parameter from a file: text as a string, anything else as bytes.
    #[arg(long = "file", value_name = "FIELD=PATH")]
    pub(crate) files: Vec<String>,
    /// Refuse to sign a higher price, in token base units (1,000,000 is one USDC).
    #[arg(long, value_name = "UNITS", default_value = "100000")]
    pub(crate) max_price: u128,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// List this wallet's channels.
    Ls(GatewayArgs),
    /// Ask the provider for the unspent balance and close the channel.
    Close {
        /// The channel's id, or its first digits; may be left out when there is only one.
        id: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WalletArgs {
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
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

#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactsCommand {
    /// Fetch what the services in a folder name and check every digest.
    Fetch {
        /// A folder of services (NAME/service.toml).
        #[arg(long, env = "RIALTO_SERVICES", value_name = "DIR")]
        services: PathBuf,
        /// The artifact store.
        #[arg(long, env = "RIALTO_ARTIFACTS", value_name = "DIR")]
        store: PathBuf,
    },
}
