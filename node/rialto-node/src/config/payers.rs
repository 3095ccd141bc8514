//! `[payers]`: what one payer may have of a host, over all services.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy_primitives::Address;
use rialto_host::ArgumentError;
use serde::{Deserialize, Serialize};

/// What one payer may have, over all services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payers {
    /// Of each that has no account of its own here.
    pub usual: PayerTerms,
    /// What is said of an account, instead of that.
    pub accounts: BTreeMap<Address, PayerTerms>,
}

/// Limits of one payer; what is not said is as for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PayerTerms {
    /// Calls that run at once. Three quarters of the host's, unless said.
    pub calls_max: Option<u32>,
    /// Calls that wait for a place. Half of the host's, unless said.
    pub queue_max: Option<u32>,
    /// Wall time of a call, in milliseconds. The service's, unless said.
    pub time_ms_max: Option<u64>,
    /// Size of a call's arguments, in bytes. The service's, unless said.
    pub input_bytes_max: Option<u64>,
}

impl Payers {
    /// The limits of this payer; one without a name pays nothing and has the usual ones.
    #[must_use]
    pub fn of(&self, payer: Option<Address>) -> PayerTerms {
        let own = payer.and_then(|payer| self.accounts.get(&payer));
        own.map_or(self.usual, |own| own.or(self.usual))
    }

    pub(super) fn overlay(&mut self, raw: RawPayers, problems: &mut Vec<String>) {
        let usual = PayerTerms {
            calls_max: raw.calls_max,
            queue_max: raw.queue_max,
            time_ms_max: raw.time_ms_max,
            input_bytes_max: raw.input_bytes_max,
        };
        self.usual = usual.or(self.usual);
        for (text, raw) in raw.accounts {
            match text.parse() {
                Ok(account) => drop(self.accounts.insert(account, raw.into())),
                Err(_) => problems.push(format!(
                    "payers.accounts.`{text}` is not an address: 0x and 40 hex digits"
                )),
            }
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let accounts = self.accounts.iter();
        let accounts =
            accounts.map(|(account, terms)| (format!("payers.accounts.{account}"), terms));
        let all = [("payers".to_owned(), &self.usual)]
            .into_iter()
            .chain(accounts);
        all.flat_map(|(place, terms)| terms.problems(&place))
            .collect()
    }
}

impl PayerTerms {
    /// Calls that run at once on a host for so many: by default one payer never has them all, unless there is
    /// room for one or two only.
    #[must_use]
    pub fn calls_at_once(&self, host: u32) -> u32 {
        let usual = u64::from(host).saturating_mul(3).div_ceil(4);
        self.calls_max
            .unwrap_or(u32::try_from(usual).unwrap_or(u32::MAX))
    }

    /// Calls that wait in a queue for so many.
    #[must_use]
    pub fn calls_waiting(&self, host: u32) -> u32 {
        self.queue_max.unwrap_or(host.div_ceil(2))
    }

    /// The wall time of a call to a service that may take so long.
    #[must_use]
    pub fn time(&self, service: Duration) -> Duration {
        let own = self.time_ms_max.map(Duration::from_millis);
        own.map_or(service, |own| own.min(service))
    }

    /// Whether arguments of so many bytes are taken.
    ///
    /// # Errors
    /// [`ArgumentError::TooLarge`], before anything is read of them.
    pub fn check_size(&self, bytes: u64) -> Result<(), ArgumentError> {
        match self.input_bytes_max {
            Some(bytes_max) if bytes > bytes_max => {
                Err(ArgumentError::TooLarge { bytes, bytes_max })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn or(self, usual: Self) -> Self {
        Self {
            calls_max: self.calls_max.or(usual.calls_max),
            queue_max: self.queue_max.or(usual.queue_max),
            time_ms_max: self.time_ms_max.or(usual.time_ms_max),
            input_bytes_max: self.input_bytes_max.or(usual.input_bytes_max),
        }
    }

    fn problems(&self, place: &str) -> Vec<String> {
        let fields = [
            ("calls_max", self.calls_max.map(u64::from)),
            ("queue_max", self.queue_max.map(u64::from)),
            ("time_ms_max", self.time_ms_max),
            ("input_bytes_max", self.input_bytes_max),
        ];
        let zeros = fields.into_iter().filter(|(_, value)| *value == Some(0));
        let told = zeros.map(|(name, _)| {
            format!("{place}.{name} is 0: no call of theirs could run; use 1 or more")
        });
        told.collect()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPayers {
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    accounts: BTreeMap<String, RawTerms>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTerms {
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_bytes_max: Option<u64>,
}

impl From<RawTerms> for PayerTerms {
    fn from(raw: RawTerms) -> Self {
        Self {
            calls_max: raw.calls_max,
            queue_max: raw.queue_max,
            time_ms_max: raw.time_ms_max,
            input_bytes_max: raw.input_bytes_max,
        }
    }
}

impl From<PayerTerms> for RawTerms {
    fn from(terms: PayerTerms) -> Self {
        Self {
            calls_max: terms.calls_max,
            queue_max: terms.queue_max,
            time_ms_max: terms.time_ms_max,
            input_bytes_max: terms.input_bytes_max,
        }
    }
}

impl From<&Payers> for RawPayers {
    fn from(payers: &Payers) -> Self {
        let (usual, accounts) = (payers.usual, payers.accounts.iter());
        Self {
            calls_max: usual.calls_max,
            queue_max: usual.queue_max,
            time_ms_max: usual.time_ms_max,
            input_bytes_max: usual.input_bytes_max,
            accounts: accounts
                .map(|(account, terms)| (account.to_checksum(None), (*terms).into()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    fn payers(text: &str) -> (Payers, Vec<String>) {
        let (mut payers, mut problems) = (Payers::default(), Vec::new());
        payers.overlay(toml::from_str(text).unwrap(), &mut problems);
        problems.extend(payers.problems());
        (payers, problems)
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = format!("calls_max = 3\nqueue_max = 4\n[accounts.{ANN}]\ntime_ms_max = 5");
        for before in [payers(&text), payers("")] {
            assert_eq!(before.1, Vec::<String>::new());
            let printed = toml::to_string(&RawPayers::from(&before.0)).unwrap();
            assert_eq!(payers(&printed).0, before.0);
        }
    }

    #[test]
    fn an_account_has_what_is_said_of_it_and_else_the_usual() {
        let text = format!(
            "calls_max = 3\ntime_ms_max = 900\n[accounts.{ANN}]\ncalls_max = 40\ninput_bytes_max = 7"
        );
        let (payers, _) = payers(&text);
        let ann = payers.of(Some(ANN.parse().unwrap()));
        assert_eq!(
            (ann.calls_at_once(128), ann.calls_waiting(1_024)),
            (40, 512)
        );
        assert!(ann.check_size(7).is_ok() && ann.check_size(8).is_err());
        let second = Duration::from_secs(1);
        assert_eq!(ann.time(second), Duration::from_millis(900));
        assert_eq!(ann.time(second / 2), second / 2, "the service's is shorter");
        for other in [None, Some(Address::ZERO)] {
            let other = payers.of(other);
            assert_eq!((other.calls_at_once(128), other.input_bytes_max), (3, None));
        }
    }

    #[test]
    fn one_payer_never_has_all_places_unless_they_are_few() {
        let usual = PayerTerms::default();
        let at_once = [1, 2, 3, 8, 128].map(|host| usual.calls_at_once(host));
        assert_eq!(at_once, [1, 2, 3, 6, 96]);
    }

    #[test]
    fn every_problem_is_named() {
        let (_, problems) = payers(&format!(
            "calls_max = 0\n[accounts.{ANN}]\nqueue_max = 0\ntime_ms_max = 0\n[accounts.ann]\ncalls_max = 1"
        ));
        assert_eq!(problems.len(), 4, "{problems:?}");
        let misspelt = toml::from_str::<RawPayers>(&format!("[accounts.{ANN}]\ncall_max = 1"));
        assert!(misspelt.is_err());
        assert!(toml::from_str::<RawPayers>("call_max = 1").is_err());
    }
}
