//! The money as the chain has it, read by nothing but `eth_call`.

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

use crate::fixture;

/// Who holds how many base units of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) payer: u128,
    pub(crate) provider: u128,
    /// The settlement contract.
    pub(crate) contract: u128,
    pub(crate) supply: u128,
}

impl Books {
    pub(crate) async fn read(mesh: &Mesh, payer: &str) -> Result<Self> {
        let token = mesh.text("/addresses/token");
        let balance = |account: String| async move {
            Ok::<_, anyhow::Error>(words(mesh, token, BALANCE_OF, &[&account]).await?[0])
        };
        Ok(Self {
            payer: balance(payer.to_owned()).await?,
            provider: balance(mesh.text("/addresses/receiver").to_owned()).await?,
            contract: balance(mesh.text("/addresses/settlement").to_owned()).await?,
            supply: words(mesh, token, TOTAL_SUPPLY, &[]).await?[0],
        })
    }
}

/// A channel in the settlement contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnChain {
    /// Deposited and not refunded.
    pub(crate) balance: u128,
    pub(crate) claimed: u128,
}

impl OnChain {
    pub(crate) async fn read(mesh: &Mesh, channel: &str) -> Result<Self> {
        let contract = mesh.text("/addresses/settlement");
        let answer = words(mesh, contract, CHANNELS, &[channel]).await?;
        Ok(Self {
            balance: answer[0],
            claimed: answer[1],
        })
    }
}

/// What the contract has claimed for the provider, and paid out to it.
pub(crate) async fn earned(mesh: &Mesh) -> Result<(u128, u128)> {
    let contract = mesh.text("/addresses/settlement");
    let receiver = mesh.text("/addresses/receiver");
    let token = mesh.text("/addresses/token");
    let answer = words(mesh, contract, RECEIVERS, &[receiver, token]).await?;
    Ok((answer[0], answer[1]))
}

/// What an account holds of the token.
pub(crate) async fn held(mesh: &Mesh, account: &str) -> Result<u128> {
    let token = mesh.text("/addresses/token");
    Ok(words(mesh, token, BALANCE_OF, &[account]).await?[0])
}

/// How many EIP-2612 permits of an account the token has seen.
pub(crate) async fn permits(mesh: &Mesh, owner: &str) -> Result<u128> {
    let token = mesh.text("/addresses/token");
    Ok(words(mesh, token, NONCES, &[owner]).await?[0])
}

/// The number of the newest block.
pub(crate) async fn height(mesh: &Mesh) -> Result<u128> {
    number(&fixture::rpc(mesh, "eth_blockNumber", json!([])).await?)
}

/// A decimal number of base units in a JSON document.
pub(crate) fn units(document: &Value, pointer: &str) -> Result<u128> {
    let text = document.pointer(pointer).and_then(Value::as_str);
    text.with_context(|| format!("no text at {pointer} of {document}"))?
        .parse()
        .with_context(|| format!("no number at {pointer} of {document}"))
}

/// Calls a view and splits the answer into its words.
async fn words(mesh: &Mesh, to: &str, selector: &str, arguments: &[&str]) -> Result<Vec<u128>> {
    let mut data = selector.to_owned();
    for argument in arguments {
        let digits = argument.trim_start_matches("0x").to_lowercase();
        data.push_str(&format!("{digits:0>64}"));
    }
    let answer = fixture::rpc(
        mesh,
        "eth_call",
        json!([{ "to": to, "data": data }, "latest"]),
    )
    .await?;
    let digits = answer
        .as_str()
        .and_then(|text| text.strip_prefix("0x"))
        .with_context(|| format!("{selector} answered {answer}"))?;
    ensure!(
        !digits.is_empty() && digits.len().is_multiple_of(64),
        "{selector} answered {answer}"
    );
    let word = |start| number(&json!(format!("0x{}", &digits[start..start + 64])));
    (0..digits.len()).step_by(64).map(word).collect()
}

fn number(hex: &Value) -> Result<u128> {
    let digits = hex.as_str().and_then(|text| text.strip_prefix("0x"));
    let digits = digits.with_context(|| format!("{hex} is not hexadecimal"))?;
    Ok(u128::from_str_radix(digits, 16)?)
}

// The first four bytes of the signatures' keccak-256.
/// `balanceOf(address)`
const BALANCE_OF: &str = "0x70a08231";
/// `nonces(address)`
const NONCES: &str = "0x7ecebe00";
/// `totalSupply()`
const TOTAL_SUPPLY: &str = "0x18160ddd";
/// `channels(bytes32)`
const CHANNELS: &str = "0x7a7ebd7b";
/// `receivers(address,address)`
const RECEIVERS: &str = "0x21ff6389";

/// What every development account holds in the first block: a million dollars in base units.
pub(crate) const DEV_TOKENS: u128 = 1_000_000_000_000;
