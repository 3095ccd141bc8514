//! How deep a channel's money must lie under further blocks before it counts, by amount.
//!
//! Small sums count at once, large ones only when taking them back would be dear: of a channel's
//! balance, no more than a step's amount may rest on fewer blocks than the step demands. A
//! reorganisation of fewer blocks than that therefore costs the payee less than that amount.
//! Non-goals: reading blocks; what balances were at which depth comes in as numbers.

use crate::Amount;

/// One step: from this amount on, so many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Sums of this much and more, in base units; at least 1.
    pub from: Amount,
    /// Blocks that must hold them, the first included; at least 2.
    pub blocks: u64,
}

/// The steps, by growing amount and depth. None: everything counts in the newest block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmations(Vec<Depth>);

/// Why steps make no sense. The operator's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmationsError {
    /// A step begins at nothing.
    #[error("a step begins at an amount of 0: use 1 to mean every deposit")]
    Zero,
    /// A step demands what holds anyway.
    #[error("a step demands {0} blocks: use 2 or more, or leave it out")]
    Shallow(u64),
    /// A later step is not larger and deeper than the one before.
    #[error("amounts and blocks must grow from step to step")]
    Order,
    /// More steps than are worth a look at the chain each.
    #[error("more than 8 steps")]
    TooMany,
}

impl Confirmations {
    /// Steps by growing amount and depth.
    ///
    /// # Errors
    /// [`ConfirmationsError`].
    pub fn new(steps: Vec<Depth>) -> Result<Self, ConfirmationsError> {
        if steps.len() > STEPS_MAX {
            return Err(ConfirmationsError::TooMany);
        }
        let mut before: Option<Depth> = None;
        for step in &steps {
            if step.from.is_zero() {
                return Err(ConfirmationsError::Zero);
            }
            if step.blocks < 2 {
                return Err(ConfirmationsError::Shallow(step.blocks));
            }
            if before.is_some_and(|one| one.from >= step.from || one.blocks >= step.blocks) {
                return Err(ConfirmationsError::Order);
            }
            before = Some(*step);
        }
        Ok(Self(steps))
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Depth] {
        &self.0
    }

    /// The steps that a channel of this balance has to be looked up for.
    pub fn concerning(&self, balance: Amount) -> impl Iterator<Item = Depth> + '_ {
        let steps = self.0.iter().copied();
        steps.take_while(move |step| step.from <= balance)
    }

    /// How many blocks a sum must lie under.
    #[must_use]
    pub fn blocks_for(&self, amount: Amount) -> u64 {
        self.concerning(amount).last().map_or(1, |step| step.blocks)
    }
}

impl Depth {
    /// What counts of a balance that was `settled` so many blocks ago and is `newest` now.
    #[must_use]
    pub fn counts(&self, settled: Amount, newest: Amount) -> Amount {
        // Just below the step's amount may be younger.
        let young = self.from.saturating_sub(Amount::new(1));
        let most = settled.checked_add(young).unwrap_or(Amount::MAX);
        newest.min(most)
    }
}

/// Each step costs a look at the chain for the channels that it concerns.
const STEPS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(from: u128, blocks: u64) -> Depth {
        let from = Amount::new(from);
        Depth { from, blocks }
    }

    #[test]
    fn steps_must_make_sense() {
        let check = |steps: &[(u128, u64)], expected| {
            let steps = steps.iter().map(|(from, blocks)| depth(*from, *blocks));
            assert_eq!(Confirmations::new(steps.collect()).map(|_| ()), expected);
        };
        check(&[], Ok(()));
        check(&[(1, 2), (100, 5), (101, 6)], Ok(()));
        check(&[(0, 2)], Err(ConfirmationsError::Zero));
        check(&[(1, 1)], Err(ConfirmationsError::Shallow(1)));
        check(&[(5, 3), (5, 4)], Err(ConfirmationsError::Order));
        check(&[(5, 3), (6, 3)], Err(ConfirmationsError::Order));
        check(&[(1, 2); 9], Err(ConfirmationsError::TooMany));
    }

    #[test]
    fn large_sums_wait_and_small_ones_do_not() {
        let policy = Confirmations::new(vec![depth(100, 3), depth(1_000, 10)]).unwrap();
        let check = |amount, blocks| assert_eq!(policy.blocks_for(Amount::new(amount)), blocks);
        check(0, 1);
        check(99, 1);
        check(100, 3);
        check(999, 3);
        check(1_000, 10);
        assert_eq!(policy.concerning(Amount::new(99)).count(), 0);
        assert_eq!(policy.concerning(Amount::new(5_000)).count(), 2);
    }

    proptest::proptest! {
        /// What is not deep enough is always less than the step's amount.
        #[test]
        fn the_young_part_stays_below_the_step(settled: u128, newest: u128, from in 1_u128.., blocks in 2_u64..) {
            let counts = depth(from, blocks).counts(Amount::new(settled), Amount::new(newest));
            proptest::prop_assert!(counts <= Amount::new(newest));
            proptest::prop_assert!(counts.get().saturating_sub(settled) < from);
            if newest <= settled {
                proptest::prop_assert_eq!(counts.get(), newest);
            }
        }
    }
}
