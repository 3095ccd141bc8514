//! The door of the host: which calls run, and which wait for a place and for memory.
//!
//! [`Admission`] decides; here are its clock and the tasks that wait. Places are instances; bytes are
//! host memory for values in flight: a dynamic value costs far more host memory than its bytes in the
//! guest (a `list<u8>` of n bytes takes n times [`VALUE_BYTES`](crate::budget::VALUE_BYTES)), so the sum
//! over running calls is bounded. Prepared arguments have a [budget](crate::budget) of their own, which a
//! call holds while it waits here, never the other way round, so the two cannot deadlock.
//!
//! How many run at once follows a [`Limit`] on the calls that want the processor, unless the operator says a
//! number: guests that compute yield at each tick of the clock and tell how long they then had to wait. Calls
//! that wait for something else, and those in the [background](crate::background), do not count there; how
//! many may compute in the background has a bound of its own ([`Standing`]).
//!
//! Non-goals: what a call may use once it runs.

mod load;
mod long;
mod standing;
/// When a call that others wait for may come again for whose arguments there was no memory.
const FULL_FOR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rialto_scheduler::{
    Admission, Ask, Bounds, Capacity, Limit, Order, Payers, Seat, Tenant, TenantLimits, TicketId,
    Turned,
};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

pub use load::DoorLoad;
use long::LongCalls;
pub(crate) use standing::Standing;

/// How many calls may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as the processors get on with, and those that wait for something else or compute in the
    /// background.
    Adaptive,
    /// So many, whatever they do.
    Fixed(u32),
}

/// How the door lets calls in.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) capacity: Capacity,
    pub(crate) concurrency: Concurrency,
    pub(crate) order: Order,
    pub(crate) payers: Payers,
    pub(crate) services: HashMap<String, TenantLimits>,
    /// Calls that may compute in the background at the same time.
    pub(crate) background_max: u32,
}

/// The door. Clones are the same door.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    opened: Instant,
    gate: Mutex<Gate>,
    /// Running calls that want the processor where requests are served.
    wanting: AtomicU32,
    /// Those that want it in the background.
    long: LongCalls,
    /// Whether calls wait, as of the last change.
    awaited: AtomicBool,
    /// Calls that were let in, ever.
    admitted: AtomicU64,
}

#[derive(Debug)]
struct Gate {
    admission: Admission<oneshot::Sender<Result<Place, Turned>>>,
    /// None where the operator said a number.
    limit: Option<Limit>,
}

/// A call's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    door: Door,
    seat: Option<Seat>,
    standing: Arc<Standing>,
}

/// Who wants to come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) payer: &'a Tenant,
    /// Bytes of host memory while it runs.
    pub(crate) bytes: u64,
    /// What is paid for it.
    pub(crate) price: u128,
}

impl Door {
    pub(crate) fn new(rules: Rules) -> Self {
        let capacity = rules.capacity;
        let (places, limit) = match rules.concurrency {
            Concurrency::Fixed(places) => (places.clamp(1, capacity.places.max(1)), None),
            Concurrency::Adaptive => (capacity.places, Some(Limit::new(bounds(capacity)))),
        };
        let mut admission = Admission::new(Capacity { places, ..capacity }, rules.order);
        admission.set_payers(rules.payers);
        for (service, limits) in rules.services {
            admission.set_limits(&Tenant::new(&service), limits);
        }
        Self {
            inner: Arc::new(Inner {
                opened: Instant::now(),
                gate: Mutex::new(Gate { admission, limit }),
                wanting: AtomicU32::new(0),
                long: LongCalls::new(rules.background_max),
                awaited: AtomicBool::new(false),
                admitted: AtomicU64::new(0),
            }),
        }
    }

    /// Waits until the guest may run, at most until `deadline`. Cancel-safe.
    pub(crate) async fn enter(&self, guest: Guest<'_>, deadline: Instant) -> Result<Place, Turned> {
        let (sender, receiver) = oneshot::channel();
        let now = self.now();
        let ticket = {
            let mut gate = self.gate();
            let seat = gate
                .admission
                .try_admit(now, guest.tenant, guest.payer, guest.bytes);
            if let Some(seat) = seat {
                return Ok(self.place(seat));
            }
            let ask = Ask {
                tenant: guest.tenant.clone(),
                payer: guest.payer.clone(),
                bytes: guest.bytes,
                deadline: Some(deadline.saturating_duration_since(self.inner.opened)),
                price: guest.price,
                work: sender,
            };
            let asked = gate.admission.ask(now, ask);
            asked.map_err(|(turned, _)| turned)?
        };
        let waiting = Waiting {
            door: self,
            tenant: guest.tenant,
            ticket: Some(ticket),
        };
        self.pump();
        match timeout_at(deadline.into(), receiver).await {
            Ok(Ok(over)) => {
                waiting.leave();
                over
            }
            // A sender is never dropped unused while its ticket is valid.
            Ok(Err(_)) | Err(_) => Err(Turned::TooLate {
                after: self.now().saturating_sub(now),
            }),
        }
    }

    /// Lets in a call for which another waits that has a place: with a place of its own where there is one, and
    /// beside the places where there is none. There are never more of the latter than the first have levels.
    ///
    /// # Errors
    /// [`Turned::Full`]: its arguments do not fit into the memory that calls may fill.
    pub(crate) fn enter_at_once(&self, guest: Guest<'_>) -> Result<Place, Turned> {
        let now = self.now();
        let mut gate = self.gate();
        let seat = gate
            .admission
            .try_admit(now, guest.tenant, guest.payer, guest.bytes);
        let (fits, waiting) = (
            gate.admission.has_bytes(guest.bytes),
            gate.admission.waiting(),
        );
        drop(gate);
        match seat {
            Some(seat) => Ok(self.place(seat)),
            None if fits => Ok(Place {
                door: self.clone(),
                standing: Arc::new(Standing::begin(self, guest.tenant)),
                seat: None,
            }),
            None => Err(Turned::Full {
                waiting,
                after: FULL_FOR,
            }),
        }
    }

    /// Whether a call of this tenant would be let in or may wait, if it came now for this payer.
    pub(crate) fn check(
        &self,
        tenant: &Tenant,
        payer: &Tenant,
        deadline: Instant,
    ) -> Result<(), Turned> {
        let deadline = deadline.saturating_duration_since(self.inner.opened);
        let now = self.now();
        let mut gate = self.gate();
        if gate.admission.is_free() {
            return Ok(());
        }
        gate.admission.check(now, tenant, payer, Some(deadline))
    }

    /// Whether one more call of this tenant could compute in the background.
    pub(crate) fn has_room_for_long(&self, tenant: &Tenant) -> bool {
        self.inner.long.has_room(tenant)
    }

    /// Whether calls wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.gate().admission.waiting() > 0
    }

    /// What happens here.
    pub(crate) fn load(&self) -> DoorLoad {
        let gate = self.gate();
        DoorLoad {
            running: gate.admission.running(),
            computing: self.inner.wanting.load(Ordering::Relaxed),
            background: self.inner.long.all(),
            waiting: gate.admission.waiting(),
            places: gate.admission.places(),
            values_bytes: gate.admission.bytes(),
            admitted: self.inner.admitted.load(Ordering::Relaxed),
        }
    }

    /// Each service's calls: those that run, those that wait.
    pub(crate) fn services(&self) -> HashMap<String, (u64, u64)> {
        let gate = self.gate();
        let calls = gate.admission.tenants().map(|(tenant, running, waiting)| {
            let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
            (tenant.to_string(), (running.into(), waiting))
        });
        calls.collect()
    }

    /// Lets in whoever may run now, and tells those who have to go.
    fn pump(&self) {
        let now = self.now();
        loop {
            let next = {
                let mut gate = self.gate();
                let next = gate.admission.next(now);
                let awaited = gate.admission.waiting() > 0;
                self.inner.awaited.store(awaited, Ordering::Relaxed);
                next
            };
            let Some((seat, sender)) = next else {
                return;
            };
            // Whoever went away meanwhile gives the place back by not taking it.
            drop(sender.send(seat.map(|seat| self.place(seat))));
        }
    }

    fn place(&self, seat: Seat) -> Place {
        self.inner.admitted.fetch_add(1, Ordering::Relaxed);
        Place {
            door: self.clone(),
            standing: Arc::new(Standing::begin(self, seat.tenant())),
            seat: Some(seat),
        }
    }

    /// The gate, with as many places as there are now.
    fn gate(&self) -> MutexGuard<'_, Gate> {
        // No step under this lock leaves something half-changed.
        let lock = self.inner.gate.lock();
        let mut gate = lock.unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = &gate.limit {
            let wanting = self.inner.wanting.load(Ordering::Relaxed);
            let elsewhere = gate.admission.running().saturating_sub(wanting);
            let places = limit.places(elsewhere);
            gate.admission.set_places(places);
        }
        gate
    }

    fn now(&self) -> Duration {
        self.inner.opened.elapsed()
    }
}

impl Place {
    /// What its call does.
    pub(crate) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.standing.leave();
        if let Some(seat) = self.seat.take() {
            let now = self.door.now();
            let wanted = {
                let mut gate = self.door.gate();
                gate.admission.release(now, seat);
                gate.admission.waiting() > 0
            };
            if wanted {
                self.door.pump();
            }
        }
    }
}

/// A ticket; given up when the future that waits is dropped.
struct Waiting<'a> {
    door: &'a Door,
    tenant: &'a Tenant,
    ticket: Option<TicketId>,
}

impl Waiting<'_> {
    fn leave(mut self) {
        self.ticket = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let sender = self.door.gate().admission.cancel(self.tenant, ticket);
            if sender.is_some() {
                // What it kept from others may fit them.
                self.door.pump();
            }
        }
    }
}

/// Between what the calls that want the processor stay: enough that none is idle while one of them waits a
/// moment, and no more than there are places.
fn bounds(capacity: Capacity) -> Bounds {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let processors = u32::try_from(processors).unwrap_or(u32::MAX);
    Bounds {
        floor: processors.saturating_mul(2),
        ceiling: capacity.places,
    }
}
