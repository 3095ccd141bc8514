//! What a call may spend on others, and what it did.

use std::collections::BTreeSet;

use rialto_channels::Amount;

use super::HIRES_MAX;

/// The purse of one call.
#[derive(Debug)]
pub(super) struct Purse {
    /// Neither spent nor taken.
    left: Amount,
    spent: Amount,
    /// Calls that began.
    begun: u32,
    /// Calls that were answered.
    answered: u64,
    /// Names in use.
    places: BTreeSet<u32>,
}

impl Purse {
    pub(super) const fn new(max: Amount) -> Self {
        Self {
            left: max,
            spent: Amount::ZERO,
            begun: 0,
            answered: 0,
            places: BTreeSet::new(),
        }
    }

    pub(super) const fn left(&self) -> Amount {
        self.left
    }

    /// Calls that were answered, and what they cost together.
    pub(super) const fn spent(&self) -> (u64, Amount) {
        (self.answered, self.spent)
    }

    /// Takes a ceiling; false where there is not as much, or too many calls were made.
    pub(super) fn take(&mut self, price: Amount) -> bool {
        let Ok(left) = self.left.checked_sub(price) else {
            return false;
        };
        if self.begun >= HIRES_MAX {
            return false;
        }
        self.begun = self.begun.saturating_add(1);
        self.left = left;
        true
    }

    /// What was taken was not needed.
    pub(super) fn give_back(&mut self, price: Amount) {
        self.left = sum(self.left, price);
    }

    /// A call for which `price` was taken was answered, and cost so much, which is at most that.
    pub(super) fn cost(&mut self, price: Amount, charged: Amount) {
        let charged = charged.min(price);
        self.give_back(price.saturating_sub(charged));
        self.spent = sum(self.spent, charged);
        self.answered = self.answered.saturating_add(1);
    }

    /// Nothing came of a call: another one may have its name.
    pub(super) fn leave(&mut self, place: u32) {
        self.places.remove(&place);
    }

    pub(super) fn has_used(&self, place: u32) -> bool {
        self.places.contains(&place)
    }

    /// Whether it was not used before, and is from now on.
    pub(super) fn uses(&mut self, place: u32) -> bool {
        self.places.insert(place)
    }
}

/// Sums of parts of one purse are amounts, as the purse is.
fn sum(one: Amount, other: Amount) -> Amount {
    one.checked_add(other).unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_spent_that_is_not_there() {
        let units = Amount::new;
        let mut purse = Purse::new(units(10));
        assert!(!purse.take(units(11)));
        assert!(purse.take(units(7)) && !purse.take(units(4)));
        purse.cost(units(7), units(2));
        assert_eq!((purse.left(), purse.spent()), (units(8), (1, units(2))));
        assert!(purse.take(units(8)));
        purse.give_back(units(8));
        assert_eq!((purse.left(), purse.spent()), (units(8), (1, units(2))));
        // A charge above its ceiling would be a bug elsewhere, and is not passed on.
        assert!(purse.take(units(8)));
        purse.cost(units(8), units(9));
        assert_eq!((purse.left(), purse.spent()), (units(0), (2, units(10))));
        for _ in 3..HIRES_MAX {
            assert!(purse.take(units(0)));
        }
        assert!(!purse.take(units(0)));
    }
}
