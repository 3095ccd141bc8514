//! Takes a model's weights out of a file.

use std::collections::BTreeMap;

use rialto_compute::language::About;

use crate::{
    blocks,
    cache::Budget,
    gguf::{File, Tensor},
    kernels::Isa,
    matrix::Matrix,
    tokenizer::{Tokenizer, chat},
};

use super::{Layer, LoadError, Model, Rope, Settings};

/// Tensors that are not yet used.
struct Tensors<'a> {
    unused: BTreeMap<&'a str, &'a Tensor>,
    budget: &'a Budget,
}

pub(super) fn model(file: &File, isa: Isa, budget: &Budget) -> Result<Model, LoadError> {
    let needed = Tokenizer::memory(file).saturating_add(vectors(file));
    let share = budget.take(needed).ok_or_else(|| full(needed, budget))?;
    let tokenizer = Tokenizer::read(file)?;
    let settings = Settings::read(file, tokenizer.len())?;
    let each = file.tensors().iter();
    let mut tensors = Tensors {
        unused: each.map(|(name, tensor)| (name.as_str(), tensor)).collect(),
        budget,
    };
    let (width, vocabulary) = (settings.width, settings.vocabulary);
    let embedding = tensors.matrix("token_embd.weight", width, vocabulary)?;
    let output = if tensors.unused.contains_key("output.weight") {
        Some(tensors.matrix("output.weight", width, vocabulary)?)
    } else {
        None
    };
    let norm = tensors.vector("output_norm.weight", width)?;
    let factors = if tensors.unused.contains_key(ROPE_FACTORS) {
        Some(tensors.vector(ROPE_FACTORS, settings.rope_width / 2)?)
    } else {
        None
    };
    let mut layers = Vec::new();
    for layer in 0..settings.layers {
        layers.push(self::layer(&mut tensors, layer, &settings)?);
    }
    if let Some(name) = tensors.unused.keys().next() {
        return Err(LoadError::Unsupported(format!("the tensor `{name}`")));
    }
    let rope = Rope::new(&settings, factors.as_deref());
    let mut model = Model {
        about: about(file, &settings, &tokenizer),
        settings,
        isa,
        embedding,
        layers,
        norm,
        output,
        rope,
        tokenizer,
        _share: share,
    };
    model.about.weights_bytes = u64::try_from(model.weights_bytes()).unwrap_or(u64::MAX);
    Ok(model)
}

fn about(file: &File, settings: &Settings, tokenizer: &Tokenizer) -> About {
    // A name is shown to people: what moves a terminal's cursor is left out.
    let name = file.text("general.name").unwrap_or_default();
    let shown = name.chars().filter(|character| !character.is_control());
    About {
        name: shown.take(NAME_CHARS_MAX).collect(),
        architecture: "llama".to_owned(),
        vocabulary: u32::try_from(settings.vocabulary).unwrap_or(u32::MAX),
        context: u32::try_from(settings.context).unwrap_or(u32::MAX),
        template: chat::encode(tokenizer, &[], None).is_some(),
        weights_bytes: 0,
    }
}

/// Bytes of all tensors that are held as plain numbers: those with one row.
fn vectors(file: &File) -> u64 {
    let vectors = file.tensors().values().filter(|tensor| tensor.rows == 1);
    vectors.fold(0, |all: u64, tensor| {
        let items = u64::try_from(tensor.columns).unwrap_or(u64::MAX);
        all.saturating_add(items.saturating_mul(4))
    })
}

fn full(needed: u64, budget: &Budget) -> LoadError {
    LoadError::OutOfMemory {
        needed,
        bytes_max: budget.max(),
    }
}

fn layer(tensors: &mut Tensors<'_>, layer: usize, s: &Settings) -> Result<Layer, LoadError> {
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    let (queries, keys) = (s.heads * s.head_width, s.key_heads * s.head_width);
    Ok(Layer {
        attention_norm: tensors.vector(&name("attn_norm"), s.width)?,
        query: tensors.matrix(&name("attn_q"), s.width, queries)?,
        key: tensors.matrix(&name("attn_k"), s.width, keys)?,
        value: tensors.matrix(&name("attn_v"), s.width, keys)?,
        attention_output: tensors.matrix(&name("attn_output"), queries, s.width)?,
        feed_norm: tensors.vector(&name("ffn_norm"), s.width)?,
        gate: tensors.matrix(&name("ffn_gate"), s.width, s.feed_width)?,
        up: tensors.matrix(&name("ffn_up"), s.width, s.feed_width)?,
        down: tensors.matrix(&name("ffn_down"), s.feed_width, s.width)?,
    })
}

impl Tensors<'_> {
    fn take(&mut self, name: &str, columns: usize, rows: usize) -> Result<&Tensor, LoadError> {
        let tensor = self
            .unused
            .remove(name)
            .ok_or_else(|| LoadError::Tensor(name.to_owned()))?;
        if (tensor.columns, tensor.rows) == (columns, rows) {
            return Ok(tensor);
        }
        Err(LoadError::Shape {
            tensor: name.to_owned(),
            found: (tensor.columns, tensor.rows),
            expected: (columns, rows),
        })
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize) -> Result<Matrix, LoadError> {
        let budget = self.budget;
        let tensor = self.take(name, columns, rows)?;
        if !columns.is_multiple_of(blocks::GROUP) {
            return Err(LoadError::Unsupported(format!(
                "`{name}` with rows of {columns}"
            )));
        }
        Matrix::new(tensor, budget).ok_or_else(|| {
            let bytes = u64::try_from(tensor.bytes.len()).unwrap_or(u64::MAX);
            full(bytes, budget)
        })
    }

    fn vector(&mut self, name: &str, items: usize) -> Result<Vec<f32>, LoadError> {
        Ok(blocks::dequantise(self.take(name, items, 1)?))
    }
}

const NAME_CHARS_MAX: usize = 200;
const ROPE_FACTORS: &str = "rope_freqs.weight";
