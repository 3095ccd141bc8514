//! The crates x402-reqwest and x402-chain-eip155: `exact`, in version 1 and in version 2.

use std::sync::Arc;

use alloy_signer_local::PrivateKeySigner;
use anyhow::Result;
use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use x402_chain_eip155::{V1Eip155ExactClient, V2Eip155ExactClient};
use x402_reqwest::X402Client;

use crate::account::Wire;

/// A client of one version of the protocol, and its account.
pub(crate) fn client(
    http: reqwest::Client,
    wire: Wire,
    key: &str,
    version: u8,
) -> Result<(ClientWithMiddleware, String)> {
    let signer: Arc<PrivateKeySigner> = Arc::new(key.parse()?);
    let payer = signer.address().to_checksum(None);
    let builder = ClientBuilder::new(http);
    let builder = if version == 1 {
        let client = X402Client::new().register(V1Eip155ExactClient::new(signer));
        builder.with(client).with(BodyOnly)
    } else {
        builder.with(X402Client::new().register(V2Eip155ExactClient::new(signer)))
    };
    Ok((builder.with(wire).build(), payer))
}

/// This client reads version 2's header first. Without the header, as behind a proxy that lets
/// through only what it knows, it speaks version 1.
#[derive(Debug)]
struct BodyOnly;

#[async_trait]
impl Middleware for BodyOnly {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let mut answer = next.run(request, extensions).await?;
        answer.headers_mut().remove("payment-required");
        Ok(answer)
    }
}
