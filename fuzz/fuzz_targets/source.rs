//! Addresses of artifacts, as anybody may write them.
#![no_main]

rialto_fuzz::target!(1 << 20, |data: &[u8]| {
    rialto_registry::fuzzing::address(data);
});
