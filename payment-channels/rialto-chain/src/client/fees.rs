//! What a transaction offers for gas, and what its replacement offers.
//!
//! Non-goals: guessing what the chain wants; the endpoint is asked for that.

/// An EIP-1559 offer, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    /// Base fee and tip together, at most.
    pub(super) max: u128,
    /// The tip.
    pub(super) tip: u128,
}

impl Fees {
    /// The least that every pool takes as a replacement: both an eighth higher (12.5%; pools ask
    /// for 10% of one or both), and not below what the chain wants `now`. `None` if that is more
    /// than `max_cap`: then it is better to wait.
    pub(super) fn raised(self, now: Self, max_cap: u128) -> Option<Self> {
        let max = eighth_more(self.max)?.max(now.max);
        let tip = eighth_more(self.tip)?.max(now.tip).min(max);
        (max <= max_cap).then_some(Self { max, tip })
    }

    /// No more than the cap, which may mean that the transaction waits for cheaper times.
    pub(super) fn capped(self, max_cap: u128) -> Self {
        let max = self.max.min(max_cap);
        let tip = self.tip.min(max);
        Self { max, tip }
    }
}

/// Rounded up, and by one at least.
fn eighth_more(fee: u128) -> Option<u128> {
    fee.checked_add((fee / 8).checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Fees = Fees { max: 0, tip: 0 };

    #[test]
    fn a_replacement_offers_an_eighth_more_of_both() {
        for (max, tip) in [(1, 0), (7, 7), (100, 3), (50_000_000_001, 1_000_000_000)] {
            let raised = Fees { max, tip }.raised(CALM, u128::MAX).unwrap();
            assert!(raised.max * 8 >= max * 9 && raised.tip * 8 >= tip * 9);
            assert!(raised.max > max && raised.tip > tip);
        }
    }

    #[test]
    fn it_follows_the_chain_up_and_stops_at_the_cap() {
        let first = Fees { max: 80, tip: 8 };
        let dear = Fees { max: 200, tip: 2 };
        let raised = first.raised(dear, 200).unwrap();
        assert_eq!(raised, Fees { max: 200, tip: 10 });
        assert_eq!(raised.raised(dear, 200), None);
        assert_eq!(dear.capped(150), Fees { max: 150, tip: 2 });
        let all = Fees {
            max: u128::MAX,
            tip: 0,
        };
        assert_eq!(all.raised(CALM, u128::MAX), None);
    }
}
