//! What runs programs: the narrow trait between recordings and hardware.
//!
//! Non-goals: queues, fairness, quotas (the scheduler's), models (the engines').

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{error::EvalError, program::Program};
use crate::{Element, Tensor};

/// Something that runs programs. Runs on several threads are independent; they share its memory.
pub trait Device: fmt::Debug + Send + Sync {
    /// A short name, for example `cpu`.
    fn name(&self) -> &str;

    /// What it can do, and what makes its results repeatable.
    fn abilities(&self) -> &DeviceAbilities;

    /// The most bytes that all its runs together may hold, inputs not counted.
    fn memory_bytes_max(&self) -> u64;

    /// Runs a program and returns its outputs, in order. Blocks the calling thread.
    ///
    /// # Errors
    /// [`EvalError`]; nothing stays allocated.
    fn run(
        &self,
        program: &Program,
        inputs: &[Tensor],
        cancel: &Cancel,
    ) -> Result<Vec<Tensor>, EvalError>;
}

/// What a device can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAbilities {
    /// The element types that it takes.
    pub elements: Vec<Element>,
    /// Whether equal programs and inputs give equal bits on this machine, whatever else runs.
    pub deterministic: bool,
    /// Threads (or execution units) that one run may use.
    pub threads: usize,
}

/// Asks a run to stop. Clones ask the same run.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks. The run stops before its next step.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
