//! The contracts' tests: every revert, every event, the digests, and properties over random runs.
//!
//! Each test speaks JSON-RPC only and runs twice: on the in-process development chain, and on anvil
//! (`RIALTO_ANVIL` names its binary; `cargo xtask test` sets it). The invariants I1 to I11, C1, C2,
//! P1, P2, R1 to R4, F1, A1 to A6, G1 to G5 and T1 to T4 that comments here cite are those of the contracts' NatSpec.
//! Non-goals: the client of this crate and the chain itself; they have their own tests.

#![expect(
    clippy::unwrap_used,
    clippy::too_many_arguments,
    reason = "a failed unwrap fails the test, as it should; bindings have the contracts' parameters"
)]

/// Makes two tests of each `async fn(Chain)`: one for each kind of chain.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod dev {
            $(#[test] fn $name() { crate::chain::run(crate::chain::Kind::Dev, super::$name); })+
        }
        mod anvil {
            $(#[test] fn $name() { crate::chain::run(crate::chain::Kind::Anvil, super::$name); })+
        }
    };
}

mod abi;
mod agent_runs;
mod agent_wallets;
mod agents;
#[path = "../shared/anvil.rs"]
mod anvil;
mod chain;
mod claim_signatures;
mod claims;
mod coverage;
mod deposit_consent;
mod deposits;
mod digests;
mod feedback;
mod gas;
mod golden;
mod guard;
mod model;
mod permit2;
mod properties;
mod refunds;
mod splitter_runs;
mod splitters;
mod strategies;
mod times;
mod token;
mod token_authorizations;
mod token_permits;
mod withdrawals;
mod world;
