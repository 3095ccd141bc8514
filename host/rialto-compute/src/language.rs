//! Language models: text to tokens, and sessions that go on token by token.
//!
//! A session's keys and values stay with the engine. Work is handed over together with the session and
//! comes back through a [`Reply`], so that an engine can take the sessions of many callers forward in one
//! batch while no caller holds a thread.
//!
//! Non-goals: choosing whose work is next, threads, the text of errors in other languages.

use std::{fmt, sync::Arc, time::Duration};

use crate::{Abilities, Kind};

/// A loaded language model, shared by all who run it.
pub trait LanguageModel: fmt::Debug + Send + Sync {
    /// What the model is.
    fn about(&self) -> &About;

    /// What runs the model here.
    fn abilities(&self) -> &Abilities;

    /// Text to tokens. `special`: whether special tokens written out in the text become those tokens.
    fn tokenise(&self, text: &str, special: bool) -> Vec<u32>;

    /// Tokens to text. Bytes that are no UTF-8 become U+FFFD, control tokens nothing.
    fn detokenise(&self, tokens: &[u32]) -> String;

    /// A conversation as tokens, up to where the assistant is to answer. What messages say never becomes
    /// a special token.
    ///
    /// # Errors
    /// [`GenerateError::NoTemplate`] for models that are not made for conversations.
    fn template(&self, messages: &[Message]) -> Result<Vec<u32>, GenerateError>;

    /// The most bytes that a session of so many tokens takes.
    fn session_bytes(&self, tokens_max: u32) -> u64;

    /// An empty session for at most `tokens_max` tokens, and never more than the model's context.
    fn session(&self, tokens_max: u32) -> Box<dyn Session>;
}

/// A sequence of tokens that a model has seen.
pub trait Session: fmt::Debug + Send {
    /// How many tokens there are.
    fn length(&self) -> u32;

    /// The most tokens.
    fn tokens_max(&self) -> u32;

    /// The tokens most likely to follow, with the natural logarithms of their probabilities, most likely
    /// first. None until everything that the session holds was computed: advance it with no token first.
    fn likeliest(&self, count: u32) -> Option<Vec<(u32, f32)>>;

    /// A second session with the same tokens. Memory is shared as far as they stay equal.
    fn fork(&self) -> Box<dyn Session>;

    /// Forgets all but the first `length` tokens, and any text that is held back.
    fn truncate(&mut self, length: u32);

    /// The text that is held back, since it is half a character or may begin a stop sequence.
    fn rest(&mut self) -> String;

    /// Takes `work` forward and hands the session back through `reply`. Returns at once.
    fn advance(self: Box<Self>, work: Work, reply: Box<dyn Reply>);
}

/// Who waits for a session. Dropped without an answer only when the engine is closed or the answer is no
/// longer wanted.
pub trait Reply: Send {
    /// Whether anybody still waits. If not, the session is dropped soon.
    fn wanted(&self) -> bool;

    /// The end of the work. Must return quickly: others wait meanwhile.
    fn done(self: Box<Self>, session: Box<dyn Session>, result: Result<Chunk, GenerateError>);
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The model's own name, or an empty text.
    pub name: String,
    /// The architecture, for example `llama`.
    pub architecture: String,
    /// Tokens in the vocabulary.
    pub vocabulary: u32,
    /// The most tokens of a session, by the model's training.
    pub context: u32,
    /// Whether the model is made for conversations.
    pub template: bool,
    /// Bytes of the weights in memory.
    pub weights_bytes: u64,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions for the assistant.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that templates use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One contribution to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// What a session is to do.
#[derive(Debug, Clone)]
pub struct Work {
    /// Who pays for it: engines share their time fairly between tenants.
    pub tenant: Arc<str>,
    /// Tokens to take in first.
    pub tokens: Vec<u32>,
    /// What to generate then, if anything.
    pub generate: Option<Generate>,
}

/// How a text is continued.
#[derive(Debug, Clone, PartialEq)]
pub struct Generate {
    /// So many tokens at most.
    pub tokens_max: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts before which the answer ends. None is empty.
    pub stop: Vec<String>,
    /// The only tokens that may be chosen, in any order; all if not given.
    pub allowed: Option<Vec<u32>>,
}

/// How tokens are chosen. The filters apply in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Makes tokens among the last [`Self::penalty_tokens`] less likely: positive logits are divided
    /// by this, negative ones multiplied. 1 changes nothing.
    pub repetition_penalty: f32,
    /// How far back repetitions count.
    pub penalty_tokens: usize,
    /// Divides the logits. 0 takes the most likely token.
    pub temperature: f32,
    /// Only so many of the most likely tokens; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that have this much probability together; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this times as likely as the most likely one; 0 for all.
    pub min_p: f32,
    /// Where the random numbers start. With one seed the same session gives the same tokens, whether they
    /// are asked for at once or one by one.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            penalty_tokens: 64,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
        }
    }
}

/// What came of some work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The new tokens, the one that ended the text among them.
    pub tokens: Vec<u32>,
    /// Their text as far as it is certain; see [`Session::rest`].
    pub text: String,
    /// Why nothing more follows; none if more can be generated.
    pub finish: Option<Finish>,
    /// The engine's time for it: of passes shared with others, its part.
    pub busy: Duration,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it.
    End,
    /// A stop sequence was written. It is not part of the text; its tokens are part of the session.
    Stop,
    /// The session is full.
    Length,
}

/// Why a session did not advance. It is as it was before the step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// There is nothing to continue.
    #[error("the session is empty: give it a token first")]
    Empty,
    /// A token is not in the vocabulary.
    #[error("token {token} is not in the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// The vocabulary's size.
        vocabulary: usize,
    },
    /// A session would be longer than it may.
    #[error("the session would have {needed} tokens, more than {tokens_max}")]
    ContextFull {
        /// Tokens with the new ones.
        needed: usize,
        /// The session's limit.
        tokens_max: usize,
    },
    /// A setting is not a number or outside its range.
    #[error("`{0}` is not within its range")]
    Setting(&'static str),
    /// No token may be chosen.
    #[error("`allowed` has no token of the vocabulary")]
    NothingAllowed,
    /// The model is not made for conversations.
    #[error("the model's vocabulary has no marks for conversations: write the prompt as text")]
    NoTemplate,
    /// The memory for keys and values is used up.
    #[error("the memory for sessions is used up: all together may have {bytes_max} bytes")]
    OutOfMemory {
        /// The budget.
        bytes_max: u64,
    },
    /// Too many sessions wait for the model.
    #[error("the model is busy: {waiting_max} sessions are waiting")]
    Busy {
        /// The queue's length.
        waiting_max: usize,
    },
    /// The engine failed.
    #[error("the engine failed: {0}")]
    Engine(&'static str),
}

impl GenerateError {
    /// Whose fault it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Empty
            | Self::UnknownToken { .. }
            | Self::ContextFull { .. }
            | Self::Setting(_)
            | Self::NothingAllowed => Kind::InvalidArgument,
            Self::NoTemplate => Kind::Unsupported,
            Self::OutOfMemory { .. } | Self::Busy { .. } => Kind::OutOfBudget,
            Self::Engine(_) => Kind::Engine,
        }
    }
}
