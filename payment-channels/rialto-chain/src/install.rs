//! Puts our contracts and dev tokens on a chain that was started without them: anvil, for tests.
//!
//! Non-goals: real deployments. The endpoint must allow `anvil_setCode` and its kin.

use alloy::primitives::{Address, B256, U256};
use alloy::providers::{Provider, ProviderBuilder};
use alloy::transports::TransportError;
use alloy::transports::http::reqwest::Url;

use crate::contracts::Placement;
use crate::devchain::{DEV_ACCOUNTS, Funding};

/// Why the contracts could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The endpoint is not a URL.
    #[error("the chain's RPC address is not a URL")]
    Url,
    /// A committed contract artifact is damaged: a fault of the build.
    #[error("contract artifact")]
    Artifact(#[from] serde_json::Error),
    /// The endpoint refused, or did not answer.
    #[error("development RPC")]
    Rpc(#[from] TransportError),
}

/// Gives a development endpoint what our own development chain has at genesis: the contracts at
/// their addresses, and tokens for [`DEV_ACCOUNTS`] and for `further` accounts (with gas).
///
/// # Errors
/// See [`InstallError`]. What was placed before the error stays.
pub async fn install(rpc_url: &str, further: &[Address]) -> Result<(), InstallError> {
    let url: Url = rpc_url.parse().map_err(|_| InstallError::Url)?;
    let provider = ProviderBuilder::new()
        .disable_recommended_fillers()
        .connect_http(url);
    let well_known = DEV_ACCOUNTS.iter().map(|account| account.address);
    let funded: Vec<_> = well_known.chain(further.iter().copied()).collect();
    let balances: Vec<_> = funded
        .iter()
        .map(|address| (*address, Funding::generous(*address).tokens))
        .collect();
    let placement = Placement::development(&balances, DEV_ACCOUNTS[0].address)?;
    for (address, code) in placement.code {
        let () = provider
            .raw_request("anvil_setCode".into(), (address, code))
            .await?;
    }
    for (address, slot, value) in placement.slots {
        let _: bool = provider
            .raw_request(
                "anvil_setStorageAt".into(),
                (address, slot, B256::from(value)),
            )
            .await?;
    }
    for address in further {
        let wei: U256 = Funding::generous(*address).wei;
        let () = provider
            .raw_request("anvil_setBalance".into(), (*address, wei))
            .await?;
    }
    Ok(())
}
