//! Hostile guests beside honest callers: what the attack costs the others, and what it leaves behind.
//!
//! One host as users start it. Callers with channels of their own pay for a greeting, alone and then beside
//! attackers, one for each way of misbehaving, each with a call in progress all the time. Afterwards
//! the host's memory and books are looked at.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use rialto_testkit::guests;
use rialto_testkit::mesh::{Mesh, MeshConfig};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::cpu;
use crate::exchange::{Call, Connection, address};
use crate::load::{self, Target, Window};
use crate::payer::Channel;
use crate::places::Places;
use crate::report::Target as Goal;
use crate::spread::Spread;
use crate::table;
use crate::throughput::{ANSWER, BODY, PAID_PATH, open_channels};

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Hostile {
    /// Honest callers, each with a call in progress.
    callers: usize,
    /// The 99th percentile of honest calls alone and beside the attack, in microseconds.
    p99_alone_us: Spread,
    p99_beside_us: Spread,
    /// The latter over the former, round by round.
    p99_beside_by_alone: Spread,
    /// Honest calls a second, alone and beside the attack.
    alone_per_second: Spread,
    beside_per_second: Spread,
    /// Attacks that were made: each ended with its own error, or late, since nobody gets less of the
    /// processor.
    attacks: Vec<Attacks>,
    /// The host's memory once it is warm and at the end, at rest, in MiB.
    memory_start_mib: f64,
    memory_end_mib: f64,
    /// Whether the books agree with vouchers, receipts and the chain.
    books_balance: bool,
}

#[derive(Debug, Serialize)]
struct Attacks {
    attack: String,
    error: &'static str,
    calls: usize,
    /// How many of them ran out of their time before, or could not begin in it.
    late: usize,
}

/// How often an attack was made, and how often it was late or could not begin.
#[derive(Debug, Clone, Copy, Default)]
struct Made {
    calls: usize,
    late: usize,
}

/// One way of misbehaving.
#[derive(Debug, Clone, Copy)]
struct Attack {
    service: &'static str,
    method: &'static str,
    /// The error that ends it.
    error: &'static str,
}

const fn attack(service: &'static str, method: &'static str, error: &'static str) -> Attack {
    Attack {
        service,
        method,
        error,
    }
}

const ATTACKS: [Attack; 11] = [
    attack("hostile", "trap", "service_crashed"),
    attack("hostile", "spin", LATE),
    attack("hostile", "grow", "service_memory_exceeded"),
    attack("hostile", "grow_many", "service_memory_exceeded"),
    attack("hostile", "grow_table", "service_table_exceeded"),
    attack("hostile", "recurse", "service_stack_exhausted"),
    attack("hostile", "big_text", "service_output_too_large"),
    attack("hostile", "big_bytes", "service_output_too_large"),
    attack("hostile", "refuse", "service_refused"),
    attack("flood", "run", "service_host_calls_exceeded"),
    attack("leak", "stain", "service_crashed"),
];

/// The error of whoever is late, for want of processor time or by intent.
const LATE: &str = "service_timeout";
/// The error of an attacker whose call could not even begin in its time.
const HELD_BACK: &str = "overloaded";
/// How much longer honest calls may take beside the attack, at most.
const P99_MAX: f64 = 1.2;
/// The memory that may be left behind.
const GROWTH_MAX: f64 = 1.05;
/// Honest callers.
const CALLERS: usize = 64;
/// Rounds after which the host must be warm.
const WARM_UP_ROUNDS_MAX: u32 = 30;
/// It is when its memory grew by less in a round.
const WARM_BELOW: f64 = 1.01;
/// How long its memory is watched, and how often.
const REST: Duration = Duration::from_secs(2);
const REST_LOOKS: u32 = 20;

/// Measures, in turns.
///
/// # Errors
/// The mesh does not start, an honest call fails, or an attack ends otherwise than it should.
pub(crate) fn measure(
    places: &Places,
    scratch: &Path,
    rounds: u32,
    seconds: f64,
) -> Result<Hostile> {
    let mesh = start(places, scratch)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let time = Duration::from_secs_f64(seconds);
    let paid = Call::json(PAID_PATH, BODY);
    let mut channels = runtime.block_on(open_channels(&mesh, &paid, CALLERS))?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut made = vec![Made::default(); ATTACKS.len()];
    let memory_start_mib = runtime.block_on(warm_up(&mesh, &paid, time, &mut channels))?;
    for _ in 0..rounds {
        let quiet = runtime.block_on(honest(&mesh, &paid, time, &mut channels))?;
        let (attacked, calls) = runtime.block_on(attacked(&mesh, &paid, time, &mut channels))?;
        alone.push(quiet);
        beside.push(attacked);
        made.iter_mut().zip(calls).for_each(|(sum, more)| {
            sum.calls += more.calls;
            sum.late += more.late;
        });
    }
    for (attack, made) in ATTACKS.iter().zip(&made) {
        ensure!(
            attack.error == LATE || made.late < made.calls,
            "{}/{} never came to its own error",
            attack.service,
            attack.method
        );
    }
    let memory_end_mib = at_rest_mib(&mesh)?;
    // The audit asks the node that runs.
    let books_balance = audit(places, scratch)?;
    mesh.stop()?;
    let p99 = |windows: &[Window]| windows.iter().map(|it| it.p99_us).collect::<Vec<_>>();
    let rate = |windows: &[Window]| Spread::of(windows.iter().map(Window::rate));
    Ok(Hostile {
        callers: CALLERS,
        p99_beside_by_alone: Spread::ratio(&p99(&beside), &p99(&alone)),
        p99_alone_us: Spread::of(p99(&alone)),
        p99_beside_us: Spread::of(p99(&beside)),
        alone_per_second: rate(&alone),
        beside_per_second: rate(&beside),
        attacks: attacks(&made),
        memory_start_mib,
        memory_end_mib,
        books_balance,
    })
}

impl Hostile {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        table::say(&format!(
            "{} paying callers: p99 in us alone {}, beside {} attackers {}, ratio {}",
            self.callers,
            self.p99_alone_us,
            self.attacks.len(),
            self.p99_beside_us,
            self.p99_beside_by_alone
        ));
        table::say(&format!(
            "calls a second: alone {}, beside {}",
            self.alone_per_second, self.beside_per_second
        ));
        for row in &self.attacks {
            table::say(&format!(
                "{}: {} calls, {} of them late, the others {}",
                row.attack, row.calls, row.late, row.error
            ));
        }
        table::say(&format!(
            "memory: {:.1} MiB, at the end {:.1}; the books {}",
            self.memory_start_mib,
            self.memory_end_mib,
            if self.books_balance {
                "balance"
            } else {
                "do not balance"
            }
        ));
    }

    /// What was aimed at.
    pub(crate) fn targets(&self) -> Vec<Goal> {
        let growth = self.memory_end_mib / self.memory_start_mib;
        vec![
            Goal::most(
                "p99 of honest calls beside hostile ones over alone".to_owned(),
                P99_MAX,
                self.p99_beside_by_alone,
            ),
            Goal::most(
                "memory after the attack over before".to_owned(),
                GROWTH_MAX,
                Spread::of([growth]),
            ),
        ]
    }
}

fn attacks(made: &[Made]) -> Vec<Attacks> {
    let rows = ATTACKS.iter().zip(made);
    rows.map(|(attack, made)| Attacks {
        attack: format!("{}/{}", attack.service, attack.method),
        error: attack.error,
        calls: made.calls,
        late: made.late,
    })
    .collect()
}

/// The mesh with the greeting and the hostile services.
fn start(places: &Places, scratch: &Path) -> Result<Mesh> {
    let services = scratch.join("services");
    places.lay_out_hello(&services)?;
    let hostile = [
        ("hostile", guests::HOSTILE, "", ""),
        (
            "flood",
            guests::FLOOD,
            "context = true\n",
            "host_calls_max = 20000\n",
        ),
        ("leak", guests::LEAK, "", ""),
    ];
    for (name, text, grants, limits) in hostile {
        let folder = services.join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("component.wasm"), guests::component(text)?)?;
        let manifest = format!(
            "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"Misbehaves.\"\n\
             license = \"Apache-2.0\"\n\n[grants]\n{grants}\n[limits]\ntime_ms_max = 1000\n{limits}"
        );
        fs::write(folder.join("service.toml"), manifest)?;
    }
    // Who only misbehaves would be taken out: here it goes on.
    let config = scratch.join("config.toml");
    fs::write(&config, "[sandbox.quarantine]\nfaults_min = 0\n")?;
    Mesh::start(&MeshConfig {
        program: places.rialto.clone(),
        data_dir: scratch.join("data"),
        services,
        artifacts: places.artifacts.clone(),
        listen: "127.0.0.1:0".to_owned(),
        args: vec!["--config".to_owned(), config.display().to_string()],
    })
}

/// Pays and attacks until the host has touched what it will: the pages of its ledger above all, which it keeps
/// up to a bound, a few hundred bytes a paid call. Gives its memory then.
async fn warm_up(
    mesh: &Mesh,
    call: &Call,
    time: Duration,
    channels: &mut Vec<Channel>,
) -> Result<f64> {
    let mut before = 0.0;
    for _ in 0..WARM_UP_ROUNDS_MAX {
        honest(mesh, call, time, channels).await?;
        attacked(mesh, call, time, channels).await?;
        let now = at_rest_mib(mesh)?;
        if now < before * WARM_BELOW {
            return Ok(now);
        }
        before = now;
    }
    bail!("after {WARM_UP_ROUNDS_MAX} rounds the host's memory still grows: {before:.0} MiB")
}

/// The host's memory with nothing to do: the least within the time in which the ledger goes over its entries.
fn at_rest_mib(mesh: &Mesh) -> Result<f64> {
    let mut least = f64::MAX;
    for _ in 0..REST_LOOKS {
        std::thread::sleep(REST / REST_LOOKS);
        least = least.min(cpu::resident_mib(mesh.process_id())?);
    }
    Ok(least)
}

async fn honest(
    mesh: &Mesh,
    call: &Call,
    time: Duration,
    channels: &mut Vec<Channel>,
) -> Result<Window> {
    let mut lent = std::mem::take(channels);
    for channel in &mut lent {
        channel.stock_up(stock(time)?)?;
    }
    let callers = load::connect(address(mesh.gateway())?, CALLERS, &mut lent).await?;
    let expected = Bytes::from_static(ANSWER);
    let target = Target {
        call,
        expected: &expected,
    };
    load::run(callers, &target, time, channels).await
}

/// Vouchers for one caller: at most so many calls can be made in `time`.
fn stock(time: Duration) -> Result<usize> {
    const RATE_MAX: usize = 20_000;
    Ok(RATE_MAX * usize::try_from(time.as_millis())? / 1_000 / CALLERS + 100)
}

async fn attacked(
    mesh: &Mesh,
    call: &Call,
    time: Duration,
    channels: &mut Vec<Channel>,
) -> Result<(Window, Vec<Made>)> {
    let on = Arc::new(AtomicBool::new(true));
    let mut attackers = JoinSet::new();
    for (at, attack) in ATTACKS.into_iter().enumerate() {
        let connection = Connection::open(address(mesh.gateway())?).await?;
        let on = Arc::clone(&on);
        attackers.spawn(async move { anyhow::Ok((at, misbehave(connection, attack, &on).await?)) });
    }
    let window = honest(mesh, call, time, channels).await;
    on.store(false, Ordering::Relaxed);
    let mut made = vec![Made::default(); ATTACKS.len()];
    while let Some(done) = attackers.join_next().await {
        let (at, calls) = done??;
        if let Some(place) = made.get_mut(at) {
            *place = calls;
        }
    }
    Ok((window?, made))
}

/// Attacks one after the other while it is `on`; how often.
async fn misbehave(mut connection: Connection, attack: Attack, on: &AtomicBool) -> Result<Made> {
    let path = format!("/services/{}/{}", attack.service, attack.method);
    let call = Call::json(&path, "{}");
    let mut made = Made::default();
    while on.load(Ordering::Relaxed) {
        let answer = connection.send(call.request(None)?).await?;
        let problem: Value = serde_json::from_slice(&answer.body)?;
        let code = problem.pointer("/error/code").and_then(Value::as_str);
        let late = code == Some(LATE) || code == Some(HELD_BACK);
        ensure!(
            late || code == Some(attack.error),
            "{path} ended with {problem} and not with {}",
            attack.error
        );
        made.calls += 1;
        made.late += usize::from(late);
    }
    Ok(made)
}

/// Whether `rialto ledger audit` finds everything in order.
fn audit(places: &Places, scratch: &Path) -> Result<bool> {
    let status = Command::new(&places.rialto)
        .args(["ledger", "audit", "--json", "--data-dir"])
        .arg(scratch.join("data"))
        .output()
        .context("cannot audit the books")?
        .status;
    Ok(status.success())
}
