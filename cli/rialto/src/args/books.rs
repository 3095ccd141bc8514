//! Receipts and the books of a provider, as clap sees them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{GatewayArgs, PayerArgs, WalletOptions};

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Check receipts without asking anybody: signatures, sums, and the chain they form.
    Verify {
        /// A file with a receipt, a JSON list of them, or one a line; `-` reads the input.
        file: PathBuf,
        /// The host that must have signed them all.
        #[arg(long, value_name = "ADDRESS")]
        host: Option<String>,
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Show a receipt: one kept here, or else asked of the gateway.
    Show {
        /// The receipt's id.
        id: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show what a call cost with all the calls below it: of services that had others work for them.
    Tree {
        /// The receipt's id.
        id: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// List the receipts kept of a channel.
    Ls {
        /// The channel's id, or its first digits; may be left out when there is only one.
        channel: Option<String>,
        #[command(flatten)]
        options: WalletOptions,
    },
    /// Say on the chain how good a call was. What is said counts by its receipt, which others can read then.
    Rate {
        /// The receipt's id.
        id: String,
        /// From -100, useless, to 100, perfect.
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i8).range(-100..=100))]
        value: i8,
        #[command(flatten)]
        payer: PayerArgs,
    },
    /// Prove that a host signed two receipts that cannot both be true.
    Conflict {
        /// A file with the one receipt.
        first: PathBuf,
        /// A file with the other.
        second: PathBuf,
        /// Print the proof as JSON that anybody can check.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LedgerCommand>,
    /// One row for each of these.
    #[arg(long, value_enum, default_value = "channel")]
    pub(crate) by: LedgerView,
    #[command(flatten)]
    pub(crate) format: LedgerFormat,
}

/// How the books are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LedgerView {
    Channel,
    Provider,
    Day,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Every movement of money, by day: from which account into which.
    Journal(LedgerFormat),
    /// Recompute everything from vouchers, receipts and the chain, and name the first difference.
    Audit {
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
        /// The node's data folder.
        #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// How a sheet is printed, and of which node.
#[derive(Debug, Clone, Args)]
pub(crate) struct LedgerFormat {
    /// Print comma-separated values, in token base units.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print JSON for scripts, in token base units.
    #[arg(long)]
    pub(crate) json: bool,
    /// The node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}
