//! Language models behind the trait that hosts know.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use rialto_compute::{
    Abilities, LoadError,
    language::{About, GenerateError, LanguageModel, Message, Session},
};

use crate::{
    Batcher, Budget, Model,
    gguf::Limits,
    model,
    tokenizer::chat::{self, SMOLLM_SYSTEM},
};

/// How language models run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads that work on one model.
    pub threads: NonZeroUsize,
    /// Bytes of the weights and vocabularies of all models.
    pub weights_bytes_max: u64,
    /// Bytes of the sessions of all models.
    pub sessions_bytes_max: u64,
    /// Sessions of one model that may be at work or wait for it.
    pub waiting_max: usize,
    /// What a file may contain.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            weights_bytes_max: 8 << 30,
            sessions_bytes_max: 2 << 30,
            waiting_max: 1024,
            limits: Limits::default(),
        }
    }
}

/// Loads language models, all within the same memory.
#[derive(Debug, Clone)]
pub struct Engine {
    config: Config,
    weights: Budget,
    sessions: Budget,
}

impl Engine {
    /// An engine without models.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            weights: Budget::new(config.weights_bytes_max),
            sessions: Budget::new(config.sessions_bytes_max),
            config,
        }
    }

    /// Whether a file that begins so is for this engine.
    #[must_use]
    pub fn recognises(start: &[u8]) -> bool {
        start.starts_with(b"GGUF")
    }

    /// The largest file that can be loaded, in bytes: check it before reading one.
    #[must_use]
    pub fn file_bytes_max(&self) -> u64 {
        let left = self
            .config
            .weights_bytes_max
            .saturating_sub(self.weights.used());
        left.min(self.config.limits.file_bytes_max)
    }

    /// Memory in use, in bytes: of weights, and of sessions.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.weights.used(), self.sessions.used())
    }

    /// Parses and checks a model's file, and starts its thread. Blocks. `name` is for messages only.
    ///
    /// # Errors
    /// [`LoadError`] for every file that cannot be run here, however it is malformed.
    pub fn load(&self, bytes: &Bytes, name: &str) -> Result<Arc<dyn LanguageModel>, LoadError> {
        let loaded = Model::load(bytes, &self.config.limits, &self.weights);
        let model = Arc::new(loaded.map_err(|error| refused(name, &error))?);
        let abilities = Abilities {
            engine: concat!("rialto-lm ", env!("CARGO_PKG_VERSION")).to_owned(),
            device: "cpu".to_owned(),
            deterministic: true,
            fingerprint: fingerprint(bytes),
        };
        let threads = self.config.threads.get();
        let batcher = Batcher::new(
            model,
            threads,
            self.sessions.clone(),
            self.config.waiting_max,
        );
        let batcher = batcher.map_err(|error| LoadError::TooLarge {
            model: name.to_owned(),
            reason: format!("the system has no thread for it: {error}"),
        })?;
        Ok(Arc::new(Loaded { batcher, abilities }))
    }
}

/// A model with its batcher.
struct Loaded {
    batcher: Arc<Batcher>,
    abilities: Abilities,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("about", self.about())
            .finish_non_exhaustive()
    }
}

impl LanguageModel for Loaded {
    fn about(&self) -> &About {
        self.batcher.model().about()
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn tokenise(&self, text: &str, special: bool) -> Vec<u32> {
        self.batcher.model().tokenizer().encode(text, special)
    }

    fn detokenise(&self, tokens: &[u32]) -> String {
        self.batcher.model().tokenizer().decode(tokens)
    }

    fn template(&self, messages: &[Message]) -> Result<Vec<u32>, GenerateError> {
        let messages: Vec<chat::Message<'_>> = messages
            .iter()
            .map(|message| chat::Message {
                role: message.role.name(),
                content: &message.content,
            })
            .collect();
        // Its makers' words, where the file names that model.
        let smollm = self.about().name.to_lowercase().contains("smollm");
        let system = smollm.then_some(SMOLLM_SYSTEM);
        chat::encode(self.batcher.model().tokenizer(), &messages, system)
            .ok_or(GenerateError::NoTemplate)
    }

    fn session_bytes(&self, tokens_max: u32) -> u64 {
        let tokens_max = tokens_max.min(self.about().context);
        let tokens_max = usize::try_from(tokens_max).unwrap_or(usize::MAX);
        crate::Session::bytes(self.batcher.model(), tokens_max)
    }

    fn session(&self, tokens_max: u32) -> Box<dyn Session> {
        let tokens_max = usize::try_from(tokens_max).unwrap_or(usize::MAX);
        Box::new(self.batcher.seat(tokens_max))
    }
}

/// The file's texts in it may be a stranger's: whoever shows the error sees no control characters.
fn refused(name: &str, error: &model::LoadError) -> LoadError {
    let text = error.to_string();
    let reason: String = text
        .chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    let model = name.to_owned();
    match error {
        model::LoadError::Unsupported(_) => LoadError::Unsupported { model, reason },
        model::LoadError::OutOfMemory { bytes_max, .. } => LoadError::EngineFull {
            model,
            bytes_max: *bytes_max,
        },
        model::LoadError::Gguf(_)
        | model::LoadError::Tokenizer(_)
        | model::LoadError::Setting(_)
        | model::LoadError::Value { .. }
        | model::LoadError::Tensor(_)
        | model::LoadError::Shape { .. } => LoadError::Malformed { model, reason },
    }
}

/// Names everything that decides a result's bits: engine, model, and what the system's mathematical
/// functions give. Instruction set, threads and batches decide nothing.
fn fingerprint(file: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("rialto 2026 language model fingerprint v1");
    hasher.update(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes());
    hasher.update(blake3::hash(file).as_bytes());
    for step in 0..PROBES {
        let x = f64::from(step) * 0.37;
        let (sin, cos) = x.sin_cos();
        let power = 1e-4_f64.powf(x / 100.0);
        for number in [sin, cos, power, (-x / 10.0).exp()] {
            hasher.update(&number.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

const PROBES: u32 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_model_has_another_fingerprint() {
        assert_eq!(fingerprint(b"one"), fingerprint(b"one"));
        assert_ne!(fingerprint(b"one"), fingerprint(b"two"));
    }

    #[test]
    fn a_refusal_shows_no_control_character() {
        let error = model::LoadError::Tensor("\u{1b}[2J".to_owned());
        let shown = refused("m", &error).to_string();
        assert!(
            !shown.contains('\u{1b}') && shown.contains("[2J"),
            "{shown}"
        );
    }
}
