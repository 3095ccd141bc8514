//! Tensor operations: what they are, what they give, recording, fusing and running them.
//!
//! [`Op`] names an operation, [`infer()`] checks it against the [`Spec`]s of its operands before
//! anything is allocated, [`cost()`] says what it takes. A [`Recording`] collects operations by
//! handles and makes [`Program`]s; a [`Device`] runs them.
//!
//! Non-goals: gradients, model files, scheduling, the guest's interface.

pub mod accepts;
mod cost;
mod device;
mod error;
mod fused;
pub mod geometry;
mod infer;
mod names;
mod op;
mod program;
mod resident;
pub mod spec;

pub use cost::{Cost, cost};
pub use device::{Cancel, Device, DeviceAbilities, DeviceKind};
pub use error::{EvalError, InferError, ProgramError};
pub use fused::{ElementOp, Fused, FusedStep, Source};
pub use infer::infer;
pub use op::{
    Activation, ArgReduce, Attention, Binary, Combine, Compare, Conv, CumSum, Distribution, Iota,
    Matmul, Norm, Number, Op, Pad, PadMode, Pool, PoolKind, Quantise, Random, Range, Reduce,
    ReduceKind, Rope, TopK, Unary, Window,
};
pub use program::{Limits, Moved, Program, Recording, Step, Value, Work};
pub use resident::Resident;
pub use spec::{RANK_MAX, Spec};
