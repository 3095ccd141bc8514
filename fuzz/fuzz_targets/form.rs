//! Request bodies into arguments: forms, JSON and raw bytes, by content type.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_gateway::fuzzing::form);
