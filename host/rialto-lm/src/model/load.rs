//! Takes a model's weights out of a file.

use std::collections::BTreeMap;

use crate::{
    blocks,
    gguf::{File, Tensor},
    kernels::Isa,
    matrix::Matrix,
    tokenizer::Tokenizer,
};

use super::{Layer, LoadError, Model, Rope, Settings};

/// Tensors that are not yet used.
struct Tensors<'a>(BTreeMap<&'a str, &'a Tensor>);

pub(super) fn model(file: &File, isa: Isa) -> Result<Model, LoadError> {
    let tokenizer = Tokenizer::read(file)?;
    let settings = Settings::read(file, tokenizer.len())?;
    let mut tensors = Tensors(
        file.tensors()
            .iter()
            .map(|(k, v)| (k.as_str(), v))
            .collect(),
    );
    let (width, vocabulary) = (settings.width, settings.vocabulary);
    let embedding = tensors.matrix("token_embd.weight", width, vocabulary)?;
    let output = if tensors.0.contains_key("output.weight") {
        Some(tensors.matrix("output.weight", width, vocabulary)?)
    } else {
        None
    };
    let norm = tensors.vector("output_norm.weight", width)?;
    let factors = if tensors.0.contains_key(ROPE_FACTORS) {
        Some(tensors.vector(ROPE_FACTORS, settings.rope_width / 2)?)
    } else {
        None
    };
    let mut layers = Vec::new();
    for layer in 0..settings.layers {
        layers.push(self::layer(&mut tensors, layer, &settings)?);
    }
    if let Some(name) = tensors.0.keys().next() {
        return Err(LoadError::Unsupported(format!("the tensor `{name}`")));
    }
    let rope = Rope::new(&settings, factors.as_deref());
    Ok(Model {
        settings,
        isa,
        embedding,
        layers,
        norm,
        output,
        rope,
        tokenizer,
    })
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
            .0
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
        let tensor = self.take(name, columns, rows)?;
        if !columns.is_multiple_of(blocks::GROUP) {
            return Err(LoadError::Unsupported(format!(
                "`{name}` with rows of {columns}"
            )));
        }
        Ok(Matrix::new(tensor))
    }

    fn vector(&mut self, name: &str, items: usize) -> Result<Vec<f32>, LoadError> {
        Ok(blocks::dequantise(self.take(name, items, 1)?))
    }
}

const ROPE_FACTORS: &str = "rope_freqs.weight";
