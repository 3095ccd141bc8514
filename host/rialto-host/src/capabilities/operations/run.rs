//! Recorded operations of a call: what they hold, when they run, and within which limits.
//!
//! Handles count by their size from the moment they are made, computed or not; tensors that lost their
//! handle and that operations still wait for count too. When the limit is reached, what is recorded
//! runs first, since that sets memory free.

use std::sync::Arc;

use rialto_compute::Tensor;
use rialto_compute::ops::{self, Cancel, Cost, EvalError, Op, ProgramError, Resident, Spec, infer};

use super::{Handle, Made};
use crate::capabilities::bindings::tensor::rialto::tensor::types::Error;
use crate::capabilities::tensor::{HostTensor, Place, UNKNOWN, may_block};
use crate::computer::Computer;
use crate::device::Lease;
use crate::meters::Limit;
use crate::recorder::{Recorder, Slot};
use crate::state::CallState;

impl CallState {
    /// Lets the recording forget, or run, before it grows too large.
    pub(super) async fn room_to_record(&mut self) -> Result<(), Error> {
        let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.is_full()) else {
            return Ok(());
        };
        recorder.compact();
        if recorder.has_room() {
            return Ok(());
        }
        self.run_all().await
    }

    /// The operands' slots; tensors that are not in the recording come in.
    pub(super) fn take_in(&mut self, operands: &[Handle]) -> Made<Vec<Slot>> {
        let computer = match self.computer() {
            Ok(computer) => computer,
            Err(error) => return Ok(Err(error)),
        };
        let bytes_max = self.shared.limits.tensor_bytes_max;
        let recorder = self
            .recorder
            .get_or_insert_with(|| Recorder::new(bytes_max));
        let mut slots = Vec::with_capacity(operands.len());
        for handle in operands {
            let entry = self.table.get_mut(handle)?;
            let slot = match &entry.place {
                Place::Recorded(slot) => *slot,
                Place::Data(tensor) => {
                    let taken = computer
                        .device
                        .upload(tensor.clone())
                        .map_err(|error| run_error(&error))
                        .and_then(|resident| {
                            recorder
                                .take_in(resident)
                                .map_err(|error| program_error(&error))
                        });
                    match taken {
                        Ok(slot) => slot,
                        Err(error) => return Ok(Err(error)),
                    }
                }
            };
            entry.place = Place::Recorded(slot);
            slots.push(slot);
        }
        Ok(Ok(slots))
    }

    /// What is known of these slots.
    pub(super) fn specs(&self, slots: &[Slot]) -> Vec<Spec> {
        let recorder = self.recorder.as_ref();
        let specs = slots.iter().map(|slot| recorder?.spec(*slot).cloned());
        specs.flatten().collect()
    }

    /// Records an operation and makes handles of its results, for which there must be room.
    pub(super) async fn push_recorded(&mut self, op: Op, operands: &[Slot]) -> Made<Vec<Handle>> {
        let specs = self.specs(operands);
        let results = match infer(&op, &specs.iter().collect::<Vec<_>>()) {
            Ok(results) => results,
            Err(error) => return Ok(Err(Error::InvalidArgument(error.to_string()))),
        };
        let mut leases = Vec::with_capacity(results.len());
        let sizes = results.iter().map(|spec| wide(spec.bytes()));
        for bytes in sizes.collect::<Vec<_>>() {
            match self.reserve(bytes).await {
                Ok(lease) => leases.push((bytes, lease)),
                Err(error) => {
                    self.give_back(&leases);
                    return Ok(Err(error));
                }
            }
        }
        let Some(recorder) = self.recorder.as_mut() else {
            return Err(wasmtime::Error::msg("an operation before its operands"));
        };
        let slots = match recorder.record(op, operands) {
            Ok(slots) => slots,
            Err(error) => {
                self.give_back(&leases);
                return Ok(Err(program_error(&error)));
            }
        };
        let mut handles = Vec::with_capacity(slots.len());
        for (slot, (bytes, lease)) in slots.into_iter().zip(leases) {
            let place = Place::Recorded(slot);
            handles.push(self.push(HostTensor::new(place, bytes, lease))?);
        }
        Ok(Ok(handles))
    }

    fn give_back(&mut self, leases: &[(u64, Lease)]) {
        for (bytes, _) in leases {
            self.tensor_bytes = self.tensor_bytes.saturating_sub(*bytes);
        }
    }

    /// Counts what a handle held no more.
    pub(crate) fn forget(&mut self, tensor: &HostTensor) {
        self.tensor_bytes = self.tensor_bytes.saturating_sub(tensor.bytes());
        if let (Place::Recorded(slot), Some(recorder)) = (&tensor.place, &mut self.recorder) {
            recorder.forget(*slot);
        }
    }

    /// Takes memory for a tensor; runs what is recorded if that is what is in the way.
    pub(crate) async fn reserve(&mut self, bytes: u64) -> Result<Lease, Error> {
        if !self.fits(bytes) {
            if let Some(recorder) = &mut self.recorder {
                recorder.compact();
            }
            if !self.fits(bytes) && self.recorder.as_ref().is_some_and(Recorder::is_pending) {
                self.run_all().await?;
            }
        }
        if !self.fits(bytes) {
            self.shared.meters.breach(Limit::Tensors);
            let held_max = self.shared.limits.tensor_bytes_max;
            return Err(Error::OutOfBudget(format!(
                "a call may hold {held_max} bytes of tensors"
            )));
        }
        let lease = self.shared.device.hold(&self.shared.tenant, bytes);
        let lease = lease.map_err(|error| Error::OutOfBudget(error.to_string()))?;
        self.tensor_bytes = self.tensor_bytes.saturating_add(bytes);
        self.tensor_bytes_peak = self.tensor_bytes_peak.max(self.tensor_bytes_held());
        Ok(lease)
    }

    fn fits(&self, bytes: u64) -> bool {
        let held = self.tensor_bytes_held();
        held.saturating_add(bytes) <= self.shared.limits.tensor_bytes_max
    }

    fn tensor_bytes_held(&self) -> u64 {
        let waiting = self.recorder.as_ref().map_or(0, Recorder::waiting_bytes);
        self.tensor_bytes.saturating_add(waiting)
    }

    /// The slots of those handles that are in the recording.
    pub(crate) fn slots(&self, handles: &[Handle]) -> wasmtime::Result<Vec<Slot>> {
        let mut slots = Vec::new();
        for handle in handles {
            if let Place::Recorded(slot) = self.table.get(handle)?.place {
                slots.push(slot);
            }
        }
        Ok(slots)
    }

    /// A tensor in main memory, computed if it has to be.
    pub(crate) async fn fetch(&mut self, handle: &Handle) -> Made<Tensor> {
        let slot = match &self.table.get(handle)?.place {
            Place::Data(tensor) => return Ok(Ok(tensor.clone())),
            Place::Recorded(slot) => *slot,
        };
        if let Err(error) = self.run_recorded(&[slot]).await {
            return Ok(Err(error));
        }
        let settled = self.recorder.as_ref().and_then(|it| it.settled(slot));
        let Some(resident) = settled.cloned() else {
            return Err(wasmtime::Error::msg("a program left its output out"));
        };
        if let Some(tensor) = resident.tensor() {
            return Ok(Ok(tensor.clone()));
        }
        Ok(self.download(resident).await)
    }

    async fn download(&mut self, resident: Resident) -> Result<Tensor, Error> {
        let computer = self.computer()?;
        let work = move || computer.device.download(&resident);
        self.at_work(UNKNOWN, work)
            .await?
            .map_err(|error| run_error(&error))
    }

    /// Runs all that handles stand for.
    pub(crate) async fn run_all(&mut self) -> Result<(), Error> {
        let slots = self.recorder.as_ref().map(Recorder::slots);
        self.run_recorded(&slots.unwrap_or_default()).await
    }

    /// Runs what these slots need, if it did not run yet.
    pub(crate) async fn run_recorded(&mut self, slots: &[Slot]) -> Result<(), Error> {
        let Some(recorder) = &self.recorder else {
            return Ok(());
        };
        let plan = recorder
            .plan(slots)
            .map_err(|error| program_error(&error))?;
        let Some(plan) = plan else {
            return Ok(());
        };
        let computer = self.computer()?;
        let (program, outputs) = plan.into_parts();
        let cost = program.cost();
        self.charge_operations(cost)?;
        let length = Computer::length(cost);
        let estimate = computer.pace.of(length).unwrap_or(UNKNOWN);
        let here = computer.pace.is_short(length) && may_block();
        let cancel = Cancel::new();
        // Dropped with this future: a call that ended asks the run to stop.
        let asks = CancelOnDrop(cancel.clone());
        let (tenant, queue) = (self.shared.tenant.clone(), self.shared.device.clone());
        let begun = here.then(|| queue.begin(&tenant, estimate)).flatten();
        let device = Arc::clone(&computer.device);
        let work = move || device.run(&program, &[], &cancel);
        let done = match begun {
            Some(begun) => {
                begun.work(|| self.clock.excluding(|| tokio::task::block_in_place(work)))
            }
            None => queue.alone(&tenant, estimate, work).await,
        };
        drop(asks);
        if let Ok(done) = &done {
            computer.pace.learn(length, done.took);
        }
        let residents = self.on_device(done)?.map_err(|error| run_error(&error))?;
        match &mut self.recorder {
            Some(recorder) => recorder
                .settle(&outputs, residents)
                .map_err(|error| program_error(&error)),
            None => Ok(()),
        }
    }

    /// Does other work of the device, such as moving tensors, in its queue.
    pub(crate) async fn at_work<T: Send + 'static>(
        &mut self,
        estimate: std::time::Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (tenant, queue) = (self.shared.tenant.clone(), self.shared.device.clone());
        let done = queue.alone(&tenant, estimate, work).await;
        self.on_device(done)
    }

    /// The device on which this call's operations run.
    pub(crate) fn computer(&self) -> Result<Computer, Error> {
        let found = self.shared.computers.get(self.computer);
        found
            .cloned()
            .ok_or_else(|| Error::Unsupported("this host offers no device for operations".into()))
    }

    /// Counts a program against the call, before it runs.
    fn charge_operations(&mut self, cost: Cost) -> Result<(), Error> {
        let total = self.multiply_adds.saturating_add(cost.multiply_adds);
        let total_max = self.shared.limits.multiply_adds_max;
        if total > total_max {
            self.shared.meters.breach(Limit::MultiplyAdds);
            return Err(Error::OutOfBudget(format!(
                "a call may compute {total_max} multiplications with addition; with these it \
                 would be {total}"
            )));
        }
        self.multiply_adds = total;
        self.tensor_runs = self.tensor_runs.saturating_add(1);
        Ok(())
    }
}

/// Asks a run to stop.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(crate) fn program_error(error: &ProgramError) -> Error {
    let text = error.to_string();
    match error {
        ProgramError::Infer(_) => Error::InvalidArgument(text),
        ProgramError::Limit { .. } => Error::OutOfBudget(text),
        ProgramError::UnknownValue(_) | ProgramError::Spec { .. } => Error::Engine(text),
    }
}

pub(crate) fn run_error(error: &EvalError) -> Error {
    let text = error.to_string();
    match error {
        EvalError::Infer(_) | EvalError::Index { .. } => Error::InvalidArgument(text),
        EvalError::Memory { .. } => Error::OutOfBudget(text),
        EvalError::Input { .. } | EvalError::Cancelled | EvalError::Device { .. } => {
            Error::Engine(text)
        }
    }
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// Tensors on another device.
pub(crate) fn moved(
    residents: &[Resident],
    from: &dyn ops::Device,
    to: &dyn ops::Device,
) -> Result<Vec<Resident>, EvalError> {
    let moved = residents
        .iter()
        .map(|resident| to.upload(from.download(resident)?));
    moved.collect()
}
