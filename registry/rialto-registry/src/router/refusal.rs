//! Which candidates a call can use at all, and what to say when there is none.
//!
//! Not here: choosing among those that are left ([`choice`](super::choice)).

use std::{collections::BTreeSet, fmt};

use rialto_channels::Amount;

use super::{
    candidate::Candidate,
    config::{CallSpec, Config},
    units::{Chance, Millis},
};

/// Why no provider was asked. Each candidate counts once, under the first reason that holds for it.
///
/// [`Display`](fmt::Display) says it in a line, and what would help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProvider {
    /// Providers that were known at all.
    pub known: usize,
    /// Whose offer has expired.
    pub expired: usize,
    /// In another region than the one demanded, or in none they tell.
    pub other_region: usize,
    /// Without something that the call needs.
    pub incapable: usize,
    /// Dearer than the ceiling.
    pub too_dear: usize,
    /// The lowest price, in base units, among those that are only too dear.
    pub cheapest: Option<Amount>,
    /// That asked to be left alone, being too busy.
    pub resting: usize,
    /// When the first of those may be asked again.
    pub resting_until: Option<Millis>,
    /// True if the deadline had passed.
    pub too_late: bool,
}

/// Keeps the candidates that `spec` can use: for each provider its first, at most so many as the
/// configuration says, drawn by chance if there are more.
pub(super) fn usable(
    spec: &CallSpec,
    candidates: &[Candidate],
    now: Millis,
    chance: &mut Chance,
    config: &Config,
) -> (Vec<Candidate>, NoProvider) {
    let mut refusal = NoProvider::default();
    let mut seen = BTreeSet::new();
    let mut kept: Vec<&Candidate> = Vec::new();
    let mut met = 0_usize;
    let max = config.candidates_per_call_max.max(1);
    for candidate in candidates {
        if !seen.insert(&candidate.provider) {
            continue;
        }
        refusal.known = refusal.known.saturating_add(1);
        if !refusal.lets_in(spec, candidate, now) {
            continue;
        }
        // Reservoir sampling: each of those met so far is kept with the same chance.
        met = met.saturating_add(1);
        if kept.len() < max {
            kept.push(candidate);
        } else if let Some(place) = kept.get_mut(chance.below(met)) {
            *place = candidate;
        }
    }
    (kept.into_iter().cloned().collect(), refusal)
}

impl NoProvider {
    fn lets_in(&mut self, spec: &CallSpec, candidate: &Candidate, now: Millis) -> bool {
        let price_max = spec.price_max.unwrap_or(Amount::MAX);
        let elsewhere = spec.region.is_some() && spec.region != candidate.region;
        let reason = if candidate.expires <= now {
            &mut self.expired
        } else if elsewhere {
            &mut self.other_region
        } else if !candidate.capabilities.include(spec.needs) {
            &mut self.incapable
        } else if candidate.price > price_max {
            let cheapest = self.cheapest.unwrap_or(Amount::MAX);
            self.cheapest = Some(cheapest.min(candidate.price));
            &mut self.too_dear
        } else {
            return true;
        };
        *reason = reason.saturating_add(1);
        false
    }
}

impl fmt::Display for NoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.too_late {
            return f.write_str(
                "the deadline passed before a provider could be asked; allow more time",
            );
        }
        if self.known == 0 {
            return f
                .write_str("no provider is known; wait for offers or look the service up again");
        }
        write!(f, "none of {} known providers will do", self.known)?;
        let mut separator = ": ";
        let mut part = |f: &mut fmt::Formatter<'_>, count: usize, what: fmt::Arguments<'_>| {
            if count > 0 {
                write!(f, "{separator}{count} {what}")?;
                separator = ", ";
            }
            Ok(())
        };
        if let Some(cheapest) = self.cheapest {
            let what = format_args!("too dear (raise the ceiling to {cheapest} base units)");
            part(f, self.too_dear, what)?;
        }
        part(f, self.other_region, format_args!("in another region"))?;
        part(
            f,
            self.incapable,
            format_args!("without what the call needs"),
        )?;
        part(f, self.expired, format_args!("with an expired offer"))?;
        part(f, self.resting, format_args!("too busy (try again later)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Capabilities, Permille, Reach};

    fn candidate(name: &str, price: u128) -> Candidate {
        Candidate {
            provider: name.parse().unwrap(),
            price: Amount::new(price),
            load_permille: 0,
            region: Some("eu".parse().unwrap()),
            capabilities: Capabilities(1),
            reputation: Permille::FULL,
            channel_open: false,
            reach: Reach::Direct,
            expires: Millis(100),
        }
    }

    fn spec() -> CallSpec {
        CallSpec {
            price_max: Some(Amount::new(10)),
            region: Some("eu".parse().unwrap()),
            needs: Capabilities(1),
            ..CallSpec::new("s".parse().unwrap(), Millis(1_000))
        }
    }

    fn filter(candidates: &[Candidate], now: u64) -> (Vec<Candidate>, NoProvider) {
        let config = Config::default();
        usable(
            &spec(),
            candidates,
            Millis(now),
            &mut Chance::new(1),
            &config,
        )
    }

    #[test]
    fn each_reason_is_counted_once() {
        let candidates = [
            candidate("dear", 30),
            candidate("less dear", 20),
            Candidate {
                region: None,
                ..candidate("nowhere", 99)
            },
            Candidate {
                region: Some("us".parse().unwrap()),
                ..candidate("us", 1)
            },
            Candidate {
                capabilities: Capabilities(2),
                ..candidate("other", 1)
            },
            Candidate {
                expires: Millis(50),
                ..candidate("expired", 1)
            },
            candidate("dear", 1),
        ];
        let (kept, refusal) = filter(&candidates, 50);
        assert_eq!(kept, []);
        let expected = NoProvider {
            known: 6,
            expired: 1,
            other_region: 2,
            incapable: 1,
            too_dear: 2,
            cheapest: Some(Amount::new(20)),
            ..NoProvider::default()
        };
        assert_eq!(refusal, expected);
        assert_eq!(
            refusal.to_string(),
            "none of 6 known providers will do: 2 too dear (raise the ceiling to 20 base units), 2 in another \
             region, 1 without what the call needs, 1 with an expired offer"
        );
        assert!(
            filter(&[], 0)
                .1
                .to_string()
                .starts_with("no provider is known")
        );
    }

    #[test]
    fn what_fits_is_kept_at_the_very_limits() {
        let (kept, refusal) = filter(&[candidate("a", 10)], 99);
        assert_eq!((kept.len(), refusal.known), (1, 1));
        assert_eq!(filter(&[candidate("a", 10)], 100).0, []);
        assert_eq!(filter(&[candidate("a", 11)], 0).0, []);
    }

    #[test]
    fn of_too_many_a_fair_sample_is_kept() {
        let many: Vec<_> = (0..640).map(|n| candidate(&n.to_string(), 1)).collect();
        let mut late = 0;
        for seed in 0..100 {
            let mut chance = Chance::new(seed);
            let (kept, refusal) =
                usable(&spec(), &many, Millis(0), &mut chance, &Config::default());
            assert_eq!((kept.len(), refusal.known), (64, 640));
            let names: BTreeSet<_> = kept.iter().map(|c| &c.provider).collect();
            assert_eq!(names.len(), 64);
            late += kept.iter().filter(|c| many[320..].contains(c)).count();
        }
        assert!(
            (2_900..3_500).contains(&late),
            "{late} of 6,400 from the second half"
        );
    }
}
