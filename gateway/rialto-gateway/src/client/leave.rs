//! Leaving an answer that comes item by item, so that what was delivered of it is known, and no more than that counts.

use std::sync::Arc;

use tokio::sync::watch;

/// Says that nobody wants more of an answer. Clones say it of the same one.
///
/// Whoever drops the future of a call leaves as well, and never hears what was charged: its whole price counts.
#[derive(Debug, Clone)]
pub struct Leave(Arc<watch::Sender<bool>>);

impl Leave {
    /// Of an answer that is wanted so far.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// From now on nothing more is wanted: the host hears that its reader is gone, and is asked what it charged.
    pub fn leave(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was left.
    pub(super) fn is_left(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it was left.
    pub(super) async fn left(&self) {
        // The sender is here.
        self.0.subscribe().wait_for(|left| *left).await.ok();
    }
}

impl Default for Leave {
    fn default() -> Self {
        Self::new()
    }
}
