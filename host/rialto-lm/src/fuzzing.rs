//! What fuzz targets call: files from strangers, with the properties that must hold for all that are
//! accepted. A broken property panics.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: the loop that makes
//! inputs (`fuzz/`).

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Budget, Cancel, Input, Model, Runner, Sampler, Sampling, Session, Tokenizer,
    gguf::{File, Limits, Value},
    tokenizer::{Stream, chat},
};

/// A file's metadata and vocabulary: all of it can be read, and texts become tokens of the vocabulary.
pub fn gguf_file(data: &[u8]) {
    let Ok(file) = File::parse(&Bytes::copy_from_slice(data), &Limits::default()) else {
        return;
    };
    for value in file.metadata().values() {
        if let Value::Array(array) = value {
            let items = array.strings().count() + array.scalars().count();
            assert_eq!(items, array.len());
        }
    }
    for tensor in file.tensors().values() {
        assert!(tensor.bytes.len() <= data.len());
    }
    if let Ok(tokenizer) = Tokenizer::read(&file) {
        let memory = usize::try_from(Tokenizer::memory(&file)).unwrap_or(usize::MAX);
        assert!(memory <= data.len().saturating_mul(32), "{memory}");
        texts(&tokenizer);
    }
}

/// A model's file whose weights follow the input: what loads takes its memory from the budget, runs, and
/// gives the memory back.
pub fn gguf_model(data: &[u8]) {
    let mut file = data.to_vec();
    let mut state = 1_u32;
    file.resize_with(data.len() + WEIGHTS_BYTES, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap_or(0)
    });
    let budget = Budget::new(MEMORY_MAX);
    if let Ok(model) = Model::load(&Bytes::from(file), &Limits::default(), &budget) {
        let weights = u64::try_from(model.weights_bytes()).unwrap_or(u64::MAX);
        assert!(weights <= budget.used());
        run(Arc::new(model), &budget);
    }
    assert_eq!(budget.used(), 0);
}

fn texts(tokenizer: &Tokenizer) {
    for special in [false, true] {
        let tokens = tokenizer.encode(TEXT, special);
        let known = |token: &u32| usize::try_from(*token).is_ok_and(|t| t < tokenizer.len());
        assert!(tokens.iter().all(known));
        let mut stream = Stream::default();
        let mut text = String::new();
        for token in &tokens {
            text.push_str(&stream.push(tokenizer, *token));
        }
        text.push_str(&stream.finish());
        assert_eq!(text, tokenizer.decode(&tokens));
    }
    let message = chat::Message {
        role: "user",
        content: TEXT,
    };
    drop(chat::encode(tokenizer, &[message], None));
}

fn run(model: Arc<Model>, budget: &Budget) {
    let last = u32::try_from(model.tokenizer().len() - 1).unwrap_or(0);
    let Ok(mut runner) = Runner::new(Arc::clone(&model), 1) else {
        return;
    };
    let mut session = Session::new(model, budget.clone(), 40);
    let mut inputs = [Input {
        session: &mut session,
        tokens: &[0, last, 0],
    }];
    // Out of memory is an answer too.
    if runner.advance(&mut inputs, &Cancel::default()).is_ok() {
        let warm = Sampling {
            temperature: 0.7,
            top_p: 0.9,
            ..Sampling::default()
        };
        let logits = session.logits().unwrap_or_default();
        let sampled = Sampler::new(warm).map(|mut s| s.sample(logits, session.tokens(), None));
        if let Ok(Ok(token)) = sampled {
            assert!(token <= last);
        }
    }
}

const TEXT: &str = "It's 1984 \u{e9}\u{301} <|im_end|>\n\n  \u{2003}abc";
const WEIGHTS_BYTES: usize = 48 << 10;
const MEMORY_MAX: u64 = 32 << 20;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_within_bounds() {
        replay::seeds("gguf_file", gguf_file);
    }

    #[test]
    fn models_are_loaded_within_bounds() {
        replay::seeds("gguf_model", gguf_model);
    }
}
