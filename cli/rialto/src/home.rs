//! Where a user's things live: the data folder and the wallet's key.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rialto_node::keys;

/// The data folder: as asked, else the platform's place for a user's data.
pub(crate) fn data_dir(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = asked {
        return Ok(std::path::absolute(dir)?);
    }
    let base = match std::env::var_os("XDG_DATA_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(std::env::var_os("HOME").context("no home folder: pass --data-dir")?)
            .join(".local/share"),
    };
    Ok(base.join("rialto"))
}

/// The folder of the wallet: its keys, its policy and the channels it pays from.
pub(crate) fn wallet_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("wallet")
}

/// The folder of the channels that the wallet pays from, with their session keys and receipts.
pub(crate) fn channels_dir(data_dir: &Path) -> PathBuf {
    wallet_dir(data_dir).join("channels")
}

/// On a development chain the wallet is one of its funded accounts, unless there is a wallet already.
pub(crate) fn adopt_dev_wallet(
    data_dir: &Path,
    accounts: &[(alloy_primitives::Address, [u8; 32])],
) -> Result<()> {
    let path = wallet_dir(data_dir).join("wallet.key");
    let chosen = wallet_dir(data_dir).join("wallet.toml");
    match accounts.get(DEV_WALLET_ACCOUNT) {
        Some((_, key)) if !path.exists() && !chosen.exists() => Ok(keys::store(&path, key)?),
        _ => Ok(()),
    }
}

/// The development account behind the command line's wallet; 0 is the host's, 1 the provider's.
const DEV_WALLET_ACCOUNT: usize = 2;
/// The accounts from here on belong to nobody: scripts and tests may use them.
pub(crate) const DEV_TEST_ACCOUNTS_FROM: usize = 3;
