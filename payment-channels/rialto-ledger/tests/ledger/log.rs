//! The write-ahead file: torn ends, damage, segments that come back, and replaying.

use std::time::Duration;

use rialto_ledger::{Config, Entry, Ledger, OpenError};

use crate::{
    disk::Disk,
    fixture::{Till, answer, exact, key_of},
};

/// Nothing gets into the tables before the ledger is closed.
fn slow() -> Config {
    Config {
        checkpoint_interval: Duration::from_secs(3600),
        ..Config::default()
    }
}

fn on(disk: &Disk) -> Ledger {
    Ledger::on_storage(disk.clone(), slow()).unwrap()
}

fn put(ledger: &Ledger, entry: &Entry) {
    ledger.enqueue(entry.clone()).unwrap().wait().unwrap();
}

fn charged(ledger: &Ledger) -> u128 {
    let channels = ledger.channels().unwrap();
    let charged = channels.iter().map(|channel| channel.charged.get()).sum();
    let mut in_receipts = 0;
    ledger
        .visit_receipts(|signed| {
            if signed.receipt.channel.is_some() {
                in_receipts += signed.receipt.charged.get();
            }
        })
        .unwrap();
    assert_eq!(in_receipts, charged);
    let totals = ledger.totals().unwrap();
    assert_eq!(totals.first().map_or(0, |it| it.charged.get()), charged);
    assert!(ledger.trial_balance().unwrap().is_balanced());
    charged
}

/// A disk with two synced groups and one that was written and not synced.
fn torn() -> (Disk, [Entry; 3]) {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    let entries = [1, 20, 70].map(|amount| till.charge_entry(amount));
    put(&ledger, &entries[0]);
    put(&ledger, &entries[1]);
    disk.close_gate();
    let waiting = ledger.enqueue(entries[2].clone()).unwrap();
    disk.wait_for_sync();
    let copy = disk.copy();
    disk.fail_sync(1);
    disk.open_gate();
    assert!(waiting.wait().is_err());
    (copy, entries)
}

#[test]
fn a_write_torn_at_any_byte_loses_only_itself() {
    let (disk, entries) = torn();
    let len = disk.last_write();
    // Every byte of the head, some of the rest, and all of it.
    let rest = (64..len).step_by(13);
    for bytes in (0..64).chain(rest).chain([len - 1, len]) {
        let cut = disk.after_torn_write(bytes);
        let ledger = on(&cut);
        let whole = bytes == len;
        assert_eq!(
            charged(&ledger),
            if whole { 91 } else { 21 },
            "cut at {bytes} of {len}"
        );
        let third = ledger.payment(&key_of(&entries[2])).unwrap();
        assert_eq!(third.is_some(), whole);
        // What follows the cut is kept as well.
        let next = Till::new(2).charge_entry(5);
        put(&ledger, &next);
        let again = on_copy(ledger, &cut);
        assert_eq!(charged(&again), if whole { 96 } else { 26 });
    }
}

/// Opens the disk as a killed process left it.
fn on_copy(ledger: Ledger, disk: &Disk) -> Ledger {
    let copy = disk.after_power_cut(|_| false);
    drop(ledger);
    on(&copy)
}

#[test]
fn damage_before_the_end_is_refused_and_named() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    for _ in 0..3 {
        put(&ledger, &till.charge_entry(10));
    }
    let copy = disk.after_power_cut(|_| false);
    drop(ledger);
    let (number, bytes) = copy.segments()[0].clone();
    let first_used = bytes.iter().skip(128).position(|byte| *byte != 0).unwrap() + 128;
    // In the first group's head, in its entries, and in the segment's head.
    for at in [first_used, first_used + 200, 30] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let disk = copy.after_power_cut(|_| false);
        disk.put_segment(number, &damaged);
        let error = Ledger::on_storage(disk.clone(), slow()).unwrap_err();
        let OpenError::Damaged(found) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (found.segment, found.missing),
            (number, 1),
            "damaged at {at}"
        );
        assert!(error.to_string().contains("restore"), "{error}");
        // Nothing was changed: with the bytes back, everything is there.
        disk.put_segment(number, &bytes);
        assert_eq!(charged(&on(&disk)), 30);
    }
}

#[test]
fn a_missing_segment_before_another_is_refused() {
    let disk = Disk::default();
    let config = Config {
        segment_bytes: 4096,
        ..slow()
    };
    let ledger = Ledger::on_storage(disk.clone(), config).unwrap();
    let mut till = Till::new(1);
    for _ in 0..12 {
        put(&ledger, &till.charge_entry(10));
    }
    let copy = disk.after_power_cut(|_| false);
    drop(ledger);
    let used = copy.segments();
    assert!(used.len() > 2, "{} segments", used.len());
    let whole = copy.after_power_cut(|_| false);
    assert_eq!(charged(&on(&whole)), 120);
    rialto_ledger::Storage::remove_segment(&copy, used[1].0).unwrap();
    let error = Ledger::on_storage(copy, config).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
}

#[test]
fn entries_that_are_in_the_tables_are_not_taken_again() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    let entries: Vec<_> = (1..=5).map(|amount| till.charge_entry(amount)).collect();
    entries.iter().for_each(|entry| put(&ledger, entry));
    put(
        &ledger,
        &Entry::Charge {
            snapshot: None,
            payment: rialto_ledger::PaymentRecord {
                answer: Some(answer(b"kept")),
                ..exact(1, 9)
            },
        },
    );
    let segments = disk.segments();
    // The books ask for a checkpoint. Then the process is killed before the segment is removed.
    let balance = ledger.trial_balance().unwrap();
    let copy = disk.after_power_cut(|_| false);
    drop(ledger);
    assert!(
        disk.segments().is_empty(),
        "closed in order, the log is gone"
    );
    for _ in 0..3 {
        for (number, bytes) in &segments {
            copy.put_segment(*number, bytes);
        }
        let ledger = on(&copy);
        assert_eq!(charged(&ledger), 15);
        assert_eq!(ledger.trial_balance().unwrap(), balance);
        assert_eq!(ledger.totals().unwrap()[0].exact.get(), 9);
        for entry in &entries {
            let outcome = ledger.enqueue(entry.clone()).unwrap().wait();
            assert!(outcome.is_err(), "M5: stored once: {outcome:?}");
        }
    }
}

#[test]
fn a_cut_while_replaying_is_made_good_by_the_next_start() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    for _ in 0..20 {
        put(&ledger, &till.charge_entry(3));
    }
    let left = disk.after_power_cut(|_| false);
    drop(ledger);
    let config = Config {
        checkpoint_bytes: 3_000,
        ..slow()
    };
    let mut cuts = 0;
    for fail_at in 1.. {
        let disk = left.after_power_cut(|_| false);
        disk.fail_sync(fail_at);
        let opened = Ledger::on_storage(disk.clone(), config);
        let failed = opened.is_err();
        let cut = disk.after_power_cut(|index| index % 3 != 1);
        drop(opened);
        assert_eq!(charged(&on(&cut)), 60, "cut at sync {fail_at}");
        if !failed {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 3, "replaying takes several syncs, not {cuts}");
}

#[test]
fn entries_wait_when_the_tables_lag_behind() {
    let disk = Disk::default();
    let config = Config {
        backlog_bytes_max: 10_000,
        checkpoint_bytes: 5_000,
        group_max: 4,
        ..slow()
    };
    let ledger = Ledger::on_storage(disk.clone(), config).unwrap();
    let mut till = Till::new(1);
    let pending: Vec<_> = (0..300)
        .map(|_| ledger.enqueue(till.charge_entry(2)).unwrap())
        .collect();
    for waiting in pending {
        waiting.wait().unwrap();
    }
    assert_eq!(charged(&ledger), 600);
    drop(ledger);
    assert_eq!(charged(&on(&disk)), 600);
}

#[test]
fn a_log_on_a_full_disk_stops_with_advice_and_loses_nothing() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    let first = till.charge_entry(40);
    put(&ledger, &first);
    disk.fill();
    let mut good = 40;
    let error = loop {
        let (snapshot, mut payment) = till.charge(1);
        payment.answer = Some(answer(&[1; 60_000]));
        let entry = Entry::Charge {
            snapshot: Some(snapshot),
            payment,
        };
        match ledger.enqueue(entry).unwrap().wait() {
            Ok(()) => good += 1,
            Err(error) => break error,
        }
    };
    assert!(good > 41, "the segment was made in advance");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("free space"), "{source}");
    assert!(ledger.is_poisoned());
    assert!(
        ledger.payment(&key_of(&first)).unwrap().is_some(),
        "reads go on"
    );
    assert_eq!(ledger.totals().unwrap()[0].charged.get(), good);
    drop(ledger);
    let ledger = on(&disk.after_power_cut(|_| false));
    assert_eq!(charged(&ledger), good);
}

#[test]
fn a_disk_that_turns_read_only_stops_with_advice_and_loses_nothing() {
    let disk = Disk::default();
    let ledger = on(&disk);
    let mut till = Till::new(1);
    put(&ledger, &till.charge_entry(40));
    disk.turn_read_only();
    let error = ledger
        .enqueue(till.charge_entry(1))
        .unwrap()
        .wait()
        .unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("writable"), "{source}");
    assert!(ledger.is_poisoned());
    assert!(
        ledger.trial_balance().is_err(),
        "the books lack what is not in the tables"
    );
    assert_eq!(
        ledger.channels().unwrap()[0].charged.get(),
        40,
        "reads go on"
    );
    drop(ledger);
    // Still read-only: the start fails and says so; writable again, nothing is lost.
    let left = disk.after_power_cut(|_| false);
    left.turn_read_only();
    let error = Ledger::on_storage(left.clone(), slow()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("writable"), "{source}");
    assert_eq!(charged(&on(&left.after_power_cut(|_| false))), 40);
}
