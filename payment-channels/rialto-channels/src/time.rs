//! The chain's clock. The process's own clocks never decide about money.

use std::fmt;

/// Seconds since the Unix epoch, by the chain's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainTime(u64);

impl ChainTime {
    /// The epoch itself: before every block.
    pub const ZERO: Self = Self(0);

    /// A moment, in seconds since the Unix epoch.
    #[must_use]
    pub const fn new(secs: u64) -> Self {
        Self(secs)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The moment `secs` later, or `None` past the end of time.
    #[must_use]
    pub fn checked_add(self, secs: u64) -> Option<Self> {
        self.0.checked_add(secs).map(Self)
    }

    /// Seconds from `earlier` to this moment; zero if `earlier` is in fact later.
    #[must_use]
    pub fn secs_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for ChainTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
