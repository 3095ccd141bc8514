//! What passes between the payee's state machine and its driver: reservations, charges, refunds.

use alloy_primitives::{B256, U256};

use super::ChannelSnapshot;
use crate::{Amount, ChannelConfig, ChannelId, ClaimRow};

/// A promise that a call may be charged up to its price. Exactly one of
/// [`super::PayeeChannel::commit`] and [`super::PayeeChannel::release`] must consume it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation blocks part of the channel until it is committed or released"]
pub struct Reservation {
    pub(super) channel: ChannelId,
    pub(super) number: u64,
    pub(super) price: Amount,
}

impl Reservation {
    /// The channel it is on.
    #[must_use]
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The most that can be charged, in base units.
    #[must_use]
    pub fn price(&self) -> Amount {
        self.price
    }
}

/// What one call adds to a channel; the numbers of its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Cumulative charge before the call.
    pub before: Amount,
    /// Charge for the call.
    pub charged: Amount,
    /// Cumulative charge after the call.
    pub after: Amount,
    /// Digest of the channel's receipt before this one; zero for the first.
    pub previous: B256,
}

/// A charge that was made, and the state to store before the answer is complete (M4).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the snapshot must be durable before the answer is complete (M4)"]
pub struct Committed {
    /// The charge.
    pub charge: Charge,
    /// The channel after it.
    pub snapshot: ChannelSnapshot,
}

/// A cooperative refund that was agreed and not yet seen on chain. The channel takes no calls
/// until [`super::PayeeChannel::end_refund`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the channel is blocked until the refund ends"]
pub struct Refund {
    /// The channel's terms.
    pub config: ChannelConfig,
    /// How much goes back to the payer, in base units.
    pub amount: Amount,
    /// The contract's nonce for a refund by signature.
    pub nonce: U256,
    /// The claim to submit first, so that everything charged is safe. Send the refund only when
    /// the claim is beyond any reorganisation: a withdrawal that ends between the two lets the
    /// contract pay a refund out of what is owed.
    pub claim: Option<ClaimRow>,
    /// What must be claimed in all, beyond any reorganisation, before the refund is sent; whether
    /// by this claim or by one before it.
    pub owed: Amount,
}
