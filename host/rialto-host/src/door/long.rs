//! Calls that compute in the background: so many at once, and who is refused when there are.
//!
//! A tenant with less than an equal part of the room finds some even then, up to twice the bound, and one
//! without any always: a flood of long calls keeps nobody else's out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rialto_scheduler::Tenant;

/// Calls that compute in the background.
#[derive(Debug)]
pub(super) struct LongCalls {
    max: u32,
    /// Tenants that have any.
    of: Mutex<HashMap<Tenant, u32>>,
}

impl LongCalls {
    /// Room for so many; 0 counts as 1.
    pub(super) fn new(max: u32) -> Self {
        Self {
            max: max.max(1),
            of: Mutex::default(),
        }
    }

    /// One more of this tenant, if there is room for it.
    pub(super) fn begins(&self, tenant: &Tenant) -> bool {
        let mut of = self.lock();
        let room = self.room(&of, tenant);
        if room {
            more(&mut of, tenant);
        }
        room
    }

    /// One more of this tenant, whether or not there is room: it was here before.
    pub(super) fn goes_on(&self, tenant: &Tenant) {
        more(&mut self.lock(), tenant);
    }

    /// One fewer of this tenant.
    pub(super) fn ends(&self, tenant: &Tenant) {
        let mut of = self.lock();
        if let Some(calls) = of.get_mut(tenant) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                of.remove(tenant);
            }
        }
    }

    /// Whether there is room for one more of this tenant.
    pub(super) fn has_room(&self, tenant: &Tenant) -> bool {
        self.room(&self.lock(), tenant)
    }

    /// How many there are.
    pub(super) fn all(&self) -> u32 {
        all(&self.lock())
    }

    fn room(&self, of: &HashMap<Tenant, u32>, tenant: &Tenant) -> bool {
        let (all, own) = (all(of), of.get(tenant).copied().unwrap_or(0));
        if all < self.max || own == 0 {
            return true;
        }
        let tenants = u32::try_from(of.len()).unwrap_or(u32::MAX).max(1);
        all < self.max.saturating_mul(2) && own < self.max / tenants
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, u32>> {
        // No step under this lock leaves something half-changed.
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all(of: &HashMap<Tenant, u32>) -> u32 {
    of.values().fold(0, |sum, calls| sum.saturating_add(*calls))
}

fn more(of: &mut HashMap<Tenant, u32>, tenant: &Tenant) {
    let calls = of.entry(tenant.clone()).or_default();
    *calls = calls.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flood_leaves_room_for_the_long_calls_of_others() {
        let long = LongCalls::new(8);
        let names = ["flood", "a", "b", "c"].map(Tenant::new);
        let begin = |tenant: &Tenant| (0..100).filter(|_| long.begins(tenant)).count();
        let begun: Vec<_> = names.iter().map(begin).collect();
        assert_eq!(
            begun,
            [8, 4, 2, 2],
            "an equal part each, and the flood what was free"
        );
        assert!(!long.has_room(&names[0]));
        for _ in 0..8 {
            long.ends(&names[0]);
        }
        assert_eq!(long.all(), 8);
        assert!(long.has_room(&names[0]), "it has none of its part any more");
    }

    proptest! {
        /// Whatever begins and ends: nobody without a call is refused, and there is an end to it.
        #[test]
        fn there_is_room_for_everybody_and_a_bound(
            max in 1_u32..20,
            steps in prop::collection::vec((0_usize..6, any::<bool>()), 1..400),
        ) {
            let long = LongCalls::new(max);
            let names: Vec<_> = (0..6).map(|name| Tenant::new(&name.to_string())).collect();
            let mut have = [0_u32; 6];
            for (tenant, begins) in steps {
                if begins {
                    let begun = long.begins(&names[tenant]);
                    prop_assert!(begun || have[tenant] > 0);
                    have[tenant] += u32::from(begun);
                } else if have[tenant] > 0 {
                    long.ends(&names[tenant]);
                    have[tenant] -= 1;
                }
                prop_assert_eq!(long.all(), have.iter().sum::<u32>());
                prop_assert!(long.all() <= 2 * max + 6, "{:?} of {max}", have);
                prop_assert!(have.iter().all(|calls| *calls <= max));
            }
        }
    }
}
