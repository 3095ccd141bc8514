//! A tensor where a device keeps it.
//!
//! Non-goals: what the memory is, which is the device's own business.

use std::{any::Any, fmt, sync::Arc};

use super::{error::InferError, spec::Spec};
use crate::Tensor;

/// A tensor in main memory or in a device's own. Cheap to clone; the memory is given back with the last
/// clone.
#[derive(Clone)]
pub struct Resident {
    spec: Spec,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Host(Tensor),
    Device(Arc<dyn Any + Send + Sync>),
}

impl Resident {
    /// A tensor in main memory; every device takes it as it is.
    ///
    /// # Errors
    /// [`InferError::TooLarge`] if no operation takes a tensor of this shape.
    pub fn host(tensor: Tensor) -> Result<Self, InferError> {
        Ok(Self {
            spec: Spec::of(&tensor)?,
            place: Place::Host(tensor),
        })
    }

    /// A tensor in memory of a device's own type, which gives the memory back when it is dropped.
    pub fn on_device<T: Any + Send + Sync>(spec: Spec, memory: Arc<T>) -> Self {
        Self {
            spec,
            place: Place::Device(memory),
        }
    }

    /// Element type and shape.
    #[must_use]
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The tensor, if it is in main memory.
    #[must_use]
    pub const fn tensor(&self) -> Option<&Tensor> {
        match &self.place {
            Place::Host(tensor) => Some(tensor),
            Place::Device(_) => None,
        }
    }

    /// The memory, if it is a device's and of this type. (Devices of one type tell their memory apart
    /// themselves.)
    #[must_use]
    pub fn memory<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match &self.place {
            Place::Host(_) => None,
            Place::Device(memory) => Arc::clone(memory).downcast().ok(),
        }
    }
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Host(_) => "main memory",
            Place::Device(_) => "device",
        };
        write!(f, "Resident({} in {place})", self.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Element;

    #[test]
    fn memory_is_of_its_own_type_and_freed_with_the_last_clone() {
        let memory = Arc::new(7_u8);
        let spec = Spec::new(Element::F32, [2]).unwrap();
        let resident = Resident::on_device(spec, Arc::clone(&memory));
        let clone = resident.clone();
        assert_eq!(resident.memory::<u8>().as_deref(), Some(&7));
        assert!(resident.memory::<u16>().is_none() && resident.tensor().is_none());
        drop(resident);
        assert_eq!(Arc::strong_count(&memory), 2);
        drop(clone);
        assert_eq!(Arc::strong_count(&memory), 1);
    }
}
