//! What a guest in a cell asks for and a cell does not have: models, answers from elsewhere, keys and values.
//!
//! Each is asked of the host, which decides as if it trusted nobody here.
//!
//! Elsewhere: other services ([`super::hiring`]). Non-goals: language models. A service that has one is not put into a cell.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use rialto_compute::{Abilities, Model, Port, RunError, Tensor};
use tokio::sync::oneshot;

use super::child::Out;
use super::values::{Answer, Form, KeyFound, KeyResult, KeyTask, KeyWant, Want, tensors};
use super::wire::ToHost;
use crate::keyvalue::{
    Bucket, KeyChange, KeyChanged, KeyEntry, KeyStart, KeyValue, KeyValueAnswer, KeyValueError,
};
use crate::model::{Models, OpenError};
use crate::outbound::{Outbound, OutboundAnswer, OutboundBody, OutboundError};

type Waiter = Box<dyn FnOnce(Answer, Bytes) + Send>;

/// What calls have asked the host for and wait for.
pub(super) struct Wants {
    out: Arc<Out>,
    last: AtomicU64,
    /// With whose it is.
    waiting: Mutex<HashMap<u64, (u64, Waiter)>>,
    /// What is known of models, by name: they do not change while the cell lives.
    models: Mutex<HashMap<String, Arc<About>>>,
}

impl Wants {
    pub(super) fn new(out: Arc<Out>) -> Self {
        Self {
            out,
            last: AtomicU64::new(0),
            waiting: Mutex::default(),
            models: Mutex::default(),
        }
    }

    /// Asks, and has `waiter` told; it is dropped when the call ends first.
    fn ask(&self, call: u64, want: Want, payload: Vec<Bytes>, waiter: Waiter) {
        let request = self.last.fetch_add(1, Ordering::Relaxed);
        self.waiting().insert(request, (call, waiter));
        let message = ToHost::Want {
            request,
            call,
            want,
        };
        self.out.say(&message, payload);
    }

    /// Says what needs no answer.
    pub(super) fn tell(&self, call: u64, want: Want) {
        self.ask(call, want, Vec::new(), Box::new(|_, _| {}));
    }

    /// Asks and blocks until the answer is there; none when the call has ended.
    fn ask_here(&self, call: u64, want: Want, payload: Vec<Bytes>) -> Option<(Answer, Bytes)> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let waiter = move |answer, payload| {
            // Nobody waits any more if the call has ended.
            let _ = sender.send((answer, payload));
        };
        self.ask(call, want, payload, Box::new(waiter));
        receiver.recv().ok()
    }

    /// Asks; the receiver's end is an error when the call has ended.
    pub(super) fn ask_later(
        &self,
        call: u64,
        want: Want,
        payload: Vec<Bytes>,
    ) -> oneshot::Receiver<(Answer, Bytes)> {
        let (sender, receiver) = oneshot::channel();
        let waiter = move |answer, payload| {
            // Nobody waits any more if the call has ended.
            let _ = sender.send((answer, payload));
        };
        self.ask(call, want, payload, Box::new(waiter));
        receiver
    }

    pub(super) fn answered(&self, request: u64, answer: Answer, payload: Bytes) {
        let waiter = self.waiting().remove(&request);
        if let Some((_, waiter)) = waiter {
            waiter(answer, payload);
        }
    }

    /// Whoever waits for a call that has ended waits no more.
    pub(super) fn forget(&self, ended: u64) {
        self.waiting().retain(|_, (call, _)| *call != ended);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, (u64, Waiter)>> {
        // No step under these locks leaves something half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn models(&self) -> MutexGuard<'_, HashMap<String, Arc<About>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host's models, for one call.
pub(super) struct CellModels {
    wants: Arc<Wants>,
    call: u64,
}

impl CellModels {
    pub(super) fn new(wants: &Arc<Wants>, call: u64) -> Self {
        Self {
            wants: Arc::clone(wants),
            call,
        }
    }

    fn model(&self, about: Arc<About>) -> Arc<dyn Model> {
        Arc::new(CellModel {
            wants: Arc::clone(&self.wants),
            call: self.call,
            about,
        })
    }
}

impl Models for CellModels {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError> {
        let want = Want::Open {
            name: name.to_owned(),
        };
        let described = match self.wants.ask_here(self.call, want, Vec::new()) {
            Some((Answer::Model(described), _)) => described.into_parts(),
            Some((Answer::NotOpened(error), _)) => return Err(error),
            _ => None,
        };
        let (inputs, outputs, abilities, metadata) =
            described.ok_or_else(|| OpenError::Engine(LOST.to_owned()))?;
        let about = Arc::new(About {
            name: name.to_owned(),
            inputs,
            outputs,
            abilities,
            metadata,
        });
        let known = (name.to_owned(), Arc::clone(&about));
        self.wants.models().extend([known]);
        Ok(self.model(about))
    }

    fn loaded(&self, name: &str) -> Option<Arc<dyn Model>> {
        let about = self.wants.models().get(name).cloned();
        about.map(|about| self.model(about))
    }
}

/// What does not change of a model.
#[derive(Debug)]
struct About {
    name: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    abilities: Abilities,
    metadata: Vec<(String, String)>,
}

/// A model of the host's, for one call.
struct CellModel {
    wants: Arc<Wants>,
    call: u64,
    about: Arc<About>,
}

impl fmt::Debug for CellModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CellModel({})", self.about.name)
    }
}

impl Model for CellModel {
    fn inputs(&self) -> &[Port] {
        &self.about.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.about.outputs
    }

    fn abilities(&self) -> &Abilities {
        &self.about.abilities
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.about.metadata.clone()
    }

    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        let payload = inputs.iter().map(|(_, tensor)| tensor.data().clone());
        let payload = payload.collect();
        let forms = inputs
            .iter()
            .map(|(name, tensor)| (name.clone(), Form::of(tensor)));
        let want = Want::Run {
            model: self.about.name.clone(),
            inputs: forms.collect(),
            outputs: outputs.to_vec(),
        };
        let found = match self.wants.ask_here(self.call, want, payload) {
            Some((Answer::Tensors(forms), payload)) => tensors(&forms, payload),
            Some((Answer::NotRun(error), _)) => return Err(error),
            _ => None,
        };
        found.ok_or_else(|| RunError::Engine(LOST.to_owned()))
    }
}

/// Requests over HTTP by way of the host, for one call.
pub(super) struct CellOutbound {
    wants: Arc<Wants>,
    call: u64,
}

impl CellOutbound {
    pub(super) fn new(wants: &Arc<Wants>, call: u64) -> Self {
        Self {
            wants: Arc::clone(wants),
            call,
        }
    }
}

impl fmt::Debug for CellOutbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CellOutbound({})", self.call)
    }
}

impl Outbound for CellOutbound {
    fn send(&self, request: Request<Bytes>, deadline: Instant) -> OutboundAnswer {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.iter();
        let want = Want::Send {
            method: parts.method.to_string(),
            url: parts.uri.to_string(),
            headers: headers
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
            left: deadline.saturating_duration_since(Instant::now()),
        };
        let (wants, call) = (Arc::clone(&self.wants), self.call);
        Box::pin(async move {
            match wants.ask_later(call, want, vec![body]).await {
                Ok((
                    Answer::Response {
                        status,
                        headers,
                        body,
                    },
                    _,
                )) => response(wants, call, status, headers, body),
                Ok((Answer::NotSent(error), _)) => Err(error),
                Ok(_) | Err(_) => Err(OutboundError::Failed(LOST.to_owned())),
            }
        })
    }
}

fn response(
    wants: Arc<Wants>,
    call: u64,
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: u64,
) -> Result<Response<OutboundBody>, OutboundError> {
    let lost = |_| OutboundError::Failed(LOST.to_owned());
    let pieces = Pieces {
        wants,
        call,
        body,
        next: None,
        over: false,
    };
    let mut response = Response::new(pieces.boxed_unsync());
    *response.status_mut() = status.try_into().map_err(|_| lost(()))?;
    for (name, value) in headers {
        let name: HeaderName = name.parse().map_err(|_| lost(()))?;
        let value = HeaderValue::from_bytes(&value).map_err(|_| lost(()))?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// A body that is asked for piece by piece.
struct Pieces {
    wants: Arc<Wants>,
    call: u64,
    body: u64,
    next: Option<oneshot::Receiver<(Answer, Bytes)>>,
    over: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let want = Want::More { body: self.body };
        let (wants, call) = (Arc::clone(&self.wants), self.call);
        let next = self
            .next
            .get_or_insert_with(|| wants.ask_later(call, want, Vec::new()));
        let answer = ready!(Pin::new(next).poll(cx));
        self.next = None;
        Poll::Ready(match answer {
            Ok((Answer::Piece { last: true }, _)) => {
                self.over = true;
                None
            }
            Ok((Answer::Piece { last: false }, piece)) => Some(Ok(Frame::data(piece))),
            Ok((Answer::NotSent(error), _)) => {
                self.over = true;
                Some(Err(error))
            }
            Ok(_) | Err(_) => {
                self.over = true;
                Some(Err(OutboundError::Failed(LOST.to_owned())))
            }
        })
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if !self.over {
            self.wants.tell(self.call, Want::Close { body: self.body });
        }
    }
}

/// The host's keys and values, for one call. What the call has seen is made durable by the host, before the
/// answer leaves it.
pub(super) struct CellKeyValue {
    wants: Arc<Wants>,
    call: u64,
    /// What the host takes as one message.
    bytes_max: u64,
}

impl CellKeyValue {
    pub(super) fn new(wants: &Arc<Wants>, call: u64, bytes_max: u64) -> Self {
        Self {
            wants: Arc::clone(wants),
            call,
            bytes_max,
        }
    }

    fn ask<T>(
        &self,
        bucket: &Bucket,
        what: KeyTask,
        taken: fn(KeyResult) -> Option<T>,
    ) -> KeyValueAnswer<T>
    where
        T: Send + 'static,
    {
        let want = KeyWant {
            of_payer: !bucket.payer.is_empty(),
            what,
        };
        let lost = || KeyValueError(LOST.to_owned());
        let fits =
            |bytes: &Vec<u8>| u64::try_from(bytes.len()).is_ok_and(|it| it <= self.bytes_max);
        let Some(want) = postcard::to_allocvec(&want).ok().filter(fits) else {
            let text = format!("a change has at most {} bytes", self.bytes_max);
            return Box::pin(async move { Err(KeyValueError(text)) });
        };
        let (wants, call) = (Arc::clone(&self.wants), self.call);
        Box::pin(async move {
            let answer = wants.ask_later(call, Want::Keys, vec![want.into()]).await;
            let Ok((Answer::Keys, found)) = answer else {
                return Err(lost());
            };
            let found: KeyFound = postcard::from_bytes(&found).map_err(|_| lost())?;
            taken(found.map_err(KeyValueError)?).ok_or_else(lost)
        })
    }
}

impl fmt::Debug for CellKeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CellKeyValue({})", self.call)
    }
}

impl KeyValue for CellKeyValue {
    fn run(&self) -> u64 {
        0
    }

    fn get(
        &self,
        bucket: Bucket,
        keys: Vec<String>,
        _: u64,
    ) -> KeyValueAnswer<Vec<Option<KeyEntry>>> {
        self.ask(&bucket, KeyTask::Get(keys), |result| match result {
            KeyResult::Entries(entries) => Some(entries),
            KeyResult::Keys(_) | KeyResult::Changed(_) => None,
        })
    }

    fn list(&self, bucket: Bucket, start: KeyStart, count: usize) -> KeyValueAnswer<Vec<String>> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.ask(
            &bucket,
            KeyTask::List(start, count),
            |result| match result {
                KeyResult::Keys(keys) => Some(keys),
                KeyResult::Entries(_) | KeyResult::Changed(_) => None,
            },
        )
    }

    fn change(&self, bucket: Bucket, change: KeyChange, _: u64) -> KeyValueAnswer<KeyChanged> {
        self.ask(&bucket, KeyTask::Change(change), |result| match result {
            KeyResult::Changed(changed) => Some(changed),
            KeyResult::Entries(_) | KeyResult::Keys(_) => None,
        })
    }

    fn sync(&self, _: u64) -> KeyValueAnswer<()> {
        Box::pin(async { Ok(()) })
    }
}

/// What is asked for when nobody can answer any more.
pub(super) const LOST: &str = "the host did not answer";
