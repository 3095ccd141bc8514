//! What the chain says about a channel, and for how long that may be believed.

use alloy_primitives::U256;

use crate::{Amount, ChainTime};

/// A withdrawal the payer started and has not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// How much leaves the channel, in base units.
    pub amount: Amount,
    /// From when on anyone on the payer's side can finish it.
    pub finalizes_at: ChainTime,
}

/// The contract's state of one channel, as read at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnChainView {
    /// Everything deposited and not refunded or withdrawn, claimed funds included.
    pub balance: Amount,
    /// Cumulative amount claimed by the payee.
    pub claimed: Amount,
    /// The nonce of the next signed refund.
    pub refund_nonce: U256,
    /// A withdrawal under way.
    pub withdrawal: Option<Withdrawal>,
    /// Time of the block the view was read at.
    pub read_at: ChainTime,
}

/// For how many seconds a chain view is believed: a third of the withdrawal delay, at least
/// 30 s and at most 5 minutes. Within that time no withdrawal can start and finish unseen.
#[must_use]
pub fn view_ttl_secs(withdraw_delay: u64) -> u64 {
    const THIRD: u64 = 3;
    withdraw_delay
        .checked_div(THIRD)
        .unwrap_or_default()
        .clamp(TTL_SECS_MIN, TTL_SECS_MAX)
}

const TTL_SECS_MIN: u64 = 30;
const TTL_SECS_MAX: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_is_a_third_of_the_delay_within_bounds() {
        let check = |delay, expected| assert_eq!(view_ttl_secs(delay), expected, "delay {delay}");
        check(0, 30);
        check(60, 30);
        check(120, 40);
        check(900, 300);
        check(2_592_000, 300);
    }
}
