//! Manifests that anyone may publish.
#![no_main]

rialto_fuzz::target!(4 << 20, |data: &[u8]| {
    rialto_registry::fuzzing::manifest(data, |text| toml::from_str(text).ok());
});
