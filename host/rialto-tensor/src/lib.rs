//! Tensor and model engines behind one narrow trait.
//!
//! An [`Engine`] turns a model's file into a [`Model`]; a model runs on named [`Tensor`]s. The traits
//! are those of `rialto-compute`, so that engines can be exchanged without their types reaching the
//! host or its guests. [`TractEngine`] is the embedded engine, pure Rust on the CPU; [`CpuDevice`]
//! runs programs of tensor operations there; [`GraphEngine`] runs models as such programs, on any device.
//!
//! Model files are untrusted: whatever is in them, an engine returns an error. It bounds the file, the
//! graph, every tensor, the memory and the arithmetic of a run before it allocates or computes.
//!
//! Non-goals: fetching and verifying files, deciding who may open which model, metering, threads. A
//! run computes on the thread that calls it; the host decides how many run at once.

mod cache;
mod cpu;
pub mod engines;
mod file;
mod fingerprint;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod graph;
mod joining;
pub mod onnxruntime;
mod operands;
mod share;
mod tract;
pub mod worker;

pub use cache::{Key, ModelCache, OpenError};
pub use cpu::CpuDevice;
pub use graph::GraphEngine;
pub use joining::allow_joining;
pub use rialto_compute::{
    Abilities, Element, Engine, Kind, LoadError, Model, Port, RunError, Tensor, TensorError, ops,
};
pub use tract::{Config, TractEngine};
