//! Swarms of 100, 300 and 1,000 real nodes in this process, a fifth of them hostile, while nodes come and go:
//! whether published services are found, what that takes, and what it costs to be there.
//!
//! On the memory transport: without delay and loss, but with the encryption, the streams and the messages of
//! real connections. Counts and bytes mean what they say; times are those of the processors, which all nodes
//! share, and a dead node is noticed at once.

pub(crate) mod dice;
mod hostile;
mod news;
pub(crate) mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::machine::Machine;
use crate::plot::{Line, Plot};
use crate::report::Target;
use crate::spread::{Spread, percentile};
use crate::{cpu, table};
use hostile::Manner;
use world::{Asked, Sent, World};

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Swarms {
    machine: Machine,
    rounds: u32,
    sizes: Vec<Size>,
}

/// One swarm.
#[derive(Debug, Serialize)]
struct Size {
    /// How many nodes there were to be; fewer if the time was over.
    wanted: usize,
    nodes: usize,
    hostile: usize,
    join: Join,
    /// With nodes coming and going and hostile ones at work: over all rounds.
    lookups: usize,
    lookups_found: usize,
    /// Of these, of services whose keys silent nodes surround.
    attacked_lookups: usize,
    attacked_found: usize,
    /// Round by round.
    success_percent: Spread,
    p50_ms: Spread,
    p99_ms: Spread,
    requests_p50: Spread,
    requests_p99: Spread,
    /// Steps to the peer that first had a record, on average and of one in a hundred.
    hops_mean: Spread,
    hops_p99: Spread,
    publish: Publish,
    /// Nobody leaving or attacking.
    quiet: Quiet,
    news: news::News,
    /// How often honest nodes have shut somebody out.
    bans: u64,
}

/// What joining took, on average.
#[derive(Debug, Serialize)]
struct Join {
    seconds_in_all: f64,
    cpu_ms_per_node: f64,
    kib_per_node: f64,
    /// Those that were opened by then, by either side.
    connections_per_node: f64,
    /// Resident memory of this process by its nodes.
    mib_per_node: f64,
}

/// What publishing took.
#[derive(Debug, Serialize)]
struct Publish {
    p50_ms: Spread,
    /// At how many peers the key is that the fewest keep; the median of each round.
    stored: Spread,
    kib: Spread,
    questions: Spread,
}

/// What lookups cost, beyond what is sent anyway, and what that is.
#[derive(Debug, Serialize)]
struct Quiet {
    /// For the first record.
    first: Cost,
    /// For all there are, as a client asks.
    all: Cost,
    idle_seconds: f64,
    idle_mib_per_node_hour: f64,
    idle_questions_per_node_minute: f64,
    records_per_node: f64,
    routing_per_node: f64,
}

/// One lookup.
#[derive(Debug, Serialize)]
struct Cost {
    found_percent: f64,
    p50_ms: f64,
    p99_ms: f64,
    requests_p50: f64,
    requests_p99: f64,
    hops_mean: f64,
    kib: f64,
    /// By the number of nodes: what each of them sends for one lookup of anybody's.
    bytes_per_node: f64,
    messages_per_node: f64,
}

/// Measures swarms of each size, one after the other, within about the time that all may take.
///
/// # Errors
/// A node does not start.
pub(crate) fn measure(
    sizes: &[usize],
    rounds: u32,
    all_time: Duration,
    runtime: &Runtime,
) -> Result<Swarms> {
    let rounds = rounds.clamp(3, 5);
    let begun = Instant::now();
    let bare = resident_mib();
    let mut found = Vec::new();
    for &wanted in sizes {
        table::say(&format!("a swarm of {wanted} …"));
        let left = all_time.saturating_sub(begun.elapsed());
        let limit = left.saturating_sub(MEASURING);
        if limit < GROWING_MIN {
            table::say("  no time is left for it");
            continue;
        }
        found.push(runtime.block_on(one(wanted, rounds, limit, bare))?);
    }
    Ok(Swarms {
        machine: Machine::describe(),
        rounds,
        sizes: found,
    })
}

async fn one(wanted: usize, rounds: u32, limit: Duration, bare: f64) -> Result<Size> {
    let mut world = World::new(wanted as u64 + 41, true);
    let join = grow(&mut world, wanted, limit, bare).await?;
    let nodes = world.count();
    let mut tally = Tally::default();
    for number in 0..world.surrounded() {
        world.publish(&world::attacked(number), true).await?;
    }
    for round in 0..rounds {
        tally.round(&mut world, round, nodes).await?;
    }
    let quiet = quiet(&mut world).await?;
    let news = news::measure(&mut world).await?;
    let attacked = || tally.asked.iter().filter(|asked| asked.attacked);
    Ok(Size {
        wanted,
        nodes,
        hostile: world.hostile.len(),
        join,
        lookups: tally.asked.len(),
        lookups_found: tally.asked.iter().filter(|asked| asked.found).count(),
        attacked_lookups: attacked().count(),
        attacked_found: attacked().filter(|asked| asked.found).count(),
        success_percent: Spread::of(tally.success),
        p50_ms: Spread::of(tally.p50),
        p99_ms: Spread::of(tally.p99),
        requests_p50: Spread::of(tally.requests_p50),
        requests_p99: Spread::of(tally.requests_p99),
        hops_mean: Spread::of(tally.hops_mean),
        hops_p99: Spread::of(tally.hops_p99),
        publish: Publish {
            p50_ms: Spread::of(tally.publish_ms),
            stored: Spread::of(tally.stored),
            kib: Spread::of(tally.publish_kib),
            questions: Spread::of(tally.publish_questions),
        },
        quiet,
        news,
        bans: world.bans(),
    })
}

async fn grow(world: &mut World, wanted: usize, limit: Duration, bare: f64) -> Result<Join> {
    let (begun, cpu) = (Instant::now(), cpu::own_process());
    world.grow(wanted, limit).await?;
    let count = world.count().max(1) as f64;
    let used = cpu::own_process().saturating_sub(cpu);
    let join = Join {
        seconds_in_all: begun.elapsed().as_secs_f64(),
        cpu_ms_per_node: used.as_secs_f64() * 1e3 / count,
        kib_per_node: world.sent().bytes / 1024.0 / count,
        connections_per_node: world.sent().connections / count,
        mib_per_node: (resident_mib() - bare) / count,
    };
    table::say(&format!(
        "  {} nodes in {:.0} s; each {:.0} ms of processor, {:.0} connections, {:.2} MiB",
        world.count(),
        join.seconds_in_all,
        join.cpu_ms_per_node,
        join.connections_per_node,
        join.mib_per_node
    ));
    Ok(join)
}

/// What the rounds came to.
#[derive(Debug, Default)]
struct Tally {
    asked: Vec<Asked>,
    success: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    requests_p50: Vec<f64>,
    requests_p99: Vec<f64>,
    hops_mean: Vec<f64>,
    hops_p99: Vec<f64>,
    publish_ms: Vec<f64>,
    publish_kib: Vec<f64>,
    publish_questions: Vec<f64>,
    stored: Vec<f64>,
}

impl Tally {
    /// Some publish, a tenth goes and as many come, the hostile ones do what they do, and others look up.
    async fn round(&mut self, world: &mut World, round: u32, nodes: usize) -> Result<()> {
        let before = world.sent();
        let (mut took, mut stored) = (Vec::new(), Vec::new());
        for number in 0..SERVICES {
            let name = format!("round-{round}/{number}");
            let placed = world.publish(&name, false).await?;
            took.push(placed.ms);
            stored.push(placed.stored);
        }
        let (bytes, questions) = since(world, &before);
        self.publish_ms.push(Spread::of(took).median);
        self.stored.push(Spread::of(stored).median);
        self.publish_kib.push(bytes / 1024.0 / SERVICES as f64);
        self.publish_questions.push(questions / SERVICES as f64);
        world.forge().await?;
        world.swarm.kill(LEAVING_PERMILLE);
        world.grow(nodes, GROW_AGAIN).await?;
        let floods = flood(world)?;
        let asked = look_up(world, 1).await?;
        for flood in floods {
            flood.abort();
        }
        let (times, requests) = sorted(&asked);
        self.success.push(success(&asked));
        self.p50.push(percentile(&times, 50));
        self.p99.push(percentile(&times, 99));
        self.requests_p50.push(percentile(&requests, 50));
        self.requests_p99.push(percentile(&requests, 99));
        let hops = hops(&asked);
        self.hops_mean.push(mean(&hops));
        self.hops_p99.push(percentile(&hops, 99));
        self.asked.extend(asked);
        Ok(())
    }
}

/// Every flooder sends bad records to drawn honest nodes until it is told to stop.
fn flood(world: &mut World) -> Result<Vec<JoinHandle<()>>> {
    let mut floods = Vec::new();
    for flooder in world.of(Manner::Flooder) {
        let mut to = Vec::new();
        for _ in 0..PESTERED {
            to.push(world.honest()?.peer());
        }
        floods.push(tokio::spawn(async move {
            for number in 0_u64.. {
                for peer in &to {
                    hostile::pester(&flooder, *peer, "round-0/0", number).await;
                    tokio::time::sleep(PESTER_PAUSE).await;
                }
            }
        }));
    }
    Ok(floods)
}

async fn quiet(world: &mut World) -> Result<Quiet> {
    // What the last round has begun ends first.
    tokio::time::sleep(SETTLE).await;
    let before = world.sent();
    tokio::time::sleep(IDLE).await;
    let (bytes, questions) = since(world, &before);
    let seconds = before.at.elapsed().as_secs_f64();
    let idle = (bytes / seconds, questions / seconds);
    let nodes = world.count().max(1) as f64;
    let minute = |per_second: f64| per_second * 60.0 / nodes;
    let (records, routing) = world.levels();
    Ok(Quiet {
        first: cost(world, 1, idle).await?,
        all: cost(world, world::ALL, idle).await?,
        idle_seconds: seconds,
        idle_mib_per_node_hour: minute(idle.0) * 60.0 / 1024.0 / 1024.0,
        idle_questions_per_node_minute: minute(idle.1),
        records_per_node: records,
        routing_per_node: routing,
    })
}

/// Looks up one service after the other, as many as the time allows.
async fn look_up(world: &mut World, want: usize) -> Result<Vec<Asked>> {
    let begun = Instant::now();
    let mut asked = Vec::new();
    while asked.len() < LOOKUPS && begun.elapsed() < LOOKING {
        asked.push(world.look_up(want).await?);
    }
    Ok(asked)
}

async fn cost(world: &mut World, want: usize, idle: (f64, f64)) -> Result<Cost> {
    let before = world.sent();
    let asked = look_up(world, want).await?;
    let seconds = before.at.elapsed().as_secs_f64();
    let (bytes, questions) = since(world, &before);
    let each = |all: f64, idle: f64| (all - idle * seconds).max(0.0) / asked.len().max(1) as f64;
    let (bytes, questions) = (each(bytes, idle.0), each(questions, idle.1));
    let (times, requests) = sorted(&asked);
    let nodes = world.count().max(1) as f64;
    Ok(Cost {
        found_percent: success(&asked),
        p50_ms: percentile(&times, 50),
        p99_ms: percentile(&times, 99),
        requests_p50: percentile(&requests, 50),
        requests_p99: percentile(&requests, 99),
        hops_mean: mean(&hops(&asked)),
        kib: bytes / 1024.0,
        bytes_per_node: bytes / nodes,
        // A question and its answer.
        messages_per_node: 2.0 * questions / nodes,
    })
}

/// Bytes and questions of all nodes since then.
fn since(world: &World, before: &Sent) -> (f64, f64) {
    let now = world.sent();
    (now.bytes - before.bytes, now.questions - before.questions)
}

fn success(asked: &[Asked]) -> f64 {
    let found = asked.iter().filter(|asked| asked.found).count();
    100.0 * found as f64 / asked.len().max(1) as f64
}

/// Times and requests, each sorted.
pub(crate) fn sorted(asked: &[Asked]) -> (Vec<f64>, Vec<f64>) {
    let mut times: Vec<f64> = asked.iter().map(|asked| asked.ms).collect();
    let mut requests: Vec<f64> = asked.iter().map(|asked| asked.requests).collect();
    times.sort_by(f64::total_cmp);
    requests.sort_by(f64::total_cmp);
    (times, requests)
}

/// Steps to the first record of those that were found, sorted.
fn hops(asked: &[Asked]) -> Vec<f64> {
    let found = asked.iter().filter(|asked| asked.found);
    let mut hops: Vec<f64> = found.map(|asked| asked.hops).collect();
    hops.sort_by(f64::total_cmp);
    hops
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Memory of this process that is resident, in mebibytes; zero where the system does not say.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or_default() / 1024.0
}

impl Swarms {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        for it in &self.sizes {
            table::say(&format!(
                "\n{} nodes ({} hostile): {} of {} lookups found ({} of {} with the key surrounded)",
                it.nodes,
                it.hostile,
                it.lookups_found,
                it.lookups,
                it.attacked_found,
                it.attacked_lookups
            ));
            table::say(&format!(
                "  first record, ms: p50 {}, p99 {}; requests p50 {}, p99 {}; hops {}, p99 {}",
                it.p50_ms, it.p99_ms, it.requests_p50, it.requests_p99, it.hops_mean, it.hops_p99
            ));
            table::say(&format!(
                "  publishing: {} ms, at {} peers, {} KiB, {} questions",
                it.publish.p50_ms, it.publish.stored, it.publish.kib, it.publish.questions
            ));
            for (name, cost) in [("first", &it.quiet.first), ("all", &it.quiet.all)] {
                table::say(&format!(
                    "  quiet, {name}: {:.1}%, p50 {:.1} ms, p99 {:.1} ms, {} requests, {:.2} hops, {:.1} KiB",
                    cost.found_percent,
                    cost.p50_ms,
                    cost.p99_ms,
                    cost.requests_p50,
                    cost.hops_mean,
                    cost.kib
                ));
            }
            table::say(&format!(
                "  idle: {:.1} MiB a node and hour, {:.2} questions a minute; {:.0} records, {:.0} peers known",
                it.quiet.idle_mib_per_node_hour,
                it.quiet.idle_questions_per_node_minute,
                it.quiet.records_per_node,
                it.quiet.routing_per_node
            ));
            it.news.print();
        }
    }

    /// Draws how many are found, and how long that takes, by size.
    ///
    /// # Errors
    /// The pictures cannot be written.
    pub(crate) fn draw(&self, folder: &Path) -> Result<()> {
        let line = |name: &str, of: fn(&Size) -> Spread| Line {
            name: name.to_owned(),
            points: self
                .sizes
                .iter()
                .map(|it| (it.nodes as f64, of(it)))
                .collect(),
        };
        Plot {
            title: "Lookups that find a published service, a fifth of the nodes hostile",
            across: "nodes",
            up: "percent",
            lines: vec![line("found", |it| it.success_percent)],
        }
        .draw(&folder.join("swarm-success.svg"))?;
        Plot {
            title: "How long a lookup takes to the first offer, a fifth of the nodes hostile",
            across: "nodes",
            up: "ms of two shared cores",
            lines: vec![line("p50", |it| it.p50_ms), line("p99", |it| it.p99_ms)],
        }
        .draw(&folder.join("swarm-latency.svg"))?;
        Plot {
            title: "Steps and requests of a lookup to its first offer, by the size of the network",
            across: "nodes",
            up: "count",
            lines: vec![
                line("hops, mean", |it| it.hops_mean),
                line("hops, p99", |it| it.hops_p99),
                line("requests, p50", |it| it.requests_p50),
                line("log2 of the nodes", |it| {
                    Spread::of([(it.nodes as f64).log2()])
                }),
            ],
        }
        .draw(&folder.join("swarm-hops.svg"))
    }

    /// What is to be reached.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let hops = |it: &Size| {
            let what = format!("hops among {} nodes, p99, by log2 of them", it.nodes);
            let scale = (it.nodes as f64).log2();
            Target::most(what, 1.0, it.hops_p99.by(scale))
        };
        let found = |it: &Size| {
            let what = format!("lookups that succeed among {} nodes, percent", it.nodes);
            let percent = 100.0 * it.lookups_found as f64 / it.lookups.max(1) as f64;
            Target::least(what, SUCCESS_MIN, Spread::of([percent]))
        };
        let found = self.sizes.iter().map(found);
        found.chain(self.sizes.iter().map(hops)).collect()
    }
}

/// What of that is kept for measuring a grown swarm.
const MEASURING: Duration = Duration::from_secs(75);
/// With less than that a swarm is not begun.
const GROWING_MIN: Duration = Duration::from_secs(10);
const SUCCESS_MIN: f64 = 99.0;
/// Services published in a round.
const SERVICES: usize = 10;
const LOOKUPS: usize = 120;
/// How long they may take together.
const LOOKING: Duration = Duration::from_secs(5);
/// How many of the honest nodes leave in a round, in thousandths; as many come.
const LEAVING_PERMILLE: u32 = 100;
const GROW_AGAIN: Duration = Duration::from_secs(5);
/// How many honest nodes one flooder pesters, and how often.
const PESTERED: usize = 8;
const PESTER_PAUSE: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
