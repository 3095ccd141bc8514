//! A ledger that an earlier version wrote: opened, upgraded, and nothing of it lost.

use alloy_primitives::{Address, B256, U256};
use rialto_channels::Amount;
use rialto_ledger::{Account, CommitError, Config, Entry, ExactNonce, Ledger, Movement};

use crate::fixture::{self, Till, exact, key_of};

/// Written by version 0.1.0 (format 1); blocks of zeros are left out.
const FORMAT_1: &[u8] = include_bytes!("data/format-1.blocks");

fn old_file() -> Vec<u8> {
    let (len, mut blocks) = FORMAT_1.split_first_chunk().unwrap();
    let mut file = vec![0; usize::try_from(u64::from_le_bytes(*len)).unwrap()];
    while let Some((index, rest)) = blocks.split_first_chunk() {
        let at = usize::try_from(u32::from_le_bytes(*index)).unwrap() * 512;
        let (block, rest) = rest.split_at(512);
        file[at..at + 512].copy_from_slice(block);
        blocks = rest;
    }
    file
}

#[test]
fn a_ledger_of_format_1_is_upgraded_whole() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ledger.redb"), old_file()).unwrap();
    // The same tills made the file.
    let (mut one, mut two) = (Till::new(1), Till::new(2));
    let mut entries: Vec<_> = (10..15).map(|amount| one.charge_entry(amount)).collect();
    entries.extend((20..23).map(|amount| two.charge_entry(amount)));
    for life in 0..3 {
        let ledger = Ledger::open(dir.path(), Config::default()).unwrap();
        for entry in &entries {
            let stored = ledger.payment(&key_of(entry)).unwrap().unwrap();
            let made = fixture::receipt_of(entry);
            assert_eq!(stored.receipt.receipt.charged, made.receipt.charged);
            assert_eq!(stored.receipt.receipt.id, made.receipt.id);
            assert_eq!(stored.answer, Some(fixture::answer(&[7; 32])));
            assert_eq!(
                ledger.receipt(&made.receipt.id).unwrap(),
                Some(stored.receipt)
            );
            let again = ledger.enqueue(entry.clone()).unwrap().wait();
            assert!(
                matches!(again, Err(CommitError::DuplicatePayment)),
                "life {life}"
            );
        }
        assert!(ledger.payment(&exact(1, 55).key).unwrap().is_some());
        let charged: Vec<_> = ledger
            .channels()
            .unwrap()
            .iter()
            .map(|it| it.charged.get())
            .collect();
        assert_eq!(charged.iter().sum::<u128>(), 123);
        let totals = ledger.totals().unwrap()[0];
        assert_eq!(
            [
                totals.charged,
                totals.exact,
                totals.claimed,
                totals.settled,
                totals.refunded
            ],
            [123, 55, 80, 70, 40].map(Amount::new)
        );
        check_marks(&ledger);
        check_books(&ledger);
    }
}

/// What must not be counted or used twice.
fn check_marks(ledger: &Ledger) {
    let nonce = ExactNonce {
        token: fixture::token(),
        payer: Address::repeat_byte(1),
        nonce: B256::repeat_byte(1),
    };
    assert!(ledger.nonce_used(&nonce).unwrap());
    let movement = Movement {
        transaction: B256::repeat_byte(1),
        receiver: fixture::receiver(),
        token: fixture::token(),
        amount: Amount::new(80),
    };
    let claimed = Entry::Claimed(movement);
    ledger.enqueue(claimed).unwrap().wait().unwrap();
    assert_eq!(ledger.totals().unwrap()[0].claimed, Amount::new(80));
}

fn check_books(ledger: &Ledger) {
    let books = ledger.trial_balance().unwrap();
    assert!(books.is_balanced(), "M6");
    let balance = |account| books.balance(fixture::receiver(), fixture::token(), account);
    assert_eq!(balance(Account::Earned), Some(U256::from(123)));
    assert_eq!(balance(Account::Exact), Some(U256::from(55)));
    assert_eq!(balance(Account::Settled), Some(U256::from(70)));
}
