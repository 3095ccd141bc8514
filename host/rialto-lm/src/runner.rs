//! Takes sessions forward, several in one batch: the weights are read once for all of them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    model::{Forward, Model, Row, Stopped},
    pool::Pool,
    session::Session,
};

/// Why sessions did not advance. They are as they were before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// No token was given.
    #[error("no token is given")]
    NoToken,
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
    /// The memory for keys and values is used up.
    #[error("{page_bytes} more bytes do not fit the {bytes_max} for keys and values")]
    OutOfMemory {
        /// What was missing.
        page_bytes: u64,
        /// The budget.
        bytes_max: u64,
    },
    /// A session is of another model.
    #[error("the session belongs to another model")]
    OtherModel,
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A bug of this engine.
    #[error("the engine failed")]
    Internal,
}

/// A session and the tokens that it is to take in.
#[derive(Debug)]
pub struct Input<'a> {
    /// The session.
    pub session: &'a mut Session,
    /// At least one token.
    pub tokens: &'a [u32],
}

/// Cancels a run from another thread: it stops before the next layer.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Stops the runs that were given this.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Threads that run one model.
#[derive(Debug)]
pub struct Runner {
    model: Arc<Model>,
    pool: Pool,
}

impl Runner {
    /// A runner with so many threads, the caller's counted; at least one.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
    pub fn new(model: Arc<Model>, threads: usize) -> std::io::Result<Self> {
        let pool = Pool::new(threads.max(1))?;
        Ok(Self { model, pool })
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Takes all inputs in; each session then has the logits after its last token. Blocks, and
    /// computes on the calling thread too. All or nothing: on an error no session has changed.
    ///
    /// Results do not depend on the number of threads, on the other sessions of the batch, or on how
    /// tokens are divided among calls.
    ///
    /// # Errors
    /// [`RunError`]; limits are checked and memory is taken before anything is computed.
    pub fn advance(&mut self, inputs: &mut [Input<'_>], cancel: &Cancel) -> Result<(), RunError> {
        let result = self.try_advance(inputs, cancel);
        match result {
            Ok(logits) => {
                for (input, logits) in inputs.iter_mut().zip(logits) {
                    input.session.accept(input.tokens, logits);
                }
                Ok(())
            }
            Err(error) => {
                for input in inputs {
                    input.session.free_unused();
                }
                Err(error)
            }
        }
    }

    fn try_advance(
        &self,
        inputs: &mut [Input<'_>],
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, RunError> {
        for input in &mut *inputs {
            self.check(input)?;
            input.session.reserve(input.tokens.len())?;
        }
        let mut rows = inputs.iter().flat_map(|input| {
            let pages = Arc::new(input.session.pages.clone());
            let first = input.session.tokens().len();
            let last = first + input.tokens.len() - 1;
            (first..)
                .zip(input.tokens)
                .map(move |(position, token)| Row {
                    token: *token,
                    position,
                    pages: Arc::clone(&pages),
                    wants_logits: position == last,
                })
        });
        let forward = Forward {
            model: &self.model,
            pool: &self.pool,
            cancel: &cancel.0,
        };
        let rows_max = self.rows_max();
        let mut logits = Vec::with_capacity(inputs.len());
        loop {
            let some: Vec<Row> = rows.by_ref().take(rows_max).collect();
            if some.is_empty() {
                return Ok(logits);
            }
            logits.extend(forward.run(some).map_err(|stopped| match stopped {
                Stopped::Cancelled => RunError::Cancelled,
                Stopped::Panicked => RunError::Internal,
            })?);
        }
    }

    /// How many tokens one pass takes, so that its numbers stay within bounds however wide the model is.
    fn rows_max(&self) -> usize {
        let s = &self.model.settings;
        let heads = s.heads.max(s.key_heads).saturating_mul(s.head_width);
        let widths = [s.width, s.feed_width, heads].into_iter();
        let numbers = widths.fold(0, |all: usize, width| all.saturating_add(width));
        // About four vectors of each width are held at a time.
        (ROWS_BYTES_MAX / numbers.saturating_mul(16).max(1)).clamp(1, ROWS_MAX)
    }

    fn check(&self, input: &Input<'_>) -> Result<(), RunError> {
        if !Arc::ptr_eq(&self.model, &input.session.model) {
            return Err(RunError::OtherModel);
        }
        if input.tokens.is_empty() {
            return Err(RunError::NoToken);
        }
        let vocabulary = self.model.settings.vocabulary;
        let known = |token: u32| usize::try_from(token).is_ok_and(|token| token < vocabulary);
        match input.tokens.iter().find(|token| !known(**token)) {
            Some(token) => Err(RunError::UnknownToken {
                token: *token,
                vocabulary,
            }),
            None => Ok(()),
        }
    }
}

/// Tokens in one pass.
pub(crate) const ROWS_MAX: usize = 256;
/// Bytes of the numbers of one pass, about.
const ROWS_BYTES_MAX: usize = 64 << 20;
