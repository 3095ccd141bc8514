//! Whether the device computes what the CPU does: looked at before it is used.
//!
//! A fixed set of operations, one of each kind of kernel, on values from a fixed seed. A device that
//! disagrees has a broken driver or compiler; its results would be silently wrong. Non-goals: precision
//! (tests have the tolerances).

use rialto_compute::{
    Element, Tensor,
    ops::{
        ArgReduce, Attention, Binary, Cancel, Conv, CumSum, Device, Limits, Matmul, Norm, Op,
        Recording, Reduce, ReduceKind, Spec, TopK, Unary, Window,
    },
};

use crate::device::GpuDevice;

/// Where the device's results are not the other one's.
pub(crate) fn disagreement(device: &GpuDevice) -> Option<String> {
    cases().into_iter().find_map(|(op, shapes)| {
        let tensors: Option<Vec<Tensor>> = shapes
            .iter()
            .enumerate()
            .map(|(index, (element, shape))| tensor(*element, shape, index))
            .collect();
        let name = op.name();
        let verdict = tensors
            .ok_or_else(|| "its operands cannot be made".to_owned())
            .and_then(|tensors| compare(device, op, &tensors));
        verdict.err().map(|reason| format!("{name}: {reason}"))
    })
}

type Case = (Op, Vec<(Element, Vec<u32>)>);

/// One of each kind of kernel.
fn cases() -> Vec<Case> {
    [elementwise(), products(), along_an_axis(), by_place()].concat()
}

fn floats(shape: &[u32]) -> (Element, Vec<u32>) {
    (Element::F32, shape.to_vec())
}

fn halves(shape: &[u32]) -> (Element, Vec<u32>) {
    (Element::F16, shape.to_vec())
}

fn elementwise() -> Vec<Case> {
    vec![
        (
            Op::Binary(Binary::Add),
            vec![floats(&[33, 65]), floats(&[65])],
        ),
        (
            Op::Binary(Binary::Mul),
            vec![halves(&[33, 65]), halves(&[33, 1])],
        ),
        (Op::Unary(Unary::Gelu), vec![floats(&[1000])]),
        (Op::Unary(Unary::Tanh), vec![(Element::Bf16, vec![1001])]),
    ]
}

fn products() -> Vec<Case> {
    let window = Window {
        before: 1,
        after: 1,
        ..Window::default()
    };
    let convolution = Conv {
        windows: [window; 2],
        bias: true,
        ..Conv::default()
    };
    let attention = Attention {
        causal: true,
        ..Attention::default()
    };
    let heads = |count, rows| floats(&[count, rows, 64]);
    vec![
        (
            Op::Matmul(Matmul::default()),
            vec![floats(&[2, 130, 72]), floats(&[2, 72, 136])],
        ),
        (
            Op::Matmul(Matmul::default()),
            vec![halves(&[65, 40]), halves(&[40, 66])],
        ),
        (
            Op::Conv2d(convolution),
            vec![
                floats(&[1, 9, 14, 15]),
                floats(&[17, 9, 3, 3]),
                floats(&[17]),
            ],
        ),
        (
            Op::Attention(attention),
            vec![heads(2, 40), heads(1, 50), heads(1, 50)],
        ),
    ]
}

fn along_an_axis() -> Vec<Case> {
    let norm = Norm {
        axes: 1,
        epsilon: 1e-5,
        scale: true,
        bias: true,
    };
    let sum = Reduce {
        kind: ReduceKind::Sum,
        axes: Some(vec![1]),
        keep: false,
    };
    let running = CumSum {
        axis: 1,
        exclusive: false,
        reverse: false,
    };
    vec![
        (Op::Softmax { axis: 1 }, vec![floats(&[5, 700])]),
        (Op::Softmax { axis: 0 }, vec![floats(&[70, 9])]),
        (
            Op::LayerNorm(norm),
            vec![floats(&[5, 300]), floats(&[300]), floats(&[300])],
        ),
        (Op::Reduce(sum), vec![floats(&[3, 3000])]),
        (Op::CumSum(running), vec![floats(&[3, 500])]),
    ]
}

fn by_place() -> Vec<Case> {
    let best = ArgReduce {
        axis: 1,
        largest: true,
        keep: false,
    };
    let top = TopK {
        axis: 1,
        k: 7,
        largest: false,
    };
    vec![
        (Op::ArgReduce(best), vec![floats(&[3, 500])]),
        (Op::TopK(top), vec![floats(&[3, 500])]),
        (Op::Transpose(vec![1, 0]), vec![(Element::U8, vec![37, 41])]),
    ]
}

/// A tensor of sixteenths between -2 and 2 (bytes: any), from the seed.
fn tensor(element: Element, shape: &[u32], seed: usize) -> Option<Tensor> {
    let count = Spec::new(element, shape).ok()?.elements();
    let mut state = u64::try_from(seed)
        .ok()?
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut data = Vec::with_capacity(count * element.size_bytes());
    for _ in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [byte, ..] = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        let value = f32::from(byte & 63) / 16.0 - 2.0;
        match element {
            Element::F16 => data.extend(half::f16::from_f32(value).to_le_bytes()),
            Element::Bf16 => data.extend(half::bf16::from_f32(value).to_le_bytes()),
            Element::F32 => data.extend(value.to_le_bytes()),
            Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
                data.extend(std::iter::repeat_n(byte & 1, element.size_bytes()));
            }
        }
    }
    Tensor::new(element, shape.to_vec(), data.into()).ok()
}

fn compare(device: &GpuDevice, op: Op, tensors: &[Tensor]) -> Result<(), String> {
    let text = |error: &dyn ToString| error.to_string();
    let mut recording = Recording::new(Limits::default());
    let mut values = Vec::new();
    for tensor in tensors {
        let spec = Spec::of(tensor).map_err(|error| text(&error))?;
        values.push(recording.input(spec).map_err(|error| text(&error))?);
    }
    let results = recording.op(op, &values).map_err(|error| text(&error))?;
    let program = recording.program(&results).map_err(|error| text(&error))?;
    let other = device.fallback().device();
    let found = device.run_on_host(&program, tensors, &Cancel::new());
    let want = other.run_on_host(&program, tensors, &Cancel::new());
    let (found, want) = found
        .and_then(|found| want.map(|want| (found, want)))
        .map_err(|error| text(&error))?;
    for (found, want) in found.iter().zip(&want) {
        let (found, want) = (numbers(found), numbers(want));
        let size = want
            .iter()
            .fold(1.0, |most: f32, value| most.max(value.abs()));
        for (at, (found, want)) in found.iter().zip(&want).enumerate() {
            if (found - want).abs() > size * TOLERANCE || found.is_nan() != want.is_nan() {
                return Err(format!("element {at} is {found} instead of {want}"));
            }
        }
    }
    Ok(())
}

/// Elements as floats; of integers, each byte.
fn numbers(tensor: &Tensor) -> Vec<f32> {
    let data = tensor.data();
    match tensor.element() {
        Element::F32 => tensor.to_f32().unwrap_or_default(),
        Element::F16 => {
            let cells = data.as_chunks::<2>().0.iter();
            cells
                .map(|cell| half::f16::from_le_bytes(*cell).to_f32())
                .collect()
        }
        Element::Bf16 => {
            let cells = data.as_chunks::<2>().0.iter();
            cells
                .map(|cell| half::bf16::from_le_bytes(*cell).to_f32())
                .collect()
        }
        Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
            data.iter().map(|byte| f32::from(*byte)).collect()
        }
    }
}

/// Of the largest value: a rounding of bf16.
const TOLERANCE: f32 = 1.0 / 128.0;
