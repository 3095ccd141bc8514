//! What an entry moves on chain: for the journal and for the sums.

use rialto_channels::Amount;

use super::Draft;
use crate::{
    Totals,
    embedded::{generation::Moved, logged::MovementKey, tables},
    journal::Flow,
};

/// Which way money moved on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Claimed,
    Settled,
    Refunded,
}

impl Kind {
    /// Part of stored keys: never changed.
    pub(super) fn tag(self) -> u8 {
        match self {
            Self::Claimed => 1,
            Self::Settled => 2,
            Self::Refunded => 3,
        }
    }

    pub(super) fn of_tag(tag: u8) -> Option<Self> {
        [Self::Claimed, Self::Settled, Self::Refunded]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }

    pub(super) fn sum(self, totals: &mut Totals) -> &mut Amount {
        match self {
            Self::Claimed => &mut totals.claimed,
            Self::Settled => &mut totals.settled,
            Self::Refunded => &mut totals.refunded,
        }
    }
}

/// Notes a movement; of the three kinds, the channels' states tell the journal of two.
pub(super) fn take_movement(draft: &mut Draft, kind: Kind, key: MovementKey, amount: u128) {
    draft.generation.movements.insert(key, amount);
    if kind == Kind::Settled {
        let (_, _, receiver, token) = tables::movement(&key);
        draft.generation.moved.push(Moved {
            day: draft.day,
            channel: None,
            receiver,
            token,
            flow: Flow::Settled,
            amount: Amount::new(amount),
        });
    }
}
