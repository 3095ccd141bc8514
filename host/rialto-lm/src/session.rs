//! One conversation's state: its tokens, and their keys and values.

use std::sync::Arc;

use crate::{
    cache::{Budget, PAGE_TOKENS, Page, Share},
    model::Model,
    runner::RunError,
};

/// A sequence of tokens that a model has seen. Advance it with [`crate::Runner`].
#[derive(Debug)]
pub struct Session {
    pub(crate) model: Arc<Model>,
    budget: Budget,
    pub(crate) pages: Vec<Arc<Page>>,
    tokens: Vec<u32>,
    tokens_max: usize,
    logits: Option<Arc<Vec<f32>>>,
    /// Memory for logits of its own, from the first token on.
    share: Option<Share>,
}

impl Session {
    /// An empty session for at most `tokens_max` tokens, and never more than the model's context.
    /// Memory is taken from `budget` as tokens come, a page of 32 at a time.
    #[must_use]
    pub fn new(model: Arc<Model>, budget: Budget, tokens_max: usize) -> Self {
        Self {
            tokens_max: tokens_max.min(model.settings.context),
            model,
            budget,
            pages: Vec::new(),
            tokens: Vec::new(),
            logits: None,
            share: None,
        }
    }

    /// The most bytes that a session of so many tokens takes from its budget.
    #[must_use]
    pub fn bytes(model: &Model, tokens: usize) -> u64 {
        let pages = u64::try_from(tokens.div_ceil(PAGE_TOKENS)).unwrap_or(u64::MAX);
        let pages = pages.saturating_mul(model.cache_shape().page_bytes());
        pages.saturating_add(logits_bytes(model))
    }

    /// The tokens so far.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The most tokens.
    #[must_use]
    pub const fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// How likely each token of the vocabulary is to follow, as logits. None in an empty session and
    /// after [`Self::truncate`].
    #[must_use]
    pub fn logits(&self) -> Option<&[f32]> {
        self.logits.as_deref().map(Vec::as_slice)
    }

    /// A second session with the same tokens. Memory is shared until either goes on; then only the
    /// page that is written to is copied.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            model: Arc::clone(&self.model),
            budget: self.budget.clone(),
            pages: self.pages.clone(),
            tokens: self.tokens.clone(),
            tokens_max: self.tokens_max,
            logits: self.logits.clone(),
            share: None,
        }
    }

    /// Forgets all tokens but the first `tokens`, and gives memory back. Forgetting none changes
    /// nothing.
    pub fn truncate(&mut self, tokens: usize) {
        if tokens < self.tokens.len() {
            self.tokens.truncate(tokens);
            self.logits = None;
            self.free_unused();
        }
    }

    /// Makes room for more tokens: nothing else can fail for lack of memory afterwards.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), RunError> {
        let needed = self.tokens.len().saturating_add(more);
        if needed > self.tokens_max {
            return Err(RunError::ContextFull {
                needed,
                tokens_max: self.tokens_max,
            });
        }
        let shape = self.model.cache_shape();
        let full = || RunError::OutOfMemory {
            page_bytes: shape.page_bytes(),
            bytes_max: self.budget.max(),
        };
        if self.share.is_none() {
            let share = self.budget.take(logits_bytes(&self.model));
            self.share = Some(share.ok_or_else(full)?);
        }
        // Only the page in progress holds tokens already; later ones are new.
        let partial = !self.tokens.len().is_multiple_of(PAGE_TOKENS);
        let shared = self
            .pages
            .last_mut()
            .filter(|page| partial && Arc::strong_count(page) > 1);
        if let Some(page) = shared {
            *page = Arc::new(page.copy(shape, &self.budget).ok_or_else(full)?);
        }
        while self.pages.len() < needed.div_ceil(PAGE_TOKENS) {
            let page = Page::new(shape, &self.budget).ok_or_else(full)?;
            self.pages.push(Arc::new(page));
        }
        Ok(())
    }

    /// Gives back pages that hold no token.
    pub(crate) fn free_unused(&mut self) {
        self.pages.truncate(self.tokens.len().div_ceil(PAGE_TOKENS));
        if self.tokens.is_empty() {
            self.share = None;
        }
    }

    pub(crate) fn accept(&mut self, tokens: &[u32], logits: Vec<f32>) {
        self.tokens.extend_from_slice(tokens);
        self.logits = Some(Arc::new(logits));
    }
}

fn logits_bytes(model: &Model) -> u64 {
    let numbers = u64::try_from(model.settings.vocabulary).unwrap_or(u64::MAX);
    numbers.saturating_mul(4)
}
