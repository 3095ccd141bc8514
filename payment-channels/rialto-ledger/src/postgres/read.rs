//! Reading: always the last durable state.

use rialto_channels::{
    Address, Amount, B256, ChainTime, ChannelId,
    payee::{ChannelSnapshot, SharedState},
    receipt::SignedReceipt,
};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    SharedError, SharedLedger,
    fault::{Failure, Patience},
    rows,
};
use crate::{ExactNonce, PaymentRecord, Totals};

/// Tries a read until it is answered or not worth it.
macro_rules! reading {
    ($ledger:expr, |$connection:ident| $read:expr) => {{
        let ledger: &SharedLedger = $ledger;
        let mut backoff = ledger.backoff(Patience::BeforeWork);
        loop {
            let read = async {
                let mut $connection = ledger.pool().acquire().await?;
                Result::<_, Failure>::Ok($read)
            };
            match read.await {
                Ok(found) => return Ok(found),
                Err(failure) => backoff.again(failure).await?,
            }
        }
    }};
}

pub(super) use reading;

impl SharedLedger {
    /// The payment executed under this key, or `None` if there was none or it still runs (M5).
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn payment(&self, key: &[u8; 32]) -> Result<Option<PaymentRecord>, SharedError> {
        reading!(self, |connection| payment(&mut connection, key).await?)
    }

    /// The receipt of this id, or `None` if it is unknown.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn receipt(&self, id: &B256) -> Result<Option<SignedReceipt>, SharedError> {
        reading!(self, |connection| receipt(&mut connection, id.as_slice())
            .await?)
    }

    /// One channel, or `None` if it is unknown.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn channel(&self, id: &ChannelId) -> Result<Option<ChannelSnapshot>, SharedError> {
        reading!(self, |connection| {
            let row = sqlx::query("SELECT state FROM rialto_channels WHERE id = $1")
                .bind(id.0.as_slice())
                .fetch_optional(&mut *connection)
                .await?;
            match row {
                Some(row) => Some(rows::snapshot(row.try_get("state")?)?),
                None => None,
            }
        })
    }

    /// A channel with what only replicas tell each other, or `None` if it is unknown. Calls in
    /// flight are left out: this is for showing, and for telling whether the chain must be read.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn shared_state(&self, id: &ChannelId) -> Result<Option<SharedState>, SharedError> {
        reading!(self, |connection| {
            let row = sqlx::query(STATE)
                .bind(id.0.as_slice())
                .fetch_optional(&mut *connection)
                .await?;
            row.as_ref().map(shared_state).transpose()?
        })
    }

    /// Every channel, in the order of their ids.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn channels(&self) -> Result<Vec<ChannelSnapshot>, SharedError> {
        self.channels_after(None, usize::MAX).await
    }

    /// Up to `count_max` channels in the order of their ids, from the one after `after` on: for
    /// those who do not want a million of them in memory at once.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn channels_after(
        &self,
        after: Option<ChannelId>,
        count_max: usize,
    ) -> Result<Vec<ChannelSnapshot>, SharedError> {
        let after = after.map_or_else(Vec::new, |id| id.0.to_vec());
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        reading!(self, |connection| {
            let found = sqlx::query(CHANNELS)
                .bind(&after)
                .bind(count_max)
                .fetch_all(&mut *connection)
                .await?;
            found
                .iter()
                .map(|row| Ok(rows::snapshot(row.try_get("state")?)?))
                .collect::<Result<Vec<_>, Failure>>()?
        })
    }

    /// Shows every receipt to `visit`, those of a channel one after the other in the order of what was
    /// charged: for audits, which must not need the whole table in memory.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn visit_receipts(
        &self,
        mut visit: impl FnMut(SignedReceipt) + Send,
    ) -> Result<(), SharedError> {
        let mut place = Place::default();
        loop {
            let page = self.receipts_after(&place).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            place = last.clone();
            for (_, receipt) in page {
                visit(receipt);
            }
        }
    }

    async fn receipts_after(
        &self,
        place: &Place,
    ) -> Result<Vec<(Place, SignedReceipt)>, SharedError> {
        reading!(self, |connection| {
            let found = sqlx::query(RECEIPTS)
                .bind(&place.channel)
                .bind(place.before.to_string())
                .bind(&place.id)
                .fetch_all(&mut *connection)
                .await?;
            found
                .iter()
                .map(|row| {
                    let place = Place {
                        channel: row.try_get("channel")?,
                        before: rows::amount(row, "before")?,
                        id: row.try_get("id")?,
                    };
                    Ok((place, rows::receipt(row.try_get("signed")?)?))
                })
                .collect::<Result<Vec<_>, Failure>>()?
        })
    }

    /// The channels on which something is charged and not claimed, as [`SharedLedger::shared_state`]
    /// shows them.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn owing(&self) -> Result<Vec<SharedState>, SharedError> {
        reading!(self, |connection| {
            let found = sqlx::query(OWING).fetch_all(&mut *connection).await?;
            found
                .iter()
                .map(shared_state)
                .collect::<Result<Vec<_>, Failure>>()?
        })
    }

    /// Sum and number of the calls in flight on a channel, of replicas that live.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn in_flight(&self, id: &ChannelId) -> Result<(Amount, u64), SharedError> {
        reading!(self, |connection| {
            let row = sqlx::query(IN_FLIGHT)
                .bind(id.0.as_slice())
                .fetch_one(&mut *connection)
                .await?;
            (rows::amount(&row, "sum")?, rows::number(&row, "calls")?)
        })
    }

    /// Whether an `exact` authorization was used.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn nonce_used(&self, nonce: &ExactNonce) -> Result<bool, SharedError> {
        reading!(self, |connection| {
            let found = sqlx::query(
                "SELECT 1 FROM rialto_nonces WHERE token = $1 AND payer = $2 AND nonce = $3",
            )
            .bind(nonce.token.as_slice())
            .bind(nonce.payer.as_slice())
            .bind(nonce.nonce.as_slice())
            .fetch_optional(&mut *connection)
            .await?;
            found.is_some()
        })
    }

    /// The sums for each receiver and token, added up from receipts and movements: no row that
    /// every charge would have to lock.
    ///
    /// # Errors
    /// [`SharedError`]; [`SharedError::Malformed`] if a sum leaves `uint128` (M1).
    pub async fn totals(&self) -> Result<Vec<Totals>, SharedError> {
        reading!(self, |connection| totals(&mut connection).await?)
    }

    /// What is recorded as settled to this receiver, in base units. Reads the movements alone.
    ///
    /// # Errors
    /// [`SharedError`]; [`SharedError::Malformed`] if the sum leaves `uint128` (M1).
    pub async fn settled(&self, receiver: Address, token: Address) -> Result<Amount, SharedError> {
        reading!(self, |connection| {
            let row = sqlx::query(SETTLED)
                .bind(receiver.as_slice())
                .bind(token.as_slice())
                .fetch_one(&mut *connection)
                .await?;
            rows::amount(&row, "settled")?
        })
    }
}

/// Where a page of receipts ends. The default is before all.
#[derive(Clone, Debug, Default)]
struct Place {
    channel: Vec<u8>,
    before: Amount,
    id: Vec<u8>,
}

pub(super) fn shared_state(row: &PgRow) -> Result<SharedState, Failure> {
    Ok(SharedState {
        next_number: rows::number(row, "next_number")?,
        needs_view: row.try_get("needs_view")?,
        view_floor: ChainTime::new(rows::number(row, "view_floor")?),
        ..SharedState::at_rest(rows::snapshot(row.try_get("state")?)?)
    })
}

pub(super) async fn payment(
    connection: &mut PgConnection,
    key: &[u8; 32],
) -> Result<Option<PaymentRecord>, Failure> {
    let row = sqlx::query(PAYMENT)
        .bind(&key[..])
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let answer: Option<&[u8]> = row.try_get("answer")?;
    Ok(Some(PaymentRecord {
        key: *key,
        receipt: rows::receipt(row.try_get("signed")?)?,
        answer: answer.map(rows::answer).transpose()?,
    }))
}

async fn receipt(
    connection: &mut PgConnection,
    id: &[u8],
) -> Result<Option<SignedReceipt>, Failure> {
    let row = sqlx::query("SELECT signed FROM rialto_receipts WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    match row {
        Some(row) => Ok(Some(rows::receipt(row.try_get("signed")?)?)),
        None => Ok(None),
    }
}

async fn totals(connection: &mut PgConnection) -> Result<Vec<Totals>, Failure> {
    let found = sqlx::query(TOTALS).fetch_all(connection).await?;
    found
        .iter()
        .map(|row| {
            Ok(Totals {
                receiver: rows::address(row, "receiver")?,
                token: rows::address(row, "token")?,
                charged: rows::amount(row, "charged")?,
                exact: rows::amount(row, "exact")?,
                claimed: rows::amount(row, "claimed")?,
                settled: rows::amount(row, "settled")?,
                refunded: rows::amount(row, "refunded")?,
            })
        })
        .collect()
}

const PAYMENT: &str = "
SELECT r.signed, a.answer
FROM rialto_payments p
JOIN rialto_receipts r ON r.id = p.receipt
LEFT JOIN rialto_answers a ON a.payment = p.key
WHERE p.key = $1 AND p.done";

const CHANNELS: &str = "SELECT state FROM rialto_channels WHERE id > $1 ORDER BY id LIMIT $2";

/// Receipts of payments outside channels have an empty channel and come first. What is shown as text
/// has another name than its column: the order is that of the numbers.
const RECEIPTS: &str = "
SELECT channel, CAST(charged_before AS text) AS before, id, signed FROM rialto_receipts
WHERE (channel, charged_before, id) > ($1, CAST($2 AS numeric), $3)
ORDER BY channel, charged_before, id LIMIT 1000";

const STATE: &str =
    "SELECT state, next_number, needs_view, view_floor FROM rialto_channels WHERE id = $1";

const OWING: &str = "SELECT state, next_number, needs_view, view_floor FROM rialto_channels WHERE owing ORDER BY id";

const IN_FLIGHT: &str = "
SELECT CAST(COALESCE(SUM(price), 0) AS text) AS sum, COUNT(*) AS calls
FROM rialto_in_flight f WHERE channel = $1 AND EXISTS (
    SELECT 1 FROM rialto_replicas r WHERE r.id = f.replica AND r.lease_until > clock_timestamp())";

const SETTLED: &str = "
SELECT CAST(COALESCE(SUM(amount), 0) AS text) AS settled FROM rialto_movements
WHERE kind = 2 AND receiver = $1 AND token = $2";

/// Kinds are those of `write::Kind`; of payments that never came, none of these sums tells.
const TOTALS: &str = "
SELECT receiver, token,
       CAST(SUM(CASE WHEN kind = 0 THEN amount ELSE 0 END) AS text) AS charged,
       CAST(SUM(CASE WHEN kind = -1 THEN amount ELSE 0 END) AS text) AS exact,
       CAST(SUM(CASE WHEN kind = 1 THEN amount ELSE 0 END) AS text) AS claimed,
       CAST(SUM(CASE WHEN kind = 2 THEN amount ELSE 0 END) AS text) AS settled,
       CAST(SUM(CASE WHEN kind = 3 THEN amount ELSE 0 END) AS text) AS refunded
FROM (
    SELECT provider AS receiver, token, CASE WHEN on_channel THEN 0 ELSE -1 END AS kind,
           charged AS amount
    FROM rialto_receipts
    UNION ALL
    SELECT receiver, token, kind, amount FROM rialto_movements
) AS sums
GROUP BY receiver, token ORDER BY receiver, token";
