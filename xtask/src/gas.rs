//! `cargo xtask gas`: measures what the contracts cost and writes docs/gas.md.

use anyhow::Result;

use crate::paths::Paths;
use crate::{process, progress};

/// Runs the test that measures, which writes the table when it is told to. It needs no anvil.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let mut command = process::cargo(paths);
    command
        .args(["test", "--release", "--locked", "-p", "rialto-chain"])
        .args(["--test", "contracts", "--", "--exact"])
        .arg("gas::gas_table_is_up_to_date")
        .env("RIALTO_WRITE_GAS", "1")
        .current_dir(&paths.root);
    progress::heading("gas");
    process::run(&mut command)
}
