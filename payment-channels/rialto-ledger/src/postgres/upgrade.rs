//! What older tables lack and their records tell: whose channels are, which receipts follow each
//! other, and the books. In one transaction with the new format's number.
//!
//! Format 1 kept no journal: what each channel and receiver came to is entered on the day of the
//! upgrade.

use rialto_channels::Amount;
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{books, fault::Failure, rows};
use crate::{head::Head, journal::Flow};

/// Fills what format 2 added.
pub(super) async fn fill(transaction: &mut PgConnection) -> Result<(), Failure> {
    channels(transaction).await?;
    receipts(transaction).await?;
    settlements(transaction).await
}

async fn channels(transaction: &mut PgConnection) -> Result<(), Failure> {
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = page(transaction, CHANNELS, &mut after).await?;
        if page.is_empty() {
            return Ok(());
        }
        for row in &page {
            let channel = rows::snapshot(row.try_get("state")?)?;
            sqlx::query("UPDATE rialto_channels SET payer = $2 WHERE id = $1")
                .bind(channel.id.0.as_slice())
                .bind(channel.config.payer.as_slice())
                .execute(&mut *transaction)
                .await?;
            books::moved(transaction, &Head::default(), &channel, None).await?;
        }
    }
}

async fn receipts(transaction: &mut PgConnection) -> Result<(), Failure> {
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = page(transaction, RECEIPTS, &mut after).await?;
        if page.is_empty() {
            return Ok(());
        }
        for row in &page {
            let receipt = rows::receipt(row.try_get("signed")?)?.receipt;
            let Some(channel) = receipt.channel else {
                let whose = (receipt.provider, receipt.token);
                let (id, amount) = (&receipt.id, receipt.charged);
                books::add_outside(transaction, whose, None, id, Flow::Exact, amount).await?;
                continue;
            };
            sqlx::query(
                "UPDATE rialto_receipts
                 SET channel = $2, charged_before = CAST($3 AS numeric) WHERE id = $1",
            )
            .bind(receipt.id.as_slice())
            .bind(channel.0.as_slice())
            .bind(receipt.before.to_string())
            .execute(&mut *transaction)
            .await?;
        }
    }
}

async fn settlements(transaction: &mut PgConnection) -> Result<(), Failure> {
    let found = sqlx::query(
        "SELECT transaction, receiver, token, CAST(amount AS text) AS amount
         FROM rialto_movements WHERE kind = 2",
    )
    .fetch_all(&mut *transaction)
    .await?;
    for row in &found {
        let whose = (
            rows::address(row, "receiver")?,
            rows::address(row, "token")?,
        );
        let hash = rows::hash(row, "transaction")?;
        let amount: Amount = rows::amount(row, "amount")?;
        books::add_outside(transaction, whose, None, &hash, Flow::Settled, amount).await?;
    }
    Ok(())
}

/// The rows behind the place `after`, which is moved behind them.
async fn page(
    transaction: &mut PgConnection,
    query: &'static str,
    after: &mut Vec<u8>,
) -> Result<Vec<PgRow>, Failure> {
    let page = sqlx::query(query)
        .bind(&*after)
        .fetch_all(transaction)
        .await?;
    if let Some(last) = page.last() {
        *after = last.try_get("id")?;
    }
    Ok(page)
}

const CHANNELS: &str = "SELECT id, state FROM rialto_channels WHERE id > $1 ORDER BY id LIMIT 1000";
const RECEIPTS: &str =
    "SELECT id, signed FROM rialto_receipts WHERE id > $1 ORDER BY id LIMIT 1000";
