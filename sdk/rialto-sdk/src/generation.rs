//! Language models on the host's engine. Needs the grant `tensor`, and each model by its name.
//!
//! ```no_run
//! use rialto_sdk::generation::{LanguageModel, Message, Options, Role};
//!
//! # fn main() -> Result<(), rialto_sdk::tensor::Error> {
//! let model = LanguageModel::open("smollm2")?;
//! let question = Message { role: Role::User, content: "What is gravity?".to_owned() };
//! let prompt = model.template(&[question])?;
//! let session = model.session(1024)?;
//! session.prefill(&prompt)?;
//! let (mut answer, options) = (String::new(), Options::default());
//! loop {
//!     // A few tokens at a time: they can be passed on while the rest is written.
//!     let chunk = session.generate(16, &options)?;
//!     answer.push_str(&chunk.text);
//!     if chunk.finish.is_some() {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::compute::rialto::tensor::generation::{
    About, Chunk, Finish, Likely, Message, Role, Usage,
};
pub use crate::bindings::compute::rialto::tensor::models::Abilities;

use crate::bindings::compute::rialto::tensor::generation as host;
use crate::tensor::Error;

/// A loaded language model, shared by all instances on the host.
#[derive(Debug)]
pub struct LanguageModel(host::LanguageModel);

impl LanguageModel {
    /// Opens a model by the name under which the manifest grants it.
    ///
    /// # Errors
    /// [`Error::NotGranted`] if the manifest does not allow it, [`Error::Unsupported`] if it is a model of
    /// another kind.
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(host::LanguageModel::open(name)?))
    }

    /// What the model is.
    #[must_use]
    pub fn about(&self) -> About {
        self.0.about()
    }

    /// What runs this model here.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    /// Text to tokens. `special`: whether special tokens written out in the text become those tokens;
    /// never do that with text from strangers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than 1 MiB of text, or 64 KiB with special tokens.
    pub fn tokenise(&self, text: &str, special: bool) -> Result<Vec<u32>, Error> {
        Ok(self.0.tokenise(text, special)?)
    }

    /// Tokens to text. Bytes that are no UTF-8 become U+FFFD, control tokens nothing.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the text would be longer than 1 MiB.
    pub fn detokenise(&self, tokens: &[u32]) -> Result<String, Error> {
        Ok(self.0.detokenise(tokens)?)
    }

    /// A conversation as tokens, by the model's own template, up to where the assistant is to answer.
    /// What messages say never becomes a special token.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model is not made for conversations.
    pub fn template(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        Ok(self.0.template(messages)?)
    }

    /// Opens an empty session for at most `tokens_max` tokens, and never more than the model's context.
    ///
    /// # Errors
    /// [`Error::OutOfBudget`] if the call may not have so many.
    pub fn session(&self, tokens_max: u32) -> Result<Session, Error> {
        Ok(Session(self.0.session(tokens_max)?))
    }
}

/// A sequence of tokens that a model has seen. Dropping it frees its memory; a call's sessions are freed
/// with the call.
#[derive(Debug)]
pub struct Session(host::Session);

impl Session {
    /// Takes tokens in. Text that is held back is forgotten.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for tokens outside the vocabulary, or too many;
    /// [`Error::OutOfBudget`] if the host has no memory or time left.
    pub fn prefill(&self, tokens: &[u32]) -> Result<(), Error> {
        Ok(self.0.prefill(tokens)?)
    }

    /// Continues by at most `max` tokens and returns when they are ready.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if an option is out of its range or the session is empty;
    /// [`Error::OutOfBudget`] if the host has no memory or time left.
    pub fn generate(&self, max: u32, options: &Options) -> Result<Chunk, Error> {
        Ok(self.0.generate(max, &options.of_host())?)
    }

    /// The tokens most likely to follow, at most 256, most likely first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the session is empty.
    pub fn likeliest(&self, count: u32) -> Result<Vec<Likely>, Error> {
        Ok(self.0.likeliest(count)?)
    }

    /// The text that is still held back, since it is half a character or may begin a stop sequence.
    #[must_use]
    pub fn rest(&self) -> String {
        self.0.rest()
    }

    /// A second session with the same tokens. The call's memory is charged as for a new one.
    ///
    /// # Errors
    /// [`Error::OutOfBudget`] if the call has no memory for another.
    pub fn fork(&self) -> Result<Self, Error> {
        Ok(Self(self.0.fork()?))
    }

    /// Forgets all but the first `length` tokens, and text that is held back.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are fewer.
    pub fn truncate(&self, length: u32) -> Result<(), Error> {
        Ok(self.0.truncate(length)?)
    }

    /// How many tokens there are.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.0.length()
    }

    /// The most tokens.
    #[must_use]
    pub fn tokens_max(&self) -> u32 {
        self.0.tokens_max()
    }

    /// What it cost so far, as the receipt counts it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }
}

/// How tokens are chosen, and where the text ends. The filters apply in the order of the fields; the
/// default takes the most likely token.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Makes tokens among the last `penalty_tokens` less likely: positive logits are divided by this,
    /// negative ones multiplied. 0.01 to 100; 1 changes nothing.
    pub repetition_penalty: f32,
    /// How far back repetitions count.
    pub penalty_tokens: u32,
    /// Divides the logits, 0 to 100. 0 takes the most likely token.
    pub temperature: f32,
    /// Only so many of the most likely tokens; 0 for all.
    pub top_k: u32,
    /// Only the most likely tokens that have this much probability together; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this times as likely as the most likely one; 0 for all.
    pub min_p: f32,
    /// Where the random numbers start: with one seed, equal sessions give equal tokens.
    pub seed: u64,
    /// Texts before which the answer ends; at most 16 of 1 to 256 bytes.
    pub stop: Vec<String>,
    /// The only tokens that may be chosen; all if not given.
    pub allowed: Option<Vec<u32>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            penalty_tokens: 64,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
            stop: Vec::new(),
            allowed: None,
        }
    }
}

impl Options {
    fn of_host(&self) -> host::Options {
        host::Options {
            repetition_penalty: self.repetition_penalty,
            penalty_tokens: self.penalty_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
            stop: self.stop.clone(),
            allowed: self.allowed.clone(),
        }
    }
}
