//! A tiny model with random weights, written as a file.

use std::sync::Arc;

use bytes::Bytes;
use rialto_lm::{Budget, Cancel, Input, Model, Runner, Session, gguf::Limits, tokenizer::Stream};

/// The model, loaded.
pub(crate) fn model() -> Arc<Model> {
    Arc::new(
        Model::load(
            &Bytes::from(file()),
            &Limits::default(),
            &Budget::new(1 << 26),
        )
        .unwrap(),
    )
}

/// Where the tensors' data begins, about.
pub(crate) fn header_bytes() -> usize {
    let file = file();
    let needle = b"output_norm.weight";
    file.windows(needle.len())
        .position(|window| window == needle)
        .unwrap()
}

/// Runs some tokens, whatever the weights are.
pub(crate) fn try_out(model: Model) {
    let model = Arc::new(model);
    let mut tokens = model.tokenizer().encode("a <|end|> bc", true);
    tokens.push(0);
    let mut stream = Stream::default();
    for token in &tokens {
        stream.push(model.tokenizer(), *token);
    }
    let mut runner = Runner::new(Arc::clone(&model), 1).unwrap();
    let mut session = Session::new(model, Budget::new(1 << 24), 64);
    // Refusals are fine: a damaged context length, for one.
    let mut inputs = [Input {
        session: &mut session,
        tokens: &tokens,
    }];
    let _ = runner.advance(&mut inputs, &Cancel::default());
}

/// The file.
pub(crate) fn file() -> Vec<u8> {
    let matrices = [
        ("attn_q", 64, 64, 3_u32),
        ("attn_k", 64, 32, 8),
        ("attn_v", 64, 32, 2),
        ("attn_output", 64, 64, 7),
        ("ffn_gate", 64, 96, 1),
        ("ffn_up", 64, 96, 6),
        ("ffn_down", 96, 64, 0),
    ];
    let mut tensors = vec![("token_embd.weight".to_owned(), 64, TOKENS, 8)];
    for layer in 0..2 {
        tensors.extend(matrices.map(|(name, columns, rows, kind)| {
            (format!("blk.{layer}.{name}.weight"), columns, rows, kind)
        }));
        tensors.push((format!("blk.{layer}.attn_norm.weight"), 64, 1, 0));
        tensors.push((format!("blk.{layer}.ffn_norm.weight"), 64, 1, 0));
    }
    tensors.push(("output_norm.weight".to_owned(), 64, 1, 0));
    let mut writer = Writer::new(tensors.len());
    writer.metadata();
    let mut data = Vec::new();
    for (name, columns, rows, kind) in tensors {
        writer.tensor(&name, columns, rows, kind, data.len());
        data.extend(random(&name, columns * rows, kind));
        data.resize(data.len().next_multiple_of(32), 0);
    }
    let mut file = writer.bytes;
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn new(tensors: usize) -> Self {
        let mut writer = Self {
            bytes: b"GGUF\x03\0\0\0".to_vec(),
        };
        writer.long(tensors);
        writer.long(ENTRIES);
        writer
    }

    fn long(&mut self, number: usize) {
        self.bytes
            .extend(u64::try_from(number).unwrap().to_le_bytes());
    }

    fn int(&mut self, number: u32) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.long(text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        self.text(key);
        self.int(9);
        self.int(8);
        self.long(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    fn metadata(&mut self) {
        for (key, value) in [
            ("general.architecture", "llama"),
            ("tokenizer.ggml.model", "gpt2"),
        ] {
            self.text(key);
            self.int(8);
            self.text(value);
        }
        for (key, value) in [
            ("llama.block_count", 2),
            ("llama.context_length", 512),
            ("llama.embedding_length", 64),
            ("llama.feed_forward_length", 96),
            ("llama.attention.head_count", 4),
            ("llama.attention.head_count_kv", 2),
            ("tokenizer.ggml.eos_token_id", 188),
        ] {
            self.text(key);
            self.int(4);
            self.int(value);
        }
        self.text("llama.attention.layer_norm_rms_epsilon");
        self.int(6);
        self.bytes.extend(1e-5_f32.to_le_bytes());
        // Printable bytes stand for themselves in the alphabet; the space has another character.
        let bytes = (b'!'..=b'~')
            .chain(0xA1..=0xAC)
            .chain(0xAE..=0xFF)
            .map(char::from);
        let mut tokens: Vec<String> = bytes.map(String::from).collect();
        tokens.extend(["<|end|>", "\u{120}", "ab", "abc"].map(str::to_owned));
        assert_eq!(tokens.len(), TOKENS);
        self.texts("tokenizer.ggml.tokens", &tokens);
        self.text("tokenizer.ggml.token_type");
        self.int(9);
        self.int(5);
        self.long(TOKENS);
        (0..TOKENS).for_each(|token| self.int(if token == 188 { 3 } else { 1 }));
        self.texts(
            "tokenizer.ggml.merges",
            &["a b".to_owned(), "ab c".to_owned()],
        );
    }

    fn tensor(&mut self, name: &str, columns: usize, rows: usize, kind: u32, at: usize) {
        self.text(name);
        self.int(if rows == 1 { 1 } else { 2 });
        self.long(columns);
        if rows > 1 {
            self.long(rows);
        }
        self.int(kind);
        self.long(at);
    }
}

/// Random weights around 0 in an element type by its number.
fn random(name: &str, count: usize, kind: u32) -> Vec<u8> {
    let mut state = name.bytes().fold(1_u32, |all, byte| {
        all.wrapping_mul(31).wrapping_add(byte.into())
    });
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap()
    };
    let small = |byte: u8| (f32::from(byte) - 127.5) / 400.0;
    if kind == 0 {
        let shift = if name.contains("norm") { 1.0 } else { 0.0 };
        return (0..count)
            .flat_map(|_| (small(byte()) + shift).to_le_bytes())
            .collect();
    }
    if kind == 1 {
        let half = |byte: u8| u16::from(byte & 0x80) << 8 | 0x2c00 | u16::from(byte & 0x7f) << 3;
        return (0..count)
            .flat_map(|_| half(byte()).to_le_bytes())
            .collect();
    }
    // Scale, minimum (where there is one), and how many bytes of codes follow.
    let (head, codes): (&[u16], usize) = match kind {
        2 => (&[0x2c00], 16),
        3 => (&[0x2c00, 0xb400], 16),
        6 => (&[0x2800], 20),
        7 => (&[0x2800, 0xb400], 20),
        8 => (&[0x1400], 32),
        _ => unreachable!("the sample has no such type"),
    };
    let mut bytes = Vec::new();
    for _ in 0..count / 32 {
        head.iter()
            .for_each(|half| bytes.extend(half.to_le_bytes()));
        bytes.extend((0..codes).map(|_| byte()));
    }
    bytes
}

/// 188 printable bytes, one control token, the space, two merged tokens.
const TOKENS: usize = 192;
const ENTRIES: usize = 13;
