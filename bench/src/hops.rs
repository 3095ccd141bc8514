//! What it costs that a service has another one work for it: on the same host, on another host, ten in a row; and what
//! a thousand services cost an agent that looks for tools.
//!
//! All nodes run in this process, on one development chain, with gateways on the loopback. A hop's cost is the
//! difference between a call that makes many and one that makes one, so that what the caller costs itself is not in it.

mod bare;
mod tools;
mod world;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::machine::Machine;
use crate::report::Target;
use crate::spread::Spread;
use crate::table;
use world::World;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Hops {
    machine: Machine,
    rounds: u32,
    /// A call of the callee alone, by the node that has it, in microseconds: its own instance and its work.
    callee_us: Spread,
    /// A hop within the host, the callee included.
    hop_us: Spread,
    /// The hop without the callee.
    own_us: Spread,
    /// A paid call through ten services of one host, in milliseconds.
    chain_ms: Spread,
    /// A hop to another host, in microseconds.
    far_us: Spread,
    /// The same bytes over HTTP/2 there and back, and nothing else.
    bare_us: Spread,
    /// One by the other.
    ratio: Spread,
    tools: tools::Tools,
}

/// Measures all.
///
/// # Errors
/// The tests' guests are not built, or a call fails.
pub(crate) fn measure(scratch: &Path, rounds: u32, runtime: &Runtime) -> Result<Hops> {
    runtime.block_on(async {
        table::say("a thousand tools …");
        let tools = tools::measure(&scratch.join("tools"), rounds).await?;
        table::say("two hosts …");
        let world = World::start(&scratch.join("hosts")).await?;
        let mut found = Rounds::default();
        for round in 0..=rounds {
            let one = world.round().await?;
            // The first opens channels and compiles.
            if round > 0 {
                found.add(&one);
            }
        }
        world.stop().await;
        Ok(found.sum_up(rounds, tools))
    })
}

/// One round's figures.
struct Round {
    callee: f64,
    hop: f64,
    chain: f64,
    far: f64,
    bare: f64,
}

#[derive(Default)]
struct Rounds {
    callee: Vec<f64>,
    hop: Vec<f64>,
    chain: Vec<f64>,
    far: Vec<f64>,
    bare: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, round: &Round) {
        self.callee.push(round.callee);
        self.hop.push(round.hop);
        self.chain.push(round.chain);
        self.far.push(round.far);
        self.bare.push(round.bare);
    }

    fn sum_up(self, rounds: u32, tools: tools::Tools) -> Hops {
        let own = self.hop.iter().zip(&self.callee);
        Hops {
            machine: Machine::describe(),
            rounds,
            own_us: Spread::of(own.map(|(hop, callee)| hop - callee)),
            ratio: Spread::ratio(&self.far, &self.bare),
            callee_us: Spread::of(self.callee),
            hop_us: Spread::of(self.hop),
            chain_ms: Spread::of(self.chain).by(1_000.0),
            far_us: Spread::of(self.far),
            bare_us: Spread::of(self.bare),
            tools,
        }
    }
}

impl World {
    async fn round(&self) -> Result<Round> {
        let callee = self.callee(ALONE).await?;
        let near = self.hops("near", NEAR).await.context("on one host")?;
        let begun = Instant::now();
        self.chain().await.context("ten in a row")?;
        let chain = micros(begun);
        let far = self.hops("far", FAR).await.context("to another host")?;
        let bare = bare::measure(self.bare, FAR * 4).await?;
        Ok(Round {
            callee,
            hop: near,
            chain,
            far,
            bare,
        })
    }

    /// Microseconds of one hop to a service.
    async fn hops(&self, service: &str, times: u32) -> Result<f64> {
        let begun = Instant::now();
        self.ask(service, 1).await?;
        let one = micros(begun);
        let begun = Instant::now();
        self.ask(service, 1 + times).await?;
        Ok((micros(begun) - one) / f64::from(times))
    }
}

impl Hops {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        table::say(&format!(
            "\na hop on one host, us: {}; without the callee ({}) {}; ten in a row, ms: {}",
            self.hop_us, self.callee_us, self.own_us, self.chain_ms
        ));
        table::say(&format!(
            "a hop to another host, us: {}; the same bytes over bare HTTP/2 {}; ratio {}",
            self.far_us, self.bare_us, self.ratio
        ));
        self.tools.print();
    }

    /// What is to be reached.
    pub(crate) fn targets(&self) -> Vec<Target> {
        vec![
            Target::most("a hop on one host, us".to_owned(), HOP_US_MAX, self.own_us),
            Target::most(
                "a hop to another host by bare HTTP/2".to_owned(),
                RATIO_MAX,
                self.ratio,
            ),
        ]
    }
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

const HOP_US_MAX: f64 = 20.0;
const RATIO_MAX: f64 = 1.5;
/// Calls of the callee alone.
const ALONE: u32 = 500;
/// Hops of a call on one host: the most that one makes is 256.
const NEAR: u32 = 200;
/// Hops of a call to another host.
const FAR: u32 = 50;
