//! What child processes that run strangers' code or files give up, for good, and how often they may
//! start again.
//!
//! Two kinds of process are confined: an [engine's worker](confine), which looks into a model's file, and
//! a [cell](confine_cell), which runs the compiled code of one service. Whoever starts them clears the
//! environment and hands them one socket; the rest they give up themselves, with the calls of this crate,
//! before they touch what is a stranger's. Limits that this system does not have are left out, and are
//! not in the list that comes back: whoever starts a process can log what really holds.
//!
//! Non-goals: what the processes do, what is said over the socket, and defence against faults of the
//! kernel itself.
#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod calls;
mod cell;
mod engine;
mod limits;
mod quarantine;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub use cell::{CellLimits, confine_cell, end_with_parent};
pub use engine::{Reach, confine};
pub use quarantine::Quarantine;

/// The program that serves as a child process, usually this one with a hidden subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its file.
    pub file: PathBuf,
    /// What makes it a child process of that kind.
    pub arguments: Vec<OsString>,
    /// The only environment that it gets.
    pub environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// Starts it with `socket` as its standard input and nothing else of ours: no environment but its own,
    /// no output, no working folder.
    ///
    /// # Errors
    /// The system's, when there can be no such process.
    pub fn start(&self, socket: impl Into<Stdio>) -> io::Result<Child> {
        let environment = self.environment.iter();
        Command::new(&self.file)
            .args(&self.arguments)
            .env_clear()
            .envs(environment.map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}
