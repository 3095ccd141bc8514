//! What a call may spend on others, and what it did.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Answers that come item by item and have not ended, with what each costs if it ends now; none where nothing is
    /// owed for it yet.
    streams: BTreeMap<u32, Option<Amount>>,
}

impl Purse {
    pub(super) const fn new(max: Amount) -> Self {
        Self {
            left: max,
            spent: Amount::ZERO,
            begun: 0,
            answered: 0,
            places: BTreeSet::new(),
            streams: BTreeMap::new(),
        }
    }

    pub(super) const fn left(&self) -> Amount {
        self.left
    }

    /// Calls that were answered, be it in part, and what they cost together as it is now.
    pub(super) fn spent(&self) -> (u64, Amount) {
        let open = self.streams.values().flatten();
        open.fold((self.answered, self.spent), |(calls, spent), cost| {
            (calls.saturating_add(1), sum(spent, *cost))
        })
    }

    /// An answer begins that comes item by item; none where too many do.
    pub(super) fn begin_stream(&mut self) -> Option<u32> {
        if self.streams.len() >= STREAMS_MAX {
            return None;
        }
        // Each is one of the calls that began, which have a limit.
        let key = self.begun;
        self.streams.insert(key, None);
        Some(key)
    }

    /// It would cost so much if it ended now.
    pub(super) fn would_cost(&mut self, stream: u32, cost: Amount) {
        self.streams.insert(stream, Some(cost));
    }

    /// It has ended, and counts like any other call.
    pub(super) fn end_stream(&mut self, stream: u32) {
        self.streams.remove(&stream);
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

/// Answers that come to one call item by item at a time.
const STREAMS_MAX: usize = 4;

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

    #[test]
    fn what_is_open_counts_as_if_it_ended_now() {
        let units = Amount::new;
        let mut purse = Purse::new(units(100));
        let mut open = Vec::new();
        for _ in 0..STREAMS_MAX {
            assert!(purse.take(units(10)));
            open.push(purse.begin_stream().unwrap());
        }
        assert_eq!((purse.spent(), purse.left()), ((0, units(0)), units(60)));
        assert!(purse.take(units(10)) && purse.begin_stream().is_none());
        purse.give_back(units(10));
        purse.would_cost(open[0], units(3));
        purse.would_cost(open[0], units(4));
        purse.would_cost(open[1], units(1));
        assert_eq!((purse.spent(), purse.left()), ((2, units(5)), units(60)));
        purse.end_stream(open[0]);
        purse.cost(units(10), units(6));
        assert_eq!((purse.spent(), purse.left()), ((2, units(7)), units(64)));
        purse.end_stream(open[2]);
        purse.give_back(units(10));
        assert_eq!((purse.spent(), purse.left()), ((2, units(7)), units(74)));
    }
}
