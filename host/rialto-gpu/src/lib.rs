//! Tensor operations on graphics processors, through Vulkan, Metal or DX12.
//!
//! [`GpuDevice`] runs programs of tensor operations ([`rialto_compute::ops`]). Tensors stay in the
//! processor's memory between programs. Kernels are written for each kind of step, compiled once and
//! kept; numbers such as extents are no part of them. What no kernel covers runs on another device,
//! the CPU's, with a line in the log. A device is compared with that one before it is used, and
//! refused if it disagrees.
//!
//! No result depends on timing: sums have one order, and there is no floating-point atomic. Results
//! are not bit-equal to the CPU's; `tests` has the tolerances.
//!
//! Non-goals: model files, scheduling, several graphics processors for one program.

mod adapters;
mod agree;
mod budget;
mod config;
mod device;
mod fallback;
mod kernel;
mod link;
mod ops;
mod pipelines;
mod pool;
mod run;
mod status;
mod stream;
mod submit;
mod transfer;

#[cfg(test)]
mod tests;

pub use adapters::{AdapterInfo, AdapterKind, adapters, hardware_is_likely};
pub use config::{Config, INSTALL, OpenError, Wanted};
pub use device::GpuDevice;
