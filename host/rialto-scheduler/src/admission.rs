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
//! Non-goals: time on a device ([`Scheduler`](crate::Scheduler)), and stopping what runs.

mod party;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use crate::tenant::Tenant;
use party::{Party, Waiter};

/// How often calls that fit may go before one that does not fit yet.
pub const PASSED_MAX: u32 = 16;

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
}

/// Names a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketId(u64);

/// Why a call is turned away. Each says after which time to come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// Too many calls wait.
    #[error("{waiting} calls wait; come again in {} ms", after.as_millis())]
    Full {
        /// Calls that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
    /// Too many of the tenant's calls wait.
    #[error("{waiting} calls of `{tenant}` wait; come again in {} ms", after.as_millis())]
    TenantFull {
        /// The tenant.
        tenant: Tenant,
        /// Its calls that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
    /// By what calls before it waited, its turn would come after its deadline.
    #[error("its turn would come in about {} ms, after its deadline", after.as_millis())]
    TooLate {
        /// When its turn would come.
        after: Duration,
    },
}

impl Turned {
    /// After which time to come again.
    #[must_use]
    pub const fn after(&self) -> Duration {
        match self {
            Self::Full { after, .. } | Self::TenantFull { after, .. } | Self::TooLate { after } => {
                *after
            }
        }
    }
}

/// Decides which call runs next. Times are measured from any fixed moment on.
#[derive(Debug)]
pub struct Admission<T> {
    capacity: Capacity,
    weights: HashMap<Tenant, u32>,
    /// Tenants that hold or want something.
    parties: HashMap<Tenant, Party<T>>,
    places: u32,
    bytes: u64,
    waiting: usize,
    /// Turns that were given.
    turns: u64,
    last_id: u64,
}

impl<T> Admission<T> {
    /// Nobody holds or wants anything.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            weights: HashMap::new(),
            parties: HashMap::new(),
            places: 0,
            bytes: 0,
            waiting: 0,
            turns: 0,
            last_id: 0,
        }
    }

    /// What a tenant has relative to the others: twice the weight, twice the part. 0 counts as 1.
    pub fn set_weight(&mut self, tenant: &Tenant, weight: u32) {
        self.weights.insert(tenant.clone(), weight.max(1));
    }

    /// Changes how many calls may run. Those that run above it finish.
    pub fn set_places(&mut self, places: u32) {
        self.capacity.places = places.max(1);
    }

    /// Lets a call in if nobody waits and it fits: the way around the queue.
    pub fn try_admit(&mut self, tenant: &Tenant, payer: &Tenant, bytes: u64) -> Option<Seat> {
        let bytes = bytes.min(self.capacity.bytes);
        (self.waiting == 0 && self.fits(bytes)).then(|| self.seat(tenant, payer, bytes))
    }

    /// Whether a call of this tenant would be taken now, if it came.
    ///
    /// # Errors
    /// [`Turned`] if the queue is full or its turn would come too late.
    pub fn check(
        &self,
        now: Duration,
        tenant: &Tenant,
        deadline: Option<Duration>,
    ) -> Result<(), Turned> {
        let party = self.parties.get(tenant);
        let own = party.map_or(0, Party::waiting);
        let after = party.map_or(Duration::ZERO, Party::expected_wait);
        if own >= self.capacity.tenant_waiting_max {
            return Err(Turned::TenantFull {
                tenant: tenant.clone(),
                waiting: own,
                after,
            });
        }
        if self.waiting >= self.capacity.waiting_max {
            return Err(Turned::Full {
                waiting: self.waiting,
                after,
            });
        }
        let late = |deadline: Duration| own > 0 && now.saturating_add(after) > deadline;
        if deadline.is_some_and(late) {
            return Err(Turned::TooLate { after });
        }
        Ok(())
    }

    /// Puts a call into the queue. [`Admission::next`] says when it may run.
    ///
    /// # Errors
    /// [`Turned`], with what was to be done, as [`Admission::check`] says.
    pub fn ask(&mut self, now: Duration, ask: Ask<T>) -> Result<TicketId, (Turned, T)> {
        if let Err(turned) = self.check(now, &ask.tenant, ask.deadline) {
            return Err((turned, ask.work));
        }
        let weight = self.weight(&ask.tenant);
        let party = self.parties.entry(ask.tenant);
        let party = party.or_insert_with(|| Party::new(weight));
        self.last_id = self.last_id.wrapping_add(1);
        let id = TicketId(self.last_id);
        party.join(Waiter {
            id,
            since: now,
            behind: party.waiting(),
            payer: ask.payer,
            bytes: ask.bytes.min(self.capacity.bytes),
            passed: 0,
            work: ask.work,
        });
        self.waiting = self.waiting.saturating_add(1);
        Ok(id)
    }

    /// Who may run now; none if nobody waits who fits. To be asked again until it gives none, after
    /// every [`Admission::ask`], [`Admission::cancel`] and [`Admission::release`].
    pub fn next(&mut self, now: Duration) -> Option<(Seat, T)> {
        if self.waiting == 0 || self.places >= self.capacity.places {
            return None;
        }
        let mut order: Vec<_> = self
            .parties
            .iter()
            .filter_map(|(tenant, party)| {
                let first = party.first()?;
                let share = party.share(self.capacity.places, self.capacity.bytes);
                let turn = (share, party.last_turn(), first.id);
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
                party.pass();
            }
        }
        self.turns = self.turns.wrapping_add(1);
        let waiter = self.parties.get_mut(&tenant)?.admit(now, self.turns)?;
        self.waiting = self.waiting.saturating_sub(1);
        let seat = self.seat(&tenant, &waiter.payer, waiter.bytes);
        Some((seat, waiter.work))
    }

    /// A call does not wait any longer. Gives back what was to be done, unless it runs already.
    pub fn cancel(&mut self, tenant: &Tenant, id: TicketId) -> Option<T> {
        let waiter = self.parties.get_mut(tenant)?.leave(id)?;
        self.waiting = self.waiting.saturating_sub(1);
        self.forget_if_idle(tenant);
        Some(waiter.work)
    }

    /// A call is over.
    pub fn release(&mut self, seat: Seat) {
        self.places = self.places.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(seat.bytes);
        if let Some(party) = self.parties.get_mut(&seat.tenant) {
            party.release(&seat.payer, seat.bytes);
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

    fn seat(&mut self, tenant: &Tenant, payer: &Tenant, bytes: u64) -> Seat {
        let weight = self.weight(tenant);
        let party = self.parties.entry(tenant.clone());
        party
            .or_insert_with(|| Party::new(weight))
            .hold(payer, bytes);
        self.places = self.places.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        Seat {
            tenant: tenant.clone(),
            payer: payer.clone(),
            bytes,
        }
    }

    fn fits(&self, bytes: u64) -> bool {
        self.places < self.capacity.places
            && self.bytes.saturating_add(bytes) <= self.capacity.bytes
    }

    fn weight(&self, tenant: &Tenant) -> u32 {
        self.weights.get(tenant).copied().unwrap_or(1)
    }

    fn forget_if_idle(&mut self, tenant: &Tenant) {
        if self.parties.get(tenant).is_some_and(Party::is_idle) {
            self.parties.remove(tenant);
        }
    }
}
