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

impl OnChainView {
    /// What may be relied on, of a view of the newest block and one of a block so deep that no
    /// reorganisation within the provider's policy removes it: only money that is there in both,
    /// and everything else, withdrawals above all, as new as can be.
    #[must_use]
    pub fn relied_on(newest: &Self, deep: &Self) -> Self {
        Self {
            balance: newest.balance.min(deep.balance),
            ..*newest
        }
    }
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
    fn only_money_that_cannot_be_reorganised_away_is_relied_on() {
        let view = |balance, claimed, read_at| OnChainView {
            balance: Amount::new(balance),
            claimed: Amount::new(claimed),
            refund_nonce: U256::from(read_at),
            withdrawal: None,
            read_at: ChainTime::new(read_at),
        };
        let withdrawal = Some(Withdrawal {
            amount: Amount::new(5),
            finalizes_at: ChainTime::new(9),
        });
        let newest = OnChainView {
            withdrawal,
            ..view(30, 7, 2)
        };
        let deposit_is_young = OnChainView::relied_on(&newest, &view(10, 3, 1));
        assert_eq!(deposit_is_young.balance, Amount::new(10));
        assert_eq!(deposit_is_young.claimed, Amount::new(7));
        assert_eq!(deposit_is_young.withdrawal, withdrawal);
        assert_eq!(deposit_is_young.read_at, ChainTime::new(2));
        let refund_is_young = OnChainView::relied_on(&newest, &view(40, 3, 1));
        assert_eq!(refund_is_young.balance, Amount::new(30));
    }

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
