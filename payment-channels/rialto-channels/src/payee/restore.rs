//! Continuing many channels at once, as a payee does when it starts.
//!
//! Most of the time goes into checking the vouchers' signatures, some fifty microseconds each, and no
//! channel depends on another: so every core takes its share.
//! Non-goals: where snapshots come from, and which of them are wanted.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use super::{ChannelSnapshot, PayeeChannel, RestoreError};
use crate::SettlementDomain;

impl PayeeChannel {
    /// As [`PayeeChannel::restore`] for many channels, in their order, on all cores of the machine.
    ///
    /// # Errors
    /// The first [`RestoreError`] in the order of the snapshots.
    pub fn restore_all(
        snapshots: &[ChannelSnapshot],
        domain: &SettlementDomain,
        in_flight_max: usize,
    ) -> Result<Vec<Self>, RestoreError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let share = snapshots.len().div_ceil(cores).max(SHARE_MIN);
        let restore = |share: &[ChannelSnapshot]| -> Result<Vec<Self>, RestoreError> {
            let channels = share.iter().cloned();
            channels
                .map(|snapshot| Self::restore(snapshot, domain, in_flight_max))
                .collect()
        };
        thread::scope(|scope| {
            let mut shares = snapshots.chunks(share);
            let first = shares.next().unwrap_or_default();
            let others: Vec<_> = shares
                .map(|share| {
                    let thread = thread::Builder::new().name("restore".to_owned());
                    // Without another thread this one does it.
                    let thread = thread.spawn_scoped(scope, move || restore(share));
                    (share, thread)
                })
                .collect();
            let mut restored = restore(first)?;
            restored.reserve(snapshots.len().saturating_sub(restored.len()));
            for (share, thread) in others {
                let more = match thread.map(thread::ScopedJoinHandle::join) {
                    Ok(Ok(more)) => more,
                    Ok(Err(panic)) => resume_unwind(panic),
                    Err(_) => restore(share),
                };
                restored.extend(more?);
            }
            Ok(restored)
        })
    }
}

/// Fewer are not worth a thread.
const SHARE_MIN: usize = 256;
