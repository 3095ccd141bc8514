//! A server with so many processors, in simulated time: the limit finds what keeps them busy.

use std::collections::VecDeque;

use super::*;
use proptest::prelude::*;

/// How long a call computes before it lets others go on.
const TICK: Duration = Duration::from_millis(5);

/// A call: so many pieces of computing, each followed by a wait for something else.
#[derive(Debug, Clone, Copy)]
struct Call {
    kind: usize,
    pieces: u32,
    piece: Duration,
    elsewhere: Duration,
}

#[derive(Debug)]
struct Running {
    call: Call,
    pieces_left: u32,
    /// Since when it wants the processor.
    since: Duration,
    /// Until when it waits for something else.
    away: Option<Duration>,
}

/// Processors that take turns with the calls which want them; calls that wait at the door are endless.
struct Server {
    processors: usize,
    limit: Limit,
    now: Duration,
    ready: VecDeque<Running>,
    away: Vec<Running>,
    done: Vec<u32>,
    busy: Duration,
}

impl Server {
    fn new(processors: usize, ceiling: u32) -> Self {
        Self {
            processors,
            limit: Limit::new(Bounds {
                floor: u32::try_from(2 * processors).unwrap(),
                ceiling,
            }),
            now: Duration::ZERO,
            ready: VecDeque::new(),
            away: Vec::new(),
            done: vec![0; 4],
            busy: Duration::ZERO,
        }
    }

    /// Lets calls in by turns of kind, as the door does, and computes for `time`.
    fn run(&mut self, calls: &[Call], time: Duration) {
        let end = self.now + time;
        let mut next = 0;
        while self.now < end {
            let now = self.now;
            let (back, away) = std::mem::take(&mut self.away)
                .into_iter()
                .partition(|call| call.away.is_some_and(|until| until <= now));
            self.away = away;
            let back: Vec<Running> = back;
            self.ready.extend(back.into_iter().map(|call| Running {
                since: now,
                away: None,
                ..call
            }));
            let elsewhere = u32::try_from(self.away.len()).unwrap();
            while self.running() < self.limit.places(elsewhere) {
                let call = calls[next % calls.len()];
                next += 1;
                self.ready.push_back(Running {
                    call,
                    pieces_left: call.pieces,
                    since: now,
                    away: None,
                });
            }
            self.turn();
        }
    }

    fn running(&self) -> u32 {
        u32::try_from(self.ready.len() + self.away.len()).unwrap()
    }

    /// Each processor takes the first that is ready for a tick.
    fn turn(&mut self) {
        let wanting = u32::try_from(self.ready.len()).unwrap();
        let chosen: Vec<_> = (0..self.processors)
            .filter_map(|_| self.ready.pop_front())
            .collect();
        let waits: Vec<_> = chosen.iter().map(|call| self.now - call.since).collect();
        self.now += TICK;
        for (mut call, waited) in chosen.into_iter().zip(waits) {
            self.busy += call.call.piece;
            let pieces = call.call.pieces;
            // The first piece follows the door, not a wait for the processor.
            if call.pieces_left < pieces && call.call.elsewhere.is_zero() {
                self.limit
                    .observe(self.now, call.call.piece, waited, wanting);
            }
            call.pieces_left -= 1;
            if call.pieces_left == 0 {
                self.done[call.call.kind] += 1;
            } else if call.call.elsewhere.is_zero() {
                call.since = self.now;
                self.ready.push_back(call);
            } else {
                call.away = Some(self.now + call.call.elsewhere);
                self.away.push(call);
            }
        }
    }
}

const fn computing(kind: usize, pieces: u32) -> Call {
    Call {
        kind,
        pieces,
        piece: TICK,
        elsewhere: Duration::ZERO,
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_knee_is_found_whatever_the_processors() {
    for processors in [1_usize, 2, 8, 32] {
        let mut server = Server::new(processors, 512);
        server.run(&[computing(0, 40)], MINUTE);
        let (found, knee) = (
            server.limit.wanting_max(),
            u32::try_from(processors).unwrap(),
        );
        assert!(
            (2 * knee..=5 * knee + 4).contains(&found),
            "{found} for {knee}"
        );
        assert_eq!(server.busy, MINUTE * knee, "no processor was ever idle");
    }
}

#[test]
fn service_times_that_change_tenfold_change_nothing() {
    let mut server = Server::new(4, 512);
    let mut found = Vec::new();
    for pieces in [20, 200, 20, 2, 2_000, 20] {
        server.run(&[computing(0, pieces)], MINUTE);
        found.push(server.limit.wanting_max());
    }
    assert!(
        found.iter().all(|found| (8..=24).contains(found)),
        "{found:?}"
    );
    assert_eq!(server.busy, 6 * MINUTE * 4, "no collapse on the way");
}

/// A call of a millisecond beside one of ten seconds: each kind has its turns.
#[test]
fn long_calls_are_not_starved_by_short_ones() {
    let mut server = Server::new(2, 128);
    let short = Call {
        piece: Duration::from_millis(1),
        ..computing(0, 1)
    };
    server.run(&[short, computing(1, 2_000)], 10 * MINUTE);
    let (short, long) = (server.done[0], server.done[1]);
    assert!(
        long >= 50,
        "{long} of 10 s in ten minutes on two processors"
    );
    assert!(short >= 50, "{short}");
}

/// Hundreds that wait for a device: the limit is no reason to leave places empty.
#[test]
fn calls_that_wait_elsewhere_are_not_held_against_the_processor() {
    let mut server = Server::new(2, 128);
    let waiting = Call {
        elsewhere: Duration::from_millis(500),
        ..computing(0, 5)
    };
    server.run(&[waiting], MINUTE);
    assert_eq!(server.running(), 128, "all places are used");
    let mut both = Server::new(2, 128);
    both.run(&[waiting, computing(1, 40)], MINUTE);
    assert!(
        both.limit.wanting_max() <= 16,
        "{}",
        both.limit.wanting_max()
    );
    assert!(both.busy >= 2 * MINUTE * 99 / 100, "{:?}", both.busy);
}

#[test]
fn what_is_not_used_does_not_grow() {
    let bounds = Bounds {
        floor: 4,
        ceiling: 100,
    };
    let mut limit = Limit::new(bounds);
    let ms = Duration::from_millis;
    for step in 0..200 {
        limit.observe(ms(step * 50), ms(5), ms(100), 80);
    }
    let crowded = limit.wanting_max();
    assert!(crowded <= 8, "{crowded}");
    for step in 200..400 {
        limit.observe(ms(step * 50), ms(5), Duration::ZERO, 1);
    }
    assert_eq!(limit.wanting_max(), crowded, "one call needs no more");
    for step in 400..800 {
        limit.observe(ms(step * 50), ms(5), Duration::ZERO, limit.wanting_max());
    }
    assert_eq!(limit.wanting_max(), 100);
    assert_eq!((limit.places(0), limit.places(50)), (100, 100));
}

/// Pieces of computing that a call has before it goes on in the background.
const FOREGROUND: u32 = 2;

/// Long calls leave for the background after their first pieces, and are looked at no more: short ones find the
/// processors as free as if the long ones were short, however many there are.
#[test]
fn long_calls_that_leave_are_as_short_ones() {
    let mut server = Server::new(2, 512);
    let long = computing(0, FOREGROUND);
    let short = computing(1, 1);
    server.run(&[long], MINUTE);
    let flooded = server.limit.wanting_max();
    assert!((4..=14).contains(&flooded), "{flooded}");
    server.run(&[long, short], MINUTE);
    assert!(
        server.done[1] >= 7_000,
        "{:?}: every other turn",
        server.done
    );
    assert_eq!(server.busy, 2 * MINUTE * 2, "no collapse");
}

/// A crowd that comes from nowhere and goes again: the limit is back within seconds.
#[test]
fn it_recovers_from_a_crowd() {
    let ms = Duration::from_millis;
    let mut limit = Limit::new(Bounds {
        floor: 4,
        ceiling: 128,
    });
    let mut now = Duration::ZERO;
    for (waited, seconds) in [(ms(0), 20), (ms(500), 20), (ms(0), 20)] {
        for _ in 0..seconds * 100 {
            now += ms(10);
            let wanting = limit.wanting_max();
            limit.observe(now, ms(5), waited, wanting);
        }
        let found = limit.wanting_max();
        let crowded = !waited.is_zero();
        assert!(if crowded { found <= 6 } else { found == 128 }, "{found}");
    }
}

proptest! {
    /// Whatever is observed: it stays between its bounds, and steps down by no more than half at a time.
    #[test]
    fn it_stays_within_its_bounds(
        floor in 0_u32..40,
        ceiling in 0_u32..200,
        observed in prop::collection::vec(
            (0_u64..2_000, any::<u32>(), any::<u32>(), any::<u32>()), 1..300),
    ) {
        let mut limit = Limit::new(Bounds { floor, ceiling });
        let (most, mut now) = (ceiling.max(1), Duration::ZERO);
        let least = floor.clamp(1, most);
        for (pause, computed, waited, wanting) in observed {
            now += Duration::from_millis(pause);
            let micros = |it: u32| Duration::from_micros(it.into());
            let before = limit.wanting_max();
            limit.observe(now, micros(computed), micros(waited), wanting);
            let after = limit.wanting_max();
            prop_assert!((least..=most).contains(&after), "{after}");
            prop_assert!(after >= before / 2);
            prop_assert!((1..=most).contains(&limit.places(wanting)));
        }
    }
}
