//! What fuzz targets call: whatever a disk may return for the ledger's records and its log, with the
//! properties that must hold for all that is read. A broken property panics.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: the loop
//! that makes inputs (`fuzz/`).

use rialto_channels::payee::ChannelSnapshot;
use rialto_channels::receipt::SignedReceipt;

use crate::codec::{
    AccountRow, AnswerRow, ChannelRow, FlowsRow, PaymentRow, ReceiptRow, RecordRow, Row, TotalsRow,
    decode, encode,
};
use crate::{StoredAnswer, Totals};

/// A record, after a byte that picks its kind: what is read is what is written again, as it lies on
/// disk and by way of the ledger's own types.
pub fn ledger_rows(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 8 {
        0 => survives::<ChannelRow>(bytes, |row| {
            let snapshot = ChannelSnapshot::try_from(row).ok()?;
            Some(ChannelRow::from(&snapshot))
        }),
        1 => survives::<ReceiptRow>(bytes, |row| {
            let signed = SignedReceipt::try_from(row).ok()?;
            Some(ReceiptRow::from(&signed))
        }),
        2 => survives::<RecordRow>(bytes, |row| {
            let key = row.key;
            let signed = row.into_receipt().ok()?;
            Some(RecordRow::new(key, &signed))
        }),
        3 => survives::<AnswerRow>(bytes, |row| Some((&StoredAnswer::from(row)).into())),
        4 => survives::<TotalsRow>(bytes, |row| Some((&Totals::from(row)).into())),
        5 => survives::<PaymentRow>(bytes, Some),
        6 => survives::<AccountRow>(bytes, |row| {
            let (debit, credit) = row.into_parts();
            Some(AccountRow::new(debit, credit))
        }),
        _ => {
            // Sums of flows that this version does not know are left out, so only what it writes
            // survives.
            let Ok(row) = decode::<FlowsRow>(bytes) else {
                return;
            };
            let (receiver, token, flows) = row.into_parts();
            let written = on_disk(&FlowsRow::new(receiver, token, &flows));
            match decode::<FlowsRow>(&written) {
                Ok(again) => assert_eq!(again.into_parts(), (receiver, token, flows)),
                Err(error) => panic!("our own record is refused: {error:?}"),
            }
        }
    }
}

/// The write-ahead log: see its own module.
pub fn ledger_log(data: &[u8]) {
    crate::embedded::fuzz_log(data);
}

/// `again` is the row by way of the ledger's types; `None` where those refuse it.
fn survives<R: Row>(bytes: &[u8], again: impl Fn(R) -> Option<R>) {
    let Ok(row) = decode::<R>(bytes) else {
        return;
    };
    let written = on_disk(&row);
    assert!(written.len() <= bytes.len());
    let Ok(row) = decode::<R>(&written) else {
        panic!("our own record is refused");
    };
    assert_eq!(on_disk(&row), written);
    if let Some(again) = again(row) {
        assert_eq!(on_disk(&again), written);
    }
}

fn on_disk<R: Row>(row: &R) -> Vec<u8> {
    match encode(row) {
        Ok(bytes) => bytes,
        Err(error) => panic!("a record cannot be written: {error:?}"),
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive() {
        replay::seeds("ledger_rows", ledger_rows);
    }

    #[test]
    fn a_log_gives_back_what_is_whole() {
        replay::seeds("ledger_log", ledger_log);
    }
}
