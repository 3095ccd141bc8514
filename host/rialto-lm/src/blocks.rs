//! Blocks of quantised numbers: what they mean.
//!
//! Every format that is not plain floating point becomes groups of 32 codes; a number is
//! `scale * code + min`. Six-bit K blocks change scale within 32 numbers, so those and floating-point
//! weights are coded anew with eight bits.

mod k;
mod plain;

use crate::gguf::{Element, Tensor};

/// How many numbers share a scale.
pub(crate) const GROUP: usize = 32;

/// 32 numbers: each is `scale * code + min`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Group {
    pub(crate) codes: [u8; GROUP],
    pub(crate) scale: f32,
    pub(crate) min: f32,
}

/// How the groups of an element type are stored in a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether codes need eight bits; four otherwise.
    pub(crate) eight: bool,
    /// What is subtracted from each code, where no minimum is stored.
    pub(crate) offset: Option<u8>,
}

impl Layout {
    pub(crate) const fn of(element: Element) -> Self {
        let (eight, offset) = match element {
            Element::Q4_0 => (false, Some(8)),
            Element::Q4_1 | Element::Q4K => (false, None),
            Element::Q5_0 => (true, Some(16)),
            Element::Q5_1 | Element::Q5K => (true, None),
            Element::Q8_0 | Element::Q6K | Element::F32 | Element::F16 | Element::Bf16 => {
                (true, Some(128))
            }
        };
        Self { eight, offset }
    }
}

/// The numbers of a tensor, row after row: four bytes for each, up to eight times the file's.
#[must_use]
pub fn dequantise(tensor: &Tensor) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(tensor.rows.saturating_mul(tensor.columns));
    append(tensor.element, &tensor.bytes, &mut numbers);
    numbers
}

/// The groups of one row; `bytes` is whole blocks.
pub(crate) fn groups(element: Element, bytes: &[u8], groups: &mut Vec<Group>) {
    groups.clear();
    let blocks = bytes.chunks_exact(element.block_bytes());
    match element {
        Element::Q4_0 | Element::Q4_1 | Element::Q5_0 | Element::Q5_1 | Element::Q8_0 => {
            groups.extend(blocks.map(|block| plain::group(element, block)));
        }
        Element::Q4K | Element::Q5K => blocks.for_each(|block| k::groups(element, block, groups)),
        Element::F32 | Element::F16 | Element::Bf16 | Element::Q6K => {
            let mut numbers = Vec::new();
            append(element, bytes, &mut numbers);
            groups.extend(numbers.as_chunks().0.iter().map(coded));
        }
    }
}

fn append(element: Element, bytes: &[u8], numbers: &mut Vec<f32>) {
    match element {
        Element::F32 => numbers.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        Element::F16 => numbers.extend(bytes.as_chunks().0.iter().map(|b| plain::half(*b))),
        Element::Bf16 => numbers
            .extend((bytes.as_chunks().0.iter()).map(|b| half::bf16::from_le_bytes(*b).to_f32())),
        Element::Q6K => {
            let blocks = bytes.chunks_exact(element.block_bytes());
            blocks.for_each(|block| k::six(block, numbers));
        }
        Element::Q4_0
        | Element::Q4_1
        | Element::Q5_0
        | Element::Q5_1
        | Element::Q8_0
        | Element::Q4K
        | Element::Q5K => {
            let mut all = Vec::new();
            groups(element, bytes, &mut all);
            for group in all {
                numbers
                    .extend((group.codes.iter()).map(|c| group.scale * f32::from(*c) + group.min));
            }
        }
    }
}

/// Codes numbers anew with eight bits. Numbers that are not finite count as 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a code is clamped to 1..=255"
)]
fn coded(numbers: &[f32; GROUP]) -> Group {
    let finite = numbers.map(|n| if n.is_finite() { n } else { 0.0 });
    let most = finite.iter().fold(0.0_f32, |most, n| most.max(n.abs()));
    // Rounded to what the matrix stores, so that codes fit the stored scale.
    let scale = half::f16::from_f32(most / 127.0).to_f32();
    let inverse = if scale > 0.0 && scale.is_finite() {
        scale.recip()
    } else {
        0.0
    };
    Group {
        codes: finite
            .map(|n| (n * inverse).round_ties_even().clamp(-127.0, 127.0) as i16 as u8 ^ 128),
        scale,
        min: -128.0 * scale,
    }
}

#[cfg(test)]
mod tests;
