//! Payment headers into payments.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_gateway::fuzzing::payment);
