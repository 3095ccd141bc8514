//! The ledger from outside: what survives, what is refused, what happens when the disk fails or
//! the process is killed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod crash;
mod disk;
mod faults;
mod fixture;
mod record;
mod refuse;
