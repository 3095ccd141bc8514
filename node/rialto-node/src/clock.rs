//! The chain's clock, as this node reckons it between blocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rialto_channels::ChainTime;

/// The later of the machine's clock and the newest block seen: a chain whose blocks run ahead
/// (time travel on a development chain) is believed, one that stands still is not.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    newest_block: AtomicU64,
}

impl Clock {
    /// Takes note of a block's time.
    pub(crate) fn observe(&self, block: ChainTime) {
        self.newest_block.fetch_max(block.get(), Ordering::Relaxed);
    }

    /// Seconds since the Unix epoch, by the chain's clock.
    pub(crate) fn now(&self) -> ChainTime {
        let machine = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        ChainTime::new(machine.max(self.newest_block.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_runs_behind_the_newest_block() {
        let clock = Clock::default();
        let ahead = ChainTime::new(clock.now().get() + 86_400);
        clock.observe(ahead);
        clock.observe(ChainTime::new(1));
        assert_eq!(clock.now(), ahead);
    }
}
