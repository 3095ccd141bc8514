//! One piece of work: tokens to take in, then tokens to choose.

use std::{sync::Arc, time::Duration};

use rialto_compute::language::{Chunk, Finish, Generate, GenerateError, Reply, Work};

use super::seat::Seat;
use crate::{Input, RunError, SampleError, Sampler, Tokenizer};

/// Work in progress.
pub(super) struct Job {
    seat: Box<Seat>,
    tenant: Arc<str>,
    /// Tokens to take in, the pending one first; those before `fed` were.
    tokens: Vec<u32>,
    fed: usize,
    /// Whether the first of the tokens was chosen before, and so belongs to the session already.
    chosen: bool,
    /// The pass in which it was last.
    pub(super) turn: u64,
    generate: Option<(Generate, Sampler)>,
    chunk: Chunk,
    failed: Option<GenerateError>,
    reply: Box<dyn Reply>,
}

/// What is handed back when work is refused.
pub(super) type Refused = (Box<Seat>, Box<dyn Reply>, GenerateError);

impl Job {
    /// Checks what can be checked before anything runs.
    pub(super) fn new(
        mut seat: Box<Seat>,
        work: Work,
        reply: Box<dyn Reply>,
    ) -> Result<Self, Refused> {
        let generate = match check(&seat, &work) {
            Ok(sampler) => work.generate.zip(sampler),
            Err(error) => return Err((seat, reply, error)),
        };
        let chosen = seat.pending.is_some();
        let mut tokens = Vec::with_capacity(work.tokens.len() + 1);
        if !work.tokens.is_empty() {
            // What was written before belongs to another text.
            drop(seat.text.rest());
        }
        tokens.extend(seat.pending.take());
        tokens.extend(work.tokens);
        Ok(Self {
            seat,
            tenant: work.tenant,
            tokens,
            fed: 0,
            chosen,
            turn: 0,
            generate,
            chunk: Chunk::default(),
            failed: None,
            reply,
        })
    }

    pub(super) fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// How many tokens are still to be taken in.
    pub(super) fn todo(&self) -> usize {
        self.tokens.len() - self.fed
    }

    /// Whether the next pass makes a token, or takes the last of a prompt in.
    pub(super) fn decodes(&self) -> bool {
        self.todo() == 1
    }

    pub(super) fn wanted(&self) -> bool {
        self.reply.wanted()
    }

    /// Chooses a token if everything was taken in. The result, if that was all.
    pub(super) fn settle(&mut self, tokenizer: &Tokenizer) -> Option<Result<Chunk, GenerateError>> {
        if let Some(error) = self.failed.take() {
            if self.chosen && self.fed == 0 {
                self.seat.pending = self.tokens.first().copied();
            }
            if self.chunk.tokens.is_empty() {
                return Some(Err(error));
            }
            // What was made before is not lost: the caller meets the error when it asks for more.
            return Some(Ok(std::mem::take(&mut self.chunk)));
        }
        if self.todo() > 0 {
            return None;
        }
        match self.choose(tokenizer) {
            Ok(true) => Some(Ok(std::mem::take(&mut self.chunk))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Chooses the next token; whether that was the last.
    fn choose(&mut self, tokenizer: &Tokenizer) -> Result<bool, GenerateError> {
        let Some((generate, sampler)) = &mut self.generate else {
            return Ok(true);
        };
        let seat = &mut *self.seat;
        let (past, chunk) = (seat.session.tokens(), &mut self.chunk);
        if past.len() >= seat.session.tokens_max() {
            chunk.finish = Some(Finish::Length);
            chunk.text.push_str(&seat.text.rest());
            return Ok(true);
        }
        let logits = seat.session.logits().ok_or(GenerateError::Empty)?;
        sampler.at(past.len());
        let token = sampler
            .sample(logits, past, generate.allowed.as_deref())
            .map_err(refused)?;
        chunk.tokens.push(token);
        seat.pending = Some(token);
        if tokenizer.is_end(token) {
            chunk.finish = Some(Finish::End);
            chunk.text.push_str(&seat.text.rest());
            return Ok(true);
        }
        let text = &mut chunk.text;
        if seat.text.push(tokenizer, token, &generate.stop, text) {
            chunk.finish = Some(Finish::Stop);
            return Ok(true);
        }
        let wanted = usize::try_from(generate.tokens_max).unwrap_or(usize::MAX);
        if chunk.tokens.len() >= wanted {
            return Ok(true);
        }
        if past.len() + 1 >= seat.session.tokens_max() {
            chunk.finish = Some(Finish::Length);
            chunk.text.push_str(&seat.text.rest());
            return Ok(true);
        }
        self.tokens.clear();
        self.fed = 0;
        self.chosen = true;
        self.tokens.extend(seat.pending.take());
        Ok(false)
    }

    /// Takes memory for the next tokens.
    pub(super) fn reserve(&mut self, rows: usize) -> Result<(), RunError> {
        self.seat.session.reserve(rows)
    }

    /// The next tokens. At most [`Self::todo`] are asked for.
    pub(super) fn input(&mut self, rows: usize) -> Input<'_> {
        let next = self.tokens.get(self.fed..).unwrap_or_default();
        Input {
            session: &mut self.seat.session,
            tokens: next.get(..rows).unwrap_or(next),
        }
    }

    /// Notes that the next tokens were taken in.
    pub(super) fn took(&mut self, rows: usize, busy: Duration) {
        self.fed = (self.fed + rows).min(self.tokens.len());
        self.chunk.busy += busy;
    }

    /// Notes that a pass failed.
    pub(super) fn broke(&mut self, error: &RunError) {
        self.seat.session.free_unused();
        self.failed = Some(failed(error));
    }

    /// Answers with the session.
    pub(super) fn answer(self, result: Result<Chunk, GenerateError>) {
        self.reply.done(self.seat, result);
    }

    /// Answers that nothing was done.
    pub(super) fn fail(mut self, error: GenerateError) {
        if self.chosen {
            self.seat.pending = self.tokens.first().copied();
        }
        self.answer(Err(error));
    }
}

/// Refuses what can never work. The sampler, if tokens are to be chosen.
fn check(seat: &Seat, work: &Work) -> Result<Option<Sampler>, GenerateError> {
    let vocabulary = seat.session.model.settings().vocabulary;
    let known = |token: u32| usize::try_from(token).is_ok_and(|token| token < vocabulary);
    if let Some(token) = work.tokens.iter().find(|token| !known(**token)) {
        let token = *token;
        return Err(GenerateError::UnknownToken { token, vocabulary });
    }
    let needed = seat.tokens().saturating_add(work.tokens.len());
    let tokens_max = seat.session.tokens_max();
    if needed > tokens_max {
        return Err(GenerateError::ContextFull { needed, tokens_max });
    }
    let Some(generate) = &work.generate else {
        return Ok(None);
    };
    if needed == 0 {
        return Err(GenerateError::Empty);
    }
    if generate.tokens_max == 0 {
        return Err(GenerateError::Setting("tokens-max"));
    }
    let sized = |stop: &String| (1..=STOP_BYTES_MAX).contains(&stop.len());
    if generate.stop.len() > STOPS_MAX || !generate.stop.iter().all(sized) {
        return Err(GenerateError::Setting("stop"));
    }
    if (generate.allowed.as_ref()).is_some_and(|allowed| allowed.len() > vocabulary) {
        return Err(GenerateError::Setting("allowed"));
    }
    Sampler::new(generate.sampling).map(Some).map_err(refused)
}

/// Stop sequences are looked for after every token, on the thread that serves everybody.
const STOPS_MAX: usize = 16;
const STOP_BYTES_MAX: usize = 256;

fn refused(error: SampleError) -> GenerateError {
    match error {
        SampleError::Setting(name) => GenerateError::Setting(name),
        SampleError::NothingAllowed => GenerateError::NothingAllowed,
        SampleError::NoNumber => GenerateError::Engine("the model's logits are no numbers"),
    }
}

fn failed(error: &RunError) -> GenerateError {
    match *error {
        RunError::NoToken => GenerateError::Empty,
        RunError::UnknownToken { token, vocabulary } => {
            GenerateError::UnknownToken { token, vocabulary }
        }
        RunError::ContextFull { needed, tokens_max } => {
            GenerateError::ContextFull { needed, tokens_max }
        }
        RunError::OutOfMemory { bytes_max, .. } => GenerateError::OutOfMemory { bytes_max },
        RunError::OtherModel | RunError::Cancelled | RunError::Internal => {
            GenerateError::Engine("a pass over the model stopped")
        }
    }
}
