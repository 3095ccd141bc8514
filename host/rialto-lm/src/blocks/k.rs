//! Blocks of 256 numbers, whose parts have scales of their own.

use crate::gguf::Element;

use super::{GROUP, Group, plain};

/// The eight groups of a block of four- or five-bit numbers.
pub(super) fn groups(element: Element, block: &[u8], groups: &mut Vec<Group>) {
    let (scale, min) = (plain::half_at(block, 0), plain::half_at(block, 2));
    let five = element == Element::Q5K;
    let packed = block.get(4..16).unwrap_or_default();
    let high = if five { block.get(16..48) } else { None }.unwrap_or_default();
    let low = block
        .get(if five { 48.. } else { 16.. })
        .unwrap_or_default();
    for part in 0..8 {
        let shift = if part % 2 == 0 { 0 } else { 4 };
        let bytes = low.chunks_exact(GROUP).nth(part / 2).unwrap_or_default();
        let mut codes = [0; GROUP];
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code = byte >> shift & 15;
        }
        for (code, byte) in codes.iter_mut().zip(high) {
            *code |= (byte >> part & 1) << 4;
        }
        let (six_scale, six_min) = six_bits(packed, part);
        groups.push(Group {
            codes,
            scale: scale * f32::from(six_scale),
            min: -(min * f32::from(six_min)),
        });
    }
}

/// Scale and minimum of a part: 12 bytes hold 16 numbers of six bits.
fn six_bits(packed: &[u8], part: usize) -> (u8, u8) {
    let byte = |at: usize| packed.get(at).copied().unwrap_or(0);
    if part < 4 {
        return (byte(part) & 63, byte(part + 4) & 63);
    }
    let low = byte(part + 4);
    (
        (low & 15) | (byte(part - 4) >> 6 << 4),
        (low >> 4) | (byte(part) >> 6 << 4),
    )
}

/// The numbers of a block of six-bit numbers.
pub(super) fn six(block: &[u8], numbers: &mut Vec<f32>) {
    let low = block.get(..128).unwrap_or_default();
    let high = block.get(128..192).unwrap_or_default();
    let scales = block.get(192..208).unwrap_or_default();
    let scale = plain::half_at(block, 208);
    for index in 0..256 {
        let (half, within) = (index / 128, index % 128);
        let (quarter, lane) = (within / 32, within % 32);
        let low_at = half * 64 + quarter % 2 * 32 + lane;
        let low_byte = low.get(low_at).copied().unwrap_or(0);
        let low_bits = if quarter < 2 {
            low_byte & 15
        } else {
            low_byte >> 4
        };
        let high_byte = high.get(half * 32 + lane).copied().unwrap_or(0);
        let code = low_bits | ((high_byte >> (quarter * 2) & 3) << 4);
        let part = scales.get(index / 16).copied().unwrap_or(0).cast_signed();
        numbers.push(scale * f32::from(part) * (f32::from(code) - 32.0));
    }
}
