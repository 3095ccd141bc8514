//! A 402 as our client reads it: offers into quotes, states into corrections.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_gateway::fuzzing::payment_required);
