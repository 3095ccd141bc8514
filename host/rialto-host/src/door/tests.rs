//! Waiting, going away, and places that follow what calls do.

use super::*;
use std::task::{Context, Waker};

fn capacity(places: u32) -> Capacity {
    Capacity {
        places,
        bytes: 100,
        waiting_max: 10,
        tenant_waiting_max: 10,
    }
}

fn rules(capacity: Capacity) -> Rules {
    Rules {
        capacity,
        concurrency: Concurrency::Fixed(capacity.places),
        order: Order::Turns,
        payers: Payers::default(),
        services: HashMap::new(),
        background_max: 2,
    }
}

fn adaptive(places: u32) -> Door {
    Door::new(Rules {
        concurrency: Concurrency::Adaptive,
        ..rules(capacity(places))
    })
}

fn door(places: u32) -> Door {
    Door::new(rules(capacity(places)))
}

/// Calls that run, and calls that wait.
fn counts(door: &Door) -> (u32, usize) {
    let load = door.load();
    (load.running, load.waiting)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn who_goes_away_while_waiting_leaves_nothing_behind() {
    let (door, tenant) = (door(1), Tenant::new("t"));
    let guest = Guest {
        tenant: &tenant,
        payer: &tenant,
        bytes: 1,
        price: 0,
    };
    let first = door.enter(guest, soon()).await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut second = Box::pin(door.enter(guest, soon()));
    let mut third = Box::pin(door.enter(guest, soon()));
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert!(third.as_mut().poll(&mut context).is_pending());
    assert_eq!(counts(&door), (1, 2));
    drop(second);
    assert_eq!(counts(&door), (1, 1));
    drop(first);
    assert_eq!(counts(&door), (1, 0), "the place is the third's already");
    drop(third);
    assert_eq!(counts(&door), (0, 0), "and comes back if it is not taken");
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let (door, tenant) = (door(1), Tenant::new("t"));
    let guest = Guest {
        tenant: &tenant,
        payer: &tenant,
        bytes: 1,
        price: 0,
    };
    let held = door.enter(guest, soon()).await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    let error = door.enter(guest, deadline).await.unwrap_err();
    assert!(Instant::now() >= deadline);
    assert!(matches!(error, Turned::TooLate { .. }), "{error}");
    assert_eq!(counts(&door), (1, 0));
    drop(held);
}

/// A guest that needs nothing but a place.
fn light(tenant: &Tenant) -> Guest<'_> {
    Guest {
        tenant,
        payer: tenant,
        bytes: 0,
        price: 0,
    }
}

/// As many as may run.
async fn filled(door: &Door, guest: Guest<'_>) -> Vec<Place> {
    let mut places = Vec::new();
    for _ in 0..door.load().places {
        places.push(door.enter(guest, soon()).await.unwrap());
    }
    places
}

/// A call that waits for something else makes room for another, and one that computes does not.
#[tokio::test]
async fn only_calls_that_want_the_processor_count_against_the_limit() {
    let door = adaptive(1_000);
    let (tenant, ms) = (Tenant::new("t"), Duration::from_millis);
    let guest = light(&tenant);
    let places = filled(&door, guest).await;
    let first = door.load().places;
    let mut context = Context::from_waker(Waker::noop());
    let mut next = Box::pin(door.enter(guest, soon()));
    assert!(next.as_mut().poll(&mut context).is_pending());
    places[0].standing().waits_elsewhere();
    let entered = next.await.unwrap();
    assert_eq!(door.load().computing, first, "one for another");
    // Computing that waits much longer than it takes, for as long as the limit needs to follow.
    // However crowded, a limit of four is as good as its room to grow.
    let least = bounds(capacity(1_000)).floor.max(4);
    let begun = Instant::now();
    while door.load().places > least + 1 {
        assert!(begun.elapsed() < ms(20_000), "{:?}", door.load());
        places[1].standing().computed(ms(1), ms(100));
        tokio::task::yield_now().await;
    }
    drop((entered, places));
    let load = door.load();
    let all = (load.running, load.computing, load.waiting, load.admitted);
    assert_eq!(all, (0, 0, 0, u64::from(first) + 1));
}

#[tokio::test]
async fn who_is_pushed_out_is_told_and_counted() {
    let small = Capacity {
        tenant_waiting_max: 2,
        ..capacity(1)
    };
    let door = Door::new(rules(small));
    let (tenant, few, many) = (Tenant::new("t"), Tenant::new("few"), Tenant::new("many"));
    let guest = |payer| Guest {
        tenant: &tenant,
        payer,
        bytes: 1,
        price: 0,
    };
    let held = door.enter(guest(&many), soon()).await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(door.enter(guest(&many), soon()));
    let mut second = Box::pin(door.enter(guest(&many), soon()));
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    let full = door.check(&tenant, &many, soon()).unwrap_err();
    assert!(matches!(full, Turned::PayerFull { waiting: 2, .. }));
    door.check(&tenant, &few, soon()).unwrap();
    let mut other = Box::pin(door.enter(guest(&few), soon()));
    assert!(other.as_mut().poll(&mut context).is_pending());
    let pushed_out = second.await.unwrap_err();
    assert!(matches!(pushed_out, Turned::PayerFull { .. }));
    drop(held);
    drop((first, other));
    assert_eq!(counts(&door), (0, 0));
}

/// Calls in the background leave their places to others, count against a bound of their own, and what they wait
/// says nothing of how many may run.
#[tokio::test]
async fn calls_in_the_background_are_no_part_of_the_limit() {
    let (door, tenant, ms) = (adaptive(1_000), Tenant::new("t"), Duration::from_millis);
    let guest = light(&tenant);
    let mut places = filled(&door, guest).await;
    let first = door.load().places;
    let mut context = Context::from_waker(Waker::noop());
    let mut next = Box::pin(door.enter(guest, soon()));
    assert!(next.as_mut().poll(&mut context).is_pending());
    assert!(places[0].standing().go_to_background(false));
    places.push(next.await.unwrap());
    assert!(places[0].standing().go_to_background(false), "it is there");
    assert!(door.has_room_for_long(&tenant));
    assert!(places[1].standing().go_to_background(false));
    assert!(!door.has_room_for_long(&tenant));
    assert!(!places[2].standing().go_to_background(false), "no third");
    let load = door.load();
    assert_eq!((load.computing, load.background), (first - 1, 2));
    let begun = Instant::now();
    while begun.elapsed() < ms(300) {
        places[0].standing().computed(ms(1), ms(1_000));
        tokio::task::yield_now().await;
    }
    assert_eq!(door.load().places, first + 2, "as crowded as before");
    // One that waits for something else is no burden there, and leaves room.
    places[0].standing().waits_elsewhere();
    assert!(door.has_room_for_long(&tenant));
    places[3].standing().waits_elsewhere();
    assert!(places[2].standing().go_to_background(false));
    assert!(places[3].standing().go_to_background(false));
    assert_eq!(door.load().background, 2);
    places[3].standing().wants_processor();
    assert_eq!(door.load().background, 3, "it was let in");
    let must = places.len() - 1;
    assert!(
        places[must].standing().go_to_background(true),
        "answered in part"
    );
    drop(places);
    let load = door.load();
    assert_eq!((load.computing, load.background, load.running), (0, 0, 0));
}

/// A host full of calls that wait for something else takes as many as it has places, and no more.
#[tokio::test]
async fn calls_that_wait_elsewhere_leave_the_limit_as_it_is() {
    let (door, tenant) = (adaptive(40), Tenant::new("t"));
    let guest = Guest {
        tenant: &tenant,
        payer: &tenant,
        bytes: 0,
        price: 0,
    };
    let mut places = Vec::new();
    for _ in 0..40 {
        let place = door.enter(guest, soon()).await.unwrap();
        place.standing().waits_elsewhere();
        places.push(place);
    }
    let load = door.load();
    assert_eq!((load.running, load.computing, load.places), (40, 0, 40));
    let mut context = Context::from_waker(Waker::noop());
    let mut next = Box::pin(door.enter(guest, soon()));
    assert!(next.as_mut().poll(&mut context).is_pending());
    drop(places.pop());
    drop(next.await.unwrap());
}
