//! Limits of a ledger.

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
        }
    }
}
