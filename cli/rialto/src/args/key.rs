//! The command line of the local door's keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::policy::Units;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and show its secret, once.
    New {
        /// What you call it: letters, digits, `-`, `_` and `.`.
        name: String,
        /// What it may spend a day: 0.50 or `0.50 USDC`; base units without a point (1000000 is one USDC).
        #[arg(long, value_name = "AMOUNT", value_parser = budget)]
        budget: Units,
        /// The models, or services, that it is for; without it all.
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        models: Option<Vec<String>>,
        #[command(flatten)]
        options: KeyOptions,
    },
    /// List the keys, with what each spent today.
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        options: KeyOptions,
    },
    /// Give a key another budget.
    Budget {
        /// The key's name.
        name: String,
        /// What it may spend a day, as for `rialto key new`.
        #[arg(value_parser = budget)]
        budget: Units,
        #[command(flatten)]
        options: KeyOptions,
    },
    /// Take a key back: it opens nothing any more.
    Revoke {
        /// The key's name.
        name: String,
        #[command(flatten)]
        options: KeyOptions,
    },
}

#[derive(Debug, Args)]
pub(crate) struct KeyOptions {
    /// Print JSON for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    /// The node's data folder.
    #[arg(long, env = "RIALTO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// An amount of the token needs no unit where it has a point.
fn budget(text: &str) -> Result<Units, String> {
    let lower = text.to_ascii_lowercase();
    let is_bare = lower.contains('.') && !lower.ends_with("usdc");
    if is_bare {
        format!("{lower} USDC").parse()
    } else {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_tokens_where_they_have_a_point() {
        for (text, units) in [
            ("0.50", Some(500_000)),
            ("0.50 USDC", Some(500_000)),
            ("1 usdc", Some(1_000_000)),
            ("500000", Some(500_000)),
            ("-1", None),
            ("0.1234567", None),
            (".", None),
        ] {
            assert_eq!(budget(text).ok().map(|it| it.0.get()), units, "{text}");
        }
    }
}
