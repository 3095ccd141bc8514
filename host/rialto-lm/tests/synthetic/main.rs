//! Tests on a tiny model that is made here: no download needed.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod batcher;
mod hostile;
mod sample;
mod sessions;
