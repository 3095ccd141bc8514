//! Constants on the device, once for all programs of a model.
//!
//! They are known by their contents: what one program folds, another one folds to the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    Tensor,
    ops::{Device, EvalError, Program, Resident},
};

/// A model's constants on its device.
#[derive(Debug, Default)]
pub(super) struct Weights {
    known: Mutex<HashMap<blake3::Hash, Weak<Resident>>>,
}

/// What keeps a program's constants on the device.
pub(super) type Kept = Vec<Arc<Resident>>;

impl Weights {
    /// The program with its constants on the device.
    pub(super) fn place(
        &self,
        device: &dyn Device,
        program: &Program,
    ) -> Result<(Program, Kept), EvalError> {
        let mut kept = Kept::new();
        let placed = program.map_constants(|constant| -> Result<Resident, EvalError> {
            let Some(tensor) = constant.tensor() else {
                return Ok(constant.clone());
            };
            let resident = self.resident(device, tensor)?;
            kept.push(Arc::clone(&resident));
            Ok(Resident::clone(&resident))
        })?;
        Ok((placed, kept))
    }

    /// Forgets where they are: the device was lost.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Weak<Resident>>> {
        // No step under this lock leaves the map half-changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resident(&self, device: &dyn Device, tensor: &Tensor) -> Result<Arc<Resident>, EvalError> {
        let name = name(tensor);
        let mut known = self.lock();
        if let Some(resident) = known.get(&name).and_then(Weak::upgrade) {
            return Ok(resident);
        }
        known.retain(|_, resident| resident.strong_count() > 0);
        let resident = Arc::new(device.upload(tensor.clone())?);
        known.insert(name, Arc::downgrade(&resident));
        Ok(resident)
    }
}

fn name(tensor: &Tensor) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{} {:?}", tensor.element(), tensor.shape()).as_bytes());
    hasher.update(tensor.data());
    hasher.finalize()
}
