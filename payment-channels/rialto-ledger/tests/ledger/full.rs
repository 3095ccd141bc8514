//! A real file system that is full, and one that is read-only: what was acknowledged is there
//! when there is room again, and the error says what to do.
//!
//! A process of its own, in a mount namespace of its own, works on a small tmpfs. Where the
//! system permits no such namespace, only the model of a disk (`log.rs`) shows this.

use std::{error::Error, fs, io::Write, path::Path, process::Command};

use rialto_ledger::{Config, Entry, Ledger};

use crate::fixture::{Till, answer};

const DIR: &str = "RIALTO_TEST_FULL_DIR";
const DONE: &str = "a full disk lost nothing";

#[test]
fn a_full_or_read_only_file_system_loses_nothing() {
    if let Ok(dir) = std::env::var(DIR) {
        return fill_and_recover(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let namespace = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c", command]);
        unshare.env(DIR, dir.path());
        unshare.env("RIALTO_TEST_EXE", std::env::current_exe().unwrap());
        unshare
    };
    let mount = format!("mount -t tmpfs -o size=96m tmpfs \"${DIR}\"");
    if !namespace(&mount)
        .output()
        .is_ok_and(|it| it.status.success())
    {
        eprintln!("no mount namespaces here: the model of a disk has to do");
        return;
    }
    let test = "full::a_full_or_read_only_file_system_loses_nothing --exact --nocapture";
    let output = namespace(&format!("{mount} && exec \"$RIALTO_TEST_EXE\" {test}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(DONE), "{output:?}");
}

fn fill_and_recover(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 64 << 20]).unwrap();
    let ledger = Ledger::open(&dir.join("ledger"), Config::default()).unwrap();
    let mut till = Till::new(1);
    let mut good = 0;
    let error = loop {
        let (snapshot, mut payment) = till.charge(1);
        payment.answer = Some(answer(&[1; 60_000]));
        let entry = Entry::Charge {
            snapshot: Some(snapshot),
            payment,
        };
        match ledger.enqueue(entry).map(|waiting| waiting.wait()) {
            Ok(Ok(())) => good += 1,
            Ok(Err(error)) => break Some(error),
            // The tables met the end first.
            Err(_) => break None,
        }
        assert!(good < 10_000, "32 MiB do not hold that");
    };
    assert!(good > 0 && ledger.is_poisoned());
    if let Some(error) = error.as_ref().and_then(|error| error.source()) {
        assert!(error.to_string().contains("free space"), "{error}");
    }
    let seen = ledger.channels().unwrap();
    assert_eq!(seen[0].charged.get(), good, "reads go on");
    drop(ledger);

    // Still full: either it starts with all that is there, or it says what to do.
    if let Err(error) = Ledger::open(&dir.join("ledger"), Config::default()) {
        assert!(chain(&error).contains("free space"), "{}", chain(&error));
    }
    fs::remove_file(ballast).unwrap();
    check(dir, good);
    remount(dir, "ro");
    let error = Ledger::open(&dir.join("ledger"), Config::default()).unwrap_err();
    assert!(chain(&error).contains("writable"), "{}", chain(&error));
    remount(dir, "rw");
    check(dir, good);
    let line = format!("{DONE}: {good}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn check(dir: &Path, good: u128) {
    let ledger = Ledger::open(&dir.join("ledger"), Config::default()).unwrap();
    let channels = ledger.channels().unwrap();
    // The one that was refused may have reached the disk whole.
    let charged = channels[0].charged.get();
    assert!(
        (good..=good + 1).contains(&charged),
        "{charged}, not {good}"
    );
    let mut receipts = 0;
    ledger.visit_receipts(|_| receipts += 1).unwrap();
    assert_eq!(receipts, charged);
    assert!(ledger.trial_balance().unwrap().is_balanced());
}

fn remount(dir: &Path, mode: &str) {
    let mut mount = Command::new("mount");
    let status = mount
        .args(["-o", &format!("remount,{mode}")])
        .arg(dir)
        .status();
    assert!(status.unwrap().success());
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
