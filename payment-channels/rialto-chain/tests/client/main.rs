//! The client against real chains: every test runs on the in-process development chain and on
//! anvil (`RIALTO_ANVIL` names its binary; `cargo xtask test` sets it). A published ERC-8004 client runs on
//! both too (`RIALTO_NODE`, `RIALTO_NODE_MODULES`).
//!
//! Non-goals: the contracts' own rules, which have their own tests.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap in a test's helper fails the test"
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

mod agent0;
#[path = "../shared/anvil.rs"]
mod anvil;
mod chain;
mod claims;
mod confirmations;
mod connect;
mod faults;
mod kept;
mod life;
mod payouts;
mod people;
mod registries;
mod registry_logs;
mod reorgs;
mod settlements;
mod transfers;
