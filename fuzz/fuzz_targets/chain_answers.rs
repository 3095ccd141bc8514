//! What a chain's endpoint answers to reads: ABI-encoded words and revert data.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_chain::fuzzing::chain_answers);
