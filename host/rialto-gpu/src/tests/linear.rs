//! Products, convolutions, pooling and attention.

use rialto_compute::ops::{Activation, Attention, Conv, Matmul, Pool, PoolKind, Window};

use super::*;

const FLOATS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];
const ACTIVATIONS: [Option<Activation>; 7] = [
    None,
    Some(Activation::Relu),
    Some(Activation::Tanh),
    Some(Activation::Sigmoid),
    Some(Activation::Silu),
    Some(Activation::GeluTanh),
    Some(Activation::Gelu),
];

fn product(draw: &mut Draw, batch: &[u32], [m, n, k]: [u32; 3], element: Element, op: Matmul) {
    let (mut left, mut right) = (draw.narrower(batch), draw.narrower(batch));
    left.extend(if op.transpose_left { [k, m] } else { [m, k] });
    right.extend(if op.transpose_right { [n, k] } else { [k, n] });
    let (a, b) = (
        draw.tensor(element, &left, false),
        draw.tensor(element, &right, false),
    );
    let bias = if is_float(element) {
        element
    } else {
        Element::I32
    };
    let bias = draw.tensor(bias, &[n], false);
    let operands = [&a, &b, &bias];
    let size = if element == Element::F32 { 40.0 } else { 0.5 };
    compare(
        &Op::Matmul(op),
        &operands[..2 + usize::from(op.bias)],
        16.0,
        size,
    );
}

#[test]
fn products_of_many_tiles() {
    let mut draw = Draw(5);
    for (transpose_left, transpose_right) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        for element in FLOATS {
            for sizes in [[70, 132, 68], [65, 67, 33], [128, 64, 96]] {
                let op = Matmul {
                    transpose_left,
                    transpose_right,
                    bias: true,
                    activation: None,
                };
                product(&mut draw, &[2], sizes, element, op);
            }
        }
    }
}

#[test]
fn products_of_large_tiles() {
    let mut draw = Draw(8);
    for (transpose_left, transpose_right) in [(false, false), (true, true)] {
        for element in FLOATS {
            // Rows in quads, and not.
            for sizes in [[900, 1028, 36], [899, 901, 33]] {
                let op = Matmul {
                    transpose_left,
                    transpose_right,
                    bias: true,
                    activation: None,
                };
                product(&mut draw, &[], sizes, element, op);
            }
        }
    }
    let window = Window {
        before: 1,
        after: 1,
        ..Window::default()
    };
    let op = Conv {
        windows: [window; 2],
        bias: true,
        ..Conv::default()
    };
    let x = draw.tensor(Element::F32, &[2, 4, 56, 57], false);
    let w = draw.tensor(Element::F32, &[130, 4, 3, 3], false);
    let b = draw.tensor(Element::F32, &[130], false);
    compare(&Op::Conv2d(op), &[&x, &w, &b], 16.0, 40.0);
}

#[test]
fn products_of_few_rows() {
    let mut draw = Draw(6);
    for transpose_right in [false, true] {
        for element in FLOATS {
            for sizes in [[1, 132, 68], [3, 67, 33], [4, 64, 301]] {
                let op = Matmul {
                    transpose_right,
                    bias: true,
                    activation: Some(Activation::Silu),
                    ..Matmul::default()
                };
                product(&mut draw, &[], sizes, element, op);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn products(
        batch in prop::collection::vec(0..4_u32, 0..3),
        sizes in prop::array::uniform3(prop_oneof![1 => Just(0_u32), 9 => 1..20_u32]),
        [transpose_left, transpose_right, bias] in any::<[bool; 3]>(),
        seed in any::<u64>(),
    ) {
        let mut draw = Draw(seed);
        let activation = draw.pick(&ACTIVATIONS);
        let op = Matmul { transpose_left, transpose_right, bias, activation };
        for element in FLOATS {
            product(&mut draw, &batch, sizes, element, op);
        }
        let op = Matmul { activation: activation.map(|_| Activation::Relu), ..op };
        for element in [Element::I8, Element::U8] {
            product(&mut draw, &batch, sizes, element, op);
        }
    }

    #[test]
    fn convolutions(
        [groups, channels, height, width] in prop::array::uniform4(1..7_u32),
        outputs in 1..12_u32,
        taps in prop::array::uniform2(1..4_u32),
        windows in prop::array::uniform2((1..3_u32, 1..3_u32, 0..3_u32, 0..3_u32)),
        bias in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut draw = Draw(seed);
        let windows = windows.map(|(stride, dilation, before, after)| Window { stride, dilation, before, after });
        let activation = draw.pick(&ACTIVATIONS);
        let extents = [height + 4, width + 4];
        for element in FLOATS {
            let x = draw.tensor(element, &[2, groups * channels, extents[0], extents[1]], false);
            let w = draw.tensor(element, &[groups * outputs, channels, taps[0], taps[1]], false);
            let b = draw.tensor(element, &[groups * outputs], false);
            let op = Conv { windows, groups, bias, activation };
            let size = if element == Element::F32 { 40.0 } else { 0.5 };
            compare(&Op::Conv2d(op), &[&x, &w, &b][..2 + usize::from(bias)], 16.0, size);
            let x = draw.tensor(element, &[2, groups * channels, extents[1]], false);
            let w = draw.tensor(element, &[groups * outputs, channels, taps[1]], false);
            let op = Conv { windows: [windows[1]], groups, bias, activation };
            compare(&Op::Conv1d(op), &[&x, &w, &b][..2 + usize::from(bias)], 16.0, size);
        }
        let op = Conv { bias, activation, ..Conv::<2>::default() };
        let x = draw.tensor(Element::F32, &[2, channels, 6, 6], false);
        let w = draw.tensor(Element::F32, &[outputs, channels, 1, 1], false);
        let b = draw.tensor(Element::F32, &[outputs], false);
        compare(&Op::Conv2d(op), &[&x, &w, &b][..2 + usize::from(bias)], 16.0, 40.0);
    }

    #[test]
    fn pooling(
        extents in prop::array::uniform2(2..5_u32),
        windows in prop::array::uniform2((1..3_u32, 1..2_u32, 0..2_u32, 0..2_u32)),
        seed in any::<u64>(),
    ) {
        let mut draw = Draw(seed);
        let windows = windows.map(|(stride, dilation, before, after)| Window { stride, dilation, before, after });
        for kind in [PoolKind::Max, PoolKind::Mean, PoolKind::MeanWithPadding] {
            for extents in [Some(extents), None] {
                let op = Op::Pool2d(Pool { kind, extents, windows });
                let element = draw.pick(rialto_compute::ops::accepts::elements(&op));
                let x = draw.tensor(element, &[2, 3, 7, 6], kind == PoolKind::Max);
                compare(&op, &[&x], 4.0, 1.0);
                let op = Op::Pool1d(Pool { kind, extents: extents.map(|[_, e]| [e]), windows: [windows[1]] });
                let x = draw.tensor(element, &[2, 3, 6], kind == PoolKind::Max);
                compare(&op, &[&x], 4.0, 1.0);
            }
        }
    }

    #[test]
    fn attention(
        [batch, key_heads, share, depth] in prop::array::uniform4(1..5_u32),
        [rows, keys] in prop::array::uniform2(1..40_u32),
        causal in any::<bool>(),
        mask in 0..4_usize,
        seed in any::<u64>(),
    ) {
        let mut draw = Draw(seed);
        let heads = key_heads * share;
        let scores = [batch, heads, rows, keys];
        for element in FLOATS {
            let query = draw.tensor(element, &[batch, heads, rows, depth], false);
            let key = draw.tensor(element, &[batch, key_heads, keys, depth], false);
            let value = draw.tensor(element, &[batch, key_heads, keys, depth + 1], false);
            let mask_shape = draw.narrower(&scores);
            let masks = match mask {
                0 => None,
                1 => Some(draw.tensor(Element::Bool, &mask_shape, false)),
                2 => Some(draw.tensor(element, &mask_shape, false)),
                _ => Some(Tensor::new(Element::Bool, vec![1, 1], vec![0].into()).unwrap()),
            };
            let op = Attention { causal, scale: None, mask: masks.is_some() };
            let mut operands = vec![&query, &key, &value];
            operands.extend(&masks);
            compare(&Op::Attention(op), &operands, 64.0, if element == Element::F32 { 4.0 } else { 0.1 });
        }
    }
}

#[test]
fn attention_of_many_tiles() {
    let mut draw = Draw(7);
    for (depth, out) in [(64, 64), (128, 96), (33, 80)] {
        let query = draw.tensor(Element::F32, &[1, 2, 70, depth], false);
        let key = draw.tensor(Element::F32, &[1, 1, 90, depth], false);
        let value = draw.tensor(Element::F32, &[1, 1, 90, out], false);
        let op = Attention {
            causal: true,
            ..Attention::default()
        };
        compare(&Op::Attention(op), &[&query, &key, &value], 100.0, 4.0);
    }
    assert!(!gpu().fallback().said().contains(&"attention"));
}
