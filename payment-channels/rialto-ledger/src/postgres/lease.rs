//! Who is alive: one lease for each replica, renewed while it lives, by the database's clock.
//!
//! Whatever a replica holds (reservations, executions, duties) names the replica, and counts for as
//! long as its lease does. So a kill frees everything at once when the lease ends, and nothing has
//! to be renewed call by call.

use std::{
    sync::{Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Inner, SharedError, SharedLedger,
    fault::{Failure, Patience},
};

/// A task that only one replica does at a time. Given up on drop, or when the replica's lease ends.
#[derive(Debug)]
#[must_use = "the duty is given up on drop"]
pub struct Duty {
    ledger: SharedLedger,
    name: &'static str,
    holding: [u8; 16],
}

impl SharedLedger {
    /// Takes a duty that no living replica holds, or `None`.
    ///
    /// # Errors
    /// [`SharedError`]; the duty is not taken.
    pub async fn take_duty(&self, name: &'static str) -> Result<Option<Duty>, SharedError> {
        let holding = rand::random::<[u8; 16]>();
        let mut backoff = self.backoff(Patience::BeforeWork);
        loop {
            let taken = sqlx::query(TAKE_DUTY)
                .bind(name)
                .bind(self.replica())
                .bind(&holding[..])
                .execute(self.pool())
                .await;
            match taken {
                Ok(taken) => {
                    return Ok((taken.rows_affected() == 1).then(|| Duty {
                        ledger: self.clone(),
                        name,
                        holding,
                    }));
                }
                Err(error) => backoff.again(error.into()).await?,
            }
        }
    }

    /// Renews this replica's lease.
    pub(super) async fn renew(&self) -> Result<(), SharedError> {
        let renewed = self.inner.renew().await;
        renewed.map_err(|error| SharedError::Unavailable(Box::new(error)))
    }

    /// Ends this replica's lease now.
    pub(super) async fn retire(&self) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM rialto_replicas WHERE id = $1")
            .bind(self.replica())
            .execute(self.pool())
            .await
            .map(drop)
    }

    async fn give_up_duty(&self, name: &'static str, holding: [u8; 16]) -> Result<(), Failure> {
        sqlx::query("DELETE FROM rialto_duties WHERE name = $1 AND holding = $2")
            .bind(name)
            .bind(&holding[..])
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let (ledger, name, holding) = (self.ledger.clone(), self.name, self.holding);
        let runtime = ledger.inner.runtime.clone();
        runtime.spawn(async move {
            if let Err(error) = ledger.give_up_duty(name, holding).await {
                tracing::debug!(?error, name, "a duty stays with this replica for now");
            }
        });
    }
}

impl Inner {
    async fn renew(&self) -> Result<(), sqlx::Error> {
        let lease_ms = i64::try_from(self.config.lease.as_millis()).unwrap_or(i64::MAX);
        let renewed = sqlx::query(RENEW)
            .bind(&self.replica)
            .bind(lease_ms)
            .execute(&self.pool)
            .await;
        self.down.store(renewed.is_err(), Ordering::Release);
        renewed.map(drop)
    }

    /// Removes what is left of calls that ended while the database was away, of replicas that
    /// ended long ago, and of answers beyond the limit.
    async fn tidy(&self) -> Result<(), sqlx::Error> {
        let active: Vec<Vec<u8>> = {
            let active = self
                .active
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            active.iter().map(|attempt| attempt.to_vec()).collect()
        };
        for statement in [LEFTOVER_CALLS, LEFTOVER_PAYMENTS] {
            sqlx::query(statement)
                .bind(&self.replica)
                .bind(&active)
                .execute(&self.pool)
                .await?;
        }
        sqlx::query(OLD_REPLICAS).execute(&self.pool).await?;
        sqlx::query(OLD_ANSWERS)
            .bind(i64::from(self.config.answers_max))
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// Renews the lease until the ledger is dropped; notices when the database goes and comes back.
pub(super) async fn beat(ledger: Weak<Inner>) {
    let mut tidied = Instant::now();
    loop {
        let Some(inner) = ledger.upgrade() else {
            return;
        };
        let pause = if inner.down.load(Ordering::Acquire) {
            RECONNECT_PAUSE
        } else {
            inner.config.lease / RENEWALS_PER_LEASE
        };
        drop(inner);
        tokio::time::sleep(pause).await;
        let Some(inner) = ledger.upgrade() else {
            return;
        };
        let was_down = inner.down.load(Ordering::Acquire);
        match inner.renew().await {
            Ok(()) if was_down => tracing::info!("the shared ledger's database is back"),
            Ok(()) => {}
            Err(error) if !was_down => {
                tracing::error!(%error, "the shared ledger's database is away: calls are refused until it is back");
            }
            Err(_) => {}
        }
        if tidied.elapsed() >= TIDY_EVERY {
            tidied = Instant::now();
            if let Err(error) = inner.tidy().await {
                tracing::debug!(%error, "the shared ledger is tidied later");
            }
        }
    }
}

/// A lease survives two renewals that fail.
const RENEWALS_PER_LEASE: u32 = 3;
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);
const TIDY_EVERY: Duration = Duration::from_secs(60);

const RENEW: &str = "
INSERT INTO rialto_replicas (id, lease_until)
VALUES ($1, clock_timestamp() + $2 * interval '1 millisecond')
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until";

const TAKE_DUTY: &str = "
INSERT INTO rialto_duties (name, replica, holding) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET replica = excluded.replica, holding = excluded.holding
WHERE rialto_duties.replica = excluded.replica OR NOT EXISTS (
    SELECT 1 FROM rialto_replicas r
    WHERE r.id = rialto_duties.replica AND r.lease_until > clock_timestamp())";

/// Younger rows may be of calls that began after the list of calls was made.
const LEFTOVER_CALLS: &str = "
DELETE FROM rialto_in_flight
WHERE replica = $1 AND since < clock_timestamp() - interval '30 seconds' AND attempt <> ALL($2)";

const LEFTOVER_PAYMENTS: &str = "
DELETE FROM rialto_payments
WHERE NOT done AND replica = $1 AND since < clock_timestamp() - interval '30 seconds'
  AND attempt <> ALL($2)";

const OLD_REPLICAS: &str =
    "DELETE FROM rialto_replicas WHERE lease_until < clock_timestamp() - interval '1 hour'";

const OLD_ANSWERS: &str = "
DELETE FROM rialto_answers WHERE stored < (
    SELECT stored FROM rialto_answers ORDER BY stored DESC LIMIT 1 OFFSET $1)";
