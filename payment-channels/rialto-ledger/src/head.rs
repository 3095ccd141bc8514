//! A channel's figures, and what moved between two states of it.
//!
//! Non-goals: where the figures are kept, and which state is the newer one.

use alloy_primitives::U256;
use rialto_channels::{Amount, payee::ChannelSnapshot};

use crate::journal::Flow;

/// The figures of a channel's state. The default is that of a channel which nobody has heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: u64,
    pub(crate) balance: Amount,
    pub(crate) claimed: Amount,
    pub(crate) charged: Amount,
    pub(crate) refund_nonce: U256,
}

impl From<&ChannelSnapshot> for Head {
    fn from(channel: &ChannelSnapshot) -> Self {
        Self {
            version: channel.version,
            balance: channel.balance,
            claimed: channel.claimed,
            charged: channel.charged,
            refund_nonce: channel.refund_nonce,
        }
    }
}

impl Head {
    /// Whether a newer state lacks a charge of this one, so that the two are not of one history.
    ///
    /// Charges only grow, but for one case: what was charged because the chain had claimed it, by
    /// someone who held a better voucher, is no charge any more when a reorganisation takes that
    /// claim back (`PayeeChannel::on_chain_view`). Then no voucher here covers it.
    pub(crate) fn loses_charges_to(&self, newer: &ChannelSnapshot) -> bool {
        let unproved = self.charged == self.claimed
            && newer.claimed < self.claimed
            && newer.charged >= newer.ceiling();
        newer.charged < self.charged && !unproved
    }
}

/// What moved between two states of a channel.
pub(crate) fn flows(old: &Head, new: &Head) -> impl Iterator<Item = (Flow, Amount)> + use<> {
    let grown = |old: Amount, new: Amount| new.saturating_sub(old);
    let left = if new.refund_nonce == old.refund_nonce {
        Flow::Withdrawn
    } else {
        Flow::Refunded
    };
    [
        (Flow::Deposited, grown(old.balance, new.balance)),
        (left, grown(new.balance, old.balance)),
        (Flow::Charged, grown(old.charged, new.charged)),
        (Flow::Uncharged, grown(new.charged, old.charged)),
        (Flow::Claimed, grown(old.claimed, new.claimed)),
        (Flow::Unclaimed, grown(new.claimed, old.claimed)),
    ]
    .into_iter()
    .filter(|(_, amount)| !amount.is_zero())
}
