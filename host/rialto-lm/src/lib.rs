//! GGUF language models on the CPU.
//!
//! [`gguf`] reads files from strangers, [`Tokenizer`] turns text into tokens with the file's own
//! vocabulary, [`Model`] holds the weights as the processor likes them, [`Session`] is one
//! conversation's state, [`Runner`] takes several sessions forward in one batch, and [`Sampler`]
//! chooses tokens. Same bits for same inputs: on every instruction set, number of threads and batch.
//!
//! Non-goals: graphics processors, training, other architectures than llama's.

pub mod blocks;
mod cache;
pub mod gguf;
mod kernels;
mod matrix;
mod model;
mod pool;
mod runner;
mod sampling;
mod session;
pub mod tokenizer;

pub use cache::Budget;
pub use kernels::Isa;
pub use model::{LoadError, Model, RopeScaling, Settings};
pub use runner::{Cancel, Input, RunError, Runner};
pub use sampling::{SampleError, Sampler, Sampling};
pub use session::Session;
pub use tokenizer::{Tokenizer, TokenizerError};
