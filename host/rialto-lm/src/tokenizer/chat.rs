//! Conversations in ChatML, the format of SmolLM and many others.
//!
//! Only the format's own marks become special tokens; what users write never does, so nobody can
//! speak in another's name. Non-goals: running the template of a model's file.

use super::Tokenizer;

/// One contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who speaks: `system`, `user` or `assistant`. Never take it from a stranger unchecked.
    pub role: &'a str,
    /// What is said.
    pub content: &'a str,
}

/// The conversation as tokens, up to where the assistant is to answer. If it does not begin with a
/// system message, `system` is put first. None if the vocabulary lacks the format's marks.
#[must_use]
pub fn encode(
    tokenizer: &Tokenizer,
    messages: &[Message<'_>],
    system: Option<&str>,
) -> Option<Vec<u32>> {
    let (start, end) = (
        tokenizer.special("<|im_start|>")?,
        tokenizer.special("<|im_end|>")?,
    );
    let given = messages
        .first()
        .is_some_and(|message| message.role == "system");
    let first = system.filter(|_| !given).map(|content| Message {
        role: "system",
        content,
    });
    let mut tokens = Vec::new();
    for Message { role, content } in first.iter().chain(messages) {
        tokens.push(start);
        tokenizer.append(&format!("{role}\n{content}"), false, &mut tokens);
        tokens.push(end);
        tokenizer.append("\n", false, &mut tokens);
    }
    tokens.push(start);
    tokenizer.append("assistant\n", false, &mut tokens);
    Some(tokens)
}

/// What SmolLM2's template says when nobody does.
pub const SMOLLM_SYSTEM: &str =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
