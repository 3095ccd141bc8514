//! A call in a cell as its caller has it: what is asked, what comes of it, and what it used.
//!
//! Nothing is answered before what the call read or wrote of the service's state is durable; the host sees
//! to that itself, whatever the cell says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::link::Link;
use super::meter::{Known, UNCERTAIN, bounded};
use super::serving::Desk;
use super::wire::{self, Frame, ToCell};
use crate::error::CallError;
use crate::hires::Hirer;
use crate::meters::MethodMeters;
use crate::service::{Arguments, Usage, late};

/// A call that was let in.
pub(crate) struct Asking {
    pub(crate) call_id: String,
    /// Who pays; empty for nobody. The cell learns only whether somebody does.
    pub(crate) payer: String,
    pub(crate) method: String,
    /// The method's counts.
    pub(crate) meters: Arc<MethodMeters>,
    /// When it came to the door.
    pub(crate) started: Instant,
    /// When it ends at the latest.
    pub(crate) deadline: Instant,
    /// Calls other services for it.
    pub(crate) hirer: Arc<dyn Hirer>,
    /// Host memory that it leaves to a call that it waits for, in bytes.
    pub(crate) lends: u64,
}

/// A call, as the host has prepared it.
pub(crate) struct Asked {
    pub(super) asking: Asking,
    pub(super) form: wire::Form,
    pub(super) payload: Vec<Bytes>,
    pub(super) input_bytes: u64,
    /// Whether its answer comes item by item.
    pub(super) streams: bool,
}

impl Asked {
    /// A call with these arguments.
    ///
    /// # Errors
    /// A part of four gibibytes or more.
    pub(crate) fn new(arguments: Arguments, asking: Asking) -> Result<Self, CallError> {
        let (form, payload) = formed(arguments)?;
        let bytes = payload.iter().map(Bytes::len).sum::<usize>();
        Ok(Self {
            asking,
            form,
            payload,
            input_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            streams: false,
        })
    }
}

fn formed(arguments: Arguments) -> Result<(wire::Form, Vec<Bytes>), CallError> {
    Ok(match arguments {
        Arguments::Json(json) => (wire::Form::Json, vec![json]),
        Arguments::Raw(raw) => (wire::Form::Raw, vec![raw]),
        Arguments::Parts(parts) => {
            let mut names = Vec::with_capacity(parts.len());
            let mut contents = Vec::with_capacity(parts.len());
            for part in parts {
                let bytes = u32::try_from(part.content.len())
                    .map_err(|_| CallError::Internal("a part is too long".to_owned()))?;
                names.push((part.name, bytes));
                contents.push(part.content);
            }
            (wire::Form::Parts(names), contents)
        }
    })
}

/// What a cell says of a call, with what the call used so far, if the cell is to be believed.
pub(super) enum Event {
    /// It has returned a stream.
    Opened(Usage),
    /// The stream's next item.
    Item(Bytes, Usage),
    /// It is over.
    Ended(Ended),
}

/// How a call ended in the cell: of a stream there is nothing but the end.
pub(super) type Ended = Result<(Bytes, Usage), CallError>;

/// A call in a cell. Dropped, it is given up there.
pub(super) struct Running {
    pub(super) link: Arc<Link>,
    pub(super) call: u64,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) desk: Arc<Desk>,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) input_bytes: u64,
    /// The cell's processor time when the call began.
    pub(super) before: Option<Duration>,
}

impl Running {
    /// Waits for the call's end.
    pub(super) async fn finish(mut self) -> Result<(Bytes, Usage), CallError> {
        match self.event().await? {
            Event::Ended(ended) => {
                let (body, said) = ended?;
                let used = self.used(&said, u64::try_from(body.len()).unwrap_or(u64::MAX));
                Ok((body, used))
            }
            Event::Opened(_) | Event::Item(..) => Err(astray()),
        }
    }

    /// Waits until the call has returned its stream.
    pub(super) async fn opened(mut self) -> Result<Pulling, CallError> {
        match self.event().await? {
            Event::Opened(said) => Ok(Pulling {
                running: self,
                said,
            }),
            Event::Ended(Err(error)) => Err(error),
            Event::Ended(Ok(_)) | Event::Item(..) => Err(astray()),
        }
    }

    async fn event(&mut self) -> Result<Event, CallError> {
        let heard = timeout_at(self.deadline.into(), self.events.recv()).await;
        let event = heard.map_err(|_| self.late())?;
        // Who stops the process says so before.
        let event = event.ok_or_else(|| CallError::CellEnded("it was stopped".to_owned()))?;
        match &event {
            // The host's clock decides, and says the same at both levels.
            Event::Ended(Err(CallError::TimedOut { .. })) => return Err(self.late()),
            Event::Ended(Err(_)) => return Ok(event),
            Event::Opened(_) => return Ok(event),
            Event::Item(..) | Event::Ended(Ok(_)) => {}
        }
        let kept = timeout_at(self.deadline.into(), self.desk.kept()).await;
        kept.map_err(|_| self.late())?.map_err(CallError::State)?;
        Ok(event)
    }

    /// The wall time is over; whether the guest was busy is judged by what the whole cell used meanwhile.
    fn late(&self) -> CallError {
        let used = self.link.processor_time().zip(self.before);
        let used = used.map(|(now, before)| now.saturating_sub(before));
        let allowed = self.deadline.saturating_duration_since(self.started);
        let usual = self.desk.limits().wall_max;
        CallError::TimedOut {
            limit_ms: u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX),
            busy: used.is_some_and(|used| used >= usual / 2),
        }
    }

    /// The part of what the cell says that can be true.
    fn used(&self, said: &Usage, output_bytes: u64) -> Usage {
        let now = self.link.processor_time();
        let used = |(now, before): (Duration, Duration)| {
            now.saturating_sub(before).saturating_add(UNCERTAIN)
        };
        let known = Known {
            wall: self.started.elapsed(),
            processor: now.zip(self.before).map(used),
            input_bytes: self.input_bytes,
            output_bytes,
            had: self.desk.had(),
            hired: self.desk.spent(),
            operations: self.link.does_operations(),
        };
        bounded(said, &known, self.desk.limits())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to do for one that has ended.
        self.link.give_up(self.call);
        self.desk.close();
    }
}

/// A stream whose guest is in a cell.
pub(crate) struct Pulling {
    running: Running,
    /// What the cell said last.
    said: Usage,
}

impl Pulling {
    /// The next item, of at most `bytes_max` bytes; none at the end.
    ///
    /// # Errors
    /// [`CallError`]: the stream ends with it.
    pub(crate) async fn next(&mut self, bytes_max: u64) -> Result<Option<Bytes>, CallError> {
        let call = self.running.call;
        let frame = Frame::new(&ToCell::Next { call }, Vec::new());
        let frame = frame.map_err(|error| CallError::Internal(error.to_string()))?;
        let (started, deadline) = (self.running.started, self.running.deadline);
        let told = timeout_at(deadline.into(), self.running.link.pull(call, frame)).await;
        told.map_err(|_| late(started, deadline))?;
        match self.running.event().await? {
            Event::Item(json, said) => {
                self.said = said;
                if u64::try_from(json.len()).is_ok_and(|bytes| bytes <= bytes_max) {
                    return Ok(Some(json));
                }
                Err(CallError::OutputTooLarge {
                    bytes_max: self.running.desk.limits().output_bytes_max,
                })
            }
            Event::Ended(ended) => {
                (_, self.said) = ended?;
                Ok(None)
            }
            Event::Opened(_) => Err(astray()),
        }
    }

    /// What was used so far, with so many bytes as its answer.
    pub(crate) fn usage(&self, output_bytes: u64) -> Usage {
        self.running.used(&self.said, output_bytes)
    }
}

/// What the link does not let through.
fn astray() -> CallError {
    CallError::Internal("a cell's word for another kind of call".to_owned())
}
