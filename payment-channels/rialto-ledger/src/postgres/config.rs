//! How to reach the database, and the limits of a replica.

use std::{fmt, str::FromStr, time::Duration};

use rialto_channels::{Address, SettlementDomain};
use sqlx::postgres::PgConnectOptions;

use super::SharedOpenError;

/// Limits of a replica's part of a shared ledger. Everything that waits is bounded.
#[derive(Clone, Debug)]
pub struct SharedConfig {
    /// The database.
    pub url: DatabaseUrl,
    /// Connections of this replica.
    pub connections_max: u32,
    /// How long a connection may take, waiting for a free one included.
    pub connect_within: Duration,
    /// How long the database may take for one statement, waiting for locks included.
    pub statement_within: Duration,
    /// How long a finished call tries to store its charge while the database is away.
    pub settle_within: Duration,
    /// How long a replica that gave no sign keeps what it holds.
    pub lease: Duration,
    /// Largest answer stored with a payment, in bytes; larger ones are not stored.
    pub answer_bytes_max: usize,
    /// Answers kept in all; the oldest go first, about once a minute.
    pub answers_max: u32,
}

impl SharedConfig {
    /// The defaults, with this database.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            connections_max: 16,
            connect_within: Duration::from_secs(2),
            statement_within: Duration::from_secs(5),
            settle_within: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            answer_bytes_max: 64 << 10,
            answers_max: 100_000,
        }
    }

    pub(super) fn connect_options(&self) -> Result<PgConnectOptions, SharedOpenError> {
        let options = PgConnectOptions::from_str(&self.url.0)
            .map_err(|_| SharedOpenError::Url(self.url.to_string()))?;
        let ms = |time: Duration| time.as_millis().to_string();
        Ok(options.application_name("rialto").options([
            ("statement_timeout", ms(self.statement_within)),
            // M4: durable means durable, whatever the server's own default is.
            ("synchronous_commit", "on".to_owned()),
            // A replica that vanishes in the middle of a transaction must not keep its locks.
            (
                "idle_in_transaction_session_timeout",
                ms(self.statement_within),
            ),
        ]))
    }
}

/// Whose money the ledger holds. One database holds one provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The settlement contract and its chain.
    pub domain: SettlementDomain,
    /// Address of the host's key, which all replicas share.
    pub host: Address,
}

/// Where a database is: `postgres://user@host:port/name`. May hold a password, so it is never
/// shown whole (M7).
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The address as it was written, password included: for connecting, never for showing.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = NotADatabaseUrl;

    fn from_str(text: &str) -> Result<Self, NotADatabaseUrl> {
        let known = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let url = Self(text.to_owned());
        if known && PgConnectOptions::from_str(text).is_ok() {
            Ok(url)
        } else {
            Err(NotADatabaseUrl)
        }
    }
}

impl fmt::Display for DatabaseUrl {
    /// Scheme, user, host and database; neither password nor parameters, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("(not shown)");
        };
        let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
        match rest.rsplit_once('@') {
            Some((who, place)) => {
                let user = who.split_once(':').map_or(who, |(user, _)| user);
                write!(f, "{scheme}://{user}@{place}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// A text that names no PostgreSQL database. It is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a database's address: write postgres://user@host:port/name")]
pub struct NotADatabaseUrl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let check = |text: &str, shown: &str| {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
            assert!(!format!("{:?}", SharedConfig::new(url)).contains("hunter2"));
        };
        check("postgres://me:hunter2@h:5432/db", "postgres://me@h:5432/db");
        check("postgres://me@h/db", "postgres://me@h/db");
        check("postgresql://h/db?password=hunter2", "postgresql://h/db");
        check(
            "postgres://me:hunter2@localhost/db?host=/run/x",
            "postgres://me@localhost/db",
        );
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in ["", "mysql://h/db", "h:5432/db", "postgres://h:port/db"] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(NotADatabaseUrl), "{text}");
        }
    }
}
