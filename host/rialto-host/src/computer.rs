//! The devices that run tensor operations, as the host sees them.
//!
//! Non-goals: when they run, which is the [queue](crate::device)'s business.

use std::fmt;
use std::sync::Arc;

use rialto_compute::ops;

use crate::pace::Pace;

/// A device, and how long its programs took. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Computer {
    pub(crate) device: Arc<dyn ops::Device>,
    pub(crate) pace: Arc<Pace>,
}

impl Computer {
    pub(crate) fn new(device: &Arc<dyn ops::Device>) -> Self {
        Self {
            device: Arc::clone(device),
            pace: Arc::default(),
        }
    }

    /// What tells programs of about the same length: by their cost alone.
    pub(crate) const fn length(cost: ops::Cost) -> u64 {
        // A core multiplies several times faster than it moves bytes.
        cost.bytes
            .saturating_add(cost.multiply_adds / MULTIPLY_ADDS_A_BYTE)
    }
}

impl fmt::Debug for Computer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Computer({})", self.device.name())
    }
}

/// Multiplications with addition in the time of a byte from memory; only the order matters.
const MULTIPLY_ADDS_A_BYTE: u64 = 4;
