//! Operations that run on another device, for want of a kernel.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use rialto_compute::ops::{Cancel, Device, EvalError, Limits, Op, Recording};

use crate::{device::tensor, kernel::Operand, link::failed, stream::Stream};

/// The other device, and what was said of it.
#[derive(Debug)]
pub(crate) struct Fallback {
    device: Arc<dyn Device>,
    said: Mutex<BTreeSet<&'static str>>,
}

impl Fallback {
    pub(crate) fn new(device: Arc<dyn Device>) -> Self {
        Self {
            device,
            said: Mutex::default(),
        }
    }

    pub(crate) fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// What ran here.
    #[cfg(test)]
    pub(crate) fn said(&self) -> Vec<&'static str> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().copied().collect()
    }

    /// Computes an operation: operands down, results up.
    pub(crate) fn run(
        &self,
        stream: &mut Stream<'_>,
        op: &Op,
        operands: &[&Operand],
    ) -> Result<Vec<Operand>, EvalError> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(op.name()) {
            tracing::warn!(
                operation = op.name(),
                device = self.device.name(),
                "the graphics processor has no kernel for it; it runs on the other device"
            );
        }
        drop(said);
        stream.finish()?;
        let broken = |error: &dyn ToString| failed(op.name(), error.to_string());
        let mut recording = Recording::new(Limits::default());
        let (mut tensors, mut values) = (Vec::new(), Vec::new());
        for operand in operands {
            tensors.push(tensor(stream.link, operand, stream.deadline)?);
            let value = recording.input(operand.spec.clone());
            values.push(value.map_err(|error| broken(&error))?);
        }
        let results = recording.op(op.clone(), &values);
        let results = results.map_err(|error| broken(&error))?;
        let program = recording
            .program(&results)
            .map_err(|error| broken(&error))?;
        let made = self
            .device
            .run_on_host(&program, &tensors, &Cancel::new())?;
        let mut parts = Vec::with_capacity(made.len());
        for tensor in made {
            let part = stream.upload(op.name(), tensor.data())?;
            let spec = rialto_compute::ops::Spec::of(&tensor)?;
            parts.push(Operand { spec, part });
        }
        Ok(parts)
    }
}
