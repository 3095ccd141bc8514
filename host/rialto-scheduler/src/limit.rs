//! How many calls may want the processor at once: found from how long they wait for it.
//!
//! A gradient, as in Netflix's `concurrency-limits`, over a signal of our own. There, a request's time is
//! compared with the best time seen; services whose times differ a thousandfold, or whose inputs do, have no
//! such baseline. Here a call's pieces of computing are compared with themselves: what a piece took of the
//! processor, and how long it had waited for it. Their ratio is 1 on a host with room, whatever the call does
//! and however long it takes, and grows with the calls beyond what the processors can do.
//!
//! Calls that wait for something else (a device, an answer from elsewhere) want no processor: they hold a
//! place, but not one of those that are limited here. So a host full of calls that wait still takes more, up to
//! the places there are at all.
//!
//! Non-goals: which call is next ([`Admission`](crate::Admission)).

use std::time::Duration;

/// A limit that follows what is observed. Times are measured from any fixed moment on.
#[derive(Debug, Clone)]
pub struct Limit {
    bounds: Bounds,
    /// Thousandths of a call.
    wanting_milli: u64,
    /// What was observed since the last change.
    window: Window,
}

/// Between what a limit stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The least; twice the processors or more leaves none idle.
    pub floor: u32,
    /// The most.
    pub ceiling: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: Option<Duration>,
    computed: Duration,
    waited: Duration,
    /// The most calls that wanted the processor.
    wanting_most: u32,
}

impl Limit {
    /// Begins at twice the floor: a flood that comes first must not find all places free, since those who come
    /// after it would wait for most of it to end.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let ceiling = bounds.ceiling.max(1);
        let bounds = Bounds {
            floor: bounds.floor.clamp(1, ceiling),
            ceiling,
        };
        Self {
            bounds,
            wanting_milli: u64::from(bounds.floor.saturating_mul(2).min(ceiling))
                .saturating_mul(MILLI),
            window: Window::default(),
        }
    }

    /// A piece of a call's computing: how long it took the processor, and how long it had waited for it
    /// before. `wanting` is how many calls wanted the processor.
    pub fn observe(&mut self, now: Duration, computed: Duration, waited: Duration, wanting: u32) {
        let window = &mut self.window;
        let since = *window.since.get_or_insert(now);
        window.computed = window.computed.saturating_add(computed);
        window.waited = window.waited.saturating_add(waited);
        window.wanting_most = window.wanting_most.max(wanting);
        if now.saturating_sub(since) >= WINDOW && !window.computed.is_zero() {
            let window = std::mem::take(window);
            self.follow(window);
        }
    }

    /// Calls that may want the processor at once.
    #[must_use]
    pub fn wanting_max(&self) -> u32 {
        u32::try_from(self.wanting_milli / MILLI).unwrap_or(u32::MAX)
    }

    /// Places for calls in all, while `elsewhere` of those that run wait for something else.
    #[must_use]
    pub fn places(&self, elsewhere: u32) -> u32 {
        self.wanting_max()
            .saturating_add(elsewhere)
            .min(self.bounds.ceiling)
    }

    fn follow(&mut self, window: Window) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let computed = nanos(window.computed);
        let all = computed.saturating_add(nanos(window.waited));
        // What the limit would be times what a piece may take by what it took, never less than half.
        let gradient =
            u128::from(computed) * u128::from(MILLI) * TOLERANCE / u128::from(all.max(1));
        let gradient = u64::try_from(gradient)
            .unwrap_or(MILLI)
            .clamp(MILLI / 2, MILLI);
        let crowded = gradient < MILLI;
        let is_used =
            u64::from(window.wanting_most).saturating_mul(2 * MILLI) >= self.wanting_milli;
        if !crowded && !is_used {
            // A quiet hour is no reason to let a flood in.
            return;
        }
        let room = self.wanting_milli.saturating_mul(MILLI).isqrt();
        let wanted = self.wanting_milli.saturating_mul(gradient) / MILLI;
        let wanted = wanted.saturating_add(room);
        // Half of the news.
        let next = self.wanting_milli.midpoint(wanted);
        let milli = |count: u32| u64::from(count).saturating_mul(MILLI);
        self.wanting_milli = next.clamp(milli(self.bounds.floor), milli(self.bounds.ceiling));
    }
}

/// So much waiting is worth it: a piece may take this many times what it computes.
const TOLERANCE: u128 = 2;
/// The least time between two changes.
const WINDOW: Duration = Duration::from_millis(100);
const MILLI: u64 = 1_000;

#[cfg(test)]
mod tests;
