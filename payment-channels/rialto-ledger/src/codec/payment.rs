//! The records of payments, stored answers and totals.

use alloy_primitives::Address;
use rialto_channels::Amount;
use serde::{Deserialize, Serialize};

use super::Row;
use crate::{StoredAnswer, Totals};

/// Version 1 of a payment: where its receipt and its answer are.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PaymentRow {
    pub(crate) receipt: [u8; 32],
    pub(crate) answer: Option<u64>,
}

impl Row for PaymentRow {
    const NAME: &'static str = "payment";
    const VERSION: u8 = 1;
}

/// Version 1 of a stored answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AnswerRow {
    content_type: String,
    body: Vec<u8>,
}

impl Row for AnswerRow {
    const NAME: &'static str = "answer";
    const VERSION: u8 = 1;
}

impl From<&StoredAnswer> for AnswerRow {
    fn from(answer: &StoredAnswer) -> Self {
        Self {
            content_type: answer.content_type.clone(),
            body: answer.body.clone(),
        }
    }
}

impl From<AnswerRow> for StoredAnswer {
    fn from(row: AnswerRow) -> Self {
        Self {
            content_type: row.content_type,
            body: row.body,
        }
    }
}

/// Version 1 of the sums of one receiver and token.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TotalsRow {
    receiver: [u8; 20],
    token: [u8; 20],
    charged: u128,
    exact: u128,
    claimed: u128,
    settled: u128,
    refunded: u128,
}

impl Row for TotalsRow {
    const NAME: &'static str = "totals";
    const VERSION: u8 = 1;
}

impl From<&Totals> for TotalsRow {
    fn from(totals: &Totals) -> Self {
        Self {
            receiver: totals.receiver.into(),
            token: totals.token.into(),
            charged: totals.charged.get(),
            exact: totals.exact.get(),
            claimed: totals.claimed.get(),
            settled: totals.settled.get(),
            refunded: totals.refunded.get(),
        }
    }
}

impl From<TotalsRow> for Totals {
    fn from(row: TotalsRow) -> Self {
        Self {
            receiver: Address::from(row.receiver),
            token: Address::from(row.token),
            charged: Amount::new(row.charged),
            exact: Amount::new(row.exact),
            claimed: Amount::new(row.claimed),
            settled: Amount::new(row.settled),
            refunded: Amount::new(row.refunded),
        }
    }
}
