//! How many come again and again because they were turned away, and when it is of use that they do.
//!
//! Who is told to come again in a second does so. With a hundred times as many callers as can be served, saying no
//! then takes the processor from those who were let in. So a crowd is told to come again when it may have been served.

use std::time::Duration;

/// The longest that anybody is told to wait for others.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// Nobody is told less: the answer is in whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);
/// What is older than this counts for little.
const MEMORY: Duration = Duration::from_secs(2);

/// Those who were turned away and those who were let in, lately.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    since: Duration,
    /// Seconds that refused callers were told to wait, fading.
    told: f64,
    /// Calls that were let in, fading.
    admitted: f64,
}

impl Crowd {
    /// One is let in.
    pub(super) fn admit(&mut self, now: Duration) {
        self.fade(now);
        self.admitted += 1.0;
    }

    /// One is turned away: when it is to come again, if that is later than usual.
    pub(super) fn turn_away(&mut self, now: Duration) -> Option<Duration> {
        self.fade(now);
        // Who waits for so long, at the rate of refusals, is as many callers; they are served at the other rate.
        let rounds = self.told / self.admitted.max(f64::MIN_POSITIVE);
        let after = rounds.clamp(SHORTEST.as_secs_f64(), LONGEST.as_secs_f64());
        self.told += after;
        (after > SHORTEST.as_secs_f64()).then(|| Duration::from_secs_f64(after))
    }

    fn fade(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.since).as_secs_f64();
        let left = (-passed / MEMORY.as_secs_f64()).exp();
        self.told *= left;
        self.admitted *= left;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `callers` who come when they are told to, and `rate` a second are let in: refusals in the last second,
    /// after ten.
    fn refusals(callers: usize, rate: u64) -> usize {
        let mut crowd = Crowd::default();
        let mut next: Vec<Duration> = vec![Duration::ZERO; callers];
        let (mut served, mut refused) = (0, 0);
        let step = Duration::from_millis(10);
        let mut now = Duration::ZERO;
        while now < LONGEST * 3 {
            now += step;
            let mut room = rate / 100;
            for at in next.iter_mut().filter(|at| **at <= now) {
                if room > 0 {
                    room -= 1;
                    served += 1;
                    crowd.admit(now);
                    continue;
                }
                *at = now + crowd.turn_away(now).unwrap_or(SHORTEST);
                refused += usize::from(now > LONGEST * 2);
            }
        }
        assert!(served > 0);
        refused / 10
    }

    #[test]
    fn few_are_told_a_second_and_a_crowd_what_it_takes_to_serve_it() {
        let mut crowd = Crowd::default();
        let now = Duration::from_secs(5);
        for _ in 0..100 {
            crowd.admit(now);
        }
        for _ in 0..100 {
            assert_eq!(crowd.turn_away(now), None);
        }
        for _ in 0..400 {
            crowd.turn_away(now);
        }
        let told = crowd.turn_away(now).unwrap();
        assert!(told > Duration::from_secs(4) && told <= LONGEST, "{told:?}");
        // It is over, and nobody is told of it any more.
        let later = now + MEMORY * 10;
        crowd.admit(later);
        assert_eq!(crowd.turn_away(later), None);
    }

    #[test]
    fn a_hundred_times_as_many_callers_are_refused_ten_times_as_seldom() {
        let many = refusals(10_000, 200);
        assert!(
            (800..2_500).contains(&many),
            "{many} refusals a second of 10,000"
        );
        let few = refusals(400, 200);
        assert!((100..400).contains(&few), "{few} refusals a second of 400");
    }
}
