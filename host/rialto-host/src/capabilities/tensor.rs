//! `rialto:tensor`: tensors as handles, models by granted name, runs in the device's queue.
//!
//! Opening and running block inside the engine; the host's [device](crate::device) decides when, and on
//! which thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rialto_compute::ops::Spec;
use rialto_compute::{Element, Kind, Model, Port, RunError, Tensor};
use tokio::runtime::{Handle, RuntimeFlavor};
use wasmtime::component::{HasSelf, Linker, Resource};

use super::bindings::tensor::rialto::tensor::{devices, models, operations, tensors, types};
use crate::device::{DeviceError, Done, Lease, Run};
use crate::limits::Breach;
use crate::model::OpenError;
use crate::pace::Pace;
use crate::recorder::Slot;
use crate::state::CallState;

/// A tensor as the guest's handle sees it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct HostTensor {
    pub(super) place: Place,
    bytes: u64,
    /// Its part of the device's memory.
    _lease: Lease,
}

/// Where a handle's tensor is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In main memory; no operation has seen it.
    Data(Tensor),
    /// In the call's recording, computed or not.
    Recorded(Slot),
}

impl HostTensor {
    pub(super) fn new(place: Place, bytes: u64, lease: Lease) -> Self {
        Self {
            place,
            bytes,
            _lease: lease,
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A model as the guest's handle sees it.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct HostModel {
    pub(super) model: Arc<dyn Model>,
    pub(super) pace: Arc<Pace>,
}

/// Defines all interfaces of the package.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    tensors::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    models::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    operations::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    devices::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl types::Host for CallState {}
impl tensors::Host for CallState {}
impl models::Host for CallState {}

impl tensors::HostTensor for CallState {
    async fn from_bytes(
        &mut self,
        element: types::Dtype,
        shape: Vec<u32>,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<HostTensor>, types::Error>> {
        self.charge_host_call(data.len() as u64)?;
        self.moved_bytes = self.moved_bytes.saturating_add(data.len() as u64);
        match Tensor::new(element_of(element), shape, Bytes::from(data)) {
            Ok(tensor) => self.push_tensor(tensor).await,
            Err(error) => Ok(Err(types::Error::InvalidArgument(error.to_string()))),
        }
    }

    fn element(&mut self, this: Resource<HostTensor>) -> wasmtime::Result<types::Dtype> {
        self.charge_host_call(0)?;
        Ok(match &self.table.get(&this)?.place {
            Place::Data(tensor) => dtype_of(tensor.element()),
            Place::Recorded(slot) => dtype_of(self.recorded(*slot)?.element()),
        })
    }

    fn shape(&mut self, this: Resource<HostTensor>) -> wasmtime::Result<Vec<u32>> {
        self.charge_host_call(0)?;
        Ok(match &self.table.get(&this)?.place {
            Place::Data(tensor) => tensor.shape().to_vec(),
            Place::Recorded(slot) => self.recorded(*slot)?.shape().to_vec(),
        })
    }

    fn byte_length(&mut self, this: Resource<HostTensor>) -> wasmtime::Result<u64> {
        self.charge_host_call(0)?;
        Ok(self.table.get(&this)?.bytes)
    }

    async fn read(
        &mut self,
        this: Resource<HostTensor>,
        offset: u64,
        length: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        self.charge_host_call(length)?;
        let tensor = match self.fetch(&this).await? {
            Ok(tensor) => tensor,
            Err(error) => return Ok(Err(error)),
        };
        let data = tensor.data();
        let range = usize::try_from(offset).ok().zip(
            offset
                .checked_add(length)
                .and_then(|end| usize::try_from(end).ok()),
        );
        let part = range.and_then(|(start, end)| data.get(start..end));
        if let Some(part) = part {
            self.moved_bytes = self.moved_bytes.saturating_add(part.len() as u64);
        }
        Ok(part.map(<[u8]>::to_vec).ok_or_else(|| {
            types::Error::InvalidArgument(format!(
                "bytes {offset} to {offset} + {length} lie outside the tensor's {}",
                data.len()
            ))
        }))
    }

    fn drop(&mut self, this: Resource<HostTensor>) -> wasmtime::Result<()> {
        let tensor = self.table.delete(this)?;
        self.forget(&tensor);
        Ok(())
    }
}

impl models::HostModel for CallState {
    async fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<HostModel>, types::Error>> {
        self.charge_host_call(name.len() as u64)?;
        match self.open_model(name).await {
            Ok(opened) => Ok(Ok(self.push(opened)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn inputs(&mut self, this: Resource<HostModel>) -> wasmtime::Result<Vec<models::Port>> {
        self.charge_host_call(0)?;
        Ok(self
            .table
            .get(&this)?
            .model
            .inputs()
            .iter()
            .map(port_of)
            .collect())
    }

    fn outputs(&mut self, this: Resource<HostModel>) -> wasmtime::Result<Vec<models::Port>> {
        self.charge_host_call(0)?;
        Ok(self
            .table
            .get(&this)?
            .model
            .outputs()
            .iter()
            .map(port_of)
            .collect())
    }

    fn metadata(&mut self, this: Resource<HostModel>) -> wasmtime::Result<Vec<(String, String)>> {
        let metadata = self.table.get(&this)?.model.metadata();
        let bytes = |(name, value): &(String, String)| name.len() as u64 + value.len() as u64;
        self.charge_host_call(metadata.iter().map(bytes).sum())?;
        Ok(metadata)
    }

    fn abilities(&mut self, this: Resource<HostModel>) -> wasmtime::Result<models::Abilities> {
        self.charge_host_call(0)?;
        let abilities = self.table.get(&this)?.model.abilities();
        Ok(models::Abilities {
            engine: abilities.engine.clone(),
            device: abilities.device.clone(),
            deterministic: abilities.deterministic,
            fingerprint: abilities.fingerprint.clone(),
        })
    }

    async fn run(
        &mut self,
        this: Resource<HostModel>,
        inputs: Vec<(String, Resource<HostTensor>)>,
        outputs: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Resource<HostTensor>>, types::Error>> {
        self.charge_host_call(0)?;
        let opened = self.table.get(&this)?;
        let (model, pace) = (Arc::clone(&opened.model), Arc::clone(&opened.pace));
        // Every output asked for is copied: one named a million times must not fill the host.
        let outputs_max = model.outputs().len();
        if outputs.len() > outputs_max {
            return Ok(Err(types::Error::InvalidArgument(format!(
                "{} outputs are asked for; the model has {outputs_max}",
                outputs.len()
            ))));
        }
        let mut given = Vec::with_capacity(inputs.len());
        let (names, tensors): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        // What was recorded for all inputs runs in one go.
        let slots = self.slots(&tensors)?;
        if let Err(error) = self.run_recorded(&slots).await {
            return Ok(Err(error));
        }
        for (name, tensor) in names.into_iter().zip(&tensors) {
            match self.fetch(tensor).await? {
                Ok(tensor) => given.push((name, tensor)),
                Err(error) => return Ok(Err(error)),
            }
        }
        self.tensor_runs = self.tensor_runs.saturating_add(1);
        let run = Run {
            model,
            inputs: given,
            outputs,
        };
        match self.run_model(run, &pace).await {
            Ok(tensors) => self.push_tensors(tensors).await,
            Err(error) => Ok(Err(error)),
        }
    }

    fn drop(&mut self, this: Resource<HostModel>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl CallState {
    /// Opens a granted model by its name or its digest.
    pub(super) async fn open_model(&mut self, name: String) -> Result<HostModel, types::Error> {
        let shared = Arc::clone(&self.shared);
        let granted = shared.granted(&name);
        let Some((name, pace)) = granted else {
            return Err(types::Error::NotGranted(format!(
                "the manifest grants no model `{name}`"
            )));
        };
        let pace = Arc::clone(pace);
        if let Some(model) = shared.models.loaded(name) {
            return Ok(HostModel { model, pace });
        }
        let (models, name) = (Arc::clone(&shared.models), name.to_owned());
        let opening = move || models.open(&name);
        let opened = shared.device.alone(&shared.tenant, OPENING, opening).await;
        match self.on_device(opened)? {
            Ok(model) => Ok(HostModel { model, pace }),
            Err(error) => Err(error_of_open(&error)),
        }
    }

    /// Runs a model: here if its runs are known to be short and nobody waits, else in the queue.
    pub(super) async fn run_model(
        &mut self,
        run: Run,
        pace: &Pace,
    ) -> Result<Vec<Tensor>, types::Error> {
        let tensors = run.inputs.iter();
        let bytes = tensors.map(|(_, tensor)| tensor.data().len() as u64).sum();
        let estimate = pace.of(bytes).unwrap_or(UNKNOWN);
        let (tenant, device) = (self.shared.tenant.clone(), self.shared.device.clone());
        let here = pace.is_short(bytes) && may_block();
        let begun = here.then(|| device.begin(&tenant, estimate)).flatten();
        let done = match begun {
            Some(begun) => begun.work(|| {
                self.clock
                    .excluding(|| tokio::task::block_in_place(|| run.now()))
            }),
            None => device.run(&tenant, estimate, run).await,
        };
        if let Ok(done) = &done {
            pace.learn(bytes, done.took);
        }
        self.on_device(done)?.map_err(|error| error_of(&error))
    }

    /// Meters work that the device did, or says why it did not.
    pub(super) fn on_device<T>(
        &mut self,
        done: Result<Done<T>, DeviceError>,
    ) -> Result<T, types::Error> {
        match done {
            Ok(done) => {
                self.device_time = self.device_time.saturating_add(done.took);
                Ok(done.result)
            }
            Err(DeviceError::Refused(refused)) => {
                Err(types::Error::OutOfBudget(refused.to_string()))
            }
            Err(stopped @ DeviceError::Stopped) => Err(types::Error::Engine(stopped.to_string())),
        }
    }

    pub(super) fn push<T: Send + 'static>(&mut self, entry: T) -> Result<Resource<T>, Breach> {
        self.table.push(entry).map_err(|_| Breach::Handles)
    }

    async fn push_tensor(
        &mut self,
        tensor: Tensor,
    ) -> wasmtime::Result<Result<Resource<HostTensor>, types::Error>> {
        let bytes = tensor.data().len() as u64;
        match self.reserve(bytes).await {
            Ok(lease) => {
                let place = Place::Data(tensor);
                Ok(Ok(self.push(HostTensor::new(place, bytes, lease))?))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn push_tensors(
        &mut self,
        tensors: Vec<Tensor>,
    ) -> wasmtime::Result<Result<Vec<Resource<HostTensor>>, types::Error>> {
        let mut handles = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            match self.push_tensor(tensor).await? {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    for handle in handles {
                        tensors::HostTensor::drop(self, handle)?;
                    }
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(handles))
    }

    fn recorded(&self, slot: Slot) -> wasmtime::Result<&Spec> {
        let recorder = self.recorder.as_ref();
        recorder
            .and_then(|recorder| recorder.spec(slot))
            .ok_or_else(|| wasmtime::Error::msg("a handle outlived its recording"))
    }
}

/// How long opening a model is thought to take, and a run of which nothing is known.
const OPENING: Duration = Duration::from_millis(100);
pub(super) const UNKNOWN: Duration = Duration::from_millis(20);

/// Whether this thread may block without holding up others: not in a runtime of one thread.
pub(crate) fn may_block() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

fn port_of(port: &Port) -> models::Port {
    models::Port {
        name: port.name.clone(),
        element: dtype_of(port.element),
        shape: port.shape.clone(),
    }
}

fn error_of(error: &RunError) -> types::Error {
    let text = error.to_string();
    match error.kind() {
        Kind::InvalidArgument => types::Error::InvalidArgument(text),
        Kind::Unsupported => types::Error::Unsupported(text),
        Kind::OutOfBudget => types::Error::OutOfBudget(text),
        Kind::Engine => types::Error::Engine(text),
    }
}

fn error_of_open(error: &OpenError) -> types::Error {
    let text = error.to_string();
    match error {
        OpenError::OutOfBudget(_) => types::Error::OutOfBudget(text),
        OpenError::Unknown(_) | OpenError::Engine(_) => types::Error::Engine(text),
    }
}

pub(super) const fn element_of(dtype: types::Dtype) -> Element {
    match dtype {
        types::Dtype::F32 => Element::F32,
        types::Dtype::F16 => Element::F16,
        types::Dtype::Bf16 => Element::Bf16,
        types::Dtype::I64 => Element::I64,
        types::Dtype::I32 => Element::I32,
        types::Dtype::I8 => Element::I8,
        types::Dtype::U8 => Element::U8,
        types::Dtype::Boolean => Element::Bool,
    }
}

pub(super) const fn dtype_of(element: Element) -> types::Dtype {
    match element {
        Element::F32 => types::Dtype::F32,
        Element::F16 => types::Dtype::F16,
        Element::Bf16 => types::Dtype::Bf16,
        Element::I64 => types::Dtype::I64,
        Element::I32 => types::Dtype::I32,
        Element::I8 => types::Dtype::I8,
        Element::U8 => types::Dtype::U8,
        Element::Bool => types::Dtype::Boolean,
    }
}
