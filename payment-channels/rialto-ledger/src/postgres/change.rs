//! Changing a channel: lock its row, resume the state machine, let it decide, store, commit.

use rialto_channels::{
    Amount, ChainTime, ChannelId,
    payee::{ChannelSnapshot, PayeeChannel, PayerExposure, Reservation, SharedState},
};
use sqlx::{PgConnection, Row};

use super::{
    Execution, SharedError, SharedLedger, books, exposure,
    fault::{Failure, Patience},
    rows,
};
use crate::{head::Head, journal::Day};

/// What became of a channel.
#[derive(Debug)]
pub struct Changed<T> {
    /// What the state machine said.
    pub outcome: T,
    /// The channel afterwards, calls of all replicas included.
    pub channel: PayeeChannel,
}

impl SharedLedger {
    /// Enters a channel as its snapshot says, unless a replica did so before.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn enter(&self, snapshot: &ChannelSnapshot) -> Result<(), SharedError> {
        let mut backoff = self.backoff(Patience::BeforeWork);
        loop {
            match self.try_enter(snapshot).await {
                Ok(()) => return Ok(()),
                Err(failure) => backoff.again(failure).await?,
            }
        }
    }

    async fn try_enter(&self, snapshot: &ChannelSnapshot) -> Result<(), Failure> {
        let mut transaction = self.pool().begin().await?;
        let state = SharedState::at_rest(snapshot.clone());
        insert(&mut transaction, &state, None).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Lets `work` change a channel under its lock; durable when this returns. `work` is called
    /// again, on the channel as it is then, if another replica was in the way.
    ///
    /// # Errors
    /// [`SharedError`]; [`SharedError::UnknownChannel`] if it was never entered.
    pub async fn change<T: Send>(
        &self,
        id: ChannelId,
        in_flight_max: usize,
        mut work: impl FnMut(&mut PayeeChannel) -> T + Send,
    ) -> Result<Changed<T>, SharedError> {
        let mut backoff = self.backoff(Patience::BeforeWork);
        let mut work = |channel: &mut PayeeChannel, _: &PayerExposure| work(channel);
        loop {
            match self
                .try_change(id, in_flight_max, &NO_ATTEMPT, Counted::Nothing, &mut work)
                .await
            {
                Ok(changed) => return Ok(changed),
                Err(failure) => backoff.again(failure).await?,
            }
        }
    }

    /// Reserves on a channel for an execution, which keeps the reservation until it ends. As for
    /// [`SharedLedger::change`], `work` may be called again.
    ///
    /// # Errors
    /// [`SharedError`]; nothing is reserved. What `work` refused is the outcome, not an error.
    pub async fn reserve<E: Send>(
        &self,
        execution: &mut Execution,
        id: ChannelId,
        in_flight_max: usize,
        mut work: impl FnMut(&mut PayeeChannel) -> Result<Reservation, E> + Send,
    ) -> Result<Changed<Result<(), E>>, SharedError> {
        let work = |channel: &mut PayeeChannel, _: &PayerExposure| work(channel);
        self.reserve_counted(execution, id, in_flight_max, Counted::Nothing, work)
            .await
    }

    /// As [`SharedLedger::reserve`], with what the channel's payer has at stake over all its channels
    /// and all replicas: nobody else reserves for this payer meanwhile.
    ///
    /// # Errors
    /// As for [`SharedLedger::reserve`].
    pub async fn reserve_within<E: Send>(
        &self,
        execution: &mut Execution,
        id: ChannelId,
        in_flight_max: usize,
        work: impl FnMut(&mut PayeeChannel, &PayerExposure) -> Result<Reservation, E> + Send,
    ) -> Result<Changed<Result<(), E>>, SharedError> {
        self.reserve_counted(execution, id, in_flight_max, Counted::Payer, work)
            .await
    }

    async fn reserve_counted<E: Send>(
        &self,
        execution: &mut Execution,
        id: ChannelId,
        in_flight_max: usize,
        counted: Counted,
        mut work: impl FnMut(&mut PayeeChannel, &PayerExposure) -> Result<Reservation, E> + Send,
    ) -> Result<Changed<Result<(), E>>, SharedError> {
        if self.is_down() {
            return Err(SharedError::Down);
        }
        let mut backoff = self.backoff(Patience::BeforeWork);
        loop {
            let attempt = *execution.attempt();
            let mut work = |channel: &mut PayeeChannel, payer: &PayerExposure| {
                work(channel, payer).map(|reservation| reservation.number())
            };
            match self
                .try_change(id, in_flight_max, &attempt, counted, &mut work)
                .await
            {
                Ok(Changed { outcome, channel }) => {
                    let outcome = outcome.map(|number| execution.hold(id, number));
                    return Ok(Changed { outcome, channel });
                }
                Err(failure) => backoff.again(failure).await?,
            }
        }
    }

    async fn try_change<T: Send>(
        &self,
        id: ChannelId,
        in_flight_max: usize,
        attempt: &[u8; 16],
        counted: Counted,
        work: &mut (impl FnMut(&mut PayeeChannel, &PayerExposure) -> T + Send),
    ) -> Result<Changed<T>, Failure> {
        let mut transaction = self.pool().begin().await?;
        // Rows of this very attempt are of a try whose commit was not heard of.
        let mut open = Open::lock(&mut transaction, id, in_flight_max, Some(attempt)).await?;
        let payer = match counted {
            Counted::Nothing => PayerExposure::default(),
            Counted::Payer => {
                let payer = open.channel.state().config.payer;
                exposure::lock(&mut transaction, payer, attempt).await?
            }
        };
        let outcome = work(&mut open.channel, &payer);
        open.store(&mut transaction, self.replica(), attempt)
            .await?;
        transaction.commit().await?;
        Ok(Changed {
            outcome,
            channel: open.channel,
        })
    }
}

/// What is counted beside the channel.
#[derive(Clone, Copy, Debug)]
enum Counted {
    Nothing,
    Payer,
}

/// A channel whose row this transaction has locked.
pub(super) struct Open {
    pub(super) channel: PayeeChannel,
    pub(super) before: SharedState,
    /// Calls that count no more: their rows go with this change.
    dead: Vec<i64>,
}

impl Open {
    pub(super) async fn lock(
        transaction: &mut PgConnection,
        id: ChannelId,
        in_flight_max: usize,
        without: Option<&[u8; 16]>,
    ) -> Result<Self, Failure> {
        let row = sqlx::query(LOCK)
            .bind(id.0.as_slice())
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or(SharedError::UnknownChannel)?;
        let abandoned: bool = row.try_get("abandoned")?;
        let refunding: Option<&str> = row.try_get("refunding")?;
        let mut before = SharedState {
            next_number: rows::number(&row, "next_number")?,
            needs_view: row.try_get("needs_view")?,
            view_floor: ChainTime::new(rows::number(&row, "view_floor")?),
            refunding: refunding.is_some(),
            ..SharedState::at_rest(rows::snapshot(row.try_get("state")?)?)
        };
        let mut dead = Vec::new();
        // Only after the lock: in a statement of its own, which sees what was committed before it.
        for row in sqlx::query(IN_FLIGHT)
            .bind(id.0.as_slice())
            .fetch_all(&mut *transaction)
            .await?
        {
            let attempt: &[u8] = row.try_get("attempt")?;
            let counts = without.is_none_or(|without| attempt != without);
            if counts && row.try_get("alive")? {
                let number = rows::number(&row, "number")?;
                before
                    .in_flight
                    .insert(number, rows::amount(&row, "price")?);
            } else {
                dead.push(row.try_get("number")?);
            }
        }
        let mut channel =
            PayeeChannel::resume(before.clone(), in_flight_max).map_err(SharedError::from)?;
        if abandoned {
            channel.abandon_refund();
        }
        Ok(Self {
            channel,
            before,
            dead,
        })
    }

    /// Writes what changed; nothing if nothing did.
    pub(super) async fn store(
        &self,
        transaction: &mut PgConnection,
        replica: &str,
        attempt: &[u8; 16],
    ) -> Result<(), Failure> {
        let after = self.channel.share();
        if after == self.before && self.dead.is_empty() {
            return Ok(());
        }
        // Always, even if only calls in flight changed: see the module above.
        update(transaction, &self.before, &after, replica, None).await?;
        self.store_new_calls(transaction, &after, replica, attempt)
            .await?;
        let gone = self.gone(&after)?;
        if !gone.is_empty() {
            sqlx::query("DELETE FROM rialto_in_flight WHERE channel = $1 AND number = ANY($2)")
                .bind(after.snapshot.id.0.as_slice())
                .bind(gone)
                .execute(transaction)
                .await?;
        }
        Ok(())
    }

    /// Writes the calls that are in flight now and were not before.
    pub(super) async fn store_new_calls(
        &self,
        transaction: &mut PgConnection,
        after: &SharedState,
        replica: &str,
        attempt: &[u8; 16],
    ) -> Result<(), Failure> {
        let id = after.snapshot.id;
        for (number, price) in &after.in_flight {
            if !self.before.in_flight.contains_key(number) {
                insert_call(transaction, id, *number, *price, replica, attempt).await?;
            }
        }
        Ok(())
    }

    /// The numbers of the calls that are not in flight any more.
    pub(super) fn gone(&self, after: &SharedState) -> Result<Vec<i64>, SharedError> {
        self.before
            .in_flight
            .keys()
            .filter(|number| !after.in_flight.contains_key(number))
            .map(|number| rows::stored(*number, "reservation"))
            .chain(self.dead.iter().copied().map(Ok))
            .collect()
    }
}

async fn insert_call(
    transaction: &mut PgConnection,
    channel: ChannelId,
    number: u64,
    price: Amount,
    replica: &str,
    attempt: &[u8; 16],
) -> Result<(), Failure> {
    sqlx::query(INSERT_CALL)
        .bind(channel.0.as_slice())
        .bind(rows::stored(number, "reservation")?)
        .bind(price.to_string())
        .bind(replica)
        .bind(&attempt[..])
        .execute(transaction)
        .await?;
    Ok(())
}

/// Enters a channel, in the books too; returns whether it is new.
pub(super) async fn insert(
    transaction: &mut PgConnection,
    state: &SharedState,
    charged_on: Option<Day>,
) -> Result<bool, Failure> {
    let done = bind_state(sqlx::query(INSERT), state)?
        .bind(state.snapshot.config.payer.as_slice())
        .execute(&mut *transaction)
        .await?;
    let is_new = done.rows_affected() == 1;
    if is_new {
        books::moved(transaction, &Head::default(), &state.snapshot, charged_on).await?;
    }
    Ok(is_new)
}

/// Overwrites a channel's row and enters in the books what moved; the caller holds its lock.
pub(super) async fn update(
    transaction: &mut PgConnection,
    before: &SharedState,
    after: &SharedState,
    replica: &str,
    charged_on: Option<Day>,
) -> Result<(), Failure> {
    bind_update(sqlx::query(UPDATE), before, after, replica)?
        .execute(&mut *transaction)
        .await?;
    let old = Head::from(&before.snapshot);
    books::moved(transaction, &old, &after.snapshot, charged_on).await
}

/// Binds the parameters of [`set_state`]: the first thirteen.
pub(super) fn bind_update<'q>(
    query: Query<'q>,
    before: &SharedState,
    after: &SharedState,
    replica: &'q str,
) -> Result<Query<'q>, SharedError> {
    let begins_refund = after.refunding && !before.refunding;
    Ok(bind_state(query, after)?
        .bind(after.refunding)
        .bind(begins_refund.then_some(replica)))
}

pub(super) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_state<'q>(query: Query<'q>, state: &SharedState) -> Result<Query<'q>, SharedError> {
    let snapshot = &state.snapshot;
    Ok(query
        .bind(snapshot.id.0.to_vec())
        .bind(rows::stored(snapshot.version, "version")?)
        .bind(rows::snapshot_bytes(snapshot)?)
        .bind(snapshot.balance.to_string())
        .bind(snapshot.claimed.to_string())
        .bind(snapshot.charged.to_string())
        .bind(snapshot.ceiling().to_string())
        .bind(snapshot.charged > snapshot.claimed)
        .bind(rows::stored(state.next_number, "reservation")?)
        .bind(state.needs_view)
        .bind(rows::stored(state.view_floor.get(), "block time")?))
}

/// Of changes that reserve nothing.
const NO_ATTEMPT: [u8; 16] = [0; 16];

/// A refund of a replica that died may still be mined and take what later calls would be charged:
/// its channel stays closed until that is past believing, and then until the chain was read.
const LOCK: &str = "
SELECT state, next_number, needs_view, view_floor, refunding,
       refunding IS NOT NULL AND refund_since < clock_timestamp() - interval '10 minutes'
           AND NOT EXISTS (
               SELECT 1 FROM rialto_replicas r
               WHERE r.id = c.refunding AND r.lease_until > clock_timestamp()) AS abandoned
FROM rialto_channels c WHERE id = $1 FOR UPDATE OF c";

const IN_FLIGHT: &str = "
SELECT number, CAST(price AS text) AS price, attempt,
       EXISTS (SELECT 1 FROM rialto_replicas r
               WHERE r.id = f.replica AND r.lease_until > clock_timestamp()) AS alive
FROM rialto_in_flight f WHERE channel = $1";

const INSERT_CALL: &str = "
INSERT INTO rialto_in_flight (channel, number, price, replica, attempt)
VALUES ($1, $2, CAST($3 AS numeric), $4, $5)";

const INSERT: &str = "
INSERT INTO rialto_channels (id, version, state, balance, claimed, charged, ceiling, owing,
                             next_number, needs_view, view_floor, payer)
VALUES ($1, $2, $3, CAST($4 AS numeric), CAST($5 AS numeric), CAST($6 AS numeric),
        CAST($7 AS numeric), $8, $9, $10, $11, $12)
ON CONFLICT (id) DO NOTHING";

/// The state of a channel's row, from parameters that [`bind_update`] binds.
macro_rules! set_state {
    () => {
        "UPDATE rialto_channels SET version = $2, state = $3, balance = CAST($4 AS numeric),
    claimed = CAST($5 AS numeric), charged = CAST($6 AS numeric), ceiling = CAST($7 AS numeric),
    owing = $8, next_number = $9, needs_view = $10, view_floor = $11,
    refunding = CASE WHEN $12 THEN COALESCE($13, refunding) END,
    refund_since = CASE WHEN $12 THEN COALESCE(refund_since, clock_timestamp()) END
WHERE id = $1"
    };
}
pub(super) use set_state;

const UPDATE: &str = set_state!();
