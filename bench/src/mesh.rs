//! What finding and fetching costs a client: choosing among offers at hand, looking up what is not, and
//! getting an artifact from a peer beside plain HTTP.

mod choice;
mod transfer;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::machine::Machine;
use crate::report::Target;
use crate::spread::{Spread, percentile};
use crate::swarm::{sorted, world::World};
use crate::table;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Mesh {
    machine: Machine,
    rounds: u32,
    choice: choice::Choice,
    cold: Cold,
    transfer: transfer::Transfer,
}

/// Lookups among nodes that have nothing at hand, on the memory transport: without a network's delay.
#[derive(Debug, Serialize)]
struct Cold {
    /// Fewer than wanted where the machine was too busy.
    nodes: usize,
    lookups: usize,
    found: usize,
    p50_ms: Spread,
    p99_ms: Spread,
    requests_p50: Spread,
    join_seconds: f64,
}

/// Measures all three.
///
/// # Errors
/// A node does not start, or a fetch fails.
pub(crate) fn measure(scratch: &Path, rounds: u32, runtime: &Runtime) -> Result<Mesh> {
    table::say("choosing …");
    let choice = choice::measure(rounds)?;
    table::say("an artifact …");
    let transfer = runtime.block_on(transfer::measure(scratch, rounds))?;
    table::say("a swarm …");
    let cold = runtime.block_on(cold(rounds))?;
    Ok(Mesh {
        machine: Machine::describe(),
        rounds,
        choice,
        cold,
        transfer,
    })
}

async fn cold(rounds: u32) -> Result<Cold> {
    let mut world = World::new(3, false);
    let begun = Instant::now();
    world.grow(NODES, GROW).await?;
    let join_seconds = begun.elapsed().as_secs_f64();
    for number in 0..SERVICES {
        world.publish(&format!("cold/{number}"), false).await?;
    }
    let (mut p50, mut p99, mut requests, mut found) = (vec![], vec![], vec![], 0);
    for _ in 0..rounds {
        let mut asked = Vec::new();
        for _ in 0..LOOKUPS {
            asked.push(world.look_up(1).await?);
        }
        found += asked.iter().filter(|asked| asked.found).count();
        let (times, asks) = sorted(&asked);
        p50.push(percentile(&times, 50));
        p99.push(percentile(&times, 99));
        requests.push(percentile(&asks, 50));
    }
    Ok(Cold {
        nodes: world.count(),
        lookups: p50.len() * LOOKUPS,
        found,
        p50_ms: Spread::of(p50),
        p99_ms: Spread::of(p99),
        requests_p50: Spread::of(requests),
        join_seconds,
    })
}

impl Mesh {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        let choice = &self.choice;
        table::say(&format!(
            "\none of {} offers at hand, us: p50 {}, p99 {}; the router alone {}; checking an offer {}",
            choice.offers, choice.p50_us, choice.p99_us, choice.router_p50_us, choice.check_us
        ));
        let cold = &self.cold;
        table::say(&format!(
            "a lookup among {} nodes, ms: p50 {}, p99 {}; {} requests; {} of {} found",
            cold.nodes, cold.p50_ms, cold.p99_ms, cold.requests_p50, cold.found, cold.lookups
        ));
        let transfer = &self.transfer;
        table::say(&format!(
            "{} MiB to an empty store, MiB/s: from a peer {}, by HTTP {} (thrown away {}); ratio {}",
            transfer.mib, transfer.peer, transfer.http, transfer.http_to_nowhere, transfer.ratio
        ));
    }

    /// What is to be reached.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let choice = format!("one of {} offers at hand, us", self.choice.offers);
        vec![
            Target::most(choice, CHOICE_US_MAX, self.choice.p50_us),
            Target::least(
                "an artifact from a peer by plain HTTP".to_owned(),
                TRANSFER_MIN,
                self.transfer.ratio,
            ),
        ]
    }
}

const CHOICE_US_MAX: f64 = 1_000.0;
const TRANSFER_MIN: f64 = 0.5;
const NODES: usize = 300;
const GROW: Duration = Duration::from_secs(150);
const SERVICES: usize = 30;
const LOOKUPS: usize = 100;
