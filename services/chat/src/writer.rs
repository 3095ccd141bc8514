//! Writes an answer piece by piece.

use rialto_sdk::generation::{Finish, LanguageModel};

use crate::settings::Settings;

/// An answer, or a piece of one.
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
    let mut written = Written::default();
    for piece in pieces(model, prompt, settings, PIECE)? {
        let piece = piece?;
        written.text.push_str(&piece.text);
        written.tokens = written.tokens.saturating_add(piece.tokens);
        written.ended = piece.ended;
    }
    Ok(written)
}

/// The same, piece by piece: each has so many tokens at most.
///
/// # Errors
/// As [`write()`]; what fails later is the last piece.
pub fn pieces(
    model: &LanguageModel,
    prompt: &[u32],
    settings: &Settings,
    tokens: u32,
) -> Result<impl Iterator<Item = Result<Written, String>> + 'static, String> {
    let length = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
    let needed = length.saturating_add(settings.tokens_max);
    if needed > CONTEXT {
        return Err(format!(
            "the prompt has {length} tokens, and {} are left for the answer; together they may be {CONTEXT}: \
             shorten it, or lower `max_tokens`",
            settings.tokens_max
        ));
    }
    let session = model.session(needed)?;
    session.prefill(prompt)?;
    let options = settings.options.clone();
    let mut left = settings.tokens_max;
    Ok(std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let chunk = match session.generate(tokens.min(left), &options) {
            Ok(chunk) => chunk,
            Err(error) => {
                left = 0;
                return Some(Err(error.into()));
            }
        };
        let mut piece = Written {
            text: chunk.text,
            tokens: u32::try_from(chunk.tokens.len()).unwrap_or(u32::MAX),
            ended: matches!(chunk.finish, Some(Finish::End | Finish::Stop)),
        };
        left = match chunk.finish {
            Some(_) => 0,
            None => left.saturating_sub(piece.tokens),
        };
        if left == 0 && chunk.finish.is_none() {
            piece.text.push_str(&session.rest());
        }
        Some(Ok(piece))
    }))
}

/// The most tokens of prompt and answer: a call has memory for that many.
const CONTEXT: u32 = 4096;
/// Tokens that are asked for at a time: a call to the host costs little beside them.
const PIECE: u32 = 16;
