//! What is recorded, and that it is there after the ledger is opened again.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use rialto_channels::{
    Amount, ChainTime, Withdrawal, payee::ChannelSnapshot, receipt::SignedReceipt,
};
use rialto_ledger::{Config, Entry, ExactNonce, Ledger, Movement, Totals};

use crate::fixture::{self, Till, answer, exact, key_of, receipt_of};

fn movement(transaction: u8, amount: u128) -> Movement {
    Movement {
        transaction: B256::repeat_byte(transaction),
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::new(amount),
    }
}

#[tokio::test]
async fn payments_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    let (mut one, mut two) = (Till::new(1), Till::new(2));
    let entries = [
        one.charge_entry(90),
        two.charge_entry(80),
        one.charge_entry(70),
    ];
    for entry in &entries {
        ledger.commit(entry.clone()).await.unwrap();
    }
    drop(ledger);

    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    let mut expected = vec![one.channel.snapshot(), two.channel.snapshot()];
    expected.sort_by_key(|channel| channel.id);
    assert_eq!(ledger.channels().unwrap(), expected);
    assert_eq!(
        ledger.channel(&expected[0].id).unwrap().as_ref(),
        Some(&expected[0])
    );
    for entry in &entries {
        let Entry::Charge { payment, .. } = entry else {
            unreachable!()
        };
        assert_eq!(
            ledger.payment(&key_of(entry)).unwrap().as_ref(),
            Some(payment)
        );
        let receipt = receipt_of(entry);
        assert_eq!(ledger.receipt(&receipt.receipt.id).unwrap(), Some(receipt));
    }
    let mut seen = 0;
    let count = |signed: SignedReceipt| {
        assert_eq!(signed.verify(fixture::host().address()), Ok(()));
        seen += 1;
    };
    ledger.visit_receipts(count).unwrap();
    assert_eq!(seen, entries.len());
}

#[tokio::test]
async fn sums_and_used_authorizations_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    ledger.commit(Till::new(1).charge_entry(90)).await.unwrap();
    let paid = exact(1, 55);
    ledger
        .commit(Entry::Charge {
            snapshot: None,
            payment: paid.clone(),
        })
        .await
        .unwrap();
    let nonce = ExactNonce {
        token: fixture::token(),
        payer: Address::repeat_byte(1),
        nonce: B256::repeat_byte(1),
    };
    ledger.commit(Entry::Nonce(nonce)).await.unwrap();
    ledger
        .commit(Entry::Claimed(movement(1, 80)))
        .await
        .unwrap();
    ledger
        .commit(Entry::Settled(movement(1, 70)))
        .await
        .unwrap();
    ledger
        .commit(Entry::Refunded(movement(2, 40)))
        .await
        .unwrap();
    drop(ledger);

    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    assert_eq!(ledger.payment(&paid.key).unwrap(), Some(paid));
    assert!(ledger.nonce_used(&nonce).unwrap());
    assert!(
        !ledger
            .nonce_used(&ExactNonce {
                payer: Address::ZERO,
                ..nonce
            })
            .unwrap()
    );
    let totals = Totals {
        receiver: fixture::receiver(),
        token: fixture::token(),
        charged: Amount::new(90),
        exact: Amount::new(55),
        claimed: Amount::new(80),
        settled: Amount::new(70),
        refunded: Amount::new(40),
    };
    assert_eq!(ledger.totals().unwrap(), [totals]);
}

#[test]
fn an_empty_ledger_knows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("made/on/demand"), Config::default()).unwrap();
    assert!(ledger.channels().unwrap().is_empty());
    assert_eq!(ledger.payment(&[0; 32]).unwrap(), None);
    assert_eq!(ledger.receipt(&B256::ZERO).unwrap(), None);
    assert!(ledger.totals().unwrap().is_empty());
}

#[test]
fn entries_apply_in_the_order_of_queueing() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    let mut till = Till::new(1);
    let pending: Vec<_> = (0..500)
        .map(|_| ledger.enqueue(till.charge_entry(3)).unwrap())
        .collect();
    for waiting in pending {
        waiting.wait().unwrap();
    }
    let stored = ledger.channel(&till.channel.state().id).unwrap().unwrap();
    assert_eq!(stored, till.channel.snapshot());
    assert_eq!(stored.charged, Amount::new(1500));
    assert_eq!(ledger.totals().unwrap()[0].charged, Amount::new(1500));
}

/// Every optional part of a channel's record, there and not there.
#[test]
fn every_part_of_a_channel_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    let bare = Till::new(1).channel.snapshot();
    let mut till = Till::new(2);
    let (full, _) = till.charge(5);
    let full = ChannelSnapshot {
        withdrawal: Some(Withdrawal {
            amount: Amount::MAX,
            finalizes_at: ChainTime::new(u64::MAX),
        }),
        balance: Amount::MAX,
        ..full
    };
    for snapshot in [bare, full] {
        ledger
            .enqueue(Entry::Channel(snapshot.clone()))
            .unwrap()
            .wait()
            .unwrap();
        assert_eq!(ledger.channel(&snapshot.id).unwrap(), Some(snapshot));
    }
}

#[test]
fn a_dropped_waiter_does_not_take_its_entry_back() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    let entry = Till::new(1).charge_entry(5);
    drop(ledger.enqueue(entry.clone()).unwrap());
    drop(ledger);
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    assert!(ledger.payment(&key_of(&entry)).unwrap().is_some());
}

#[test]
fn a_movement_counts_once_however_often_it_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    for entry in [
        Entry::Claimed(movement(1, 10)),
        Entry::Claimed(movement(1, 10)),
        Entry::Claimed(movement(2, 5)),
        Entry::Settled(movement(1, 10)),
    ] {
        ledger.enqueue(entry).unwrap().wait().unwrap();
    }
    let totals = ledger.totals().unwrap()[0];
    assert_eq!(
        (totals.claimed, totals.settled),
        (Amount::new(15), Amount::new(10))
    );
}

#[test]
fn answers_of_any_bytes_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    let body: Vec<u8> = (0..=255).collect();
    let payment = rialto_ledger::PaymentRecord {
        answer: Some(answer(&body)),
        ..exact(1, 1)
    };
    let entry = Entry::Charge {
        snapshot: None,
        payment: payment.clone(),
    };
    ledger.enqueue(entry).unwrap().wait().unwrap();
    assert_eq!(ledger.payment(&payment.key).unwrap(), Some(payment));
}

#[test]
fn entries_get_into_the_tables_within_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        checkpoint_interval: Duration::from_millis(1),
        ..Config::default()
    };
    let ledger = Ledger::open(dir.path(), config).unwrap();
    let applied = ledger.timing().apply;
    ledger
        .enqueue(Till::new(1).charge_entry(1))
        .unwrap()
        .wait()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while ledger.timing().apply == applied {
        assert!(Instant::now() < deadline, "nobody moved it");
        std::thread::yield_now();
    }
}
