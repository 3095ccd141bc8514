//! Fixtures for tests: hostile guests, node processes, networks, chain endpoints that fail, and stranger
//! clients.

pub mod guests;
pub mod mesh;
#[cfg(target_os = "linux")]
pub mod net;
pub mod postgres;
pub mod proxy;
