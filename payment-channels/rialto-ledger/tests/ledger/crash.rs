//! A loaded process is killed (SIGKILL) at random moments, again and again on one ledger: every
//! charge that it acknowledged is there, whole and in order.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rialto_channels::{ChannelId, receipt::Receipt};
use rialto_ledger::{Config, Ledger};

use crate::fixture::{Till, receipt_of};

const DIR: &str = "RIALTO_TEST_LEDGER_DIR";
const LIFE: &str = "RIALTO_TEST_LEDGER_LIFE";
const KILLS: u64 = 40;
const CHANNELS: u64 = 4;

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    if let Ok(dir) = std::env::var(DIR) {
        work_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for life in 0..KILLS {
        let child = start(dir.path(), life);
        // From right after the start to well into the load; the same spread in each run.
        let wait = Duration::from_micros(2_000 + (life * 7_919) % 90_000);
        for (channel, charged) in kill_after(child, wait) {
            let last = acknowledged.entry(channel).or_insert(0);
            assert!(charged > *last, "a channel's count only grows");
            *last = charged;
        }
        check(dir.path(), &acknowledged);
    }
    assert!(acknowledged.values().sum::<u128>() > 0, "the load did run");
}

/// The killed process: one thread for each channel, each acknowledging its charges on standard
/// output once they are durable.
fn work_until_killed(dir: &Path) -> ! {
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let busy = Config {
        // Runs get into the tables, and segments come and go, all the time.
        checkpoint_bytes: 10_000,
        segment_bytes: 30_000,
        ..Config::default()
    };
    let config = if life.is_multiple_of(3) {
        Config::default()
    } else {
        busy
    };
    let ledger = Ledger::open(dir, config).unwrap();
    let known: Arc<Mutex<Vec<_>>> = Arc::new(Mutex::new(ledger.channels().unwrap()));
    let threads: Vec<_> = (0..CHANNELS)
        .map(|number| {
            let (ledger, known) = (ledger.clone(), Arc::clone(&known));
            thread::spawn(move || {
                let mut till = Till::new(number);
                let id = till.channel.state().id;
                let stored = known.lock().unwrap().iter().find(|it| it.id == id).cloned();
                if let Some(snapshot) = stored {
                    till = Till::restore(snapshot, life);
                }
                serve(&ledger, &mut till);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    unreachable!("the work never ends by itself");
}

fn serve(ledger: &Ledger, till: &mut Till) {
    loop {
        let pending: Vec<_> = (0..3)
            .map(|_| {
                let entry = till.charge_entry(7);
                let receipt = receipt_of(&entry).receipt;
                (receipt, ledger.enqueue(entry).unwrap())
            })
            .collect();
        for (receipt, waiting) in pending {
            waiting.wait().unwrap();
            let line = format!("ack {} {}\n", receipt.channel.unwrap(), receipt.after);
            // One write below the pipe's atomic size: lines of threads do not mix.
            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        }
    }
}

fn start(dir: &Path, life: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "crash::killed_at_any_moment_it_loses_nothing",
            "--exact",
            "--nocapture",
        ])
        .env(DIR, dir)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the process `wait` after its first acknowledgement, or at once in every fifth life, and
/// returns each channel's last acknowledged count.
fn kill_after(mut child: Child, wait: Duration) -> BTreeMap<ChannelId, u128> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = BTreeMap::new();
    let mut note = |line: &str| {
        let mut words = line
            .split(' ')
            .skip_while(|word| !word.ends_with("ack"))
            .skip(1);
        let (Some(channel), Some(charged)) = (words.next(), words.next()) else {
            return false;
        };
        let charged: u128 = charged.parse().unwrap();
        let last = acknowledged.entry(channel.parse().unwrap()).or_insert(0);
        assert!(charged > *last);
        *last = charged;
        true
    };
    let at_once = wait.as_micros().is_multiple_of(5);
    while !at_once && !note(&lines.next().expect("the process works").unwrap()) {}
    thread::scope(|scope| {
        // Reads on while the process runs, so that it is never held up by a full pipe.
        let reader = scope.spawn(|| {
            for line in lines {
                note(&line.unwrap());
            }
        });
        thread::sleep(wait);
        child.kill().unwrap();
        reader.join().unwrap();
    });
    let status = child.wait().unwrap();
    assert_eq!(
        status.code(),
        None,
        "it was killed and did not fail by itself: {status}"
    );
    acknowledged
}

fn check(dir: &Path, acknowledged: &BTreeMap<ChannelId, u128>) {
    let ledger = Ledger::open(dir, Config::default()).unwrap();
    let mut receipts: BTreeMap<ChannelId, Vec<Receipt>> = BTreeMap::new();
    ledger
        .visit_receipts(|signed| {
            let receipt = signed.receipt;
            receipts
                .entry(receipt.channel.unwrap())
                .or_default()
                .push(receipt);
        })
        .unwrap();
    let channels = ledger.channels().unwrap();
    for (id, charged) in acknowledged {
        let stored = channels.iter().find(|channel| channel.id == *id).unwrap();
        assert!(
            stored.charged.get() >= *charged,
            "an acknowledged charge is lost"
        );
    }
    let mut sum = 0;
    for channel in channels {
        let mut chain = receipts.remove(&channel.id).unwrap();
        chain.sort_by_key(|receipt| receipt.before);
        for pair in chain.windows(2) {
            assert!(
                pair[1].follows(&pair[0]),
                "receipts form one chain, none missing, none twice"
            );
        }
        let last = chain.last().unwrap();
        assert_eq!(
            (last.after, last.digest()),
            (channel.charged, channel.last_receipt)
        );
        sum += channel.charged.get();
        let _restored = Till::restore(channel, 0);
    }
    assert!(receipts.is_empty(), "no receipt without its channel");
    assert_eq!(
        ledger
            .totals()
            .unwrap()
            .first()
            .map_or(0, |it| it.charged.get()),
        sum
    );
}
