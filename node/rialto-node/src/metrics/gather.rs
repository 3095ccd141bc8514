//! Reads the numbers of the node and its drivers into the list.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rialto_host::{DoorLoad, HistogramView, HostLoad, MethodLoad, ServiceLoad};
use rialto_ledger::Timing;

use super::{Kind, Metric, Point, Value, process};
use crate::Node;
use crate::meters::{OUTCOMES, units};
use crate::money::Money;

impl Node {
    /// All numbers of this node as they are now, in an order that stays. Reads memory and a few files of
    /// the system's; asks neither chain nor disk.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let mut list = List::default();
        self.calls(&mut list);
        let load = self.0.host.load_now();
        host(&load, &mut list);
        device(&load, &mut list);
        self.models(&mut list);
        self.payments(&mut list);
        self.books(&mut list);
        list.add(
            "rialto.build",
            "{info}",
            Kind::Gauge,
            "Always 1; the labels say what runs.",
            [(
                vec![
                    ("version", env!("CARGO_PKG_VERSION").to_owned()),
                    ("engine", self.0.host.engine_name().to_owned()),
                ],
                Value::Whole(1),
            )],
        );
        list.metrics.extend(process::metrics(self.0.meters.started));
        list.metrics
    }

    fn calls(&self, list: &mut List) {
        let all = self.0.meters.all();
        let of = |service: &str, method: &str| {
            vec![
                ("service", service.to_owned()),
                ("method", method.to_owned()),
            ]
        };
        let ended = all.iter().flat_map(|(service, method, meters)| {
            // The first is always shown, so that a method which was never called is there with 0.
            let outcomes = meters.outcomes();
            let seen = outcomes.filter(|(outcome, count)| *count > 0 || *outcome == OUTCOMES[0]);
            seen.map(|(outcome, count)| {
                let mut labels = of(service, method);
                labels.push(("outcome", outcome.to_owned()));
                (labels, Value::Whole(count))
            })
            .collect::<Vec<_>>()
        });
        list.add(
            "rialto.calls",
            "{call}",
            Kind::Counter,
            "Calls that ended, by how: ok, replayed, abandoned, or the error's code.",
            ended,
        );
        let took = all.iter().map(|(service, method, meters)| {
            (of(service, method), Value::Histogram(meters.took.view()))
        });
        list.add(
            "rialto.call.duration",
            "s",
            Kind::Histogram,
            "From a call's arguments to its durable answer.",
            took,
        );
        let whole = |read: fn(&crate::meters::CallMeters) -> &AtomicU64| {
            let points = all.iter().map(move |(service, method, meters)| {
                let value = read(meters).load(Ordering::Relaxed);
                (of(service, method), Value::Whole(value))
            });
            points.collect::<Vec<_>>()
        };
        list.add(
            "rialto.calls.in_flight",
            "{call}",
            Kind::Gauge,
            "Calls that are being answered.",
            whole(|meters| &meters.in_flight),
        );
        list.add(
            "rialto.earnings.charged",
            "{base_unit}",
            Kind::Counter,
            "Charged for calls since the node began, in token base units (1000000 is one USDC).",
            whole(|meters| &meters.charged),
        );
        let crowded = self.0.meters.crowded.load(Ordering::Relaxed);
        list.turned.push(("calls_max", crowded));
    }

    fn models(&self, list: &mut List) {
        let (weights, sessions) = self.0.languages.bytes();
        let points = [
            ("graphs", self.0.models.bytes()),
            ("language_weights", weights),
            ("language_sessions", sessions),
        ];
        list.add(
            "rialto.model.memory",
            "By",
            Kind::Gauge,
            "Memory of models: files of graphs, weights of language models, and their sessions.",
            points.map(|(kind, bytes)| (vec![("kind", kind.to_owned())], Value::Whole(bytes))),
        );
    }

    fn payments(&self, list: &mut List) {
        let channels = self.book().all();
        let mut sums = [0_u64; 4];
        let mut reservations = 0_usize;
        for slot in &channels {
            let channel = slot.lock();
            let state = channel.state();
            let exposure = state.charged.saturating_sub(state.claimed);
            let of_channel = [state.balance, state.charged, exposure, channel.in_flight()];
            for (sum, amount) in sums.iter_mut().zip(of_channel) {
                *sum = sum.saturating_add(units(amount));
            }
            reservations = reservations.saturating_add(channel.in_flight_count());
        }
        let count = |count: usize| Value::Whole(u64::try_from(count).unwrap_or(u64::MAX));
        list.one(
            "rialto.channels",
            "{channel}",
            "Payment channels with money in them or a history.",
            count(channels.len()),
        );
        list.one(
            "rialto.reservations",
            "{reservation}",
            "Calls in progress for which a part of a channel is reserved.",
            count(reservations),
        );
        let names = ["balance", "charged", "unclaimed", "reserved"];
        let amounts = names.into_iter().zip(sums);
        list.add(
            "rialto.channels.amount",
            "{base_unit}",
            Kind::Gauge,
            "Sums over all channels, in token base units: deposited; charged; charged and not claimed, \
             which is what is lost with the ledger; reserved for calls in progress.",
            amounts.map(|(kind, sum)| (vec![("kind", kind.to_owned())], Value::Whole(sum))),
        );
        list.one(
            "rialto.chain.view.age",
            "s",
            "Since the chain answered last.",
            Value::Seconds(self.watch().age().as_secs_f64()),
        );
        list.one(
            "rialto.chain.head",
            "{block}",
            "The newest block that was seen.",
            Value::Whole(self.watch().head()),
        );
    }

    fn books(&self, list: &mut List) {
        // A fleet's books are in its database: one who wants them asks that.
        let Money::Own(ledger) = self.ledger() else {
            return;
        };
        let mut sums = BTreeMap::<&str, u64>::new();
        for totals in ledger.totals().into_iter().flatten() {
            let amounts = [
                ("charged", totals.charged),
                ("exact", totals.exact),
                ("claimed", totals.claimed),
                ("settled", totals.settled),
                ("refunded", totals.refunded),
            ];
            for (account, amount) in amounts {
                let sum = sums.entry(account).or_default();
                *sum = sum.saturating_add(units(amount));
            }
        }
        list.add(
            "rialto.ledger.amount",
            "{base_unit}",
            Kind::Gauge,
            "The books since they were begun, in token base units: charged on channels, charged outside \
             of them (exact), claimed, settled, refunded.",
            sums.into_iter()
                .map(|(account, sum)| (vec![("account", account.to_owned())], Value::Whole(sum))),
        );
        list.one(
            "rialto.ledger.backlog",
            "By",
            "Written to the log and not moved into the tables yet.",
            Value::Whole(ledger.backlog_bytes()),
        );
        ledger_times(&ledger.timing(), list);
    }
}

fn ledger_times(timing: &Timing, list: &mut List) {
    list.count(
        "rialto.ledger.entries",
        "{entry}",
        "Entries that were made durable.",
        timing.entries,
    );
    list.count(
        "rialto.ledger.groups",
        "{group}",
        "Groups of entries that were written and synced together.",
        timing.groups,
    );
    let phases = [
        ("decide", timing.decide),
        ("append", timing.append),
        ("sync", timing.sync),
        ("apply", timing.apply),
    ];
    list.add(
        "rialto.ledger.time",
        "s",
        Kind::Counter,
        "Where the ledger's threads spent their time.",
        phases.map(|(phase, time)| {
            let labels = vec![("phase", phase.to_owned())];
            (labels, Value::Seconds(time.as_secs_f64()))
        }),
    );
}

fn host(load: &HostLoad, list: &mut List) {
    door(&load.door, list);
    let turned = load.turned.iter().chain(&list.turned);
    let turned: Vec<_> = turned
        .map(|(reason, count)| (vec![("reason", (*reason).to_owned())], Value::Whole(*count)))
        .collect();
    list.add(
        "rialto.door.refusals",
        "{call}",
        Kind::Counter,
        "Calls that were refused before any work or money, by why.",
        turned,
    );
    list.add(
        "rialto.calls.held_back",
        "{call}",
        Kind::Counter,
        "Calls that began at the lowest priority, because their payer's calls of the service kept failing.",
        [(Vec::new(), Value::Whole(load.held_back))],
    );
    list.add(
        "rialto.compiled.lookups",
        "{component}",
        Kind::Counter,
        "Components that were loaded: compiled before (hit), or compiled then (miss).",
        [("hit", load.compiled_hits), ("miss", load.compiled_misses)]
            .map(|(found, count)| (vec![("result", found.to_owned())], Value::Whole(count))),
    );
    list.one(
        "rialto.compiled.size",
        "By",
        "Compiled components on disk.",
        Value::Whole(load.compiled_bytes),
    );
    let (instances, bytes) = load.warm;
    list.one(
        "rialto.warm.instances",
        "{instance}",
        "Instances that are ready for calls that have not come yet.",
        Value::Whole(instances),
    );
    list.one(
        "rialto.warm.size",
        "By",
        "Their linear memory.",
        Value::Whole(bytes),
    );
    list.count(
        "rialto.warm.taken",
        "{call}",
        "Calls that found an instance ready.",
        load.warm_taken,
    );
    services(&load.services, list);
}

fn door(door: &DoorLoad, list: &mut List) {
    list.one(
        "rialto.door.memory",
        "By",
        "Host memory that running calls may fill with values.",
        Value::Whole(door.values_bytes),
    );
    list.one(
        "rialto.door.places",
        "{call}",
        "Calls that may run now: the limit, as it is.",
        Value::Whole(door.places.into()),
    );
    let elsewhere = door.running.saturating_sub(door.computing);
    let elsewhere = elsewhere.saturating_sub(door.background);
    let doing = [
        ("computing", door.computing),
        ("background", door.background),
        ("elsewhere", elsewhere),
    ];
    list.add(
        "rialto.door.calls",
        "{call}",
        Kind::Gauge,
        "Calls that run, by what they do: compute where requests are served, which is what is limited; \
         compute in the background; wait for something that is not the processor.",
        doing.map(|(doing, calls)| (vec![("doing", doing.to_owned())], Value::Whole(calls.into()))),
    );
    list.count(
        "rialto.door.admitted",
        "{call}",
        "Calls that were let in.",
        door.admitted,
    );
}

fn services(services: &[ServiceLoad], list: &mut List) {
    let of = |service: &ServiceLoad| vec![("service", service.name.clone())];
    let whole = |read: fn(&ServiceLoad) -> u64| {
        let points = services.iter();
        points.map(move |service| (of(service), Value::Whole(read(service))))
    };
    list.add(
        "rialto.door.running",
        "{call}",
        Kind::Gauge,
        "Calls that hold a place.",
        whole(|service| service.running),
    );
    list.add(
        "rialto.door.waiting",
        "{call}",
        Kind::Gauge,
        "Calls that wait for a place or for memory.",
        whole(|service| service.waiting),
    );
    list.add(
        "rialto.instances",
        "{instance}",
        Kind::Counter,
        "Instances that were made.",
        whole(|service| service.instances),
    );
    list.add(
        "rialto.guest.memory",
        "By",
        Kind::Gauge,
        "Linear memory that running calls hold.",
        whole(|service| service.memory_bytes),
    );
    list.add(
        "rialto.guest.memory.peak",
        "By",
        Kind::Gauge,
        "The most linear memory that one call held.",
        whole(|service| service.memory_peak),
    );
    list.add(
        "rialto.outbound.requests",
        "{request}",
        Kind::Counter,
        "Requests over HTTP that calls sent.",
        whole(|service| service.outbound_requests),
    );
    let breaches = services.iter().flat_map(|service| {
        let hit = service.breaches.iter().filter(|(_, count)| *count > 0);
        hit.map(|(limit, count)| {
            let mut labels = of(service);
            labels.push(("limit", (*limit).to_owned()));
            (labels, Value::Whole(*count))
        })
    });
    list.add(
        "rialto.limit.breaches",
        "{breach}",
        Kind::Counter,
        "How often calls met a limit, by its name in manifests.",
        breaches,
    );
    methods(services, list);
}

fn methods(services: &[ServiceLoad], list: &mut List) {
    let points = |read: &dyn Fn(&MethodLoad) -> Value| {
        let methods = services.iter().flat_map(|service| {
            let methods = service.methods.iter();
            methods.map(move |method| (&service.name, method))
        });
        let points = methods.map(|(service, method)| {
            let labels = vec![
                ("service", service.clone()),
                ("method", method.name.clone()),
            ];
            (labels, read(method))
        });
        points.collect::<Vec<_>>()
    };
    type Times = (
        &'static str,
        &'static str,
        fn(&MethodLoad) -> &HistogramView,
    );
    let times: [Times; 3] = [
        (
            "rialto.call.wait.duration",
            "Waiting at the door, of calls that were let in.",
            |method| &method.waited,
        ),
        (
            "rialto.call.guest.duration",
            "Processor time of guests, and of the host's own work for them.",
            |method| &method.guest,
        ),
        (
            "rialto.call.device.duration",
            "Time on a device, of calls that used one; waiting for it not counted.",
            |method| &method.device,
        ),
    ];
    for (name, help, read) in times {
        let views = points(&|method| Value::Histogram(read(method).clone()));
        list.add(name, "s", Kind::Histogram, help, views);
    }
    list.add(
        "rialto.call.input",
        "By",
        Kind::Counter,
        "Bytes of arguments.",
        points(&|method| Value::Whole(method.input_bytes)),
    );
    list.add(
        "rialto.call.output",
        "By",
        Kind::Counter,
        "Bytes of results.",
        points(&|method| Value::Whole(method.output_bytes)),
    );
}

fn device(load: &HostLoad, list: &mut List) {
    let device = &load.device;
    let count = |count: usize| Value::Whole(u64::try_from(count).unwrap_or(u64::MAX));
    list.one(
        "rialto.device.waiting",
        "{job}",
        "Pieces of work that wait for the device.",
        count(device.waiting),
    );
    list.one(
        "rialto.device.running",
        "{job}",
        "Pieces of work, or batches of them, that run.",
        count(device.running),
    );
    list.one(
        "rialto.device.memory",
        "By",
        "Tensors that calls hold.",
        Value::Whole(device.memory_bytes),
    );
}

/// The list as it grows.
#[derive(Default)]
struct List {
    metrics: Vec<Metric>,
    /// Refusals that are not the host's.
    turned: Vec<(&'static str, u64)>,
}

impl List {
    fn add(
        &mut self,
        name: &'static str,
        unit: &'static str,
        kind: Kind,
        help: &'static str,
        points: impl IntoIterator<Item = (Vec<(&'static str, String)>, Value)>,
    ) {
        let points = points.into_iter();
        self.metrics.push(Metric {
            name,
            help,
            unit,
            kind,
            points: points
                .map(|(labels, value)| Point { labels, value })
                .collect(),
        });
    }

    /// A gauge without labels.
    fn one(&mut self, name: &'static str, unit: &'static str, help: &'static str, value: Value) {
        self.add(name, unit, Kind::Gauge, help, [(Vec::new(), value)]);
    }

    /// A counter without labels.
    fn count(&mut self, name: &'static str, unit: &'static str, help: &'static str, value: u64) {
        let points = [(Vec::new(), Value::Whole(value))];
        self.add(name, unit, Kind::Counter, help, points);
    }
}
