//! One case of each kind of kernel, small enough for a start.

use rialto_compute::{
    Element,
    ops::{
        ArgReduce, Attention, Binary, Combine, Compare, Conv, CumSum, Matmul, Norm, Op, Pool,
        PoolKind, Quantise, Reduce, ReduceKind, Rope, TopK, Unary, Window,
    },
};

/// An operation and its operands.
pub(super) type Case = (Op, Vec<(Element, Vec<u32>)>);

/// One of each kind of kernel.
pub(super) fn cases() -> Vec<Case> {
    [
        elementwise(),
        integers(),
        products(),
        windows(),
        along_an_axis(),
        by_place(),
        by_index(),
    ]
    .concat()
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

fn integers() -> Vec<Case> {
    let of = |element, shape: &[u32]| (element, shape.to_vec());
    let longs = |shape| of(Element::I64, shape);
    vec![
        (
            Op::Binary(Binary::Mul),
            vec![longs(&[33, 5]), longs(&[33, 5])],
        ),
        (Op::Cast(Element::F32), vec![longs(&[70])]),
        (Op::Cast(Element::I64), vec![floats(&[70])]),
        (
            Op::Matmul(Matmul::default()),
            vec![of(Element::I8, &[20, 36]), of(Element::I8, &[36, 24])],
        ),
        (
            Op::Compare(Compare::Less),
            vec![of(Element::U8, &[77]), of(Element::U8, &[77])],
        ),
    ]
}

fn products() -> Vec<Case> {
    let turned = Matmul {
        transpose_right: true,
        ..Matmul::default()
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
        // Enough for the tiles that hardware gets.
        (
            Op::Matmul(Matmul::default()),
            vec![floats(&[900, 36]), floats(&[36, 1028])],
        ),
        (
            Op::Matmul(turned),
            vec![halves(&[899, 34]), halves(&[901, 34])],
        ),
        // Few rows.
        (
            Op::Matmul(Matmul::default()),
            vec![floats(&[3, 130]), floats(&[130, 70])],
        ),
        (
            Op::Matmul(turned),
            vec![halves(&[1, 132]), halves(&[70, 132])],
        ),
        (
            Op::Attention(attention),
            vec![heads(2, 40), heads(1, 50), heads(1, 50)],
        ),
    ]
}

fn windows() -> Vec<Case> {
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
    let by_channel = Conv {
        windows: [window; 2],
        groups: 9,
        ..Conv::default()
    };
    let pool = Pool {
        kind: PoolKind::Max,
        extents: Some([2, 3]),
        windows: [window; 2],
    };
    let image = || floats(&[1, 9, 14, 15]);
    vec![
        (
            Op::Conv2d(convolution),
            vec![image(), floats(&[17, 9, 3, 3]), floats(&[17])],
        ),
        (Op::Conv2d(by_channel), vec![image(), floats(&[9, 1, 3, 3])]),
        (Op::Pool2d(pool), vec![image()]),
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
    let rope = Rope {
        base: 10000.0,
        interleaved: false,
        dimensions: 8,
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
        (
            Op::Rope(rope),
            vec![floats(&[2, 7, 8]), (Element::I64, vec![7])],
        ),
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
        (
            Op::Concat { axis: 1 },
            vec![halves(&[5, 7]), halves(&[5, 4])],
        ),
    ]
}

fn by_index() -> Vec<Case> {
    let places = || (Element::I64, vec![13]);
    let add = Op::Scatter {
        axis: 0,
        combine: Combine::Add,
    };
    vec![
        (Op::Gather { axis: 0 }, vec![halves(&[8, 9]), places()]),
        (add, vec![floats(&[8, 3]), places(), floats(&[13, 3])]),
        (
            Op::Quantise(Quantise { axis: None }),
            vec![floats(&[99]), floats(&[]), (Element::I8, vec![])],
        ),
    ]
}
