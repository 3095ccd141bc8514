//! JSON into values of any type, and back.
#![no_main]

rialto_fuzz::target!(1 << 20, rialto_host::fuzzing::json_values);
