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

use super::{error::EvalError, program::Program, resident::Resident};
use crate::{Element, Tensor};

/// Something that runs programs. Runs on several threads are independent; they share its memory.
///
/// Tensors stay where the device put them ([`Resident`]) from one program to the next. All functions
/// block the calling thread.
pub trait Device: fmt::Debug + Send + Sync {
    /// A short name, for example `cpu`.
    fn name(&self) -> &str;

    /// What it can do, and what makes its results repeatable.
    fn abilities(&self) -> &DeviceAbilities;

    /// The most bytes of results and of work in progress that it holds for all its runs together; tensors
    /// that came in by [`upload`](Self::upload) count only if it keeps a copy of its own.
    fn memory_bytes_max(&self) -> u64;

    /// Takes a tensor in. A device that works in main memory takes it as it is.
    ///
    /// # Errors
    /// [`EvalError::Memory`] if there is no room; nothing stays allocated.
    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError>;

    /// The tensor, in main memory.
    ///
    /// # Errors
    /// [`EvalError::Device`] if the device fails, or the tensor is another's.
    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError>;

    /// Runs a program and returns its outputs, in order. Inputs and constants are its own, or in main
    /// memory.
    ///
    /// # Errors
    /// [`EvalError`]; nothing stays allocated.
    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError>;

    /// Runs a program on tensors in main memory: upload, run, download.
    ///
    /// # Errors
    /// As these.
    fn run_on_host(
        &self,
        program: &Program,
        inputs: &[Tensor],
        cancel: &Cancel,
    ) -> Result<Vec<Tensor>, EvalError> {
        let inputs = inputs.iter().map(|tensor| self.upload(tensor.clone()));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs = self.run(program, &inputs, cancel)?;
        outputs.iter().map(|output| self.download(output)).collect()
    }
}

/// What a device can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAbilities {
    /// What it is.
    pub kind: DeviceKind,
    /// The element types that it takes.
    pub elements: Vec<Element>,
    /// Whether equal programs and inputs give equal bits on an equal fingerprint, whatever else runs.
    pub deterministic: bool,
    /// Names device, version and instruction set; equal bits are promised only within it.
    pub fingerprint: String,
    /// Threads (or execution units) that one run may use.
    pub threads: usize,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Processor cores and main memory.
    Cpu,
    /// A graphics processor.
    Gpu,
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
