//! A llama-family model: settings and weights, as its file gives them.
//!
//! Covers files whose architecture is `llama`: Llama 1 to 3, Mistral, SmolLM and others of the shape.
//! A setting or tensor that is not known here is refused, since ignoring it would compute something
//! else than the model's makers meant. Non-goals: mixtures of experts, other architectures.

mod forward;
mod load;
mod rope;
mod settings;

use bytes::Bytes;
use rialto_compute::language::About;

use crate::{
    cache::{Budget, Share},
    gguf::{File, GgufError, Limits},
    kernels::Isa,
    matrix::Matrix,
    tokenizer::{Tokenizer, TokenizerError},
};

pub use settings::{RopeScaling, Settings};

pub(crate) use forward::{Forward, Row, Stopped};
pub(crate) use rope::Rope;

/// Why a file is not accepted as a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file is no GGUF file, or a damaged one.
    #[error("the file is malformed: {0}")]
    Gguf(#[from] GgufError),
    /// The vocabulary is missing, damaged or of another kind.
    #[error("the tokenizer: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// A setting is missing, or not of its type.
    #[error("the setting `{0}` is missing or has another type")]
    Setting(&'static str),
    /// A setting has a value that cannot be.
    #[error("the setting `{key}` is {value}, but {needed}")]
    Value {
        /// The setting.
        key: &'static str,
        /// What the file says.
        value: String,
        /// What would do.
        needed: &'static str,
    },
    /// A tensor is missing.
    #[error("the tensor `{0}` is missing")]
    Tensor(String),
    /// A tensor has another shape than the settings ask for.
    #[error("the tensor `{tensor}` has {found:?} columns and rows, not {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Columns and rows in the file.
        found: (usize, usize),
        /// Columns and rows by the settings.
        expected: (usize, usize),
    },
    /// The weights or the vocabulary do not fit the budget.
    #[error("{needed} more bytes do not fit the {bytes_max} for models")]
    OutOfMemory {
        /// What was missing.
        needed: u64,
        /// The budget.
        bytes_max: u64,
    },
    /// The file asks for something that is not computed here.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// A loaded model. Share it with `Arc`.
#[derive(Debug)]
pub struct Model {
    pub(crate) settings: Settings,
    pub(crate) isa: Isa,
    pub(crate) embedding: Matrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    pub(crate) output: Option<Matrix>,
    pub(crate) rope: Rope,
    tokenizer: Tokenizer,
    about: About,
    /// Memory for everything but the matrices, which count for themselves.
    _share: Share,
}

/// One layer's weights.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: Matrix,
    pub(crate) key: Matrix,
    pub(crate) value: Matrix,
    pub(crate) attention_output: Matrix,
    pub(crate) feed_norm: Vec<f32>,
    pub(crate) gate: Matrix,
    pub(crate) up: Matrix,
    pub(crate) down: Matrix,
}

impl Model {
    /// Parses a file and arranges its weights for this processor. Takes about as much memory again
    /// as the file has, all of it from `budget` before it is allocated; the file itself is no longer
    /// needed afterwards.
    ///
    /// # Errors
    /// [`LoadError`] for every file that cannot be run here.
    pub fn load(bytes: &Bytes, limits: &Limits, budget: &Budget) -> Result<Self, LoadError> {
        Self::load_for(bytes, limits, budget, Isa::detect())
    }

    /// As [`Self::load`], with a certain instruction set.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_for(
        bytes: &Bytes,
        limits: &Limits,
        budget: &Budget,
        isa: Isa,
    ) -> Result<Self, LoadError> {
        load::model(&File::parse(bytes, limits)?, isa, budget)
    }

    /// What the model is.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The vocabulary.
    #[must_use]
    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The instruction set in use.
    #[must_use]
    pub const fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of the weights in memory.
    #[must_use]
    pub fn weights_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(Layer::matrices);
        let others = std::iter::once(&self.embedding).chain(&self.output);
        layers.chain(others).map(Matrix::bytes).sum()
    }

    pub(crate) fn head(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    pub(crate) const fn cache_shape(&self) -> crate::cache::Shape {
        crate::cache::Shape {
            layers: self.settings.layers,
            heads: self.settings.key_heads,
            head_width: self.settings.head_width,
        }
    }
}

impl Layer {
    fn matrices(&self) -> [&Matrix; 7] {
        [
            &self.query,
            &self.key,
            &self.value,
            &self.attention_output,
            &self.gate,
            &self.up,
            &self.down,
        ]
    }
}
