//! One call: admission, a fresh instance under every limit, the answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rialto_scheduler::Tenant;
use tokio::time::timeout_at;
use tracing::Instrument;
use wasmtime::Store;
use wasmtime::component::{InstancePre, Val};

use super::{CallContext, Outcome, Prepared, Service, Usage, http};
use crate::door::Guest;
use crate::error::CallError;
use crate::interface::{Returns, Signature, Ty};
use crate::json::{self, Arg, EncodeError};
use crate::limits::{Breach, classify, from_breach};
use crate::spec::Limits;
use crate::state::CallState;

impl Service {
    /// Runs prepared arguments in a fresh instance, on the calling task.
    ///
    /// Cancel-safe: dropping the future drops the instance; a model run in progress finishes, on its own
    /// thread or within the poll that began it, and its result is thrown away.
    ///
    /// # Errors
    /// [`CallError`]; nothing may be charged for any of them (money rule M3).
    pub async fn call(
        &self,
        prepared: Prepared,
        context: CallContext,
    ) -> Result<Outcome, CallError> {
        let span = tracing::debug_span!(
            "host.call",
            service = %self.name(),
            method = %prepared.method,
            call_id = %context.call_id,
        );
        self.admit_and_run(prepared, context).instrument(span).await
    }

    async fn admit_and_run(
        &self,
        prepared: Prepared,
        context: CallContext,
    ) -> Result<Outcome, CallError> {
        let started = Instant::now();
        let limits = &self.loaded.shared.limits;
        let deadline = context.deadline.min(started + limits.wall_max);
        let fuel = transfer_fuel(&prepared.signature, limits);
        let expansion: u64 = prepared.args.iter().map(Arg::expansion_bytes).sum();
        let guest = Guest {
            tenant: &self.loaded.shared.tenant,
            payer: &Tenant::new(&context.payer),
            bytes: fuel.saturating_add(expansion),
        };
        let _place = self.loaded.host.door.enter(guest, deadline).await?;
        let state = CallState::new(Arc::clone(&self.loaded.shared), context.call_id, deadline);
        let clock = state.clock.clone();
        let mut store = self.store(state, fuel);
        let signature = &prepared.signature;
        let body = if signature.is_handler {
            let request = http::request(prepared.args)?;
            let running = pin!(http::run(
                &self.loaded.instance,
                &mut store,
                request,
                limits
            ));
            match timeout_at(deadline.into(), clock.measure(running)).await {
                Ok(Ok(body)) => body,
                Ok(Err(http::Failure::Answer(error))) => return Err(error),
                Ok(Err(http::Failure::Guest(error))) => {
                    return Err(self.failed(&error, started, deadline));
                }
                Err(_) => return Err(late(started, deadline)),
            }
        } else {
            let buffers = &self.loaded.host.buffers;
            let args = prepared.args.into_iter();
            let params: Vec<Val> = args.map(|arg| arg.into_val(buffers)).collect();
            let finished = {
                let running = pin!(run(&self.loaded.instance, &mut store, signature, &params));
                timeout_at(deadline.into(), clock.measure(running)).await
            };
            buffers.keep(params);
            match finished {
                Ok(Ok(result)) => answer(&signature.returns, result, limits)?,
                Ok(Err(error)) => return Err(self.failed(&error, started, deadline)),
                Err(_) => return Err(late(started, deadline)),
            }
        };
        let state = store.data();
        let usage = Usage {
            guest_time: clock.used(),
            host_time: state.device_time,
            memory_peak: state.limiter.memory_peak(),
            host_calls: state.host_calls,
            input_bytes: prepared.input_bytes,
            output_bytes: body.len() as u64,
            tensor_runs: state.tensor_runs,
            device_time: state.device_time,
            multiply_adds: state.multiply_adds,
            moved_bytes: state.moved_bytes,
            tokens_read: state.tokens_read,
            tokens_written: state.tokens_written,
        };
        Ok(Outcome { body, usage })
    }

    fn store(&self, state: CallState, fuel: u64) -> Store<CallState> {
        let handles = usize::try_from(self.limits().handles_max).unwrap_or(usize::MAX);
        let mut store = Store::new(&self.loaded.host.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(CallState::on_tick);
        store.set_hostcall_fuel(usize::try_from(fuel).unwrap_or(usize::MAX));
        store.set_max_component_handles(handles);
        store
    }

    fn failed(&self, error: &wasmtime::Error, started: Instant, deadline: Instant) -> CallError {
        if let Some(Breach::Wall) = error.downcast_ref() {
            return late(started, deadline);
        }
        classify(error, self.limits())
    }
}

/// Instantiates and calls. The result is none for functions without one.
async fn run(
    instance: &InstancePre<CallState>,
    store: &mut Store<CallState>,
    signature: &Signature,
    params: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let instance = instance.instantiate_async(&mut *store).await?;
    let function = instance
        .get_func(&mut *store, signature.export)
        .ok_or_else(|| wasmtime::Error::msg("the exported function is gone"))?;
    let mut results = [Val::Bool(false)];
    let wanted = match signature.returns {
        Returns::Nothing => &mut results[..0],
        Returns::Value(_) | Returns::Result { .. } => &mut results[..],
    };
    function.call_async(&mut *store, params, wanted).await?;
    let [result] = results;
    Ok(match signature.returns {
        Returns::Nothing => None,
        Returns::Value(_) | Returns::Result { .. } => Some(result),
    })
}

/// Turns a result into JSON, or a refusal of the service's own.
fn answer(returns: &Returns, result: Option<Val>, limits: &Limits) -> Result<Bytes, CallError> {
    let bytes_max = limits.output_bytes_max;
    let encode_error = |error| match error {
        EncodeError::TooLarge => CallError::OutputTooLarge { bytes_max },
        EncodeError::Mismatch => CallError::Internal("a result is not of its type".to_owned()),
    };
    let json = match (returns, &result) {
        (Returns::Nothing, None) => Ok(b"null".to_vec()),
        (Returns::Value(ty), Some(value)) => json::encode(ty, value, bytes_max),
        (Returns::Result { ok, .. }, Some(Val::Result(Ok(value)))) => {
            json::encode_payload(ok.as_ref(), value.as_deref(), bytes_max)
        }
        (Returns::Result { err, .. }, Some(Val::Result(Err(value)))) => {
            let error = json::encode_payload(err.as_ref(), value.as_deref(), bytes_max)
                .map_err(encode_error)?;
            return Err(CallError::Refused {
                error: error.into(),
            });
        }
        _ => Err(EncodeError::Mismatch),
    };
    json.map(Bytes::from).map_err(encode_error)
}

fn late(started: Instant, deadline: Instant) -> CallError {
    let limits = Limits {
        wall_max: deadline.saturating_duration_since(started),
        ..Limits::default()
    };
    from_breach(Breach::Wall, &limits)
}

/// Host memory that one transfer from the guest may take: its largest result or host call.
fn transfer_fuel(signature: &Signature, limits: &Limits) -> u64 {
    /// A result as large as its limit must not fail for the names and values around it.
    const SLACK_BYTES: u64 = 64 << 10;
    let expansion = match &signature.returns {
        Returns::Nothing => 1,
        Returns::Value(ty) => ty.expansion(),
        Returns::Result { ok, err } => {
            let sides = ok.iter().chain(err).map(Ty::expansion);
            sides.max().unwrap_or(1)
        }
    };
    let result = limits.output_bytes_max.saturating_mul(expansion);
    result
        .saturating_add(SLACK_BYTES)
        .max(limits.transfer_bytes_max)
}
