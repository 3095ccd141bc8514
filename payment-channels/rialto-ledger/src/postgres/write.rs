//! Entries as the embedded ledger takes them, each in a transaction of its own.
//!
//! Replicas change channels by [`SharedLedger::change`] and charge by [`SharedLedger::charge`]; this
//! is for what needs neither, and for moving records from one kind of ledger to the other.

use rialto_channels::{
    Amount,
    payee::{ChannelSnapshot, SharedState},
};
use sqlx::PgConnection;

use super::{
    SharedLedger, books, change, charge,
    fault::{Failure, Patience},
    rows,
};
use crate::{
    CommitError, Entry, ExactNonce, Movement, PaymentRecord,
    head::Head,
    journal::{Day, Flow},
};

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
            Entry::Channel(snapshot) => self.put_channel(&mut transaction, snapshot, None).await?,
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
            Entry::Unpaid(movement) => {
                put_movement(&mut transaction, Kind::Unpaid, movement).await?
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
        charged_on: Option<Day>,
    ) -> Result<Result<(), CommitError>, Failure> {
        let state = SharedState::at_rest(snapshot.clone());
        if change::insert(transaction, &state, charged_on).await? {
            return Ok(Ok(()));
        }
        let open = change::Open::lock(transaction, snapshot.id, usize::MAX, None).await?;
        let before = open.channel.share();
        let stored = &before.snapshot;
        let newer = snapshot.version > stored.version;
        let lost = if newer {
            Head::from(stored).loses_charges_to(snapshot)
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
            change::update(transaction, &before, &after, self.replica(), charged_on).await?;
        }
        Ok(Ok(()))
    }

    async fn put_charge(
        &self,
        transaction: &mut PgConnection,
        snapshot: Option<&ChannelSnapshot>,
        payment: &PaymentRecord,
    ) -> Result<Result<(), CommitError>, Failure> {
        let receipt = &payment.receipt.receipt;
        let day = Day::of_unix_secs(receipt.issued_at);
        if let Some(snapshot) = snapshot
            && let Err(refused) = self.put_channel(transaction, snapshot, Some(day)).await?
        {
            return Ok(Err(refused));
        }
        let id = &receipt.id;
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
        put_receipt(transaction, payment).await?;
        if let Some(answer) = charge::kept(payment, self.inner.config.answer_bytes_max) {
            sqlx::query("INSERT INTO rialto_answers (payment, answer) VALUES ($1, $2)")
                .bind(&payment.key[..])
                .bind(rows::answer_bytes(answer)?)
                .execute(&mut *transaction)
                .await?;
        }
        if receipt.channel.is_none() && !receipt.booked().is_zero() {
            let whose = (receipt.provider, receipt.token);
            let (day, flow) = (Some(day), Flow::Exact);
            books::add_outside(transaction, whose, day, id, flow, receipt.booked()).await?;
        }
        Ok(Ok(()))
    }
}

async fn put_receipt(
    transaction: &mut PgConnection,
    payment: &PaymentRecord,
) -> Result<(), Failure> {
    let receipt = &payment.receipt.receipt;
    let channel = receipt.channel.map_or_else(Vec::new, |id| id.0.to_vec());
    // Only what has a channel has a place in its order.
    let before = receipt.channel.map_or(Amount::ZERO, |_| receipt.before);
    sqlx::query(PUT_RECEIPT)
        .bind(receipt.id.as_slice())
        .bind(rows::receipt_bytes(&payment.receipt)?)
        .bind(receipt.provider.as_slice())
        .bind(receipt.token.as_slice())
        .bind(receipt.channel.is_some())
        .bind(receipt.charged.to_string())
        .bind(channel)
        .bind(before.to_string())
        .execute(transaction)
        .await?;
    Ok(())
}

/// Which way money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Claimed,
    Settled,
    Refunded,
    /// Not at all: an `exact` payment that was booked.
    Unpaid,
}

impl Kind {
    /// Part of stored keys: never changed.
    fn tag(self) -> i16 {
        match self {
            Self::Claimed => 1,
            Self::Settled => 2,
            Self::Refunded => 3,
            Self::Unpaid => 4,
        }
    }

    /// What it is in the journal; of claims and refunds the channels' states tell.
    fn flow(self) -> Option<Flow> {
        match self {
            Self::Claimed | Self::Refunded => None,
            Self::Settled => Some(Flow::Settled),
            Self::Unpaid => Some(Flow::Unpaid),
        }
    }
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
    let new = sqlx::query(
        "INSERT INTO rialto_movements (kind, transaction, receiver, token, amount)
         VALUES ($1, $2, $3, $4, CAST($5 AS numeric))
         ON CONFLICT (kind, transaction, receiver, token) DO NOTHING",
    )
    .bind(kind.tag())
    .bind(movement.transaction.as_slice())
    .bind(movement.receiver.as_slice())
    .bind(movement.token.as_slice())
    .bind(movement.amount.to_string())
    .execute(&mut *transaction)
    .await?;
    if new.rows_affected() == 0 {
        return Ok(Ok(()));
    }
    if kind == Kind::Unpaid && !is_stored(transaction, movement).await? {
        return Ok(Err(CommitError::NotExact(movement.transaction)));
    }
    if let Some(flow) = kind.flow() {
        let Movement {
            transaction: hash,
            receiver,
            token,
            amount,
        } = movement;
        let whose = (*receiver, *token);
        books::add_outside(transaction, whose, None, hash, flow, *amount).await?;
    }
    Ok(Ok(()))
}

/// Whether these are the figures of a payment outside channels that is stored.
async fn is_stored(transaction: &mut PgConnection, movement: &Movement) -> Result<bool, Failure> {
    let found = sqlx::query(
        "SELECT 1 FROM rialto_receipts
         WHERE id = $1 AND NOT on_channel AND provider = $2 AND token = $3
             AND charged = CAST($4 AS numeric)",
    )
    .bind(movement.transaction.as_slice())
    .bind(movement.receiver.as_slice())
    .bind(movement.token.as_slice())
    .bind(movement.amount.to_string())
    .fetch_optional(transaction)
    .await?;
    Ok(found.is_some())
}

const PUT_PAYMENT: &str = "
INSERT INTO rialto_payments (key, done, replica, attempt, receipt)
VALUES ($1, true, $2, $3, $4) ON CONFLICT (key) DO NOTHING";

const PUT_RECEIPT: &str = "
INSERT INTO rialto_receipts (id, signed, provider, token, on_channel, charged, channel,
                             charged_before)
VALUES ($1, $2, $3, $4, $5, CAST($6 AS numeric), $7, CAST($8 AS numeric))";
