//! Who holds how much of a device's memory.
//!
//! Non-goals: allocating. What is counted here is taken before it is allocated, so that running out is
//! an error to the one who asks and never a failure of the device.

use std::collections::HashMap;

use crate::tenant::Tenant;

/// The memory of a device, shared by tenants.
#[derive(Debug)]
pub struct Memory {
    bytes: u64,
    bytes_max: u64,
    tenant_bytes_max: u64,
    held: HashMap<Tenant, u64>,
}

/// Bytes that a tenant holds. To be given back with [`Memory::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "held bytes are given back with `Memory::release`"]
pub struct Held {
    tenant: Tenant,
    bytes: u64,
}

impl Held {
    /// How many bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Why memory is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The tenant has its part.
    #[error(
        "{needed} bytes more than the {held} that `{tenant}` holds on the device; it may have {bytes_max}"
    )]
    Tenant {
        /// The tenant.
        tenant: Tenant,
        /// Bytes asked for.
        needed: u64,
        /// Bytes that it holds.
        held: u64,
        /// Its limit.
        bytes_max: u64,
    },
    /// The device is full.
    #[error("{needed} bytes are needed, the device has {free} of {bytes_max} left")]
    Device {
        /// Bytes asked for.
        needed: u64,
        /// Bytes that nobody holds.
        free: u64,
        /// The device's limit.
        bytes_max: u64,
    },
}

impl Memory {
    /// Memory of `bytes_max` bytes, of which each tenant may hold `tenant_bytes_max`.
    #[must_use]
    pub fn new(bytes_max: u64, tenant_bytes_max: u64) -> Self {
        Self {
            bytes: 0,
            bytes_max,
            tenant_bytes_max: tenant_bytes_max.min(bytes_max),
            held: HashMap::new(),
        }
    }

    /// Takes bytes for a tenant.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is taken.
    pub fn take(&mut self, tenant: &Tenant, bytes: u64) -> Result<Held, MemoryError> {
        let held = self.held_by(tenant);
        let tenant_total = held.saturating_add(bytes);
        if tenant_total > self.tenant_bytes_max {
            return Err(MemoryError::Tenant {
                tenant: tenant.clone(),
                needed: bytes,
                held,
                bytes_max: self.tenant_bytes_max,
            });
        }
        let total = self.bytes.saturating_add(bytes);
        if total > self.bytes_max {
            return Err(MemoryError::Device {
                needed: bytes,
                free: self.bytes_max.saturating_sub(self.bytes),
                bytes_max: self.bytes_max,
            });
        }
        self.bytes = total;
        if bytes > 0 {
            self.held.insert(tenant.clone(), tenant_total);
        }
        Ok(Held {
            tenant: tenant.clone(),
            bytes,
        })
    }

    /// Gives bytes back.
    pub fn release(&mut self, held: Held) {
        self.bytes = self.bytes.saturating_sub(held.bytes);
        if let Some(bytes) = self.held.get_mut(&held.tenant) {
            *bytes = bytes.saturating_sub(held.bytes);
            if *bytes == 0 {
                self.held.remove(&held.tenant);
            }
        }
    }

    /// Bytes that a tenant holds.
    #[must_use]
    pub fn held_by(&self, tenant: &Tenant) -> u64 {
        self.held.get(tenant).copied().unwrap_or_default()
    }

    /// Bytes that all hold.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_limit_has_its_own_error() {
        let (ann, bob) = (Tenant::new("ann"), Tenant::new("bob"));
        let mut memory = Memory::new(100, 70);
        let held = memory.take(&ann, 70).unwrap();
        assert_eq!(
            memory.take(&ann, 1).unwrap_err().to_string(),
            "1 bytes more than the 70 that `ann` holds on the device; it may have 70"
        );
        assert_eq!(
            memory.take(&bob, 31).unwrap_err().to_string(),
            "31 bytes are needed, the device has 30 of 100 left"
        );
        memory.release(held);
        assert_eq!((memory.bytes(), memory.held_by(&ann)), (0, 0));
        assert!(memory.held.is_empty(), "nobody is remembered for nothing");
    }

    proptest! {
        #[test]
        fn sums_never_pass_their_limits(steps in prop::collection::vec((0_u8..4, any::<bool>(), 0_u64..60), 0..200)) {
            let mut memory = Memory::new(100, 50);
            let mut all: Vec<Held> = Vec::new();
            for (who, take, bytes) in steps {
                let tenant = Tenant::new(&who.to_string());
                if take {
                    if let Ok(held) = memory.take(&tenant, bytes) { all.push(held); }
                } else if !all.is_empty() {
                    let index = usize::try_from(bytes).unwrap() % all.len();
                    memory.release(all.swap_remove(index));
                }
                prop_assert_eq!(memory.bytes(), all.iter().map(Held::bytes).sum::<u64>());
                prop_assert!(memory.bytes() <= 100);
                for held in &all { prop_assert!(memory.held_by(&held.tenant) <= 50); }
            }
        }
    }
}
