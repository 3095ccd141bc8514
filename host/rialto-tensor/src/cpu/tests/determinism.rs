//! The same bits for any number of threads and any run.

use super::*;
use crate::ops::{Attention, Conv, Matmul, Norm, Reduce, ReduceKind, Unary, Value, Window};

/// A network with every kind of kernel, large enough that threads share the work.
fn network(recording: &mut Recording, inputs: &mut Vec<Tensor>) -> Vec<Value> {
    let mut draw = Draw(11);
    let mut input = |recording: &mut Recording, element, shape: &[u32]| {
        let tensor = draw.tensor(element, shape, false);
        let value = recording.input(Spec::of(&tensor).unwrap()).unwrap();
        inputs.push(tensor);
        value
    };
    let mut outputs = Vec::new();
    for (m, n, k) in [
        (200, 300, 150),
        (1, 700, 900),
        (700, 1, 900),
        (97, 131, 1),
        (33, 17, 2000),
    ] {
        let a = input(recording, Element::F32, &[m, k]);
        let b = input(recording, Element::F32, &[k, n]);
        outputs.push(
            recording
                .one(Op::Matmul(Matmul::default()), &[a, b])
                .unwrap(),
        );
    }
    for batch in [1, 3] {
        let x = input(recording, Element::F32, &[batch, 16, 40, 40]);
        let w = input(recording, Element::F32, &[24, 16, 3, 3]);
        let window = Window {
            before: 1,
            after: 1,
            ..Window::default()
        };
        let conv = Conv {
            windows: [window; 2],
            ..Conv::default()
        };
        outputs.push(recording.one(Op::Conv2d(conv), &[x, w]).unwrap());
    }
    let q = input(recording, Element::F16, &[2, 4, 200, 32]);
    let k = input(recording, Element::F16, &[2, 2, 200, 32]);
    let attention = Attention {
        causal: true,
        ..Attention::default()
    };
    outputs.push(recording.one(Op::Attention(attention), &[q, k, k]).unwrap());
    let x = input(recording, Element::F32, &[600, 700]);
    for unary in [Unary::Gelu, Unary::Exp, Unary::Sin] {
        outputs.push(recording.one(Op::Unary(unary), &[x]).unwrap());
    }
    outputs.push(recording.one(Op::Softmax { axis: 1 }, &[x]).unwrap());
    outputs.push(recording.one(Op::Softmax { axis: 0 }, &[x]).unwrap());
    let norm = Norm {
        axes: 1,
        epsilon: 1e-5,
        scale: false,
        bias: false,
    };
    outputs.push(recording.one(Op::LayerNorm(norm), &[x]).unwrap());
    for axes in [vec![0], vec![1], vec![0, 1]] {
        let reduce = Reduce {
            kind: ReduceKind::Sum,
            axes: Some(axes),
            keep: false,
        };
        outputs.push(recording.one(Op::Reduce(reduce), &[x]).unwrap());
    }
    outputs.push(recording.one(Op::Transpose(vec![1, 0]), &[x]).unwrap());
    outputs
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (mut recording, mut inputs) = (Recording::new(Limits::default()), Vec::new());
    let outputs = network(&mut recording, &mut inputs);
    let program = recording.program(&outputs).unwrap();
    let run = |threads| {
        let device = CpuDevice::new(threads, 1 << 30);
        device
            .run_on_host(&program, &inputs, &Cancel::new())
            .unwrap()
    };
    let want = run(1);
    for threads in [1, 2, 3, 7] {
        for (index, (found, want)) in run(threads).iter().zip(&want).enumerate() {
            assert_eq!(found, want, "output {index} with {threads} threads");
        }
    }
}
