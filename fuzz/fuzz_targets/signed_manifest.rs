//! Signed manifests: refused, or read back under the same name.
#![no_main]

rialto_fuzz::target!(4 << 20, rialto_registry::fuzzing::signed_manifest);
