//! `[ledger]`: where the record of money is kept.

use std::time::Duration;

use rialto_ledger::{DatabaseUrl, SharedConfig};
use serde::{Deserialize, Serialize};

/// Where the record of money is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LedgerChoice {
    /// In the data folder, for this node alone.
    #[default]
    Embedded,
    /// In a PostgreSQL database that replicas of this provider share.
    Shared(SharedChoice),
}

/// A shared ledger and this replica's part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedChoice {
    /// The database. A password is better kept in `~/.pgpass` or `PGPASSWORD` than here.
    pub url: DatabaseUrl,
    /// Connections of this replica.
    pub connections_max: u32,
    /// How long a replica that gave no sign keeps what it holds.
    pub lease: Duration,
}

impl LedgerChoice {
    /// A shared ledger with the defaults of everything but its address.
    ///
    /// # Errors
    /// [`rialto_ledger::NotADatabaseUrl`], which does not repeat the text.
    pub fn shared(url: &str) -> Result<Self, rialto_ledger::NotADatabaseUrl> {
        Ok(Self::Shared(SharedChoice::new(url.parse()?)))
    }
}

impl SharedChoice {
    fn new(url: DatabaseUrl) -> Self {
        let defaults = SharedConfig::new(url);
        Self {
            url: defaults.url,
            connections_max: defaults.connections_max,
            lease: defaults.lease,
        }
    }

    pub(crate) fn to_config(&self) -> SharedConfig {
        SharedConfig {
            connections_max: self.connections_max,
            lease: self.lease,
            ..SharedConfig::new(self.url.clone())
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLedger {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_ms: Option<u64>,
}

impl LedgerChoice {
    pub(super) fn overlay(&mut self, raw: RawLedger, problems: &mut Vec<String>) {
        let Some(text) = raw.url else {
            if raw.connections_max.is_some() || raw.lease_ms.is_some() {
                problems.push(
                    "ledger.connections_max and lease_ms go with ledger.url: without it the ledger is this node's own"
                        .to_owned(),
                );
            }
            return;
        };
        let Ok(url) = text.parse() else {
            // Not repeated: it may hold a password.
            problems.push(
                "ledger.url is no database's address: write postgres://user@host:port/name"
                    .to_owned(),
            );
            return;
        };
        let mut shared = SharedChoice::new(url);
        shared.connections_max = raw.connections_max.unwrap_or(shared.connections_max);
        shared.lease = raw.lease_ms.map_or(shared.lease, Duration::from_millis);
        *self = Self::Shared(shared);
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let Self::Shared(shared) = self else {
            return Vec::new();
        };
        let mut problems = Vec::new();
        if !(CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(&shared.connections_max) {
            problems.push(format!(
                "ledger.connections_max is {}: use {CONNECTIONS_MIN} to {CONNECTIONS_MAX}",
                shared.connections_max
            ));
        }
        if !(LEASE_MIN..=LEASE_MAX).contains(&shared.lease) {
            problems.push(format!(
                "ledger.lease_ms is {}: use {} to {}",
                shared.lease.as_millis(),
                LEASE_MIN.as_millis(),
                LEASE_MAX.as_millis()
            ));
        }
        problems
    }
}

impl From<&LedgerChoice> for RawLedger {
    fn from(choice: &LedgerChoice) -> Self {
        match choice {
            LedgerChoice::Embedded => Self::default(),
            LedgerChoice::Shared(shared) => Self {
                // Without its password (M7).
                url: Some(shared.url.to_string()),
                connections_max: Some(shared.connections_max),
                lease_ms: u64::try_from(shared.lease.as_millis()).ok(),
            },
        }
    }
}

/// The lease's own renewal needs one while calls use the others.
const CONNECTIONS_MIN: u32 = 2;
const CONNECTIONS_MAX: u32 = 1_000;
/// Shorter than a slow commit, a lease would end while its replica is well.
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LedgerChoice, String> {
        let raw: RawLedger = toml::from_str(text).unwrap();
        let mut choice = LedgerChoice::default();
        let mut problems = Vec::new();
        choice.overlay(raw, &mut problems);
        problems.extend(choice.problems());
        if problems.is_empty() {
            Ok(choice)
        } else {
            Err(problems.join("; "))
        }
    }

    #[test]
    fn a_shared_ledger_is_printed_without_its_password() {
        assert_eq!(read("").unwrap(), LedgerChoice::Embedded);
        let text = "url = \"postgres://me:hunter2@h/db\"\nlease_ms = 2000\nconnections_max = 5";
        let choice = read(text).unwrap();
        let shown = toml::to_string(&RawLedger::from(&choice)).unwrap();
        assert!(shown.contains("postgres://me@h/db"), "{shown}");
        assert!(!format!("{shown}{choice:?}").contains("hunter2"), "{shown}");
    }

    #[test]
    fn senseless_values_are_named_and_secrets_are_not() {
        let check = |text: &str, names: &str| {
            let problem = read(text).unwrap_err();
            assert!(problem.contains(names), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        };
        check("url = \"mysql://me:hunter2@h/db\"", "ledger.url");
        check("lease_ms = 2000", "ledger.url");
        check(
            "url = \"postgres://h/db\"\nlease_ms = 10",
            "ledger.lease_ms",
        );
        check(
            "url = \"postgres://h/db\"\nconnections_max = 1",
            "ledger.connections_max",
        );
    }
}
