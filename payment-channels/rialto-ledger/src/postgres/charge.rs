//! Charging: the payment's record, its receipt, its answer and the channel after it become durable
//! together (M4), and only if the execution is still this replica's (M5).

use rialto_channels::{ChannelId, payee::PayeeChannel};
use sqlx::{PgConnection, Row};

use super::{
    Execution, SharedError, SharedLedger,
    change::Open,
    fault::{Failure, Patience},
    read, rows,
};
use crate::PaymentRecord;

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
        if let Some(other) = check_own(&mut transaction, execution).await? {
            return Ok(other.charged());
        }
        let payment = match work(&mut open.channel) {
            Ok(payment) => payment,
            Err(refused) => return Ok(Charged::Refused(refused)),
        };
        self.put_payment(&mut transaction, execution, &payment)
            .await?;
        open.store(&mut transaction, self.replica(), execution.attempt())
            .await?;
        transaction.commit().await?;
        Ok(Charged::Now {
            payment: Box::new(payment),
            channel: Some(Box::new(open.channel)),
        })
    }

    async fn try_record<E>(
        &self,
        execution: &Execution,
        payment: &PaymentRecord,
    ) -> Result<Charged<E>, Failure> {
        let mut transaction = self.pool().begin().await?;
        if let Some(other) = check_own(&mut transaction, execution).await? {
            return Ok(other.charged());
        }
        self.put_payment(&mut transaction, execution, payment)
            .await?;
        transaction.commit().await?;
        Ok(Charged::Now {
            payment: Box::new(payment.clone()),
            channel: None,
        })
    }

    async fn put_payment(
        &self,
        transaction: &mut PgConnection,
        execution: &Execution,
        payment: &PaymentRecord,
    ) -> Result<(), Failure> {
        put_receipt(transaction, payment).await?;
        put_answer(transaction, payment, self.inner.config.answer_bytes_max).await?;
        sqlx::query("UPDATE rialto_payments SET done = true, receipt = $2 WHERE key = $1")
            .bind(&execution.key()[..])
            .bind(payment.receipt.receipt.id.as_slice())
            .execute(transaction)
            .await?;
        Ok(())
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

/// Locks the payment's row and checks that it is still this execution's.
async fn check_own(
    transaction: &mut PgConnection,
    execution: &Execution,
) -> Result<Option<Other>, Failure> {
    let row = sqlx::query("SELECT done, attempt FROM rialto_payments WHERE key = $1 FOR UPDATE")
        .bind(&execution.key()[..])
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(row) = row else {
        return Ok(Some(Other::Running));
    };
    if row.try_get("done")? {
        let record = read::payment(transaction, execution.key()).await?;
        let record = record.ok_or(SharedError::Malformed("payment"))?;
        return Ok(Some(Other::Done(Box::new(record))));
    }
    let own = row.try_get::<&[u8], _>("attempt")? == execution.attempt();
    Ok((!own).then_some(Other::Running))
}

pub(super) async fn put_receipt(
    transaction: &mut PgConnection,
    payment: &PaymentRecord,
) -> Result<(), Failure> {
    let receipt = &payment.receipt.receipt;
    sqlx::query(
        "INSERT INTO rialto_receipts (id, signed, provider, token, on_channel, charged)
         VALUES ($1, $2, $3, $4, $5, CAST($6 AS numeric))",
    )
    .bind(receipt.id.as_slice())
    .bind(rows::receipt_bytes(&payment.receipt)?)
    .bind(receipt.provider.as_slice())
    .bind(receipt.token.as_slice())
    .bind(receipt.channel.is_some())
    .bind(receipt.charged.to_string())
    .execute(transaction)
    .await?;
    Ok(())
}

pub(super) async fn put_answer(
    transaction: &mut PgConnection,
    payment: &PaymentRecord,
    bytes_max: usize,
) -> Result<(), Failure> {
    let kept = payment.answer.as_ref();
    let Some(answer) = kept.filter(|answer| answer.body.len() <= bytes_max) else {
        return Ok(());
    };
    sqlx::query("INSERT INTO rialto_answers (payment, answer) VALUES ($1, $2)")
        .bind(&payment.key[..])
        .bind(rows::answer_bytes(answer)?)
        .execute(transaction)
        .await?;
    Ok(())
}
