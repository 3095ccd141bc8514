//! One call, from choosing a provider to the one answer that the application sees.
//!
//! A driver loops: [`Call::poll`] says what to do; it sends what it is told to send, waits until a result
//! is there or the named moment has come, reports results with [`Call::on_result`], and polls again.
//! A call that is dropped early is [cancelled](Call::cancel), so that its attempts stop counting.
//!
//! What always holds:
//! - at most one attempt is in flight, and two only with a hedge;
//! - each provider gets at most one payment of a call; all later attempts there go under the same one;
//! - a call that is not idempotent goes nowhere else once an attempt may have been executed;
//! - attempts are at most `providers_per_call_max + repeats_per_call_max`, and each after the first but
//!   the hedge was paid for from the service's retry budget;
//! - nothing is sent after the deadline.
//!
//! Non-goals: payments' identifiers, transport, and what an answer says.

use super::{
    Router,
    attempt::{Attempt, AttemptId, Outcome, Why},
    candidate::Candidate,
    choice::{self, Ask, Choice},
    config::{CallSpec, Hedge},
    health::Begun,
    payments::{Exposure, Payments},
    refusal::NoProvider,
    retry::{self, Decision, Facts, Others},
    units::{Chance, Millis},
};

/// A call in progress. [`Router::begin`] makes one.
#[derive(Clone, Debug)]
pub struct Call {
    spec: CallSpec,
    candidates: Vec<Candidate>,
    refusal: NoProvider,
    chance: Chance,
    payments: Payments,
    running: Vec<Running>,
    attempts: u32,
    repeats: u32,
    /// When the first attempt is late enough for a hedge, while one is possible.
    hedge_at: Option<Millis>,
    last: Option<Last>,
    state: State,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the request to a provider that has not had it, under a new payment.
    Try(Attempt),
    /// Send it again to a provider that has had it, under the **same** payment as before.
    Repeat(Attempt),
    /// Send it to a second provider, under a payment of its own, and keep waiting for the first.
    Hedge(Attempt),
    /// Wait for a result of what is in flight, at most until then; then poll again.
    Wait {
        /// When to poll again.
        until: Millis,
    },
    /// The call is over.
    Done(Report),
    /// The call is over, and nothing was sent.
    Refuse(NoProvider),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The attempt that ended it.
    pub attempt: AttemptId,
    /// What the application learns. [`Outcome::Unknown`] if the last attempt did not start but an earlier
    /// one may have been executed.
    pub outcome: Outcome,
    /// Requests sent in all.
    pub attempts: u32,
    /// Attempts still in flight: drop them, nobody waits for their results.
    pub stop: Vec<AttemptId>,
    /// Who may charge for this call without having given its answer.
    pub exposure: Vec<Exposure>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    begun: Begun,
    payment: usize,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    attempt: AttemptId,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum State {
    Choose,
    Repeat { payment: usize, at: Millis },
    Running,
    Over(Box<Action>),
}

impl Call {
    pub(super) fn new(
        spec: CallSpec,
        candidates: Vec<Candidate>,
        refusal: NoProvider,
        chance: Chance,
    ) -> Self {
        Self {
            spec,
            candidates,
            refusal,
            chance,
            payments: Payments::default(),
            running: Vec::new(),
            attempts: 0,
            repeats: 0,
            hedge_at: None,
            last: None,
            state: State::Choose,
        }
    }

    /// Time left until the deadline; what is sent on gets no more.
    #[must_use]
    pub fn remaining(&self, now: Millis) -> Millis {
        self.spec.deadline.since(now)
    }

    /// Says what to do now. Attempts that are past their time-out have ended unknown by this.
    ///
    /// Once over, a call gives the same last action for ever.
    pub fn poll(&mut self, router: &mut Router, now: Millis) -> Action {
        self.expire(router, now);
        match &self.state {
            State::Over(action) => (**action).clone(),
            State::Choose => self.choose(router, now),
            &State::Repeat { payment, at } => self.repeat(router, payment, at, now),
            State::Running => self.watch(router, now),
        }
    }

    /// Takes in how an attempt ended. False if this call does not wait for it (any more): it timed out,
    /// was reported before, or belongs to another call; then nothing changed.
    pub fn on_result(
        &mut self,
        router: &mut Router,
        attempt: AttemptId,
        outcome: Outcome,
        now: Millis,
    ) -> bool {
        let is_it = |running: &Running| running.begun.attempt == attempt;
        let Some(position) = self.running.iter().position(is_it) else {
            return false;
        };
        let ended = self.running.swap_remove(position);
        self.hedge_at = None;
        self.last = Some(Last { attempt, outcome });
        if let Some(payment) = self.payments.get(ended.payment) {
            let jitter = self
                .chance
                .part_of(router.config.breaker.backoff_min.share(250));
            let (provider, service) = (payment.provider.clone(), self.spec.service.clone());
            router.end_attempt(&service, &provider, &ended.begun, outcome, now, jitter);
        }
        match outcome {
            Outcome::Answered => {
                self.payments.set_in_doubt(ended.payment, false);
                self.finish(router, now);
            }
            Outcome::CallerFault => self.finish(router, now),
            Outcome::Unknown | Outcome::NotStarted(_) | Outcome::ServiceFault { .. } => {
                if outcome == Outcome::Unknown {
                    self.payments.set_in_doubt(ended.payment, true);
                }
                // With a hedge still out, its result decides.
                if self.running.is_empty() {
                    self.decide(router, ended.payment, outcome, now);
                }
            }
        }
        true
    }

    /// Gives the call up: its attempts stop counting. Says who may charge for it all the same.
    pub fn cancel(&mut self, router: &mut Router, now: Millis) -> Vec<Exposure> {
        self.expire(router, now);
        if let State::Over(action) = &self.state {
            return match &**action {
                Action::Done(report) => report.exposure.clone(),
                Action::Try(_)
                | Action::Repeat(_)
                | Action::Hedge(_)
                | Action::Wait { .. }
                | Action::Refuse(_) => Vec::new(),
            };
        }
        // What was in flight may have been executed, so that is how the call ended.
        if let Some(running) = self.running.first() {
            self.last = Some(Last {
                attempt: running.begun.attempt,
                outcome: Outcome::Unknown,
            });
        }
        self.stop(router, now);
        self.payments.exposures()
    }

    fn expire(&mut self, router: &mut Router, now: Millis) {
        let late = |running: &&Running| running.begun.timeout_at <= now;
        let late: Vec<_> = self
            .running
            .iter()
            .filter(late)
            .map(|r| r.begun.attempt)
            .collect();
        for attempt in late {
            self.on_result(router, attempt, Outcome::Unknown, now);
        }
    }

    fn choose(&mut self, router: &mut Router, now: Millis) -> Action {
        if self.is_late(router, now) {
            self.refusal.too_late = true;
            return self.stop(router, now);
        }
        let mut chance = self.chance.clone();
        let choice = choice::choose(router, &self.ask(None), now, &mut chance);
        let wait = match choice {
            Choice::Wait { until, .. } => chance.part_of(until.since(now).share(100)),
            Choice::Take { .. } | Choice::Nobody => Millis::ZERO,
        };
        self.chance = chance;
        match choice {
            Choice::Take { index, why } => {
                let retry = !self.payments.is_empty();
                if retry && !router.spend_retry(&self.spec.service, now) {
                    return self.stop(router, now);
                }
                let attempt = self.send(router, index, why, now);
                attempt.map_or_else(|| self.stop(router, now), Action::Try)
            }
            Choice::Wait { until, resting } => {
                let (first, until) = (until, until.plus(wait));
                if self.fits(router, until) {
                    return Action::Wait { until };
                }
                self.refusal.resting = resting;
                self.refusal.resting_until = Some(first);
                self.stop(router, now)
            }
            Choice::Nobody => self.stop(router, now),
        }
    }

    fn repeat(&mut self, router: &mut Router, payment: usize, at: Millis, now: Millis) -> Action {
        if now < at {
            return Action::Wait { until: at };
        }
        if self.is_late(router, now) {
            return self.stop(router, now);
        }
        if !router.spend_retry(&self.spec.service, now) {
            // A doubt is worth waiting for the budget: giving up could cost the price without an answer.
            let wait = router.retry_wait(&self.spec.service, now);
            let wait = wait.map(|wait| now.plus(wait).plus(self.chance.part_of(wait)));
            return match wait {
                Some(at) if self.payments.is_in_doubt(payment) && self.fits(router, at) => {
                    self.state = State::Repeat { payment, at };
                    Action::Wait { until: at }
                }
                Some(_) | None => self.stop(router, now),
            };
        }
        self.repeats = self.repeats.saturating_add(1);
        self.payments.repeat(payment);
        let timeout_at = self.timeout_at(router, now);
        let attempt = self.start(router, payment, Why::Again, timeout_at, now);
        attempt.map_or_else(|| self.stop(router, now), Action::Repeat)
    }

    fn watch(&mut self, router: &mut Router, now: Millis) -> Action {
        if self.hedge_at.is_some_and(|at| at <= now) {
            self.hedge_at = None;
            if let Some(attempt) = self.hedge(router, now) {
                return Action::Hedge(attempt);
            }
        }
        let ends = self.running.iter().map(|running| running.begun.timeout_at);
        let until = ends.chain(self.hedge_at).min();
        Action::Wait {
            until: until.unwrap_or(self.spec.deadline),
        }
    }

    fn hedge(&mut self, router: &mut Router, now: Millis) -> Option<Attempt> {
        let Hedge::Allowed { extra_max } = self.spec.hedge else {
            return None;
        };
        let enough = self.payments.count() >= router.config.providers_per_call_max;
        if !self.spec.idempotent || enough || self.is_late(router, now) {
            return None;
        }
        let mut chance = self.chance.clone();
        let choice = choice::choose(router, &self.ask(Some(extra_max)), now, &mut chance);
        self.chance = chance;
        let Choice::Take { index, why } = choice else {
            return None;
        };
        if !router.spend_hedge(&self.spec.service, now) {
            return None;
        }
        let payment = self.payments.add(self.candidates.get(index)?);
        let timeout_at = self.limited(now, self.spec.deadline);
        self.start(router, payment, why, timeout_at, now)
    }

    /// Sends to a provider that has not had the call.
    fn send(
        &mut self,
        router: &mut Router,
        index: usize,
        why: Why,
        now: Millis,
    ) -> Option<Attempt> {
        let first = self.payments.is_empty();
        let payment = self.payments.add(self.candidates.get(index)?);
        let timeout_at = self.timeout_at(router, now);
        if first && self.spec.idempotent && self.spec.hedge != Hedge::Never {
            let late = router.latency(&self.spec.service, LATE_PERMILLE);
            self.hedge_at = late.map(|late| now.plus(late.max(router.config.hedge_after_min)));
        }
        self.start(router, payment, why, timeout_at, now)
    }

    fn start(
        &mut self,
        router: &mut Router,
        payment: usize,
        why: Why,
        timeout_at: Millis,
        now: Millis,
    ) -> Option<Attempt> {
        let paid = self.payments.get(payment)?;
        let begun = router.begin_attempt(&paid.provider, why == Why::Probe, timeout_at, now);
        self.running.push(Running { begun, payment });
        self.attempts = self.attempts.saturating_add(1);
        self.state = State::Running;
        Some(Attempt {
            id: begun.attempt,
            provider: paid.provider.clone(),
            price: paid.price,
            timeout_at,
            why,
        })
    }

    /// When an attempt begun now is given up: early enough for another one, but never sooner than twice
    /// what the service's slow answers take. A call that could only be repeated at the same provider
    /// keeps an eighth of its time for that, since repeating helps less than waiting.
    fn timeout_at(&self, router: &Router, now: Millis) -> Millis {
        let left = self.remaining(now);
        let config = &router.config;
        let last = self.payments.count() >= config.providers_per_call_max
            && self.repeats >= config.repeats_per_call_max;
        let share = match (last, self.spec.idempotent) {
            (true, _) => left,
            (false, true) => left.share(500),
            (false, false) => left.share(875),
        };
        let slow = router.latency(&self.spec.service, LATE_PERMILLE);
        let usual = slow.map_or(Millis::ZERO, |slow| slow.plus(slow));
        self.limited(now, now.plus(share.max(usual).max(Millis(1))))
    }

    fn limited(&self, now: Millis, timeout_at: Millis) -> Millis {
        let longest = self.spec.attempt_max.unwrap_or(Millis::MAX).max(Millis(1));
        timeout_at.min(now.plus(longest)).min(self.spec.deadline)
    }

    fn ask(&self, hedge_max: Option<rialto_channels::Amount>) -> Ask<'_> {
        Ask {
            service: &self.spec.service,
            candidates: &self.candidates,
            payments: &self.payments,
            idempotent: self.spec.idempotent,
            hedge_max,
        }
    }

    fn is_late(&self, router: &Router, now: Millis) -> bool {
        self.remaining(now) < router.config.attempt_min.max(Millis(1))
    }

    fn fits(&self, router: &Router, at: Millis) -> bool {
        !self.is_late(router, at)
    }

    /// Decides what follows, nothing being in flight: about a payment in doubt if there is one, else about
    /// the one whose attempt ended last.
    fn decide(&mut self, router: &mut Router, payment: usize, outcome: Outcome, now: Millis) {
        let about = self.payments.first_in_doubt().unwrap_or(payment);
        let outcome = if about == payment {
            outcome
        } else {
            Outcome::Unknown
        };
        let repeats = self
            .payments
            .get(about)
            .map_or(0, |payment| payment.repeats);
        let limit = self.spec.abandon.limit();
        let facts = Facts {
            idempotent: self.spec.idempotent,
            in_doubt: self.payments.is_in_doubt(about),
            at_risk: self.payments.at_risk(),
            abandon_max: limit.saturating_sub(self.payments.left()),
            asked_enough: repeats >= router.config.repeats_before_leaving,
            others: self.others(router, now),
        };
        match retry::decide(outcome, &facts) {
            Decision::Finish => self.finish(router, now),
            Decision::Elsewhere { .. } => {
                self.payments.leave();
                self.state = State::Choose;
            }
            Decision::RepeatSame => self.schedule_repeat(router, about, now),
        }
    }

    fn others(&self, router: &Router, now: Millis) -> Others {
        if self.payments.count() >= router.config.providers_per_call_max {
            return Others::Enough;
        }
        match choice::choose(router, &self.ask(None), now, &mut self.chance.clone()) {
            Choice::Take { .. } => Others::Yes,
            Choice::Wait { until, .. } if self.fits(router, until) => Others::Yes,
            Choice::Wait { .. } | Choice::Nobody => Others::AllAsked,
        }
    }

    /// Repeats after a pause that doubles each time: `about` if it is in doubt, else whichever of the
    /// providers that had the call may be asked again first.
    fn schedule_repeat(&mut self, router: &mut Router, about: usize, now: Millis) {
        let config = &router.config;
        if self.repeats >= config.repeats_per_call_max {
            return self.finish(router, now);
        }
        let doubled = config.repeat_pause_min.0.checked_shl(self.repeats.min(32));
        let pause = Millis(doubled.unwrap_or(u64::MAX)).min(config.repeat_pause_max);
        let half = pause.share(500);
        let at = now.plus(half).plus(self.chance.part_of(half));
        let rest = |(index, payment): (usize, &super::payments::Payment)| {
            let until = router.resting_until(&payment.provider).max(at);
            (until, payment.repeats, index)
        };
        let in_doubt = self.payments.is_in_doubt(about);
        let payments = self.payments.iter().enumerate();
        let allowed = payments.filter(|(index, _)| !in_doubt || *index == about);
        match allowed.map(rest).min() {
            Some((at, _, payment)) if self.fits(router, at) => {
                self.state = State::Repeat { payment, at };
            }
            Some(_) | None => self.finish(router, now),
        }
    }

    /// Ends the call without another attempt.
    fn stop(&mut self, router: &mut Router, now: Millis) -> Action {
        self.finish(router, now);
        match &self.state {
            State::Over(action) => (**action).clone(),
            State::Choose | State::Repeat { .. } | State::Running => Action::Wait { until: now },
        }
    }

    fn finish(&mut self, router: &mut Router, now: Millis) {
        let running = std::mem::take(&mut self.running);
        for loser in &running {
            self.payments.set_in_doubt(loser.payment, true);
            if let Some(payment) = self.payments.get(loser.payment) {
                router.give_up_attempt(&payment.provider, &loser.begun, now);
            }
        }
        let action = match self.last {
            None => {
                let expired = self.candidates.iter().filter(|c| c.expires <= now).count();
                let mut refusal = std::mem::take(&mut self.refusal);
                refusal.expired = refusal.expired.saturating_add(expired);
                Action::Refuse(refusal)
            }
            Some(last) => Action::Done(Report {
                attempt: last.attempt,
                outcome: self.told(last.outcome),
                attempts: self.attempts,
                stop: running.iter().map(|r| r.begun.attempt).collect(),
                exposure: self.payments.exposures(),
            }),
        };
        self.state = State::Over(Box::new(action));
    }

    /// What an outcome means for the whole call: that the last attempt did not start says little while an
    /// earlier one may have been executed.
    fn told(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::NotStarted(_) if self.payments.any_in_doubt() => Outcome::Unknown,
            Outcome::ServiceFault { executed } => Outcome::ServiceFault {
                executed: executed || self.payments.any_in_doubt(),
            },
            Outcome::Answered
            | Outcome::CallerFault
            | Outcome::NotStarted(_)
            | Outcome::Unknown => outcome,
        }
    }
}

/// An answer later than this share of the service's recent ones is late.
const LATE_PERMILLE: u64 = 950;
