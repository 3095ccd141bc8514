//! A call whose answer comes item by item.
//!
//! The guest runs while somebody asks for the next item, and at no other time: nothing is made ahead.
//! Its place, its memory and its limits stay the same from the first item to the last, time that a
//! reader takes between two items included. Dropping the stream, or the future of an item, drops the
//! guest at once, or at its next clock tick where it computes in the background.
//!
//! Not here: how long a reader may take, and what a part of a stream costs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{Instrument as _, Span};
use wasmtime::component::{Func, Val};

use super::call::{refused, unwritten};
use super::guest::{Admitted, within};
use super::{CallContext, ItemList, Outcome, Prepared, Service, Usage};
use crate::clock::CpuClock;
use crate::error::CallError;
use crate::interface::{Refusal, Signature, Stream};
use crate::json::{self, EncodeError};
use crate::meters::add;
use crate::spec::Limits;

/// A stream that a guest has returned.
pub struct GuestStream {
    service: Service,
    signature: Arc<Signature>,
    /// None once the stream has ended, or the guest was given up.
    guest: Option<Pulled>,
    written: u64,
    usage: Usage,
    payer: String,
    /// Whether whoever asks is where the call belongs already.
    placed: bool,
    span: Span,
}

/// A guest between two items.
struct Pulled {
    admitted: Admitted,
    next: Func,
    resource: Val,
}

impl Service {
    /// Calls a method that streams: returns when the method has returned its stream, before the first
    /// item is made. The guest runs where those of [`Service::call`] do.
    ///
    /// Cancel-safe: dropping the future drops the instance.
    ///
    /// # Errors
    /// [`CallError`]; nothing may be charged for any of them (money rule M3).
    /// [`CallError::Internal`] if the method does not stream.
    pub async fn open(
        &self,
        prepared: Prepared,
        context: CallContext,
    ) -> Result<GuestStream, CallError> {
        let clock = CpuClock::default();
        let span = self.span(&prepared, &context);
        let (payer, deadline) = (context.payer.clone(), context.deadline);
        let opening = self
            .clone()
            .open_on(prepared, context, clock.clone(), span.clone());
        // The span goes where the guest goes.
        let opening = Box::pin(opening.instrument(span));
        let opened = self.place(&payer, deadline, clock, opening).await;
        opened.inspect_err(|error| self.note(&payer, Some(error)))
    }

    /// The same on the calling task, in the call's span.
    pub(super) async fn open_on(
        self,
        prepared: Prepared,
        context: CallContext,
        clock: CpuClock,
        span: Span,
    ) -> Result<GuestStream, CallError> {
        let signature = Arc::clone(&prepared.signature);
        let Some(stream) = signature.stream() else {
            return Err(CallError::Internal("the method does not stream".to_owned()));
        };
        let payer = context.payer.clone();
        let mut admitted = self.admit(&prepared, context, clock).await?;
        let args = prepared.args;
        let (instance, result) = self.invoke(&mut admitted, &signature, args).await?;
        let redactor = &self.loaded.shared.redactor;
        let resource = opened(stream, result, self.limits());
        let resource = resource.map_err(|error| redactor.error(error))?;
        let export = self.loaded.exports.get(admitted.at);
        let next = export
            .and_then(|export| export.next)
            .and_then(|next| instance.get_func(&mut admitted.store, next))
            .ok_or_else(|| CallError::Internal("the stream's `next` is gone".to_owned()))?;
        let written = ItemList::default().written().len() as u64;
        let usage = admitted.usage(written);
        Ok(GuestStream {
            service: self,
            signature,
            guest: Some(Pulled {
                admitted,
                next,
                resource,
            }),
            written,
            usage,
            payer,
            placed: false,
            span,
        })
    }
}

impl GuestStream {
    /// The same, for who asks for its items where the call runs anyway.
    pub(super) fn placed(self) -> Self {
        Self {
            placed: true,
            ..self
        }
    }

    /// The next item as JSON; none at the end, and ever after.
    ///
    /// Dropping the future ends the stream.
    ///
    /// # Errors
    /// [`CallError`]: the stream ends with it, after the items before.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let made = self.make_next().await;
        if !matches!(made, Ok(Some(_))) {
            self.service.note(&self.payer, made.as_ref().err());
        }
        made
    }

    async fn make_next(&mut self) -> Result<Option<Bytes>, CallError> {
        // Taken out, so that whoever drops the future drops the guest.
        let Some(mut guest) = self.guest.take() else {
            return Ok(None);
        };
        let Some(stream) = self.signature.stream() else {
            return Ok(None);
        };
        let (signature, clock) = (Arc::clone(&self.signature), guest.admitted.clock.clone());
        let deadline = guest.admitted.deadline;
        let redactor = Arc::clone(&self.service.loaded.shared.redactor);
        let pulling = async move {
            let pulled = guest.pull(&signature).await;
            let pulled = pulled.map_err(|error| redactor.error(error))?;
            Ok((guest, pulled))
        };
        if !self.placed && self.written > ItemList::default().written().len() as u64 {
            clock.delivered();
        }
        let pulling = Box::pin(pulling.instrument(self.span.clone()));
        let pulled = if self.placed {
            pulling.await
        } else {
            let service = &self.service;
            let placing = service.place(&self.payer, deadline, clock, pulling);
            placing.await
        };
        let (mut guest, pulled) = pulled?;
        let Some(value) = pulled else {
            self.written = self.written.saturating_add(1);
            self.usage = guest.admitted.usage(self.written);
            let kept = guest.admitted.kept();
            drop(guest);
            kept.await?;
            return Ok(None);
        };
        let limits = &guest.admitted.store.data().shared.limits;
        let bytes_max = limits
            .output_bytes_max
            .saturating_sub(self.written)
            .saturating_sub(AROUND_BYTES);
        let json = json::encode(&stream.item, &value, bytes_max);
        let json = json.map_err(|error| unwritten(error, limits))?;
        guest.admitted.kept().await?;
        add(&guest.admitted.meters.output_bytes, json.len() as u64);
        let comma = u64::from(self.written > 1);
        self.written = self.written.saturating_add(comma + json.len() as u64);
        self.usage = guest.admitted.usage(self.written);
        self.guest = Some(guest);
        Ok(Some(json.into()))
    }

    /// What was used up to the last item that was given, or up to the end once that was reached.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Takes the stream to its end.
    ///
    /// # Errors
    /// [`CallError`]; what came before it is thrown away.
    pub async fn collect(mut self) -> Result<Outcome, CallError> {
        let mut items = ItemList::default();
        while let Some(item) = self.next().await? {
            items.push(&item);
        }
        Ok(Outcome {
            body: items.finish(),
            usage: self.usage,
        })
    }
}

impl Pulled {
    /// Asks the guest for its next item.
    async fn pull(&mut self, signature: &Signature) -> Result<Option<Box<Val>>, CallError> {
        let Self {
            admitted,
            next,
            resource,
        } = self;
        let mut results = [Val::Bool(false)];
        let params = std::slice::from_ref(resource);
        let asking = next.call_async(&mut admitted.store, params, &mut results);
        let asked = within(&admitted.clock, admitted.deadline, asking).await;
        match asked {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(admitted.failed(&error)),
            None => return Err(admitted.late()),
        }
        let limits = &admitted.store.data().shared.limits;
        let [result] = results;
        let item = match signature.stream().map(|stream| &stream.pulling) {
            None | Some(Refusal::Never) => Some(result),
            Some(Refusal::With(err)) => taken(result, err.as_ref(), limits)?,
        };
        if let Some(Val::Option(item)) = item {
            return Ok(item);
        }
        Err(unwritten(EncodeError::Mismatch, limits))
    }
}

/// The resource in what the method returned.
fn opened(stream: &Stream, result: Option<Val>, limits: &Limits) -> Result<Val, CallError> {
    let resource = match (&stream.opening, result) {
        (Refusal::Never, result) => result,
        (Refusal::With(err), Some(result)) => taken(result, err.as_ref(), limits)?,
        (Refusal::With(_), None) => None,
    };
    resource
        .filter(|value| matches!(value, Val::Resource(_)))
        .ok_or_else(|| unwritten(EncodeError::Mismatch, limits))
}

/// The ok part of a `result`.
fn taken(
    result: Val,
    err: Option<&crate::interface::Ty>,
    limits: &Limits,
) -> Result<Option<Val>, CallError> {
    if let Val::Result(result) = result {
        return match result {
            Ok(value) => Ok(value.map(|value| *value)),
            Err(value) => Err(refused(err, value.as_deref(), limits)),
        };
    }
    Err(unwritten(EncodeError::Mismatch, limits))
}

impl fmt::Debug for GuestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestStream")
            .field("ended", &self.guest.is_none())
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// The comma before an item and the bracket after the last one.
const AROUND_BYTES: u64 = 2;
