//! What the host hears from a cell: answers, items, lines of log, and what it wants of the host.
//!
//! Nothing of it is believed: what does not fit is an error, which ends the cell.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::io::BufReader;
use tokio::net::unix::OwnedReadHalf;
use tracing::{Instrument as _, Level};

use super::super::calling::{Ended, Event};
use super::super::values::{Answer, Want};
use super::super::wire::{self, Frame, Spent, ToCell, ToHost, nonsense};
use super::{Awaited, Entry, Link, READ_BYTES, SLACK_BYTES, Why, lock};
use crate::capabilities::log::forward;
use crate::error::CallError;

impl Link {
    /// Hears the cell out, until it says nothing more or nonsense.
    pub(super) async fn listen(self: Arc<Self>, read: OwnedReadHalf) {
        let mut from = BufReader::with_capacity(READ_BYTES, read);
        let limits = &self.kin.shared.limits;
        let payload_max = limits
            .output_bytes_max
            .max(limits.tensor_bytes_max)
            .max(limits.transfer_bytes_max)
            .max(limits.key_value_bytes_max)
            .saturating_add(SLACK_BYTES);
        let fault = loop {
            let heard = wire::receive(&mut from, payload_max).await;
            let taken = match heard {
                Ok((message, payload)) => self.take(message, payload).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                break error;
            }
        };
        let over = fault.kind() == io::ErrorKind::UnexpectedEof
            || fault.kind() == io::ErrorKind::ConnectionReset;
        self.end(if over {
            Why::Over
        } else {
            Why::Fault(format!("it spoke nonsense: {fault}"))
        });
    }

    async fn take(self: &Arc<Self>, message: ToHost, payload: Bytes) -> io::Result<()> {
        match message {
            ToHost::Done { call, usage, spent } => {
                self.check_json(&payload)?;
                self.tell(call, Ok((payload, usage)), &spent)
            }
            ToHost::Failed {
                call,
                failure,
                spent,
            } => {
                if !payload.is_empty() {
                    self.check_json(&payload)?;
                }
                self.tell(call, Err(failure.error(payload)), &spent)
            }
            ToHost::Ended { call, spent } => {
                let ended = Err(CallError::Internal("it was given up".to_owned()));
                self.tell(call, ended, &spent)
            }
            ToHost::Opened { call, usage } => {
                self.pass(call, Awaited::Stream, Event::Opened(usage))
            }
            ToHost::Item { call, usage } => {
                self.check_json(&payload)?;
                self.pass(call, Awaited::Item, Event::Item(payload, usage))
            }
            ToHost::Lines {
                call,
                lines,
                dropped,
            } => {
                self.log(call, lines, dropped);
                Ok(())
            }
            ToHost::Want {
                request,
                call,
                want,
            } => self.fulfil(request, call, want, payload).await,
            ToHost::Ready { .. } | ToHost::Unable { .. } => Err(nonsense("it began anew")),
        }
    }

    /// What goes out as JSON is JSON, whoever wrote it, and no longer than the service's limit.
    fn check_json(&self, payload: &Bytes) -> io::Result<()> {
        if serde_json::from_slice::<IgnoredAny>(payload).is_err() {
            return Err(nonsense("a result is no JSON"));
        }
        let bytes_max = self.kin.shared.limits.output_bytes_max;
        if u64::try_from(payload.len()).is_ok_and(|bytes| bytes > bytes_max) {
            return Err(nonsense("a result is too long"));
        }
        Ok(())
    }

    /// What comes of a call before its end.
    fn pass(&self, call: u64, what: Awaited, event: Event) -> io::Result<()> {
        let mut state = self.state();
        let Some(entry) = state.calls.get_mut(&call) else {
            return Err(nonsense("a call that there is not"));
        };
        // Of one that was given up it need not know yet.
        let Some(answer) = entry.answer.clone() else {
            return Ok(());
        };
        if entry.awaited != what {
            return Err(nonsense("a word that nobody waits for"));
        }
        entry.awaited = Awaited::Nothing;
        drop(state);
        answer
            .try_send(event)
            .map_err(|_| nonsense("a word too many"))
    }

    /// A call's end.
    fn tell(&self, call: u64, ended: Ended, spent: &Spent) -> io::Result<()> {
        let entry = {
            let mut state = self.state();
            let entry = state.calls.remove(&call);
            state.idle_since = Instant::now();
            entry
        };
        let Some(entry) = entry else {
            return Err(nonsense("a call that there is not"));
        };
        let unasked = match entry.awaited {
            Awaited::Nothing => true,
            // One that is to return a stream has no result, but may fail.
            Awaited::Stream => ended.is_ok(),
            Awaited::Result | Awaited::Item => false,
        };
        self.count(&entry, &ended, spent);
        if let Some(answer) = entry.answer {
            if unasked {
                return Err(nonsense("a word that nobody waits for"));
            }
            // Nobody waits any more if the call was given up just now.
            let _ = answer.try_send(Event::Ended(ended));
        }
        lock(&self.kin.quarantine).succeeded(&self.kin.digest);
        Ok(())
    }

    /// Counts what a call used, as far as it can be true.
    fn count(&self, entry: &Entry, ended: &Ended, spent: &Spent) {
        let (shared, wall) = (&self.kin.shared, entry.started.elapsed());
        let guest = spent.guest_time.min(shared.limits.cpu_max).min(wall);
        entry.meters.guest.observe(guest);
        let own = match ended {
            Ok((_, usage)) if self.kin.operations => usage.device_time.min(wall),
            _ => Duration::ZERO,
        };
        let device = own.max(entry.desk.had().device_time);
        if !device.is_zero() {
            entry.meters.device.observe(device);
        }
        let peak = spent.memory_peak.min(shared.limits.memory_bytes_max);
        shared.meters.grew(peak, peak);
        shared.meters.freed(peak);
        for (limit, times) in spent.told() {
            let times = times.min(shared.limits.host_calls_max);
            shared.meters.breaches(limit, times);
        }
    }

    fn log(&self, call: u64, lines: Vec<(u8, String)>, dropped: u64) {
        let mut state = self.state();
        let Some(entry) = state.calls.get_mut(&call) else {
            return;
        };
        let left = usize::try_from(entry.lines_left).unwrap_or(usize::MAX);
        let more = lines.len().saturating_sub(left);
        let call_id = entry.call_id.clone();
        let kept = u32::try_from(lines.len().min(left)).unwrap_or(u32::MAX);
        entry.lines_left = entry.lines_left.saturating_sub(kept);
        drop(state);
        let level = |number| match number {
            0 => Level::ERROR,
            1 => Level::WARN,
            2 => Level::INFO,
            _ => Level::DEBUG,
        };
        let lines = lines.into_iter().take(left);
        let lines = lines.map(|(number, line)| (level(number), line)).collect();
        let dropped = dropped.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        let shared = &self.kin.shared;
        let whose = (shared.service.as_str(), call_id.as_str());
        forward(whose, &shared.redactor, lines, dropped);
    }

    /// Sees to what a call needs, on a task of its own.
    async fn fulfil(
        self: &Arc<Self>,
        request: u64,
        call: u64,
        want: Want,
        payload: Bytes,
    ) -> io::Result<()> {
        let wish = Arc::clone(&self.wishes).acquire_owned().await;
        let wish = wish.map_err(io::Error::other)?;
        let mut state = self.state();
        let Some(entry) = state.calls.get_mut(&call) else {
            drop(state);
            // It may have ended while somebody there was about to ask for it.
            let answer = Answer::NotSent(crate::OutboundError::Late);
            return self.answer_now(request, answer);
        };
        if entry.desk.count().is_err() {
            return Err(nonsense("a call asks for more than any may"));
        }
        while entry.tasks.try_join_next().is_some() {}
        let (desk, to) = (Arc::clone(&entry.desk), self.to.clone());
        let work = async move {
            let served = desk.serve(request, want, payload).await;
            if let Some((answer, content)) = served
                && let Ok(frame) = Frame::new(&ToCell::Answer { request, answer }, content)
            {
                // Without a writer the cell has ended.
                let _ = to.send(frame).await;
            }
            drop(wish);
        };
        let work = work.instrument(entry.span.clone());
        entry.tasks.spawn_on(work, &self.runtime);
        Ok(())
    }

    fn answer_now(&self, request: u64, answer: Answer) -> io::Result<()> {
        let frame = Frame::new(&ToCell::Answer { request, answer }, Vec::new())?;
        let sent = self.to.try_send(frame);
        sent.map_err(|_| nonsense("it asks and does not listen"))
    }
}
