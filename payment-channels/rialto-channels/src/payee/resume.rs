//! A payee's channel that several processes work on in turns, each under the same lock of a shared
//! store: what one has to hand to the next.
//!
//! [`ChannelSnapshot`] is what must survive a crash of the only process; calls in flight are not in
//! it. Where processes take turns, those are common knowledge too: the sum of the reservations of
//! all of them must stay below the ceiling (M2).
//!
//! Non-goals: the lock, the store, and who is still alive.

use std::collections::BTreeMap;

use super::{ChannelSnapshot, PayeeChannel, Reservation, RestoreError};
use crate::{Amount, ChainTime};

/// Everything a process needs to go on where another stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedState {
    /// The durable state.
    pub snapshot: ChannelSnapshot,
    /// Calls in flight in any process: number to price, in base units.
    pub in_flight: BTreeMap<u64, Amount>,
    /// Number of the next reservation; never used twice on one channel.
    pub next_number: u64,
    /// No call is taken before the chain was read again.
    pub needs_view: bool,
    /// Views read before this block time miss something already known.
    pub view_floor: ChainTime,
    /// A refund is under way: no call is taken.
    pub refunding: bool,
}

impl SharedState {
    /// The state of a channel that nobody works on and whose snapshot is just as the chain shows it.
    #[must_use]
    pub fn at_rest(snapshot: ChannelSnapshot) -> Self {
        Self {
            snapshot,
            in_flight: BTreeMap::new(),
            next_number: 0,
            needs_view: false,
            view_floor: ChainTime::ZERO,
            refunding: false,
        }
    }
}

impl PayeeChannel {
    /// Goes on where another process stopped. Signatures in the state are believed: whoever wrote
    /// it had checked them, and this happens for every call.
    ///
    /// # Errors
    /// [`RestoreError::AboveCeiling`] if the numbers break M2; the operator's fault.
    pub fn resume(state: SharedState, in_flight_max: usize) -> Result<Self, RestoreError> {
        let snapshot = &state.snapshot;
        if snapshot.charged > snapshot.claimed && snapshot.charged > snapshot.ceiling() {
            return Err(RestoreError::AboveCeiling(snapshot.id));
        }
        let mut sum = Amount::ZERO;
        for price in state.in_flight.values() {
            sum = sum
                .checked_add(*price)
                .map_err(|_| RestoreError::AboveCeiling(snapshot.id))?;
        }
        let mut channel = Self::from_state(state.snapshot, in_flight_max, state.needs_view);
        channel.in_flight = state.in_flight;
        channel.in_flight_sum = sum;
        channel.next_number = state.next_number;
        channel.view_floor = state.view_floor;
        channel.refunding = state.refunding;
        Ok(channel)
    }

    /// What the next process needs.
    #[must_use]
    pub fn share(&self) -> SharedState {
        SharedState {
            snapshot: self.snapshot(),
            in_flight: self.in_flight.clone(),
            next_number: self.next_number,
            needs_view: self.needs_view,
            view_floor: self.view_floor,
            refunding: self.refunding,
        }
    }

    /// The reservation of this number, for the process that made it and resumed the channel since;
    /// `None` if it is no longer held.
    #[must_use]
    pub fn held(&self, number: u64) -> Option<Reservation> {
        self.in_flight.get(&number).map(|price| Reservation {
            channel: self.state.id,
            number,
            price: *price,
        })
    }

    /// Ends a refund that another process began and will not end itself: it may or may not have
    /// been paid, so no call is taken before the chain was read again.
    pub fn abandon_refund(&mut self) {
        if self.refunding {
            self.refunding = false;
            self.needs_view = true;
        }
    }
}

impl Reservation {
    /// Its number on its channel.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}
