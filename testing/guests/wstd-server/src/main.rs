//! The HTTP server among the examples of the package wstd, unchanged: the build script finds it.
#![expect(clippy::unwrap_used, reason = "other people's code, included as it is")]

include!(concat!(env!("OUT_DIR"), "/example.rs"));
