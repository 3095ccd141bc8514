//! Recording, fusing, limits, cancelling.

use super::*;
use crate::{
    Element,
    ops::{
        Binary, Cancel, Compare, Device, EvalError, Matmul, Number, Program, ProgramError, Range,
        Reduce, ReduceKind, Resident, Unary, Value, Work,
    },
};
use proptest::prelude::*;

fn spec(shape: &[u32]) -> Spec {
    Spec::new(Element::F32, shape).unwrap()
}

/// The handle of another recording's value.
fn stranger(index: usize) -> Value {
    let mut recording = Recording::new(Limits::default());
    let values = (0..=index).map(|_| recording.input(spec(&[])).unwrap());
    values.last().unwrap()
}

fn ramp(shape: &[u32]) -> Tensor {
    let count = spec(shape).elements();
    let values: Vec<f32> = (0..count).map(|i| i as f32 / 8.0 - 2.0).collect();
    Tensor::from_f32(shape.to_vec(), &values).unwrap()
}

fn resident(tensor: Tensor) -> Resident {
    Resident::host(tensor).unwrap()
}

fn run(program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
    CpuDevice::new(1, 1 << 24).run_on_host(program, inputs, &Cancel::new())
}

#[test]
fn chains_run_in_one_step() {
    let mut recording = Recording::new(Limits::default());
    let x = recording.input(spec(&[4, 5])).unwrap();
    let b = recording.input(spec(&[5])).unwrap();
    let sum = recording.one(Op::Binary(Binary::Add), &[x, b]).unwrap();
    let gate = recording.one(Op::Unary(Unary::Sigmoid), &[sum]).unwrap();
    let silu = recording
        .one(Op::Binary(Binary::Mul), &[sum, gate])
        .unwrap();
    let unused = recording.one(Op::Unary(Unary::Exp), &[x]).unwrap();
    let program = recording.program(&[silu]).unwrap();
    assert_eq!(
        program.steps().len(),
        1,
        "one pass, nothing for the unused value"
    );
    assert!(matches!(&program.steps()[0].work, Work::Fused(chain) if chain.steps.len() == 3));
    assert_eq!(program.cost().bytes, 80 + 20 + 80);
    assert_eq!(program.peak_bytes(), 80);
    // A value that something else reads is made by itself.
    let program = recording.program(&[silu, gate, unused]).unwrap();
    assert_eq!(program.steps().len(), 4);
    let both = run(&program, &[ramp(&[4, 5]), ramp(&[5])]).unwrap();
    let one = run(
        &recording.program(&[silu]).unwrap(),
        &[ramp(&[4, 5]), ramp(&[5])],
    )
    .unwrap();
    assert_eq!(one[0], both[0]);
}

#[test]
fn settled_values_are_not_computed_again() {
    let mut recording = Recording::new(Limits::default());
    let x = recording.input(spec(&[3])).unwrap();
    let y = recording.one(Op::Softmax { axis: 0 }, &[x]).unwrap();
    let z = recording.one(Op::Unary(Unary::Neg), &[y]).unwrap();
    let first = run(&recording.program(&[y]).unwrap(), &[ramp(&[3])])
        .unwrap()
        .remove(0);
    assert!(matches!(
        recording.settle(y, resident(ramp(&[4]))),
        Err(ProgramError::Spec { .. })
    ));
    recording.settle(y, resident(first)).unwrap();
    let program = recording.program(&[z]).unwrap();
    assert_eq!(program.steps().len(), 1);
    assert_eq!(run(&program, &[ramp(&[3])]).unwrap().len(), 1);
}

#[test]
fn limits_refuse_before_anything_runs() {
    let limits = Limits {
        nodes_max: 2,
        tensor_bytes_max: 400,
        live_bytes_max: 300,
        multiply_adds_max: 1000,
    };
    let mut recording = Recording::new(limits);
    let text = |error: ProgramError| error.to_string();
    assert_eq!(
        text(recording.input(spec(&[101])).unwrap_err()),
        "bytes of a tensor: 404, at most 400"
    );
    let x = recording.input(spec(&[10, 10])).unwrap();
    let product = Op::Matmul(Matmul::default());
    let y = recording.one(product.clone(), &[x, x]).unwrap();
    assert_eq!(
        text(recording.program(&[y]).unwrap_err()),
        "bytes live at a time: 400, at most 300"
    );
    assert!(recording.program(&[x]).is_ok());
    assert_eq!(
        text(
            recording
                .one(product.clone(), &[x, stranger(9)])
                .unwrap_err()
        ),
        "value 9 is not of this recording"
    );
    recording.one(product.clone(), &[x, y]).unwrap();
    assert_eq!(
        text(recording.one(product, &[x, y]).unwrap_err()),
        "operations: 3, at most 2"
    );
    let mut recording = Recording::new(Limits {
        multiply_adds_max: 999,
        ..Limits::default()
    });
    let x = recording.input(spec(&[10, 10])).unwrap();
    let y = recording
        .one(Op::Matmul(Matmul::default()), &[x, x])
        .unwrap();
    let error = text(recording.program(&[y]).unwrap_err());
    assert_eq!(error, "multiplications with addition: 1000, at most 999");
}

#[test]
fn a_device_keeps_to_its_memory_and_stops_when_asked() {
    let mut recording = Recording::new(Limits::default());
    let x = recording.input(spec(&[100])).unwrap();
    let mut y = x;
    for _ in 0..4 {
        y = recording
            .one(
                Op::CumSum(crate::ops::CumSum {
                    axis: 0,
                    exclusive: false,
                    reverse: false,
                }),
                &[y],
            )
            .unwrap();
    }
    let program = recording.program(&[y]).unwrap();
    assert_eq!(program.peak_bytes(), 800, "two values at a time");
    let device = CpuDevice::new(1, 799);
    let input = [ramp(&[100])];
    assert!(matches!(
        device.run_on_host(&program, &input, &Cancel::new()),
        Err(EvalError::Memory {
            needed: 800,
            used: 0,
            limit: 799
        })
    ));
    // A row of scratch is counted too.
    let device = CpuDevice::new(1, 900);
    assert!(matches!(
        device.run_on_host(&program, &input, &Cancel::new()),
        Err(EvalError::Memory { .. })
    ));
    assert_eq!(device.memory_bytes_used(), 0);
    let device = CpuDevice::new(1, 1200);
    assert!(device.run_on_host(&program, &input, &Cancel::new()).is_ok());
    assert_eq!(
        (device.memory_bytes_used(), device.memory_bytes_peak()),
        (0, 1200)
    );
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(
        device.run_on_host(&program, &input, &cancel),
        Err(EvalError::Cancelled)
    );
    let error = device
        .run_on_host(&program, &[ramp(&[99])], &Cancel::new())
        .unwrap_err();
    assert_eq!(error.to_string(), "input 0 takes f32[100], found f32[99]");
    assert!(device.run_on_host(&program, &[], &Cancel::new()).is_err());
    assert!(
        device
            .run_on_host(&program, &[ramp(&[100]), ramp(&[1])], &Cancel::new())
            .is_err()
    );
}

#[test]
fn views_copy_nothing() {
    let mut recording = Recording::new(Limits::default());
    let x = recording.input(spec(&[8, 16])).unwrap();
    let rows = Range {
        start: 2,
        end: Some(5),
        step: 1,
    };
    let part = recording
        .one(Op::Slice(vec![rows, Range::default()]), &[x])
        .unwrap();
    let flat = recording.one(Op::Reshape(vec![48]), &[part]).unwrap();
    let program = recording.program(&[flat]).unwrap();
    let device = CpuDevice::new(1, 1 << 20);
    let input = ramp(&[8, 16]);
    let found = device
        .run_on_host(&program, std::slice::from_ref(&input), &Cancel::new())
        .unwrap();
    assert_eq!(device.memory_bytes_peak(), 0);
    assert_eq!(found[0].data().as_ptr(), input.data()[128..].as_ptr());
}

#[test]
fn a_long_step_stops_on_the_way() {
    // A product of bytes: seconds of work on any machine, if nobody asked for its end.
    let bytes = Spec::new(Element::U8, [4096, 4096]).unwrap();
    let mut recording = Recording::new(Limits::default());
    let x = recording.input(bytes.clone()).unwrap();
    let product = recording
        .one(Op::Matmul(Matmul::default()), &[x, x])
        .unwrap();
    let program = recording.program(&[product]).unwrap();
    let (device, cancel) = (CpuDevice::new(2, 1 << 30), Cancel::new());
    let input = Tensor::new(Element::U8, vec![4096; 2], vec![1; bytes.bytes()].into()).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| device.run_on_host(&program, &[input], &cancel));
        // The product's memory is taken when its step begins.
        while device.memory_bytes_used() == 0 {
            std::thread::yield_now();
        }
        cancel.cancel();
        assert_eq!(run.join().unwrap(), Err(EvalError::Cancelled));
    });
    assert_eq!(device.memory_bytes_used(), 0);
}

#[test]
fn a_small_part_does_not_keep_the_whole() {
    let mut recording = Recording::new(Limits::default());
    let large = Op::Full(spec(&[1 << 16]), Number::Float(1.0));
    let large = recording.one(large, &[]).unwrap();
    let range = Range {
        start: 7,
        end: Some(9),
        step: 1,
    };
    let part = recording.one(Op::Slice(vec![range]), &[large]).unwrap();
    let device = CpuDevice::new(1, 1 << 20);
    let program = recording.program(&[part]).unwrap();
    let found = device.run(&program, &[], &Cancel::new()).unwrap();
    assert_eq!(device.memory_bytes_used(), 8);
    drop(found);
    assert_eq!(device.memory_bytes_used(), 0);
}

/// A random recording of element-wise operations, reductions and constants.
fn random(choices: &[(u8, u8, u8)]) -> (Recording, Vec<Value>) {
    let mut recording = Recording::new(Limits::default());
    let x = recording.input(spec(&[3, 4])).unwrap();
    let y = recording.input(spec(&[4])).unwrap();
    let half = recording
        .one(Op::Full(spec(&[]), Number::Float(0.5)), &[])
        .unwrap();
    let mut values = vec![x, y, half];
    for (kind, a, b) in choices {
        let pick = |at: u8| values[usize::from(at) % values.len()];
        let (a, b) = (pick(*a), pick(*b));
        let made = match kind % 9 {
            0 => recording.one(Op::Binary(Binary::Add), &[a, b]),
            1 => recording.one(Op::Binary(Binary::Mul), &[a, b]),
            2 => recording.one(Op::Unary(Unary::Tanh), &[a]),
            3 => recording.one(Op::Unary(Unary::Abs), &[a]),
            4 => recording
                .one(Op::Compare(Compare::Less), &[a, b])
                .and_then(|less| recording.one(Op::Select, &[less, a, b])),
            5 => recording
                .one(Op::Cast(Element::F16), &[a])
                .and_then(|narrow| {
                    let more = recording.one(Op::Unary(Unary::Exp), &[narrow])?;
                    recording.one(Op::Cast(Element::F32), &[more])
                }),
            6 => recording
                .one(Op::Cast(Element::I8), &[a])
                .and_then(|whole| {
                    let more = recording.one(Op::Binary(Binary::Mul), &[whole, whole])?;
                    recording.one(Op::Cast(Element::F32), &[more])
                }),
            7 => recording.one(
                Op::Reduce(Reduce {
                    kind: ReduceKind::Sum,
                    axes: None,
                    keep: false,
                }),
                &[a],
            ),
            _ => recording.one(Op::Binary(Binary::Max), &[a, b]),
        };
        values.push(made.unwrap());
    }
    (recording, values)
}

proptest! {
    #[test]
    fn fusing_changes_no_bit(choices in prop::collection::vec(any::<(u8, u8, u8)>(), 1..40)) {
        let (recording, values) = random(&choices);
        let inputs = [ramp(&[3, 4]), ramp(&[4])];
        // With every value an output, nothing is fused.
        let plain = recording.program(&values).unwrap();
        let all = run(&plain, &inputs).unwrap();
        let last = *values.last().unwrap();
        let program = recording.program(&[last]).unwrap();
        prop_assert!(program.steps().len() <= plain.steps().len());
        prop_assert!(program.cost().bytes <= plain.cost().bytes);
        let device = CpuDevice::new(1, 1 << 24);
        let one = device.run_on_host(&program, &inputs, &Cancel::new()).unwrap();
        prop_assert_eq!(one[0].data(), all[values.len() - 1].data());
        drop(one);
        prop_assert_eq!(device.memory_bytes_used(), 0);
    }
}
