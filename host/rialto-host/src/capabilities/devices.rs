//! `rialto:tensor/devices`: what computes a call's operations, and the choice of another.

use std::sync::Arc;

use rialto_compute::ops::DeviceKind;

use super::bindings::tensor::rialto::tensor::devices as wit;
use super::bindings::tensor::rialto::tensor::types::Error;
use super::operations::{moved, program_error, run_error};
use super::tensor::{UNKNOWN, dtype_of};
use crate::computer::Computer;
use crate::state::CallState;

impl wit::Host for CallState {
    fn list(&mut self) -> wasmtime::Result<Vec<wit::Device>> {
        self.charge_host_call(0)?;
        Ok(self.shared.computers.iter().map(described).collect())
    }

    fn current(&mut self) -> wasmtime::Result<Result<wit::Device, Error>> {
        self.charge_host_call(0)?;
        Ok(self
            .computer()
            .as_ref()
            .map(described)
            .map_err(Clone::clone))
    }

    async fn choose(&mut self, name: String) -> wasmtime::Result<Result<(), Error>> {
        self.charge_host_call(name.len() as u64)?;
        let mut computers = self.shared.computers.iter();
        let Some(index) = computers.position(|computer| computer.device.name() == name) else {
            let names: Vec<&str> = self
                .shared
                .computers
                .iter()
                .map(|it| it.device.name())
                .collect();
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            return Ok(Err(Error::InvalidArgument(format!(
                "this host has no device `{name}`; it has {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            ))));
        };
        Ok(self.move_to(index).await)
    }
}

impl CallState {
    /// Runs what is recorded, and takes all tensors to another device.
    async fn move_to(&mut self, index: usize) -> Result<(), Error> {
        if index == self.computer {
            return Ok(());
        }
        self.run_all().await?;
        let (from, to) = (self.computer, self.shared.computers.get(index).cloned());
        let from = self.shared.computers.get(from).cloned();
        let settled = self.recorder.as_ref().map(|recorder| {
            let slots = recorder.slots().into_iter();
            let settled = slots.filter_map(|slot| Some((slot, recorder.settled(slot)?.clone())));
            settled.unzip()
        });
        let (slots, residents): (Vec<_>, Vec<_>) = settled.unwrap_or_default();
        if let (Some(from), Some(to), false) = (from, to, residents.is_empty()) {
            let work = move || moved(&residents, &*from.device, &*to.device);
            let residents = self.at_work(UNKNOWN, work).await?;
            let residents = residents.map_err(|error| run_error(&error))?;
            if let Some(recorder) = &mut self.recorder {
                for (slot, resident) in slots.into_iter().zip(residents) {
                    recorder
                        .put(slot, resident)
                        .map_err(|error| program_error(&error))?;
                }
            }
        }
        self.computer = index;
        Ok(())
    }
}

fn described(computer: &Computer) -> wit::Device {
    let device = Arc::clone(&computer.device);
    let abilities = device.abilities();
    wit::Device {
        name: device.name().to_owned(),
        kind: match abilities.kind {
            DeviceKind::Cpu => wit::Kind::Cpu,
            DeviceKind::Gpu => wit::Kind::Gpu,
        },
        memory: device.memory_bytes_max(),
        elements: abilities.elements.iter().copied().map(dtype_of).collect(),
        deterministic: abilities.deterministic,
        fingerprint: abilities.fingerprint.clone(),
    }
}

/// What of a wrong name is repeated.
const NAME_CHARS_MAX: usize = 64;
