//! Fixtures for tests: hostile guests, node processes, chain endpoints that fail, and stranger
//! clients.

pub mod guests;
pub mod mesh;
pub mod postgres;
pub mod proxy;
