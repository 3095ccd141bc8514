//! Text to tokens and back, with the vocabulary of the model's own file.
//!
//! Byte-pair encoding over bytes, as GPT-2 introduced it: text is cut into words by the rule that the
//! file names, and each word's bytes are joined pair by pair. Every byte has a token, so there is no
//! text that cannot be written. Non-goals: SentencePiece vocabularies, normalisation, templates in
//! the file (they are programs; see [`chat`] for the format that needs none).

mod alphabet;
pub mod chat;
mod marks;
mod pair;
mod split;
mod stream;

use std::collections::{HashMap, HashSet};

use crate::gguf::File;

pub use split::Cut;
pub use stream::Stream;

/// Why a vocabulary is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// Something is missing, or not of its type.
    #[error("`{0}` is missing or has another type")]
    Missing(&'static str),
    /// Another kind of vocabulary.
    #[error("`{key}` is `{value}`; supported: {supported}")]
    Unsupported {
        /// The setting.
        key: &'static str,
        /// What the file says.
        value: String,
        /// What would do.
        supported: &'static str,
    },
    /// Something in it cannot be.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A model's vocabulary.
#[derive(Debug)]
pub struct Tokenizer {
    /// Each token's bytes; none for control tokens.
    tokens: Vec<Box<[u8]>>,
    control: HashSet<u32>,
    special: Special,
    words: HashMap<Box<[u8]>, u32>,
    bytes: [Option<u32>; 256],
    merges: HashMap<(u32, u32), pair::Merge>,
    cut: Cut,
    begin: Option<u32>,
    end: HashSet<u32>,
    add_begin: bool,
    whole_words: bool,
}

/// Tokens that are found in text as they are.
#[derive(Debug, Default)]
struct Special {
    tokens: HashMap<Box<[u8]>, u32>,
    /// Their lengths in bytes, longest first.
    lengths: Vec<usize>,
}

impl Tokenizer {
    /// About how many bytes [`Self::read`] takes, from what the file says of itself.
    #[must_use]
    pub(crate) fn memory(file: &File) -> u64 {
        let array = |key, item: u64, times: u64| {
            let array = file.array(key);
            let items = array.map_or(0, |array| u64::try_from(array.len()).unwrap_or(u64::MAX));
            let bytes = array.map_or(0, |array| array.bytes());
            items.saturating_mul(item).saturating_add(bytes * times)
        };
        // Each token's text is held as a token and as a word.
        array(TOKENS, TOKEN_BYTES, 2).saturating_add(array(MERGES, MERGE_BYTES, 0))
    }

    /// Reads a file's vocabulary.
    ///
    /// # Errors
    /// [`TokenizerError`].
    pub fn read(file: &File) -> Result<Self, TokenizerError> {
        let model = file.text(MODEL).ok_or(TokenizerError::Missing(MODEL))?;
        if model != "gpt2" {
            return Err(unsupported(MODEL, model, "gpt2"));
        }
        let pre = file.text(PRE).unwrap_or("gpt-2");
        let cut = Cut::named(pre).ok_or_else(|| unsupported(PRE, pre, Cut::NAMES))?;
        let list = file.array(TOKENS).ok_or(TokenizerError::Missing(TOKENS))?;
        if list.is_empty() || list.len() > TOKENS_MAX {
            return Err(TokenizerError::Malformed(
                "the vocabulary is empty or too large",
            ));
        }
        let mut kinds = file.array(KINDS).map(|kinds| kinds.scalars());
        let mut tokenizer = Self {
            tokens: Vec::with_capacity(list.len()),
            control: HashSet::new(),
            special: Special::default(),
            words: HashMap::with_capacity(list.len()),
            bytes: [None; 256],
            merges: HashMap::new(),
            cut,
            begin: id(file, "tokenizer.ggml.bos_token_id", list.len()),
            end: END
                .iter()
                .filter_map(|key| id(file, key, list.len()))
                .collect(),
            add_begin: file
                .boolean("tokenizer.ggml.add_bos_token")
                .unwrap_or(cut == Cut::Llama3),
            whole_words: cut == Cut::Llama3,
        };
        for (id, text) in (0..).zip(list.strings()) {
            let kind = kinds
                .as_mut()
                .and_then(Iterator::next)
                .and_then(|kind| kind.unsigned());
            tokenizer.insert(id, &text, kind)?;
        }
        tokenizer.special.lengths.sort_unstable_by(|a, b| b.cmp(a));
        tokenizer.special.lengths.dedup();
        for (byte, slot) in (0..=u8::MAX).zip(&mut tokenizer.bytes) {
            *slot = tokenizer.words.get([byte].as_slice()).copied();
        }
        let merges = file.array(MERGES).ok_or(TokenizerError::Missing(MERGES))?;
        tokenizer.merges = pair::merges(merges, &tokenizer.words)?;
        Ok(tokenizer)
    }

    fn insert(&mut self, id: u32, text: &[u8], kind: Option<u64>) -> Result<(), TokenizerError> {
        if matches!(kind, Some(CONTROL | DEFINED)) {
            if !text.is_empty() && text.len() <= SPECIAL_BYTES_MAX {
                self.special.lengths.push(text.len());
                self.special.tokens.entry(text.into()).or_insert(id);
            }
            if kind == Some(CONTROL) {
                self.control.insert(id);
            }
            self.tokens.push(text.into());
            return Ok(());
        }
        let text =
            str::from_utf8(text).map_err(|_| TokenizerError::Malformed("a token is not UTF-8"))?;
        // A token outside the alphabet can be written by the model, but never found in text.
        let Some(bytes) = alphabet::bytes(text) else {
            self.tokens.push(text.as_bytes().into());
            return Ok(());
        };
        self.words.entry(bytes.clone()).or_insert(id);
        self.tokens.push(bytes);
        Ok(())
    }

    /// How many tokens there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is none, which [`Self::read`] refuses.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Text to tokens. `special`: whether special tokens written out in the text become those tokens;
    /// never do that with text from strangers. The token that begins a text is put first if the
    /// vocabulary asks for it.
    #[must_use]
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        let mut tokens: Vec<u32> = self.begin.filter(|_| self.add_begin).into_iter().collect();
        self.append(text, special, &mut tokens);
        tokens
    }

    /// As [`Self::encode`], but behind other tokens, and so without the first token.
    pub fn append(&self, text: &str, special: bool, tokens: &mut Vec<u32>) {
        let mut start = 0;
        let mut at = 0;
        while special && at < text.len() {
            let found = text
                .as_bytes()
                .get(at..)
                .and_then(|rest| self.special.at_start(rest));
            if let Some((token, length)) = found {
                self.plain(text.get(start..at).unwrap_or_default(), tokens);
                tokens.push(token);
                at += length;
                start = at;
            } else {
                at += 1;
            }
        }
        self.plain(text.get(start..).unwrap_or_default(), tokens);
    }

    fn plain(&self, text: &str, tokens: &mut Vec<u32>) {
        self.cut.words(text, |word| {
            if self.whole_words
                && let Some(token) = self.words.get(word.as_bytes())
            {
                tokens.push(*token);
            } else {
                // Longer ones are no words of any language: joining them whole would only take memory.
                for part in word.as_bytes().chunks(WORD_BYTES_MAX) {
                    let bytes = part.iter().filter_map(|byte| self.byte(*byte));
                    pair::join(bytes, &self.merges, tokens);
                }
            }
        });
    }

    fn byte(&self, byte: u8) -> Option<u32> {
        self.bytes.get(usize::from(byte)).copied().flatten()
    }

    /// A token's bytes: nothing for control tokens and unknown ones. Characters may be spread over
    /// several tokens; see [`Stream`].
    #[must_use]
    pub fn bytes(&self, token: u32) -> &[u8] {
        if self.control.contains(&token) {
            return &[];
        }
        let token = usize::try_from(token)
            .ok()
            .and_then(|token| self.tokens.get(token));
        token.map(AsRef::as_ref).unwrap_or_default()
    }

    /// Tokens to text. Bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|token| self.bytes(*token))
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The special token that is written so.
    #[must_use]
    pub fn special(&self, text: &str) -> Option<u32> {
        self.special.tokens.get(text.as_bytes()).copied()
    }

    /// Whether a text ends with this token.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.end.contains(&token)
    }
}

impl Special {
    fn at_start(&self, text: &[u8]) -> Option<(u32, usize)> {
        self.lengths.iter().find_map(|length| {
            let token = self.tokens.get(text.get(..*length)?)?;
            Some((*token, *length))
        })
    }
}

fn id(file: &File, key: &str, tokens: usize) -> Option<u32> {
    let id = u32::try_from(file.unsigned(key)?).ok()?;
    (usize::try_from(id).ok()? < tokens).then_some(id)
}

fn unsupported(key: &'static str, value: &str, supported: &'static str) -> TokenizerError {
    TokenizerError::Unsupported {
        key,
        value: value.to_owned(),
        supported,
    }
}

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const END: [&str; 2] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
const CONTROL: u64 = 3;
const DEFINED: u64 = 4;
const TOKENS_MAX: usize = 1 << 20;
/// Of a token: its place in the list, in the table of words with that table's room, and two allocations.
const TOKEN_BYTES: u64 = 160;
/// Of a pair: its place in a table, and that table's room.
const MERGE_BYTES: u64 = 48;
const SPECIAL_BYTES_MAX: usize = 256;
const WORD_BYTES_MAX: usize = 16 << 10;
