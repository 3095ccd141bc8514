//! Choosing a provider: who is left alone, who is probed, and power of two choices among the rest.
//!
//! Two candidates are drawn by chance and the one that costs less is taken. That is nearly as even as
//! asking all, and consumers that know the same do not all run to the same best provider.
//!
//! **Panic.** At most a share of those that could be asked (half) is left alone for failing; the others
//! that fail are let back in, soonest probe first. So with one candidate none is left alone, and there is
//! always somebody to ask, unless all rest at their own wish. Those let back in are drawn only as the
//! second of the two while anybody healthy is there, so the healthy take all calls until they are so
//! crowded that even a failing provider costs less.
//!
//! **Newcomers.** An untried provider costs what the service's median suggests and is drawn like any
//! other; but until it has answered a few times, only a few calls at once go there.

use rialto_channels::Amount;

use super::{
    Router,
    attempt::Why,
    candidate::{Candidate, ServiceId},
    cost::{Cost, Seen},
    payments::Payments,
    units::{Chance, Millis, scaled},
};

/// Who is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) service: &'a ServiceId,
    pub(super) candidates: &'a [Candidate],
    /// Providers that the call was sent to are not asked anew, but count among those that could be.
    pub(super) payments: &'a Payments,
    pub(super) idempotent: bool,
    /// For a hedge: the most it may cost. A hedge goes to the healthy only.
    pub(super) hedge_max: Option<Amount>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The candidate at `index`.
    Take { index: usize, why: Why },
    /// Nobody now; so many rest, and the first of them until then.
    Wait { until: Millis, resting: usize },
    /// Nobody.
    Nobody,
}

/// A candidate that could be asked now.
#[derive(Clone, Copy, Debug)]
struct Present {
    index: usize,
    cost: Cost,
    asked: bool,
    /// When its next probe is due, if its breaker is open.
    probe_at: Option<Millis>,
    /// A probe is due.
    due: bool,
    /// It has been due for so long that even a call that must not fail lightly may be the probe.
    overdue: bool,
    newcomer: bool,
    crowded: bool,
}

/// Chooses, drawing from `chance`.
pub(super) fn choose(router: &Router, ask: &Ask<'_>, now: Millis, chance: &mut Chance) -> Choice {
    let (present, rest) = survey(router, ask, now);
    let (healthy, panic, ejected) = sort(present, router.config.breaker.ejected_max_permille);
    if ask.hedge_max.is_some() {
        return pick(&healthy, healthy.len(), chance).unwrap_or(Choice::Nobody);
    }
    let first = ask.payments.is_empty();
    let due = panic.iter().chain(&ejected).filter(|p| p.due);
    let due = due
        .min_by_key(|present| (present.probe_at, present.index))
        .copied();
    let take = |present: Present| Choice::Take {
        index: present.index,
        why: Why::Probe,
    };
    if let Some(present) = due
        && first
        && (ask.idempotent || present.overdue)
    {
        return take(present);
    }
    let (sure, all) = (healthy.len(), [healthy, panic].concat());
    pick(&all, sure, chance)
        .or_else(|| due.map(take))
        .or(rest)
        .unwrap_or(Choice::Nobody)
}

/// Finds who could be asked now, and among the others who will be after a rest.
fn survey(router: &Router, ask: &Ask<'_>, now: Millis) -> (Vec<Present>, Option<Choice>) {
    let config = &router.config;
    let prior = router
        .services
        .get(ask.service)
        .and_then(|service| service.latencies.quantile(500))
        .unwrap_or(config.latency_prior);
    let (mut present, mut resting, mut until) = (Vec::new(), 0_usize, Millis::MAX);
    for (index, candidate) in ask.candidates.iter().enumerate() {
        if candidate.expires <= now || ask.hedge_max.is_some_and(|max| candidate.price > max) {
            continue;
        }
        let asked = ask.payments.include(&candidate.provider);
        let health = router.providers.get(&candidate.provider);
        if let Some(health) = health
            && health.resting_until > now
        {
            if !asked {
                resting = resting.saturating_add(1);
                until = until.min(health.resting_until);
            }
            continue;
        }
        let in_flight = health.map_or(0, |health| health.in_flight(now));
        let latency_us = health.map_or_else(
            || prior.0.saturating_mul(1000).max(500),
            |health| health.latency.at(now, prior, config.latency_half_life),
        );
        let seen = Seen {
            latency_us,
            in_flight,
        };
        let newcomer = health.is_none_or(|health| health.answers < config.newcomer_answers);
        let wants_probe =
            |lightly| health.is_some_and(|health| health.breaker.wants_probe(now, lightly));
        present.push(Present {
            index,
            cost: Cost::of(candidate, seen, &config.weights),
            asked,
            probe_at: health.and_then(|health| health.breaker.probe_at()),
            due: wants_probe(true),
            overdue: wants_probe(false),
            newcomer,
            crowded: newcomer && in_flight >= config.newcomer_in_flight_max,
        });
    }
    let rest = (resting > 0).then_some(Choice::Wait { until, resting });
    (present, rest)
}

/// Sorts out who is healthy, who fails but is let back in, and who is left alone; without those that the
/// call was sent to already.
fn sort(
    present: Vec<Present>,
    ejected_max_permille: u32,
) -> (Vec<Present>, Vec<Present>, Vec<Present>) {
    let count = u64::try_from(present.len()).unwrap_or(u64::MAX);
    let ejected_max = scaled(count, ejected_max_permille.min(1000).into(), 1000);
    // Of one, half is none; and never all, whatever the configuration says.
    let ejected_max = ejected_max.min(count.saturating_sub(1));
    let (mut healthy, mut failing): (Vec<_>, Vec<_>) =
        present.into_iter().partition(|p| p.probe_at.is_none());
    failing.sort_by_key(|present| (present.probe_at, present.index));
    let kept_out = usize::try_from(ejected_max).unwrap_or(usize::MAX);
    let mut ejected = failing.split_off(failing.len().saturating_sub(kept_out));
    for group in [&mut healthy, &mut failing, &mut ejected] {
        group.retain(|present| !present.asked);
    }
    let is_open = |present: &Present| !present.crowded;
    if healthy.iter().any(|p| is_open(p) && !p.newcomer) {
        healthy.retain(is_open);
    }
    (healthy, failing, ejected)
}

/// Power of two choices; the first of the two comes from the first `sure`, if there are any.
fn pick(all: &[Present], sure: usize, chance: &mut Chance) -> Option<Choice> {
    let first_among = if sure == 0 { all.len() } else { sure };
    let first = chance.below(first_among);
    let drawn = chance.below(all.len().saturating_sub(1));
    let second = drawn.saturating_add(usize::from(drawn >= first));
    let taken = match (all.get(first)?, all.get(second)) {
        (a, Some(b)) if b.cost < a.cost => b,
        (a, _) => a,
    };
    let why = match (taken.probe_at, taken.due) {
        (None, _) => Why::Chosen,
        (Some(_), true) => Why::Probe,
        (Some(_), false) => Why::Panic,
    };
    Some(Choice::Take {
        index: taken.index,
        why,
    })
}
