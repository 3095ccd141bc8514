//! Payers, a payee, a chain and a network in one simulation without sockets, clocks or threads:
//! the real state machines of `rialto-channels` under everything that goes wrong.
//!
//! One number, the seed, decides all of it: messages lost, late, repeated and out of order;
//! crashes of either side at any moment, with records of the disk lost or torn; an endpoint of the
//! chain that goes away, clocks that are wrong, reorganisations; deposits, refunds, withdrawals
//! that race with calls; payers and payees that cheat. After every event the money rules M1 to M6
//! are compared with accounts that the simulation keeps itself.
//!
//! What is simulated are the drivers around the state machines and the settlement contract. Not
//! here: the real ledger, node and contract, which have their own tests.

mod books;
mod chain;
mod cheat;
mod check;
mod disk;
mod hear;
mod message;
mod parties;
mod payee;
mod payee_chain;
mod payer;
mod random;
mod rule;
mod world;

use std::fmt;

pub use rule::{Rule, UnknownRule};
pub use world::run;

/// How to run a seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A bug to put in, to see that it is found.
    pub broken: Option<Rule>,
    /// Say what happens, event by event, on standard error.
    pub trace: bool,
}

/// What a run went through, to see that runs are worth their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls that payers started.
    pub calls: u64,
    /// Calls that were done.
    pub served: u64,
    /// Base units charged.
    pub charged: u128,
    /// Calls and refunds that were refused with a reason.
    pub refusals: u64,
    /// Repeated payments that were answered from the disk.
    pub replays: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// Crashes of either side.
    pub crashes: u64,
    /// Reorganisations.
    pub reorganisations: u64,
    /// Transactions that claim.
    pub claims: u64,
    /// Refunds by agreement.
    pub refunds: u64,
    /// Withdrawals that were finished.
    pub withdrawals: u64,
    /// Messages that a cheat changed.
    pub cheats: u64,
    /// Payees that a payer stopped to trust.
    pub suspicions: u64,
    /// Contradicting receipts that were proven.
    pub conflicts: u64,
    /// Chains of receipts that were verified.
    pub chains: u64,
}

impl Summary {
    /// Adds another run's numbers.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            served: self.served + other.served,
            charged: self.charged + other.charged,
            refusals: self.refusals + other.refusals,
            replays: self.replays + other.replays,
            lost: self.lost + other.lost,
            crashes: self.crashes + other.crashes,
            reorganisations: self.reorganisations + other.reorganisations,
            claims: self.claims + other.claims,
            refunds: self.refunds + other.refunds,
            withdrawals: self.withdrawals + other.withdrawals,
            cheats: self.cheats + other.cheats,
            suspicions: self.suspicions + other.suspicions,
            conflicts: self.conflicts + other.conflicts,
            chains: self.chains + other.chains,
        }
    }
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// The run.
    pub seed: u64,
    /// The bug that was put in.
    pub broken: Option<Rule>,
    /// Seconds into the run.
    pub secs: u64,
    /// Which rule, and the numbers.
    pub message: String,
}

impl fmt::Display for Failure {
    /// What happened, and the command that shows it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} after {} s: {}\nreplay: cargo run --release -p rialto-sim -- --seed {}",
            self.seed, self.secs, self.message, self.seed
        )?;
        if let Some(rule) = self.broken {
            write!(f, " --break {rule}")?;
        }
        f.write_str(" --trace")
    }
}

#[expect(clippy::print_stderr, reason = "asked for by `--trace`")]
fn trace(secs: u64, text: &str) {
    eprintln!("{secs:>6} {text}");
}
