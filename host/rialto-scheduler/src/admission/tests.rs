//! Fairness by example, and limits by random sequences.

use super::*;
use proptest::prelude::*;

const CAPACITY: Capacity = Capacity {
    places: 4,
    bytes: 100,
    waiting_max: 40,
    tenant_waiting_max: 20,
};

fn ask(tenant: &str, payer: &str, bytes: u64, work: u32) -> Ask<u32> {
    Ask {
        tenant: Tenant::new(tenant),
        payer: Tenant::new(payer),
        bytes,
        deadline: None,
        price: 0,
        work,
    }
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The next call that may run, where none is turned away.
fn seated(door: &mut Admission<u32>, now: Duration) -> Option<(Seat, u32)> {
    let (seat, work) = door.next(now)?;
    Some((seat.unwrap(), work))
}

/// All whose wait is over, and the seats of those who have one.
fn all(door: &mut Admission<u32>, now: Duration) -> (Vec<Seat>, Vec<u32>) {
    let over = std::iter::from_fn(|| door.next(now));
    let (seats, works): (Vec<_>, Vec<_>) = over.unzip();
    (seats.into_iter().filter_map(Result::ok).collect(), works)
}

#[test]
fn a_quiet_tenant_is_next_when_a_flood_lets_go_of_anything() {
    let mut door = Admission::new(CAPACITY, Order::Turns);
    for work in 0..12 {
        door.ask(at(0), ask("flood", "ann", 30, work)).unwrap();
    }
    let (mut seats, works) = all(&mut door, at(0));
    assert_eq!(works, [0, 1, 2], "three of 30 bytes fit");
    door.ask(at(1), ask("quiet", "bob", 20, 100)).unwrap();
    assert!(door.next(at(1)).is_none());
    door.release(at(0), seats.pop().unwrap());
    assert_eq!(all(&mut door, at(2)).1, [100], "and not the flood's fourth");
}

#[test]
fn parts_follow_weights_in_the_resource_that_is_scarce() {
    let mut door = Admission::new(
        Capacity {
            places: 30,
            ..CAPACITY
        },
        Order::Turns,
    );
    door.set_weight(&Tenant::new("heavy"), 3);
    for work in 0..20 {
        door.ask(at(0), ask("heavy", "ann", 5, work)).unwrap();
        door.ask(at(0), ask("light", "bob", 5, 100 + work)).unwrap();
    }
    let (_, works) = all(&mut door, at(0));
    let light = works.iter().filter(|work| **work >= 100).count();
    assert_eq!((works.len(), light), (20, 5));
}

#[test]
fn payers_of_one_tenant_take_turns() {
    let mut door = Admission::new(CAPACITY, Order::Turns);
    for work in 0..10 {
        door.ask(at(0), ask("t", "many", 1, work)).unwrap();
    }
    door.ask(at(0), ask("t", "few", 1, 100)).unwrap();
    assert_eq!(all(&mut door, at(0)).1, [0, 100, 1, 2]);
}

#[test]
fn with_one_place_tenants_and_payers_take_turns() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            ..CAPACITY
        },
        Order::Turns,
    );
    for work in 0..6 {
        let payer = if work < 5 { "ann" } else { "eve" };
        door.ask(at(0), ask("flood", payer, 1, work)).unwrap();
    }
    let mut works = Vec::new();
    for step in 0..7 {
        let (seat, work) = seated(&mut door, at(0)).unwrap();
        works.push(work);
        if step == 0 {
            door.ask(at(0), ask("quiet", "bob", 1, 100)).unwrap();
        }
        door.release(at(0), seat);
    }
    assert_eq!(works, [0, 100, 5, 1, 2, 3, 4]);
}

#[test]
fn small_calls_pass_a_large_one_for_a_while_only() {
    let mut door = Admission::new(
        Capacity {
            waiting_max: 1_000,
            tenant_waiting_max: 1_000,
            ..CAPACITY
        },
        Order::Turns,
    );
    let (tenant, payer) = (Tenant::new("small"), Tenant::new("ann"));
    let mut seat = door.try_admit(at(0), &tenant, &payer, 10).unwrap();
    door.ask(at(0), ask("large", "bob", 100, 1_000)).unwrap();
    for work in 0..PASSED_MAX {
        door.ask(at(0), ask("small", "ann", 10, work)).unwrap();
        let (next, found) = seated(&mut door, at(0)).unwrap();
        assert_eq!(found, work);
        door.release(at(0), std::mem::replace(&mut seat, next));
    }
    door.ask(at(0), ask("small", "ann", 10, 999)).unwrap();
    assert!(door.next(at(0)).is_none(), "room is kept");
    door.release(at(0), seat);
    assert_eq!(all(&mut door, at(0)).1, [1_000]);
}

fn turned(door: &mut Admission<u32>, now: Duration, ask: Ask<u32>) -> String {
    door.ask(now, ask).unwrap_err().0.to_string()
}

#[test]
fn full_queues_refuse_those_who_have_most_of_them() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            waiting_max: 3,
            tenant_waiting_max: 2,
            ..CAPACITY
        },
        Order::Turns,
    );
    let _seat = door.try_admit(at(0), &Tenant::new("a"), &Tenant::new("p"), 1);
    door.ask(at(0), ask("a", "p", 1, 1)).unwrap();
    door.ask(at(0), ask("a", "p", 1, 2)).unwrap();
    assert_eq!(
        turned(&mut door, at(0), ask("a", "p", 1, 3)),
        "2 calls of one payer wait, more than its share; come again in 0 ms"
    );
    door.ask(at(0), ask("a", "q", 1, 4)).unwrap();
    let (pushed_out, work) = door.next(at(0)).unwrap();
    assert!(matches!(
        pushed_out,
        Err(Turned::PayerFull { waiting: 2, .. })
    ));
    assert_eq!((work, door.waiting()), (2, 2), "the newest of who has most");
    assert_eq!(
        turned(&mut door, at(0), ask("a", "r", 1, 5)),
        "2 calls of `a` wait; come again in 0 ms",
        "nobody has more than it would"
    );
    door.ask(at(0), ask("b", "p", 1, 6)).unwrap();
    door.ask(at(0), ask("c", "p", 1, 7)).unwrap();
    let (_, work) = door.next(at(0)).unwrap();
    assert_eq!((work, door.waiting()), (4, 3), "of the tenant with most");
    assert_eq!(
        turned(&mut door, at(0), ask("d", "p", 1, 8)),
        "3 calls wait; come again in 0 ms"
    );
    assert!(door.next(at(0)).is_none());
}

fn hurried(deadline: u64, payer: &str, work: u32) -> Ask<u32> {
    Ask {
        deadline: Some(at(deadline)),
        ..ask("a", payer, 1, work)
    }
}

#[test]
fn a_call_that_could_not_finish_in_time_is_refused_or_not_begun() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            ..CAPACITY
        },
        Order::Turns,
    );
    let (tenant, payer) = (Tenant::new("a"), Tenant::new("p"));
    let seat = door.try_admit(at(0), &tenant, &payer, 1).unwrap();
    for work in 0..3 {
        door.ask(at(0), hurried(170, "p", work)).unwrap();
    }
    door.release(at(80), seat);
    let (seat, work) = seated(&mut door, at(80)).unwrap();
    assert_eq!(work, 0);
    // Two wait, each turn takes 80 ms, and so does a call, which must have half of that.
    let late = turned(&mut door, at(80), hurried(359, "p", 3));
    assert_eq!(
        late,
        "its turn would come in about 240 ms, too late for its deadline"
    );
    door.ask(at(80), hurried(360, "p", 3)).unwrap();
    door.ask(at(80), hurried(320, "q", 4)).unwrap();
    door.release(at(160), seat);
    let mut begun = Vec::new();
    while let Some((seat, work)) = door.next(at(160)) {
        match seat {
            Ok(seat) => {
                begun.push(work);
                door.release(at(160), seat);
            }
            Err(turned) => assert!(matches!(turned, Turned::TooLate { .. }) && work < 3),
        }
    }
    assert_eq!(
        begun,
        [4, 3],
        "ten milliseconds are not enough for the others"
    );
}

/// Twice what can be done, for a minute: after a moment nobody waits long, and nothing is idle.
#[test]
fn a_queue_that_stays_long_takes_no_more_until_it_is_short() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            waiting_max: 1_000,
            tenant_waiting_max: 1_000,
            ..CAPACITY
        },
        Order::Turns,
    );
    let (mut seat, mut since, mut done) = (None, at(0), 0);
    let (mut refused, mut waits) = (0, Vec::new());
    for ms in (0..60_000).step_by(5) {
        let now = at(ms);
        if seat.is_some() && now - since >= at(10) {
            door.release(now, seat.take().unwrap());
            done += 1;
        }
        match door.ask(now, ask("t", "p", 1, u32::try_from(ms).unwrap())) {
            Ok(_) => {}
            Err((Turned::Standing { after }, _)) => {
                assert!(after > at(100));
                refused += 1;
            }
            Err((turned, _)) => panic!("{turned}"),
        }
        if let Some((next, came)) = seated(&mut door, now) {
            waits.push((came, now - at(came.into())));
            (seat, since) = (Some(next), now);
        }
    }
    assert!(done > 5_900, "{done}: the place is never free for long");
    assert!(refused > 5_000, "{refused}");
    let longest = |from: u32| {
        waits
            .iter()
            .filter(|(came, _)| *came >= from)
            .map(|w| w.1)
            .max()
    };
    assert!(longest(0).unwrap() < at(1_000), "{:?}", longest(0));
    assert!(longest(5_000).unwrap() < at(200), "{:?}", longest(5_000));
}

/// A service with as many calls as it may have waits for itself alone, whichever way its calls come in.
#[test]
fn a_tenant_has_no_more_than_its_own_limit_and_others_go_on() {
    for order in [Order::Turns, Order::Price] {
        let mut door = Admission::new(CAPACITY, order);
        let (tenant, payer) = (Tenant::new("a"), Tenant::new("p"));
        let limits = TenantLimits {
            running_max: 2,
            waiting_max: Some(3),
        };
        door.set_limits(&tenant, limits);
        let mut seats: Vec<Seat> = (0..2)
            .map(|_| door.try_admit(at(0), &tenant, &payer, 1).unwrap())
            .collect();
        assert!(door.try_admit(at(0), &tenant, &payer, 1).is_none());
        let ask = |tenant: &str, work| Ask {
            tenant: Tenant::new(tenant),
            ..hurried(10_000, "p", work)
        };
        for work in 0..3 {
            door.ask(at(0), ask("a", work)).unwrap();
        }
        let (refused, _) = door.ask(at(0), ask("a", 3)).unwrap_err();
        assert!(matches!(refused, Turned::PayerFull { waiting: 3, .. }));
        assert!(door.next(at(0)).is_none(), "{order:?}");
        assert!(door.running() < CAPACITY.places);
        // Another's call goes by, around the queue and through it.
        let by = door.try_admit(at(1), &Tenant::new("b"), &payer, 1).unwrap();
        door.release(at(1), by);
        door.ask(at(1), ask("b", 10)).unwrap();
        let (other, work) = seated(&mut door, at(1)).unwrap();
        assert_eq!(work, 10, "{order:?}");
        door.release(at(2), other);
        // One ends, one begins.
        door.release(at(2), seats.pop().unwrap());
        assert_eq!(seated(&mut door, at(2)).unwrap().1, 0);
        assert!(door.next(at(2)).is_none());
        // Each payer has a part of what may wait.
        let mut few = ask("a", 4);
        few.payer = Tenant::new("q");
        door.ask(at(2), few).unwrap();
    }
}

/// Who waited long behind nobody says nothing of how fast a queue moves that never stood still before.
#[test]
fn a_pause_of_the_machine_turns_nobody_away() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            ..CAPACITY
        },
        Order::Turns,
    );
    let (tenant, payer) = (Tenant::new("a"), Tenant::new("p"));
    let seat = door.try_admit(at(0), &tenant, &payer, 1).unwrap();
    door.release(at(1), seat);
    let seat = door.try_admit(at(1), &tenant, &payer, 1).unwrap();
    door.ask(at(1), hurried(10_000, "p", 0)).unwrap();
    // Everything stands still for a while, and then many come at once, in some hurry.
    door.release(at(301), seat);
    let (seat, work) = seated(&mut door, at(301)).unwrap();
    assert_eq!(work, 0);
    for work in 1..20 {
        door.ask(at(301), hurried(4_000, "p", work)).unwrap();
    }
    door.release(at(302), seat);
    for done in 302..320 {
        let (seat, _) = seated(&mut door, at(done)).unwrap();
        door.ask(at(done), hurried(4_000, "p", 0)).unwrap();
        door.release(at(done + 1), seat);
    }
}

/// One payer's flood is no reason to refuse another's call as too late.
#[test]
fn what_a_payer_waits_is_reckoned_by_its_turns() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            ..CAPACITY
        },
        Order::Turns,
    );
    let (tenant, flood) = (Tenant::new("a"), Tenant::new("flood"));
    let seat = door.try_admit(at(0), &tenant, &flood, 1).unwrap();
    for work in 0..10 {
        door.ask(at(0), hurried(10_000, "flood", work)).unwrap();
    }
    door.release(at(100), seat);
    let (seat, _) = seated(&mut door, at(100)).unwrap();
    let turned = door.ask(at(100), hurried(1_000, "flood", 10)).unwrap_err();
    assert!(matches!(turned.0, Turned::TooLate { .. }));
    door.ask(at(100), hurried(1_000, "other", 100)).unwrap();
    door.release(at(200), seat);
    assert_eq!(seated(&mut door, at(200)).unwrap().1, 100);
}

fn priced(tenant: &str, price: u128, work: u32) -> Ask<u32> {
    Ask {
        price,
        ..ask(tenant, "p", 1, work)
    }
}

#[test]
fn the_dearest_is_next_and_of_equals_the_first() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            ..CAPACITY
        },
        Order::Price,
    );
    for (work, price) in [5, 9, 5, 7, 9].into_iter().enumerate() {
        let tenant = if work % 2 == 0 { "a" } else { "b" };
        let ask = priced(tenant, price, u32::try_from(work).unwrap());
        door.ask(at(0), ask).unwrap();
    }
    let mut order = Vec::new();
    while let Some((seat, work)) = seated(&mut door, at(1)) {
        order.push(work);
        // Without time: no service is known to be slower.
        door.release(at(1), seat);
    }
    assert_eq!(order, [1, 4, 3, 0, 2]);
    assert!(door.parties.is_empty());
}

#[test]
fn who_leaves_is_not_called() {
    let mut door = Admission::new(
        Capacity {
            places: 1,
            ..CAPACITY
        },
        Order::Turns,
    );
    let (tenant, payer) = (Tenant::new("t"), Tenant::new("p"));
    let seat = door.try_admit(at(0), &tenant, &payer, 1).unwrap();
    assert_eq!(door.try_admit(at(0), &tenant, &payer, 1), None);
    assert_eq!(
        door.check(at(0), &tenant, &payer, None),
        Ok(()),
        "it may wait"
    );
    let first = door.ask(at(0), ask("t", "p", 1, 1)).unwrap();
    door.ask(at(0), ask("t", "q", 1, 2)).unwrap();
    assert_eq!(door.cancel(&tenant, first), Some(1));
    assert_eq!(door.cancel(&tenant, first), None);
    door.release(at(0), seat);
    let (seat, work) = seated(&mut door, at(0)).unwrap();
    assert_eq!(work, 2);
    door.release(at(0), seat);
    assert!(door.parties.is_empty(), "nobody is remembered for nothing");
}

proptest! {
    /// Whoever has waited for [`AGED`] is only preceded by who came before: a wait is bounded by that time and
    /// by what was there, whatever is offered by those who come later.
    #[test]
    fn a_cheap_call_waits_for_a_bounded_time(
        asks in prop::collection::vec((0_u8..3, 0_u128..1_000, 0_u64..40), 1..150)
    ) {
        let mut door = Admission::new(
            Capacity { places: 1, waiting_max: 1_000, tenant_waiting_max: 1_000, ..CAPACITY },
            Order::Price,
        );
        let run = at(50);
        let (mut came, mut served) = (Vec::new(), Vec::new());
        let (mut now, mut free_at, mut seat) = (at(0), at(0), None);
        let mut asks = asks.into_iter();
        loop {
            let next = asks.next();
            match next {
                Some((tenant, price, pause)) => {
                    now += at(pause);
                    let work = u32::try_from(came.len()).unwrap();
                    // Refused at once is no wait.
                    if door.ask(now, priced(&tenant.to_string(), price, work)).is_ok() {
                        came.push(now);
                    }
                }
                None => now = now.max(free_at),
            }
            while free_at <= now {
                if let Some(seat) = seat.take() {
                    door.release(free_at, seat);
                }
                let Some((next, work)) = seated(&mut door, free_at.max(now)) else { break };
                served.push((work, now));
                seat = Some(next);
                free_at = now + run;
            }
            if next.is_none() && door.waiting() == 0 { break; }
        }
        prop_assert_eq!(served.len(), came.len(), "everybody has a turn");
        for (place, (work, at_last)) in served.iter().enumerate() {
            let since = came[usize::try_from(*work).unwrap()];
            let old = served[..place].iter().filter(|(before, begun)| {
                before > work && *begun >= since + AGED
            });
            prop_assert_eq!(old.count(), 0, "{} was passed when it was old", work);
            let before = came.iter().filter(|moment| **moment <= since).count();
            // One runs already, one more may begin just before; and places are only looked at when somebody comes.
            let bound = AGED + (run + at(40)) * u32::try_from(before + 2).unwrap();
            prop_assert!(*at_last <= since + bound, "{work} waited {:?}", *at_last - since);
        }
    }

    #[test]
    fn limits_hold_and_everybody_has_a_turn(
        steps in prop::collection::vec((0_u8..3, 0_u8..3, 0_u64..130, 0_u8..4), 0..300)
    ) {
        let mut door = Admission::new(CAPACITY, Order::Turns);
        let mut seats = Vec::new();
        let mut tickets = Vec::new();
        let (mut asked, mut answered) = (0_u32, 0_u32);
        for (step, (tenant, payer, bytes, what)) in steps.into_iter().enumerate() {
            let now = at(u64::try_from(step).unwrap());
            let (tenant, payer) = (tenant.to_string(), payer.to_string());
            match what {
                0 | 1 => {
                    if let Ok(id) = door.ask(now, ask(&tenant, &payer, bytes, 0)) {
                        tickets.push((Tenant::new(&tenant), id));
                        asked += 1;
                    }
                }
                2 if !seats.is_empty() => {
                    let index = usize::try_from(bytes).unwrap() % seats.len();
                    door.release(now, seats.swap_remove(index));
                }
                3 if !tickets.is_empty() => {
                    let index = usize::try_from(bytes).unwrap() % tickets.len();
                    let (tenant, id) = tickets.swap_remove(index);
                    if door.cancel(&tenant, id).is_some() { answered += 1; }
                }
                _ => {}
            }
            let (new, works) = all(&mut door, now);
            answered += u32::try_from(works.len()).unwrap();
            seats.extend(new);
            prop_assert!(door.running() <= CAPACITY.places && door.bytes() <= CAPACITY.bytes);
            prop_assert!(door.waiting() <= CAPACITY.waiting_max);
            prop_assert_eq!(usize::try_from(door.running()).unwrap(), seats.len());
            prop_assert_eq!(usize::try_from(asked - answered).unwrap(), door.waiting());
        }
        while let Some(seat) = seats.pop() {
            door.release(at(0), seat);
            seats.extend(all(&mut door, at(1_000)).0);
        }
        prop_assert_eq!((door.waiting(), door.running(), door.bytes()), (0, 0, 0));
        prop_assert!(door.parties.is_empty());
    }
}
