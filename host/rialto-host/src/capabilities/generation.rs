//! `rialto:tensor/generation`: language models by granted name, sessions as handles.
//!
//! The engine takes the sessions of all calls forward together; a guest waits without holding a thread.
//! A call that ends drops its receivers, and the engine its sessions.
//!
//! Non-goals: whose work is next (the engine's), memory of the whole host (the engine's too).

use std::sync::Arc;
use std::time::Instant;

use rialto_compute::Kind;
use rialto_compute::language::{
    Chunk, Finish, Generate, GenerateError, LanguageModel, Message, Reply, Role, Sampling, Session,
    Work,
};
use tokio::sync::oneshot;
use tracing::Instrument as _;
use wasmtime::component::{HasSelf, Linker, Resource};

use super::bindings::tensor::rialto::tensor::{generation, models, types};
use crate::limits::Breach;
use crate::meters::Limit;
use crate::state::CallState;

/// A language model as the guest's handle sees it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct HostLanguageModel(Arc<dyn LanguageModel>);

/// A session as the guest's handle sees it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct HostSession {
    /// With the engine while it works, and for good if the engine stopped.
    session: Option<Box<dyn Session>>,
    model: Arc<dyn LanguageModel>,
    /// What it counts for among the call's sessions.
    bytes: u64,
    usage: generation::Usage,
}

/// Defines the interface.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    generation::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl generation::Host for CallState {}

impl generation::HostLanguageModel for CallState {
    fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<HostLanguageModel>, types::Error>> {
        self.charge_host_call(name.len() as u64)?;
        let shared = Arc::clone(&self.shared);
        let Some((name, _)) = shared.granted(&name) else {
            return Ok(Err(types::Error::NotGranted(format!(
                "the manifest grants no model `{name}`"
            ))));
        };
        match shared.models.language(name) {
            Some(model) => Ok(Ok(self.push_handle(HostLanguageModel(model))?)),
            None => Ok(Err(types::Error::Unsupported(format!(
                "`{name}` is no language model"
            )))),
        }
    }

    fn about(&mut self, this: Resource<HostLanguageModel>) -> wasmtime::Result<generation::About> {
        self.charge_host_call(0)?;
        let about = self.table.get(&this)?.0.about();
        Ok(generation::About {
            name: about.name.clone(),
            architecture: about.architecture.clone(),
            vocabulary: about.vocabulary,
            context: about.context,
            template: about.template,
        })
    }

    fn abilities(
        &mut self,
        this: Resource<HostLanguageModel>,
    ) -> wasmtime::Result<models::Abilities> {
        self.charge_host_call(0)?;
        let abilities = self.table.get(&this)?.0.abilities();
        Ok(models::Abilities {
            engine: abilities.engine.clone(),
            device: abilities.device.clone(),
            deterministic: abilities.deterministic,
            fingerprint: abilities.fingerprint.clone(),
        })
    }

    async fn tokenise(
        &mut self,
        this: Resource<HostLanguageModel>,
        text: String,
        special: bool,
    ) -> wasmtime::Result<Result<Vec<u32>, types::Error>> {
        self.charge_host_call(text.len() as u64)?;
        let bytes_max = if special {
            SPECIAL_BYTES_MAX
        } else {
            TEXT_BYTES_MAX
        };
        let bytes = text.len();
        if bytes > bytes_max {
            return Ok(Err(too_long(bytes, bytes_max)));
        }
        let model = Arc::clone(&self.table.get(&this)?.0);
        let work = move || model.tokenise(&text, special);
        Ok(self.on_side(bytes, work).await)
    }

    fn detokenise(
        &mut self,
        this: Resource<HostLanguageModel>,
        tokens: Vec<u32>,
    ) -> wasmtime::Result<Result<String, types::Error>> {
        self.charge_host_call(tokens.len() as u64 * 4)?;
        let model = &self.table.get(&this)?.0;
        // A token of a strange vocabulary may be long: what is made is bounded, not what is given.
        let mut text = String::new();
        for part in tokens.chunks(DETOKENISE_AT_ONCE) {
            text.push_str(&model.detokenise(part));
            if text.len() > TEXT_BYTES_MAX {
                return Ok(Err(too_long(text.len(), TEXT_BYTES_MAX)));
            }
        }
        Ok(Ok(text))
    }

    async fn template(
        &mut self,
        this: Resource<HostLanguageModel>,
        messages: Vec<generation::Message>,
    ) -> wasmtime::Result<Result<Vec<u32>, types::Error>> {
        let bytes = messages
            .iter()
            .map(|message| message.content.len().saturating_add(MESSAGE_BYTES))
            .fold(0_usize, usize::saturating_add);
        self.charge_host_call(bytes as u64)?;
        if bytes > TEXT_BYTES_MAX {
            return Ok(Err(too_long(bytes, TEXT_BYTES_MAX)));
        }
        let model = Arc::clone(&self.table.get(&this)?.0);
        let messages: Vec<Message> = messages.into_iter().map(message_of).collect();
        let tokens = self.on_side(bytes, move || model.template(&messages)).await;
        Ok(tokens.and_then(|tokens| tokens.map_err(|error| error_of(&error))))
    }

    fn session(
        &mut self,
        this: Resource<HostLanguageModel>,
        tokens_max: u32,
    ) -> wasmtime::Result<Result<Resource<HostSession>, types::Error>> {
        self.charge_host_call(0)?;
        let model = Arc::clone(&self.table.get(&this)?.0);
        let session = model.session(tokens_max);
        self.push_session(session, model)
    }

    fn drop(&mut self, this: Resource<HostLanguageModel>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl generation::HostSession for CallState {
    async fn prefill(
        &mut self,
        this: Resource<HostSession>,
        tokens: Vec<u32>,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.charge_host_call(tokens.len() as u64 * 4)?;
        let result = self.advance(&this, tokens, None).await?;
        Ok(result.map(|_| ()))
    }

    async fn generate(
        &mut self,
        this: Resource<HostSession>,
        max: u32,
        options: generation::Options,
    ) -> wasmtime::Result<Result<generation::Chunk, types::Error>> {
        let allowed = options.allowed.as_ref().map_or(0, Vec::len);
        self.charge_host_call(allowed as u64 * 4)?;
        let generate = generate_of(max, options);
        let result = self.advance(&this, Vec::new(), Some(generate)).await?;
        Ok(result.map(chunk_of))
    }

    async fn likeliest(
        &mut self,
        this: Resource<HostSession>,
        count: u32,
    ) -> wasmtime::Result<Result<Vec<generation::Likely>, types::Error>> {
        self.charge_host_call(u64::from(count.min(LIKELIEST_MAX)) * 8)?;
        if let Err(error) = self.advance(&this, Vec::new(), None).await? {
            return Ok(Err(error));
        }
        let session = self.table.get(&this)?.session.as_ref();
        let all = session.and_then(|session| session.likeliest(count.min(LIKELIEST_MAX)));
        let all = all.ok_or_else(|| error_of(&GenerateError::Empty));
        Ok(all.map(|all| {
            let each = all.into_iter();
            each.map(|(token, logarithm)| generation::Likely { token, logarithm })
                .collect()
        }))
    }

    fn rest(&mut self, this: Resource<HostSession>) -> wasmtime::Result<String> {
        self.charge_host_call(0)?;
        let session = self.table.get_mut(&this)?.session.as_mut();
        Ok(session.map(|session| session.rest()).unwrap_or_default())
    }

    fn fork(
        &mut self,
        this: Resource<HostSession>,
    ) -> wasmtime::Result<Result<Resource<HostSession>, types::Error>> {
        self.charge_host_call(0)?;
        let held = self.table.get(&this)?;
        let Some(session) = &held.session else {
            return Ok(Err(stopped()));
        };
        let (fork, model) = (session.fork(), Arc::clone(&held.model));
        self.push_session(fork, model)
    }

    fn truncate(
        &mut self,
        this: Resource<HostSession>,
        length: u32,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.charge_host_call(0)?;
        let Some(session) = &mut self.table.get_mut(&this)?.session else {
            return Ok(Err(stopped()));
        };
        let found = session.length();
        if length > found {
            return Ok(Err(types::Error::InvalidArgument(format!(
                "the session has {found} tokens, not {length}"
            ))));
        }
        session.truncate(length);
        Ok(Ok(()))
    }

    fn length(&mut self, this: Resource<HostSession>) -> wasmtime::Result<u32> {
        self.charge_host_call(0)?;
        let session = self.table.get(&this)?.session.as_ref();
        Ok(session.map_or(0, |session| session.length()))
    }

    fn tokens_max(&mut self, this: Resource<HostSession>) -> wasmtime::Result<u32> {
        self.charge_host_call(0)?;
        let session = self.table.get(&this)?.session.as_ref();
        Ok(session.map_or(0, |session| session.tokens_max()))
    }

    fn usage(&mut self, this: Resource<HostSession>) -> wasmtime::Result<generation::Usage> {
        self.charge_host_call(0)?;
        Ok(self.table.get(&this)?.usage)
    }

    fn drop(&mut self, this: Resource<HostSession>) -> wasmtime::Result<()> {
        let held = self.table.delete(this)?;
        self.session_bytes = self.session_bytes.saturating_sub(held.bytes);
        self.sessions = self.sessions.saturating_sub(1);
        Ok(())
    }
}

impl CallState {
    /// Gives the engine a session and waits until it comes back.
    async fn advance(
        &mut self,
        this: &Resource<HostSession>,
        tokens: Vec<u32>,
        generate: Option<Generate>,
    ) -> wasmtime::Result<Result<Chunk, types::Error>> {
        let Some(session) = self.table.get_mut(this)?.session.take() else {
            return Ok(Err(stopped()));
        };
        let read = tokens.len() as u64;
        let work = Work {
            tenant: Arc::from(self.shared.service.as_str()),
            tokens,
            generate,
        };
        let (sender, receiver) = oneshot::channel();
        session.advance(work, Box::new(Waiting(sender)));
        let span = tracing::info_span!("device.run", service = %self.shared.service);
        let Ok((session, result)) = receiver.instrument(span).await else {
            return Ok(Err(stopped()));
        };
        let held = self.table.get_mut(this)?;
        held.session = Some(session);
        let chunk = match result {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Err(error_of(&error))),
        };
        let written = chunk.tokens.len() as u64;
        held.usage.tokens_read = held.usage.tokens_read.saturating_add(read);
        held.usage.tokens_written = held.usage.tokens_written.saturating_add(written);
        self.tokens_read = self.tokens_read.saturating_add(read);
        self.tokens_written = self.tokens_written.saturating_add(written);
        self.device_time = self.device_time.saturating_add(chunk.busy);
        Ok(Ok(chunk))
    }

    /// Does the engine's work on text: here if there is little of it, else on another thread.
    async fn on_side<T: Send + 'static>(
        &mut self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, types::Error> {
        if bytes <= HERE_BYTES_MAX {
            return Ok(work());
        }
        let started = Instant::now();
        let done = tokio::task::spawn_blocking(work).await;
        self.device_time = self.device_time.saturating_add(started.elapsed());
        done.map_err(|_| stopped())
    }

    fn push_session(
        &mut self,
        session: Box<dyn Session>,
        model: Arc<dyn LanguageModel>,
    ) -> wasmtime::Result<Result<Resource<HostSession>, types::Error>> {
        let bytes = model.session_bytes(session.tokens_max());
        let held = self.session_bytes.saturating_add(bytes);
        let held_max = self.shared.limits.session_bytes_max;
        if held > held_max {
            self.shared.meters.breach(Limit::Sessions);
            return Ok(Err(types::Error::OutOfBudget(format!(
                "a session of {} tokens has {bytes} bytes; a call's may have {held_max} bytes",
                session.tokens_max()
            ))));
        }
        if self.sessions >= SESSIONS_MAX {
            return Ok(Err(types::Error::OutOfBudget(format!(
                "a call may have {SESSIONS_MAX} sessions"
            ))));
        }
        self.session_bytes = held;
        self.session_bytes_peak = self.session_bytes_peak.max(held);
        self.sessions = self.sessions.saturating_add(1);
        let usage = generation::Usage {
            tokens_read: 0,
            tokens_written: 0,
        };
        Ok(Ok(self.push_handle(HostSession {
            session: Some(session),
            model,
            bytes,
            usage,
        })?))
    }

    pub(super) fn push_handle<T: Send + 'static>(
        &mut self,
        entry: T,
    ) -> Result<Resource<T>, Breach> {
        self.table.push(entry).map_err(|_| Breach::Handles)
    }
}

/// The guest's future, as the engine sees it.
struct Waiting(oneshot::Sender<(Box<dyn Session>, Result<Chunk, GenerateError>)>);

impl Reply for Waiting {
    fn wanted(&self) -> bool {
        !self.0.is_closed()
    }

    fn done(self: Box<Self>, session: Box<dyn Session>, result: Result<Chunk, GenerateError>) {
        // Nobody waits any more if the call has ended just now.
        let _ = self.0.send((session, result));
    }
}

fn message_of(message: generation::Message) -> Message {
    Message {
        role: match message.role {
            generation::Role::System => Role::System,
            generation::Role::User => Role::User,
            generation::Role::Assistant => Role::Assistant,
        },
        content: message.content,
    }
}

fn generate_of(tokens_max: u32, options: generation::Options) -> Generate {
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Generate {
        tokens_max,
        sampling: Sampling {
            repetition_penalty: options.repetition_penalty,
            penalty_tokens: count(options.penalty_tokens),
            temperature: options.temperature,
            top_k: count(options.top_k),
            top_p: options.top_p,
            min_p: options.min_p,
            seed: options.seed,
        },
        stop: options.stop,
        allowed: options.allowed,
    }
}

fn chunk_of(chunk: Chunk) -> generation::Chunk {
    generation::Chunk {
        tokens: chunk.tokens,
        text: chunk.text,
        finish: chunk.finish.map(|finish| match finish {
            Finish::End => generation::Finish::End,
            Finish::Stop => generation::Finish::Stop,
            Finish::Length => generation::Finish::Length,
        }),
    }
}

fn error_of(error: &GenerateError) -> types::Error {
    let text = error.to_string();
    match error.kind() {
        Kind::InvalidArgument => types::Error::InvalidArgument(text),
        Kind::Unsupported => types::Error::Unsupported(text),
        Kind::OutOfBudget => types::Error::OutOfBudget(text),
        Kind::Engine => types::Error::Engine(text),
    }
}

fn too_long(bytes: usize, bytes_max: usize) -> types::Error {
    types::Error::InvalidArgument(format!("the text has {bytes} bytes, more than {bytes_max}"))
}

fn stopped() -> types::Error {
    types::Error::Engine("the engine stopped unexpectedly".to_owned())
}

/// Sessions of one call.
const SESSIONS_MAX: u32 = 64;
const LIKELIEST_MAX: u32 = 256;
const TEXT_BYTES_MAX: usize = 1 << 20;
/// With special tokens looked for at every place.
const SPECIAL_BYTES_MAX: usize = 64 << 10;
/// Text that takes about a millisecond.
const HERE_BYTES_MAX: usize = 16 << 10;
/// What a template adds to each message, about.
const MESSAGE_BYTES: usize = 32;
const DETOKENISE_AT_ONCE: usize = 256;
