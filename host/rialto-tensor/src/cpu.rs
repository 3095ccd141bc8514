//! The CPU device.
//!
//! Products go through `gemm`; everything else is loops over blocks that compilers turn into vector
//! instructions. Results do not depend on the number of threads. Products depend on the instruction
//! set that `gemm` finds; everything else gives the same bits on every machine.

mod attention;
mod budget;
mod cells;
mod conv;
mod elementwise;
mod gemm;
mod index;
mod kernels;
mod layout;
mod math;
mod matmul;
mod philox;
mod place;
mod pool;
mod quantise;
mod rank;
mod reduce;
mod rope;
mod rows;
mod run;
mod source;
mod threads;
mod views;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    Element, Tensor,
    ops::{Cancel, Device, DeviceAbilities, DeviceKind, EvalError, Program, Resident, Spec},
};
use budget::{Budget, Buffer};

/// The CPU as a device.
#[derive(Debug)]
pub struct CpuDevice {
    abilities: DeviceAbilities,
    budget: Arc<Budget>,
}

impl CpuDevice {
    /// A device of so many threads a run (at least one), whose runs and their results together hold at
    /// most so many bytes.
    #[must_use]
    pub fn new(threads: usize, memory_bytes_max: u64) -> Self {
        Self {
            abilities: DeviceAbilities {
                kind: DeviceKind::Cpu,
                elements: Element::ALL.to_vec(),
                deterministic: true,
                fingerprint: gemm::fingerprint(),
                threads: threads.max(1),
            },
            budget: Budget::new(memory_bytes_max),
        }
    }

    /// Bytes that runs and their results hold now.
    #[must_use]
    pub fn memory_bytes_used(&self) -> u64 {
        self.budget.used()
    }

    /// The most bytes that runs and their results held at a time.
    #[must_use]
    pub fn memory_bytes_peak(&self) -> u64 {
        self.budget.peak()
    }
}

impl Device for CpuDevice {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn abilities(&self) -> &DeviceAbilities {
        &self.abilities
    }

    fn memory_bytes_max(&self) -> u64 {
        self.budget.limit()
    }

    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError> {
        Ok(Resident::host(tensor)?)
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        run::host(resident).cloned()
    }

    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        run::run(
            &self.budget,
            self.abilities.threads,
            program,
            inputs,
            cancel,
        )
    }
}

/// What kernels need beside their operands.
#[derive(Debug, Clone, Copy)]
struct Context<'a> {
    op: &'static str,
    threads: usize,
    budget: &'a Arc<Budget>,
    cancel: &'a Cancel,
}

impl Context<'_> {
    /// All threads.
    const fn crew(&self) -> threads::Crew<'_> {
        self.crew_of(self.threads)
    }

    /// So many threads.
    const fn crew_of(&self, threads: usize) -> threads::Crew<'_> {
        threads::Crew {
            threads,
            cancel: self.cancel,
        }
    }

    fn buffer(&self, bytes: usize) -> Result<Buffer, EvalError> {
        self.budget.buffer(bytes)
    }

    /// How many threads share so many units of so many multiplications each.
    fn share(&self, units: usize, each: usize) -> usize {
        if units.saturating_mul(each) < WORK_MIN {
            return 1;
        }
        self.threads.min(units).max(1)
    }

    /// A promise of inference was broken.
    fn bug(&self, reason: &str) -> EvalError {
        EvalError::Device {
            op: self.op,
            reason: reason.to_owned(),
        }
    }
}

/// A tensor to read.
#[derive(Debug, Clone, Copy)]
struct View<'a> {
    spec: &'a Spec,
    data: &'a [u8],
}

impl<'a> View<'a> {
    /// All elements as floats: for small operands.
    fn floats(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.spec.elements()];
        cells::load_floats(self.spec.element(), self.data, &mut values);
        values
    }

    /// The elements of an f32 tensor.
    fn cells(&self) -> &'a [gemm::Cell] {
        self.data.as_chunks::<4>().0
    }
}

/// Multiplications for which a thread is worth its start.
const WORK_MIN: usize = 1 << 20;
