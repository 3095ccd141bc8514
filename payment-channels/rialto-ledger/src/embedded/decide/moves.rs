//! What an entry moves on chain, or turns out not to: for the journal and for the sums.

use rialto_channels::{Amount, receipt::Receipt};

use super::Draft;
use crate::{
    Movement, Totals,
    embedded::{generation::Moved, logged::MovementKey, tables},
    journal::Flow,
};

/// Which way money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Claimed,
    Settled,
    Refunded,
    /// Not at all: an `exact` payment that was booked.
    Unpaid,
}

impl Kind {
    /// Part of stored keys: never changed.
    pub(super) fn tag(self) -> u8 {
        match self {
            Self::Claimed => 1,
            Self::Settled => 2,
            Self::Refunded => 3,
            Self::Unpaid => 4,
        }
    }

    pub(super) fn of_tag(tag: u8) -> Option<Self> {
        [Self::Claimed, Self::Settled, Self::Refunded, Self::Unpaid]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }

    /// The sum that counts it, if there is one: what was booked by `exact` payments stays as it was.
    pub(super) fn sum(self, totals: &mut Totals) -> Option<&mut Amount> {
        match self {
            Self::Claimed => Some(&mut totals.claimed),
            Self::Settled => Some(&mut totals.settled),
            Self::Refunded => Some(&mut totals.refunded),
            Self::Unpaid => None,
        }
    }

    /// What it is in the journal; of claims and refunds the channels' states tell.
    fn flow(self) -> Option<Flow> {
        match self {
            Self::Claimed | Self::Refunded => None,
            Self::Settled => Some(Flow::Settled),
            Self::Unpaid => Some(Flow::Unpaid),
        }
    }
}

/// Whether these are the figures of a payment outside channels.
pub(super) fn is_of(movement: &Movement, receipt: &Receipt) -> bool {
    receipt.channel.is_none()
        && (receipt.provider, receipt.token) == (movement.receiver, movement.token)
        && receipt.booked() == movement.amount
}

/// Notes a movement.
pub(super) fn take_movement(draft: &mut Draft, kind: Kind, key: MovementKey, amount: u128) {
    draft.generation.movements.insert(key, amount);
    if let Some(flow) = kind.flow() {
        let (_, _, receiver, token) = tables::movement(&key);
        draft.generation.moved.push(Moved {
            day: draft.day,
            channel: None,
            receiver,
            token,
            flow,
            amount: Amount::new(amount),
        });
    }
}
