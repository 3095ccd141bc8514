//! A model's settings, out of a file's metadata.

use crate::gguf::File;

use super::LoadError;

/// What a model's file says about its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Layers.
    pub layers: usize,
    /// The most tokens of a session, by the model's training.
    pub context: usize,
    /// The width of a token's state.
    pub width: usize,
    /// The width of the feed-forward part.
    pub feed_width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of the query heads.
    pub key_heads: usize,
    /// The width of a head.
    pub head_width: usize,
    /// How many dimensions of a head are rotated.
    pub rope_width: usize,
    /// The base of the rotations' frequencies.
    pub rope_base: f32,
    /// How positions are stretched.
    pub rope_scaling: RopeScaling,
    /// What is added under the root in the norms.
    pub epsilon: f32,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
}

/// How positions beyond the original context are reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions are divided by this.
    Linear(f32),
}

impl Settings {
    /// Reads the settings; `vocabulary` is how many tokens the tokenizer has.
    pub(super) fn read(file: &File, vocabulary: usize) -> Result<Self, LoadError> {
        let architecture = file
            .text(ARCHITECTURE)
            .ok_or(LoadError::Setting(ARCHITECTURE))?;
        if architecture != "llama" {
            return Err(LoadError::Unsupported(format!(
                "architecture `{architecture}`, only `llama`"
            )));
        }
        known(file)?;
        let width = number(file, "llama.embedding_length", 1 << 16)?;
        let heads = number(file, "llama.attention.head_count", 1 << 10)?;
        let key_heads = optional(file, "llama.attention.head_count_kv", 1 << 10)?.unwrap_or(heads);
        let head_width = optional(file, KEY_LENGTH, 1 << 12)?.unwrap_or(width / heads);
        let value_width = optional(file, "llama.attention.value_length", 1 << 12)?;
        let rope_width = optional(file, ROPE_WIDTH, 1 << 12)?.unwrap_or(head_width);
        let settings = Self {
            layers: number(file, "llama.block_count", 1 << 10)?,
            context: number(file, "llama.context_length", 1 << 24)?,
            width,
            feed_width: number(file, "llama.feed_forward_length", 1 << 18)?,
            heads,
            key_heads,
            head_width,
            rope_width,
            rope_base: float(file, "llama.rope.freq_base", 1e10)?.unwrap_or(10_000.0),
            rope_scaling: scaling(file)?,
            epsilon: float(file, EPSILON, 1.0)?.ok_or(LoadError::Setting(EPSILON))?,
            vocabulary,
        };
        let value = |key, value: usize, needed| LoadError::Value {
            key,
            value: value.to_string(),
            needed,
        };
        if !heads.is_multiple_of(key_heads) {
            let key = "llama.attention.head_count_kv";
            return Err(value(key, key_heads, "must divide head_count"));
        }
        if head_width == 0
            || !head_width.is_multiple_of(16)
            || value_width.is_some_and(|width| width != head_width)
        {
            return Err(value(
                KEY_LENGTH,
                head_width,
                "must be value_length and a multiple of 16",
            ));
        }
        if rope_width > head_width || !rope_width.is_multiple_of(2) {
            return Err(value(
                ROPE_WIDTH,
                rope_width,
                "must be even and at most a head's width",
            ));
        }
        Ok(settings)
    }
}

/// Refuses settings that change the computation in a way that is not known here.
fn known(file: &File) -> Result<(), LoadError> {
    let settings = file
        .metadata()
        .iter()
        .filter(|(key, _)| key.starts_with("llama."));
    for (key, value) in settings {
        let harmless = KNOWN.contains(&key.as_str())
            || (NONE_OR_ZERO.contains(&key.as_str()) && value.unsigned() == Some(0));
        if !harmless {
            return Err(LoadError::Unsupported(format!("the setting `{key}`")));
        }
    }
    Ok(())
}

fn scaling(file: &File) -> Result<RopeScaling, LoadError> {
    let factor = float(file, "llama.rope.scaling.factor", 1e6)?;
    match (file.text("llama.rope.scaling.type"), factor) {
        (None | Some("none"), _) => Ok(RopeScaling::None),
        (Some("linear"), Some(factor)) => Ok(RopeScaling::Linear(factor)),
        (Some("linear"), None) => Err(LoadError::Setting("llama.rope.scaling.factor")),
        (Some(kind), _) => Err(LoadError::Unsupported(format!("rope scaling `{kind}`"))),
    }
}

fn number(file: &File, key: &'static str, max: usize) -> Result<usize, LoadError> {
    optional(file, key, max)?.ok_or(LoadError::Setting(key))
}

fn optional(file: &File, key: &'static str, max: usize) -> Result<Option<usize>, LoadError> {
    if !file.metadata().contains_key(key) {
        return Ok(None);
    }
    let value = file.unsigned(key).ok_or(LoadError::Setting(key))?;
    match usize::try_from(value) {
        Ok(value) if (1..=max).contains(&value) => Ok(Some(value)),
        Ok(_) | Err(_) => Err(LoadError::Value {
            key,
            value: value.to_string(),
            needed: "must be at least 1 and of ordinary size",
        }),
    }
}

fn float(file: &File, key: &'static str, max: f32) -> Result<Option<f32>, LoadError> {
    if !file.metadata().contains_key(key) {
        return Ok(None);
    }
    let value = file.float(key).ok_or(LoadError::Setting(key))?;
    if value > 0.0 && value <= max {
        return Ok(Some(value));
    }
    Err(LoadError::Value {
        key,
        value: value.to_string(),
        needed: "must be positive and of ordinary size",
    })
}

const ARCHITECTURE: &str = "general.architecture";
const EPSILON: &str = "llama.attention.layer_norm_rms_epsilon";
const KEY_LENGTH: &str = "llama.attention.key_length";
const ROPE_WIDTH: &str = "llama.rope.dimension_count";
const KNOWN: [&str; 16] = [
    ARCHITECTURE,
    EPSILON,
    KEY_LENGTH,
    ROPE_WIDTH,
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.value_length",
    "llama.block_count",
    "llama.context_length",
    "llama.embedding_length",
    "llama.feed_forward_length",
    "llama.rope.freq_base",
    "llama.rope.scaling.factor",
    "llama.rope.scaling.original_context_length",
    "llama.rope.scaling.type",
    "llama.vocab_size",
];
const NONE_OR_ZERO: [&str; 2] = ["llama.expert_count", "llama.expert_used_count"];
