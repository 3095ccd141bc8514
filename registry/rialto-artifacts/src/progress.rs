//! Telling a person how far a fetch is.
//!
//! Non-goals: drawing bars.

use std::sync::Arc;

/// One report of a fetch under way. Reports of one fetch come in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all, where the source says so.
    pub bytes_total: Option<u64>,
    /// What is going on, for people, for example `downloading magika==1.0.3 with pip`.
    pub message: String,
}

/// Receives the reports of a fetch; called from any thread, and should return at once.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// Receives reports and ignores them.
#[must_use]
pub fn silent() -> ProgressFn {
    Arc::new(|_| {})
}
