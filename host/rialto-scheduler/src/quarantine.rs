//! Takes a service that keeps failing by its own fault out for a while, and lets it prove itself again.
//!
//! Failed calls are free, so one payer with the right arguments could make a service fail as often as it
//! likes. It must not take the service away from the others: each payer has one voice, which its last call
//! decides, and a service goes only when most of those who called it lately suffer, several at that. Those
//! who pay nothing cannot be told apart: they have one voice together, and alone it counts only while
//! nobody at all is served.
//!
//! After a pause one call at a time goes through as a probe, of somebody who does not suffer already if
//! such a one comes; each probe that fails doubles the pause.
//!
//! Pure: the caller has the clock and the calls. Not here: what is a fault.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Tenant;

/// When a service is taken out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantinePolicy {
    /// Faults within the window, of all payers; zero takes nothing out.
    pub faults_min: u32,
    /// Payers who suffer.
    pub payers_min: u32,
    /// Faults of one payer that count.
    pub payer_faults_max: u32,
    /// How long a fault or a success counts.
    pub window: Duration,
    /// Until the first probe.
    pub pause_min: Duration,
    /// Until a probe, at most.
    pub pause_max: Duration,
}

impl Default for QuarantinePolicy {
    fn default() -> Self {
        Self {
            faults_min: 10,
            payers_min: 2,
            payer_faults_max: 5,
            window: Duration::from_secs(60),
            pause_min: Duration::from_secs(5),
            pause_max: Duration::from_secs(600),
        }
    }
}

/// How a call ended, as far as it tells about its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The service did its work.
    Good,
    /// It failed by its own fault.
    Fault,
    /// It says nothing: the caller's fault, the host's, or nobody knows.
    Neither,
}

/// Whether a call may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It may.
    Open,
    /// It may, and its end decides: tell [`Quarantine::probed`].
    Probe,
    /// Not now.
    Shut {
        /// When to come again.
        retry_after: Duration,
    },
}

/// One service's record.
#[derive(Debug)]
pub struct Quarantine {
    policy: QuarantinePolicy,
    payers: BTreeMap<Tenant, Voice>,
    out: Option<Out>,
}

/// What one payer saw lately.
#[derive(Debug, Clone, Copy)]
struct Voice {
    faults: u32,
    /// Whether its last call failed.
    suffers: bool,
    served: bool,
    /// Since when this counts.
    since: Duration,
    last: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    until: Duration,
    pause: Duration,
    probing: bool,
}

impl Quarantine {
    /// A service that nothing is known of.
    #[must_use]
    pub fn new(policy: QuarantinePolicy) -> Self {
        Self {
            policy,
            payers: BTreeMap::new(),
            out: None,
        }
    }

    /// Whether a call of this payer may begin.
    pub fn enter(&mut self, payer: &Tenant, now: Duration) -> Entry {
        let Some(out) = &mut self.out else {
            return Entry::Open;
        };
        let suffers = self.payers.get(payer).is_some_and(|voice| voice.suffers);
        // Somebody else's call tells more.
        let from = if suffers {
            out.until.saturating_add(out.pause)
        } else {
            out.until
        };
        if out.probing || now < from {
            let retry_after = from.saturating_sub(now).max(RETRY_AFTER_MIN);
            return Entry::Shut { retry_after };
        }
        out.probing = true;
        Entry::Probe
    }

    /// When to come again, if no call could begin now. Nothing changes.
    #[must_use]
    pub fn shut_for(&self, now: Duration) -> Option<Duration> {
        let out = self.out.as_ref()?;
        let left = out.until.saturating_sub(now);
        (out.probing || !left.is_zero()).then(|| left.max(RETRY_AFTER_MIN))
    }

    /// Whether the service is taken out.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// A call that was let in ended. Those who pay nothing are one payer, with the empty name.
    pub fn ended(&mut self, payer: &Tenant, end: End, now: Duration) {
        self.note(payer, end, now);
        if end == End::Fault && self.out.is_none() && self.is_too_much(payer, now) {
            let pause = self.policy.pause_min;
            self.out = Some(Out {
                until: now.saturating_add(pause),
                pause,
                probing: false,
            });
        }
    }

    /// The probe ended.
    pub fn probed(&mut self, payer: &Tenant, end: End, now: Duration) {
        match (end, &mut self.out) {
            (End::Good, _) => self.release(),
            (End::Fault, Some(out)) => {
                let pause = out.pause.saturating_mul(2).min(self.policy.pause_max);
                *out = Out {
                    until: now.saturating_add(pause),
                    pause,
                    probing: false,
                };
                self.note(payer, end, now);
            }
            (End::Neither, Some(out)) => out.probing = false,
            // Released meanwhile.
            (End::Fault | End::Neither, None) => {}
        }
    }

    /// Lets the service in again, as if nothing had been.
    pub fn release(&mut self) {
        self.out = None;
        self.payers.clear();
    }

    fn note(&mut self, payer: &Tenant, end: End, now: Duration) {
        if end == End::Neither {
            return;
        }
        let window = self.policy.window;
        let fresh = Voice {
            faults: 0,
            suffers: false,
            served: false,
            since: now,
            last: now,
        };
        if !self.payers.contains_key(payer) {
            self.make_room(now);
        }
        let voice = self.payers.entry(payer.clone()).or_insert(fresh);
        if now.saturating_sub(voice.since) > window {
            *voice = fresh;
        }
        voice.last = now;
        voice.suffers = end == End::Fault;
        match end {
            End::Fault => voice.faults = voice.faults.saturating_add(1),
            End::Good => voice.served = true,
            End::Neither => {}
        }
    }

    fn is_too_much(&self, payer: &Tenant, now: Duration) -> bool {
        let policy = &self.policy;
        if policy.faults_min == 0 {
            return false;
        }
        let recent = || {
            let voices = self.payers.iter();
            voices.filter(|(_, voice)| now.saturating_sub(voice.last) <= policy.window)
        };
        let suffering = || recent().filter(|(_, voice)| voice.suffers);
        let faults = suffering().fold(0_u32, |sum, (_, voice)| {
            sum.saturating_add(voice.faults.min(policy.payer_faults_max))
        });
        let several =
            u32::try_from(suffering().count()).is_ok_and(|count| count >= policy.payers_min);
        let most = suffering().count().saturating_mul(2) > recent().count();
        let nobody_is_served = || recent().all(|(_, voice)| !voice.served);
        let alone = payer.name().is_empty()
            && self
                .payers
                .get(payer)
                .is_some_and(|voice| voice.faults >= policy.faults_min)
            && nobody_is_served();
        alone || (several && most && faults >= policy.faults_min)
    }

    /// Forgets who has not called for a window, and at need who has not called for longest.
    fn make_room(&mut self, now: Duration) {
        if self.payers.len() < PAYERS_MAX {
            return;
        }
        let window = self.policy.window;
        self.payers
            .retain(|_, voice| now.saturating_sub(voice.last) <= window);
        if self.payers.len() < PAYERS_MAX {
            return;
        }
        let oldest = self.payers.iter().min_by_key(|(_, voice)| voice.last);
        if let Some(oldest) = oldest.map(|(payer, _)| payer.clone()) {
            self.payers.remove(&oldest);
        }
    }
}

/// Payers of whom a record is kept.
const PAYERS_MAX: usize = 256;
/// A probe that runs ends within moments.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payer(number: u8) -> Tenant {
        Tenant::new(&format!("payer {number}"))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ready() -> Quarantine {
        Quarantine::new(QuarantinePolicy::default())
    }

    /// Taken out by two payers at the tenth second.
    fn taken_out() -> Quarantine {
        let mut record = ready();
        for turn in 0..5 {
            for number in [1, 2] {
                assert!(!record.is_out());
                assert_eq!(record.enter(&payer(number), seconds(turn)), Entry::Open);
                record.ended(&payer(number), End::Fault, seconds(10));
            }
        }
        assert!(record.is_out());
        record
    }

    #[test]
    fn probes_are_few_and_not_of_those_who_suffer_and_pauses_grow() {
        let mut record = taken_out();
        let shut = |after| Entry::Shut {
            retry_after: seconds(after),
        };
        assert_eq!(record.enter(&payer(3), seconds(11)), shut(4));
        assert_eq!(record.enter(&payer(1), seconds(15)), shut(5), "it suffers");
        assert_eq!(record.shut_for(seconds(15)), None);
        assert_eq!(record.enter(&payer(3), seconds(15)), Entry::Probe);
        assert_eq!(
            record.enter(&payer(4), seconds(15)),
            shut(1),
            "one at a time"
        );
        assert_eq!(record.shut_for(seconds(15)), Some(seconds(1)));
        record.probed(&payer(3), End::Neither, seconds(16));
        assert_eq!(record.enter(&payer(4), seconds(16)), Entry::Probe);
        record.probed(&payer(4), End::Fault, seconds(20));
        assert_eq!(
            record.enter(&payer(5), seconds(20)),
            shut(10),
            "twice as long"
        );
        // Alone with it, one who suffers may try after twice the pause.
        assert_eq!(record.enter(&payer(4), seconds(40)), Entry::Probe);
        record.probed(&payer(4), End::Good, seconds(41));
        assert_eq!(record.enter(&payer(1), seconds(41)), Entry::Open);
        assert!(!record.is_out());
    }

    #[test]
    fn those_who_pay_nothing_take_out_what_serves_nobody() {
        let nobody = Tenant::new("");
        let mut record = ready();
        for _ in 0..9 {
            record.ended(&nobody, End::Fault, seconds(1));
        }
        assert!(!record.is_out());
        record.ended(&nobody, End::Fault, seconds(1));
        assert!(record.is_out());
        let mut served = ready();
        served.ended(&payer(1), End::Good, seconds(1));
        for _ in 0..100 {
            served.ended(&nobody, End::Fault, seconds(2));
        }
        assert!(!served.is_out());
    }

    #[test]
    fn old_faults_count_no_more_and_the_operator_may_switch_it_off() {
        let mut slow = ready();
        for turn in 0..100 {
            for number in [1, 2] {
                slow.ended(&payer(number), End::Fault, seconds(turn * 20));
            }
        }
        assert!(!slow.is_out(), "never ten within a minute");
        let mut off = Quarantine::new(QuarantinePolicy {
            faults_min: 0,
            ..QuarantinePolicy::default()
        });
        for number in 0..50 {
            off.ended(&payer(number), End::Fault, seconds(1));
        }
        assert!(!off.is_out());
        let mut released = taken_out();
        released.release();
        assert_eq!(released.enter(&payer(1), seconds(11)), Entry::Open);
        released.probed(&payer(1), End::Fault, seconds(12));
        assert!(!released.is_out(), "a probe of before says nothing");
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![Just(End::Good), Just(End::Fault), Just(End::Neither)]
    }

    proptest! {
        #[test]
        fn one_payer_alone_takes_nothing_out(ends in prop::collection::vec((end(), 0_u64..90), 0..200)) {
            let mut record = ready();
            let mut now = Duration::ZERO;
            for (end, pause) in ends {
                now += seconds(pause);
                record.ended(&payer(1), end, now);
                prop_assert!(!record.is_out());
            }
        }

        #[test]
        fn a_minority_that_suffers_takes_nothing_out(
            hostile in 1_u8..8,
            more in 0_u8..8,
            faults in 1_u32..50,
        ) {
            let mut record = ready();
            for number in 0..hostile + more {
                record.ended(&payer(100 + number), End::Good, seconds(1));
            }
            for _ in 0..faults {
                for number in 0..hostile {
                    record.ended(&payer(number), End::Fault, seconds(2));
                    prop_assert!(!record.is_out());
                }
            }
        }

        #[test]
        fn at_most_one_probe_runs_and_pauses_have_their_bounds(
            steps in prop::collection::vec((0_u8..4, end(), 0_u64..2_000), 1..100),
        ) {
            let mut record = taken_out();
            let mut now = seconds(10);
            let policy = QuarantinePolicy::default();
            for (number, end, pause) in steps {
                now += seconds(pause);
                match record.enter(&payer(number), now) {
                    Entry::Open => prop_assert!(!record.is_out()),
                    Entry::Probe => {
                        let other = record.enter(&payer(number.wrapping_add(1)), now);
                        let is_shut = matches!(other, Entry::Shut { .. });
                        prop_assert!(is_shut);
                        record.probed(&payer(number), end, now);
                        prop_assert_eq!(record.is_out(), end != End::Good);
                    }
                    Entry::Shut { retry_after } => {
                        prop_assert!(retry_after >= RETRY_AFTER_MIN);
                        prop_assert!(retry_after <= policy.pause_max * 2);
                    }
                }
            }
        }

        #[test]
        fn what_is_remembered_is_bounded(numbers in prop::collection::vec(any::<u16>(), 0..2_000)) {
            let mut record = ready();
            for number in numbers {
                let payer = Tenant::new(&number.to_string());
                record.ended(&payer, End::Good, seconds(1));
                prop_assert!(record.payers.len() <= PAYERS_MAX);
            }
        }
    }
}
