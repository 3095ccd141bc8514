//! Starts and ends the processes of cells, on a thread that lives as long as the host.
//!
//! The kernel ends a cell with the thread that started it, so it must not be one of a runtime's, which
//! come and go. Waiting for a process that ends is done there too, where it holds up nobody's call.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rialto_confine::Program;
use tokio::sync::oneshot;

/// A process that was started, and the host's end of its socket.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) socket: UnixStream,
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Process(Option<Child>);

impl Process {
    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Ends it, without waiting: whoever reads from it sees the end.
    pub(super) fn kill(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
        }
    }

    /// Gives it a moment to end by itself, ends it, and says how it ended.
    fn finish(mut self) -> io::Result<ExitStatus> {
        let Some(mut child) = self.0.take() else {
            return Err(io::Error::other("it was not started"));
        };
        let until = Instant::now() + ENDING_TIME_MAX;
        loop {
            match child.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() < until => thread::sleep(ENDING_STEP),
                None => break,
            }
        }
        child.kill()?;
        child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Ended before it is waited for: the number cannot have passed to another process.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

enum Job {
    Start(oneshot::Sender<io::Result<Started>>),
    Finish(Process, oneshot::Sender<io::Result<ExitStatus>>),
}

/// The thread.
#[derive(Debug)]
pub(super) struct Starter {
    jobs: mpsc::Sender<Job>,
}

impl Starter {
    /// # Errors
    /// There can be no such thread.
    pub(super) fn new(program: Program) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        thread::Builder::new()
            .name("rialto-cells".to_owned())
            .spawn(move || work(&program, &waiting))?;
        Ok(Self { jobs })
    }

    /// Starts a process.
    pub(super) fn start(&self) -> oneshot::Receiver<io::Result<Started>> {
        let (sender, receiver) = oneshot::channel();
        // Without the thread, the receiver's end says so.
        let _ = self.jobs.send(Job::Start(sender));
        receiver
    }

    /// Ends a process, if it does not end by itself in a moment, and says how it ended.
    pub(super) fn finish(&self, process: Process) -> oneshot::Receiver<io::Result<ExitStatus>> {
        let (sender, receiver) = oneshot::channel();
        // Without the thread, the process is ended here as it is dropped.
        let _ = self.jobs.send(Job::Finish(process, sender));
        receiver
    }
}

fn work(program: &Program, jobs: &mpsc::Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // Whoever asked may have gone; then what was started ends at once.
        match job {
            Job::Start(sender) => drop(sender.send(start(program))),
            Job::Finish(process, sender) => drop(sender.send(process.finish())),
        }
    }
}

fn start(program: &Program) -> io::Result<Started> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = program.start(OwnedFd::from(theirs))?;
    Ok(Started {
        process: Process(Some(child)),
        socket: ours,
    })
}

/// From the socket's end to the process's.
const ENDING_TIME_MAX: Duration = Duration::from_millis(200);
/// How often it is asked for; there is no waiting with a limit.
const ENDING_STEP: Duration = Duration::from_millis(1);
