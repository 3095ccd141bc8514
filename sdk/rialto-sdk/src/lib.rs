//! Write a Rialto service as a plain Rust module.
