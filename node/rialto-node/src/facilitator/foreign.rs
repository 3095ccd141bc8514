//! `exact` payments through somebody else's facilitator, which pays the gas and submits the
//! transfer.
//!
//! Its word is not enough: a transfer counts once it is found on the chain, and a facilitator that
//! lies, hangs or goes away can keep an answer back but not make us give one away. Retries are
//! bounded, and harmless: the transfer's nonce is good once.

use std::time::Duration;

use alloy_primitives::B256;
use rialto_chain::client::{ChainError, TransferFate};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Node;
use crate::api::{CallError, ExactPayment, PaymentError};
use crate::reject::unavailable;

/// A facilitator by its URL.
#[derive(Debug)]
pub(crate) struct Foreign {
    url: String,
    http: reqwest::Client,
}

/// Why a facilitator gave no usable answer. The operator or time mends it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForeignError {
    /// No connection, no answer in time, or a broken one.
    #[error("the facilitator cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It answered with an error of its own.
    #[error("the facilitator answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// It answered with something else than the protocol has.
    #[error("the facilitator's answer is not x402's")]
    Answer(#[source] serde_json::Error),
    /// It said that the transfer was made, and the chain does not know it.
    #[error("the facilitator says that the transfer was made, and the chain does not show it")]
    NotMade,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    is_valid: bool,
    #[serde(default)]
    invalid_reason: Option<String>,
    #[serde(default)]
    invalid_message: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settled {
    success: bool,
    #[serde(default)]
    error_reason: Option<String>,
    #[serde(default)]
    error_message: Option<String>,
}

impl Foreign {
    /// A facilitator at `url`, without a trailing slash.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(url: &str) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            http,
        })
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        asked: &Value,
    ) -> Result<T, ForeignError> {
        let sent = self.http.post(format!("{}/{path}", self.url)).json(asked);
        // Without the URL, which may hold a key (M7).
        let hidden = |error: reqwest::Error| ForeignError::Unreachable(error.without_url());
        let mut answer = sent.send().await.map_err(hidden)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(hidden)? {
            if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                return Err(ForeignError::Status {
                    status: status.as_u16(),
                });
            }
            body.extend_from_slice(&chunk);
        }
        // A refusal may come with any status, as long as it is one; a success with 200 alone.
        match serde_json::from_slice(&body) {
            Ok(read) if !status.is_server_error() => Ok(read),
            Err(error) if status.is_success() => Err(ForeignError::Answer(error)),
            Ok(_) | Err(_) => Err(ForeignError::Status {
                status: status.as_u16(),
            }),
        }
    }

    /// As [`ask`](Self::ask), again after a pause when nobody answered.
    async fn ask_patiently<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        asked: &Value,
    ) -> Result<T, ForeignError> {
        let mut pause = PAUSE_FIRST;
        for _ in 1..ATTEMPTS {
            match self.ask(path, asked).await {
                Err(ForeignError::Unreachable(_) | ForeignError::Status { .. }) => {}
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        self.ask(path, asked).await
    }
}

impl Node {
    /// Asks the facilitator, if there is one, whether it would make this transfer.
    pub(crate) async fn foreign_verify(&self, payment: &ExactPayment) -> Result<(), CallError> {
        let Some(foreign) = &self.0.foreign else {
            return Ok(());
        };
        let asked = self.foreign_request(payment);
        let verdict: Verdict = foreign
            .ask_patiently("verify", &asked)
            .await
            .map_err(away)?;
        if verdict.is_valid {
            return Ok(());
        }
        let reason = words(verdict.invalid_reason, verdict.invalid_message);
        Err(PaymentError::Invalid {
            code: REFUSED,
            message: format!("the facilitator refuses the payment: {reason}"),
        }
        .into())
    }

    /// Has the facilitator make this transfer, and finds it on the chain.
    pub(crate) async fn foreign_settle(
        &self,
        foreign: &Foreign,
        payment: &ExactPayment,
    ) -> Result<B256, CallError> {
        let asked = self.foreign_request(payment);
        // Whatever it says, the chain has the last word: an answer that was lost may have been
        // a success.
        let settled: Result<Settled, _> = foreign.ask_patiently("settle", &asked).await;
        let claims_made = matches!(&settled, Ok(settled) if settled.success);
        let looks = if claims_made { LOOKS } else { 1 };
        if let Some(transaction) = self.find_transfer(payment, looks).await? {
            return Ok(transaction);
        }
        match settled {
            Ok(Settled {
                success: false,
                error_reason,
                error_message,
            }) => Err(PaymentError::Settlement {
                code: REFUSED,
                message: format!(
                    "the facilitator refuses: {}",
                    words(error_reason, error_message)
                ),
            }
            .into()),
            Ok(Settled { success: true, .. }) => Err(away(ForeignError::NotMade)),
            Err(error) => Err(away(error)),
        }
    }

    /// Looks for the transfer on the chain, with pauses: our endpoint may lag behind theirs.
    async fn find_transfer(
        &self,
        payment: &ExactPayment,
        looks: u32,
    ) -> Result<Option<B256>, CallError> {
        let failed = |error: ChainError| unavailable("the chain", error);
        for look in 0..looks {
            if look > 0 {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
            let fate = self.chain_client().transfer_fate(&payment.authorization);
            if let TransferFate::Made(transaction) = fate.await.map_err(failed)? {
                return Ok(Some(transaction));
            }
        }
        Ok(None)
    }

    fn foreign_request(&self, payment: &ExactPayment) -> Value {
        let payee = self.payee();
        let authorization = &payment.authorization;
        let wanted = json!({
            "scheme": "exact",
            "network": format!("eip155:{}", payee.chain_id),
            "amount": authorization.value.to_string(),
            "asset": payee.token.to_checksum(None),
            "payTo": authorization.to.to_checksum(None),
            "maxTimeoutSeconds": payee.timeout_seconds,
            "extra": {"name": payee.token_name, "version": payee.token_version},
        });
        json!({
            "x402Version": 2,
            "paymentPayload": {
                "x402Version": 2,
                "accepted": wanted,
                "payload": {
                    "signature": alloy_primitives::hex::encode_prefixed(&payment.signature),
                    "authorization": {
                        "from": authorization.from.to_checksum(None),
                        "to": authorization.to.to_checksum(None),
                        "value": authorization.value.to_string(),
                        "validAfter": authorization.valid_after.to_string(),
                        "validBefore": authorization.valid_before.to_string(),
                        "nonce": authorization.nonce.to_string(),
                    },
                },
            },
            "paymentRequirements": wanted,
        })
    }
}

fn away(error: ForeignError) -> CallError {
    unavailable("the facilitator", error)
}

/// What a stranger's server said, in a length that a header takes.
fn words(reason: Option<String>, message: Option<String>) -> String {
    let mut words = match (reason, message) {
        (Some(reason), Some(message)) if reason != message => format!("{reason}: {message}"),
        (Some(words), _) | (None, Some(words)) => words,
        (None, None) => "it does not say why".to_owned(),
    };
    words.truncate(words.floor_char_boundary(WORDS_MAX));
    words
}

const REFUSED: &str = "facilitator_refused";
/// A settlement waits for its block.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ATTEMPTS: u32 = 3;
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const LOOKS: u32 = 20;
const LOOK_PAUSE: Duration = Duration::from_millis(500);
const WORDS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_was_said_and_no_more() {
        let text = |s: &str| Some(s.to_owned());
        assert_eq!(words(text("a"), text("b")), "a: b");
        assert_eq!(words(text("a"), text("a")), "a");
        assert_eq!(words(None, text("b")), "b");
        assert_eq!(words(None, None), "it does not say why");
        assert!(words(text(&"ä".repeat(400)), None).len() <= WORDS_MAX);
    }
}
