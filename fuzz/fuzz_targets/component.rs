//! Components into interfaces: types, schemas and documentation.
#![no_main]

rialto_fuzz::target!(256 << 20, |data: &[u8]| {
    rialto_host::fuzzing::component(data, |text| wat::parse_str(text).ok());
});
