//! `[facilitator]`: for whom this host checks and carries out payments.

use alloy_primitives::Address;
use rialto_channels::Amount;
use serde::{Deserialize, Serialize};

/// For whom this host spends gas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facilitator {
    /// Whether it does at all; where nothing is said, on the development chain only.
    pub enabled: Option<bool>,
    /// Whose payments are carried out; empty for anyone's.
    pub receivers: Vec<Address>,
    /// The smallest amount that is worth a transaction, in token base units.
    pub amount_min: Amount,
    /// Transactions for others in a minute, all receivers together.
    pub settlements_per_minute: u32,
}

impl Default for Facilitator {
    fn default() -> Self {
        Self {
            enabled: None,
            receivers: Vec::new(),
            amount_min: Amount::ZERO,
            settlements_per_minute: 60,
        }
    }
}

impl Facilitator {
    pub(super) fn overlay(&mut self, raw: RawFacilitator, problems: &mut Vec<String>) {
        self.enabled = raw.enabled.or(self.enabled);
        if let Some(texts) = raw.receivers {
            self.receivers.clear();
            for text in texts {
                match text.parse() {
                    Ok(address) => self.receivers.push(address),
                    Err(_) => problems.push(format!(
                        "facilitator.receivers: `{text}` is not an address: 0x and 40 hex digits"
                    )),
                }
            }
        }
        if let Some(text) = raw.amount_min {
            match text.parse() {
                Ok(amount) => self.amount_min = amount,
                Err(_) => problems.push(format!(
                    "facilitator.amount_min `{text}` is not a whole number of base units"
                )),
            }
        }
        self.settlements_per_minute = raw
            .settlements_per_minute
            .unwrap_or(self.settlements_per_minute);
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawFacilitator {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    receivers: Option<Vec<String>>,
    amount_min: Option<String>,
    settlements_per_minute: Option<u32>,
}

impl From<&Facilitator> for RawFacilitator {
    fn from(facilitator: &Facilitator) -> Self {
        let receivers = facilitator.receivers.iter();
        Self {
            enabled: facilitator.enabled,
            receivers: Some(receivers.map(|r| r.to_checksum(None)).collect()),
            amount_min: Some(facilitator.amount_min.to_string()),
            settlements_per_minute: Some(facilitator.settlements_per_minute),
        }
    }
}

/// Why a facilitator's URL cannot be one.
pub(super) fn url_problem(url: &str) -> Option<String> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => None,
        Some(_) | None => Some(
            "payments.facilitator_url is no URL: http:// or https://, a host and perhaps a path"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        let written = Facilitator {
            enabled: Some(true),
            receivers: vec![Address::repeat_byte(7)],
            amount_min: Amount::new(5),
            settlements_per_minute: 3,
        };
        let mut read = Facilitator::default();
        let mut problems = Vec::new();
        read.overlay(RawFacilitator::from(&written), &mut problems);
        assert_eq!((read, problems), (written, Vec::new()));
    }

    #[test]
    fn every_problem_is_named() {
        let mut problems = Vec::new();
        let raw = RawFacilitator {
            receivers: Some(vec!["me".to_owned()]),
            amount_min: Some("-1".to_owned()),
            ..RawFacilitator::default()
        };
        Facilitator::default().overlay(raw, &mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!(url_problem("https://x402.example/facilitator"), None);
        for bad in ["", "x402.example", "ftp://x", "http://", "http:///a"] {
            assert!(url_problem(bad).is_some(), "{bad}");
        }
    }
}
