//! Settlements, and a channel's state in them, as our client reads them.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_gateway::fuzzing::payment_response);
