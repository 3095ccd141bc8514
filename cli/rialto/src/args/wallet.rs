//! The wallet and what it allows itself, as clap sees them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DataArgs, PayerArgs, WalletOptions};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WalletArgs {
    #[command(subcommand)]
    pub(crate) command: Option<WalletCommand>,
    #[command(flatten)]
    pub(crate) payer: PayerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Show the wallet in use: its address and what it holds.
    Show(PayerArgs),
    /// Make a wallet: a new key, encrypted with a password.
    New {
        /// Pay from it at once.
        #[arg(long = "use")]
        select: bool,
        #[command(flatten)]
        options: WalletOptions,
    },
    /// Take over a key: another wallet's key file, or a file with a private key.
    Import {
        /// The file; without it the private key is typed, unseen.
        file: Option<PathBuf>,
        /// Pay from it at once.
        #[arg(long = "use")]
        select: bool,
        #[command(flatten)]
        options: WalletOptions,
    },
    /// Encrypt the plain key of an earlier release.
    Encrypt(WalletOptions),
    /// List the wallets.
    Ls(WalletOptions),
    /// Pay from another wallet.
    Use {
        /// Its address or the beginning of it; `plain` for the plain key.
        address: Option<String>,
        /// Let this command sign: it reads JSON (digest, typed data) and prints the signature.
        #[arg(long, value_name = "COMMAND")]
        signer: Option<String>,
        #[command(flatten)]
        options: WalletOptions,
    },
    /// Print a key file, encrypted as it is, for another wallet.
    Export {
        /// The wallet's address; the one in use without it.
        address: Option<String>,
        /// Print the private key itself.
        #[arg(long)]
        plain: bool,
        /// The address once more, instead of typing it when asked.
        #[arg(long, value_name = "ADDRESS", requires = "plain")]
        confirm: Option<String>,
        #[command(flatten)]
        options: WalletOptions,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the limits, and what is spent today.
    Show {
        /// Print JSON for scripts.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Change a limit.
    Set {
        /// Which: `rialto policy show` lists them.
        key: String,
        /// Base units (50000), an amount (`0.05 USDC`), a number, or `off`.
        value: String,
        #[command(flatten)]
        data: DataArgs,
    },
}
