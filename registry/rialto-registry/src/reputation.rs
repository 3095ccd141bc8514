//! Reputation: how good a provider is, by our own calls first and by what others say second.
//!
//! Others only count through a receipt that they paid for, and all of them together only as much as a few
//! calls of our own. Whoever has never agreed with our own receipts shares a smaller part of that. So a
//! thousand false raters are worth no more than that part, and a provider's own accounts nothing.
//!
//! All is integers and days are counted by the caller, so the same history gives the same score.
//!
//! Not here: verifying receipts and signatures, reading the chain, finding out which accounts belong
//! together; and choosing a provider, which the router does.

mod backed;
mod crowd;
mod own;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use rialto_channels::Amount;

pub use backed::{
    Backed, Claim, EVIDENCE_BYTES_MAX, Evidence, FEEDBACK_TAG, FEEDBACK_URI, NotBacked, backed,
    receipt_of,
};
pub use crowd::{FeedbackRefusal, Ignored};
pub use own::{Calls, Outcome};

use crate::{PeerId, fixed::scaled};
use crowd::Crowd;
use own::Record;

/// How scores are made, and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReputationConfig {
    /// After so many days a call counts half. At least one.
    pub half_life_days: u64,
    /// What a stranger starts with, in thousandths.
    pub start_permille: u16,
    /// How many calls the start counts as.
    pub start_calls: u32,
    /// What a good answer that came late counts, in thousandths of one in time.
    pub late_permille: u16,
    /// How many failed calls a bad receipt counts as.
    pub bad_receipt_calls: u32,
    /// How many calls of our own everybody else together counts as, at most.
    pub crowd_calls_max: u32,
    /// How many of those the raters may have that never agreed with us.
    pub fresh_calls_max: u32,
    /// How many calls of our own one rater counts as, at most.
    pub rater_calls_max: u32,
    /// Who paid less than this, in base units, counts a quarter of a call; who paid as much, two quarters; and
    /// a quarter more each time the payment about doubles.
    pub paid_unit: Amount,
    /// Feedback older than this says nothing any more.
    pub feedback_days_max: u64,
    /// The most providers with calls of our own; the one not called for longest goes.
    pub providers_max: usize,
    /// The most feedback on one provider; of those who have not earned trust, who paid least goes.
    pub raters_max: usize,
    /// The most feedback of one rater; the oldest goes.
    pub ratings_max: usize,
    /// The most feedback in all; who goes is found in the same way.
    pub feedback_max: usize,
    /// The most linked accounts of one provider. With more of them, nobody's word counts for it.
    pub linked_max: usize,
    /// The most providers that others are heard about; the one linked longest ago goes.
    pub linked_providers_max: usize,
}

/// What is known about providers.
#[derive(Debug, Clone)]
pub struct Reputation {
    config: ReputationConfig,
    own: BTreeMap<PeerId, Record>,
    /// Who has not been called for longest, first.
    called: BTreeSet<(u64, PeerId)>,
    crowd: Crowd,
}

/// What somebody who paid a provider says about it, with a receipt that the caller has verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback {
    /// Who says it.
    pub rater: Address,
    /// About whom.
    pub provider: PeerId,
    /// From -100, useless, to 100, perfect; what lies outside counts as the nearer end.
    pub value: i16,
    /// What the receipt says was paid, in base units.
    pub paid: Amount,
    /// The receipt's day, since the Unix epoch.
    pub day: u64,
}

/// A provider's score, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// How good the provider is, in thousandths.
    pub permille: u16,
    /// What our own calls alone would make of it.
    pub own_permille: u16,
    /// How many calls of our own count, in thousandths of a call, after ageing.
    pub own_millicalls: u64,
    /// What our own calls came to, as far as they still count.
    pub calls: Calls,
    /// How many calls the others count as, in thousandths of a call.
    pub others_millicalls: u64,
    /// What the others say, in thousandths; nothing where nobody counts.
    pub others_permille: Option<u16>,
    /// How many of the others count.
    pub raters: usize,
    /// How many of those have agreed with our own receipts about other providers.
    pub raters_trusted: usize,
    /// How many of the others do not count, and why.
    pub ignored: Ignored,
}

impl ReputationConfig {
    /// Own calls of about three weeks, and a crowd that twenty of them outweigh.
    pub const DEFAULT: Self = Self {
        half_life_days: 7,
        start_permille: 500,
        start_calls: 4,
        late_permille: 600,
        bad_receipt_calls: 10,
        crowd_calls_max: 20,
        fresh_calls_max: 5,
        rater_calls_max: 2,
        paid_unit: Amount::new(1_000),
        feedback_days_max: 180,
        providers_max: 10_000,
        raters_max: 256,
        ratings_max: 32,
        feedback_max: 100_000,
        linked_max: 256,
        linked_providers_max: 10_000,
    };
}

impl Default for ReputationConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Reputation {
    /// Knows nobody.
    #[must_use]
    pub const fn new(config: ReputationConfig) -> Self {
        Self {
            config,
            own: BTreeMap::new(),
            called: BTreeSet::new(),
            crowd: Crowd::new(),
        }
    }

    /// Notes what came of one of our own calls, on its day since the Unix epoch.
    pub fn record(&mut self, provider: PeerId, outcome: Outcome, day: u64) {
        let period = self.config.period(day);
        let record = self.own.entry(provider).or_default();
        self.called.remove(&(record.latest(), provider));
        record.add(outcome, period);
        self.called.insert((record.latest(), provider));
        while self.own.len() > self.config.providers_max {
            let Some((_, stalest)) = self.called.pop_first() else {
                break;
            };
            self.own.remove(&stalest);
        }
    }

    /// Takes what somebody says about a provider; the latest of each rater counts.
    ///
    /// # Errors
    /// [`FeedbackRefusal`] says why it can change nothing.
    pub fn hear(&mut self, feedback: Feedback, today: u64) -> Result<(), FeedbackRefusal> {
        let opinion = |other| opinion(&self.own, &self.config, today, other);
        self.crowd.hear(&self.config, feedback, today, &opinion)
    }

    /// Forgets what a rater said about a provider, and says whether there was something: it was revoked.
    pub fn unhear(&mut self, provider: PeerId, rater: Address) -> bool {
        self.crowd.forget(provider, rater)
    }

    /// Says which accounts belong to a provider: payout, host key, the agent's owner and operators, and
    /// whoever is linked to them. What they say about it does not count, what they said is forgotten. Nothing
    /// is heard about a provider before this is called; call it again when the accounts change.
    pub fn link(&mut self, provider: PeerId, accounts: BTreeSet<Address>) {
        self.crowd.link(&self.config, provider, accounts);
    }

    /// Drops feedback that is too old to count.
    pub fn expire(&mut self, today: u64) {
        let day = today.saturating_sub(self.config.feedback_days_max);
        self.crowd.forget_before(day);
    }

    /// How good a provider is today, in days since the Unix epoch, and why.
    #[must_use]
    pub fn score(&self, provider: PeerId, today: u64) -> Score {
        let config = &self.config;
        let own = self.own.get(&provider).copied().unwrap_or_default();
        let weighed = own.weighed(config, config.period(today));
        let opinion = |other| opinion(&self.own, config, today, other);
        let others = self.crowd.weigh(config, provider, today, &opinion);
        let start = millicalls(config.start_calls);
        let start_worth = worth(start, config.start_permille.min(1_000));
        let own_worth = start_worth.saturating_add(weighed.worth);
        let own_calls = start.saturating_add(weighed.millicalls);
        let all_worth = own_worth.saturating_add(others.worth);
        let all_calls = own_calls.saturating_add(others.millicalls);
        Score {
            permille: quotient(all_worth, all_calls),
            own_permille: quotient(own_worth, own_calls),
            own_millicalls: weighed.millicalls,
            calls: own.calls(config.period(today)),
            others_millicalls: others.millicalls,
            others_permille: (others.millicalls > 0)
                .then(|| quotient(others.worth, others.millicalls)),
            raters: others.raters,
            raters_trusted: others.trusted,
            ignored: others.ignored,
        }
    }
}

/// What we think of a provider ourselves, where we have called it often enough.
fn opinion(
    own: &BTreeMap<PeerId, Record>,
    config: &ReputationConfig,
    today: u64,
    provider: PeerId,
) -> Option<u16> {
    let weighed = own.get(&provider)?.weighed(config, config.period(today));
    let enough = weighed.millicalls >= OPINION_MILLICALLS_MIN;
    enough.then(|| quotient(weighed.worth, weighed.millicalls))
}

impl Default for Reputation {
    fn default() -> Self {
        Self::new(ReputationConfig::DEFAULT)
    }
}

impl ReputationConfig {
    /// The half-life that a day lies in.
    fn period(&self, day: u64) -> u64 {
        day.checked_div(self.half_life_days).unwrap_or(day)
    }
}

/// Some evidence: how many calls it counts as, and what they are worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weighed {
    /// In thousandths of a call.
    millicalls: u64,
    /// The sum of thousandths of a call, each times its value in thousandths.
    worth: u64,
}

impl Weighed {
    fn add(&mut self, millicalls: u64, permille: u16) {
        self.millicalls = self.millicalls.saturating_add(millicalls);
        self.worth = self.worth.saturating_add(worth(millicalls, permille));
    }
}

const fn millicalls(calls: u32) -> u64 {
    (calls as u64).saturating_mul(1_000)
}

fn worth(millicalls: u64, permille: u16) -> u64 {
    millicalls.saturating_mul(u64::from(permille))
}

/// The mean value of some evidence, in thousandths.
fn quotient(worth: u64, millicalls: u64) -> u16 {
    let permille = scaled(worth, 1, millicalls).min(1_000);
    u16::try_from(permille).unwrap_or(1_000)
}

/// How many calls of our own make an opinion, in thousandths of a call.
const OPINION_MILLICALLS_MIN: u64 = 3_000;

#[cfg(test)]
mod tests;
