//! Who runs next when calls want more than a host has.
//!
//! Dominant resource fairness (Ghodsi et al., 2011) over two resources, places and bytes: the tenant
//! whose larger share of either is least goes next, divided by weights; within a tenant the payer with
//! the fewest running calls; among equals whoever had no turn for longest; within a payer in order of
//! arrival. A tenant that floods the host has the largest share and so waits for the others, and what
//! nobody else wants is still its own.
//!
//! A call that does not fit yet may be passed by calls that do, but only [`PASSED_MAX`] times: then
//! everybody waits until it fits. So nobody starves, neither the small calls behind a large one nor the
//! large one behind small ones.
//!
//! A payer may have limits of its own ([`Payers`]), over all tenants.
//!
//! Who overloads a queue is refused, and at once: a call that would have to wait longer than it may; one that
//! would make a queue longer which has been long for a while (no burst, but more than can be done); and, when
//! all places in the queue are taken, the newest call of whoever has most of them. A call whose turn comes
//! too late to finish is refused instead of begun.
//!
//! Non-goals: time on a device ([`Scheduler`](crate::Scheduler)), and stopping what runs.

mod crowd;
mod party;
mod payers;
mod prices;
#[cfg(test)]
mod tests;
mod turned;

use std::collections::HashMap;
use std::time::Duration;

use crate::tenant::Tenant;
use party::{Party, Waiter};
use payers::Roll;
pub use payers::{PayerLimits, Payers};
pub use prices::AGED;
pub use turned::Turned;

/// How often calls that fit may go before one that does not fit yet.
pub const PASSED_MAX: u32 = 16;

/// In which order calls that wait are let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Tenants and their payers take turns.
    #[default]
    Turns,
    /// Who pays most for the time it is expected to take goes first, of whatever tenant; who has waited
    /// for [`AGED`] goes before all prices.
    Price,
}

/// Prices are compared for so much time.
const MICROS: u128 = 1_000_000;

/// What calls share, and how many may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Calls that run at the same time.
    pub places: u32,
    /// Bytes that the running calls may hold together.
    pub bytes: u64,
    /// Calls that wait, of all tenants together.
    pub waiting_max: usize,
    /// Calls of one tenant that wait.
    pub tenant_waiting_max: usize,
}

/// A call that wants to run. `T` is what is given back when it may.
#[derive(Debug)]
pub struct Ask<T> {
    /// Whose it is.
    pub tenant: Tenant,
    /// On whose behalf; equal for calls that should take turns as one.
    pub payer: Tenant,
    /// Bytes that it holds while it runs. More than all there are count as all.
    pub bytes: u64,
    /// When its result is of no use any more; none for never.
    pub deadline: Option<Duration>,
    /// What is paid for it, in any unit.
    pub price: u128,
    /// Given back by [`Admission::next`].
    pub work: T,
}

/// A part of the capacity, to be given back with [`Admission::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a seat is given back with `Admission::release`"]
pub struct Seat {
    tenant: Tenant,
    payer: Tenant,
    bytes: u64,
    since: Duration,
}

impl Seat {
    /// Whose it is.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

/// Whether a call that begins then is hopeless. Calls of one tenant differ: who has half of the usual time left
/// may try.
fn is_too_late(deadline: Option<Duration>, begin: Duration, usual: Duration) -> bool {
    deadline.is_some_and(|deadline| begin.saturating_add(usual / 2) > deadline)
}

/// What one tenant may have, of all that it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantLimits {
    /// Calls that run at the same time; 0 counts as 1.
    pub running_max: u32,
    /// Calls that wait, instead of [`Capacity::tenant_waiting_max`]; 0 counts as 1.
    pub waiting_max: Option<usize>,
}

impl TenantLimits {
    /// No limit but those of all.
    pub const NONE: Self = Self {
        running_max: u32::MAX,
        waiting_max: None,
    };
}

/// Of so many idle tenants it is remembered how long their calls ran; one more, and it is learnt anew.
const REMEMBERED_MAX: usize = 1_024;

/// Names a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketId(u64);

/// Decides which call runs next. Times are measured from any fixed moment on.
#[derive(Debug)]
pub struct Admission<T> {
    capacity: Capacity,
    order: Order,
    weights: HashMap<Tenant, u32>,
    limits: HashMap<Tenant, TenantLimits>,
    /// Tenants that hold or want something.
    parties: HashMap<Tenant, Party<T>>,
    /// How long calls of the others ran, as far as it is remembered.
    usual: HashMap<Tenant, Duration>,
    payers: Roll,
    places: u32,
    bytes: u64,
    waiting: usize,
    /// Calls that had to leave the queue and do not know it yet: at most one for each that came since.
    pushed_out: Vec<(Turned, T)>,
    /// Turns that were given.
    turns: u64,
    last_id: u64,
}

impl<T> Admission<T> {
    /// Nobody holds or wants anything.
    #[must_use]
    pub fn new(capacity: Capacity, order: Order) -> Self {
        Self {
            capacity,
            order,
            weights: HashMap::new(),
            limits: HashMap::new(),
            parties: HashMap::new(),
            usual: HashMap::new(),
            payers: Roll::default(),
            places: 0,
            bytes: 0,
            waiting: 0,
            pushed_out: Vec::new(),
            turns: 0,
            last_id: 0,
        }
    }

    /// What a tenant has relative to the others: twice the weight, twice the part. 0 counts as 1.
    pub fn set_weight(&mut self, tenant: &Tenant, weight: u32) {
        self.weights.insert(tenant.clone(), weight.max(1));
    }

    /// What a tenant may have at most. To be said before its first call.
    pub fn set_limits(&mut self, tenant: &Tenant, limits: TenantLimits) {
        self.limits.insert(tenant.clone(), limits);
    }

    /// What payers may have.
    pub fn set_payers(&mut self, payers: Payers) {
        self.payers.set(payers);
    }

    /// Changes how many calls may run. Those that run above it finish.
    pub fn set_places(&mut self, places: u32) {
        self.capacity.places = places.max(1);
    }

    /// How many calls may run.
    #[must_use]
    pub const fn places(&self) -> u32 {
        self.capacity.places
    }

    /// Lets a call in if nobody waits, it fits, and its payer may have one more: the way around the queue.
    pub fn try_admit(
        &mut self,
        now: Duration,
        tenant: &Tenant,
        payer: &Tenant,
        bytes: u64,
    ) -> Option<Seat> {
        let bytes = bytes.min(self.capacity.bytes);
        let may = self.fits(bytes)
            && self.payers.may_run(payer)
            && self.parties.get(tenant).is_none_or(Party::may_run)
            && !self.somebody_is_next(now);
        may.then(|| self.seat(now, tenant, payer, bytes))
    }

    /// Whether a call of this tenant would be taken now, if it came for this payer.
    ///
    /// # Errors
    /// [`Turned`] if the queue is full, its payer may have no more in it, or its turn would come too late.
    pub fn check(
        &mut self,
        now: Duration,
        tenant: &Tenant,
        payer: &Tenant,
        deadline: Option<Duration>,
    ) -> Result<(), Turned> {
        let decided = self.decide(now, tenant, payer, deadline);
        decided.map_err(|turned| match self.parties.get_mut(tenant) {
            // Who has as many as it may waits for itself, and is no part of the crowd.
            _ if matches!(turned, Turned::PayerLimit { .. }) => turned,
            Some(party) => turned.no_sooner_than(party.turn_away(now)),
            None => turned,
        })
    }

    fn decide(
        &self,
        now: Duration,
        tenant: &Tenant,
        payer: &Tenant,
        deadline: Option<Duration>,
    ) -> Result<(), Turned> {
        let party = self.parties.get(tenant);
        if !self.payers.may_wait(payer) {
            let usual = party.map_or(Duration::ZERO, Party::usual);
            return Err(Turned::PayerLimit {
                waiting: self.payers.waiting(payer),
                after: usual.saturating_mul(self.payers.rounds(payer)),
            });
        }
        let Some(party) = party else {
            return self.check_all(0, Duration::ZERO);
        };
        let (own, after) = (party.waiting(), party.expected_wait(payer));
        if own >= self.waiting_max(tenant) {
            let of_payer = party.waiting_of(payer);
            let most = party.waiting_most();
            if of_payer >= most {
                return Err(Turned::PayerFull {
                    waiting: of_payer,
                    after,
                });
            }
            if of_payer.saturating_add(1) >= most {
                return Err(Turned::TenantFull {
                    tenant: tenant.clone(),
                    waiting: own,
                    after,
                });
            }
        } else {
            self.check_all(own, after)?;
        }
        if own == 0 {
            return Ok(());
        }
        if is_too_late(deadline, now.saturating_add(after), party.usual()) {
            return Err(Turned::TooLate { after });
        }
        if after > party.target() && party.is_standing(now) {
            return Err(Turned::Standing { after });
        }
        Ok(())
    }

    /// Whether there is a place in the queue for a tenant of which so many wait, or another's newest would
    /// make room.
    fn check_all(&self, own: usize, after: Duration) -> Result<(), Turned> {
        let is_full = self.waiting >= self.capacity.waiting_max;
        if is_full && own.saturating_add(1) >= self.waiting_most() {
            return Err(Turned::Full {
                waiting: self.waiting,
                after,
            });
        }
        Ok(())
    }

    /// Puts a call into the queue. [`Admission::next`] says when it may run.
    ///
    /// # Errors
    /// [`Turned`], with what was to be done, as [`Admission::check`] says.
    pub fn ask(&mut self, now: Duration, ask: Ask<T>) -> Result<TicketId, (Turned, T)> {
        if let Err(turned) = self.check(now, &ask.tenant, &ask.payer, ask.deadline) {
            return Err((turned, ask.work));
        }
        self.make_room(&ask.tenant);
        self.last_id = self.last_id.wrapping_add(1);
        let id = TicketId(self.last_id);
        let bytes = ask.bytes.min(self.capacity.bytes);
        let party = self.party(&ask.tenant);
        let usual_us = party.usual().as_micros().max(1);
        let payer = ask.payer.clone();
        party.join(Waiter {
            id,
            since: now,
            payer: ask.payer,
            bytes,
            deadline: ask.deadline,
            rate: ask.price.saturating_mul(MICROS) / usual_us,
            passed: 0,
            work: ask.work,
        });
        self.payers.joins(&payer);
        self.waiting = self.waiting.saturating_add(1);
        Ok(id)
    }

    /// Takes a place in the queue from whoever has most, if all are taken.
    fn make_room(&mut self, tenant: &Tenant) {
        let own = self.parties.get(tenant).map_or(0, Party::waiting);
        let from = if own >= self.waiting_max(tenant) {
            Some(tenant.clone())
        } else if self.waiting >= self.capacity.waiting_max {
            let largest = self.parties.iter().max_by_key(|(_, party)| party.waiting());
            largest.map(|(tenant, _)| tenant.clone())
        } else {
            None
        };
        let Some(party) = from.and_then(|from| self.parties.get_mut(&from)) else {
            return;
        };
        let waiting = party.waiting_most();
        if let Some(waiter) = party.push_out() {
            self.waiting = self.waiting.saturating_sub(1);
            self.payers.leaves(&waiter.payer);
            let after = party.expected_wait(&waiter.payer);
            let turned = Turned::PayerFull { waiting, after };
            self.pushed_out.push((turned, waiter.work));
        }
    }

    /// Whose wait is over, with a seat or without; none if nobody waits who fits. To be asked again until it
    /// gives none, after every [`Admission::ask`], [`Admission::cancel`] and [`Admission::release`].
    pub fn next(&mut self, now: Duration) -> Option<(Result<Seat, Turned>, T)> {
        if let Some((turned, work)) = self.pushed_out.pop() {
            return Some((Err(turned), work));
        }
        if self.waiting == 0 || self.places >= self.capacity.places {
            return None;
        }
        let tenant = self.choose(now)?;
        self.turns = self.turns.wrapping_add(1);
        let party = self.parties.get_mut(&tenant)?;
        let waiter = party.take(now, self.turns, &self.payers)?;
        self.waiting = self.waiting.saturating_sub(1);
        self.payers.leaves(&waiter.payer);
        // Who comes in at once may try: nothing else tells that calls take less time now than they did.
        let waited = now.saturating_sub(waiter.since);
        if waited > party.usual() / 8 && is_too_late(waiter.deadline, now, party.usual()) {
            let after = party.expected_wait(&waiter.payer);
            self.forget_if_idle(&tenant);
            return Some((Err(Turned::TooLate { after }), waiter.work));
        }
        party.learn(now, &waiter, &self.payers, self.capacity.places);
        let seat = self.seat(now, &tenant, &waiter.payer, waiter.bytes);
        Some((Ok(seat), waiter.work))
    }

    /// The tenant whose first call may run now. Those before it whose calls do not fit are passed.
    fn choose(&mut self, now: Duration) -> Option<Tenant> {
        let mut order: Vec<_> = self
            .parties
            .iter()
            .filter_map(|(tenant, party)| {
                let first = party.first(now, &self.payers)?;
                let share = party.share(self.capacity.places, self.capacity.bytes);
                let turn = (
                    party.rank(now, &self.payers),
                    share,
                    party.last_turn(),
                    first.id,
                );
                Some((turn, first.bytes, first.passed, tenant))
            })
            .collect();
        order.sort_unstable();
        let mut passed = Vec::new();
        let mut chosen = None;
        for (_, bytes, times, tenant) in order {
            if self.fits(bytes) {
                chosen = Some(tenant.clone());
                break;
            }
            if times >= PASSED_MAX {
                return None;
            }
            passed.push(tenant.clone());
        }
        let tenant = chosen?;
        for tenant in passed {
            if let Some(party) = self.parties.get_mut(&tenant) {
                party.pass(now, &self.payers);
            }
        }
        Some(tenant)
    }

    /// A call does not wait any longer. Gives back what was to be done, unless it runs already.
    pub fn cancel(&mut self, tenant: &Tenant, id: TicketId) -> Option<T> {
        let waiter = self.parties.get_mut(tenant)?.leave(id)?;
        self.waiting = self.waiting.saturating_sub(1);
        self.payers.leaves(&waiter.payer);
        self.forget_if_idle(tenant);
        Some(waiter.work)
    }

    /// A call is over.
    pub fn release(&mut self, now: Duration, seat: Seat) {
        self.places = self.places.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(seat.bytes);
        self.payers.ends(&seat.payer);
        if let Some(party) = self.parties.get_mut(&seat.tenant) {
            let ran = now.saturating_sub(seat.since);
            party.release(&seat.payer, seat.bytes, ran);
        }
        self.forget_if_idle(&seat.tenant);
    }

    /// Whether nobody waits and a place is free.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.waiting == 0 && self.places < self.capacity.places
    }

    /// Calls that wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Calls that run.
    #[must_use]
    pub const fn running(&self) -> u32 {
        self.places
    }

    /// Each tenant that holds or wants something: its calls that run, and those that wait.
    pub fn tenants(&self) -> impl Iterator<Item = (&Tenant, u32, usize)> {
        let parties = self.parties.iter();
        parties.map(|(tenant, party)| (tenant, party.running(), party.waiting()))
    }

    /// Bytes that running calls hold.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether so many bytes are left, whatever places there are.
    #[must_use]
    pub const fn has_bytes(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.capacity.bytes
    }

    fn seat(&mut self, now: Duration, tenant: &Tenant, payer: &Tenant, bytes: u64) -> Seat {
        self.party(tenant).hold(now, payer, bytes);
        self.payers.begins(payer);
        self.places = self.places.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        Seat {
            tenant: tenant.clone(),
            payer: payer.clone(),
            bytes,
            since: now,
        }
    }

    /// The most calls of one tenant that wait.
    fn waiting_most(&self) -> usize {
        self.parties.values().map(Party::waiting).max().unwrap_or(0)
    }

    fn fits(&self, bytes: u64) -> bool {
        self.places < self.capacity.places && self.has_bytes(bytes)
    }

    fn weight(&self, tenant: &Tenant) -> u32 {
        self.weights.get(tenant).copied().unwrap_or(1)
    }

    /// Whether a call waits that its tenant and its payer may have, and so goes first.
    fn somebody_is_next(&self, now: Duration) -> bool {
        let mut parties = self.parties.values();
        self.waiting > 0 && parties.any(|party| party.first(now, &self.payers).is_some())
    }

    /// How many of a tenant's calls may wait.
    fn waiting_max(&self, tenant: &Tenant) -> usize {
        let own = self
            .limits
            .get(tenant)
            .and_then(|limits| limits.waiting_max);
        own.map_or(self.capacity.tenant_waiting_max, |own| {
            own.clamp(1, self.capacity.waiting_max.max(1))
        })
    }

    fn party(&mut self, tenant: &Tenant) -> &mut Party<T> {
        let weight = self.weight(tenant);
        let limits = self.limits.get(tenant);
        let running_max = limits.map_or(u32::MAX, |limits| limits.running_max.max(1));
        let party = self.parties.entry(tenant.clone());
        party.or_insert_with(|| {
            let usual = self.usual.get(tenant).copied();
            Party::new(weight, running_max, self.order, usual)
        })
    }

    fn forget_if_idle(&mut self, tenant: &Tenant) {
        if !self.parties.get(tenant).is_some_and(Party::is_idle) {
            return;
        }
        let party = self.parties.remove(tenant);
        let Some(usual) = party.and_then(|party| party.learnt()) else {
            return;
        };
        if let Some(known) = self.usual.get_mut(tenant) {
            *known = usual;
            return;
        }
        if self.usual.len() >= REMEMBERED_MAX {
            self.usual.clear();
        }
        self.usual.insert(tenant.clone(), usual);
    }
}
