//! The chain's clock: the wall clock plus what development calls put it ahead by.

use std::time::{SystemTime, UNIX_EPOCH};

/// Gives blocks their times.
///
/// Times never run backwards; blocks within the same second have the same time, so that a busy
/// chain does not run ahead of its users' clocks.
#[derive(Debug, Default)]
pub(super) struct Clock {
    ahead_secs: i64,
    next: Option<u64>,
}

impl Clock {
    pub(super) fn ahead_secs(&self) -> i64 {
        self.ahead_secs
    }

    /// How far ahead of the wall clock the given time is.
    pub(super) fn ahead_at(&self, timestamp: u64) -> i64 {
        let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        timestamp.saturating_sub_unsigned(wall_secs())
    }

    /// Returns the value before. Forgets a time set by [`set_next`](Self::set_next).
    pub(super) fn set_ahead(&mut self, ahead_secs: i64) -> i64 {
        self.next = None;
        std::mem::replace(&mut self.ahead_secs, ahead_secs)
    }

    /// The next block has this time, whatever the clock says.
    pub(super) fn set_next(&mut self, timestamp: u64) {
        self.next = Some(timestamp);
    }

    /// The next block's time, if it were mined now on top of a block of `latest`.
    pub(super) fn next_block_at(&self, latest: u64) -> u64 {
        let now = wall_secs().saturating_add_signed(self.ahead_secs);
        self.next.unwrap_or(now).max(latest)
    }

    /// A block has used the time set by [`set_next`](Self::set_next).
    pub(super) fn block_mined(&mut self) {
        self.next = None;
    }
}

fn wall_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_wall_clock_and_never_runs_backwards() {
        let mut clock = Clock::default();
        let now = wall_secs();
        assert!(clock.next_block_at(0).abs_diff(now) <= 1);
        assert_eq!(clock.next_block_at(now + 500), now + 500);
        clock.set_ahead(1_000);
        assert!(clock.next_block_at(0).abs_diff(now + 1_000) <= 1);
        clock.set_next(now + 7);
        assert_eq!(clock.next_block_at(0), now + 7);
        clock.block_mined();
        assert!(clock.next_block_at(0).abs_diff(now + 1_000) <= 1);
    }
}
