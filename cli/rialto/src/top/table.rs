//! Rates, quantiles and sums of two samples.

use rialto_node::HISTOGRAM_BOUNDS;
use serde::Serialize;

use super::sample::Sample;

/// What is shown.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Table {
    pub(super) host: Host,
    pub(super) services: Vec<Row>,
}

/// The host as a whole. Amounts are token base units.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Host {
    pub(super) calls_per_second: f64,
    pub(super) running: u64,
    pub(super) waiting: u64,
    /// Refused at the door since the node began.
    pub(super) refused: u64,
    /// Charged since the node began.
    pub(super) charged: u64,
    /// Charged and not claimed on the chain.
    pub(super) unclaimed: u64,
    pub(super) channels: u64,
    pub(super) reservations: u64,
    pub(super) chain_view_age_seconds: f64,
    pub(super) memory_bytes: u64,
    /// Processors in use: 1 is one of them all the time.
    pub(super) processors: f64,
    pub(super) model_memory_bytes: u64,
    pub(super) device_waiting: u64,
    pub(super) ledger_backlog_bytes: u64,
}

/// One service.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) service: String,
    /// Ended since the node began.
    pub(super) calls: u64,
    pub(super) calls_per_second: f64,
    pub(super) in_flight: u64,
    pub(super) waiting: u64,
    /// Between the samples; if there was no call, since the node began; none if there never was one.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    /// Ended without an answer since the node began.
    pub(super) errors: u64,
    pub(super) charged: u64,
    /// Held by calls that run.
    pub(super) memory_bytes: u64,
    /// On a device, since the node began.
    pub(super) device_seconds: f64,
}

/// By what services are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Name,
    Calls,
    Latency,
    Errors,
    Earned,
    Memory,
}

impl Order {
    pub(super) const ALL: [Self; 6] = [
        Self::Name,
        Self::Calls,
        Self::Latency,
        Self::Errors,
        Self::Earned,
        Self::Memory,
    ];

    /// The key that sorts so.
    pub(super) const fn key(self) -> char {
        match self {
            Self::Name => 'n',
            Self::Calls => 'c',
            Self::Latency => 'l',
            Self::Errors => 'e',
            Self::Earned => '$',
            Self::Memory => 'm',
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Calls => "calls",
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Earned => "earned",
            Self::Memory => "memory",
        }
    }
}

impl Table {
    /// What happened between two samples; of one alone, rates are 0.
    pub(super) fn new(before: Option<&Sample>, now: &Sample) -> Self {
        let names = now.services().into_iter();
        let services: Vec<_> = names.map(|name| row(name, before, now)).collect();
        let passed = before.map_or(0.0, |before| (now.at - before.at).as_secs_f64());
        let cpu = |sample: &Sample| sample.seconds("process.cpu");
        let all = |name| now.whole(name, &[]);
        let host = Host {
            calls_per_second: services.iter().map(|row| row.calls_per_second).sum(),
            running: all("rialto.door.running"),
            waiting: all("rialto.door.waiting"),
            refused: all("rialto.door.refusals"),
            charged: all("rialto.earnings.charged"),
            unclaimed: now.whole("rialto.channels.amount", &[("kind", "unclaimed")]),
            channels: all("rialto.channels"),
            reservations: all("rialto.reservations"),
            chain_view_age_seconds: now.seconds("rialto.chain.view.age"),
            memory_bytes: all("process.resident_memory"),
            processors: before.map_or(0.0, |before| per_second(cpu(now) - cpu(before), passed)),
            model_memory_bytes: all("rialto.model.memory"),
            device_waiting: all("rialto.device.waiting"),
            ledger_backlog_bytes: all("rialto.ledger.backlog"),
        };
        Self { host, services }
    }

    /// Sorts the services: names from A, all else the largest first.
    pub(super) fn sort(&mut self, order: Order) {
        self.services.sort_by(|a, b| {
            let by = match order {
                Order::Name => std::cmp::Ordering::Equal,
                Order::Calls => b.calls_per_second.total_cmp(&a.calls_per_second),
                Order::Latency => {
                    let p99 = |row: &Row| row.p99_ms.unwrap_or(-1.0);
                    p99(b).total_cmp(&p99(a))
                }
                Order::Errors => b.errors.cmp(&a.errors),
                Order::Earned => b.charged.cmp(&a.charged),
                Order::Memory => b.memory_bytes.cmp(&a.memory_bytes),
            };
            by.then_with(|| a.service.cmp(&b.service))
        });
    }
}

fn row(service: String, before: Option<&Sample>, now: &Sample) -> Row {
    let of = [("service", service.as_str())];
    let calls = now.whole("rialto.calls", &of);
    let earlier = before.map(|before| before.whole("rialto.calls", &of));
    let passed = before.map_or(0.0, |before| (now.at - before.at).as_secs_f64());
    let ended = earlier.map_or(0, |earlier| calls.saturating_sub(earlier));
    let all = now.buckets("rialto.call.duration", &service);
    let mut recent = all.clone();
    if let Some(before) = before {
        let old = before.buckets("rialto.call.duration", &service);
        for (count, old) in recent.iter_mut().zip(old) {
            *count = count.saturating_sub(old);
        }
    }
    let is_idle = recent.iter().all(|count| *count == 0);
    let times = if is_idle { all } else { recent };
    Row {
        calls,
        calls_per_second: per_second(number(ended), passed),
        in_flight: now.whole("rialto.calls.in_flight", &of),
        waiting: now.whole("rialto.door.waiting", &of),
        p50_ms: quantile(&times, 0.5),
        p99_ms: quantile(&times, 0.99),
        errors: now.whole_but("rialto.calls", &service, "outcome", &NO_ERRORS),
        charged: now.whole("rialto.earnings.charged", &of),
        memory_bytes: now.whole("rialto.guest.memory", &of),
        device_seconds: now.time("rialto.call.device.duration", &service),
        service,
    }
}

/// The time, in milliseconds, that so large a part of all took at most, within its bucket by a straight
/// line; what is above all bounds counts as the last of them.
pub(super) fn quantile(counts: &[u64], part: f64) -> Option<f64> {
    let total = counts
        .iter()
        .fold(0_u64, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return None;
    }
    let wanted = number(total) * part;
    let mut below = 0.0;
    let mut from = 0.0;
    for (count, bound) in counts.iter().zip(HISTOGRAM_BOUNDS) {
        let to = bound.as_secs_f64() * 1_000.0;
        let here = number(*count);
        if below + here >= wanted && here > 0.0 {
            return Some(from + (to - from) * (wanted - below) / here);
        }
        below += here;
        from = to;
    }
    Some(from)
}

fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

/// A count for arithmetic that people read: exact to 2^53.
fn number(count: u64) -> f64 {
    let (high, low) = (count >> 32, count & 0xffff_ffff);
    let part = |part: u64| u32::try_from(part).map_or(f64::INFINITY, f64::from);
    part(high) * 4_294_967_296.0 + part(low)
}

/// How calls end that nothing went wrong with: whoever leaves a stream has what they wanted.
const NO_ERRORS: [&str; 3] = ["ok", "replayed", "stream_ended"];
