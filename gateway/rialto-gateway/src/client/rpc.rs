//! The chain by plain JSON-RPC: a channel's views, the clock, balances, and what sending one
//! transaction needs.
//!
//! Not here: what is sent, and who signs it.

use alloy_primitives::{Address, B256, U256, hex, keccak256};
use rialto_channels::{Amount, ChainTime, ChannelConfig, ChannelId, OnChainView, Withdrawal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ClientError;
use super::bounded::{ReadError, read_bounded};
use crate::x402::SETTLEMENT;

/// A chain's RPC endpoint.
#[derive(Debug, Clone)]
pub(super) struct Rpc {
    http: reqwest::Client,
    url: String,
    chain_id: u64,
}

/// What a transaction costs at the moment, in wei for each unit of gas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fees {
    pub(super) tip_max: u128,
    pub(super) fee_max: u128,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Value>,
    error: Option<Value>,
}

impl Rpc {
    /// Asks an endpoint which chain it serves.
    pub(super) async fn connect(http: reqwest::Client, url: String) -> Result<Self, ClientError> {
        let mut rpc = Self {
            http,
            url,
            chain_id: 0,
        };
        rpc.chain_id = rpc.number("eth_chainId", json!([])).await?;
        Ok(rpc)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// An account's balance of the chain's own coin, in wei.
    pub(super) async fn coins(&self, account: Address) -> Result<u128, ClientError> {
        self.number("eth_getBalance", json!([account, "latest"]))
            .await
    }

    /// An account's balance of a token.
    pub(super) async fn tokens(
        &self,
        token: Address,
        account: Address,
    ) -> Result<Amount, ClientError> {
        let data = call("balanceOf(address)", account.into_word());
        let answer = self.eth_call(token, &data, "balanceOf").await?;
        amount(&answer, 0)
    }

    /// The next transaction's number.
    pub(super) async fn nonce(&self, account: Address) -> Result<u64, ClientError> {
        self.number("eth_getTransactionCount", json!([account, "pending"]))
            .await
    }

    /// Fees that stay good while the base fee doubles.
    pub(super) async fn fees(&self) -> Result<Fees, ClientError> {
        let tip_max: u128 = self.number("eth_maxPriorityFeePerGas", json!([])).await?;
        let block = self
            .ask("eth_getBlockByNumber", json!(["latest", false]))
            .await?;
        let base: u128 = small(quantity(&block["baseFeePerGas"])?)?;
        let fee_max = base.saturating_mul(2).saturating_add(tip_max);
        Ok(Fees { tip_max, fee_max })
    }

    /// What a call would need; refused by the node when the call would fail.
    pub(super) async fn gas(
        &self,
        from: Address,
        to: Address,
        data: &[u8],
    ) -> Result<u64, ClientError> {
        let request = json!([{"from": from, "to": to, "data": hex::encode_prefixed(data)}]);
        self.number("eth_estimateGas", request).await
    }

    /// Hands in a signed transaction.
    pub(super) async fn send(&self, raw: &[u8]) -> Result<(), ClientError> {
        self.ask("eth_sendRawTransaction", json!([hex::encode_prefixed(raw)]))
            .await
            .map(|_| ())
    }

    /// Whether a transaction went through; none while it waits.
    pub(super) async fn outcome(&self, transaction: B256) -> Result<Option<bool>, ClientError> {
        let receipt = self
            .ask("eth_getTransactionReceipt", json!([transaction]))
            .await?;
        match receipt.get("status") {
            None | Some(Value::Null) => Ok(None),
            Some(status) => Ok(Some(!quantity(status)?.is_zero())),
        }
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
        self.eth_call(SETTLEMENT, &call(function, id.0), function)
            .await
    }

    async fn eth_call(&self, to: Address, data: &[u8], what: &str) -> Result<Vec<u8>, ClientError> {
        let request = json!([{"to": to, "data": hex::encode_prefixed(data)}, "latest"]);
        let answer = self.ask("eth_call", request).await?;
        answer
            .as_str()
            .and_then(|text| hex::decode(text.strip_prefix("0x")?).ok())
            .ok_or_else(|| unreadable(what))
    }

    async fn number<T: TryFrom<U256>>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, ClientError> {
        small(quantity(&self.ask(method, params).await?)?)
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, ClientError> {
        // The endpoint's URL may hold a token, so errors do not show it (M7).
        let failed = |error: reqwest::Error| {
            ClientError::Chain(format!("{method}: {}", error.without_url()))
        };
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let response = self.http.post(&self.url).json(&request).send().await;
        let body = match read_bounded(response.map_err(failed)?, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(ReadError::Broken(error)) => return Err(failed(error)),
            Err(error @ (ReadError::TooLong { .. } | ReadError::Unfinished)) => {
                return Err(ClientError::Chain(format!("{method}: {error}")));
            }
        };
        let reply: Reply = serde_json::from_slice(&body).map_err(|error| {
            ClientError::Chain(format!("{method}: the answer is no JSON-RPC: {error}"))
        })?;
        match (reply.result, reply.error) {
            (Some(result), None) => Ok(result),
            (_, Some(error)) => {
                let said: String = error.to_string().chars().take(ERROR_CHARS_MAX).collect();
                Err(ClientError::Chain(format!("{method}: {said}")))
            }
            // The answer `null`: nothing of this name, or not yet.
            (None, None) => Ok(Value::Null),
        }
    }
}

/// A function's call with one word as its argument.
fn call(function: &str, argument: B256) -> Vec<u8> {
    let mut data = selector(function).to_vec();
    data.extend_from_slice(argument.as_slice());
    data
}

/// The first four bytes of a function's hash.
pub(super) fn selector(function: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = keccak256(function.as_bytes()).0;
    [a, b, c, d]
}

fn small<T: TryFrom<U256>>(word: U256) -> Result<T, ClientError> {
    T::try_from(word).map_err(|_| unreadable("a number"))
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

/// A number as JSON-RPC writes it (the execution API's `uint`): `0x`, at least one digit, and no
/// zero in front of others. An endpoint that answers anything else is broken, and no number of its
/// may decide about money.
fn quantity(value: &Value) -> Result<U256, ClientError> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    digits
        .filter(|digits| *digits == "0" || !digits.starts_with('0'))
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| U256::from_str_radix(digits, 16).ok())
        .ok_or_else(|| unreadable("a quantity"))
}

fn unreadable(what: &str) -> ClientError {
    ClientError::Chain(format!("{what} cannot be read"))
}

/// A block with the hashes of its transactions is the longest answer that is asked for.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// As much of an endpoint's own words as an error shows.
const ERROR_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::bounded::tests::{ENDLESS, PATIENCE, endless};

    #[tokio::test]
    async fn an_endpoint_that_sends_without_end_is_given_up() {
        let url = endless(ENDLESS).await;
        let asked = Rpc::connect(reqwest::Client::new(), url.clone());
        let refused = tokio::time::timeout(PATIENCE, asked).await.unwrap();
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(&ANSWER_BYTES_MAX.to_string()), "{said}");
        assert!(!said.contains(&url), "an endpoint's URL may hold a token");
    }

    #[test]
    fn quantities_are_read_strictly() {
        let max = format!("0x{}", "f".repeat(64));
        for (text, number) in [
            ("0x0", U256::ZERO),
            ("0x14a34", U256::from(84532)),
            ("0xAB", U256::from(171)),
            (max.as_str(), U256::MAX),
        ] {
            assert_eq!(quantity(&json!(text)).unwrap(), number, "{text}");
        }
        let long = format!("0x1{}", "0".repeat(64));
        for text in [
            "",
            "0",
            "0x",
            "0X1",
            "14a34",
            "0x00",
            "0x01",
            "0x0x1",
            "0x_1",
            "0x1_0",
            "0x+1",
            "0x-1",
            "0x 1",
            "0x1 ",
            "0xg",
            long.as_str(),
        ] {
            assert!(quantity(&json!(text)).is_err(), "`{text}` is a quantity");
        }
        for value in [
            json!(null),
            json!(1),
            json!(true),
            json!(["0x1"]),
            json!({}),
        ] {
            assert!(quantity(&value).is_err(), "{value} is a quantity");
        }
    }

    #[test]
    fn words_of_an_answer() {
        let mut answer = vec![0; 64];
        answer[31] = 7;
        answer[63] = 9;
        assert_eq!(amount(&answer, 0).unwrap(), Amount::new(7));
        assert_eq!(word(&answer, 1).unwrap(), U256::from(9));
        assert!(word(&answer, 2).is_err());
        answer[0] = 1;
        assert!(amount(&answer, 0).is_err());
    }
}
