//! Requests of other servers to this host as their facilitator.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_gateway::fuzzing::facilitator);
