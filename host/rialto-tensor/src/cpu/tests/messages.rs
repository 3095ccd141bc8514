//! What errors say, and what is refused before anything is allocated.

use super::*;
use crate::ops::{
    Attention, Binary, Conv, Matmul, Norm, Pool, PoolKind, Quantise, Reduce, ReduceKind, Rope,
    TopK, Unary, Window, accepts::elements, infer,
};

fn spec(element: Element, shape: &[u32]) -> Spec {
    Spec::new(element, shape).unwrap()
}

fn check(op: &Op, operands: &[(Element, &[u32])], want: &str) {
    let specs: Vec<Spec> = operands.iter().map(|(e, s)| spec(*e, s)).collect();
    let error = infer(op, &specs.iter().collect::<Vec<_>>()).unwrap_err();
    assert_eq!(error.to_string(), want);
}

#[test]
fn errors_name_every_operand() {
    use Element::{F16, F32, I32};
    let matmul = Op::Matmul(Matmul::default());
    check(
        &matmul,
        &[(F32, &[2, 3]), (F32, &[4, 5])],
        "matmul: left f32[2, 3] and right f32[4, 5]: 3 columns do not meet 4 rows",
    );
    check(
        &matmul,
        &[(F32, &[2, 3]), (F16, &[3, 5])],
        "matmul: left f32[2, 3] and right f16[3, 5]: right must be f32",
    );
    check(
        &matmul,
        &[(F32, &[2, 3])],
        "matmul: takes 2 operands, found 1",
    );
    check(
        &matmul,
        &[(F32, &[2, 1, 3]), (F32, &[4, 3, 5])],
        "matmul: left f32[2, 1, 3] and right f32[4, 3, 5]: the batches do not broadcast",
    );
    check(
        &Op::Binary(Binary::Add),
        &[(F32, &[2, 3]), (F32, &[2])],
        "add: left f32[2, 3] and right f32[2]: the shapes do not broadcast",
    );
    check(
        &Op::Unary(Unary::Exp),
        &[(I32, &[2])],
        "exp: input i32[2]: input must be f32, f16, bf16",
    );
    check(
        &Op::Select,
        &[(F32, &[1]), (F32, &[1]), (F32, &[1])],
        "select: condition f32[1], then f32[1] and else f32[1]: condition must be boolean",
    );
}

#[test]
fn errors_name_every_operand_of_larger_operations() {
    use Element::{Bool, F32, I64};
    check(
        &Op::Conv2d(Conv {
            groups: 2,
            ..Conv::default()
        }),
        &[(F32, &[1, 6, 8, 8]), (F32, &[4, 2, 3, 3])],
        "conv2d: input f32[1, 6, 8, 8] and weight f32[4, 2, 3, 3]: 3 input channels a group do not \
         meet 2 weight channels",
    );
    check(
        &Op::Conv1d(Conv::default()),
        &[(F32, &[1, 1, 2]), (F32, &[1, 1, 3])],
        "conv1d: input f32[1, 1, 2] and weight f32[1, 1, 3]: no window of 3 fits axis 2 with stride \
         1, dilation 1 and padding 0 + 0",
    );
    check(
        &Op::Attention(Attention::default()),
        &[(F32, &[3, 2, 8]), (F32, &[2, 2, 8]), (F32, &[2, 2, 8])],
        "attention: query f32[3, 2, 8], key f32[2, 2, 8] and value f32[2, 2, 8]: 3 query heads are \
         no multiple of 2 key heads",
    );
    check(
        &Op::Gather { axis: 2 },
        &[(F32, &[3, 2]), (I64, &[1])],
        "gather: data f32[3, 2] and indices i64[1]: axis 2 is none of 2 axes",
    );
    check(
        &Op::Gather { axis: 0 },
        &[(F32, &[3, 2]), (Bool, &[1])],
        "gather: data f32[3, 2] and indices boolean[1]: indices must be i32, i64",
    );
    check(
        &Op::TopK(TopK {
            axis: 0,
            k: 4,
            largest: true,
        }),
        &[(F32, &[3])],
        "top-k: input f32[3]: k 4 is more than 3 elements",
    );
    check(
        &Op::Reshape(vec![2, 2]),
        &[(F32, &[3])],
        "reshape: input f32[3]: 3 elements do not fill [2, 2]",
    );
    check(
        &Op::Concat { axis: 0 },
        &[],
        "concatenate: takes at least 1 operands, found 0",
    );
}

#[test]
fn what_overflows_is_refused() {
    let huge = spec(Element::U8, &[1 << 31, 1 << 30]);
    let row = spec(Element::U8, &[1 << 31, 1]);
    let refused = |op: Op, operands: &[&Spec]| {
        let error = infer(&op, operands).unwrap_err().to_string();
        assert!(error.contains("too l"), "{error}");
    };
    refused(Op::Cast(Element::I64), &[&huge]);
    refused(
        Op::Matmul(Matmul {
            transpose_right: true,
            ..Matmul::default()
        }),
        &[&row, &row],
    );
    refused(Op::Concat { axis: 0 }, &[&row, &row]);
    refused(Op::BroadcastTo(vec![u32::MAX, 1 << 31, 1]), &[&row]);
    let pad = crate::ops::Pad {
        before: vec![u32::MAX, 0],
        after: vec![0, 0],
        mode: crate::ops::PadMode::Edge,
    };
    refused(Op::Pad(pad), &[&row]);
}

#[test]
fn the_table_of_types_is_kept() {
    let scalars = |op: &Op, element: Element, count: usize| {
        let operands = vec![spec(element, &[1, 1, 4, 4]); count];
        infer(op, &operands.iter().collect::<Vec<_>>()).is_ok()
    };
    let one = Unary::ALL
        .map(Op::Unary)
        .into_iter()
        .chain(ReduceKind::ALL.map(|kind| {
            Op::Reduce(Reduce {
                kind,
                axes: None,
                keep: false,
            })
        }));
    let pool = |kind| {
        Op::Pool2d(Pool {
            kind,
            extents: None,
            windows: [Window::default(); 2],
        })
    };
    let one = one.chain([Op::Softmax { axis: 0 }, Op::LogSoftmax { axis: 0 }]);
    let one = one.chain([pool(PoolKind::Max), pool(PoolKind::Mean)]);
    let two = Binary::ALL.map(Op::Binary);
    let ops = one
        .map(|op| (op, 1))
        .chain(two.into_iter().map(|op| (op, 2)));
    for (op, count) in ops {
        for element in Element::ALL {
            let takes = elements(&op).contains(&element);
            assert_eq!(
                scalars(&op, element, count),
                takes,
                "{} of {element}",
                op.name()
            );
        }
    }
}

/// Operations with attributes that make no sense.
fn nonsense(draw: &mut Draw) -> Vec<Op> {
    let mut number = || match draw.below(4) {
        0 => 0,
        1 => u32::MAX,
        _ => draw.below(5) as u32,
    };
    let axis = number() as usize;
    let window = Window {
        stride: number(),
        dilation: number(),
        before: number(),
        after: number(),
    };
    let shape: Vec<u32> = (0..number() % 5).map(|_| number()).collect();
    let norm = Norm {
        axes: axis,
        epsilon: 0.0,
        scale: axis.is_multiple_of(2),
        bias: axis.is_multiple_of(3),
    };
    vec![
        Op::Matmul(Matmul {
            bias: axis == 1,
            ..Matmul::default()
        }),
        Op::Conv2d(Conv {
            windows: [window; 2],
            groups: number(),
            ..Conv::default()
        }),
        Op::Conv1d(Conv {
            windows: [window],
            groups: number(),
            bias: true,
            activation: None,
        }),
        Op::Pool2d(Pool {
            kind: PoolKind::Max,
            extents: Some([number(); 2]),
            windows: [window; 2],
        }),
        Op::Attention(Attention {
            mask: axis == 0,
            ..Attention::default()
        }),
        Op::LayerNorm(norm),
        Op::RmsNorm(norm),
        Op::Rope(Rope {
            base: 1.0,
            interleaved: true,
            dimensions: number(),
        }),
        Op::Gather { axis },
        Op::GatherElements { axis },
        Op::TopK(TopK {
            axis,
            k: number(),
            largest: true,
        }),
        Op::Quantise(Quantise { axis: Some(axis) }),
        Op::Reshape(shape.clone()),
        Op::Transpose(vec![axis, 0]),
        Op::BroadcastTo(shape),
        Op::Concat { axis },
    ]
}

/// Attributes and shapes that make no sense must never panic, in inference, cost or naming.
#[test]
fn nonsense_is_refused() {
    let mut draw = Draw(5);
    for _ in 0..20_000 {
        let ops = nonsense(&mut draw);
        let element = Element::ALL[draw.below(8) as usize];
        let specs: Vec<Spec> = (0..draw.below(4))
            .filter_map(|_| {
                let shape: Vec<u32> = (0..draw.below(5))
                    .map(|_| {
                        if draw.below(9) == 0 {
                            u32::MAX
                        } else {
                            draw.below(4) as u32
                        }
                    })
                    .collect();
                Spec::new(element, shape).ok()
            })
            .collect();
        let operands: Vec<&Spec> = specs.iter().collect();
        for op in ops {
            if let Ok(results) = infer(&op, &operands) {
                let _ = crate::ops::cost(&op, &operands, &results);
            }
        }
    }
}
