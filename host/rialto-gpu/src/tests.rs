//! Every operation against the CPU device, on Mesa's software Vulkan.
//!
//! Tolerances, in roundings of the element type (and of `size`, where sums cancel): see `close`.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::wildcard_enum_match_arm,
    reason = "test values are small, and references name what they know"
)]

mod device;
mod elementwise;
mod index;
mod layout;
mod linear;
mod normal;

use std::sync::{Arc, OnceLock};

use half::{bf16, f16};
use proptest::prelude::*;
use rialto_compute::{
    Element, Tensor,
    ops::{Cancel, Device, EvalError, Limits, Op, Recording, Spec, accepts::is_float},
};
use rialto_tensor::CpuDevice;

use crate::{Config, GpuDevice, Wanted};

/// The device that tests use: the same one on every machine.
fn config() -> Config {
    Config {
        adapter: Wanted::Named("LLVMpipe".to_owned()),
        memory_bytes_max: 1 << 28,
        ..Config::default()
    }
}

fn cpu() -> Arc<dyn Device> {
    Arc::new(CpuDevice::new(1, 1 << 28))
}

fn gpu() -> &'static GpuDevice {
    static GPU: OnceLock<GpuDevice> = OnceLock::new();
    GPU.get_or_init(|| match GpuDevice::open_unchecked(config(), cpu()) {
        Ok(device) => device,
        Err(error) => panic!("{error}"),
    })
}

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
                    odd[self.below(6) as usize]
                } else {
                    grid
                };
                data.extend(bytes_of(element, value));
            } else {
                let (low, high) = range(element);
                let small = i128::from(self.below(41)) - 20;
                let ends = [low, high, low + 1, 0, 1];
                let value = if rare {
                    ends[self.below(5) as usize]
                } else {
                    small
                };
                let value = i64::try_from(value.clamp(low, high)).unwrap();
                data.extend(&value.to_le_bytes()[..element.size_bytes()]);
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

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Indices on an axis, negative ones too.
    fn indices(&mut self, shape: &[u32], extent: u32) -> Tensor {
        let count: u32 = shape.iter().product();
        let values: Vec<i64> = (0..count)
            .map(|_| self.below(2 * u64::from(extent)) as i64 - i64::from(extent))
            .collect();
        if self.below(2) == 0 {
            return Tensor::from_i64(shape.to_vec(), &values).unwrap();
        }
        let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
        Tensor::from_i32(shape.to_vec(), &values).unwrap()
    }
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

fn bytes_of(element: Element, value: f64) -> Vec<u8> {
    match element {
        Element::F32 => (value as f32).to_le_bytes().to_vec(),
        Element::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
        _ => bf16::from_f64(value).to_le_bytes().to_vec(),
    }
}

/// The elements of a float tensor.
fn floats(tensor: &Tensor) -> Vec<f64> {
    let cells = tensor.data().chunks(tensor.element().size_bytes());
    cells
        .map(|cell| match tensor.element() {
            Element::F32 => f32::from_le_bytes(cell.try_into().unwrap()).into(),
            Element::F16 => f16::from_le_bytes(cell.try_into().unwrap()).into(),
            _ => bf16::from_le_bytes(cell.try_into().unwrap()).into(),
        })
        .collect()
}

/// Shapes of up to four axes, with empty ones and scalars.
fn shapes() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(
        prop_oneof![1 => Just(0_u32), 2 => Just(1), 9 => 2..6_u32],
        0..=4,
    )
}

/// The error of rounding once to the type, relative.
fn unit(element: Element) -> f64 {
    match element {
        Element::F16 => 1.0 / 1024.0,
        Element::Bf16 => 1.0 / 128.0,
        _ => 1.0 / 8_388_608.0,
    }
}

/// Floats agree within `units` roundings of what was wanted, or of `size` if that is larger; other
/// types exactly.
fn close(name: &str, found: &Tensor, want: &Tensor, units: f64, size: f64) {
    let element = found.element();
    assert_eq!(
        (element, found.shape()),
        (want.element(), want.shape()),
        "{name}"
    );
    if !is_float(element) {
        assert_eq!(
            found.data(),
            want.data(),
            "{name} {element}{:?}",
            found.shape()
        );
        return;
    }
    for (index, (found, want)) in floats(found).into_iter().zip(floats(want)).enumerate() {
        if found == want || (found.is_nan() && want.is_nan()) {
            continue;
        }
        let least = if element == Element::F16 {
            1e-7
        } else {
            1.2e-38
        };
        // Rounded elements differ by a whole unit if the sums before are on both sides of a half.
        let bound = unit(element) * units.max(1.01) * want.abs().max(size) + least;
        let error = (found - want).abs();
        assert!(
            error <= bound,
            "{name} {element} at {index}: found {found}, want {want}"
        );
    }
}

fn run_on(device: &dyn Device, op: &Op, operands: &[&Tensor]) -> Result<Vec<Tensor>, EvalError> {
    let mut recording = Recording::new(Limits::default());
    let inputs: Vec<_> = operands
        .iter()
        .map(|tensor| recording.input(Spec::of(tensor).unwrap()).unwrap())
        .collect();
    let outputs = recording.op(op.clone(), &inputs).unwrap();
    let program = recording.program(&outputs).unwrap();
    let given: Vec<Tensor> = operands.iter().map(|tensor| (*tensor).clone()).collect();
    device.run_on_host(&program, &given, &Cancel::new())
}

/// Runs an operation on both devices and compares.
fn compare(op: &Op, operands: &[&Tensor], units: f64, size: f64) {
    let want = run_on(&*cpu(), op, operands);
    let found = run_on(gpu(), op, operands);
    match (found, want) {
        (Ok(found), Ok(want)) => {
            for (found, want) in found.iter().zip(&want) {
                close(&format!("{op:?}"), found, want, units, size);
            }
        }
        (found, want) => assert_eq!(found, want, "{op:?}"),
    }
}
