//! What a payer has at stake over all its channels and all replicas.
//!
//! It is counted from what is stored, not kept: the calls of a replica that died drop out by
//! themselves. A row of the payer is written first, always after the channel's, and keeps others
//! from reserving for the same payer until this transaction ends; where the isolation level reads
//! an older state, that makes a conflict, which is tried again.
//!
//! Non-goals: the limits, which are `rialto-channels`' (`payee::ExposureLimits`).

use rialto_channels::{
    Address, Amount,
    payee::{ExposureLimits, PayerExposure, SharedState},
};
use sqlx::PgConnection;

use super::{
    SharedError, SharedLedger,
    fault::{Failure, Patience},
    read::{reading, shared_state},
    rows,
};

/// Locks a payer and counts what it has at stake; what `attempt` holds is left out.
pub(super) async fn lock(
    transaction: &mut PgConnection,
    payer: Address,
    attempt: &[u8; 16],
) -> Result<PayerExposure, Failure> {
    sqlx::query(LOCK_PAYER)
        .bind(payer.as_slice())
        .execute(&mut *transaction)
        .await?;
    // Only after the lock: in a statement of its own, which sees what was committed before it.
    let row = sqlx::query(AT_STAKE)
        .bind(payer.as_slice())
        .bind(&attempt[..])
        .fetch_one(transaction)
        .await?;
    let sum = rows::amount(&row, "sum")?;
    let mut exposure = PayerExposure::default();
    exposure
        .moved(Amount::ZERO, sum)
        .map_err(|_| SharedError::Malformed("exposure"))?;
    Ok(exposure)
}

impl SharedLedger {
    /// The channels that half of a limit is charged and not claimed on, or whose payer has so much on
    /// all its channels: those worth a claim before the usual time. Calls in flight are left out.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn exposed(&self, limits: &ExposureLimits) -> Result<Vec<SharedState>, SharedError> {
        let half = |limit: Option<Amount>| limit.map(|limit| limit.get().div_ceil(2).to_string());
        reading!(self, |connection| {
            let found = sqlx::query(EXPOSED)
                .bind(half(limits.channel_max))
                .bind(half(limits.payer_max))
                .fetch_all(&mut *connection)
                .await?;
            found
                .iter()
                .map(shared_state)
                .collect::<Result<Vec<_>, Failure>>()?
        })
    }
}

/// The number is only there to be written.
const LOCK_PAYER: &str = "
INSERT INTO rialto_payers (payer, counted) VALUES ($1, 1)
ON CONFLICT (payer) DO UPDATE SET counted = rialto_payers.counted + 1";

const AT_STAKE: &str = "
SELECT CAST(
    (SELECT COALESCE(SUM(charged - claimed), 0) FROM rialto_channels WHERE payer = $1)
    + (SELECT COALESCE(SUM(f.price), 0)
       FROM rialto_in_flight f JOIN rialto_channels c ON c.id = f.channel
       WHERE c.payer = $1 AND f.attempt <> $2 AND EXISTS (
           SELECT 1 FROM rialto_replicas r
           WHERE r.id = f.replica AND r.lease_until > clock_timestamp()))
    AS text) AS sum";

/// A comparison with no limit is never true.
const EXPOSED: &str = "
SELECT state, next_number, needs_view, view_floor FROM rialto_channels
WHERE owing AND (charged - claimed >= CAST($1 AS numeric) OR payer IN (
    SELECT payer FROM rialto_channels WHERE owing
    GROUP BY payer HAVING SUM(charged - claimed) >= CAST($2 AS numeric)))
ORDER BY id";
