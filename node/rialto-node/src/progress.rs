//! What a start reports while it works, for people who wait.

use std::fmt;
use std::sync::Arc;

/// One thing that happened during a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A line to show.
    Say(String),
    /// A transfer: bytes so far, of how many where that is known.
    Transfer {
        /// What is fetched.
        what: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
}

/// Where a start reports to.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Step) + Send + Sync>);

impl Progress {
    /// Reports to `sink`, which must not block.
    pub fn new(sink: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Reports to nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn say(&self, line: &str) {
        (self.0)(Step::Say(line.to_owned()));
    }

    pub(crate) fn transfer(&self, what: &str, bytes: u64, total: Option<u64>) {
        (self.0)(Step::Transfer {
            what: what.to_owned(),
            bytes,
            total,
        });
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
