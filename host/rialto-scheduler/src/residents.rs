//! Which of the things that are in memory go first when there are too many of them.
//!
//! Pure: who knows what is used says so, and lets go what is named.

/// Something in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// What it takes.
    pub bytes: u64,
    /// When it was used last, by any count that grows.
    pub used: u64,
    /// Whether it may go: nobody uses it now, and nobody asked to keep it.
    pub may_go: bool,
}

/// The places in `residents` of those that should go so that what stays has at most `bytes_max` bytes and
/// is at most `count_max` things: as few as possible of those that may go, the longest unused first.
///
/// What may not go stays, even when it alone is too much.
#[must_use]
pub fn surplus(residents: &[Resident], bytes_max: u64, count_max: usize) -> Vec<usize> {
    let all = residents.iter();
    let mut bytes = all.fold(0_u64, |sum, it| sum.saturating_add(it.bytes));
    let mut count = residents.len();
    let mut order: Vec<(usize, &Resident)> = residents
        .iter()
        .enumerate()
        .filter(|(_, resident)| resident.may_go)
        .collect();
    order.sort_by_key(|(_, resident)| resident.used);
    let mut going = Vec::new();
    for (place, resident) in order {
        if bytes <= bytes_max && count <= count_max {
            break;
        }
        bytes = bytes.saturating_sub(resident.bytes);
        count = count.saturating_sub(1);
        going.push(place);
    }
    going
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resident() -> impl Strategy<Value = Resident> {
        (0_u64..100, 0_u64..20, any::<bool>()).prop_map(|(bytes, used, may_go)| Resident {
            bytes,
            used,
            may_go,
        })
    }

    proptest! {
        #[test]
        fn what_goes_may_go_is_the_oldest_and_is_no_more_than_needed(
            residents in prop::collection::vec(resident(), 0..30),
            bytes_max in 0_u64..1_500,
            count_max in 0_usize..30,
        ) {
            let going = surplus(&residents, bytes_max, count_max);
            let fits = |going: &[usize]| {
                let stays: Vec<_> = residents
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| !going.contains(place))
                    .map(|(_, it)| it)
                    .collect();
                let bytes: u64 = stays.iter().map(|it| it.bytes).sum();
                bytes <= bytes_max && stays.len() <= count_max
            };
            prop_assert!(going.iter().all(|place| residents[*place].may_go));
            let left = || {
                residents
                    .iter()
                    .enumerate()
                    .filter(|(place, it)| it.may_go && !going.contains(place))
            };
            prop_assert!(fits(&going) || left().next().is_none());
            if let Some((last, before)) = going.split_last() {
                prop_assert!(!fits(before), "one too many");
                prop_assert!(left().all(|(_, it)| it.used >= residents[*last].used));
            }
        }
    }

    #[test]
    fn what_is_in_use_stays_though_it_is_too_much() {
        let resident = |used, may_go| Resident {
            bytes: 10,
            used,
            may_go,
        };
        let all = [resident(1, false), resident(3, true), resident(2, true)];
        assert_eq!(surplus(&all, 20, 9), [2]);
        assert_eq!(surplus(&all, 0, 9), [2, 1]);
        assert_eq!(surplus(&all, 99, 2), [2]);
        assert_eq!(surplus(&all, 99, 3), [] as [usize; 0]);
    }
}
