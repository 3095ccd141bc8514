//! The ledger from outside: what survives, what is refused, what happens when the disk fails or
//! the process is killed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever a test does not expect fails it"
)]

mod audit;
mod books;
mod bounds;
mod conformance;
mod crash;
mod disk;
mod faults;
mod fixture;
mod full;
mod growth;
mod log;
mod payers;
mod record;
mod refuse;
mod replicas;
mod shared_books;
mod upgrade;
