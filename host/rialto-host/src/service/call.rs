//! One call: admission, a fresh instance under every limit, the answer.

use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use tracing::{Instrument, Span};
use wasmtime::component::{ComponentExportIndex, Instance, Val};

use super::guest::{Admitted, Means, within};
use super::{CallContext, Outcome, Prepared, Service};
use crate::clock::CpuClock;
use crate::error::CallError;
use crate::interface::{Returns, Signature, Ty};
use crate::json::{self, Arg, EncodeError};
use crate::meters::add;
use crate::spec::Limits;

impl Service {
    /// Runs prepared arguments in a fresh instance: on the calling task, and once it has used the processor
    /// for [`Config::foreground_max`](crate::Config::foreground_max), in the background, where calls of a
    /// payer whose calls of this service keep failing begin. A stream is taken to its end: the answer is the
    /// list of its items.
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
        // Boxed, so that callers' futures are not made of all that a call is made of.
        Box::pin(self.call_with(prepared, context, self.means())).await
    }

    /// As [`Service::call`], with other means than the service's own.
    pub(crate) async fn call_with(
        &self,
        prepared: Prepared,
        context: CallContext,
        means: Means,
    ) -> Result<Outcome, CallError> {
        let span = self.span(&prepared, &context);
        let around = span.clone();
        let (payer, deadline) = (context.payer.clone(), context.deadline);
        let is_awaited = context.awaited.is_some();
        let (service, clock) = (self.clone(), means.clock.clone());
        let call = async move {
            let payer = context.payer.clone();
            // Streams and responses tell how they ended.
            let ended = if prepared.signature.stream().is_some() {
                let opening = service.clone();
                match opening.open_on(prepared, context, means, around).await {
                    Ok(stream) => return stream.placed().collect().await,
                    Err(error) => Err(error),
                }
            } else if prepared.signature.is_handler && service.cell().is_none() {
                let opening = service.clone();
                match opening.respond_on(prepared, context, means, around).await {
                    Ok(response) => return response.placed().collect().await,
                    Err(error) => Err(error),
                }
            } else {
                let running = service.clone();
                running.admit_and_run(prepared, context, means).await
            };
            service.note(&payer, ended.as_ref().err());
            ended
        };
        // The span goes where the guest goes.
        let call = Box::pin(call.instrument(span));
        let ended = match is_awaited {
            // Who waits for it may have the last room there: it goes where its caller is.
            true => self.loaded.host.background.carry(clock, call).await,
            false => self.place(&payer, deadline, clock, call).await,
        };
        ended.map_err(|error| self.loaded.shared.redactor.error(error))
    }

    /// Runs a call for `payer` where it belongs; to wait for that it has until `deadline`.
    pub(super) async fn place<T: Send + 'static>(
        &self,
        payer: &str,
        deadline: Instant,
        clock: CpuClock,
        call: Pin<Box<impl Future<Output = Result<T, CallError>> + Send + 'static>>,
    ) -> Result<T, CallError> {
        let host = &self.loaded.host;
        if host.conduct.is_suspect(self.name(), payer, Instant::now()) {
            clock.hold_back();
            let (wall_max, wanted) = (self.limits().wall_max, clock.clone());
            let deadline = deadline.min(Instant::now() + wall_max);
            let ended = host.background.hold_back(deadline, clock, call).await;
            if matches!(ended, Err(CallError::TimedOut { busy: false, .. }))
                && wanted.wanted() >= wall_max / 2
            {
                // It was made to rest, or it would have computed on.
                host.conduct.computed_on(self.name(), payer, Instant::now());
            }
            return ended;
        }
        host.background.carry(clock, call).await
    }

    /// Remembers how a call for `payer` ended.
    pub(super) fn note(&self, payer: &str, error: Option<&CallError>) {
        let conduct = &self.loaded.host.conduct;
        conduct.ended(self.name(), payer, error, Instant::now());
        if let Some(error) = error {
            self.loaded.shared.meters.failed(error);
        }
    }

    /// What a call is in a trace.
    pub(super) fn span(&self, prepared: &Prepared, context: &CallContext) -> Span {
        tracing::info_span!(
            "host.call",
            service = %self.name(),
            method = %prepared.method,
            call_id = %context.call_id,
        )
    }

    async fn admit_and_run(
        self,
        prepared: Prepared,
        context: CallContext,
        means: Means,
    ) -> Result<Outcome, CallError> {
        if let Some(cell) = self.cell() {
            return self.call_in_cell(cell, prepared, context).await;
        }
        let mut guest = self.admit(&prepared, context, means).await?;
        let (limits, signature) = (self.limits(), &prepared.signature);
        let args = prepared.content.values()?;
        let (_, result) = self.invoke(&mut guest, signature, args).await?;
        let body = answer(&signature.returns, result, limits)?;
        let written = body.len() as u64;
        add(&guest.meters.output_bytes, written);
        let usage = guest.usage(written);
        let kept = guest.kept();
        // The guest is done: others need not wait for the disk.
        drop(guest);
        kept.await?;
        Ok(Outcome { body, usage })
    }

    /// Instantiates and calls the method. The result is none for methods without one.
    pub(super) async fn invoke(
        &self,
        guest: &mut Admitted,
        signature: &Signature,
        args: Vec<Arg>,
    ) -> Result<(Instance, Option<Val>), CallError> {
        let buffers = &self.loaded.host.buffers;
        let params: Vec<Val> = args.into_iter().map(|arg| arg.into_val(buffers)).collect();
        let export = self.loaded.exports.get(guest.at);
        let export = export.map(|export| export.method);
        let (clock, deadline) = (guest.clock.clone(), guest.deadline);
        let running = run(self, guest, (signature, export), &params);
        let finished = within(&clock, deadline, running).await;
        buffers.keep(params);
        match finished {
            Some(Ok(returned)) => Ok(returned),
            Some(Err(error)) => Err(guest.failed(&error)),
            None => Err(guest.late()),
        }
    }
}

async fn run(
    service: &Service,
    guest: &mut Admitted,
    (signature, export): (&Signature, Option<ComponentExportIndex>),
    params: &[Val],
) -> wasmtime::Result<(Instance, Option<Val>)> {
    let instance = guest.instantiate(service).await?;
    let store = &mut guest.store;
    let function = export
        .and_then(|export| instance.get_func(&mut *store, export))
        .ok_or_else(|| wasmtime::Error::msg("the exported function is gone"))?;
    let mut results = [Val::Bool(false)];
    let returns_nothing = matches!(signature.returns, Returns::Nothing);
    let wanted = if returns_nothing {
        &mut results[..0]
    } else {
        &mut results[..]
    };
    let running = tracing::info_span!("guest.run");
    let called = function.call_async(&mut *store, params, wanted);
    called.instrument(running).await?;
    let [result] = results;
    Ok((instance, (!returns_nothing).then_some(result)))
}

/// Turns a result into JSON, or a refusal of the service's own.
fn answer(returns: &Returns, result: Option<Val>, limits: &Limits) -> Result<Bytes, CallError> {
    let bytes_max = limits.output_bytes_max;
    let json = match (returns, &result) {
        (Returns::Nothing, None) => Ok(b"null".to_vec()),
        (Returns::Value(ty), Some(value)) => json::encode(ty, value, bytes_max),
        (Returns::Result { ok, .. }, Some(Val::Result(Ok(value)))) => {
            json::encode_payload(ok.as_ref(), value.as_deref(), bytes_max)
        }
        (Returns::Result { err, .. }, Some(Val::Result(Err(value)))) => {
            return Err(refused(err.as_ref(), value.as_deref(), limits));
        }
        _ => Err(EncodeError::Mismatch),
    };
    json.map(Bytes::from)
        .map_err(|error| unwritten(error, limits))
}

/// The service's own refusal as an error.
pub(super) fn refused(ty: Option<&Ty>, value: Option<&Val>, limits: &Limits) -> CallError {
    match json::encode_payload(ty, value, limits.output_bytes_max) {
        Ok(error) => CallError::Refused {
            error: error.into(),
        },
        Err(error) => unwritten(error, limits),
    }
}

/// Why a value did not become JSON.
pub(super) fn unwritten(error: EncodeError, limits: &Limits) -> CallError {
    match error {
        EncodeError::TooLarge => CallError::OutputTooLarge {
            bytes_max: limits.output_bytes_max,
        },
        EncodeError::Mismatch => CallError::Internal("a result is not of its type".to_owned()),
    }
}
