//! Stored answers are bounded; receipts are not lost with them.

use rialto_ledger::{Config, Entry, Ledger, PaymentRecord};

use crate::fixture::{answer, exact};

fn put(ledger: &Ledger, number: u64, bytes: usize) -> PaymentRecord {
    let payment = PaymentRecord {
        answer: Some(answer(&vec![1; bytes])),
        ..exact(number, 1)
    };
    let entry = Entry::Charge {
        snapshot: None,
        payment: payment.clone(),
    };
    ledger.enqueue(entry).unwrap().wait().unwrap();
    payment
}

fn kept(ledger: &Ledger, payments: &[PaymentRecord]) -> Vec<bool> {
    payments
        .iter()
        .map(|payment| {
            let stored = ledger.payment(&payment.key).unwrap().unwrap();
            assert_eq!(
                stored.receipt, payment.receipt,
                "the receipt is always kept"
            );
            assert!(stored.answer.is_none() || stored.answer == payment.answer);
            stored.answer.is_some()
        })
        .collect()
}

#[test]
fn the_oldest_answers_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        answers_max: 2,
        ..Config::default()
    };
    let ledger = Ledger::open(dir.path(), config).unwrap();
    let mut payments: Vec<_> = (0..4).map(|number| put(&ledger, number, 10)).collect();
    assert_eq!(kept(&ledger, &payments), [false, false, true, true]);
    drop(ledger);
    // The count goes on where it was.
    let ledger = Ledger::open(dir.path(), config).unwrap();
    payments.push(put(&ledger, 4, 10));
    assert_eq!(kept(&ledger, &payments), [false, false, false, true, true]);
}

#[test]
fn bytes_are_bounded_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        answers_bytes_max: 1000,
        ..Config::default()
    };
    let ledger = Ledger::open(dir.path(), config).unwrap();
    let payments: Vec<_> = (0..3).map(|number| put(&ledger, number, 400)).collect();
    assert_eq!(kept(&ledger, &payments), [false, true, true]);
}

#[test]
fn a_large_answer_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        answer_bytes_max: 100,
        ..Config::default()
    };
    let ledger = Ledger::open(dir.path(), config).unwrap();
    let payments = [put(&ledger, 1, 100), put(&ledger, 2, 101)];
    assert_eq!(kept(&ledger, &payments), [true, false]);
}
