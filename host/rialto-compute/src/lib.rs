//! What hosts and engines say to each other: tensors, operations, programs and models.
//!
//! A host checks and records what its guests ask for in these terms; an engine computes it. Neither
//! knows the other. All is plain values and narrow traits: [`Engine`] and [`Model`] for model files,
//! [`ops::Device`] for programs of tensor operations, [`language::LanguageModel`] for text.
//!
//! Non-goals: computing anything, threads, files, queues.

mod element;
mod engine;
mod error;
pub mod language;
pub mod ops;
mod tensor;

pub use element::Element;
pub use engine::{Abilities, Engine, Model, Port};
pub use error::{Kind, LoadError, RunError};
pub use tensor::{Tensor, TensorError};
