//! Charging: the payment's record, its receipt, its answer and the channel after it become durable
//! together (M4), and only if the execution is still this replica's (M5).

use rialto_channels::{Amount, ChannelId, payee::PayeeChannel};
use sqlx::{PgConnection, Row};

use super::{
    Execution, SharedError, SharedLedger, books,
    change::{self, Open, Query, set_state},
    fault::{Failure, Patience},
    read, rows,
};
use crate::{
    PaymentRecord, StoredAnswer,
    head::{Head, flows},
    journal::{Day, Flow},
};

/// What came of a charge.
#[derive(Debug)]
pub enum Charged<E> {
    /// It is made and durable; the channel after it, if it is on one.
    Now {
        /// What was recorded.
        payment: Box<PaymentRecord>,
        /// The channel afterwards, calls of all replicas included.
        channel: Option<Box<PayeeChannel>>,
    },
    /// The state machine refused; nothing is charged.
    Refused(E),
    /// The payment is recorded already, by an earlier try of this charge or by another replica: this
    /// is its record.
    Before(Box<PaymentRecord>),
    /// Another replica executes the payment: this one gave no sign for too long. Nothing is charged
    /// here.
    TakenOver,
}

impl SharedLedger {
    /// Charges on a channel: `work` commits the execution's reservation and returns the record to
    /// store. It may be called again, on the channel as it is then, and must find its reservation
    /// by [`Execution::reservation`]; where a lost lease took it away, `work` decides anew.
    ///
    /// # Errors
    /// [`SharedError`]; whether it is charged is unknown only after [`SharedError::Unavailable`],
    /// and then the same payment finds out.
    pub async fn charge<E: Send>(
        &self,
        execution: &mut Execution,
        channel: ChannelId,
        in_flight_max: usize,
        mut work: impl FnMut(&mut PayeeChannel) -> Result<PaymentRecord, E> + Send,
    ) -> Result<Charged<E>, SharedError> {
        let mut backoff = self.backoff(Patience::AfterWork);
        loop {
            let charged = self
                .try_charge(execution, channel, in_flight_max, &mut work)
                .await;
            match charged {
                Ok(charged) => return Ok(finish(execution, charged)),
                Err(failure) => backoff.again(failure).await?,
            }
        }
    }

    /// Records a payment outside channels (`exact`).
    ///
    /// # Errors
    /// As for [`SharedLedger::charge`].
    pub async fn record(
        &self,
        execution: &mut Execution,
        payment: &PaymentRecord,
    ) -> Result<Charged<SharedError>, SharedError> {
        let mut backoff = self.backoff(Patience::AfterWork);
        loop {
            match self.try_record(execution, payment).await {
                Ok(charged) => return Ok(finish(execution, charged)),
                Err(failure) => backoff.again(failure).await?,
            }
        }
    }

    async fn try_charge<E: Send>(
        &self,
        execution: &Execution,
        channel: ChannelId,
        in_flight_max: usize,
        work: &mut (impl FnMut(&mut PayeeChannel) -> Result<PaymentRecord, E> + Send),
    ) -> Result<Charged<E>, Failure> {
        let mut transaction = self.pool().begin().await?;
        let mut open = Open::lock(&mut transaction, channel, in_flight_max, None).await?;
        let payment = match work(&mut open.channel) {
            Ok(payment) => payment,
            // Perhaps only because another replica was paid already.
            Err(refused) => {
                let other = other(&mut transaction, execution).await?;
                return Ok(other.map_or(Charged::Refused(refused), Other::charged));
            }
        };
        if !self
            .pay(&mut transaction, execution, &open, &payment)
            .await?
        {
            let other = other(&mut transaction, execution).await?;
            return Ok(other.unwrap_or(Other::Running).charged());
        }
        transaction.commit().await?;
        Ok(Charged::Now {
            payment: Box::new(payment),
            channel: Some(Box::new(open.channel)),
        })
    }

    /// Writes all that a charge changes, in one statement; false, and nothing is to be kept, if the
    /// payment is not this execution's any more.
    async fn pay(
        &self,
        transaction: &mut PgConnection,
        execution: &Execution,
        open: &Open,
        payment: &PaymentRecord,
    ) -> Result<bool, Failure> {
        let after = open.channel.share();
        let channel = &after.snapshot;
        let (charged, others): (Vec<_>, Vec<_>) =
            flows(&Head::from(&open.before.snapshot), &Head::from(channel))
                .partition(|(flow, _)| *flow == Flow::Charged);
        let charged = charged.first().map_or(Amount::ZERO, |(_, amount)| *amount);
        let query = sqlx::query(PAY);
        let query = change::bind_update(query, &open.before, &after, self.replica())?;
        let paid = self
            .bind_payment(query, execution, payment)?
            .bind(open.gone(&after)?)
            .bind(channel.config.receiver.as_slice())
            .bind(channel.config.token.as_slice())
            .bind(charged.to_string())
            .fetch_one(&mut *transaction)
            .await?;
        if rows::number(&paid, "paid")? == 0 {
            return Ok(false);
        }
        open.store_new_calls(transaction, &after, self.replica(), execution.attempt())
            .await?;
        for (flow, amount) in others {
            books::add_on_channel(transaction, channel, None, flow, amount).await?;
        }
        Ok(true)
    }

    async fn try_record<E>(
        &self,
        execution: &Execution,
        payment: &PaymentRecord,
    ) -> Result<Charged<E>, Failure> {
        let receipt = &payment.receipt.receipt;
        let mut connection = self.pool().acquire().await?;
        // One statement, so it needs no transaction around it.
        let paid = self
            .bind_payment(sqlx::query(PAY_OUTSIDE), execution, payment)?
            .bind(books::part(&receipt.id))
            .fetch_one(&mut *connection)
            .await?;
        if rows::number(&paid, "paid")? == 0 {
            let other = other(&mut connection, execution).await?;
            return Ok(other.unwrap_or(Other::Running).charged());
        }
        Ok(Charged::Now {
            payment: Box::new(payment.clone()),
            channel: None,
        })
    }

    /// Binds the ten parameters of a payment.
    fn bind_payment<'q>(
        &self,
        query: Query<'q>,
        execution: &'q Execution,
        payment: &'q PaymentRecord,
    ) -> Result<Query<'q>, SharedError> {
        let receipt = &payment.receipt.receipt;
        let answer = kept(payment, self.inner.config.answer_bytes_max);
        let answer = answer.map(rows::answer_bytes).transpose()?;
        Ok(query
            .bind(&execution.key()[..])
            .bind(&execution.attempt()[..])
            .bind(receipt.id.as_slice())
            .bind(rows::receipt_bytes(&payment.receipt)?)
            .bind(receipt.provider.as_slice())
            .bind(receipt.token.as_slice())
            .bind(receipt.charged.to_string())
            .bind(receipt.before.to_string())
            .bind(answer)
            .bind(i64::from(Day::of_unix_secs(receipt.issued_at).0)))
    }
}

fn finish<E>(execution: &mut Execution, charged: Charged<E>) -> Charged<E> {
    if matches!(charged, Charged::Now { .. } | Charged::Before(_)) {
        execution.done();
    }
    charged
}

/// Whose a payment is, if it is not this execution's.
enum Other {
    Done(Box<PaymentRecord>),
    Running,
}

impl Other {
    fn charged<E>(self) -> Charged<E> {
        match self {
            Self::Done(record) => Charged::Before(record),
            Self::Running => Charged::TakenOver,
        }
    }
}

/// Whose the payment is now, if it is not this execution's.
async fn other(
    connection: &mut PgConnection,
    execution: &Execution,
) -> Result<Option<Other>, Failure> {
    let row = sqlx::query("SELECT done, attempt FROM rialto_payments WHERE key = $1")
        .bind(&execution.key()[..])
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(Some(Other::Running));
    };
    if row.try_get("done")? {
        let record = read::payment(connection, execution.key()).await?;
        let record = record.ok_or(SharedError::Malformed("payment"))?;
        return Ok(Some(Other::Done(Box::new(record))));
    }
    let own = row.try_get::<&[u8], _>("attempt")? == execution.attempt();
    Ok((!own).then_some(Other::Running))
}

/// The answer, if it is small enough to be kept.
pub(super) fn kept(payment: &PaymentRecord, bytes_max: usize) -> Option<&StoredAnswer> {
    let answer = payment.answer.as_ref();
    answer.filter(|answer| answer.body.len() <= bytes_max)
}

/// Everything of a charge at once: a round trip costs more than the writes. Each part but the first
/// depends on it: nothing is done for a payment that is not this execution's. What is in the journal
/// is the flow `Charged`, on the day of the receipt.
const PAY: &str = concat!(
    "
WITH paid AS (
    UPDATE rialto_payments SET done = true, receipt = $16
    WHERE key = $14 AND NOT done AND attempt = $15
    RETURNING key
), stated AS (
    ",
    set_state!(),
    "
), freed AS (
    DELETE FROM rialto_in_flight WHERE channel = $1 AND number = ANY($24)
), proved AS (
    INSERT INTO rialto_receipts (id, signed, provider, token, on_channel, charged,
                                 charged_before, channel)
    SELECT CAST($16 AS bytea), CAST($17 AS bytea), CAST($18 AS bytea), CAST($19 AS bytea), true,
           CAST($20 AS numeric), CAST($21 AS numeric), CAST($1 AS bytea)
    FROM paid
), answered AS (
    INSERT INTO rialto_answers (payment, answer)
    SELECT key, CAST($22 AS bytea) FROM paid WHERE CAST($22 AS bytea) IS NOT NULL
), booked AS (
    INSERT INTO rialto_journal (day, outside, channel, receiver, token, flow, part, amount)
    SELECT CAST($23 AS bigint), false, CAST($1 AS bytea), CAST($25 AS bytea), CAST($26 AS bytea),
           2, 0, CAST($27 AS numeric)
    FROM paid WHERE CAST($27 AS numeric) > 0
    ON CONFLICT (day, outside, channel, receiver, token, flow, part)
    DO UPDATE SET amount = rialto_journal.amount + excluded.amount
)
SELECT COUNT(*) AS paid FROM paid"
);

/// As [`PAY`], without a channel; in the journal as the flow `Exact`.
const PAY_OUTSIDE: &str = "
WITH paid AS (
    UPDATE rialto_payments SET done = true, receipt = $3
    WHERE key = $1 AND NOT done AND attempt = $2
    RETURNING key
), proved AS (
    INSERT INTO rialto_receipts (id, signed, provider, token, on_channel, charged,
                                 charged_before)
    SELECT CAST($3 AS bytea), CAST($4 AS bytea), CAST($5 AS bytea), CAST($6 AS bytea), false,
           CAST($7 AS numeric), CAST($8 AS numeric)
    FROM paid
), answered AS (
    INSERT INTO rialto_answers (payment, answer)
    SELECT key, CAST($9 AS bytea) FROM paid WHERE CAST($9 AS bytea) IS NOT NULL
), booked AS (
    INSERT INTO rialto_journal (day, outside, channel, receiver, token, flow, part, amount)
    SELECT CAST($10 AS bigint), true, CAST('' AS bytea), CAST($5 AS bytea), CAST($6 AS bytea),
           8, CAST($11 AS smallint), CAST($7 AS numeric)
    FROM paid WHERE CAST($7 AS numeric) > 0
    ON CONFLICT (day, outside, channel, receiver, token, flow, part)
    DO UPDATE SET amount = rialto_journal.amount + excluded.amount
)
SELECT COUNT(*) AS paid FROM paid";
