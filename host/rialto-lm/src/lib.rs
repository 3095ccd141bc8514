//! GGUF language models on the CPU.
//!
//! [`gguf`] reads files from strangers, [`Tokenizer`] turns text into tokens with the file's own
//! vocabulary, [`Model`] holds the weights as the processor likes them, [`Session`] is one
//! conversation's state, [`Runner`] takes several sessions forward in one batch, [`Sampler`] chooses
//! tokens, [`Batcher`] brings the sessions of many callers together, and [`Engine`] offers all that to a
//! host. Same bits for same inputs: on every instruction set, number of threads and batch.
//!
//! Non-goals: graphics processors, training, other architectures than llama's.

mod batcher;
pub mod blocks;
mod cache;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gguf;
mod kernels;
mod matrix;
mod model;
mod pool;
mod runner;
mod sampling;
mod session;
pub mod tokenizer;

pub use batcher::Batcher;
pub use cache::Budget;
pub use engine::{Config, Engine};
pub use kernels::Isa;
pub use model::{LoadError, Model, RopeScaling, Settings};
pub use rialto_compute::language::Sampling;
pub use runner::{Cancel, Input, RunError, Runner};
pub use sampling::{SampleError, Sampler};
pub use session::Session;
pub use tokenizer::{Tokenizer, TokenizerError};
