//! A response of a handler of `wasi:http` that is taken while the guest writes it.
//!
//! The guest runs while somebody asks for the next bytes, and at no other time; beyond those it can write a
//! chunk or two ahead. Its place, its memory and its limits hold until it has ended: what a handler does
//! after its response is part of the call.
//!
//! Not here: how long a reader may take, and what a part of a response costs.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::request::Request;
use http::response::Parts;
use http_body::{Body as _, Frame};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout_at;
use tracing::{Instrument as _, Span};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::guest::{Admitted, Hour, Means, within};
use super::written::Written;
use super::{CallContext, Outcome, Prepared, ResponseText, Service, Usage, http as requests};
use crate::cell::Cell;
use crate::clock::CpuClock;
use crate::error::CallError;
use crate::meters::{MethodMeters, add};
use crate::state::{Report, Shared};

/// A response whose head is there.
pub struct GuestResponse {
    service: Service,
    head: Bytes,
    status: u16,
    /// The next bytes on their way.
    asked: Option<Asked>,
    /// None while bytes are on their way, and once the response has ended.
    guest: Option<Responding>,
    /// What is left of a response that came whole, from a cell.
    whole: Option<Bytes>,
    written: Written,
    usage: Usage,
    payer: String,
    /// Whether whoever asks is where the call belongs already.
    placed: bool,
    span: Span,
}

type Asked = Pin<Box<dyn Future<Output = Result<(Responding, Option<Bytes>), CallError>> + Send>>;
type Running = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>;
type Answer = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

/// A guest that runs, and what it writes.
struct Responding {
    /// Until it has ended.
    guest: Option<Running>,
    /// How it ended.
    ended: Option<Result<(), CallError>>,
    /// Until all of it was taken.
    body: Option<HyperOutgoingBody>,
    clock: CpuClock,
    deadline: Instant,
    /// What the deadline follows from.
    hour: Hour,
    started: Instant,
    /// What it says of itself while it runs.
    report: Report,
    /// What was known at the door.
    entered: Usage,
    meters: Arc<MethodMeters>,
    shared: Arc<Shared>,
}

impl Service {
    /// Calls a handler of `wasi:http`: returns when the head of its response is there. The guest runs
    /// where those of [`Service::call`] do.
    ///
    /// Cancel-safe: dropping the future drops the instance.
    ///
    /// # Errors
    /// [`CallError`]; nothing may be charged for any of them (money rule M3).
    /// [`CallError::Internal`] if the method is no handler.
    pub async fn respond(
        &self,
        prepared: Prepared,
        context: CallContext,
    ) -> Result<GuestResponse, CallError> {
        let (means, span) = (self.means(), self.span(&prepared, &context));
        let clock = means.clock.clone();
        let (payer, deadline) = (context.payer.clone(), context.deadline);
        let opening = self
            .clone()
            .respond_on(prepared, context, means, span.clone());
        let opening = Box::pin(opening.instrument(span));
        let opened = self.place(&payer, deadline, clock, opening).await;
        opened
            .map_err(|error| self.loaded.shared.redactor.error(error))
            .inspect_err(|error| self.note(&payer, Some(error)))
    }

    /// The same on the calling task, in the call's span.
    pub(super) async fn respond_on(
        self,
        prepared: Prepared,
        context: CallContext,
        means: Means,
        span: Span,
    ) -> Result<GuestResponse, CallError> {
        if !prepared.signature.is_handler {
            return Err(CallError::Internal("the method is no handler".to_owned()));
        }
        if let Some(cell) = self.cell() {
            return Box::pin(self.respond_in_cell(cell, prepared, context, span)).await;
        }
        let payer = context.payer.clone();
        let mut admitted = self.admit(&prepared, context, means).await?;
        let report = admitted.store.data_mut().report();
        let request = requests::request(prepared.content.values()?)?;
        let (sender, receiver) = oneshot::channel();
        let mut responding = Responding {
            guest: None,
            ended: None,
            body: None,
            clock: admitted.clock.clone(),
            deadline: admitted.deadline,
            hour: admitted.hour(),
            started: admitted.started(),
            report,
            entered: admitted.usage(0),
            meters: Arc::clone(&admitted.meters),
            shared: Arc::clone(&self.loaded.shared),
        };
        let service = self.clone();
        responding.guest = Some(Box::pin(async move {
            let ran = run(&service, &mut admitted, request, sender).await;
            let state = admitted.store.data_mut();
            state.count_handles();
            state.tell();
            // The guest is done, and gone with its place: others need not wait for the reader.
            ran.map_err(|error| admitted.failed(&error))
        }));
        let parts = responding.head(receiver).await?;
        let head = head_text(&parts);
        let written = Written::new(head.len(), self.limits().output_bytes_max)?;
        let usage = responding.usage(written.part_bytes());
        Ok(GuestResponse {
            service: self,
            status: parts.status.as_u16(),
            head: Bytes::from(head),
            asked: None,
            guest: Some(responding),
            whole: None,
            written,
            usage,
            payer,
            placed: false,
            span,
        })
    }

    /// The response of a handler in a cell, which hands it over when it is whole.
    async fn respond_in_cell(
        &self,
        cell: &Cell,
        prepared: Prepared,
        context: CallContext,
        span: Span,
    ) -> Result<GuestResponse, CallError> {
        let payer = context.payer.clone();
        let called = self.call_in_cell(cell, prepared, context).await;
        let Outcome { body, usage } = match called {
            // A status of 500 or more: nothing is charged, and the reader gets it as it is.
            Err(CallError::Refused { error }) => Outcome {
                body: error,
                usage: Usage::default(),
            },
            other => other?,
        };
        let split = ResponseText::split(&body);
        let status = |head: &Bytes| {
            let head: Value = serde_json::from_slice(head).ok()?;
            let status = u16::try_from(head.get("status")?.as_u64()?).ok()?;
            (200..1_000).contains(&status).then_some(status)
        };
        let found = split.and_then(|(head, body)| Some((status(&head)?, head, body)));
        let (status, head, body) = found.ok_or_else(|| trapped("its response is none"))?;
        let written = Written::new(head.len(), self.limits().output_bytes_max)?;
        Ok(GuestResponse {
            service: self.clone(),
            head,
            status,
            asked: None,
            guest: None,
            whole: Some(body),
            usage: Usage {
                output_bytes: written.part_bytes(),
                ..usage
            },
            written,
            payer,
            placed: false,
            span,
        })
    }
}

impl GuestResponse {
    /// The same, for who asks for its bytes where the call runs anyway.
    pub(super) fn placed(self) -> Self {
        Self {
            placed: true,
            ..self
        }
    }

    /// The head as a JSON object: `status`, and `headers` as pairs of name and value.
    #[must_use]
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// The status code: 200 or more.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The next bytes of the body, at most 64 KiB; none at the end, and ever after.
    ///
    /// Cancel-safe: nothing is lost, and the guest stands still. It ends when the response is dropped.
    ///
    /// # Errors
    /// [`CallError`]: the response ends with it, after the bytes before.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        let made = self.make_next().await;
        let made = made.map_err(|error| self.service.loaded.shared.redactor.error(error));
        if !matches!(made, Ok(Some(_))) {
            self.service.note(&self.payer, made.as_ref().err());
        }
        made
    }

    /// The next bytes of what came whole.
    fn cut(&mut self, mut rest: Bytes) -> Result<Option<Bytes>, CallError> {
        if rest.is_empty() {
            self.usage.output_bytes = self.written.whole_bytes();
            return Ok(None);
        }
        let bytes = rest.split_to(rest.len().min(PIECE_BYTES_MAX));
        self.written.push(bytes.len())?;
        self.usage.output_bytes = self.written.part_bytes();
        self.whole = Some(rest);
        Ok(Some(bytes))
    }

    async fn make_next(&mut self) -> Result<Option<Bytes>, CallError> {
        if let Some(rest) = self.whole.take() {
            return self.cut(rest);
        }
        if let Some(guest) = self.guest.take() {
            let (clock, deadline) = (guest.clock.clone(), guest.deadline);
            if !self.placed && self.written.has_body() {
                clock.delivered();
            }
            let pulling = Box::pin(guest.pull().instrument(self.span.clone()));
            self.asked = Some(if self.placed {
                pulling
            } else {
                let (service, payer) = (self.service.clone(), self.payer.clone());
                Box::pin(async move { service.place(&payer, deadline, clock, pulling).await })
            });
        }
        let Some(asked) = &mut self.asked else {
            return Ok(None);
        };
        let pulled = asked.as_mut().await;
        self.asked = None;
        let (guest, bytes) = pulled?;
        if let Some(bytes) = &bytes {
            self.written.push(bytes.len())?;
        }
        if bytes.is_some() {
            self.usage = guest.usage(self.written.part_bytes());
            self.guest = Some(guest);
        } else {
            let text_bytes = self.written.whole_bytes();
            self.usage = guest.usage(text_bytes);
            add(&guest.meters.output_bytes, text_bytes);
        }
        Ok(bytes)
    }

    /// What was used up to the last bytes that were given, or up to the end once that was reached.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Takes the response to its end: the answer is its text.
    ///
    /// # Errors
    /// [`CallError`]; what came before it is thrown away. [`CallError::Refused`] with the text where its
    /// status is 500 or more.
    pub async fn collect(mut self) -> Result<Outcome, CallError> {
        let mut text = ResponseText::new(&self.head);
        while let Some(bytes) = self.next().await? {
            text.push(&bytes);
        }
        self.finish(text)
    }

    /// What a response that came to its end answers, of all its bytes.
    ///
    /// # Errors
    /// [`CallError::Refused`] where its status is 500 or more.
    pub fn finish(self, text: ResponseText) -> Result<Outcome, CallError> {
        let body = text.finish();
        if self.status >= 500 {
            let refused = CallError::Refused { error: body };
            let shared = &self.service.loaded.shared;
            shared.meters.failed(&refused);
            return Err(shared.redactor.error(refused));
        }
        Ok(Outcome {
            body,
            usage: self.usage,
        })
    }
}

impl Responding {
    /// Waits for the head.
    async fn head(&mut self, mut receiver: oneshot::Receiver<Answer>) -> Result<Parts, CallError> {
        let (clock, deadline) = (self.clock.clone(), self.deadline);
        let waiting = poll_fn(|context| {
            // The guest first: if it failed, its own error says more.
            let _ = self.run(context);
            if let Some(Err(error)) = &self.ended {
                return Poll::Ready(Err(error.clone()));
            }
            let answer = ready!(Pin::new(&mut receiver).poll(context));
            Poll::Ready(answer.map_err(|_| trapped("it gave no response")))
        });
        let answer = within(&clock, deadline, waiting).await;
        let answer = answer.unwrap_or_else(|| Err(self.late()))?;
        let answer = answer.map_err(|error| trapped(&format!("it answered with {error}")))?;
        let (parts, body) = answer.into_parts();
        let status = parts.status.as_u16();
        if status < 200 {
            let problem = format!("it answered with status {status}, which ends nothing");
            return Err(trapped(&problem));
        }
        self.body = Some(body);
        Ok(parts)
    }

    /// Waits for the next bytes, or for the guest's end after the last.
    async fn pull(mut self) -> Result<(Self, Option<Bytes>), CallError> {
        let (clock, deadline) = (self.clock.clone(), self.deadline);
        let pulling = poll_fn(|context| self.poll(context));
        let pulled = within(&clock, deadline, pulling).await;
        let bytes = pulled.unwrap_or_else(|| Err(self.late()))?;
        self.kept().await?;
        Ok((self, bytes))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        loop {
            // What is written goes first: the guest writes more when somebody wants it.
            if let Poll::Ready(Some(bytes)) = self.poll_body(context)? {
                return Poll::Ready(Ok(Some(bytes)));
            }
            match &self.ended {
                None => {}
                Some(Err(error)) => return Poll::Ready(Err(error.clone())),
                Some(Ok(())) if self.body.is_none() => return Poll::Ready(Ok(None)),
                Some(Ok(())) => return Poll::Pending,
            }
            if self.run(context).is_pending() {
                // It may have written just now.
                return match self.poll_body(context)? {
                    Poll::Ready(Some(bytes)) => Poll::Ready(Ok(Some(bytes))),
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                };
            }
        }
    }

    /// The next bytes, if they are there; none after the last.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Result<Poll<Option<Bytes>>, CallError> {
        while let Some(body) = &mut self.body {
            match pin!(body).poll_frame(context) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Ok(frame))) => match Frame::into_data(frame) {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Poll::Ready(Some(bytes))),
                    // Trailers are not passed on.
                    Ok(_) | Err(_) => {}
                },
                Poll::Ready(Some(Err(error))) => {
                    return Err(trapped(&format!("its response ended early: {error}")));
                }
            }
        }
        Ok(Poll::Ready(None))
    }

    /// Lets the guest run until it waits for something, or has ended.
    fn run(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(guest) = &mut self.guest {
            let ended = ready!(guest.as_mut().poll(context));
            self.guest = None;
            self.ended = Some(ended);
        }
        Poll::Ready(())
    }

    /// Waits until all that the call has read or written is durable, as far as the bytes may tell of it.
    fn kept(&self) -> impl Future<Output = Result<(), CallError>> + Send + use<> {
        let run = self.report.state_run();
        let syncing = run.map(|run| self.shared.key_value.sync(run));
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

    /// The wall time is over.
    fn late(&self) -> CallError {
        self.hour.late(&self.clock)
    }

    fn usage(&self, output_bytes: u64) -> Usage {
        Usage {
            waited: self.entered.waited,
            wall_time: self.started.elapsed(),
            input_bytes: self.entered.input_bytes,
            output_bytes,
            guest_time: self.clock.used(),
            ..self.report.usage()
        }
    }
}

/// Instantiates and handles.
async fn run(
    service: &Service,
    guest: &mut Admitted,
    request: Request<Full<Bytes>>,
    sender: oneshot::Sender<Answer>,
) -> wasmtime::Result<()> {
    let instance = guest.instantiate(service).await?;
    let store = &mut guest.store;
    let proxy = Proxy::new(&mut *store, &instance)?;
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam(sender)?;
    let handler = proxy.wasi_http_incoming_handler();
    let handling = handler.call_handle(&mut *store, request, out);
    handling.instrument(tracing::info_span!("guest.run")).await
}

/// The head as JSON.
fn head_text(parts: &Parts) -> String {
    let headers: Vec<Value> = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json!({ "status": parts.status.as_u16(), "headers": headers }).to_string()
}

/// The most bytes that are given at once of what came whole.
const PIECE_BYTES_MAX: usize = 64 << 10;

fn trapped(problem: &str) -> CallError {
    CallError::Trapped(problem.to_owned())
}

impl fmt::Debug for GuestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestResponse")
            .field("status", &self.status)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
