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
use crate::json::Arg;
use crate::limits::{Breach, classify};
use crate::meters::{MethodMeters, add};
use crate::spec::Limits;
use crate::state::{Call, CallState};
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

impl Service {
    /// Waits at the door and makes a store, in which nothing runs yet.
    pub(super) async fn admit(
        &self,
        prepared: &Prepared,
        context: CallContext,
        clock: CpuClock,
    ) -> Result<Admitted, CallError> {
        if prepared.component != self.loaded.component {
            let problem = "the arguments were checked for another component";
            return Err(CallError::Internal(problem.to_owned()));
        }
        let started = Instant::now();
        let limits = self.limits();
        let deadline = context.deadline.min(started + limits.wall_max);
        let fuel = transfer_fuel(&prepared.signature, limits);
        let expansion: u64 = prepared.args.iter().map(Arg::expansion_bytes).sum();
        let guest = Guest {
            tenant: &self.loaded.shared.tenant,
            payer: &Tenant::new(&context.payer),
            bytes: fuel.saturating_add(expansion),
            price: context.price,
        };
        let (host, shared) = (&self.loaded.host, &self.loaded.shared);
        let meters = self.meters_of(prepared)?;
        if meters.is_long() && !host.door.has_room_for_long(&shared.tenant) {
            // Or it would be refused when it has taken its first milliseconds.
            return Err(host.background.refuse());
        }
        let waiting = tracing::info_span!("door.wait");
        let entered = host.door.enter(guest, deadline).instrument(waiting).await;
        let place = entered.map_err(|turned| {
            host.meters.turned(&turned);
            CallError::turned(&turned, &context.payer)
        })?;
        clock.let_in(place.standing());
        let waited = started.elapsed();
        meters.waited.observe(waited);
        add(&meters.input_bytes, prepared.input_bytes);
        shared.meters.instance();
        let (mut store, instance) = match self.loaded.warmth.take() {
            Some(Made { store, instance }) => (store, Some(instance)),
            None => {
                let state = CallState::new(Arc::clone(shared), clock.clone());
                (self.store(state), None)
            }
        };
        store.data_mut().begin(Call {
            meters: Arc::clone(meters),
            call_id: context.call_id,
            payer: context.payer,
            seed: prepared.seed,
            deadline,
            clock: clock.clone(),
        });
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(usize::try_from(fuel).unwrap_or(usize::MAX));
        Ok(Admitted {
            clock,
            store,
            instance,
            at: prepared.at,
            meters: Arc::clone(meters),
            waited,
            started,
            deadline,
            _place: place,
            input_bytes: prepared.input_bytes,
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
                let making = loaded.instance.instantiate_async(&mut self.store);
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
