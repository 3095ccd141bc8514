//! Elements in memory: reading and writing runs of them as numbers to compute with.
//!
//! Tensors are bytes of any alignment. Runs are converted in blocks, so that the type is looked up
//! once a block and the loops inside are simple enough for vector instructions. Floats are computed
//! as f32, integers as i64; both hold every value of the narrower types.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::{Element, ops::Number};

/// Reads floats. `bytes` holds as many elements as `out`.
pub(crate) fn load_floats(element: Element, bytes: &[u8], out: &mut [f32]) {
    match element {
        Element::F16 => {
            let mut block = [f16::ZERO; BLOCK];
            let (cells, _) = bytes.as_chunks::<2>();
            for (cells, out) in cells.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
                for (into, cell) in block.iter_mut().zip(cells) {
                    *into = f16::from_le_bytes(*cell);
                }
                let (block, _) = block.split_at(out.len().min(BLOCK));
                block.convert_to_f32_slice(out);
            }
        }
        Element::Bf16 => {
            let (cells, _) = bytes.as_chunks::<2>();
            for (into, cell) in out.iter_mut().zip(cells) {
                *into = f32::from_bits(u32::from(u16::from_le_bytes(*cell)) << 16);
            }
        }
        Element::F32 | Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
            let (cells, _) = bytes.as_chunks::<4>();
            for (into, cell) in out.iter_mut().zip(cells) {
                *into = f32::from_le_bytes(*cell);
            }
        }
    }
}

/// Writes floats, rounding to nearest even. `out` holds as many elements as `values`.
pub(crate) fn store_floats(element: Element, values: &[f32], out: &mut [u8]) {
    match element {
        Element::F16 => {
            let mut block = [f16::ZERO; BLOCK];
            let (cells, _) = out.as_chunks_mut::<2>();
            for (values, cells) in values.chunks(BLOCK).zip(cells.chunks_mut(BLOCK)) {
                let (block, _) = block.split_at_mut(values.len());
                block.convert_from_f32_slice(values);
                for (cell, value) in cells.iter_mut().zip(block) {
                    *cell = value.to_le_bytes();
                }
            }
        }
        Element::Bf16 => {
            let (cells, _) = out.as_chunks_mut::<2>();
            for (cell, value) in cells.iter_mut().zip(values) {
                *cell = bf16::from_f32(*value).to_le_bytes();
            }
        }
        Element::F32 | Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
            let (cells, _) = out.as_chunks_mut::<4>();
            for (cell, value) in cells.iter_mut().zip(values) {
                *cell = value.to_le_bytes();
            }
        }
    }
}

/// Rounds floats to what the element type can hold.
pub(crate) fn round_floats(element: Element, values: &mut [f32]) {
    match element {
        Element::F16 => {
            let mut block = [f16::ZERO; BLOCK];
            for values in values.chunks_mut(BLOCK) {
                let (block, _) = block.split_at_mut(values.len());
                block.convert_from_f32_slice(values);
                block.convert_to_f32_slice(values);
            }
        }
        Element::Bf16 => {
            for value in values {
                *value = bf16::from_f32(*value).to_f32();
            }
        }
        Element::F32 | Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {}
    }
}

/// Reads integers (or booleans).
pub(crate) fn load_ints(element: Element, bytes: &[u8], out: &mut [i64]) {
    match element {
        Element::I64 => {
            let (cells, _) = bytes.as_chunks::<8>();
            for (into, cell) in out.iter_mut().zip(cells) {
                *into = i64::from_le_bytes(*cell);
            }
        }
        Element::I8 => {
            for (into, cell) in out.iter_mut().zip(bytes) {
                *into = i64::from(cell.cast_signed());
            }
        }
        Element::U8 | Element::Bool => {
            for (into, cell) in out.iter_mut().zip(bytes) {
                *into = i64::from(*cell);
            }
        }
        Element::I32 | Element::F32 | Element::F16 | Element::Bf16 => {
            let (cells, _) = bytes.as_chunks::<4>();
            for (into, cell) in out.iter_mut().zip(cells) {
                *into = i64::from(i32::from_le_bytes(*cell));
            }
        }
    }
}

/// Writes integers (or booleans), wrapping.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "integers wrap"
)]
pub(crate) fn store_ints(element: Element, values: &[i64], out: &mut [u8]) {
    match element {
        Element::I64 => {
            let (cells, _) = out.as_chunks_mut::<8>();
            for (cell, value) in cells.iter_mut().zip(values) {
                *cell = value.to_le_bytes();
            }
        }
        Element::I8 | Element::U8 => {
            for (cell, value) in out.iter_mut().zip(values) {
                *cell = *value as u8;
            }
        }
        Element::Bool => {
            for (cell, value) in out.iter_mut().zip(values) {
                *cell = u8::from(*value != 0);
            }
        }
        Element::I32 | Element::F32 | Element::F16 | Element::Bf16 => {
            let (cells, _) = out.as_chunks_mut::<4>();
            for (cell, value) in cells.iter_mut().zip(values) {
                *cell = (*value as i32).to_le_bytes();
            }
        }
    }
}

/// Wraps integers to what the element type can hold.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "integers wrap"
)]
pub(crate) fn wrap_ints(element: Element, values: &mut [i64]) {
    match element {
        Element::I32 => values.iter_mut().for_each(|v| *v = i64::from(*v as i32)),
        Element::I8 => values.iter_mut().for_each(|v| *v = i64::from(*v as i8)),
        Element::U8 => values.iter_mut().for_each(|v| *v = i64::from(*v as u8)),
        Element::I64 | Element::F32 | Element::F16 | Element::Bf16 | Element::Bool => {}
    }
}

/// A float as an integer: truncated and saturated, NaN is 0.
#[expect(clippy::cast_possible_truncation, reason = "what the conversion means")]
pub(crate) const fn to_int(value: f32) -> i64 {
    value as i64
}

/// An integer as the nearest float.
#[expect(clippy::cast_precision_loss, reason = "what the conversion means")]
pub(crate) const fn to_float(value: i64) -> f32 {
    value as f32
}

/// An integer as the nearest wide float.
#[expect(clippy::cast_precision_loss, reason = "what the conversion means")]
pub(crate) const fn wide(value: i64) -> f64 {
    value as f64
}

/// A wide float, rounded once.
#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

/// A count as a wide float.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 53 bits need no last digit"
)]
pub(crate) const fn count(value: usize) -> f64 {
    value as f64
}

/// The range of an integer type.
pub(crate) const fn int_range(element: Element) -> (i64, i64) {
    match element {
        Element::I32 => (-(1 << 31), (1 << 31) - 1),
        Element::I8 => (-128, 127),
        Element::U8 => (0, 255),
        Element::Bool => (0, 1),
        Element::I64 | Element::F32 | Element::F16 | Element::Bf16 => (i64::MIN, i64::MAX),
    }
}

/// The bytes of one element with this value.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "conversion as by a cast"
)]
pub(crate) fn cell(element: Element, number: Number) -> Vec<u8> {
    let float = match number {
        Number::Float(value) => value,
        Number::Int(value) => value as f64,
    };
    match element {
        Element::F32 => match number {
            Number::Float(value) => (value as f32).to_le_bytes().to_vec(),
            Number::Int(value) => (value as f32).to_le_bytes().to_vec(),
        },
        Element::F16 => f16::from_f64(float).to_le_bytes().to_vec(),
        Element::Bf16 => bf16::from_f64(float).to_le_bytes().to_vec(),
        Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
            let (low, high) = int_range(element);
            let value = match number {
                Number::Int(value) => value,
                Number::Float(value) if element == Element::Bool => i64::from(value != 0.0),
                Number::Float(value) => (value as i64).clamp(low, high),
            };
            let mut bytes = vec![0; element.size_bytes()];
            store_ints(element, &[value], &mut bytes);
            bytes
        }
    }
}

/// Elements that are converted together.
pub(crate) const BLOCK: usize = 1024;
