//! Each format against numbers worked out by another program (`tests/blocks_oracle.py`, gguf-py).

use bytes::Bytes;

use super::*;

#[path = "expected.rs"]
mod expected;

/// Blocks whose bytes are a fixed sequence, with scales that are ordinary numbers.
fn block(element: Element) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes: Vec<u8> = (0..element.block_bytes())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from(state >> 24).unwrap()
        })
        .collect();
    // 0x2c66 is 0.0687, 0x3155 is 0.1666.
    let halves: &[usize] = match element {
        Element::Q6K => &[208],
        Element::Q4_1 | Element::Q5_1 | Element::Q4K | Element::Q5K => &[0, 2],
        Element::Q4_0 | Element::Q5_0 | Element::Q8_0 => &[0],
        Element::F32 | Element::F16 | Element::Bf16 => &[],
    };
    for (at, value) in halves.iter().zip([0x2c66_u16, 0x3155]) {
        bytes[*at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn tensor(element: Element, bytes: Vec<u8>) -> Tensor {
    Tensor {
        element,
        columns: element.block_items(),
        rows: 1,
        rank: 1,
        bytes: Bytes::from(bytes),
    }
}

/// First, eighteenth, last number and the sum of all, in f64.
fn check(element: Element, expected: [f64; 4]) {
    let numbers = dequantise(&tensor(element, block(element)));
    assert_eq!(numbers.len(), element.block_items());
    let sum = numbers.iter().map(|n| f64::from(*n)).sum();
    let last = numbers[numbers.len() - 1];
    let found: [f64; 4] = [numbers[0].into(), numbers[17].into(), last.into(), sum];
    for (found, expected) in found.into_iter().zip(expected) {
        let most = 1e-4_f64.max(expected.abs() * 1e-6);
        assert!(
            (found - expected).abs() < most,
            "{element}: {found} is not {expected}"
        );
    }
}

#[test]
fn floats_are_read_as_they_are() {
    let cases = [
        (Element::F32, 1.5_f32.to_le_bytes().to_vec()),
        (
            Element::F16,
            half::f16::from_f32(1.5).to_le_bytes().to_vec(),
        ),
        (
            Element::Bf16,
            half::bf16::from_f32(1.5).to_le_bytes().to_vec(),
        ),
    ];
    for (element, bytes) in cases {
        assert_eq!(dequantise(&tensor(element, bytes)), [1.5]);
    }
}

#[test]
fn coding_anew_loses_less_than_half_a_step() {
    let mut angle = 0.0_f32;
    let numbers: [f32; GROUP] = std::array::from_fn(|_| {
        angle += 0.7;
        angle.sin() * 3.0
    });
    let group = coded(&numbers);
    for (code, number) in group.codes.iter().zip(numbers) {
        let found = group.scale * f32::from(*code) + group.min;
        assert!(
            (found - number).abs() <= group.scale * 0.6,
            "{found} is not {number}"
        );
    }
}
