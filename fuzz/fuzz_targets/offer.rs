//! Offers, signed or as a host would sign them: refused, or within their bounds.
#![no_main]

rialto_fuzz::target!(512 << 10, rialto_registry::fuzzing::offer);
