//! Reductions, softmax, norms, running sums, rotary embedding.

use rialto_compute::ops::{CumSum, Norm, Reduce, ReduceKind, Rope, accepts::elements};

use super::*;

const FLOATS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];
const KINDS: [ReduceKind; 5] = [
    ReduceKind::Sum,
    ReduceKind::Mean,
    ReduceKind::Max,
    ReduceKind::Min,
    ReduceKind::Prod,
];

#[test]
fn long_lines() {
    let mut draw = Draw(11);
    for shape in [vec![3, 5000], vec![5000, 3], vec![200_001], vec![2, 700, 3]] {
        for kind in KINDS {
            if kind == ReduceKind::Prod {
                continue;
            }
            let op = Op::Reduce(Reduce {
                kind,
                axes: Some(vec![usize::from(shape.len() == 2 && shape[0] == 3)]),
                keep: true,
            });
            for element in elements(&op) {
                let x = draw.tensor(*element, &shape, false);
                let size = if kind == ReduceKind::Sum { 400.0 } else { 1.0 };
                compare(&op, &[&x], 8.0, size);
            }
        }
        let axis = usize::from(shape.len() > 1 && shape[0] == 3);
        for element in FLOATS {
            let x = draw.tensor(element, &shape, false);
            compare(&Op::Softmax { axis }, &[&x], 16.0, 1e-6);
            compare(&Op::LogSoftmax { axis }, &[&x], 16.0, 4.0);
            let op = CumSum {
                axis,
                exclusive: false,
                reverse: false,
            };
            compare(&Op::CumSum(op), &[&x], 8.0, 2000.0);
            let norm = Norm {
                axes: 1,
                epsilon: 1e-5,
                scale: true,
                bias: true,
            };
            let (s, b) = (
                draw.tensor(element, &shape[shape.len() - 1..], false),
                draw.tensor(element, &shape[shape.len() - 1..], false),
            );
            compare(&Op::LayerNorm(norm), &[&x, &s, &b], 16.0, 4.0);
            compare(
                &Op::RmsNorm(Norm {
                    bias: false,
                    ..norm
                }),
                &[&x, &s],
                16.0,
                4.0,
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn reductions(shape in shapes(), choose in any::<[bool; 4]>(), keep in any::<bool>(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let axes: Vec<usize> = (0..shape.len()).filter(|axis| choose[*axis]).collect();
        for kind in KINDS {
            let axes = if axes.is_empty() { None } else { Some(axes.clone()) };
            let op = Op::Reduce(Reduce { kind, axes, keep });
            let element = draw.pick(elements(&op));
            let x = draw.tensor(element, &shape, kind != ReduceKind::Prod);
            if rialto_compute::ops::infer(&op, &[&Spec::of(&x).unwrap()]).is_ok() {
                compare(&op, &[&x], 16.0, 8.0);
            }
        }
    }

    #[test]
    fn along_an_axis(shape in shapes(), axis in 0..4_usize, [exclusive, reverse, scale, bias] in any::<[bool; 4]>(), seed in any::<u64>()) {
        prop_assume!(axis < shape.len());
        let mut draw = Draw(seed);
        for element in FLOATS {
            let x = draw.tensor(element, &shape, true);
            compare(&Op::Softmax { axis }, &[&x], 16.0, 1e-6);
            compare(&Op::LogSoftmax { axis }, &[&x], 16.0, 4.0);
            let norm = Norm { axes: axis + 1, epsilon: 1e-3, scale, bias };
            let last = &shape[shape.len() - axis - 1..];
            let (s, b) = (draw.tensor(element, last, false), draw.tensor(element, last, false));
            let x = draw.tensor(element, &shape, false);
            let mut operands = vec![&x];
            if scale { operands.push(&s); }
            compare(&Op::RmsNorm(Norm { bias: false, ..norm }), &operands, 32.0, 4.0);
            if bias { operands.push(&b); }
            compare(&Op::LayerNorm(norm), &operands, 32.0, 4.0);
        }
        let op = Op::CumSum(CumSum { axis, exclusive, reverse });
        for element in elements(&op) {
            let x = draw.tensor(*element, &shape, !is_float(*element));
            compare(&op, &[&x], 8.0, 8.0);
        }
    }

    #[test]
    fn rotary(length in 1..6_u32, half in 0..5_u32, more in 0..3_u32, interleaved in any::<bool>(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        for element in FLOATS {
            let x = draw.tensor(element, &[2, length, 2 * half + more], false);
            let positions: Vec<i64> = (0..length).map(|_| draw.below(200_000) as i64 - 1000).collect();
            let at = Tensor::from_i64(vec![length], &positions).unwrap();
            let op = Rope { base: 10000.0, interleaved, dimensions: 2 * half };
            compare(&Op::Rope(op), &[&x, &at], 16.0, 4.0);
        }
    }
}
