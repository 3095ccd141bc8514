//! A model whose engine is elsewhere: keeps its file, its description, and the processes that hold it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;

use super::{
    Setup,
    process::{Deadline, Fault, Process},
    wire::{Allowance, Description, Form, Reply, Request},
};
use crate::{Abilities, LoadError, Model, Port, RunError, Tensor, operands};

/// A model in a worker, loaded again when a worker ended.
#[derive(Debug)]
pub(super) struct WorkerModel {
    name: String,
    file: Bytes,
    digest: [u8; 32],
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    abilities: Abilities,
    metadata: Vec<(String, String)>,
    setup: Arc<Setup>,
    processes: Mutex<Processes>,
    /// Told when a process is idle, or one less is there.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Processes {
    idle: Vec<Process>,
    /// Idle, running and starting.
    count: usize,
}

/// Why a worker has no model.
enum Unloaded {
    Refused(LoadError),
    Resting(String),
    NoProcess(std::io::Error),
    Fault(Fault),
}

impl WorkerModel {
    /// Loads a model in its first process; what that gave up comes back too.
    pub(super) fn load(
        setup: Arc<Setup>,
        file: Bytes,
        name: &str,
    ) -> Result<(Self, Vec<String>), LoadError> {
        let digest = *blake3::hash(&file).as_bytes();
        let until = Deadline::after(setup.limits.load_time_max);
        let started = start(&setup, &file, digest, name, until);
        let (process, description) = started.map_err(|why| why.load_error(name, &setup, &file))?;
        let ports = description.inputs().zip(description.outputs());
        let (inputs, outputs) = ports.ok_or_else(|| LoadError::Engine {
            model: name.to_owned(),
            reason: "its process described it with unknown element types".to_owned(),
        })?;
        let model = Self {
            name: name.to_owned(),
            digest,
            inputs,
            outputs,
            abilities: description.abilities(),
            metadata: description.metadata,
            setup,
            file,
            processes: Mutex::new(Processes {
                idle: vec![process],
                count: 1,
            }),
            changed: Condvar::new(),
        };
        Ok((model, description.confined))
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        // No step under this lock leaves the record half-changed.
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A process of this model, waiting for one if there are enough; the caller starts it if it is none.
    fn take(&self, until: Deadline) -> Result<Option<Process>, RunError> {
        let mut processes = self.processes();
        loop {
            if let Some(process) = processes.idle.pop() {
                return Ok(Some(process));
            }
            if processes.count < self.setup.limits.processes_max.max(1) {
                processes.count += 1;
                return Ok(None);
            }
            let left = until.left();
            if left.is_zero() {
                return Err(RunError::Engine(format!(
                    "`{}` was busy for {:.1} s",
                    self.name,
                    until.length().as_secs_f64()
                )));
            }
            let waited = self.changed.wait_timeout(processes, left);
            processes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The ids of the processes that wait for a run.
    #[cfg(test)]
    pub(super) fn idle_processes(&self) -> Vec<u32> {
        self.processes().idle.iter().map(Process::id).collect()
    }

    /// Waits until every idle process has ended.
    #[cfg(test)]
    pub(super) fn wait_for_idle_ends(&self) {
        self.processes().idle.iter_mut().for_each(Process::wait);
    }

    fn put_back(&self, process: Option<Process>) {
        let mut processes = self.processes();
        match process {
            Some(process) => processes.idle.push(process),
            None => processes.count = processes.count.saturating_sub(1),
        }
        drop(processes);
        self.changed.notify_one();
    }

    fn run_in(
        &self,
        process: Option<Process>,
        operands: &[Tensor],
        outputs: &[String],
        until: Deadline,
    ) -> (Option<Process>, Result<Vec<Tensor>, RunError>) {
        // One that ended while nobody used it (the system may end it for memory) is nobody's error.
        let mut process = match process.and_then(Process::if_running) {
            Some(process) => process,
            None => match self.start(until) {
                Ok(process) => process,
                Err(error) => return (None, Err(error)),
            },
        };
        match self.exchange(&mut process, operands, outputs, until) {
            Ok(result) => {
                self.setup.quarantine().succeeded(&self.digest);
                (Some(process), result)
            }
            Err(fault) => {
                drop(process);
                (None, Err(self.failed(&fault)))
            }
        }
    }

    fn start(&self, until: Deadline) -> Result<Process, RunError> {
        tracing::info!(model = self.name, "a worker is started again");
        match start(&self.setup, &self.file, self.digest, &self.name, until) {
            Ok((process, _)) => Ok(process),
            Err(why) => {
                let error = why.load_error(&self.name, &self.setup, &self.file);
                Err(RunError::Engine(error.to_string()))
            }
        }
    }

    fn failed(&self, fault: &Fault) -> RunError {
        let reason = fault.to_string();
        tracing::warn!(model = self.name, reason, "a run ended its worker");
        let now = Instant::now();
        let text = format!("while running `{}`, {reason}", self.name);
        self.setup.quarantine().crashed(self.digest, reason, now);
        RunError::Engine(text)
    }

    fn exchange(
        &self,
        process: &mut Process,
        operands: &[Tensor],
        outputs: &[String],
        until: Deadline,
    ) -> Result<Result<Vec<Tensor>, RunError>, Fault> {
        let named = self.inputs.iter().zip(operands);
        let request = Request::Run {
            inputs: named
                .map(|(port, operand)| (port.name.clone(), Form::of(operand)))
                .collect(),
            outputs: outputs.to_vec(),
        };
        let runs: Vec<&[u8]> = operands
            .iter()
            .map(|tensor| tensor.data().as_ref())
            .collect();
        match process.ask(&request, &runs, until)? {
            Reply::Outputs(forms) if forms.len() == outputs.len() => {
                let limits = &self.setup.limits;
                let allowance = Allowance {
                    one_bytes_max: limits.tensor_bytes_max,
                    all_bytes_max: limits.outputs_bytes_max,
                };
                process.tensors(&forms, allowance, until).map(Ok)
            }
            Reply::Failed(failure, reason) => {
                let named = self.inputs.iter().zip(operands);
                let shapes =
                    operands::shapes(named.map(|(port, t)| (port.name.as_str(), t.shape())));
                Ok(Err(failure.error(&shapes, short(reason))))
            }
            Reply::Outputs(_) | Reply::Loaded(_) | Reply::Refused(..) => {
                Err(Fault::Nonsense(std::io::Error::other("another reply")))
            }
        }
    }
}

impl Model for WorkerModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.metadata.clone()
    }

    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        operands::wanted(&self.outputs, outputs)?;
        let operands = operands::in_order(&self.inputs, inputs)?;
        let until = Deadline::after(self.setup.limits.run_time_max);
        let process = self.take(until)?;
        let (process, result) = self.run_in(process, &operands, outputs, until);
        self.put_back(process);
        let tensors = result?;
        // The worker may be in a stranger's hands: its outputs are what the model declares, or nothing.
        for (name, tensor) in outputs.iter().zip(&tensors) {
            let port = self.outputs.iter().find(|port| port.name == *name);
            if port.is_none_or(|port| port.element != tensor.element()) {
                let reason = format!("output `{name}` came back as {}", tensor.element());
                return Err(RunError::Engine(reason));
            }
        }
        Ok(tensors)
    }
}

/// Starts a process and has it load the model.
fn start(
    setup: &Setup,
    file: &Bytes,
    digest: [u8; 32],
    name: &str,
    until: Deadline,
) -> Result<(Process, Description), Unloaded> {
    let rests = setup.quarantine().rests(&digest, Instant::now());
    if let Some((left, reason)) = rests {
        let seconds = left.as_secs_f64().ceil();
        return Err(Unloaded::Resting(format!(
            "it crashed several times in a row and rests for {seconds} s more; the last time, {reason}"
        )));
    }
    let mut process = Process::start(&setup.program).map_err(Unloaded::NoProcess)?;
    let file_bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
    let request = Request::Load {
        task: setup.task.clone(),
        name: name.to_owned(),
        file_bytes,
        memory_bytes: setup.limits.memory(file_bytes),
    };
    let reply = process.ask(&request, &[file], until);
    let nonsense = || Fault::Nonsense(std::io::Error::other("another reply"));
    let fault = match reply {
        Ok(Reply::Loaded(description)) => return Ok((process, description)),
        Ok(Reply::Refused(refusal, reason)) => {
            return Err(Unloaded::Refused(refusal.error(name, short(reason))));
        }
        Ok(Reply::Outputs(_) | Reply::Failed(..)) => nonsense(),
        Err(fault) => fault,
    };
    let now = Instant::now();
    setup.quarantine().crashed(digest, fault.to_string(), now);
    Err(Unloaded::Fault(fault))
}

impl Unloaded {
    fn load_error(self, name: &str, setup: &Setup, file: &Bytes) -> LoadError {
        let model = name.to_owned();
        match self {
            Self::Refused(error) => error,
            Self::Resting(reason) => LoadError::Engine { model, reason },
            Self::NoProcess(error) => LoadError::Engine {
                model,
                reason: format!(
                    "no worker can be started from {}: {error}",
                    setup.program.file.display()
                ),
            },
            Self::Fault(Fault::Late(limit)) => LoadError::TooLarge {
                model,
                reason: format!("loading it takes more than {} s", limit.as_secs_f64()),
            },
            Self::Fault(Fault::Ended(how)) => {
                let bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
                let mebibytes = setup.limits.memory(bytes) >> 20;
                let reason =
                    format!("loading it ended its process, which may take {mebibytes} MiB: {how}");
                LoadError::Malformed { model, reason }
            }
            Self::Fault(fault @ Fault::Nonsense(_)) => LoadError::Malformed {
                model,
                reason: format!("while loading it, {fault}"),
            },
        }
    }
}

/// A worker's explanation, at a length that fits a log.
fn short(reason: String) -> String {
    if reason.len() <= REASON_BYTES_MAX {
        return reason;
    }
    reason.chars().take(REASON_BYTES_MAX / 4).collect()
}

const REASON_BYTES_MAX: usize = 2_000;
