//! Failing disks: what was acknowledged survives, nothing is retried, nothing more is taken.

use std::time::Duration;

use proptest::prelude::*;
use rialto_ledger::{CommitError, Config, EnqueueError, Entry, Ledger};

use crate::{
    disk::Disk,
    fixture::{Till, answer, exact, key_of},
};

fn on(disk: &Disk) -> Ledger {
    Ledger::on_storage(disk.clone(), slow()).unwrap()
}

/// The tables are left alone until something waits for them, or the ledger is closed.
fn slow() -> Config {
    Config {
        checkpoint_interval: Duration::from_secs(3600),
        ..Config::default()
    }
}

#[test]
fn a_failed_sync_poisons_the_ledger() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    let good = till.charge_entry(40);
    ledger.enqueue(good.clone()).unwrap().wait().unwrap();
    disk.fail_sync(1);
    let bad = till.charge_entry(30);
    let outcome = ledger.enqueue(bad).unwrap().wait();
    assert!(
        matches!(outcome, Err(CommitError::Storage(_))),
        "{outcome:?}"
    );
    assert!(ledger.is_poisoned());
    let next = ledger.enqueue(till.charge_entry(20));
    assert!(matches!(next, Err(EnqueueError::Stopped)), "{next:?}");
    drop(ledger);
    let ledger = on(&disk.after_power_cut(|_| false));
    assert!(ledger.payment(&key_of(&good)).unwrap().is_some());
    let stored = ledger.channels().unwrap();
    let till = Till::restore(stored[0].clone(), 1);
    assert_eq!(
        till.channel.state().charged.get(),
        40,
        "what failed was not kept"
    );
}

#[test]
fn what_waits_behind_a_failed_sync_is_refused() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    disk.close_gate();
    let first = ledger.enqueue(till.charge_entry(1)).unwrap();
    disk.wait_for_sync();
    let second = ledger.enqueue(till.charge_entry(1)).unwrap();
    disk.fail_sync(1);
    disk.open_gate();
    assert!(matches!(first.wait(), Err(CommitError::Storage(_))));
    let second = second.wait();
    assert!(
        matches!(second, Err(CommitError::Refused(EnqueueError::Stopped))),
        "{second:?}"
    );
}

#[test]
fn a_full_disk_is_an_error_and_reads_go_on() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    let good = till.charge_entry(40);
    ledger.enqueue(good.clone()).unwrap().wait().unwrap();
    disk.fill();
    let mut refused = None;
    for number in 0..10_000 {
        let mut payment = exact(number, 1);
        payment.answer = Some(answer(&[1; 60_000]));
        let entry = Entry::Charge {
            snapshot: None,
            payment,
        };
        if let Err(error) = ledger.enqueue(entry).unwrap().wait() {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(refused, Some(CommitError::Storage(_))),
        "{refused:?}"
    );
    assert!(ledger.is_poisoned());
    assert!(
        ledger.payment(&key_of(&good)).unwrap().is_some(),
        "reads stay live"
    );
}

#[test]
fn a_full_queue_refuses_at_once() {
    let disk = Disk::default();
    let config = Config {
        queue_max: 2,
        ..slow()
    };
    let ledger = Ledger::on_storage(disk.clone(), config).unwrap();
    let mut till = Till::new(1);
    disk.close_gate();
    let written = ledger.enqueue(till.charge_entry(1)).unwrap();
    disk.wait_for_sync();
    let second = ledger.enqueue(till.charge_entry(1)).unwrap();
    let third = ledger.enqueue(till.charge_entry(1)).unwrap();
    let fourth = ledger.enqueue(till.charge_entry(1));
    assert!(matches!(fourth, Err(EnqueueError::QueueFull)), "{fourth:?}");
    disk.open_gate();
    for waiting in [written, second, third] {
        waiting.wait().unwrap();
    }
    assert!(!ledger.is_poisoned(), "a full queue is not a failure");
}

#[test]
fn nothing_is_acknowledged_before_the_sync() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    disk.close_gate();
    let entry = till.charge_entry(1);
    let mut waiting = ledger.enqueue(entry.clone()).unwrap();
    disk.wait_for_sync();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let still_open = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = &mut waiting => false,
            () = std::future::ready(()) => true,
        }
    });
    assert!(still_open, "M4: durable first");
    assert_eq!(ledger.payment(&key_of(&entry)).unwrap(), None);
    disk.open_gate();
    waiting.wait().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Power is cut at any sync; of what was not synced, any part survives, the last write torn.
    #[test]
    fn power_cuts_lose_nothing_acknowledged(
        groups in 1..12_usize,
        group in 1..5_usize,
        fail_at in 1..40_usize,
        kept in proptest::collection::vec(any::<bool>(), 64),
        checkpoint_bytes in prop_oneof![Just(1), Just(8_000), Just(u64::MAX)],
    ) {
        let disk = Disk::default();
        let ledger =
            Ledger::on_storage(disk.clone(), Config { checkpoint_bytes, ..slow() }).unwrap();
        disk.fail_sync(fail_at);
        let mut till = Till::new(1);
        let mut acknowledged = Vec::new();
        let mut sum = 0;
        for _ in 0..groups {
            let entries: Vec<_> = (0..group).map(|_| till.charge_entry(7)).collect();
            let pending: Vec<_> =
                entries.iter().map_while(|entry| ledger.enqueue(entry.clone()).ok()).collect();
            for (entry, waiting) in entries.iter().zip(pending) {
                if waiting.wait().is_ok() {
                    acknowledged.push(key_of(entry));
                    sum += 7;
                }
            }
        }
        // Waits until the tables have everything, or never will.
        let settled = ledger.trial_balance();
        prop_assert_eq!(ledger.is_poisoned(), disk.is_dead());
        prop_assert!(settled.is_err() || settled.unwrap().is_balanced());
        let disk = disk.after_power_cut(|index| kept[index % kept.len()]);
        drop(ledger);
        let ledger = on(&disk);
        for key in &acknowledged {
            prop_assert!(ledger.payment(key).unwrap().is_some());
        }
        // A group that was not acknowledged may have survived, but only as a whole entry.
        let channels = ledger.channels().unwrap();
        let charged = channels.first().map_or(0, |channel| channel.charged.get());
        prop_assert!(charged >= sum);
        let mut in_receipts = 0;
        ledger.visit_receipts(|signed| in_receipts += signed.receipt.charged.get()).unwrap();
        prop_assert_eq!(in_receipts, charged);
        prop_assert_eq!(ledger.totals().unwrap().first().map_or(0, |it| it.charged.get()), charged);
    }
}
