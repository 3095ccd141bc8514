//! Fixtures for tests: hostile guests, node processes and stranger clients.
