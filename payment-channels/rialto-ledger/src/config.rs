//! Limits of a ledger.

use std::time::Duration;

/// Limits of a ledger. Everything it keeps waiting or keeps for convenience is bounded; what it
/// keeps as a record of money is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Entries that may wait for the writer; more are refused.
    pub queue_max: usize,
    /// Entries written in one transaction.
    pub group_max: usize,
    /// Largest answer stored with a payment, in bytes; larger ones are not stored.
    pub answer_bytes_max: usize,
    /// Answers kept in all; the oldest go first.
    pub answers_max: u64,
    /// Bytes of answers kept in all; the oldest go first.
    pub answers_bytes_max: u64,
    /// Memory for redb's page cache, in bytes.
    pub cache_bytes: usize,
    /// Largest segment of the write-ahead file, in bytes. The first ones are smaller.
    pub segment_bytes: u64,
    /// Bytes acknowledged that start a move into the tables.
    pub checkpoint_bytes: u64,
    /// How long an acknowledged entry waits for that at most.
    pub checkpoint_interval: Duration,
    /// Bytes acknowledged and not in the tables yet, in memory and on disk; with more, entries
    /// wait in the queue until the tables have caught up.
    pub backlog_bytes_max: u64,
    /// Memory for the filter that answers lookups of payments that were never made, in bytes. At
    /// ten bits for each payment one lookup in a hundred still asks the tables; with fewer bits,
    /// more do.
    pub filter_bytes: usize,
    /// Channels whose figures are kept in memory to check the next state against; others are read
    /// from the tables. Up to twice as many are kept.
    pub channels_cached: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue_max: 4096,
            group_max: 1024,
            answer_bytes_max: 64 << 10,
            answers_max: 100_000,
            answers_bytes_max: 256 << 20,
            cache_bytes: 64 << 20,
            segment_bytes: 16 << 20,
            checkpoint_bytes: 8 << 20,
            checkpoint_interval: Duration::from_secs(1),
            backlog_bytes_max: 64 << 20,
            filter_bytes: 16 << 20,
            channels_cached: 1 << 15,
        }
    }
}
