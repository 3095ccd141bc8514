//! What the ledger refuses, and that a refused entry leaves no trace.

use alloy_primitives::{Address, B256};
use redb::TableDefinition;
use rialto_channels::{Amount, payee::ChannelSnapshot};
use rialto_ledger::{CommitError, Config, Entry, ExactNonce, Ledger, Movement, OpenError};

use crate::fixture::{self, Till, exact};

fn open() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    (dir, ledger)
}

fn put(ledger: &Ledger, entry: Entry) -> Result<(), CommitError> {
    ledger.enqueue(entry).unwrap().wait()
}

#[test]
fn a_payment_is_stored_once() {
    let (_dir, ledger) = open();
    let mut till = Till::new(1);
    let (first, payment) = till.charge(40);
    put(
        &ledger,
        Entry::Charge {
            snapshot: Some(first.clone()),
            payment: payment.clone(),
        },
    )
    .unwrap();
    let totals = ledger.totals().unwrap();
    // M5: the same key with a later state of the channel: nothing of the entry is kept.
    let (second, other) = till.charge(40);
    let same_key = rialto_ledger::PaymentRecord {
        key: payment.key,
        ..other.clone()
    };
    let entry = Entry::Charge {
        snapshot: Some(second.clone()),
        payment: same_key,
    };
    assert!(matches!(
        put(&ledger, entry),
        Err(CommitError::DuplicatePayment)
    ));
    // Nor the same receipt under another key.
    let same_receipt = rialto_ledger::PaymentRecord {
        receipt: payment.receipt.clone(),
        ..other.clone()
    };
    let entry = Entry::Charge {
        snapshot: Some(second.clone()),
        payment: same_receipt,
    };
    assert!(matches!(
        put(&ledger, entry),
        Err(CommitError::DuplicatePayment)
    ));
    assert_eq!(ledger.channel(&first.id).unwrap(), Some(first));
    assert_eq!(ledger.totals().unwrap(), totals);
    assert_eq!(ledger.payment(&other.key).unwrap(), None);
    // The ledger is not poisoned by a refusal.
    put(
        &ledger,
        Entry::Charge {
            snapshot: Some(second),
            payment: other,
        },
    )
    .unwrap();
}

#[test]
fn an_older_state_never_overwrites_a_newer() {
    let (_dir, ledger) = open();
    let mut till = Till::new(1);
    let (older, early) = till.charge(40);
    let (newer, late) = till.charge(30);
    put(
        &ledger,
        Entry::Charge {
            snapshot: Some(newer.clone()),
            payment: late,
        },
    )
    .unwrap();
    put(&ledger, Entry::Channel(older.clone())).unwrap();
    assert_eq!(ledger.channel(&newer.id).unwrap().as_ref(), Some(&newer));
    // A charge whose state is already covered keeps its payment.
    put(
        &ledger,
        Entry::Charge {
            snapshot: Some(older),
            payment: early.clone(),
        },
    )
    .unwrap();
    assert_eq!(ledger.channel(&newer.id).unwrap(), Some(newer));
    assert!(ledger.payment(&early.key).unwrap().is_some());
}

#[test]
fn two_histories_of_one_channel_are_a_conflict() {
    let (_dir, ledger) = open();
    let mut till = Till::new(1);
    let (snapshot, payment) = till.charge(40);
    put(
        &ledger,
        Entry::Charge {
            snapshot: Some(snapshot.clone()),
            payment,
        },
    )
    .unwrap();
    let check = |changed: ChannelSnapshot| {
        let outcome = put(&ledger, Entry::Channel(changed));
        assert!(matches!(outcome, Err(CommitError::Conflict(id)) if id == snapshot.id));
        assert_eq!(
            ledger.channel(&snapshot.id).unwrap().as_ref(),
            Some(&snapshot)
        );
    };
    // A state that was not restored starts over with a lower version and its own charges.
    check(ChannelSnapshot {
        version: 1,
        charged: Amount::new(41),
        ..snapshot.clone()
    });
    check(ChannelSnapshot {
        charged: Amount::new(41),
        ..snapshot.clone()
    });
    check(ChannelSnapshot {
        version: 99,
        charged: Amount::new(39),
        ..snapshot.clone()
    });
}

#[test]
fn an_authorization_is_used_once() {
    let (_dir, ledger) = open();
    let nonce = ExactNonce {
        token: fixture::token(),
        payer: Address::repeat_byte(1),
        nonce: B256::repeat_byte(1),
    };
    put(&ledger, Entry::Nonce(nonce)).unwrap();
    assert!(matches!(
        put(&ledger, Entry::Nonce(nonce)),
        Err(CommitError::NonceUsed)
    ));
    put(
        &ledger,
        Entry::Nonce(ExactNonce {
            payer: Address::ZERO,
            ..nonce
        }),
    )
    .unwrap();
}

#[test]
fn sums_never_wrap() {
    let (_dir, ledger) = open();
    let huge = |number| Entry::Charge {
        snapshot: None,
        payment: exact(number, u128::MAX),
    };
    put(&ledger, huge(1)).unwrap();
    assert!(matches!(put(&ledger, huge(2)), Err(CommitError::Overflow)));
    assert_eq!(
        ledger.payment(&exact(2, 0).key).unwrap(),
        None,
        "nothing of it is kept"
    );
    let movement = Movement {
        transaction: B256::ZERO,
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::MAX,
    };
    put(&ledger, Entry::Claimed(movement)).unwrap();
    let next = Movement {
        transaction: B256::repeat_byte(1),
        ..movement
    };
    assert!(matches!(
        put(&ledger, Entry::Claimed(next)),
        Err(CommitError::Overflow)
    ));
}

#[test]
fn a_ledger_is_opened_by_one_process() {
    let (dir, _ledger) = open();
    let again = Ledger::open(dir.path(), Config::default());
    assert!(matches!(again, Err(OpenError::InUse)), "{again:?}");
}

#[test]
fn a_file_of_another_format_is_refused() {
    let check = |write: fn(&redb::Database), expected: fn(&OpenError) -> bool| {
        let dir = tempfile::tempdir().unwrap();
        let db = redb::Database::create(dir.path().join("ledger.redb")).unwrap();
        write(&db);
        drop(db);
        let error = Ledger::open(dir.path(), Config::default()).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    check(
        |db| {
            let transaction = db.begin_write().unwrap();
            let meta = TableDefinition::<&str, u64>::new("meta");
            transaction
                .open_table(meta)
                .unwrap()
                .insert("format", 3)
                .unwrap();
            transaction.commit().unwrap();
        },
        |error| {
            matches!(
                error,
                OpenError::UnknownFormat {
                    found: 3,
                    supported: 2
                }
            )
        },
    );
    check(
        |db| {
            let transaction = db.begin_write().unwrap();
            let other = TableDefinition::<&str, u64>::new("recipes");
            transaction
                .open_table(other)
                .unwrap()
                .insert("soup", 1)
                .unwrap();
            transaction.commit().unwrap();
        },
        |error| matches!(error, OpenError::NotALedger),
    );
}

#[test]
fn a_file_that_is_no_database_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    std::fs::write(&path, b"not a database").unwrap();
    let error = Ledger::open(dir.path(), Config::default()).unwrap_err();
    assert!(matches!(error, OpenError::Storage(_)), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database");
}

#[test]
fn a_half_made_file_of_a_killed_process_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ledger.redb.new"), [0; 4096]).unwrap();
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    put(&ledger, Till::new(1).charge_entry(1)).unwrap();
    drop(ledger);
    let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
    assert_eq!(ledger.channels().unwrap().len(), 1);
    assert!(!dir.path().join("ledger.redb.new").exists());
}
