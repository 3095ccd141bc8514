//! Fixtures for tests: hostile guests, node processes and stranger clients.

pub mod guests;
pub mod mesh;
pub mod postgres;
