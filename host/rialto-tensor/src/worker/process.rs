//! The host's side of one worker: started, asked, and ended in time.

use std::{
    io::{self, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Program,
    wire::{self, Allowance, Form, Reply},
};
use crate::Tensor;

/// A worker that answers one request at a time. Ended with its process when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Both directions of one socket.
    from: BufReader<UnixStream>,
    to: UnixStream,
}

/// Why a worker did not answer. It is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It took too long.
    #[error("it did not answer within {:.1} s and was ended", .0.as_secs_f64())]
    Late(Duration),
    /// Its process ended.
    #[error("its process ended: {0}")]
    Ended(String),
    /// It answered nonsense.
    #[error("its process answered nonsense: {0}")]
    Nonsense(io::Error),
}

impl Process {
    /// Starts a worker.
    ///
    /// # Errors
    /// The system's, when there can be no such process.
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = program.start(OwnedFd::from(theirs))?;
        let to = ours.try_clone();
        let process = to.map(|to| (to, BufReader::with_capacity(HEADERS_BYTES, ours)));
        match process {
            Ok((to, from)) => Ok(Self { child, from, to }),
            Err(error) => {
                end(child);
                Err(error)
            }
        }
    }

    /// Asks and waits for the answer. After a fault the process must not be used again.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn ask(
        &mut self,
        request: &impl Serialize,
        runs: &[&[u8]],
        until: Deadline,
    ) -> Result<Reply, Fault> {
        let result = wire::write(&mut until.on(&self.to), request, runs)
            .and_then(|()| wire::read_header(&mut until.buffered(&mut self.from)));
        result.map_err(|error| self.fault(error, until))
    }

    /// Reads the tensors that a reply announced.
    ///
    /// # Errors
    /// [`Fault`].
    pub(super) fn tensors(
        &mut self,
        forms: &[Form],
        allowance: Allowance,
        until: Deadline,
    ) -> Result<Vec<Tensor>, Fault> {
        let result = wire::read_tensors(&mut until.buffered(&mut self.from), forms, allowance);
        result.map_err(|error| self.fault(error, until))
    }

    fn fault(&mut self, error: io::Error, until: Deadline) -> Fault {
        let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        let over = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::WriteZero,
        ];
        if late.contains(&error.kind()) {
            Fault::Late(until.length)
        } else if over.contains(&error.kind()) {
            // It has closed its socket, so it has ended or is about to.
            Fault::Ended(match self.ended(until) {
                Some(status) => status.to_string(),
                None => "it closed its socket".to_owned(),
            })
        } else {
            Fault::Nonsense(error)
        }
    }

    /// How the process ended. The socket closes a moment before the process can be waited for.
    fn ended(&mut self, until: Deadline) -> Option<ExitStatus> {
        let until = until.end.min(Instant::now() + ENDING_TIME_MAX);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(ENDING_STEP),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// This worker, unless its process has ended.
    pub(super) fn if_running(mut self) -> Option<Self> {
        match self.child.try_wait() {
            Ok(None) => Some(self),
            Ok(Some(_)) | Err(_) => None,
        }
    }

    #[cfg(test)]
    pub(super) fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    /// The process's id, while it is not dropped.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended before it is waited for: the id cannot have passed to another process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Until when an answer must be there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    end: Instant,
    length: Duration,
}

impl Deadline {
    pub(super) fn after(length: Duration) -> Self {
        let now = Instant::now();
        let end = now.checked_add(length).unwrap_or(now);
        Self { end, length }
    }

    pub(super) fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    pub(super) fn length(self) -> Duration {
        self.length
    }

    fn on(self, socket: &UnixStream) -> Timed<'_> {
        Timed {
            until: self,
            socket,
        }
    }

    fn buffered(self, from: &mut BufReader<UnixStream>) -> TimedReader<'_> {
        TimedReader { until: self, from }
    }

    /// What is left, for a socket, which takes zero for "for ever".
    fn timeout(self) -> io::Result<Option<Duration>> {
        match self.left() {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

struct Timed<'a> {
    until: Deadline,
    socket: &'a UnixStream,
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.until.timeout()?)?;
        self.socket.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.until.timeout()?)?;
        self.socket.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct TimedReader<'a> {
    until: Deadline,
    from: &'a mut BufReader<UnixStream>,
}

impl Read for TimedReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.from.buffer().is_empty() {
            let timeout = self.until.timeout()?;
            self.from.get_ref().set_read_timeout(timeout)?;
        }
        self.from.read(bytes)
    }
}

/// Holds any usual header; tensors are read past it.
const HEADERS_BYTES: usize = 4 << 10;
/// From the socket's end to the process's.
const ENDING_TIME_MAX: Duration = Duration::from_millis(500);
/// How often it is asked for; there is no waiting with a limit.
const ENDING_STEP: Duration = Duration::from_millis(1);
