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
use super::guest::{Admitted, Entered, Means, within};
use super::{CallContext, ItemList, Outcome, Prepared, Service, Usage};
use crate::cell::{Cell, Pulling};
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
    guest: Option<Source>,
    written: u64,
    usage: Usage,
    payer: String,
    place: Placing,
    span: Span,
}

/// Where a guest runs that makes an item.
#[derive(Debug, Clone, Copy)]
enum Placing {
    /// Where the call belongs.
    ByConduct,
    /// Where whoever waits for it runs: it may have the last room elsewhere.
    WithItsCaller,
    /// Whoever asks is where the call belongs already.
    Done,
}

/// Where items come from.
enum Source {
    Here(Pulled),
    /// With its place at the door.
    Cell(Box<Pulling>, Entered),
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
        Box::pin(self.open_with(prepared, context, self.means())).await
    }

    /// As [`Service::open`], with other means than the service's own.
    pub(crate) async fn open_with(
        &self,
        prepared: Prepared,
        context: CallContext,
        means: Means,
    ) -> Result<GuestStream, CallError> {
        let clock = means.clock.clone();
        let span = self.span(&prepared, &context);
        let (payer, deadline) = (context.payer.clone(), context.deadline);
        let place = match context.awaited {
            Some(_) => Placing::WithItsCaller,
            None => Placing::ByConduct,
        };
        let opening = self.clone().open_on(prepared, context, means, span.clone());
        // The span goes where the guest goes.
        let opening = Box::pin(opening.instrument(span));
        let opened = match place {
            Placing::WithItsCaller => self.loaded.host.background.carry(clock, opening).await,
            Placing::ByConduct | Placing::Done => {
                self.place(&payer, deadline, clock, opening).await
            }
        };
        let opened = opened.inspect_err(|error| self.note(&payer, Some(error)))?;
        Ok(GuestStream { place, ..opened })
    }

    /// The same on the calling task, in the call's span.
    pub(super) async fn open_on(
        self,
        prepared: Prepared,
        context: CallContext,
        means: Means,
        span: Span,
    ) -> Result<GuestStream, CallError> {
        if let Some(cell) = self.cell() {
            return self.open_in_cell(cell, prepared, context, span).await;
        }
        let signature = Arc::clone(&prepared.signature);
        let Some(stream) = signature.stream() else {
            return Err(CallError::Internal("the method does not stream".to_owned()));
        };
        let payer = context.payer.clone();
        let mut admitted = self.admit(&prepared, context, means).await?;
        let args = prepared.content.values()?;
        let (instance, result) = self.invoke(&mut admitted, &signature, args).await?;
        let redactor = &self.loaded.shared.redactor;
        let resource = opened(stream, result, self.limits());
        let resource = resource.map_err(|error| redactor.error(error))?;
        let export = self.loaded.exports.get(admitted.at);
        let next = export
            .and_then(|export| export.next)
            .and_then(|next| instance.get_func(&mut admitted.store, next))
            .ok_or_else(|| CallError::Internal("the stream's `next` is gone".to_owned()))?;
        let usage = admitted.usage(first_bytes());
        let source = Source::Here(Pulled {
            admitted,
            next,
            resource,
        });
        Ok(GuestStream::new(
            self, signature, source, usage, payer, span,
        ))
    }

    async fn open_in_cell(
        &self,
        cell: &Cell,
        prepared: Prepared,
        context: CallContext,
        span: Span,
    ) -> Result<GuestStream, CallError> {
        let payer = context.payer.clone();
        let entered = self.enter(&prepared, &context).await?;
        // It computes in another process.
        entered.place.standing().waits_elsewhere();
        let signature = Arc::clone(&prepared.signature);
        let asked = self.asked(prepared, context, &entered)?;
        let opened = cell.open(asked).await;
        let redactor = &self.loaded.shared.redactor;
        let pulling = opened.map_err(|error| redactor.error(error))?;
        let usage = Usage {
            waited: entered.waited,
            ..pulling.usage(first_bytes())
        };
        let source = Source::Cell(Box::new(pulling), entered);
        Ok(GuestStream::new(
            self.clone(),
            signature,
            source,
            usage,
            payer,
            span,
        ))
    }
}

/// What is written before the first item.
fn first_bytes() -> u64 {
    ItemList::default().written().len() as u64
}

impl GuestStream {
    /// The same, for who asks for its items where the call runs anyway.
    pub(super) fn placed(self) -> Self {
        Self {
            place: Placing::Done,
            ..self
        }
    }

    fn new(
        service: Service,
        signature: Arc<Signature>,
        source: Source,
        usage: Usage,
        payer: String,
        span: Span,
    ) -> Self {
        Self {
            service,
            signature,
            guest: Some(source),
            written: first_bytes(),
            usage,
            payer,
            place: Placing::ByConduct,
            span,
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
        match self.guest.take() {
            None => Ok(None),
            Some(Source::Here(guest)) => self.make_here(guest).await,
            Some(Source::Cell(pulling, entered)) => self.make_in_cell(pulling, entered).await,
        }
    }

    async fn make_in_cell(
        &mut self,
        mut pulling: Box<Pulling>,
        entered: Entered,
    ) -> Result<Option<Bytes>, CallError> {
        let limits = self.service.limits();
        let bytes_max = limits
            .output_bytes_max
            .saturating_sub(self.written)
            .saturating_sub(AROUND_BYTES);
        let pulled = pulling.next(bytes_max).instrument(self.span.clone()).await;
        let redactor = &self.service.loaded.shared.redactor;
        let item = pulled.map_err(|error| redactor.error(error))?;
        match &item {
            Some(json) => {
                add(&entered.meters.output_bytes, json.len() as u64);
                self.count(json);
            }
            None => self.written = self.written.saturating_add(1),
        }
        self.usage = Usage {
            waited: entered.waited,
            ..pulling.usage(self.written)
        };
        if item.is_some() {
            self.guest = Some(Source::Cell(pulling, entered));
        }
        Ok(item)
    }

    /// An item and the comma before it.
    fn count(&mut self, json: &[u8]) {
        let comma = u64::from(self.written > 1);
        self.written = self.written.saturating_add(comma + json.len() as u64);
    }

    async fn make_here(&mut self, mut guest: Pulled) -> Result<Option<Bytes>, CallError> {
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
        if !matches!(self.place, Placing::Done) && self.written > first_bytes() {
            clock.delivered();
        }
        let pulling = Box::pin(pulling.instrument(self.span.clone()));
        let service = &self.service;
        let pulled = match self.place {
            Placing::Done => pulling.await,
            Placing::WithItsCaller => service.loaded.host.background.carry(clock, pulling).await,
            Placing::ByConduct => service.place(&self.payer, deadline, clock, pulling).await,
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
        self.count(&json);
        self.usage = guest.admitted.usage(self.written);
        self.guest = Some(Source::Here(guest));
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
