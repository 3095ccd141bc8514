//! One execution for each payment (M5), over all replicas: a row is taken before the work, and
//! turned into the record of the payment with the charge.

use rialto_channels::ChannelId;
use sqlx::{PgConnection, Row};

use super::{
    SharedError, SharedLedger,
    fault::{Failure, Patience},
    read,
};
use crate::PaymentRecord;

/// What a payment's arrival finds.
#[derive(Debug)]
pub enum Begun {
    /// Nobody works on it: it is this replica's to execute.
    Now(Execution),
    /// It was executed before; this is its record.
    Before(Box<PaymentRecord>),
    /// Another replica executes it at this moment. Ask again shortly.
    Elsewhere,
}

/// A payment that this replica executes, with what it holds for it. Dropped without a charge, it
/// gives everything back (M3), and the payment may be executed again.
#[derive(Debug)]
#[must_use = "an execution is given up on drop"]
pub struct Execution {
    ledger: SharedLedger,
    key: [u8; 32],
    attempt: [u8; 16],
    held: Option<(ChannelId, u64)>,
    done: bool,
}

impl SharedLedger {
    /// Takes a payment to execute it. Within a process, only one task at a time may ask for a key:
    /// what this replica left behind under it is taken over.
    ///
    /// # Errors
    /// [`SharedError`]; nothing is taken.
    pub async fn begin(&self, key: [u8; 32]) -> Result<Begun, SharedError> {
        if self.is_down() {
            return Err(SharedError::Down);
        }
        let mut execution = Execution {
            ledger: self.clone(),
            key,
            attempt: rand::random(),
            held: None,
            done: false,
        };
        self.active().insert(execution.attempt);
        let mut backoff = self.backoff(Patience::BeforeWork);
        loop {
            let begun = async {
                let mut connection = self.pool().acquire().await?;
                try_begin(&mut connection, self.replica(), &execution).await
            };
            match begun.await {
                Ok(State::Taken) => return Ok(Begun::Now(execution)),
                Ok(State::Done(record)) => {
                    execution.done();
                    return Ok(Begun::Before(record));
                }
                Ok(State::Elsewhere) => {
                    execution.done();
                    return Ok(Begun::Elsewhere);
                }
                Err(failure) => backoff.again(failure).await?,
            }
        }
    }

    async fn give_up(
        &self,
        key: [u8; 32],
        attempt: [u8; 16],
        channel: Option<ChannelId>,
    ) -> Result<(), sqlx::Error> {
        if let Some(channel) = channel {
            // Without the channel's lock: what others read meanwhile is at worst too careful.
            sqlx::query("DELETE FROM rialto_in_flight WHERE channel = $1 AND attempt = $2")
                .bind(channel.0.as_slice())
                .bind(&attempt[..])
                .execute(self.pool())
                .await?;
        }
        sqlx::query("DELETE FROM rialto_payments WHERE key = $1 AND NOT done AND attempt = $2")
            .bind(&key[..])
            .bind(&attempt[..])
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

impl Execution {
    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    pub(super) fn attempt(&self) -> &[u8; 16] {
        &self.attempt
    }

    pub(super) fn hold(&mut self, channel: ChannelId, number: u64) {
        self.held = Some((channel, number));
    }

    /// Gives back what it holds, as dropping it does, and waits until it is given back: whoever is
    /// told of a failure finds the channel free.
    pub async fn give_up(mut self) {
        let channel = self.held.map(|(channel, _)| channel);
        let given_up = self.ledger.give_up(self.key, self.attempt, channel).await;
        // Else dropping it tries once more.
        self.done = given_up.is_ok();
    }

    /// The number of its reservation on its channel, if it has one.
    #[must_use]
    pub fn reservation(&self) -> Option<u64> {
        self.held.map(|(_, number)| number)
    }

    /// There is nothing to give back.
    pub(super) fn done(&mut self) {
        self.done = true;
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let ledger = self.ledger.clone();
        if self.done {
            ledger.active().remove(&self.attempt);
            return;
        }
        let (key, attempt) = (self.key, self.attempt);
        let channel = self.held.map(|(channel, _)| channel);
        let runtime = ledger.inner.runtime.clone();
        runtime.spawn(async move {
            let given_up = ledger.give_up(key, attempt, channel).await;
            // From now on its rows, if any are left, are leftovers that the next tidying removes.
            ledger.active().remove(&attempt);
            if let Err(error) = given_up {
                tracing::debug!(%error, "what a failed call held is given back later");
            }
        });
    }
}

enum State {
    Taken,
    Done(Box<PaymentRecord>),
    Elsewhere,
}

async fn try_begin(
    connection: &mut PgConnection,
    replica: &str,
    execution: &Execution,
) -> Result<State, Failure> {
    for statement in [TAKE, TAKE_OVER] {
        let taken = sqlx::query(statement)
            .bind(&execution.key[..])
            .bind(replica)
            .bind(&execution.attempt[..])
            .execute(&mut *connection)
            .await?;
        if taken.rows_affected() == 1 {
            return Ok(State::Taken);
        }
        let row = sqlx::query("SELECT done, attempt FROM rialto_payments WHERE key = $1")
            .bind(&execution.key[..])
            .fetch_optional(&mut *connection)
            .await?;
        // Gone in this moment: whoever asks again finds it free.
        let Some(row) = row else {
            return Ok(State::Elsewhere);
        };
        if row.try_get("done")? {
            let record = read::payment(connection, &execution.key).await?;
            let record = record.ok_or(SharedError::Malformed("payment"))?;
            return Ok(State::Done(Box::new(record)));
        }
        // An earlier try whose commit was not heard of.
        if row.try_get::<&[u8], _>("attempt")? == execution.attempt {
            return Ok(State::Taken);
        }
    }
    Ok(State::Elsewhere)
}

const TAKE: &str = "
INSERT INTO rialto_payments (key, done, replica, attempt) VALUES ($1, false, $2, $3)
ON CONFLICT (key) DO NOTHING";

/// From a replica that is gone, or from an earlier attempt of this one.
const TAKE_OVER: &str = "
UPDATE rialto_payments SET replica = $2, attempt = $3, since = clock_timestamp()
WHERE key = $1 AND NOT done AND (replica = $2 OR NOT EXISTS (
    SELECT 1 FROM rialto_replicas r
    WHERE r.id = rialto_payments.replica AND r.lease_until > clock_timestamp()))";
