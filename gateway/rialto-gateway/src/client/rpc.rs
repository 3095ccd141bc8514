//! Reading a channel from the chain: three view functions and the clock, by plain JSON-RPC.
//!
//! Not here: transactions; a payer of vouchers sends none.

use alloy_primitives::{U256, hex, keccak256};
use rialto_channels::{Amount, ChainTime, ChannelConfig, ChannelId, OnChainView, Withdrawal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ClientError;
use crate::x402::SETTLEMENT;

/// A chain's RPC endpoint.
#[derive(Debug, Clone)]
pub(super) struct Rpc {
    http: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Value>,
    error: Option<Value>,
}

impl Rpc {
    pub(super) fn new(http: reqwest::Client, url: String) -> Self {
        Self { http, url }
    }

    /// Checks that the endpoint serves this chain.
    pub(super) async fn check_chain(&self, chain_id: u64) -> Result<(), ClientError> {
        let found = self.ask("eth_chainId", json!([])).await?;
        let found = quantity(&found)?;
        if found == U256::from(chain_id) {
            return Ok(());
        }
        Err(ClientError::Chain(format!(
            "{} serves chain {found}, and the offer is on chain {chain_id}",
            self.url
        )))
    }

    /// What the contract holds for a channel.
    pub(super) async fn channel(
        &self,
        id: ChannelId,
        config: &ChannelConfig,
    ) -> Result<OnChainView, ClientError> {
        let (sums, pending, nonce, now) = tokio::try_join!(
            self.view("channels(bytes32)", id),
            self.view("pendingWithdrawals(bytes32)", id),
            self.view("refundNonce(bytes32)", id),
            self.now(),
        )?;
        let withdrawal = match (amount(&pending, 0)?, word(&pending, 1)?) {
            (amount, _) if amount.is_zero() => None,
            (amount, started) => Some(Withdrawal {
                amount,
                finalizes_at: finalizes_at(started, config)?,
            }),
        };
        Ok(OnChainView {
            balance: amount(&sums, 0)?,
            claimed: amount(&sums, 1)?,
            refund_nonce: word(&nonce, 0)?,
            withdrawal,
            read_at: now,
        })
    }

    /// The latest block's time.
    pub(super) async fn now(&self) -> Result<ChainTime, ClientError> {
        let block = self
            .ask("eth_getBlockByNumber", json!(["latest", false]))
            .await?;
        let time = quantity(&block["timestamp"])?;
        u64::try_from(time)
            .map(ChainTime::new)
            .map_err(|_| unreadable("a block's time"))
    }

    async fn view(&self, function: &str, id: ChannelId) -> Result<Vec<u8>, ClientError> {
        let mut call = keccak256(function.as_bytes())[..4].to_vec();
        call.extend_from_slice(id.0.as_slice());
        let request = json!([{"to": SETTLEMENT, "data": hex::encode_prefixed(call)}, "latest"]);
        let answer = self.ask("eth_call", request).await?;
        answer
            .as_str()
            .and_then(|text| hex::decode(text).ok())
            .ok_or_else(|| unreadable(function))
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, ClientError> {
        let failed = |error: reqwest::Error| ClientError::Chain(format!("{method}: {error}"));
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let response = self.http.post(&self.url).json(&request).send().await;
        let reply: Reply = response.map_err(failed)?.json().await.map_err(failed)?;
        match (reply.result, reply.error) {
            (Some(result), None) => Ok(result),
            (_, Some(error)) => Err(ClientError::Chain(format!("{method}: {error}"))),
            (None, None) => Err(unreadable(method)),
        }
    }
}

fn finalizes_at(started: U256, config: &ChannelConfig) -> Result<ChainTime, ClientError> {
    u64::try_from(started)
        .ok()
        .and_then(|started| ChainTime::new(started).checked_add(config.withdraw_delay))
        .ok_or_else(|| unreadable("a withdrawal's start"))
}

/// The word at `index` of an ABI-encoded answer.
fn word(answer: &[u8], index: usize) -> Result<U256, ClientError> {
    let start = index * 32;
    answer
        .get(start..start + 32)
        .map(U256::from_be_slice)
        .ok_or_else(|| unreadable("a view function's answer"))
}

fn amount(answer: &[u8], index: usize) -> Result<Amount, ClientError> {
    Amount::try_from(word(answer, index)?).map_err(|_| unreadable("an amount"))
}

fn quantity(value: &Value) -> Result<U256, ClientError> {
    value
        .as_str()
        .and_then(|text| text.strip_prefix("0x"))
        .and_then(|digits| U256::from_str_radix(digits, 16).ok())
        .ok_or_else(|| unreadable("a quantity"))
}

fn unreadable(what: &str) -> ClientError {
    ClientError::Chain(format!("{what} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quantities() {
        let mut answer = vec![0; 64];
        answer[31] = 7;
        answer[63] = 9;
        assert_eq!(amount(&answer, 0).unwrap(), Amount::new(7));
        assert_eq!(word(&answer, 1).unwrap(), U256::from(9));
        assert!(word(&answer, 2).is_err());
        answer[0] = 1;
        assert!(amount(&answer, 0).is_err());
        assert_eq!(quantity(&json!("0x14a34")).unwrap(), U256::from(84532));
        assert!(quantity(&json!("14a34")).is_err());
    }
}
