//! The door of the host: which calls run, and which wait for a place and for memory.
//!
//! [`Admission`] decides; here are its clock and the tasks that wait. Places are instances; bytes are
//! host memory for values in flight: a dynamic value costs far more host memory than its bytes in the
//! guest (a `list<u8>` of n bytes takes n times [`VALUE_BYTES`](crate::budget::VALUE_BYTES)), so the sum
//! over running calls is bounded. Prepared arguments have a [budget](crate::budget) of their own, which a
//! call holds while it waits here, never the other way round, so the two cannot deadlock.
//!
//! Non-goals: what a call may use once it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rialto_scheduler::{Admission, Ask, Capacity, Seat, Tenant, TicketId, Turned};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

/// The door. Clones are the same door.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    opened: Instant,
    admission: Mutex<Admission<oneshot::Sender<Place>>>,
}

/// A call's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    door: Door,
    seat: Option<Seat>,
}

/// Who wants to come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) payer: &'a Tenant,
    /// Bytes of host memory while it runs.
    pub(crate) bytes: u64,
}

impl Door {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            inner: Arc::new(Inner {
                opened: Instant::now(),
                admission: Mutex::new(Admission::new(capacity)),
            }),
        }
    }

    /// Waits until the guest may run, at most until `deadline`. Cancel-safe.
    pub(crate) async fn enter(&self, guest: Guest<'_>, deadline: Instant) -> Result<Place, Turned> {
        let (sender, receiver) = oneshot::channel();
        let now = self.now();
        let ticket = {
            let mut admission = self.admission();
            if let Some(seat) = admission.try_admit(guest.tenant, guest.payer, guest.bytes) {
                return Ok(self.place(seat));
            }
            let ask = Ask {
                tenant: guest.tenant.clone(),
                payer: guest.payer.clone(),
                bytes: guest.bytes,
                deadline: Some(deadline.saturating_duration_since(self.inner.opened)),
                work: sender,
            };
            admission.ask(now, ask).map_err(|(turned, _)| turned)?
        };
        let waiting = Waiting {
            door: self,
            tenant: guest.tenant,
            ticket: Some(ticket),
        };
        self.pump();
        match timeout_at(deadline.into(), receiver).await {
            Ok(Ok(place)) => {
                waiting.leave();
                Ok(place)
            }
            // A sender is never dropped unused while its ticket is valid.
            Ok(Err(_)) | Err(_) => Err(Turned::TooLate {
                after: self.now().saturating_sub(now),
            }),
        }
    }

    /// Whether a call of this tenant would be let in or may wait, if it came now.
    pub(crate) fn check(&self, tenant: &Tenant, deadline: Instant) -> Result<(), Turned> {
        let deadline = deadline.saturating_duration_since(self.inner.opened);
        let now = self.now();
        let admission = self.admission();
        if admission.is_free() {
            return Ok(());
        }
        admission.check(now, tenant, Some(deadline))
    }

    /// Lets in whoever may run now.
    fn pump(&self) {
        let now = self.now();
        loop {
            let Some((seat, sender)) = self.admission().next(now) else {
                return;
            };
            // Whoever went away meanwhile gives the place back by not taking it.
            drop(sender.send(self.place(seat)));
        }
    }

    fn place(&self, seat: Seat) -> Place {
        Place {
            door: self.clone(),
            seat: Some(seat),
        }
    }

    fn admission(&self) -> MutexGuard<'_, Admission<oneshot::Sender<Place>>> {
        // No step under this lock leaves something half-changed.
        let lock = self.inner.admission.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.inner.opened.elapsed()
    }

    /// The bytes that running calls may hold, and each service's calls: those that run, those that wait.
    pub(crate) fn load(&self) -> (u64, HashMap<String, (u64, u64)>) {
        let admission = self.admission();
        let calls = admission.tenants().map(|(tenant, running, waiting)| {
            let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
            (tenant.to_string(), (running.into(), waiting))
        });
        (admission.bytes(), calls.collect())
    }

    /// Whether calls wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.admission().waiting() > 0
    }

    #[cfg(test)]
    fn calls(&self) -> (u32, usize) {
        let admission = self.admission();
        (admission.running(), admission.waiting())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            let wanted = {
                let mut admission = self.door.admission();
                admission.release(seat);
                admission.waiting() > 0
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
            let sender = self.door.admission().cancel(self.tenant, ticket);
            if sender.is_some() {
                // What it kept from others may fit them.
                self.door.pump();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    fn door(places: u32) -> Door {
        Door::new(Capacity {
            places,
            bytes: 100,
            waiting_max: 10,
            tenant_waiting_max: 10,
        })
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_leaves_nothing_behind() {
        let (door, tenant) = (door(1), Tenant::new("t"));
        let guest = Guest {
            tenant: &tenant,
            payer: &tenant,
            bytes: 1,
        };
        let first = door.enter(guest, soon()).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut second = Box::pin(door.enter(guest, soon()));
        let mut third = Box::pin(door.enter(guest, soon()));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(door.calls(), (1, 2));
        drop(second);
        assert_eq!(door.calls(), (1, 1));
        drop(first);
        assert_eq!(door.calls(), (1, 0), "the place is the third's already");
        drop(third);
        assert_eq!(door.calls(), (0, 0), "and comes back if it is not taken");
    }

    #[tokio::test]
    async fn a_deadline_ends_the_wait() {
        let (door, tenant) = (door(1), Tenant::new("t"));
        let guest = Guest {
            tenant: &tenant,
            payer: &tenant,
            bytes: 1,
        };
        let held = door.enter(guest, soon()).await.unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        let error = door.enter(guest, deadline).await.unwrap_err();
        assert!(Instant::now() >= deadline);
        assert!(matches!(error, Turned::TooLate { .. }), "{error}");
        assert_eq!(door.calls(), (1, 0));
        drop(held);
    }
}
