//! The embedded ledger by itself: charges accepted a second, where their time goes, how long a
//! call waits at half of the target's load beside a bare sync of the same disk, and what many
//! channels cost in memory and start-up time.
//!
//! The disk is the one that the temporary folder is on, and its syncs are real.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rialto_channels::payee::{ChannelSnapshot, PayeeChannel};
use rialto_channels::receipt::{Receipt, SignedReceipt, Usage};
use rialto_channels::{
    Address, Amount, B256, ChainTime, ChannelConfig, ChannelId, SettlementDomain, SigningKey, U256,
    Voucher,
};
use rialto_ledger::{Config, EnqueueError, Entry, Ledger, PaymentRecord, Pending, StoredAnswer};

use serde::Serialize;

use crate::spread::percentile;
use crate::{cpu, table};

/// What one run found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) load: Load,
    pub(crate) latency: Latency,
    pub(crate) growth: Vec<Growth>,
}

/// Charges as fast as they are accepted.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Load {
    pub(crate) charges: usize,
    pub(crate) channels: u64,
    /// By the clock.
    pub(crate) per_second: f64,
    /// By the processor time of everything: queueing, deciding, log and tables.
    pub(crate) per_second_per_core: f64,
    /// Processor time of one charge, in microseconds.
    pub(crate) cpu_us: f64,
    /// Entries in a group.
    pub(crate) group: f64,
    /// Wall-clock time of one charge in the ledger's threads, in microseconds.
    pub(crate) decide_us: f64,
    pub(crate) append_us: f64,
    pub(crate) sync_us: f64,
    pub(crate) apply_us: f64,
    /// Looking for a payment that was never made, in microseconds.
    pub(crate) miss_us: f64,
}

/// From queueing to durable at half of the load above, in milliseconds; and what a write and a
/// sync of 4 KiB take on the same disk without a ledger.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) disk_p50_ms: f64,
    pub(crate) disk_p99_ms: f64,
}

/// A ledger with this many channels.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Growth {
    pub(crate) channels: u64,
    /// To open it after it was closed in order.
    pub(crate) open_ms: f64,
    /// To read every channel.
    pub(crate) read_ms: f64,
    /// To read every channel, check its voucher's signature and hold it, as a node does when it
    /// starts.
    pub(crate) restore_ms: f64,
    /// Memory that the open ledger added to the process.
    pub(crate) memory_kib: u64,
    /// Memory of the channels that a node holds beside it, for each, in bytes.
    pub(crate) held_bytes_per_channel: f64,
    /// Bytes on disk.
    pub(crate) disk_bytes: u64,
}

impl Figures {
    /// For people.
    pub(crate) fn print(&self) {
        let Load {
            charges,
            channels,
            per_second,
            per_second_per_core,
            cpu_us,
            group,
            decide_us,
            append_us,
            sync_us,
            apply_us,
            miss_us,
        } = self.load;
        table::say(&format!(
            "{charges} charges on {channels} channels: {per_second:.0} a second by the clock, \
             {per_second_per_core:.0} a second and core ({cpu_us:.1} us of processor time each, tables included)\n\
             in groups of {group:.0}; each, by the clock: decide and encode {decide_us:.1} us, append {append_us:.1}, \
             sync {sync_us:.1}; tables, beside the calls, {apply_us:.1}\n\
             a payment that was never made is looked up in {miss_us:.2} us"
        ));
        let Latency {
            per_second,
            p50_ms,
            p99_ms,
            disk_p50_ms,
            disk_p99_ms,
        } = self.latency;
        table::say(&format!(
            "at {per_second:.0} charges a second: durable after {p50_ms:.2} ms, p99 {p99_ms:.2} \
             (a write and sync of 4 KiB alone: {disk_p50_ms:.2}, p99 {disk_p99_ms:.2})"
        ));
        for growth in &self.growth {
            table::say(&format!(
                "{} channels: opened in {:.0} ms with {} KiB of memory; all read in {:.0} ms; checked and held \
                 as a node does in {:.0} ms with {:.0} bytes each; {} MiB on disk",
                growth.channels,
                growth.open_ms,
                growth.memory_kib,
                growth.read_ms,
                growth.restore_ms,
                growth.held_bytes_per_channel,
                growth.disk_bytes >> 20
            ));
        }
    }
}

/// Measures everything; `million` adds the ledger of a million channels.
///
/// # Errors
/// The disk fails.
pub(crate) fn measure(scratch: &Path, million: bool) -> Result<Figures> {
    let load = load(&scratch.join("load"))?;
    // No faster than one core could serve, whatever the disk can do.
    let half = (load.per_second.min(load.per_second_per_core) / 2.0).min(HALF_OF_TARGET);
    let latency = latency(&scratch.join("latency"), half)?;
    let counts = [1_000, 100_000, 1_000_000];
    let growth = counts
        .into_iter()
        .filter(|count| million || *count < 1_000_000)
        .map(|count| growth(&scratch.join(format!("growth-{count}")), count))
        .collect::<Result<_>>()?;
    Ok(Figures {
        load,
        latency,
        growth,
    })
}

fn load(dir: &Path) -> Result<Load> {
    let ledger = Ledger::open(dir, Config::default())?;
    let mut till = Till::new(LOAD_CHANNELS)?;
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..LOAD_ROUNDS {
        // Made before the clock runs.
        let entries: Vec<_> = (0..LOAD_CHARGES).map(|_| till.charge()).collect();
        let (start, used) = (Instant::now(), cpu::own_process());
        let mut pending = VecDeque::with_capacity(IN_FLIGHT);
        for entry in entries {
            if pending.len() == IN_FLIGHT
                && let Some(oldest) = pending.pop_front()
            {
                Pending::wait(oldest)?;
            }
            pending.push_back(ledger.enqueue(entry)?);
        }
        pending.into_iter().try_for_each(Pending::wait)?;
        // What the tables still lack belongs to the price.
        ensure!(
            ledger.trial_balance()?.is_balanced(),
            "the books do not balance"
        );
        wall += start.elapsed();
        cpu += cpu::own_process().saturating_sub(used);
    }
    let charges = LOAD_CHARGES * LOAD_ROUNDS;
    let timing = ledger.timing();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / charges as f64;
    Ok(Load {
        charges,
        channels: LOAD_CHANNELS,
        per_second: charges as f64 / wall.as_secs_f64(),
        per_second_per_core: charges as f64 / cpu.as_secs_f64(),
        cpu_us: each(cpu),
        group: timing.entries as f64 / timing.groups.max(1) as f64,
        decide_us: each(timing.decide),
        append_us: each(timing.append),
        sync_us: each(timing.sync),
        apply_us: each(timing.apply),
        miss_us: miss(&ledger)?,
    })
}

fn miss(ledger: &Ledger) -> Result<f64> {
    let keys: Vec<_> = (0..LOOKUPS)
        .map(|number| hash(u64::MAX - number).0)
        .collect();
    let start = cpu::own_thread();
    for key in &keys {
        ensure!(ledger.payment(key)?.is_none(), "a payment that nobody made");
    }
    Ok(cpu::own_thread().saturating_sub(start).as_secs_f64() * 1e6 / LOOKUPS as f64)
}

/// An open loop: charges come when they come, whether or not earlier ones are durable.
fn latency(dir: &Path, per_second: f64) -> Result<Latency> {
    let ledger = Ledger::open(dir, Config::default())?;
    let mut syncs = disk_syncs(&dir.join("disk"))?;
    let mut till = Till::new(LOAD_CHANNELS)?;
    let count = LATENCY_CHARGES;
    let entries: Vec<_> = (0..count).map(|_| till.charge()).collect();
    let (sent, waiting) = sync_channel::<(Instant, Pending)>(count.max(1));
    // Charges are answered in the order of queueing, so one waiter sees each when it is.
    let waiter = thread::spawn(move || -> Result<Vec<Duration>> {
        let mut waits = Vec::with_capacity(count);
        for (since, pending) in waiting {
            pending.wait()?;
            waits.push(since.elapsed());
        }
        Ok(waits)
    });
    let (start, gap) = (Instant::now(), Duration::from_secs_f64(1.0 / per_second));
    for (number, entry) in entries.into_iter().enumerate() {
        let due = start + gap * u32::try_from(number)?;
        // Ticks of half a millisecond: several come at once, as they do on a network.
        while Instant::now() < due {
            thread::sleep(Duration::from_micros(500));
        }
        let pending = match ledger.enqueue(entry) {
            Ok(pending) => pending,
            Err(EnqueueError::QueueFull) => anyhow::bail!("half the load fills the queue"),
            Err(error) => return Err(error.into()),
        };
        sent.send((due, pending))?;
    }
    drop(sent);
    let waits = waiter
        .join()
        .map_err(|_| anyhow::anyhow!("the waiter panicked"))?;
    let waits = sorted_ms(waits?);
    // Before and after: a disk that others use is not the same all the time.
    syncs.extend(disk_syncs(&dir.join("disk"))?);
    let syncs = sorted_ms(syncs);
    Ok(Latency {
        per_second,
        p50_ms: percentile(&waits, 50),
        p99_ms: percentile(&waits, 99),
        disk_p50_ms: percentile(&syncs, 50),
        disk_p99_ms: percentile(&syncs, 99),
    })
}

/// In milliseconds, the shortest first.
pub(crate) fn sorted_ms(times: Vec<Duration>) -> Vec<f64> {
    let mut times: Vec<f64> = times
        .into_iter()
        .map(|time| time.as_secs_f64() * 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// What a write and a sync of 4 KiB take, with a pause before each as between the ledger's own.
///
/// # Errors
/// The disk fails.
pub(crate) fn disk_syncs(path: &Path) -> Result<Vec<Duration>> {
    let file = std::fs::File::create(path)?;
    file.write_all_at(&[0; SYNCS * SYNC_BYTES], 0)?;
    file.sync_all()?;
    (0..SYNCS)
        .map(|number| {
            thread::sleep(SYNC_PAUSE);
            let start = Instant::now();
            file.write_all_at(&[1; SYNC_BYTES], (number * SYNC_BYTES) as u64)?;
            file.sync_data()?;
            Ok(start.elapsed())
        })
        .collect()
}

fn growth(dir: &Path, channels: u64) -> Result<Growth> {
    let ledger = Ledger::open(dir, Config::default())?;
    let till = Till::new(1)?;
    for first in (0..channels).step_by(1_000) {
        let pending: Result<Vec<_>, _> = (first..channels.min(first + 1_000))
            .map(|number| ledger.enqueue(Entry::Channel(till.real(number))))
            .collect();
        pending?.into_iter().try_for_each(Pending::wait)?;
    }
    drop(ledger);
    // A process of its own: this one's memory says nothing any more.
    let output = Command::new(std::env::current_exe()?)
        .arg("--reopen")
        .arg(dir)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let broken = || format!("a ledger of {channels} channels does not open: {text}");
    let mut figures = text.split_whitespace();
    let mut next = || figures.next().with_context(broken);
    ensure!(next()?.parse::<u64>()? == channels, "channels are missing");
    Ok(Growth {
        channels,
        open_ms: next()?.parse()?,
        read_ms: next()?.parse()?,
        restore_ms: next()?.parse()?,
        memory_kib: next()?.parse()?,
        held_bytes_per_channel: next()?.parse()?,
        disk_bytes: std::fs::read_dir(dir)?
            .map(|file| Ok(file?.metadata()?.len()))
            .sum::<Result<_>>()?,
    })
}

/// The other end of [`growth`]: opens a ledger and says how many channels it has, how long
/// opening, reading and restoring took, and what memory that added.
///
/// # Errors
/// The disk fails, or a channel contradicts itself.
pub(crate) fn reopen(dir: &Path) -> Result<()> {
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let before = resident_kib()?;
    let start = Instant::now();
    let ledger = Ledger::open(dir, Config::default())?;
    let open_ms = ms(start);
    let opened = resident_kib()?;
    let memory_kib = opened.saturating_sub(before);
    let start = Instant::now();
    let mut count = 0;
    each_page(&ledger, |page| {
        count += page.len();
        Ok(())
    })?;
    let read_ms = ms(start);
    let read = resident_kib()?;
    let start = Instant::now();
    let mut held = HashMap::new();
    each_page(&ledger, |page| {
        for channel in PayeeChannel::restore_all(&page, &DOMAIN, 16)? {
            held.insert(channel.state().id, Arc::new(Mutex::new(channel)));
        }
        Ok(())
    })?;
    let restore_ms = ms(start);
    let held_kib = resident_kib()?.saturating_sub(read);
    let each = held_kib as f64 * 1_024.0 / held.len().max(1) as f64;
    table::say(&format!(
        "{count} {open_ms} {read_ms} {restore_ms} {memory_kib} {each}"
    ));
    Ok(())
}

fn each_page(
    ledger: &Ledger,
    mut visit: impl FnMut(Vec<ChannelSnapshot>) -> Result<()>,
) -> Result<()> {
    let mut after = None;
    loop {
        let page = ledger.channels_after(after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.id);
        visit(page)?;
    }
}

fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes.context("no VmRSS")?.trim().parse()?)
}

/// Makes charges as a host stores them; signatures are real, but one for all.
struct Till {
    key: SigningKey,
    config: ChannelConfig,
    receipt: SignedReceipt,
    voucher: rialto_channels::SignedVoucher,
    channels: u64,
    serial: u64,
}

impl Till {
    fn new(channels: u64) -> Result<Self> {
        let key = SigningKey::from_bytes(&[7; 32])?;
        let voucher = Voucher {
            channel: ChannelId(B256::ZERO),
            ceiling: Amount::MAX,
        };
        Ok(Self {
            config: ChannelConfig {
                payer: key.address(),
                payer_authorizer: key.address(),
                receiver: Address::repeat_byte(2),
                receiver_authorizer: Address::repeat_byte(3),
                token: Address::repeat_byte(4),
                withdraw_delay: 900,
                salt: B256::ZERO,
            },
            receipt: receipt().sign(&key),
            voucher: voucher.sign(&DOMAIN, &key),
            key,
            channels,
            serial: 0,
        })
    }

    fn snapshot(&self, channel: u64, version: u64) -> ChannelSnapshot {
        let id = ChannelId(hash(channel));
        let mut best = self.voucher;
        best.voucher.channel = id;
        ChannelSnapshot {
            config: self.config,
            id,
            version,
            balance: Amount::new(1 << 60),
            claimed: Amount::ZERO,
            charged: Amount::new(u128::from(version)),
            best: Some(best),
            refund_nonce: U256::ZERO,
            withdrawal: None,
            synced_at: ChainTime::new(1),
            last_receipt: hash(version),
        }
    }

    /// A channel that a node believes: with its own id and a voucher of its own.
    fn real(&self, number: u64) -> ChannelSnapshot {
        let config = ChannelConfig {
            salt: hash(number),
            ..self.config
        };
        let id = config.id(&DOMAIN);
        let voucher = Voucher {
            channel: id,
            ceiling: Amount::new(1_000),
        };
        ChannelSnapshot {
            config,
            id,
            best: Some(voucher.sign(&DOMAIN, &self.key)),
            ..self.snapshot(number, 1)
        }
    }

    fn charge(&mut self) -> Entry {
        self.serial += 1;
        let snapshot = self.snapshot(self.serial % self.channels, self.serial);
        let mut receipt = self.receipt.clone();
        receipt.receipt.id = hash(self.serial << 1);
        receipt.receipt.channel = Some(snapshot.id);
        Entry::Charge {
            snapshot: Some(snapshot),
            payment: PaymentRecord {
                key: hash(self.serial << 1 | 1).0,
                receipt,
                answer: Some(StoredAnswer {
                    content_type: "application/json".to_owned(),
                    body: b"\"hello, world\"".to_vec(),
                }),
            },
        }
    }
}

/// The receipt of a greeting, of no channel yet.
pub(crate) fn receipt() -> Receipt {
    Receipt {
        id: B256::ZERO,
        channel: None,
        payer: Address::repeat_byte(5),
        provider: Address::repeat_byte(2),
        chain_id: 84_532,
        token: Address::repeat_byte(4),
        service: "hello".to_owned(),
        version: "0.1.0".to_owned(),
        component: B256::repeat_byte(6),
        models: vec![B256::repeat_byte(7)],
        method: "greet".to_owned(),
        request: B256::repeat_byte(8),
        response: B256::repeat_byte(9),
        usage: Usage::default(),
        price: Amount::new(1),
        before: Amount::ZERO,
        charged: Amount::new(1),
        after: Amount::new(1),
        issued_at: 1_700_000_000,
        engine: "bench".to_owned(),
        deterministic: true,
        previous: B256::ZERO,
        parent: None,
    }
}

/// Neighbours in number are no neighbours in the tables, as with real hashes (splitmix64).
pub(crate) fn hash(number: u64) -> B256 {
    let mut bytes = [0; 32];
    let mut state = number;
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(word ^ (word >> 31)).to_be_bytes());
    }
    B256::from(bytes)
}

/// Whose channels they are.
pub(crate) const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84_532,
    contract: Address::repeat_byte(1),
};
const LOAD_CHANNELS: u64 = 1_000;
const LOAD_CHARGES: usize = 20_000;
const LOAD_ROUNDS: usize = 8;
/// As many calls as wait for the ledger at once.
const IN_FLIGHT: usize = 1_024;
const LATENCY_CHARGES: usize = 15_000;
/// Half of the target of 10,000 charges a second and core.
const HALF_OF_TARGET: f64 = 5_000.0;
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 4_096;
const SYNC_PAUSE: Duration = Duration::from_millis(2);
const PAGE: usize = 10_000;
const LOOKUPS: u64 = 100_000;
