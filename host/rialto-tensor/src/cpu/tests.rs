//! Every operation against a naive reference in f64 and i128.
//!
//! Floats are drawn from a grid that every float type holds exactly, with infinities and NaN mixed in
//! where an operation gives them a meaning; integers include the ends of their range.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::wildcard_enum_match_arm,
    reason = "test values are small, and references name what they know"
)]

mod determinism;
mod elementwise;
mod index;
mod layout;
mod linear;
mod messages;
mod normal;
mod program;
mod random;
mod window;

use bytes::Bytes;
use half::{bf16, f16};
use proptest::prelude::*;

use super::CpuDevice;
use crate::ops::{
    Cancel, Device, EvalError, Limits, Number, Op, Recording, Spec, accepts::is_float,
};
use crate::{Element, Tensor};

/// A generator of test values; the seed is proptest's.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A tensor; `special` mixes in infinities, NaN and the ends of integer ranges.
    fn tensor(&mut self, element: Element, shape: &[u32], special: bool) -> Tensor {
        let count = Spec::new(element, shape).unwrap().elements();
        let mut data = Vec::new();
        for _ in 0..count {
            let rare = special && self.below(12) == 0;
            if is_float(element) {
                let grid = f64::from(i32::try_from(self.below(129)).unwrap() - 64) / 16.0;
                let odd = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0, 0.0, 1.0];
                let value = if rare {
                    odd[self.next() as usize % 6]
                } else {
                    grid
                };
                data.extend(bytes_of(element, &[value]));
            } else {
                let (low, high) = range(element);
                let small = i128::from(self.below(41)) - 20;
                let ends = [low, high, low + 1, 0, 1];
                let value = if rare {
                    ends[self.next() as usize % 5]
                } else {
                    small
                };
                data.extend(int_bytes(element, value.clamp(low, high)));
            }
        }
        Tensor::new(element, shape.to_vec(), data.into()).unwrap()
    }

    /// A shape that broadcasts to this one.
    fn narrower(&mut self, shape: &[u32]) -> Vec<u32> {
        let skip = if self.below(3) == 0 {
            self.below(shape.len() as u64 + 1)
        } else {
            0
        };
        let kept = shape.iter().skip(skip as usize);
        kept.map(|extent| if self.below(3) == 0 { 1 } else { *extent })
            .collect()
    }
}

/// Shapes of up to four axes, with empty ones and scalars.
fn shapes() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(
        prop_oneof![1 => Just(0_u32), 2 => Just(1), 9 => 2..6_u32],
        0..=4,
    )
}

fn range(element: Element) -> (i128, i128) {
    match element {
        Element::I64 => (i64::MIN.into(), i64::MAX.into()),
        Element::I32 => (i32::MIN.into(), i32::MAX.into()),
        Element::I8 => (-128, 127),
        Element::U8 => (0, 255),
        _ => (0, 1),
    }
}

fn bytes_of(element: Element, values: &[f64]) -> Vec<u8> {
    let cell = |value: &f64| match element {
        Element::F32 => (*value as f32).to_le_bytes().to_vec(),
        Element::F16 => f16::from_f64(*value).to_le_bytes().to_vec(),
        _ => bf16::from_f64(*value).to_le_bytes().to_vec(),
    };
    values.iter().flat_map(cell).collect()
}

fn int_bytes(element: Element, value: i128) -> Vec<u8> {
    (value as i64).to_le_bytes()[..element.size_bytes()].to_vec()
}

/// An integer wrapped to the type.
fn wrapped(element: Element, value: i128) -> i128 {
    match element {
        Element::I64 => (value as i64).into(),
        Element::I32 => (value as i32).into(),
        Element::I8 => (value as i8).into(),
        Element::U8 => (value as u8).into(),
        _ => value,
    }
}

/// The elements of a float tensor.
fn floats(tensor: &Tensor) -> Vec<f64> {
    let cells = tensor.data().chunks(tensor.element().size_bytes());
    cells
        .map(|cell| match tensor.element() {
            Element::F32 => f32::from_le_bytes(cell.try_into().unwrap()).into(),
            Element::F16 => f16::from_le_bytes(cell.try_into().unwrap()).into(),
            Element::Bf16 => bf16::from_le_bytes(cell.try_into().unwrap()).into(),
            _ => ints_of(tensor.element(), cell) as f64,
        })
        .collect()
}

fn ints_of(element: Element, cell: &[u8]) -> i128 {
    match element {
        Element::I64 => i64::from_le_bytes(cell.try_into().unwrap()).into(),
        Element::I32 => i32::from_le_bytes(cell.try_into().unwrap()).into(),
        Element::I8 => i8::from_le_bytes(cell.try_into().unwrap()).into(),
        _ => cell[0].into(),
    }
}

/// The elements of an integer tensor.
fn ints(tensor: &Tensor) -> Vec<i128> {
    let cells = tensor.data().chunks(tensor.element().size_bytes());
    cells.map(|cell| ints_of(tensor.element(), cell)).collect()
}

fn device() -> CpuDevice {
    CpuDevice::new(2, 1 << 28)
}

/// Runs one operation.
fn try_run(op: &Op, operands: &[&Tensor]) -> Result<Vec<Tensor>, EvalError> {
    let mut recording = Recording::new(Limits::default());
    let inputs: Vec<_> = operands
        .iter()
        .map(|tensor| recording.input(Spec::of(tensor).unwrap()).unwrap())
        .collect();
    let outputs = recording.op(op.clone(), &inputs).unwrap();
    let program = recording.program(&outputs).unwrap();
    let given: Vec<Tensor> = operands.iter().map(|tensor| (*tensor).clone()).collect();
    let device = device();
    let results = device.run_on_host(&program, &given, &Cancel::new());
    let held = results.as_ref().map_or(0, |results| {
        let bytes = results.iter().map(|result| result.data().len() as u64);
        bytes.sum()
    });
    assert!(device.memory_bytes_used() <= held, "results alone are held");
    // A copy of each, so that the device's memory is seen to come back.
    let copy = |result: &Tensor| {
        let data = Bytes::copy_from_slice(result.data());
        Tensor::new(result.element(), result.shape().to_vec(), data).unwrap()
    };
    let copies = results.map(|results| results.iter().map(copy).collect());
    assert_eq!(device.memory_bytes_used(), 0, "all memory is given back");
    copies
}

/// Runs one operation with one result.
fn run(op: &Op, operands: &[&Tensor]) -> Tensor {
    try_run(op, operands).unwrap().remove(0)
}

/// The place in a tensor of shape `from` that place `at` of shape `to` shows.
fn shown(from: &[u32], to: &[u32], at: usize) -> usize {
    let index = unravel(to, at);
    let own = &index[to.len() - from.len()..];
    own.iter().zip(from).fold(0, |place, (index, extent)| {
        place * *extent as usize + if *extent == 1 { 0 } else { *index }
    })
}

fn unravel(shape: &[u32], at: usize) -> Vec<usize> {
    let mut rest = at;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|extent| {
            let this = rest % (*extent as usize).max(1);
            rest /= (*extent as usize).max(1);
            this
        })
        .collect();
    index.reverse();
    index
}

fn ravel(shape: &[u32], index: &[usize]) -> usize {
    shape
        .iter()
        .zip(index)
        .fold(0, |place, (extent, index)| place * *extent as usize + index)
}

/// The error of rounding once to the type, relative.
fn unit(element: Element) -> f64 {
    match element {
        Element::F16 => 1.0 / 2048.0,
        Element::Bf16 => 1.0 / 256.0,
        _ => 1.0 / 16_777_216.0,
    }
}

/// Floats agree within `units` roundings of what was wanted, or of `size` if that is larger.
fn close(found: &Tensor, want: &[f64], units: f64, size: f64) {
    let element = found.element();
    assert_eq!(floats(found).len(), want.len());
    for (index, (found, want)) in floats(found).into_iter().zip(want).enumerate() {
        // What the type cannot hold is infinite.
        let most = if element == Element::F16 {
            65504.0
        } else {
            3.4e38
        };
        if found == *want || (found.is_nan() && want.is_nan()) {
            continue;
        }
        if found.is_infinite() && want.abs() >= most && found.signum() == want.signum() {
            continue;
        }
        let least = if element == Element::F16 { 1e-7 } else { 1e-37 };
        let bound = unit(element) * units * want.abs().max(size) + least;
        let error = (found - want).abs();
        assert!(
            error <= bound,
            "{element} at {index}: found {found}, want {want}"
        );
    }
}

fn scalar(element: Element, number: Number) -> Tensor {
    run(&Op::Full(Spec::scalar(element), number), &[])
}

fn tensor_f32(shape: &[u32], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape.to_vec(), values).unwrap()
}

fn tensor_i64(shape: &[u32], values: &[i64]) -> Tensor {
    Tensor::from_i64(shape.to_vec(), values).unwrap()
}

fn tensor_bool(shape: &[u32], values: &[bool]) -> Tensor {
    let bytes: Bytes = values.iter().map(|value| u8::from(*value)).collect();
    Tensor::new(Element::Bool, shape.to_vec(), bytes).unwrap()
}
