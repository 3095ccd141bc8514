//! Which provider gets a call, and what happens when it fails: choosing and failing over, without
//! network, clock or chance.
//!
//! [`Router`] remembers how providers have done and what each service may spend on retries;
//! [`Router::begin`] makes a [`Call`], a state machine that a driver polls. Time comes in as [`Millis`] of
//! a monotonic clock and chance as a random number, so the same calls can be played again to the
//! millisecond.
//!
//! A call chooses among [`Candidate`]s by hard filters ([`NoProvider`] counts what they kept out), then by
//! power of two choices on a cost of latency, crowd, price and reputation. Providers that fail are left
//! alone and probed; those that ask for rest get it. What may be tried again, where, and under which
//! payment is decided by [`decide`]: the application sees one answer and pays once.
//!
//! Reputation and offers come in with each candidate; what is remembered here lives as long as the process.
//!
//! Non-goals: sockets, payments, verification of offers, and search.

mod attempt;
mod breaker;
mod budget;
mod call;
mod candidate;
mod choice;
mod config;
mod cost;
mod health;
mod latency;
mod payments;
mod recent;
mod refusal;
mod retry;
mod units;

#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod choice_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod simulation;

pub use attempt::{Attempt, AttemptId, NotStarted, Outcome, Why};
pub use call::{Action, Call, Report};
pub use candidate::{Candidate, Capabilities, KeyError, ProviderId, Reach, Region, ServiceId};
pub use config::{Abandon, BreakerConfig, CallSpec, Config, Hedge, Weights};
pub use payments::Exposure;
pub use refusal::NoProvider;
pub use retry::{Decision, Facts, Others, decide};
pub use units::{Millis, Permille};

use health::{Begun, Health, Service};
use recent::Recent;
use units::Chance;

/// Health of providers and budgets of services, shared by all calls of a consumer. Bounded: what is
/// longest unused is forgotten.
#[derive(Clone, Debug)]
pub struct Router {
    config: Config,
    providers: Recent<ProviderId, Health>,
    services: Recent<ServiceId, Service>,
    attempts: u64,
}

/// A provider's health, to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthView {
    /// Estimated latency in microseconds, faded to now.
    pub latency_us: u64,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Answers so far.
    pub answers: u32,
    /// When its next probe is due, if it is left alone for failing.
    pub probe_at: Option<Millis>,
    /// Until when it rests at its own wish, if it does.
    pub resting_until: Option<Millis>,
}

impl Router {
    /// A router that knows nobody.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            providers: Recent::new(config.providers_max),
            services: Recent::new(config.services_max),
            attempts: 0,
            config,
        }
    }

    /// Begins a call among `candidates`, of which each provider's first counts. `random` decides all that
    /// is left to chance in this call; give each call another number.
    pub fn begin(
        &mut self,
        spec: CallSpec,
        candidates: &[Candidate],
        now: Millis,
        random: u64,
    ) -> Call {
        let mut chance = Chance::new(random);
        let service = self.service(&spec.service, now);
        service.retries.earn();
        service.hedges.earn();
        let (usable, refusal) = refusal::usable(&spec, candidates, now, &mut chance, &self.config);
        Call::new(spec, usable, refusal, chance)
    }

    /// What is known of a provider; `None` if it was never asked, or long ago.
    #[must_use]
    pub fn health(&self, provider: &ProviderId, now: Millis) -> Option<HealthView> {
        let health = self.providers.get(provider)?;
        let (prior, half_life) = (self.config.latency_prior, self.config.latency_half_life);
        Some(HealthView {
            latency_us: health.latency.at(now, prior, half_life),
            in_flight: health.in_flight(now),
            answers: health.answers,
            probe_at: health.breaker.probe_at(),
            resting_until: Some(health.resting_until).filter(|until| *until > now),
        })
    }

    /// Providers and services remembered; at most what the configuration allows.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        (self.providers.len(), self.services.len())
    }

    fn service(&mut self, service: &ServiceId, now: Millis) -> &mut Service {
        let config = &self.config;
        self.services.used(service, || Service::new(config, now))
    }

    fn spend_retry(&mut self, service: &ServiceId, now: Millis) -> bool {
        self.service(service, now).retries.spend(now)
    }

    fn retry_wait(&mut self, service: &ServiceId, now: Millis) -> Option<Millis> {
        self.service(service, now).retries.wait()
    }

    fn spend_hedge(&mut self, service: &ServiceId, now: Millis) -> bool {
        self.service(service, now).hedges.spend(now)
    }

    /// The latency that so many thousandths of the service's recent answers did not exceed.
    fn latency(&self, service: &ServiceId, permille: u64) -> Option<Millis> {
        self.services.get(service)?.latencies.quantile(permille)
    }

    fn resting_until(&self, provider: &ProviderId) -> Millis {
        let health = self.providers.get(provider);
        health.map_or(Millis::ZERO, |health| health.resting_until)
    }

    fn begin_attempt(
        &mut self,
        provider: &ProviderId,
        probe: bool,
        timeout_at: Millis,
        now: Millis,
    ) -> Begun {
        let begun = Begun {
            attempt: AttemptId(self.attempts),
            at: now,
            timeout_at,
        };
        self.attempts = self.attempts.saturating_add(1);
        let config = &self.config;
        let new = || Health::new(config, begun.attempt);
        self.providers.used(provider, new).begin(&begun, probe);
        begun
    }

    fn end_attempt(
        &mut self,
        service: &ServiceId,
        provider: &ProviderId,
        begun: &Begun,
        outcome: Outcome,
        now: Millis,
        jitter: Millis,
    ) {
        if outcome == Outcome::Answered {
            self.service(service, now)
                .latencies
                .push(now.since(begun.at));
        }
        // Forgotten meanwhile: then it starts anew with its next attempt.
        if let Some(health) = self.providers.get_mut(provider) {
            health.end(begun, outcome, now, jitter, &self.config);
        }
    }

    fn give_up_attempt(&mut self, provider: &ProviderId, begun: &Begun, now: Millis) {
        if let Some(health) = self.providers.get_mut(provider) {
            health.give_up(begun, now, &self.config);
        }
    }
}
