//! Writes an answer piece by piece.

use rialto_sdk::generation::{Finish, LanguageModel};

use crate::settings::Settings;

/// A whole answer.
#[derive(Debug, Default)]
pub struct Written {
    /// Its text.
    pub text: String,
    /// How many tokens it took.
    pub tokens: u32,
    /// Whether it came to its end, and not only to the limit.
    pub ended: bool,
}

/// Continues `prompt` until the model or a stop text ends it, or the limit is reached.
///
/// # Errors
/// A text for the caller: the prompt is too long, or the host cannot.
pub fn write(
    model: &LanguageModel,
    prompt: &[u32],
    settings: &Settings,
) -> Result<Written, String> {
    let tokens = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
    let needed = tokens.saturating_add(settings.tokens_max);
    if needed > CONTEXT {
        return Err(format!(
            "the prompt has {tokens} tokens, and {} are left for the answer; together they may be {CONTEXT}: \
             shorten it, or lower `max_tokens`",
            settings.tokens_max
        ));
    }
    let session = model.session(needed)?;
    session.prefill(prompt)?;
    let mut written = Written::default();
    while written.tokens < settings.tokens_max {
        let piece = PIECE.min(settings.tokens_max - written.tokens);
        let chunk = session.generate(piece, &settings.options)?;
        let more = u32::try_from(chunk.tokens.len()).unwrap_or(u32::MAX);
        written.tokens = written.tokens.saturating_add(more);
        written.text.push_str(&chunk.text);
        if let Some(finish) = chunk.finish {
            written.ended = matches!(finish, Finish::End | Finish::Stop);
            return Ok(written);
        }
    }
    written.text.push_str(&session.rest());
    Ok(written)
}

/// The most tokens of prompt and answer: a call has memory for that many.
const CONTEXT: u32 = 4096;
/// Tokens that are asked for at a time: a call to the host costs little beside them.
const PIECE: u32 = 16;
