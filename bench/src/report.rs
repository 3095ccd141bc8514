//! What was found, as the table and the JSON file say it: figures, where a paid call's time goes, and
//! the targets with what was reached.

use serde::Serialize;

use crate::Options;
use crate::instance::Cycle;
use crate::machine::Machine;
use crate::models::Model;
use crate::parts::Parts;
use crate::peers::WASMTIME_FLAGS;
use crate::spread::Spread;
use crate::throughput::{Candidate, Sample, Throughput};

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    /// How the peer was started.
    pub(crate) wasmtime_serve: String,
    pub(crate) throughput: Vec<Row>,
    /// Vouchers signed while the clock ran: should be few.
    pub(crate) vouchers_signed_late: u64,
    /// At how many connections the parts of a paid call were taken.
    pub(crate) parts_at_connections: usize,
    /// Microseconds of the host's processor time for one paid call.
    pub(crate) parts_us: Vec<Part>,
    /// Microseconds of processor time for one charge in a ledger by itself, in groups of 64.
    pub(crate) ledger_alone_us: Spread,
    /// The embedded ledger by itself, on this disk.
    pub(crate) ledger: crate::ledger::Figures,
    /// The fleet's ledger by itself, on a PostgreSQL server on the same disk.
    pub(crate) shared_ledger: crate::fleet::Found,
    pub(crate) models: Vec<ModelRow>,
    pub(crate) instance: Instance,
    pub(crate) targets: Vec<Target>,
}

/// One candidate at one number of connections.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) candidate: Candidate,
    pub(crate) connections: usize,
    pub(crate) calls_per_second: Spread,
    pub(crate) p50_us: Spread,
    pub(crate) p99_us: Spread,
    /// Processor time of the server for one call.
    pub(crate) server_cpu_us: Spread,
    /// Processor time of the load generator for one call.
    pub(crate) generator_cpu_us: Spread,
}

/// One part of a paid call.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) part: &'static str,
    /// Whether it is part of the line `rest`.
    pub(crate) within_rest: bool,
    pub(crate) us: Spread,
}

/// One model, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct ModelRow {
    pub(crate) model: &'static str,
    pub(crate) direct_us: Spread,
    pub(crate) host_us: Spread,
    pub(crate) free_us: Spread,
    pub(crate) paid_us: Spread,
    pub(crate) host_by_direct: Spread,
    pub(crate) free_by_direct: Spread,
    pub(crate) paid_by_direct: Spread,
}

/// A fresh instance, in microseconds of processor time unless it says otherwise.
#[derive(Debug, Serialize)]
pub(crate) struct Instance {
    pub(crate) engine_without_call: Spread,
    pub(crate) engine: Spread,
    pub(crate) host: Spread,
    pub(crate) host_wall: Spread,
    pub(crate) prepare: Spread,
}

/// A target and what was reached.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    /// The least, or the most where `at_most`.
    pub(crate) goal: f64,
    pub(crate) at_most: bool,
    pub(crate) reached: Spread,
    pub(crate) met: bool,
}

impl Report {
    /// Sums up all rounds.
    pub(crate) fn new(
        options: &Options,
        cycles: &[Cycle],
        parts: &[Parts],
        throughput: &Throughput,
        models: &[Model],
        ledgers: Ledgers,
    ) -> Self {
        let busiest = options.connections.iter().max().copied().unwrap_or(1);
        let instance = Instance::new(cycles);
        let models: Vec<_> = models.iter().map(ModelRow::new).collect();
        Self {
            machine: Machine::describe(),
            rounds: options.rounds,
            seconds: options.seconds,
            wasmtime_serve: WASMTIME_FLAGS.join(" "),
            throughput: rows(options, throughput),
            vouchers_signed_late: throughput.signed_late,
            parts_at_connections: busiest,
            parts_us: split(cycles, parts, throughput, busiest),
            ledger_alone_us: Spread::of(parts.iter().map(|parts| parts.commit)),
            targets: targets(options, throughput, &models, &instance)
                .into_iter()
                .chain(ledgers.targets())
                .collect(),
            ledger: ledgers.own,
            shared_ledger: ledgers.shared,
            models,
            instance,
        }
    }
}

impl Throughput {
    /// A figure of one candidate, round by round.
    fn figures(
        &self,
        candidate: Candidate,
        connections: usize,
        figure: impl Fn(&Sample) -> f64,
    ) -> Vec<f64> {
        let wanted =
            |sample: &&Sample| sample.candidate == candidate && sample.connections == connections;
        self.samples.iter().filter(wanted).map(figure).collect()
    }

    fn rates(&self, candidate: Candidate, connections: usize) -> Vec<f64> {
        self.figures(candidate, connections, |sample| sample.window.rate())
    }
}

fn rows(options: &Options, throughput: &Throughput) -> Vec<Row> {
    let mut rows = Vec::new();
    for &connections in &options.connections {
        for candidate in Candidate::ALL {
            let spread = |figure: fn(&Sample) -> f64| {
                Spread::of(throughput.figures(candidate, connections, figure))
            };
            rows.push(Row {
                candidate,
                connections,
                calls_per_second: spread(|sample| sample.window.rate()),
                p50_us: spread(|sample| sample.window.p50_us),
                p99_us: spread(|sample| sample.window.p99_us),
                server_cpu_us: spread(|sample| sample.window.per_call_us(sample.server)),
                generator_cpu_us: spread(|sample| {
                    sample.window.per_call_us(sample.window.generator)
                }),
            });
        }
    }
    rows
}

/// Where the host's processor time for a paid call goes. What is measured alone is subtracted from
/// what the whole process used; the rest is shown with those of its own parts that are known.
fn split(
    cycles: &[Cycle],
    parts: &[Parts],
    throughput: &Throughput,
    connections: usize,
) -> Vec<Part> {
    let of_cycles = |figure: fn(&Cycle) -> f64| Spread::of(cycles.iter().map(figure));
    let of_parts = |figure: fn(&Parts) -> f64| Spread::of(parts.iter().map(figure));
    let paid =
        |figure: fn(&Sample) -> f64| throughput.figures(Candidate::Paid, connections, figure);
    let signature = of_parts(|parts| parts.verify + parts.sign);
    let lookup = of_parts(|parts| parts.lookup).median;
    let ledger = paid(|sample| sample.window.per_call_us(sample.ledger));
    let ledger = Spread::of(ledger.into_iter().map(|thread| thread + lookup));
    let instance = of_cycles(|cycle| cycle.instance);
    let guest = of_cycles(|cycle| cycle.with_call - cycle.instance);
    let all = paid(|sample| sample.window.per_call_us(sample.server));
    let known = signature.median + ledger.median + instance.median + guest.median;
    let rest = Spread::of(all.iter().map(|all| all - known));
    let bare = throughput.figures(Candidate::Hyper, connections, |sample| {
        sample.window.per_call_us(sample.server)
    });
    let line = |part, within_rest, us| Part {
        part,
        within_rest,
        us,
    };
    vec![
        line("whole process", false, Spread::of(all)),
        line(
            "signature: voucher checked, receipt signed",
            false,
            signature,
        ),
        line(
            "ledger: its two threads, and the look for a replay",
            false,
            ledger,
        ),
        line("instance: store, context, instance, drop", false, instance),
        line("guest: the call itself", false, guest),
        line("rest", false, rest),
        line(
            "host around it: limits, types, JSON",
            true,
            of_cycles(|cycle| cycle.prepare + cycle.host - cycle.with_call),
        ),
        line(
            "payment header in",
            true,
            of_parts(|parts| parts.read_header),
        ),
        line(
            "receipt header out",
            true,
            of_parts(|parts| parts.write_header),
        ),
        line("HTTP, as the bare hyper needs it", true, Spread::of(bare)),
    ]
}

impl ModelRow {
    fn new(model: &Model) -> Self {
        let spread = |rounds: &[f64]| Spread::of(rounds.iter().copied());
        Self {
            model: model.name,
            direct_us: spread(&model.direct),
            host_us: spread(&model.host),
            free_us: spread(&model.free),
            paid_us: spread(&model.paid),
            host_by_direct: Spread::ratio(&model.host, &model.direct),
            free_by_direct: Spread::ratio(&model.free, &model.direct),
            paid_by_direct: Spread::ratio(&model.paid, &model.direct),
        }
    }
}

impl Instance {
    fn new(cycles: &[Cycle]) -> Self {
        let spread = |figure: fn(&Cycle) -> f64| Spread::of(cycles.iter().map(figure));
        Self {
            engine_without_call: spread(|cycle| cycle.instance),
            engine: spread(|cycle| cycle.with_call),
            host: spread(|cycle| cycle.host),
            host_wall: spread(|cycle| cycle.host_wall),
            prepare: spread(|cycle| cycle.prepare),
        }
    }
}

fn targets(
    options: &Options,
    throughput: &Throughput,
    models: &[ModelRow],
    instance: &Instance,
) -> Vec<Target> {
    let rates = |candidate, connections| throughput.rates(candidate, connections);
    let mut targets = Vec::new();
    for &connections in &options.connections {
        let free = rates(Candidate::Free, connections);
        let peer = rates(Candidate::Wasmtime, connections);
        let what = format!("unpaid by `wasmtime serve`, {connections} connections");
        targets.push(Target::least(what, UNPAID_MIN, Spread::ratio(&free, &peer)));
    }
    for &connections in &options.connections {
        let paid = rates(Candidate::Paid, connections);
        let free = rates(Candidate::Free, connections);
        let what = format!("paid by unpaid, {connections} connections");
        targets.push(Target::least(what, PAID_MIN, Spread::ratio(&paid, &free)));
    }
    for model in models {
        for (way, ratio) in [
            ("host", model.host_by_direct),
            ("unpaid over HTTP", model.free_by_direct),
            ("paid over HTTP", model.paid_by_direct),
        ] {
            let what = format!("{}: {way} by engine", model.model);
            targets.push(Target::most(what, MODEL_MAX, ratio));
        }
    }
    let what = format!("fresh instance with its call, us (reference {REFERENCE_CYCLE_US})");
    targets.push(Target::most(what, 2.0 * REFERENCE_CYCLE_US, instance.host));
    targets
}

/// Both kinds of ledger by themselves.
#[derive(Debug, Serialize)]
pub(crate) struct Ledgers {
    #[serde(rename = "ledger")]
    pub(crate) own: crate::ledger::Figures,
    #[serde(rename = "shared_ledger")]
    pub(crate) shared: crate::fleet::Found,
}

impl Ledgers {
    /// What the embedded ledger is to reach.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let once = |figure: f64| Spread::of([figure]);
        let (load, latency) = (self.own.load, self.own.latency);
        let what = format!(
            "ledger: p99 of a charge at {:.0} a second, ms (a bare sync: {:.2})",
            latency.per_second, latency.disk_p99_ms
        );
        vec![
            Target::least(
                "ledger: charges a second and core".to_owned(),
                CHARGES_MIN,
                once(load.per_second_per_core),
            ),
            Target::most(what, WAIT_MS_MAX, once(latency.p99_ms)),
        ]
    }
}

impl Target {
    pub(crate) fn least(what: String, goal: f64, reached: Spread) -> Self {
        Self {
            what,
            goal,
            at_most: false,
            met: reached.median >= goal,
            reached,
        }
    }

    pub(crate) fn most(what: String, goal: f64, reached: Spread) -> Self {
        Self {
            what,
            goal,
            at_most: true,
            met: reached.median <= goal,
            reached,
        }
    }
}

/// Charges a second and core that the embedded ledger accepts.
const CHARGES_MIN: f64 = 10_000.0;
/// What a charge may wait at half of that.
const WAIT_MS_MAX: f64 = 5.0;
/// Unpaid calls a second by those of `wasmtime serve`.
const UNPAID_MIN: f64 = 0.8;
/// Paid calls a second by unpaid ones.
const PAID_MIN: f64 = 0.5;
/// A model's latency by the engine's alone.
const MODEL_MAX: f64 = 1.05;
/// The full cycle of a component with the standard library, measured when the engine was chosen.
const REFERENCE_CYCLE_US: f64 = 43.0;
