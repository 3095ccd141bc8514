//! Blocks of 32 numbers with one scale.

use crate::gguf::Element;

use super::{GROUP, Group};

pub(super) fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// The half-precision number at `at`; 0 past the end, which whole blocks do not reach.
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    let bytes = block.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0.0, |bytes| half(*bytes))
}

/// One block of a format with 32 numbers; of another format, nothing that means something.
pub(super) fn group(element: Element, block: &[u8]) -> Group {
    let scale = half_at(block, 0);
    let with_min = matches!(element, Element::Q4_1 | Element::Q5_1);
    let min = if with_min {
        half_at(block, 2)
    } else if element == Element::Q4_0 {
        -8.0 * scale
    } else if element == Element::Q5_0 {
        -16.0 * scale
    } else {
        -128.0 * scale
    };
    let rest = block
        .get(if with_min { 4.. } else { 2.. })
        .unwrap_or_default();
    let mut codes = [0; GROUP];
    if element == Element::Q8_0 {
        for (code, byte) in codes.iter_mut().zip(rest) {
            *code = byte ^ 128;
        }
    } else if matches!(element, Element::Q5_0 | Element::Q5_1) {
        let (high, low) = rest.split_at_checked(4).unwrap_or_default();
        nibbles(low, &mut codes);
        let high = high.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        for (bit, code) in codes.iter_mut().enumerate() {
            *code |= if high >> bit & 1 == 1 { 16 } else { 0 };
        }
    } else {
        nibbles(rest, &mut codes);
    }
    Group { codes, scale, min }
}

/// The first half of the codes lies in the lower nibbles, the second in the upper ones.
fn nibbles(bytes: &[u8], codes: &mut [u8; GROUP]) {
    let (lower, upper) = codes.split_at_mut(GROUP / 2);
    for ((low, high), byte) in lower.iter_mut().zip(upper).zip(bytes) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}
