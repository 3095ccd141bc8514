//! The tables, and how older ones become them.
//!
//! The `format` row of `rialto_meta` is both the version and the lock under which migrations run:
//! of replicas that start at once, one migrates and the others wait for it.

use sqlx::{PgConnection, PgPool, Row};

use super::{
    Provider, SharedError, SharedOpenError,
    fault::{Backoff, Failure, Patience},
    upgrade,
};

/// Makes or migrates the tables and checks whose they are.
pub(super) async fn prepare(pool: &PgPool, provider: &Provider) -> Result<(), SharedOpenError> {
    let retries = std::sync::atomic::AtomicU64::new(0);
    let mut backoff = Backoff::new(Patience::BeforeWork, std::time::Duration::ZERO, &retries);
    loop {
        match try_prepare(pool, provider).await {
            Ok(outcome) => return outcome,
            Err(failure) => backoff.again(failure).await?,
        }
    }
}

/// The inner error is final; the outer may pass.
async fn try_prepare(
    pool: &PgPool,
    provider: &Provider,
) -> Result<Result<(), SharedOpenError>, Failure> {
    // Two replicas that make the table at once may both fail on a system table's key: tried again.
    sqlx::raw_sql(META).execute(pool).await?;
    sqlx::query("INSERT INTO rialto_meta (name, value) VALUES ('format', '0') ON CONFLICT (name) DO NOTHING")
        .execute(pool)
        .await?;
    loop {
        // A transaction for each step: not every database can use a column in the one that adds it.
        let mut transaction = pool.begin().await?;
        let row = sqlx::query("SELECT value FROM rialto_meta WHERE name = 'format' FOR UPDATE")
            .fetch_one(&mut *transaction)
            .await?;
        let found: String = row.try_get(0)?;
        let Some((version, missing)) = found
            .parse()
            .ok()
            .and_then(|version: usize| Some((version, MIGRATIONS.get(version..)?)))
        else {
            return Ok(Err(SharedOpenError::UnknownFormat {
                found,
                supported: format(),
            }));
        };
        let Some(migration) = missing.first() else {
            let owner = check_owner(&mut transaction, provider).await?;
            if owner.is_ok() {
                transaction.commit().await?;
            }
            return Ok(owner);
        };
        match migration {
            Migration::Statements(statements) => {
                sqlx::raw_sql(*statements)
                    .execute(&mut *transaction)
                    .await?;
            }
            Migration::Fill => upgrade::fill(&mut transaction).await?,
        }
        sqlx::query("UPDATE rialto_meta SET value = $1 WHERE name = 'format'")
            .bind(version.saturating_add(1).to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
}

async fn check_owner(
    transaction: &mut PgConnection,
    provider: &Provider,
) -> Result<Result<(), SharedOpenError>, Failure> {
    let own = describe(provider);
    sqlx::query("INSERT INTO rialto_meta (name, value) VALUES ('provider', $1) ON CONFLICT (name) DO NOTHING")
        .bind(&own)
        .execute(&mut *transaction)
        .await?;
    let row = sqlx::query("SELECT value FROM rialto_meta WHERE name = 'provider'")
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or(SharedError::Malformed("provider"))?;
    let found: String = row.try_get(0)?;
    Ok(if found == own {
        Ok(())
    } else {
        Err(SharedOpenError::OtherProvider { found, own })
    })
}

fn describe(provider: &Provider) -> String {
    format!(
        "host {} on chain {} with contract {}",
        provider.host, provider.domain.chain_id, provider.domain.contract
    )
}

/// The format that this version writes.
fn format() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

const META: &str =
    "CREATE TABLE IF NOT EXISTS rialto_meta (name text PRIMARY KEY, value text NOT NULL)";

/// Makes one format from the one before.
#[derive(Clone, Copy, Debug)]
enum Migration {
    Statements(&'static str),
    /// Fills what the step before added.
    Fill,
}

/// Each makes the format of its place from the one before. Never changed once released.
const MIGRATIONS: &[Migration] = &[
    Migration::Statements(FORMAT_1),
    Migration::Statements(FORMAT_2),
    Migration::Fill,
];

/// The books, whose a channel is, and the order of a channel's receipts. A payer's row is the lock
/// under which what it has at stake over all channels is counted.
const FORMAT_2: &str = "
ALTER TABLE rialto_channels ADD COLUMN payer bytea NOT NULL DEFAULT '';
CREATE INDEX rialto_channels_payer ON rialto_channels (payer);
ALTER TABLE rialto_receipts ADD COLUMN channel bytea NOT NULL DEFAULT '';
ALTER TABLE rialto_receipts ADD COLUMN charged_before numeric(39,0) NOT NULL DEFAULT 0;
CREATE INDEX rialto_receipts_order ON rialto_receipts (channel, charged_before, id);
CREATE TABLE rialto_payers (
    payer bytea PRIMARY KEY,
    counted bigint NOT NULL
);
CREATE TABLE rialto_journal (
    day bigint NOT NULL,
    outside boolean NOT NULL,
    channel bytea NOT NULL,
    receiver bytea NOT NULL,
    token bytea NOT NULL,
    flow smallint NOT NULL,
    part smallint NOT NULL,
    amount numeric(78,0) NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (day, outside, channel, receiver, token, flow, part)
);
";

/// Amounts are shown as numbers for people and for the database's own checks (M2); what is read
/// back is the encoded state beside them.
const FORMAT_1: &str = "
CREATE TABLE rialto_replicas (
    id text PRIMARY KEY,
    lease_until timestamptz NOT NULL,
    started timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE rialto_duties (
    name text PRIMARY KEY,
    replica text NOT NULL,
    holding bytea NOT NULL
);
CREATE TABLE rialto_channels (
    id bytea PRIMARY KEY,
    version bigint NOT NULL,
    state bytea NOT NULL,
    balance numeric(39,0) NOT NULL,
    claimed numeric(39,0) NOT NULL,
    charged numeric(39,0) NOT NULL,
    ceiling numeric(39,0) NOT NULL,
    owing boolean NOT NULL,
    next_number bigint NOT NULL,
    needs_view boolean NOT NULL,
    view_floor bigint NOT NULL,
    refunding text,
    refund_since timestamptz,
    CONSTRAINT rialto_claims_were_charged CHECK (claimed <= charged),
    CONSTRAINT rialto_charges_were_signed CHECK (charged <= ceiling OR charged = claimed)
);
CREATE INDEX rialto_channels_owing ON rialto_channels (id) WHERE owing;
CREATE TABLE rialto_in_flight (
    channel bytea NOT NULL,
    number bigint NOT NULL,
    price numeric(39,0) NOT NULL,
    replica text NOT NULL,
    attempt bytea NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (channel, number)
);
CREATE INDEX rialto_in_flight_replica ON rialto_in_flight (replica);
CREATE TABLE rialto_payments (
    key bytea PRIMARY KEY,
    done boolean NOT NULL,
    replica text NOT NULL,
    attempt bytea NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    receipt bytea
);
CREATE INDEX rialto_payments_running ON rialto_payments (replica) WHERE NOT done;
CREATE TABLE rialto_receipts (
    id bytea PRIMARY KEY,
    signed bytea NOT NULL,
    provider bytea NOT NULL,
    token bytea NOT NULL,
    on_channel boolean NOT NULL,
    charged numeric(39,0) NOT NULL
);
CREATE TABLE rialto_answers (
    payment bytea PRIMARY KEY,
    stored timestamptz NOT NULL DEFAULT clock_timestamp(),
    answer bytea NOT NULL
);
CREATE INDEX rialto_answers_stored ON rialto_answers (stored);
CREATE TABLE rialto_nonces (
    token bytea NOT NULL,
    payer bytea NOT NULL,
    nonce bytea NOT NULL,
    PRIMARY KEY (token, payer, nonce)
);
CREATE TABLE rialto_movements (
    kind smallint NOT NULL,
    transaction bytea NOT NULL,
    receiver bytea NOT NULL,
    token bytea NOT NULL,
    amount numeric(39,0) NOT NULL,
    PRIMARY KEY (kind, transaction, receiver, token)
);
";
