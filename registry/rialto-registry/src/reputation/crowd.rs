//! What others say about providers, and how much of it counts.
//!
//! Not here: what our own calls say; it comes in as an opinion on other providers, by which raters gain and
//! lose trust.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;

use super::{Feedback, ReputationConfig, Weighed, millicalls, worth};
use crate::{
    PeerId,
    fixed::{LOG_ONE, halved, log2, scaled},
};

/// Why feedback changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackRefusal {
    /// Nobody has said which accounts belong to the provider.
    #[error("the provider's accounts are not known: link them first")]
    Unlinked,
    /// The rater belongs to the provider.
    #[error("rater belongs to the provider")]
    Linked,
    /// Nothing was paid, so anybody could say it.
    #[error("nothing was paid: a receipt of a paid call must back it")]
    Unpaid,
    /// Its receipt is too old.
    #[error("receipt is too old to count")]
    TooOld,
    /// Its receipt is from a day that is yet to come.
    #[error("receipt is from a day to come")]
    FromTheFuture,
    /// The rater has said something later about the same provider.
    #[error("rater has said something later")]
    Superseded,
    /// There is no room, and everybody else is trusted or paid more.
    #[error("no room, and everybody else is trusted or paid more")]
    Full,
}

/// How many raters of a provider do not count, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    /// They belong to the provider.
    pub linked: usize,
    /// So many accounts belong to the provider that nobody is believed.
    pub all_linked: bool,
    /// What they said about other providers contradicts our own receipts.
    pub contradicting: usize,
    /// What they said is too long ago.
    pub stale: usize,
}

/// What the others come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Others {
    pub(super) millicalls: u64,
    pub(super) worth: u64,
    pub(super) raters: usize,
    pub(super) trusted: usize,
    pub(super) ignored: Ignored,
}

/// What we think of a provider ourselves, in thousandths, where we have called it often enough.
pub(super) type Opinion<'a> = dyn Fn(PeerId) -> Option<u16> + 'a;

/// All feedback that is kept.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    by_provider: BTreeMap<PeerId, BTreeMap<Address, Said>>,
    by_rater: BTreeMap<Address, BTreeSet<PeerId>>,
    /// Who paid least, first; of those the oldest.
    cheapest: BTreeSet<(u128, u64, PeerId, Address)>,
    linked: BTreeMap<PeerId, Linked>,
    linked_orders: BTreeSet<(u64, PeerId)>,
    /// Counts up with each link.
    links: u64,
}

/// What one rater said last about one provider.
#[derive(Debug, Clone, Copy)]
struct Said {
    permille: u16,
    paid: u128,
    day: u64,
}

/// The accounts of a provider, each with whether it has tried to rate the provider.
#[derive(Debug, Clone, Default)]
struct Linked {
    order: u64,
    accounts: BTreeMap<Address, bool>,
    too_many: bool,
}

impl Linked {
    fn has(&self, account: Address) -> bool {
        self.too_many || self.accounts.contains_key(&account)
    }
}

impl Crowd {
    pub(super) const fn new() -> Self {
        Self {
            by_provider: BTreeMap::new(),
            by_rater: BTreeMap::new(),
            cheapest: BTreeSet::new(),
            linked: BTreeMap::new(),
            linked_orders: BTreeSet::new(),
            links: 0,
        }
    }

    pub(super) fn hear(
        &mut self,
        config: &ReputationConfig,
        feedback: Feedback,
        today: u64,
        opinion: &Opinion<'_>,
    ) -> Result<(), FeedbackRefusal> {
        let Feedback {
            rater, provider, ..
        } = feedback;
        let linked = self.linked.get_mut(&provider);
        let linked = linked.ok_or(FeedbackRefusal::Unlinked)?;
        if linked.has(rater) {
            if let Some(tried) = linked.accounts.get_mut(&rater) {
                *tried = true;
            }
            return Err(FeedbackRefusal::Linked);
        }
        if feedback.paid.is_zero() {
            return Err(FeedbackRefusal::Unpaid);
        }
        // A day's tolerance: clocks differ, and so do days.
        if feedback.day > today.saturating_add(1) {
            return Err(FeedbackRefusal::FromTheFuture);
        }
        if today.saturating_sub(feedback.day) > config.feedback_days_max {
            return Err(FeedbackRefusal::TooOld);
        }
        let known = self.said(provider, rater).map(|said| said.day);
        if known.is_some_and(|day| day > feedback.day) {
            return Err(FeedbackRefusal::Superseded);
        }
        self.forget(provider, rater);
        self.keep(&feedback);
        self.drop_excess(config, provider, rater, opinion);
        match self.said(provider, rater) {
            Some(_) => Ok(()),
            None => Err(FeedbackRefusal::Full),
        }
    }

    pub(super) fn forget(&mut self, provider: PeerId, rater: Address) -> bool {
        let Some(raters) = self.by_provider.get_mut(&provider) else {
            return false;
        };
        let Some(said) = raters.remove(&rater) else {
            return false;
        };
        if raters.is_empty() {
            self.by_provider.remove(&provider);
        }
        if let Some(providers) = self.by_rater.get_mut(&rater) {
            providers.remove(&provider);
            if providers.is_empty() {
                self.by_rater.remove(&rater);
            }
        }
        self.cheapest
            .remove(&(said.paid, said.day, provider, rater));
        true
    }

    pub(super) fn forget_before(&mut self, day: u64) {
        let old = self.cheapest.iter().filter(|(_, said, ..)| *said < day);
        let old: Vec<_> = old
            .map(|(.., provider, rater)| (*provider, *rater))
            .collect();
        for (provider, rater) in old {
            self.forget(provider, rater);
        }
    }

    /// Notes whose accounts are a provider's. When there are too many providers, the one that was linked
    /// longest ago goes, with all that was said about it: nobody may speak about an unknown one.
    pub(super) fn link(
        &mut self,
        config: &ReputationConfig,
        provider: PeerId,
        accounts: BTreeSet<Address>,
    ) {
        let before = self.unlink(provider).unwrap_or_default();
        self.links = self.links.saturating_add(1);
        let mut linked = Linked {
            order: self.links,
            accounts: BTreeMap::new(),
            too_many: accounts.len() > config.linked_max,
        };
        if !linked.too_many {
            for account in accounts {
                let tried = before.accounts.get(&account) == Some(&true);
                let said = self.said(provider, account).is_some();
                linked.accounts.insert(account, tried || said);
            }
        }
        self.silence(provider, |rater| linked.has(rater));
        self.linked_orders.insert((linked.order, provider));
        self.linked.insert(provider, linked);
        while self.linked.len() > config.linked_providers_max {
            let Some((_, oldest)) = self.linked_orders.first().copied() else {
                break;
            };
            self.unlink(oldest);
            self.silence(oldest, |_| true);
        }
    }

    /// What everybody but the provider's own says about it, at most as much as the configuration lets them.
    pub(super) fn weigh(
        &self,
        config: &ReputationConfig,
        provider: PeerId,
        today: u64,
        opinion: &Opinion<'_>,
    ) -> Others {
        let mut others = Others::default();
        if let Some(linked) = self.linked.get(&provider) {
            others.ignored.linked = linked.accounts.values().filter(|tried| **tried).count();
            others.ignored.all_linked = linked.too_many;
        }
        let (mut trusted, mut fresh) = (Weighed::default(), Weighed::default());
        for (rater, said) in self.by_provider.get(&provider).into_iter().flatten() {
            let weight = said.weight(config, today);
            let trust = self.trust(*rater, provider, opinion);
            if weight == 0 {
                others.ignored.stale = others.ignored.stale.saturating_add(1);
                continue;
            }
            if trust.contradicted > trust.agreed {
                others.ignored.contradicting = others.ignored.contradicting.saturating_add(1);
                continue;
            }
            others.raters = others.raters.saturating_add(1);
            if trust.is_earned() {
                others.trusted = others.trusted.saturating_add(1);
                let weight = scaled(weight, trust.share_permille(), 1_000);
                trusted.add(weight, said.permille);
            } else {
                fresh.add(weight, said.permille);
            }
        }
        let crowd_max = millicalls(config.crowd_calls_max);
        let fresh = capped(fresh, millicalls(config.fresh_calls_max).min(crowd_max));
        let trusted = capped(trusted, crowd_max.saturating_sub(fresh.millicalls));
        others.millicalls = fresh.millicalls.saturating_add(trusted.millicalls);
        others.worth = fresh.worth.saturating_add(trusted.worth);
        others
    }

    /// Forgets what these raters said about a provider.
    fn silence(&mut self, provider: PeerId, whom: impl Fn(Address) -> bool) {
        let raters = self.by_provider.get(&provider).into_iter().flatten();
        let raters = raters.map(|(rater, _)| *rater);
        for rater in raters.filter(|it| whom(*it)).collect::<Vec<_>>() {
            self.forget(provider, rater);
        }
    }

    fn unlink(&mut self, provider: PeerId) -> Option<Linked> {
        let linked = self.linked.remove(&provider)?;
        self.linked_orders.remove(&(linked.order, provider));
        Some(linked)
    }

    fn said(&self, provider: PeerId, rater: Address) -> Option<&Said> {
        self.by_provider.get(&provider)?.get(&rater)
    }

    fn keep(&mut self, feedback: &Feedback) {
        let Feedback {
            rater, provider, ..
        } = *feedback;
        let above = feedback.value.clamp(-100, 100).saturating_add(100);
        let said = Said {
            permille: above.unsigned_abs().saturating_mul(5),
            paid: feedback.paid.get(),
            day: feedback.day,
        };
        self.by_provider
            .entry(provider)
            .or_default()
            .insert(rater, said);
        self.by_rater.entry(rater).or_default().insert(provider);
        self.cheapest.insert((said.paid, said.day, provider, rater));
    }

    /// Drops what is one too much: of the provider, of the rater, or of all. Strangers go before raters who
    /// have earned trust, so that no number of them displaces one.
    fn drop_excess(
        &mut self,
        config: &ReputationConfig,
        provider: PeerId,
        rater: Address,
        opinion: &Opinion<'_>,
    ) {
        let raters = self.by_provider.get(&provider);
        if let Some(raters) = raters.filter(|it| it.len() > config.raters_max) {
            let paid = raters.iter().map(|(it, said)| (said.paid, said.day, *it));
            let mut paid: Vec<_> = paid.collect();
            paid.sort_unstable();
            let whom = paid.iter().map(|(.., rater)| (provider, *rater));
            self.forget_one(whom.collect(), opinion);
        }
        let providers = self.by_rater.get(&rater);
        if let Some(providers) = providers.filter(|it| it.len() > config.ratings_max) {
            let day = |it: &&PeerId| (self.said(**it, rater).map(|said| said.day), **it);
            if let Some(oldest) = providers.iter().min_by_key(day).copied() {
                self.forget(oldest, rater);
            }
        }
        if self.cheapest.len() > config.feedback_max {
            let first = self.cheapest.iter().take(DROP_SCANNED_MAX);
            let whom = first.map(|(.., provider, rater)| (*provider, *rater));
            self.forget_one(whom.collect(), opinion);
        }
    }

    /// Forgets the first of these who has not earned trust; if all have, the first.
    fn forget_one(&mut self, whom: Vec<(PeerId, Address)>, opinion: &Opinion<'_>) {
        let mut strangers = whom.iter();
        let stranger =
            strangers.find(|(provider, rater)| !self.trust(*rater, *provider, opinion).is_earned());
        if let Some((provider, rater)) = stranger.or(whom.first()).copied() {
            self.forget(provider, rater);
        }
    }

    /// How often a rater has agreed with us about other providers than this one, and contradicted us.
    fn trust(&self, rater: Address, about: PeerId, opinion: &Opinion<'_>) -> Trust {
        let mut trust = Trust::default();
        let providers = self.by_rater.get(&rater).into_iter().flatten();
        for provider in providers.filter(|it| **it != about) {
            let (Some(ours), Some(said)) = (opinion(*provider), self.said(*provider, rater)) else {
                continue;
            };
            let apart = ours.abs_diff(said.permille);
            if apart <= AGREEING_PERMILLE_MAX {
                trust.agreed = trust.agreed.saturating_add(1);
            } else if apart >= CONTRADICTING_PERMILLE_MIN {
                trust.contradicted = trust.contradicted.saturating_add(2);
            }
        }
        trust
    }
}

/// How often a rater has agreed with us, and twice how often contradicted.
#[derive(Debug, Clone, Copy, Default)]
struct Trust {
    agreed: u64,
    contradicted: u64,
}

impl Trust {
    const fn level(self) -> u64 {
        self.agreed.saturating_sub(self.contradicted)
    }

    const fn is_earned(self) -> bool {
        self.level() >= TRUST_LEVEL_MIN
    }

    /// Twice as much at the most.
    fn share_permille(self) -> u64 {
        let steps = self.level().min(TRUST_LEVEL_MAX);
        steps.saturating_mul(250).saturating_add(1_000)
    }
}

impl Said {
    /// How many thousandths of a call this counts as today: a quarter of a call, one more each time what was
    /// paid doubles; half as much after each half-life.
    fn weight(&self, config: &ReputationConfig, today: u64) -> u64 {
        let age_days = today.saturating_sub(self.day);
        if age_days > config.feedback_days_max {
            return 0;
        }
        let units = self.paid.checked_div(config.paid_unit.get());
        let doublings = log2(units.unwrap_or(self.paid).saturating_add(1));
        let steps = doublings.saturating_add(LOG_ONE);
        let weight = scaled(steps, STEP_MILLICALLS, LOG_ONE);
        let weight = weight.min(millicalls(config.rater_calls_max));
        let age = config.period(today).saturating_sub(config.period(self.day));
        halved(weight, age)
    }
}

/// The same mean with no more weight than this.
fn capped(weighed: Weighed, millicalls_max: u64) -> Weighed {
    if weighed.millicalls <= millicalls_max {
        return weighed;
    }
    Weighed {
        millicalls: millicalls_max,
        worth: scaled(weighed.worth, millicalls_max, weighed.millicalls)
            .min(worth(millicalls_max, 1_000)),
    }
}

/// What a rater counts for having paid, and for each doubling.
const STEP_MILLICALLS: u64 = 250;

/// So near to our own opinion is agreement, and so far is contradiction.
const AGREEING_PERMILLE_MAX: u16 = 250;
const CONTRADICTING_PERMILLE_MIN: u16 = 500;

/// How often a rater must have agreed to be no stranger, and how often more still helps.
const TRUST_LEVEL_MIN: u64 = 2;
const TRUST_LEVEL_MAX: u64 = 4;

/// Among how many of those who paid least a stranger is looked for.
const DROP_SCANNED_MAX: usize = 256;
