//! A session as callers hold it: the engine's session, the token that was chosen last and not yet taken
//! in, and text that is held back.

use std::sync::Arc;

use rialto_compute::language::{self, Reply, Work};

use super::{Batcher, text::Text};
use crate::Session;

/// A session of a batcher's model.
#[derive(Debug)]
pub(crate) struct Seat {
    batcher: Arc<Batcher>,
    pub(super) session: Session,
    /// Chosen, and given to the model with the next step: the last step of an answer is spared.
    pub(super) pending: Option<u32>,
    pub(super) text: Text,
}

impl Seat {
    pub(super) fn new(batcher: Arc<Batcher>, tokens_max: usize) -> Self {
        let model = Arc::clone(batcher.model());
        let session = Session::new(model, batcher.budget().clone(), tokens_max);
        Self {
            batcher,
            session,
            pending: None,
            text: Text::default(),
        }
    }

    /// How many tokens there are, the pending one counted.
    pub(super) fn tokens(&self) -> usize {
        self.session.tokens().len() + usize::from(self.pending.is_some())
    }
}

impl language::Session for Seat {
    fn length(&self) -> u32 {
        u32::try_from(self.tokens()).unwrap_or(u32::MAX)
    }

    fn tokens_max(&self) -> u32 {
        u32::try_from(self.session.tokens_max()).unwrap_or(u32::MAX)
    }

    fn likeliest(&self, count: u32) -> Option<Vec<(u32, f32)>> {
        if self.pending.is_some() {
            return None;
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Some(crate::sampling::likeliest(self.session.logits()?, count))
    }

    fn fork(&self) -> Box<dyn language::Session> {
        Box::new(Self {
            batcher: Arc::clone(&self.batcher),
            session: self.session.fork(),
            pending: self.pending,
            text: self.text.clone(),
        })
    }

    fn truncate(&mut self, length: u32) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.text = Text::default();
        if length >= self.tokens() {
            return;
        }
        // The last token is taken in again with the next step, for what follows it is not kept.
        let last = length.checked_sub(1);
        self.pending = last.and_then(|last| self.session.tokens().get(last).copied());
        self.session.truncate(last.unwrap_or(0));
    }

    fn rest(&mut self) -> String {
        self.text.rest()
    }

    fn advance(self: Box<Self>, work: Work, reply: Box<dyn Reply>) {
        let batcher = Arc::clone(&self.batcher);
        batcher.submit(self, work, reply);
    }
}
