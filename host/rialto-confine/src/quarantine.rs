//! Which models or services rest because their processes ended badly, several times in a row.
//!
//! Starting a process that is going to crash costs a second of everybody's processor. A success wipes
//! the slate: what crashes on one caller's inputs goes on for the others.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Crashes by the digest of the model or component, for a bounded number of them.
#[derive(Debug, Default)]
pub struct Quarantine {
    strikes: HashMap<[u8; 32], Strikes>,
}

#[derive(Debug)]
struct Strikes {
    in_a_row: u32,
    last: Instant,
    reason: String,
}

impl Quarantine {
    /// Why this subject may not start now, and for how long.
    pub fn rests(&self, subject: &[u8; 32], now: Instant) -> Option<(Duration, String)> {
        let strikes = self.strikes.get(subject)?;
        let rest = strikes.rest()?;
        let left = rest.checked_sub(now.saturating_duration_since(strikes.last))?;
        (!left.is_zero()).then(|| (left, strikes.reason.clone()))
    }

    /// Its process ended badly.
    pub fn crashed(&mut self, subject: [u8; 32], reason: String, now: Instant) {
        if self.strikes.len() >= SUBJECTS_MAX && !self.strikes.contains_key(&subject) {
            let oldest = self.strikes.iter().min_by_key(|(_, strikes)| strikes.last);
            if let Some(oldest) = oldest.map(|(model, _)| *model) {
                self.strikes.remove(&oldest);
            }
        }
        let before = self.strikes.get(&subject);
        let in_a_row = before.map_or(0, |strikes| strikes.in_a_row);
        let strikes = Strikes {
            in_a_row: in_a_row.saturating_add(1),
            last: now,
            reason,
        };
        self.strikes.insert(subject, strikes);
    }

    /// A start or a run ended well.
    pub fn succeeded(&mut self, subject: &[u8; 32]) {
        self.strikes.remove(subject);
    }
}

impl Strikes {
    /// How long the subject rests after its last crash: not at all for the first ones, then twice as long
    /// each time.
    fn rest(&self) -> Option<Duration> {
        let more = self.in_a_row.checked_sub(FREE)?;
        let rest = FIRST_REST.saturating_mul(1_u32.checked_shl(more).unwrap_or(u32::MAX));
        Some(rest.min(LONGEST_REST))
    }
}

/// Crashes in a row from which on a subject rests.
const FREE: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(600);
/// Subjects whose crashes are remembered; the longest ago is forgotten first.
const SUBJECTS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_and_end() {
        let (mut quarantine, mut now) = (Quarantine::default(), Instant::now());
        let model = [1; 32];
        let crash = |quarantine: &mut Quarantine, now| {
            quarantine.crashed(model, "signal 6".into(), now);
            quarantine.rests(&model, now)
        };
        assert_eq!(crash(&mut quarantine, now), None);
        assert_eq!(crash(&mut quarantine, now), None);
        let seconds = |found: Option<(Duration, String)>| found.unwrap().0.as_secs();
        assert_eq!(seconds(crash(&mut quarantine, now)), 2);
        assert_eq!(seconds(crash(&mut quarantine, now)), 4);
        now += Duration::from_secs(3);
        assert_eq!(seconds(quarantine.rests(&model, now)), 1);
        assert_eq!(quarantine.rests(&[2; 32], now), None, "another model");
        now += Duration::from_secs(1);
        assert_eq!(quarantine.rests(&model, now), None);
        for _ in 0..100 {
            crash(&mut quarantine, now);
        }
        assert_eq!(seconds(quarantine.rests(&model, now)), 600);
        quarantine.succeeded(&model);
        assert_eq!(quarantine.rests(&model, now), None);
        assert_eq!(crash(&mut quarantine, now), None);
    }

    #[test]
    fn only_so_many_models_are_remembered() {
        let (mut quarantine, start) = (Quarantine::default(), Instant::now());
        for place in 0..=u32::try_from(SUBJECTS_MAX).unwrap() {
            let mut model = [0; 32];
            model[..4].copy_from_slice(&place.to_le_bytes());
            let now = start + Duration::from_millis(u64::from(place));
            quarantine.crashed(model, "why".into(), now);
        }
        assert_eq!(quarantine.strikes.len(), SUBJECTS_MAX);
        assert!(!quarantine.strikes.contains_key(&[0; 32]), "the oldest");
    }
}
