//! How a command ends when it fails: the exit code, and the next thing to type.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most errors have no next step of their own"
)]

use std::process::ExitCode;

use rialto_channels::payer::PayError;
use rialto_channels::payer::policy::{OverBudget, TopUpError};
use rialto_gateway::client::ClientError;

/// Somebody broke their word: a receipt that is no good, books that do not add up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Breach(pub(crate) String);

/// The exit code: see `rialto --help`.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number(error))
}

fn number(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<Breach>().is_some() {
        return BREACH;
    }
    match client_error(error) {
        Some(
            ClientError::TooDear { .. }
            | ClientError::Budget(_)
            | ClientError::Deposits(_)
            | ClientError::AnswerTooLong { .. }
            | ClientError::WrongChain { .. }
            | ClientError::Wallet(_)
            | ClientError::NoGas { .. }
            | ClientError::FeeTooHigh { .. }
            | ClientError::Pay(PayError::AboveLimit { .. } | PayError::DepositAboveLimit { .. }),
        ) => POLICY,
        Some(
            ClientError::Broken { .. }
            | ClientError::Fault(_)
            | ClientError::Resync(_)
            | ClientError::Unproven { .. },
        ) => BREACH,
        Some(ClientError::Transport(_) | ClientError::Chain(_)) => UNREACHED,
        Some(_) => FAILED,
        None if error.chain().any(|cause| cause.is::<reqwest::Error>()) => UNREACHED,
        None => FAILED,
    }
}

/// What a service that refused the call said itself, as JSON on one line. A stranger chose the text: what
/// would move a terminal's cursor or change its colours is written out.
pub(crate) fn services_word(error: &anyhow::Error) -> Option<String> {
    let ClientError::Refused {
        code,
        details: Some(details),
        ..
    } = client_error(error)?
    else {
        return None;
    };
    let mut word = String::new();
    for letter in details.to_string().chars().take(WORD_LETTERS_MAX) {
        if letter.is_control() {
            word.extend(letter.escape_unicode());
        } else {
            word.push(letter);
        }
    }
    (code == "service_refused").then_some(word)
}

/// The next thing to type, where there is one.
pub(crate) fn next_step(error: &anyhow::Error) -> Option<String> {
    Some(match client_error(error)? {
        ClientError::TooDear { price, .. } => format!(
            "add --max-price {price} to pay it once, or allow it for good: rialto policy set call_max {price}"
        ),
        ClientError::Budget(OverBudget::Day { .. }) => {
            "rialto policy set day_max '1 USDC'   (or `off`, or wait for tomorrow, by UTC)".to_owned()
        }
        ClientError::Budget(OverBudget::Provider { .. }) => {
            "rialto policy set provider_day_max '1 USDC'   (or `off`, or wait for tomorrow, by UTC)"
                .to_owned()
        }
        ClientError::Broken { channel, .. } => format!(
            "rialto channel close {channel} --force   (the evidence is kept beside the channels; `rialto receipt ls {channel}` has what was signed)"
        ),
        ClientError::Refused { hint: Some(hint), .. } => hint.clone(),
        ClientError::AnswerTooLong { limit } => format!(
            "rialto policy set answer_bytes_max {}   (the call may have been charged: `rialto channel ls`)",
            limit.saturating_mul(4)
        ),
        ClientError::Deposits(TopUpError::Limit { .. }) => {
            "rialto policy set deposit_day_max '10 USDC'   (or `off`, or wait for tomorrow, by UTC)"
                .to_owned()
        }
        ClientError::Unproven { .. } => {
            "pass --rpc URL of an endpoint of the chain that you trust, or take the money back: rialto channel close --force".to_owned()
        }
        ClientError::Transport(_) => {
            "rialto up, or pass --gateway URL; money in a channel of a provider that is gone: rialto channel close --force".to_owned()
        }
        ClientError::WrongChain { expected, .. } => {
            format!("pass --rpc URL of an endpoint of chain {expected}, or another wallet: rialto wallet ls")
        }
        ClientError::Chain(_) => "pass --rpc URL of the chain's RPC endpoint".to_owned(),
        ClientError::FeeTooHigh { needed, .. } => format!(
            "rialto policy set fee_max {needed}   (or pass --rpc URL of an endpoint that you trust)"
        ),
        ClientError::NoGas { wallet, .. } => {
            format!("send a little of the chain's own coin to {wallet}, then the same again")
        }
        ClientError::Pay(PayError::DepositAboveLimit { needed, .. }) => {
            format!("rialto policy set deposit_max {needed}")
        }
        ClientError::TooEarly { .. } => "rialto channel finalize   (when that time has come)".to_owned(),
        ClientError::UnknownChannel(_) => "rialto channel ls".to_owned(),
        _ => return None,
    })
}

fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Of a service's own error, what is shown; a script that wants the rest asks over HTTP.
const WORD_LETTERS_MAX: usize = 2_000;

const FAILED: u8 = 1;
const POLICY: u8 = 3;
const BREACH: u8 = 4;
const UNREACHED: u8 = 5;

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use rialto_channels::{Amount, ChannelId};

    use super::*;

    #[test]
    fn a_services_own_error_is_shown_and_moves_no_cursor() {
        let refused = |code: &str| {
            anyhow::Error::from(ClientError::Refused {
                status: 422,
                code: code.to_owned(),
                message: "no".to_owned(),
                hint: None,
                details: Some(Box::new(serde_json::json!("a \"b\" \u{1b}[2J \u{9b}2J ß"))),
            })
        };
        let word = services_word(&refused("service_refused"));
        assert_eq!(word.as_deref(), Some(r#""a \"b\" \u001b[2J \u{9b}2J ß""#));
        assert_eq!(services_word(&refused("busy")), None);
        assert_eq!(services_word(&Breach("no".to_owned()).into()), None);
    }

    #[test]
    fn each_kind_of_failure_has_its_code_and_next_step() {
        let check = |error: anyhow::Error, expected: u8, step: Option<&str>| {
            assert_eq!(number(&error), expected, "{error}");
            let next = next_step(&error).unwrap_or_default();
            assert!(next.contains(step.unwrap_or_default()), "{next}");
            assert_eq!(step.is_none(), next.is_empty(), "{next}");
        };
        let dear = ClientError::TooDear {
            price: Amount::new(7),
            limit: Amount::new(5),
        };
        let dear = Err::<(), _>(dear).context("no call").unwrap_err();
        check(dear, POLICY, Some("--max-price 7"));
        let broken = ClientError::Broken {
            channel: ChannelId(alloy_primitives::B256::repeat_byte(7)),
            fault: "forked".to_owned(),
        };
        check(broken.into(), BREACH, Some("rialto channel close 0x0707"));
        check(Breach("two chains".to_owned()).into(), BREACH, None);
        check(
            ClientError::Chain("down".to_owned()).into(),
            UNREACHED,
            Some("--rpc"),
        );
        check(anyhow::anyhow!("something else"), FAILED, None);
    }
}
