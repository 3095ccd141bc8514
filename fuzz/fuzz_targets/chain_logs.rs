//! Logs of a chain's endpoint, as JSON, into events.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_chain::fuzzing::chain_logs);
