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
        work,
    }
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn all(door: &mut Admission<u32>, now: Duration) -> (Vec<Seat>, Vec<u32>) {
    std::iter::from_fn(|| door.next(now)).unzip()
}

#[test]
fn a_quiet_tenant_is_next_when_a_flood_lets_go_of_anything() {
    let mut door = Admission::new(CAPACITY);
    for work in 0..12 {
        door.ask(at(0), ask("flood", "ann", 30, work)).unwrap();
    }
    let (mut seats, works) = all(&mut door, at(0));
    assert_eq!(works, [0, 1, 2], "three of 30 bytes fit");
    door.ask(at(1), ask("quiet", "bob", 20, 100)).unwrap();
    assert!(door.next(at(1)).is_none());
    door.release(seats.pop().unwrap());
    assert_eq!(all(&mut door, at(2)).1, [100], "and not the flood's fourth");
}

#[test]
fn parts_follow_weights_in_the_resource_that_is_scarce() {
    let mut door = Admission::new(Capacity {
        places: 30,
        ..CAPACITY
    });
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
    let mut door = Admission::new(CAPACITY);
    for work in 0..10 {
        door.ask(at(0), ask("t", "many", 1, work)).unwrap();
    }
    door.ask(at(0), ask("t", "few", 1, 100)).unwrap();
    assert_eq!(all(&mut door, at(0)).1, [0, 100, 1, 2]);
}

#[test]
fn with_one_place_tenants_and_payers_take_turns() {
    let mut door = Admission::new(Capacity {
        places: 1,
        ..CAPACITY
    });
    for work in 0..6 {
        let payer = if work < 5 { "ann" } else { "eve" };
        door.ask(at(0), ask("flood", payer, 1, work)).unwrap();
    }
    let mut works = Vec::new();
    for step in 0..7 {
        let (seat, work) = door.next(at(0)).unwrap();
        works.push(work);
        if step == 0 {
            door.ask(at(0), ask("quiet", "bob", 1, 100)).unwrap();
        }
        door.release(seat);
    }
    assert_eq!(works, [0, 100, 5, 1, 2, 3, 4]);
}

#[test]
fn small_calls_pass_a_large_one_for_a_while_only() {
    let mut door = Admission::new(Capacity {
        waiting_max: 1_000,
        tenant_waiting_max: 1_000,
        ..CAPACITY
    });
    let (tenant, payer) = (Tenant::new("small"), Tenant::new("ann"));
    let mut seat = door.try_admit(&tenant, &payer, 10).unwrap();
    door.ask(at(0), ask("large", "bob", 100, 1_000)).unwrap();
    for work in 0..PASSED_MAX {
        door.ask(at(0), ask("small", "ann", 10, work)).unwrap();
        let (next, found) = door.next(at(0)).unwrap();
        assert_eq!(found, work);
        door.release(std::mem::replace(&mut seat, next));
    }
    door.ask(at(0), ask("small", "ann", 10, 999)).unwrap();
    assert!(door.next(at(0)).is_none(), "room is kept");
    door.release(seat);
    assert_eq!(all(&mut door, at(0)).1, [1_000]);
}

#[test]
fn each_way_to_be_turned_away_has_its_own_error() {
    let mut door = Admission::new(Capacity {
        places: 1,
        waiting_max: 3,
        tenant_waiting_max: 2,
        ..CAPACITY
    });
    let seat = door.try_admit(&Tenant::new("a"), &Tenant::new("p"), 1);
    let seat = seat.unwrap();
    let turned =
        |door: &mut Admission<u32>, now, ask| door.ask(now, ask).unwrap_err().0.to_string();
    door.ask(at(0), ask("a", "p", 1, 1)).unwrap();
    door.ask(at(0), ask("a", "p", 1, 2)).unwrap();
    assert_eq!(
        turned(&mut door, at(0), ask("a", "p", 1, 3)),
        "2 calls of `a` wait; come again in 0 ms"
    );
    door.ask(at(0), ask("b", "p", 1, 4)).unwrap();
    assert_eq!(
        turned(&mut door, at(0), ask("c", "p", 1, 5)),
        "3 calls wait; come again in 0 ms"
    );
    door.release(seat);
    let (seat, _) = door.next(at(80)).unwrap();
    let hurried = |deadline| Ask {
        deadline: Some(at(deadline)),
        ..ask("a", "p", 1, 6)
    };
    assert_eq!(
        turned(&mut door, at(100), hurried(150)),
        "its turn would come in about 160 ms, after its deadline"
    );
    door.ask(at(100), hurried(300)).unwrap();
    door.release(seat);
    assert_eq!(door.next(at(100)).unwrap().1, 4, "`b` holds nothing");
}

#[test]
fn who_leaves_is_not_called() {
    let mut door = Admission::new(Capacity {
        places: 1,
        ..CAPACITY
    });
    let (tenant, payer) = (Tenant::new("t"), Tenant::new("p"));
    let seat = door.try_admit(&tenant, &payer, 1).unwrap();
    assert_eq!(door.try_admit(&tenant, &payer, 1), None);
    assert_eq!(door.check(at(0), &tenant, None), Ok(()), "it may wait");
    let first = door.ask(at(0), ask("t", "p", 1, 1)).unwrap();
    door.ask(at(0), ask("t", "q", 1, 2)).unwrap();
    assert_eq!(door.cancel(&tenant, first), Some(1));
    assert_eq!(door.cancel(&tenant, first), None);
    door.release(seat);
    let (seat, work) = door.next(at(0)).unwrap();
    assert_eq!(work, 2);
    door.release(seat);
    assert!(door.parties.is_empty(), "nobody is remembered for nothing");
}

proptest! {
    #[test]
    fn limits_hold_and_everybody_has_a_turn(
        steps in prop::collection::vec((0_u8..3, 0_u8..3, 0_u64..130, 0_u8..4), 0..300)
    ) {
        let mut door = Admission::new(CAPACITY);
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
                    door.release(seats.swap_remove(index));
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
            door.release(seat);
            seats.extend(all(&mut door, at(1_000)).0);
        }
        prop_assert_eq!((door.waiting(), door.running(), door.bytes()), (0, 0, 0));
        prop_assert!(door.parties.is_empty());
    }
}
