//! Signed envelopes: they open as they were sealed, or not at all.
#![no_main]

rialto_fuzz::target!(512 << 10, rialto_registry::fuzzing::sealed);
