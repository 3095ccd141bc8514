//! Buffers on the device, kept for reuse within a limit.
//!
//! Sizes are rounded up to an eighth of a power of two, so that few sizes exist. Buffers in use and
//! kept ones together never exceed the budget. Non-goals: what is in them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rialto_compute::ops::EvalError;

use crate::{
    budget::{Budget, Hold},
    link::{Link, is_out_of_memory},
};

/// Free buffers by size, and the budget of those in use.
#[derive(Debug)]
pub(crate) struct Pool {
    budget: Arc<Budget>,
    /// Kernels' numbers are counted by themselves, so that full memory can be worked off.
    numbers: Arc<Budget>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    buffers: BTreeMap<u64, Vec<wgpu::Buffer>>,
    bytes: u64,
}

/// A buffer in use; it goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    pub link: Arc<Link>,
    buffer: Option<wgpu::Buffer>,
    size: u64,
    _hold: Hold,
}

/// A tensor's bytes within a buffer: all of it, or a part that starts where bindings may.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub memory: Arc<Memory>,
    pub offset: u64,
}

impl Pool {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            numbers: Budget::new(NUMBERS_MAX),
            free: Mutex::new(Free {
                buffers: BTreeMap::new(),
                bytes: 0,
            }),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops kept buffers until so many bytes fit beside those in use.
    fn make_room(&self, needed: u64) {
        let mut free = self.free();
        let limit = self.budget.limit();
        while free
            .bytes
            .saturating_add(self.budget.used())
            .saturating_add(needed)
            > limit
        {
            let Some((size, mut kept)) = free.buffers.pop_last() else {
                return;
            };
            if kept.pop().is_some() {
                free.bytes = free.bytes.saturating_sub(size);
            }
            if !kept.is_empty() {
                free.buffers.insert(size, kept);
            }
        }
    }

    fn reuse(&self, size: u64) -> Option<wgpu::Buffer> {
        let mut free = self.free();
        let buffer = free.buffers.get_mut(&size)?.pop()?;
        free.bytes = free.bytes.saturating_sub(size);
        Some(buffer)
    }
}

impl Link {
    /// A buffer of at least so many bytes, with anything in it.
    pub(crate) fn allocate(
        self: &Arc<Self>,
        op: &'static str,
        bytes: usize,
    ) -> Result<Part, EvalError> {
        self.allocate_from(&self.pool.budget, op, bytes)
    }

    /// A buffer for kernels' numbers.
    pub(crate) fn allocate_numbers(self: &Arc<Self>, bytes: usize) -> Result<Part, EvalError> {
        self.allocate_from(&self.pool.numbers, "parameters", bytes)
    }

    fn allocate_from(
        self: &Arc<Self>,
        budget: &Arc<Budget>,
        op: &'static str,
        bytes: usize,
    ) -> Result<Part, EvalError> {
        let size = rounded(u64::try_from(bytes).unwrap_or(u64::MAX));
        if size > self.buffer_bytes_max() {
            return Err(EvalError::Memory {
                needed: size,
                used: budget.used(),
                limit: self.buffer_bytes_max(),
            });
        }
        let hold = budget.take(size)?;
        let buffer = match self.pool.reuse(size) {
            Some(buffer) => buffer,
            None => {
                self.pool.make_room(0);
                match self.create(op, size) {
                    Err(error) if is_out_of_memory(&error) => {
                        *self.pool.free() = Free::default();
                        self.create(op, size)?
                    }
                    made => made?,
                }
            }
        };
        Ok(Part {
            memory: Arc::new(Memory {
                link: Arc::clone(self),
                buffer: Some(buffer),
                size,
                _hold: hold,
            }),
            offset: 0,
        })
    }

    fn create(&self, op: &'static str, size: u64) -> Result<wgpu::Buffer, EvalError> {
        self.guarded(op, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::UNIFORM
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }
}

impl Memory {
    /// The buffer; none only while it is dropped.
    pub(crate) const fn buffer(&self) -> Option<&wgpu::Buffer> {
        self.buffer.as_ref()
    }

    /// Its bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take()
            && self.link.lost().is_none()
        {
            let mut free = self.link.pool.free();
            free.bytes = free.bytes.saturating_add(self.size);
            free.buffers.entry(self.size).or_default().push(buffer);
        }
    }
}

/// Up to an eighth of a power of two more, at least 256 bytes.
fn rounded(bytes: u64) -> u64 {
    let bytes = bytes.clamp(SIZE_MIN, 1 << 62);
    let step = (1_u64 << bytes.ilog2()) / 8;
    bytes.next_multiple_of(step.max(SIZE_MIN))
}

const SIZE_MIN: u64 = 256;
/// Bytes of kernels' numbers.
const NUMBERS_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn sizes_are_few_and_not_much_more() {
        assert_eq!(
            [0, 1, 256, 257, 2049].map(rounded),
            [256, 256, 256, 512, 2304]
        );
        for bytes in [3000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            assert!(rounded(bytes) >= bytes && rounded(bytes) <= bytes + bytes / 8 + 256);
        }
    }
}
