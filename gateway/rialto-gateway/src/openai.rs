//! Requests as OpenAI's clients send them, in the terms of our services, and answers as those clients read them.
//!
//! A service is a chat model if it has a method `chat` of messages that answers with a message, and an embedding
//! model if it has a method `embed` of texts that answers with vectors ([`models`]): whoever wrote it. What a client
//! asks for that such a method cannot do is refused by name, not ignored.
//!
//! Not here: calling services, and paying.

pub(crate) mod chat;
pub(crate) mod conversation;
pub(crate) mod embeddings;
pub(crate) mod events;
pub(crate) mod mistake;
pub(crate) mod models;
pub(crate) mod responses;

pub(crate) use conversation::{Answered, Asked};
pub(crate) use mistake::Mistake;
