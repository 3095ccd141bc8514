//! A guest that was let in: its store, its place at the door, and its clocks.
//!
//! Dropped, the store goes first and then the place: whoever comes next finds the room.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_scheduler::Tenant;
use tokio::time::timeout_at;
use tracing::Instrument as _;
use wasmtime::Store;
use wasmtime::component::Instance;

use super::{CallContext, Prepared, Service, Usage};
use crate::clock::CpuClock;
use crate::door::{Guest, Place};
use crate::error::CallError;
use crate::interface::{Returns, Signature, Ty};
use crate::limits::{Breach, classify};
use crate::meters::{MethodMeters, add};
use crate::spec::Limits;
use crate::state::{Call, CallState, Shared};
use crate::warm::Made;

/// A guest that may run.
pub(super) struct Admitted {
    pub(super) store: Store<CallState>,
    /// Made before the call came.
    instance: Option<Instance>,
    /// The method's place in the interface.
    pub(super) at: usize,
    pub(super) clock: CpuClock,
    /// The method's counts.
    pub(super) meters: Arc<MethodMeters>,
    waited: Duration,
    /// When the call came to the door.
    started: Instant,
    /// When the guest ends at the latest.
    pub(super) deadline: Instant,
    _place: Place,
    input_bytes: u64,
}

/// What a call begins with.
pub(crate) struct Means {
    /// What it has of the host.
    pub(crate) shared: Arc<Shared>,
    /// What counts its processor time.
    pub(crate) clock: CpuClock,
}

/// A call that was let in.
pub(super) struct Entered {
    /// When it came to the door.
    pub(super) started: Instant,
    /// When it ends at the latest.
    pub(super) deadline: Instant,
    /// How long it waited at the door.
    pub(super) waited: Duration,
    /// The method's counts.
    pub(super) meters: Arc<MethodMeters>,
    /// The host memory that one transfer from its guest may take.
    fuel: u64,
    /// What of its memory a call that it waits for may take.
    pub(super) lends: u64,
    pub(super) place: Place,
}

impl Service {
    /// The service's own.
    pub(super) fn means(&self) -> Means {
        Means {
            shared: Arc::clone(&self.loaded.shared),
            clock: CpuClock::default(),
        }
    }

    /// Waits at the door and makes a store, in which nothing runs yet.
    pub(super) async fn admit(
        &self,
        prepared: &Prepared,
        context: CallContext,
        means: Means,
    ) -> Result<Admitted, CallError> {
        let entered = self.enter(prepared, &context).await?;
        let Means { shared, clock } = means;
        clock.let_in(entered.place.standing());
        let (mut store, instance) = match self.loaded.warmth.take() {
            Some(Made { store, instance }) => (store, Some(instance)),
            None => {
                let state = CallState::new(shared, clock.clone());
                (self.store(state), None)
            }
        };
        store.data_mut().begin(Call {
            meters: Arc::clone(&entered.meters),
            call_id: context.call_id,
            payer: context.payer,
            hirer: context.hirer,
            lends: entered.lends,
            seed: prepared.seed,
            deadline: entered.deadline,
            clock: clock.clone(),
        });
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(usize::try_from(entered.fuel).unwrap_or(usize::MAX));
        Ok(Admitted {
            clock,
            store,
            instance,
            at: prepared.at,
            meters: entered.meters,
            waited: entered.waited,
            started: entered.started,
            deadline: entered.deadline,
            input_bytes: prepared.input_bytes,
            _place: entered.place,
        })
    }

    /// Waits at the door.
    pub(super) async fn enter(
        &self,
        prepared: &Prepared,
        context: &CallContext,
    ) -> Result<Entered, CallError> {
        if prepared.component != self.loaded.component {
            let problem = "the arguments were checked for another component";
            return Err(CallError::Internal(problem.to_owned()));
        }
        let started = Instant::now();
        let limits = self.limits();
        let deadline = context.deadline.min(started + limits.wall_max);
        let fuel = transfer_fuel(&prepared.signature, limits);
        let arguments = prepared.content.expansion_bytes();
        let bytes = fuel.saturating_add(arguments);
        // Whoever waits moves nothing meanwhile: calls in a row take as much as the largest of them.
        let lent = context.awaited.unwrap_or(0);
        let guest = Guest {
            tenant: &self.loaded.shared.tenant,
            payer: &Tenant::new(&context.payer),
            bytes: bytes.saturating_sub(lent),
            price: context.price,
        };
        let (host, shared) = (&self.loaded.host, &self.loaded.shared);
        let meters = self.meters_of(prepared)?;
        if meters.is_long() && !host.door.has_room_for_long(&shared.tenant) {
            // Or it would be refused when it has taken its first milliseconds.
            return Err(host.background.refuse());
        }
        let waiting = tracing::info_span!("door.wait");
        let entered = match context.awaited.is_some() {
            true => host.door.enter_at_once(guest),
            false => host.door.enter(guest, deadline).instrument(waiting).await,
        };
        let place = entered.map_err(|turned| {
            host.meters.turned(&turned);
            CallError::turned(&turned, &context.payer)
        })?;
        let waited = started.elapsed();
        meters.waited.observe(waited);
        add(&meters.input_bytes, prepared.input_bytes);
        shared.meters.instance();
        Ok(Entered {
            started,
            deadline,
            waited,
            meters: Arc::clone(meters),
            fuel,
            lends: bytes.max(lent).saturating_sub(arguments),
            place,
        })
    }

    fn meters_of(&self, prepared: &Prepared) -> Result<&Arc<MethodMeters>, CallError> {
        let meters = self.loaded.meters.get(&prepared.method);
        meters.ok_or_else(|| CallError::Internal("a method without counts".to_owned()))
    }

    /// A store with every limit but those of a call.
    pub(super) fn store(&self, state: CallState) -> Store<CallState> {
        let handles = usize::try_from(self.limits().handles_max).unwrap_or(usize::MAX);
        let mut store = Store::new(&self.loaded.host.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(CallState::on_tick);
        store.set_max_component_handles(handles);
        store
    }
}

impl Admitted {
    /// The call's own instance: ready, or made now.
    pub(super) async fn instantiate(&mut self, service: &Service) -> wasmtime::Result<Instance> {
        let loaded = &service.loaded;
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                let before = self.clock.used();
                let code = service.instance().map_err(wasmtime::Error::new)?;
                let making = code.instantiate_async(&mut self.store);
                let making = making.instrument(tracing::info_span!("host.instantiate"));
                let instance = making.await?;
                let cost = self.clock.used().saturating_sub(before);
                loaded.warmth.measured(cost);
                instance
            }
        };
        service.warm_up();
        Ok(instance)
    }

    /// What it used so far, with so many bytes of JSON as its answer.
    pub(super) fn usage(&mut self, output_bytes: u64) -> Usage {
        let state = self.store.data_mut();
        state.count_handles();
        Usage {
            waited: self.waited,
            wall_time: self.started.elapsed(),
            input_bytes: self.input_bytes,
            output_bytes,
            ..state.usage()
        }
    }

    /// Waits until all that the call has read or written is durable: an answer must not tell of what a
    /// crash takes back.
    pub(super) fn kept(&self) -> impl Future<Output = Result<(), CallError>> + Send + use<> {
        let state = self.store.data();
        let syncing = state.state_run.map(|run| state.shared.key_value.sync(run));
        let (deadline, late) = (self.deadline, self.late());
        async move {
            let Some(syncing) = syncing else {
                return Ok(());
            };
            let synced = timeout_at(deadline.into(), syncing).await;
            synced.map_or(Err(late), |it| {
                it.map_err(|error| CallError::State(error.0))
            })
        }
    }

    /// What ended the guest.
    pub(super) fn failed(&self, error: &wasmtime::Error) -> CallError {
        if let Some(Breach::Wall) = error.downcast_ref() {
            return self.late();
        }
        let shared = &self.store.data().shared;
        shared.redactor.error(classify(error, &shared.limits))
    }

    /// The wall time is over.
    pub(super) fn late(&self) -> CallError {
        self.hour().late(&self.clock)
    }

    /// When it came to the door.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// When it has to be done.
    pub(super) fn hour(&self) -> Hour {
        let limits = &self.store.data().shared.limits;
        Hour {
            allowed: self.deadline.saturating_duration_since(self.started),
            usual: limits.wall_max,
        }
    }
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hour {
    /// This call.
    allowed: Duration,
    /// Any call of the service: a caller in a hurry makes no guest busy.
    usual: Duration,
}

impl Hour {
    /// The wall time is over; the guest's processor time is `clock`'s.
    pub(super) fn late(self, clock: &CpuClock) -> CallError {
        CallError::TimedOut {
            limit_ms: u64::try_from(self.allowed.as_millis()).unwrap_or(u64::MAX),
            busy: clock.used() >= self.usual / 2,
        }
    }
}

/// The error of a call that is not over at its deadline.
pub(crate) fn late(started: Instant, deadline: Instant) -> CallError {
    let allowed = deadline.saturating_duration_since(started);
    CallError::TimedOut {
        limit_ms: u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX),
        busy: false,
    }
}

/// Runs the guest's `work` on its clock, until its deadline at most: none if that came first.
pub(super) async fn within<T>(
    clock: &CpuClock,
    deadline: Instant,
    work: impl Future<Output = T>,
) -> Option<T> {
    let work = pin!(work);
    timeout_at(deadline.into(), clock.measure(work)).await.ok()
}

/// Host memory that one transfer from the guest may take: its largest result or host call.
fn transfer_fuel(signature: &Signature, limits: &Limits) -> u64 {
    /// A result as large as its limit must not fail for the names and values around it.
    const SLACK_BYTES: u64 = 64 << 10;
    let largest = |types: &mut dyn Iterator<Item = &Ty>| types.map(Ty::expansion).max();
    let expansion = match &signature.returns {
        Returns::Nothing => None,
        Returns::Value(ty) => Some(ty.expansion()),
        Returns::Result { ok, err } => largest(&mut ok.iter().chain(err)),
        Returns::Stream(stream) => {
            let refusals = [&stream.opening, &stream.pulling].into_iter();
            let refusals = refusals.filter_map(|refusal| refusal.ty());
            largest(&mut refusals.chain([&stream.item]))
        }
    };
    let result = limits
        .output_bytes_max
        .saturating_mul(expansion.unwrap_or(1));
    result
        .saturating_add(SLACK_BYTES)
        .max(limits.transfer_bytes_max)
}
