//! Entries as the embedded ledger takes them, each in a transaction of its own.
//!
//! Replicas change channels by [`SharedLedger::change`] and charge by [`SharedLedger::charge`]; this
//! is for what needs neither, and for moving records from one kind of ledger to the other.

use rialto_channels::payee::{ChannelSnapshot, SharedState};
use sqlx::PgConnection;

use super::{
    SharedLedger, change, charge,
    fault::{Failure, Patience},
};
use crate::{CommitError, Entry, ExactNonce, Movement, PaymentRecord};

impl SharedLedger {
    /// Makes an entry durable (M4).
    ///
    /// # Errors
    /// [`CommitError`], as the embedded ledger; [`CommitError::Shared`] for the database's faults.
    pub async fn commit(&self, entry: Entry) -> Result<(), CommitError> {
        let mut backoff = self.backoff(Patience::AfterWork);
        loop {
            match self.try_commit(&entry).await {
                Ok(outcome) => return outcome,
                Err(failure) => backoff
                    .again(failure)
                    .await
                    .map_err(|error| CommitError::Shared(std::sync::Arc::new(error)))?,
            }
        }
    }

    async fn try_commit(&self, entry: &Entry) -> Result<Result<(), CommitError>, Failure> {
        let mut transaction = self.pool().begin().await?;
        let outcome = match entry {
            Entry::Channel(snapshot) => self.put_channel(&mut transaction, snapshot).await?,
            Entry::Charge { snapshot, payment } => {
                let channel = snapshot.as_ref();
                self.put_charge(&mut transaction, channel, payment).await?
            }
            Entry::Nonce(nonce) => take_nonce(&mut transaction, nonce).await?,
            Entry::Claimed(movement) => {
                put_movement(&mut transaction, Kind::Claimed, movement).await?
            }
            Entry::Settled(movement) => {
                put_movement(&mut transaction, Kind::Settled, movement).await?
            }
            Entry::Refunded(movement) => {
                put_movement(&mut transaction, Kind::Refunded, movement).await?
            }
        };
        if outcome.is_ok() {
            transaction.commit().await?;
        }
        Ok(outcome)
    }

    /// An older state is already covered by the stored one and is skipped, unless it holds a charge
    /// that the stored one lacks.
    async fn put_channel(
        &self,
        transaction: &mut PgConnection,
        snapshot: &ChannelSnapshot,
    ) -> Result<Result<(), CommitError>, Failure> {
        let state = SharedState::at_rest(snapshot.clone());
        if change::insert(transaction, &state).await? {
            return Ok(Ok(()));
        }
        let open = change::Open::lock(transaction, snapshot.id, usize::MAX, None).await?;
        let before = open.channel.share();
        let stored = &before.snapshot;
        let newer = snapshot.version > stored.version;
        // Charges only grow, so a version that loses one is not of the same history.
        let lost = if newer {
            snapshot.charged < stored.charged
        } else {
            snapshot.charged > stored.charged
        };
        if lost {
            return Ok(Err(CommitError::Conflict(snapshot.id)));
        }
        if newer {
            let after = SharedState {
                snapshot: snapshot.clone(),
                ..before.clone()
            };
            change::update(transaction, &before, &after, self.replica()).await?;
        }
        Ok(Ok(()))
    }

    async fn put_charge(
        &self,
        transaction: &mut PgConnection,
        snapshot: Option<&ChannelSnapshot>,
        payment: &PaymentRecord,
    ) -> Result<Result<(), CommitError>, Failure> {
        if let Some(snapshot) = snapshot
            && let Err(refused) = self.put_channel(transaction, snapshot).await?
        {
            return Ok(Err(refused));
        }
        let id = &payment.receipt.receipt.id;
        let attempt = rand::random::<[u8; 16]>();
        let new = sqlx::query(PUT_PAYMENT)
            .bind(&payment.key[..])
            .bind(self.replica())
            .bind(&attempt[..])
            .bind(id.as_slice())
            .execute(&mut *transaction)
            .await?;
        let known = sqlx::query("SELECT 1 FROM rialto_receipts WHERE id = $1")
            .bind(id.as_slice())
            .fetch_optional(&mut *transaction)
            .await?;
        // M5: one execution per payment id.
        if new.rows_affected() == 0 || known.is_some() {
            return Ok(Err(CommitError::DuplicatePayment));
        }
        charge::put_receipt(transaction, payment).await?;
        charge::put_answer(transaction, payment, self.inner.config.answer_bytes_max).await?;
        Ok(Ok(()))
    }
}

/// Which way money moved on chain. Part of stored keys: never changed.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Claimed,
    Settled,
    Refunded,
}

async fn take_nonce(
    transaction: &mut PgConnection,
    nonce: &ExactNonce,
) -> Result<Result<(), CommitError>, Failure> {
    let taken = sqlx::query(
        "INSERT INTO rialto_nonces (token, payer, nonce) VALUES ($1, $2, $3)
         ON CONFLICT (token, payer, nonce) DO NOTHING",
    )
    .bind(nonce.token.as_slice())
    .bind(nonce.payer.as_slice())
    .bind(nonce.nonce.as_slice())
    .execute(transaction)
    .await?;
    Ok(if taken.rows_affected() == 1 {
        Ok(())
    } else {
        Err(CommitError::NonceUsed)
    })
}

/// Counts a movement, once however often it is reported.
async fn put_movement(
    transaction: &mut PgConnection,
    kind: Kind,
    movement: &Movement,
) -> Result<Result<(), CommitError>, Failure> {
    let kind: i16 = match kind {
        Kind::Claimed => 1,
        Kind::Settled => 2,
        Kind::Refunded => 3,
    };
    sqlx::query(
        "INSERT INTO rialto_movements (kind, transaction, receiver, token, amount)
         VALUES ($1, $2, $3, $4, CAST($5 AS numeric))
         ON CONFLICT (kind, transaction, receiver, token) DO NOTHING",
    )
    .bind(kind)
    .bind(movement.transaction.as_slice())
    .bind(movement.receiver.as_slice())
    .bind(movement.token.as_slice())
    .bind(movement.amount.to_string())
    .execute(transaction)
    .await?;
    Ok(Ok(()))
}

const PUT_PAYMENT: &str = "
INSERT INTO rialto_payments (key, done, replica, attempt, receipt)
VALUES ($1, true, $2, $3, $4) ON CONFLICT (key) DO NOTHING";
