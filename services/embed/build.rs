//! Turns the tokenizer's vocabulary into sorted static tables, so that a fresh instance builds nothing.

use std::collections::BTreeMap;

use serde_json::Value;

#[path = "../build/assets.rs"]
mod assets;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../build/assets.rs");
    let tokenizer: Value = serde_json::from_slice(&assets::read("minilm/tokenizer.json"))
        .unwrap_or_else(|error| panic!("minilm/tokenizer.json: {error}"));
    check(&tokenizer);
    let vocabulary = tokenizer["model"]["vocab"]
        .as_object()
        .expect("the vocabulary is an object");
    let prefix = "##";
    let (mut starts, mut continuations) = (BTreeMap::new(), BTreeMap::new());
    for (piece, id) in vocabulary {
        let id = id
            .as_u64()
            .and_then(|id| u16::try_from(id).ok())
            .unwrap_or_else(|| panic!("the id of {piece:?} does not fit"));
        match piece.strip_prefix(prefix) {
            Some(rest) if !rest.is_empty() => continuations.insert(rest, id),
            _ => starts.insert(piece.as_str(), id),
        };
    }
    write("starts", &starts);
    write("continuations", &continuations);
}

/// The tokenizer that this service implements: the build stops if the file is another one.
fn check(tokenizer: &Value) {
    let model = &tokenizer["model"];
    assert_eq!(model["type"], "WordPiece");
    assert_eq!(model["continuing_subword_prefix"], "##");
    assert_eq!(model["max_input_chars_per_word"], 100);
    let normalizer = &tokenizer["normalizer"];
    assert_eq!(normalizer["type"], "BertNormalizer");
    for step in ["clean_text", "handle_chinese_chars", "lowercase"] {
        assert_eq!(normalizer[step], true, "{step}");
    }
    assert!(normalizer["strip_accents"].is_null());
    assert_eq!(tokenizer["pre_tokenizer"]["type"], "BertPreTokenizer");
    let added = tokenizer["added_tokens"].as_array().expect("added_tokens");
    let special: Vec<(&str, u64)> = added
        .iter()
        .map(|token| {
            assert_eq!(token["normalized"], false);
            (
                token["content"].as_str().expect("content"),
                token["id"].as_u64().expect("id"),
            )
        })
        .collect();
    let expected = [
        ("[PAD]", 0),
        ("[UNK]", 100),
        ("[CLS]", 101),
        ("[SEP]", 102),
        ("[MASK]", 103),
    ];
    assert_eq!(special, expected);
}

/// Three files a table: the pieces one after another, where each starts (and the end), the ids.
fn write(name: &str, pieces: &BTreeMap<&str, u16>) {
    let mut text = Vec::new();
    let mut starts = Vec::new();
    let mut ids = Vec::new();
    for (piece, id) in pieces {
        starts.extend(offset(text.len()));
        text.extend(piece.as_bytes());
        ids.extend(id.to_le_bytes());
    }
    starts.extend(offset(text.len()));
    for (kind, bytes) in [("text", text), ("offsets", starts), ("ids", ids)] {
        std::fs::write(assets::out(&format!("{name}.{kind}")), bytes).expect("OUT_DIR is writable");
    }
}

fn offset(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("a vocabulary is smaller than 4 GiB")
        .to_le_bytes()
}
