//! Outlines of artifacts, as peers give them.
#![no_main]

rialto_fuzz::target!(4 << 20, |data: &[u8]| {
    rialto_registry::fuzzing::outline(data);
});
