//! What one payer may have at the door, over all tenants: calls that run and calls that wait.
//!
//! A payer that has as many running as it may waits, however many places are free, and keeps nobody else
//! waiting. One that has as many waiting as it may is refused.

use std::collections::HashMap;

use crate::tenant::Tenant;

/// What one payer may have, over all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayerLimits {
    /// Calls that run at the same time; 0 counts as 1.
    pub running_max: u32,
    /// Calls that wait; 0 counts as 1, since a call waits for a moment even if its turn is at once.
    pub waiting_max: usize,
}

impl PayerLimits {
    /// No limit but those of all.
    pub const NONE: Self = Self {
        running_max: u32::MAX,
        waiting_max: usize::MAX,
    };
}

/// The limits of payers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payers {
    /// Of each that has none of its own.
    pub usual: PayerLimits,
    /// Of those that have.
    pub own: HashMap<Tenant, PayerLimits>,
}

impl Default for Payers {
    fn default() -> Self {
        Self {
            usual: PayerLimits::NONE,
            own: HashMap::new(),
        }
    }
}

/// What each payer has, and may have.
#[derive(Debug, Default)]
pub(super) struct Roll {
    payers: Payers,
    present: HashMap<Tenant, Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    running: u32,
    waiting: usize,
}

impl Roll {
    pub(super) fn set(&mut self, payers: Payers) {
        self.payers = payers;
    }

    /// Whether one more of its calls may run.
    pub(super) fn may_run(&self, payer: &Tenant) -> bool {
        self.running(payer) < self.limits(payer).running_max.max(1)
    }

    /// Whether one more of its calls may wait.
    pub(super) fn may_wait(&self, payer: &Tenant) -> bool {
        self.waiting(payer) < self.limits(payer).waiting_max.max(1)
    }

    /// Whether its calls wait for each other and not for one of so many places: how long says nothing of
    /// the host then. To be asked before one of them is let in.
    pub(super) fn is_held(&self, payer: &Tenant, places: u32) -> bool {
        let running_max = self.limits(payer).running_max.max(1);
        running_max < places && self.running(payer).saturating_add(1) >= running_max
    }

    /// Its calls that wait.
    pub(super) fn waiting(&self, payer: &Tenant) -> usize {
        self.present.get(payer).map_or(0, |calls| calls.waiting)
    }

    /// In how many turns of its own one more would run.
    pub(super) fn rounds(&self, payer: &Tenant) -> u32 {
        let waiting = u32::try_from(self.waiting(payer)).unwrap_or(u32::MAX);
        let at_once = self.limits(payer).running_max.max(1);
        waiting.saturating_add(1).div_ceil(at_once)
    }

    pub(super) fn joins(&mut self, payer: &Tenant) {
        self.change(payer, |calls| {
            calls.waiting = calls.waiting.saturating_add(1)
        });
    }

    pub(super) fn leaves(&mut self, payer: &Tenant) {
        self.change(payer, |calls| {
            calls.waiting = calls.waiting.saturating_sub(1)
        });
    }

    pub(super) fn begins(&mut self, payer: &Tenant) {
        self.change(payer, |calls| {
            calls.running = calls.running.saturating_add(1)
        });
    }

    pub(super) fn ends(&mut self, payer: &Tenant) {
        self.change(payer, |calls| {
            calls.running = calls.running.saturating_sub(1)
        });
    }

    fn running(&self, payer: &Tenant) -> u32 {
        self.present.get(payer).map_or(0, |calls| calls.running)
    }

    fn limits(&self, payer: &Tenant) -> PayerLimits {
        self.payers
            .own
            .get(payer)
            .copied()
            .unwrap_or(self.payers.usual)
    }

    /// Forgets one that has nothing here.
    fn change(&mut self, payer: &Tenant, change: impl FnOnce(&mut Calls)) {
        let calls = self.present.entry(payer.clone()).or_default();
        change(calls);
        if calls.running == 0 && calls.waiting == 0 {
            self.present.remove(payer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Admission, Ask, Capacity, Order, Seat, Turned};
    use proptest::prelude::*;
    use std::time::Duration;

    const PLACES: u32 = 8;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn limits(running_max: u32, waiting_max: usize) -> PayerLimits {
        PayerLimits {
            running_max,
            waiting_max,
        }
    }

    fn ask(tenant: &str, payer: &str, work: u32) -> Ask<u32> {
        Ask {
            tenant: Tenant::new(tenant),
            payer: Tenant::new(payer),
            bytes: 1,
            deadline: None,
            price: 0,
            work,
        }
    }

    fn door(order: Order, usual: PayerLimits, own: &[(&str, PayerLimits)]) -> Admission<u32> {
        let capacity = Capacity {
            places: PLACES,
            bytes: 1_000,
            waiting_max: 40,
            tenant_waiting_max: 20,
        };
        let mut door = Admission::new(capacity, order);
        let own = own.iter().map(|(payer, own)| (Tenant::new(payer), *own));
        door.set_payers(Payers {
            usual,
            own: own.collect(),
        });
        door
    }

    fn all(door: &mut Admission<u32>, now: Duration) -> (Vec<Seat>, Vec<u32>) {
        let over = std::iter::from_fn(|| door.next(now));
        let over = over.map(|(seat, work)| (seat.unwrap(), work));
        over.unzip()
    }

    #[test]
    fn who_has_as_many_as_it_may_waits_and_others_go_on() {
        for order in [Order::Turns, Order::Price] {
            let mut door = door(order, limits(2, 3), &[("ann", limits(4, 10))]);
            for work in 0..3 {
                door.ask(at(0), ask("a", "bob", work)).unwrap();
            }
            // Over all tenants.
            let refused = door.ask(at(0), ask("b", "bob", 3)).unwrap_err();
            assert!(matches!(refused.0, Turned::PayerLimit { waiting: 3, .. }));
            let (mut seats, works) = all(&mut door, at(0));
            assert_eq!((works.len(), door.waiting()), (2, 1), "{order:?}");
            for work in 10..16 {
                door.ask(at(1), ask("a", "ann", work)).unwrap();
            }
            let (others, works) = all(&mut door, at(1));
            assert_eq!(
                works,
                [10, 11, 12, 13],
                "{order:?}: one with more of its own"
            );
            assert!(
                door.running() < PLACES,
                "places are free, and not for these"
            );
            door.release(at(2), seats.pop().unwrap());
            assert_eq!(all(&mut door, at(2)).1, [2], "{order:?}");
            drop(others);
        }
    }

    #[test]
    fn who_waits_for_itself_says_nothing_of_how_full_the_host_is() {
        let mut door = door(Order::Turns, limits(8, 20), &[("slow", limits(1, 20))]);
        for work in 0..10 {
            door.ask(at(0), ask("t", "slow", work)).unwrap();
        }
        let mut now = 0;
        for _ in 0..8 {
            let (mut seats, _) = all(&mut door, at(now));
            now += 5_000;
            door.release(at(now), seats.pop().unwrap());
        }
        // One after the other has taken 40 seconds, and another payer's call is not refused for it.
        let mut other = ask("t", "bob", 100);
        other.deadline = Some(at(now + 10_000));
        door.ask(at(now), other).unwrap();
        assert!(all(&mut door, at(now)).1.contains(&100));
    }

    #[test]
    fn the_way_around_the_queue_keeps_to_the_limits() {
        let mut door = door(Order::Turns, limits(1, 1), &[]);
        let (tenant, payer) = (Tenant::new("t"), Tenant::new("p"));
        let first = door.try_admit(at(0), &tenant, &payer, 1);
        assert!(first.is_some());
        assert!(door.try_admit(at(0), &tenant, &payer, 1).is_none());
        door.ask(at(0), ask("t", "p", 1)).unwrap();
        assert!(door.next(at(0)).is_none());
        let refused = door
            .check(at(0), &Tenant::new("u"), &payer, None)
            .unwrap_err();
        assert!(matches!(refused, Turned::PayerLimit { waiting: 1, .. }));
        door.release(at(9), first.unwrap());
        assert_eq!(all(&mut door, at(9)).1, [1]);
    }

    proptest! {
        /// Whatever comes, goes and gives up: nobody ever has more than it may, and nobody whose call may
        /// run waits while there is room.
        #[test]
        fn limits_hold_and_room_is_used(
            steps in prop::collection::vec((0_u8..4, 0_usize..3, 0_usize..2), 1..200),
            by_price in any::<bool>(),
        ) {
            let order = if by_price { Order::Price } else { Order::Turns };
            let own = limits(1, 2);
            let mut door = door(order, limits(3, 6), &[("p0", own)]);
            let allowed = [own, limits(3, 6), limits(3, 6)];
            let mut running: Vec<Vec<Seat>> = vec![Vec::new(), Vec::new(), Vec::new()];
            let mut waiting = [0_usize; 3];
            let mut tickets = Vec::new();
            for (step, (what, payer, tenant)) in steps.into_iter().enumerate() {
                let now = at(u64::try_from(step).unwrap());
                let (payer_name, tenant_name) = (format!("p{payer}"), format!("t{tenant}"));
                match what {
                    0 | 1 => {
                        let work = u32::try_from(payer).unwrap();
                        let asked = door.ask(now, ask(&tenant_name, &payer_name, work));
                        let full = waiting[payer] >= allowed[payer].waiting_max;
                        prop_assert_eq!(asked.is_err(), full, "{:?}", asked);
                        if let Ok(ticket) = asked {
                            waiting[payer] += 1;
                            tickets.push((Tenant::new(&tenant_name), ticket));
                        }
                    }
                    2 => if let Some(seat) = running[payer].pop() {
                        door.release(now, seat);
                    },
                    _ => if let Some((tenant, ticket)) = tickets.pop()
                        && let Some(work) = door.cancel(&tenant, ticket)
                    {
                        waiting[usize::try_from(work).unwrap()] -= 1;
                    },
                }
                while let Some((seat, work)) = door.next(now) {
                    let payer = usize::try_from(work).unwrap();
                    waiting[payer] -= 1;
                    running[payer].push(seat.unwrap());
                }
                let places: usize = running.iter().map(Vec::len).sum();
                for payer in 0..3 {
                    let most = usize::try_from(allowed[payer].running_max).unwrap();
                    prop_assert!(running[payer].len() <= most);
                    let held = running[payer].len() == most || places == usize::try_from(PLACES).unwrap();
                    prop_assert!(waiting[payer] == 0 || held, "room, and nobody in it");
                }
            }
        }
    }
}
