//! How long an order is asked for again whose answer did not come.

use std::time::{Duration, Instant};

use rialto_node::HireError;

use super::refused;
use crate::client::ClientError;
use crate::client::mesh::{Ask, MeshError};

/// What is left of it for one order.
#[derive(Debug)]
pub(super) struct Patience {
    deadline: Instant,
    /// Until when a host is waited for that cannot be reached.
    patient: Instant,
    pause: Duration,
    has_failed: bool,
}

impl Patience {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            patient: Instant::now() + PATIENCE,
            pause: PAUSE_MIN,
            has_failed: false,
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits a while, if it is worth it to ask again.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) async fn again(&mut self, ask: &Ask, error: MeshError) -> Result<(), HireError> {
        let order = ask.order.as_ref();
        // Whoever lost its power comes back, and what was not begun may begin as well then.
        self.has_failed |= matches!(error, MeshError::Failed { .. });
        let may_begin = self.has_failed && is_passing(&error) && Instant::now() < self.patient;
        let goes_on = may_begin || order.is_some_and(crate::client::Order::is_in_doubt);
        if is_final(&error) || !goes_on || self.left() < self.pause {
            return Err(refused(&error));
        }
        tracing::debug!(%error, service = %ask.service, "asking again for what may have been done");
        tokio::time::sleep(self.pause).await;
        self.pause = (2 * self.pause).min(PAUSE_MAX);
        Ok(())
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only a host's word is final"
)]
/// Whether the host has said that the call cannot be made as it is, which it says of none that it has made.
fn is_final(error: &MeshError) -> bool {
    let MeshError::Failed { source, .. } = error else {
        return false;
    };
    match &**source {
        // 402 and 409 are about the payment, 408 and 429 about now.
        ClientError::Refused { status, .. } => {
            (400..500).contains(status) && ![402, 408, 409, 429].contains(status)
        }
        _ => false,
    }
}

/// Whether a host could not be reached, or something before it could not; or, after that, nobody is left to ask for a
/// while.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "everything else was said by a host, or is this one's own"
)]
fn is_passing(error: &MeshError) -> bool {
    match error {
        MeshError::Failed { source, .. } => match &**source {
            ClientError::Transport(_) | ClientError::Unfinished => true,
            ClientError::Refused { status, code, .. } => *status >= 500 && code == "unknown",
            _ => false,
        },
        MeshError::Nobody { .. } => true,
        _ => false,
    }
}

/// Between two questions for the same answer.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a host is waited for that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(10);
