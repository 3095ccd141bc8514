//! Convolution and pooling.

use super::*;
use crate::ops::{Activation, Conv, Pool, PoolKind, Window};

const FLOATS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];

fn windows() -> impl Strategy<Value = Window> {
    (1..4_u32, 1..3_u32, 0..3_u32, 0..3_u32).prop_map(|(stride, dilation, before, after)| Window {
        stride,
        dilation,
        before,
        after,
    })
}

/// The place of an element of a window, by the definition.
fn place(window: &Window, index: usize, tap: usize, extent: u32) -> Option<usize> {
    let at = index as i64 * i64::from(window.stride) + tap as i64 * i64::from(window.dilation)
        - i64::from(window.before);
    (0..i64::from(extent)).contains(&at).then_some(at as usize)
}

fn convolve(conv: &Conv<2>, out: &[u32], operands: &[&Tensor]) -> Vec<f64> {
    let (x, w) = (floats(operands[0]), floats(operands[1]));
    let bias = operands.get(2).map(|bias| floats(bias));
    let (xs, ws) = (operands[0].shape(), operands[1].shape());
    let per_group = (out[1] / conv.groups) as usize;
    let count: usize = out.iter().map(|e| *e as usize).product();
    (0..count)
        .map(|at| {
            let index = unravel(out, at);
            let group = index[1] / per_group;
            let mut sum = bias.as_ref().map_or(0.0, |bias| bias[index[1]]);
            for c in 0..ws[1] as usize {
                for ky in 0..ws[2] as usize {
                    for kx in 0..ws[3] as usize {
                        let y = place(&conv.windows[0], index[2], ky, xs[2]);
                        let x_at = place(&conv.windows[1], index[3], kx, xs[3]);
                        let Some((y, x_at)) = y.zip(x_at) else {
                            continue;
                        };
                        let from = ravel(xs, &[index[0], group * ws[1] as usize + c, y, x_at]);
                        sum += x[from] * w[ravel(ws, &[index[1], c, ky, kx])];
                    }
                }
            }
            if conv.activation.is_some() {
                sum.max(0.0)
            } else {
                sum
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolution(
        vertical in windows(),
        horizontal in windows(),
        [batch, groups, channels, outputs] in prop::array::uniform4(1..4_u32),
        [height, width] in prop::array::uniform2(4..9_u32),
        [kernel_height, kernel_width] in prop::array::uniform2(1..4_u32),
        [bias, activation] in any::<[bool; 2]>(),
        seed in any::<u64>(),
    ) {
        let mut draw = Draw(seed);
        let activation = activation.then_some(Activation::Relu);
        let conv = Conv { windows: [vertical, horizontal], groups, bias, activation };
        let op = Op::Conv2d(conv);
        let line = Op::Conv1d(Conv { windows: [horizontal], groups, bias, activation });
        for element in FLOATS {
            let input = draw.tensor(element, &[batch, groups * channels, height, width], false);
            let weight =
                draw.tensor(element, &[groups * outputs, channels, kernel_height, kernel_width], false);
            let shift = draw.tensor(element, &[groups * outputs], false);
            let operands = &[&input, &weight, &shift][..2 + usize::from(bias)];
            let specs: Vec<Spec> = operands.iter().map(|t| Spec::of(t).unwrap()).collect();
            let Ok(results) = crate::ops::infer(&op, &specs.iter().collect::<Vec<_>>()) else {
                continue;
            };
            let found = run(&op, operands);
            close(&found, &convolve(&conv, results[0].shape(), operands), 1.1, 0.0);
            // One axis is the same as two of which one is trivial.
            let flat = |tensor: &Tensor| {
                let shape = [tensor.shape()[0], tensor.shape()[1], 1, tensor.shape()[3]];
                let first = draw_part(tensor, shape);
                run(&Op::Reshape(vec![shape[0], shape[1], shape[3]]), &[&first])
            };
            let (input, weight) = (flat(&input), flat(&weight));
            let found = run(&line, &[&[&input, &weight], &operands[2..]].concat());
            let wide = |t: &Tensor| {
                let s = t.shape();
                run(&Op::Reshape(vec![s[0], s[1], 1, s[2]]), &[t])
            };
            let (input, weight) = (wide(&input), wide(&weight));
            let out = wide(&found);
            let conv = Conv { windows: [Window::default(), horizontal], ..conv };
            let operands = [&[&input, &weight], &operands[2..]].concat();
            close(&out, &convolve(&conv, out.shape(), &operands), 1.1, 0.0);
        }
    }

    #[test]
    fn pooling(
        vertical in windows(),
        horizontal in windows(),
        shape in prop::array::uniform4(1..8_u32),
        extents in prop::array::uniform2(1..4_u32),
        whole in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let kinds = [PoolKind::Max, PoolKind::Mean, PoolKind::MeanWithPadding];
        for kind in kinds {
            let extents = (!whole).then_some(extents);
            let pool = Pool { kind, extents, windows: [vertical, horizontal] };
            let op = Op::Pool2d(pool);
            for element in crate::ops::accepts::elements(&op) {
                let input = Draw(seed).tensor(*element, &shape, false);
                let spec = Spec::of(&input).unwrap();
                let Ok(results) = crate::ops::infer(&op, &[&spec]) else { continue };
                let found = run(&op, &[&input]);
                let values = floats(&input);
                let size = extents.unwrap_or([shape[2], shape[3]]).map(|e| e as usize);
                let windows = if whole { [Window::default(); 2] } else { pool.windows };
                let want: Vec<f64> = (0..results[0].elements())
                    .map(|at| {
                        let index = unravel(results[0].shape(), at);
                        let mut inside = Vec::new();
                        for tap in 0..size[0] * size[1] {
                            let y = place(&windows[0], index[2], tap / size[1], shape[2]);
                            let x = place(&windows[1], index[3], tap % size[1], shape[3]);
                            if let Some((y, x)) = y.zip(x) {
                                inside.push(values[ravel(&shape, &[index[0], index[1], y, x])]);
                            }
                        }
                        let sum: f64 = inside.iter().sum();
                        match kind {
                            PoolKind::Max if inside.is_empty() => {
                                if is_float(*element) { f64::NEG_INFINITY } else { 0.0 }
                            }
                            PoolKind::Max => inside.into_iter().fold(f64::NEG_INFINITY, f64::max),
                            PoolKind::Mean => sum / inside.len() as f64,
                            PoolKind::MeanWithPadding => sum / (size[0] * size[1]) as f64,
                        }
                    })
                    .collect();
                close(&found, &want, 1.1, 0.0);
            }
        }
    }
}

/// The first part of a tensor.
fn draw_part(tensor: &Tensor, shape: [u32; 4]) -> Tensor {
    let range = |end: u32| crate::ops::Range {
        end: Some(end.into()),
        ..Default::default()
    };
    run(&Op::Slice(shape.map(range).to_vec()), &[tensor])
}

#[test]
fn convolution_in_tiles_is_convolution() {
    // Deep enough that the unrolled pixels need several tiles.
    let mut draw = Draw(3);
    let input = draw.tensor(Element::F32, &[1, 96, 26, 30], false);
    let weight = draw.tensor(Element::F32, &[5, 96, 3, 3], false);
    let window = Window {
        before: 1,
        after: 1,
        ..Window::default()
    };
    let conv = Conv {
        windows: [window; 2],
        ..Conv::default()
    };
    let found = run(&Op::Conv2d(conv), &[&input, &weight]);
    close(
        &found,
        &convolve(&conv, &[1, 5, 26, 30], &[&input, &weight]),
        1.1,
        0.0,
    );
}

#[test]
fn pooling_over_one_axis() {
    let input = tensor_f32(&[1, 1, 5], &[1.0, 4.0, 2.0, 8.0, 5.0]);
    let window = Window {
        stride: 2,
        ..Window::default()
    };
    let pool = |kind| {
        Op::Pool1d(Pool {
            kind,
            extents: Some([3]),
            windows: [window],
        })
    };
    assert_eq!(floats(&run(&pool(PoolKind::Max), &[&input])), [4.0, 8.0]);
    assert_eq!(
        floats(&run(&pool(PoolKind::Mean), &[&input])),
        [7.0_f32 / 3.0, 5.0].map(f64::from)
    );
}
