//! The crates r402-client, r402-evm and r402-http.

use alloy_signer_local::PrivateKeySigner;
use anyhow::{Result, bail};
use r402_evm::batch_settlement::Eip155BatchSettlementClient;
use r402_evm::exact::Eip155ExactClient;
use r402_http::buyer::X402Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use crate::account::Wire;

/// A client for these schemes, and its account.
pub(crate) fn client(
    http: reqwest::Client,
    wire: Wire,
    key: &str,
    schemes: &[String],
) -> Result<(ClientWithMiddleware, String)> {
    let signer: PrivateKeySigner = key.parse()?;
    let payer = signer.address().to_checksum(None);
    let mut client = X402Client::new();
    for scheme in schemes {
        client = match scheme.as_str() {
            "batch-settlement" => client.register(Eip155BatchSettlementClient::new(signer.clone())),
            "exact" => client.register(Eip155ExactClient::new(signer.clone())),
            other => bail!("no scheme `{other}`"),
        };
    }
    let client = ClientBuilder::new(http).with(client).with(wire).build();
    Ok((client, payer))
}
