//! The models that real services run, compared with ONNX Runtime's answers.
//!
//! The expected numbers come from Python's onnxruntime 1.31.1 on the same inputs.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;

use super::TractEngine;
use crate::{Element, Engine, Model, Port, Tensor};

const MAGIKA: &str = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c";
const MINILM: &str = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6";
const TOLERANCE: f32 = 1e-4;

/// A model's file from the folders that `cargo xtask test` fills: what services name is in the
/// artifact store, the rest among the assets.
pub(crate) fn file(digest: &str) -> Bytes {
    let folder = |variable: &str| {
        std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
            panic!("{variable} names a folder of fetched models; `cargo xtask test` fills and sets it")
        })
    };
    let stored = folder("RIALTO_ARTIFACTS").join(digest);
    let path = if stored.is_file() {
        stored
    } else {
        folder("RIALTO_ASSETS").join("models").join(digest)
    };
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo xtask test` fetches it", path.display())
    });
    Bytes::from(bytes)
}

pub(super) fn magika_file() -> Bytes {
    file(MAGIKA)
}

fn load(digest: &str) -> Arc<dyn Model> {
    TractEngine::default().load(file(digest), "model").unwrap()
}

fn run_magika(model: &dyn Model) -> Tensor {
    let bytes: Vec<i32> = (0..2048).map(|i| (i * 37 + 11) % 257).collect();
    let inputs = vec![(
        "bytes".to_owned(),
        Tensor::from_i32(vec![1, 2048], &bytes).unwrap(),
    )];
    model
        .run(inputs, &["target_label".to_owned()])
        .unwrap()
        .remove(0)
}

fn run_minilm(model: &dyn Model, length: u32) -> Tensor {
    let ids: Vec<i64> = (0..length)
        .map(|i| i64::from((i * 7919 + 101) % 30_000))
        .collect();
    let operand = |name: &str, values: &[i64]| {
        (
            name.to_owned(),
            Tensor::from_i64(vec![1, length], values).unwrap(),
        )
    };
    let inputs = vec![
        operand("token_type_ids", &vec![0; ids.len()]),
        operand("attention_mask", &vec![1; ids.len()]),
        operand("input_ids", &ids),
    ];
    model
        .run(inputs, &["last_hidden_state".to_owned()])
        .unwrap()
        .remove(0)
}

fn assert_close(found: &[f32], expected: &[f32]) {
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= TOLERANCE;
    assert!(
        found.iter().zip(expected).all(close),
        "{found:?} instead of {expected:?}"
    );
}

#[test]
fn magika_equals_onnx_runtime() {
    let model = load(MAGIKA);
    let port = |name: &str, element, shape: &[Option<u32>]| Port {
        name: name.to_owned(),
        element,
        shape: shape.to_vec(),
    };
    assert_eq!(
        model.inputs(),
        [port("bytes", Element::I32, &[None, Some(2048)])]
    );
    assert_eq!(
        model.outputs(),
        [port("target_label", Element::F32, &[None, Some(214)])]
    );
    let label = run_magika(&*model);
    assert_eq!(label.shape(), [1, 214]);
    let scores = label.to_f32().unwrap();
    assert_close(
        &scores[..8],
        &[
            1.870_123_4e-5,
            2.172_596_2e-5,
            4.407_427e-8,
            3.617_036_4e-9,
            9.392_707e-6,
            4.098_758_3e-8,
            7.854_736_6e-8,
            4.304_818_6e-7,
        ],
    );
    let best = (0..214)
        .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
        .unwrap();
    assert_eq!(best, 148);
    assert_close(&[scores[148], scores.iter().sum()], &[0.997_175_2, 1.0]);
}

#[test]
fn minilm_equals_onnx_runtime() {
    let model = load(MINILM);
    let check = |length: u32, first: [f32; 4], last: [f32; 4]| {
        let state = run_minilm(&*model, length);
        assert_eq!(state.shape(), [1, length, 384]);
        let values = state.to_f32().unwrap();
        assert_close(&values[..4], &first);
        assert_close(&values[values.len() - 4..], &last);
    };
    check(
        8,
        [-0.166_785_3, -0.082_668_57, -0.002_761_608, -0.206_783_89],
        [0.766_810_54, 0.468_157_8, 0.029_446_23, -1.491_489_3],
    );
    check(
        64,
        [-0.131_162_78, 0.003_180_623, -0.081_254_974, 0.175_739_65],
        [-0.257_511_1, 0.250_653_86, -0.149_343_58, -0.823_582_9],
    );
    // More shapes than plans are kept, then the first again.
    for length in 9..20 {
        run_minilm(&*model, length);
    }
    check(
        16,
        [-0.331_974_63, 0.139_251_41, 0.042_906_09, -0.104_273_886],
        [-0.003_748_782, -0.283_877_64, 0.283_831_06, 0.404_497_1],
    );
    check(
        8,
        [-0.166_785_3, -0.082_668_57, -0.002_761_608, -0.206_783_89],
        [0.766_810_54, 0.468_157_8, 0.029_446_23, -1.491_489_3],
    );
}

#[test]
fn equal_fingerprints_give_equal_bits() {
    let (one, other) = (load(MINILM), load(MINILM));
    assert!(one.abilities().deterministic);
    assert_eq!(one.abilities(), other.abilities());
    assert_ne!(
        one.abilities().fingerprint,
        load(MAGIKA).abilities().fingerprint
    );
    let expected = run_minilm(&*one, 12);
    assert_eq!(run_minilm(&*other, 12), expected);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(run_minilm(&*one, 12), expected));
        }
    });
}
