//! Softmax, norms, reductions, running sums, rotation, quantisation.

use super::*;
use crate::ops::{CumSum, Norm, Quantise, Reduce, ReduceKind, Rope, accepts::elements};

const FLOATS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];

/// Applies `row` in f64 along an axis.
fn along(tensor: &Tensor, axis: usize, row: impl Fn(&mut [f64])) -> Vec<f64> {
    let mut values = floats(tensor);
    let shape = tensor.shape();
    let extent = shape[axis] as usize;
    let inner: usize = shape[axis + 1..].iter().map(|e| *e as usize).product();
    for line in 0..values.len().checked_div(extent).unwrap_or(0) {
        let start = line / inner * extent * inner + line % inner;
        let mut lane: Vec<f64> = (0..extent).map(|i| values[start + i * inner]).collect();
        row(&mut lane);
        lane.iter()
            .enumerate()
            .for_each(|(i, value)| values[start + i * inner] = *value);
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn softmax_and_running_sums(
        shape in shapes(), axis in 0..4_usize, [exclusive, reverse] in any::<[bool; 2]>(),
        seed in any::<u64>(),
    ) {
        prop_assume!(axis < shape.len());
        let mut draw = Draw(seed);
        for element in FLOATS {
            let input = draw.tensor(element, &shape, false);
            let soft = |row: &mut [f64], log: bool| {
                let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
                for x in row {
                    *x = if log { *x - top - sum.ln() } else { (*x - top).exp() / sum };
                }
            };
            let want = along(&input, axis, |row| soft(row, false));
            close(&run(&Op::Softmax { axis }, &[&input]), &want, 3.0, 0.0);
            let want = along(&input, axis, |row| soft(row, true));
            close(&run(&Op::LogSoftmax { axis }, &[&input]), &want, 1.1, 0.0);
        }
        let op = Op::CumSum(CumSum { axis, exclusive, reverse });
        for element in elements(&op) {
            let input = draw.tensor(*element, &shape, false);
            let sums = |row: &mut [f64]| {
                let copy = row.to_vec();
                for (i, x) in row.iter_mut().enumerate() {
                    let own = usize::from(!exclusive);
                    *x = if reverse {
                        copy[i + 1 - own..].iter().sum()
                    } else {
                        copy[..i + own].iter().sum()
                    };
                }
            };
            let want = along(&input, axis, sums);
            if is_float(*element) {
                close(&run(&op, &[&input]), &want, 1.1, 0.0);
            } else {
                let want: Vec<i128> =
                    want.into_iter().map(|x| wrapped(*element, x as i128)).collect();
                prop_assert_eq!(ints(&run(&op, &[&input])), want);
            }
        }
    }

    #[test]
    fn norms(shape in shapes(), axes in 1..4_usize, [scale, bias] in any::<[bool; 2]>(), seed in any::<u64>()) {
        prop_assume!(axes <= shape.len());
        let mut draw = Draw(seed);
        let last = shape[shape.len() - axes..].to_vec();
        let width: usize = last.iter().map(|e| *e as usize).product();
        for element in FLOATS {
            let input = draw.tensor(element, &shape, false);
            let (factor, shift) = (draw.tensor(element, &last, false), draw.tensor(element, &last, false));
            for centred in [true, false] {
                let norm = Norm { axes, epsilon: 1e-3, scale, bias: bias && centred };
                let mut operands = vec![&input];
                operands.extend(scale.then_some(&factor));
                operands.extend(norm.bias.then_some(&shift));
                let op = if centred { Op::LayerNorm(norm) } else { Op::RmsNorm(norm) };
                let mut want = floats(&input);
                for row in want.chunks_mut(width.max(1)) {
                    let n = width as f64;
                    let mean = if centred { row.iter().sum::<f64>() / n } else { 0.0 };
                    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                    for (i, x) in row.iter_mut().enumerate() {
                        *x = (*x - mean) / (variance + f64::from(1e-3_f32)).sqrt();
                        *x *= if scale { floats(&factor)[i] } else { 1.0 };
                        *x += if norm.bias { floats(&shift)[i] } else { 0.0 };
                    }
                }
                close(&run(&op, &operands), &want, 3.0, 8.0);
            }
        }
    }

    #[test]
    fn reductions(shape in shapes(), picks in any::<[bool; 4]>(), keep in any::<bool>(), seed in any::<u64>()) {
        let axes: Vec<usize> = (0..shape.len()).filter(|axis| picks[*axis]).collect();
        for kind in ReduceKind::ALL {
            let all = axes.len() == shape.len();
            let op = Op::Reduce(Reduce { kind, axes: (!all).then(|| axes.clone()), keep });
            for element in elements(&op) {
                let input = Draw(seed).tensor(*element, &shape, kind != ReduceKind::Prod);
                if crate::ops::infer(&op, &[&Spec::of(&input).unwrap()]).is_err() {
                    continue;
                }
                let found = run(&op, &[&input]);
                // The values that fall together, in order.
                let kept: Vec<u32> = shape
                    .iter()
                    .enumerate()
                    .map(|(axis, extent)| if axes.contains(&axis) { 1 } else { *extent })
                    .collect();
                let count: usize = kept.iter().map(|e| *e as usize).product();
                let mut groups = vec![Vec::new(); count];
                let total = Spec::of(&input).unwrap().elements();
                (0..total).for_each(|at| groups[shown(&kept, &shape, at)].push(at));
                if is_float(*element) {
                    let values = floats(&input);
                    let want: Vec<f64> = groups
                        .iter()
                        .map(|group| {
                            let items = group.iter().map(|at| values[*at]);
                            let nan = items.clone().any(f64::is_nan);
                            match kind {
                                ReduceKind::Sum => items.sum(),
                                ReduceKind::Mean => items.sum::<f64>() / group.len() as f64,
                                ReduceKind::Prod => items.product(),
                                _ if nan => f64::NAN,
                                ReduceKind::Max => items.fold(f64::NEG_INFINITY, f64::max),
                                ReduceKind::Min => items.fold(f64::INFINITY, f64::min),
                            }
                        })
                        .collect();
                    close(&found, &want, 1.1, 0.0);
                } else {
                    let values = ints(&input);
                    let want: Vec<i128> = groups
                        .iter()
                        .map(|group| {
                            let items = group.iter().map(|at| values[*at]);
                            match kind {
                                ReduceKind::Sum | ReduceKind::Mean => {
                                    items.fold(0, |a, b| wrapped(*element, a + b))
                                }
                                ReduceKind::Prod => items.fold(1, |a, b| wrapped(*element, a * b)),
                                ReduceKind::Max => items.max().unwrap_or(0),
                                ReduceKind::Min => items.min().unwrap_or(0),
                            }
                        })
                        .collect();
                    prop_assert_eq!(ints(&found), want, "{:?} {}", kind, element);
                }
            }
        }
    }

    #[test]
    fn quantisation(shape in shapes(), axis in prop::option::of(0..4_usize), seed in any::<u64>()) {
        prop_assume!(axis.is_none_or(|axis| axis < shape.len()));
        let mut draw = Draw(seed);
        let parameters: Vec<u32> = axis.map(|axis| shape[axis]).into_iter().collect();
        let count = parameters.first().map_or(1, |n| *n as usize);
        let scales: Vec<f32> = (0..count).map(|i| 0.125 * (1 + i % 3) as f32).collect();
        let scale = tensor_f32(&parameters, &scales);
        for to in [Element::I8, Element::U8] {
            let zero = draw.tensor(to, &parameters, true);
            let zeros = ints(&zero);
            for from in FLOATS {
                let input = draw.tensor(from, &shape, false);
                let op = Op::Quantise(Quantise { axis });
                let found = run(&op, &[&input, &scale, &zero]);
                let back = run(&Op::Dequantise(Quantise { axis }, from), &[&found, &scale, &zero]);
                let pick = |at: usize| axis.map_or(0, |axis| unravel(&shape, at)[axis]);
                let (low, high) = range(to);
                let want: Vec<i128> = floats(&input)
                    .into_iter()
                    .enumerate()
                    .map(|(at, x)| {
                        let whole = (x / f64::from(scales[pick(at)])).round_ties_even() as i128;
                        (whole + zeros[pick(at)]).clamp(low, high)
                    })
                    .collect();
                prop_assert_eq!(ints(&found), want.clone());
                let want: Vec<f64> = want
                    .into_iter()
                    .enumerate()
                    .map(|(at, q)| (q - zeros[pick(at)]) as f64 * f64::from(scales[pick(at)]))
                    .collect();
                close(&back, &want, 1.01, 0.0);
            }
        }
    }

    #[test]
    fn rotation(
        batch in 0..3_u32, length in 0..5_u32, pairs in 0..4_u32, rest in 0..3_u32,
        interleaved in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut draw = Draw(seed);
        let (shape, pairs_size) = ([batch, length, 2 * pairs + rest], pairs as usize);
        let positions: Vec<i64> = (0..length).map(|_| draw.below(5000) as i64).collect();
        let places = tensor_i64(&[length], &positions);
        let op = Op::Rope(Rope { base: 10_000.0, interleaved, dimensions: 2 * pairs });
        for element in FLOATS {
            let input = draw.tensor(element, &shape, false);
            let mut want = floats(&input);
            for (line, row) in want.chunks_mut(shape[2].max(1) as usize).enumerate() {
                if shape[2] == 0 { break; }
                for pair in 0..pairs_size {
                    let turn = 10_000_f64.powf(-(pair as f64) / f64::from(pairs));
                    let angle = positions[line % length as usize] as f64 * turn;
                    let (i, j) =
                        if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs_size) };
                    let (a, b) = (row[i], row[j]);
                    row[i] = a * angle.cos() - b * angle.sin();
                    row[j] = a * angle.sin() + b * angle.cos();
                }
            }
            close(&run(&op, &[&input, &places]), &want, 4.0, 8.0);
        }
    }
}

#[test]
fn known_answers() {
    let input = tensor_f32(&[4], &[1.0, 2.0, 3.0, 4.0]);
    let norm = Norm {
        axes: 1,
        epsilon: 0.0,
        scale: false,
        bias: false,
    };
    // The mean square is 7.5; the variance 1.25.
    let found = run(&Op::RmsNorm(norm), &[&input]);
    close(
        &found,
        &[0.365_148_371, 0.730_296_743, 1.095_445_115, 1.460_593_487],
        1.1,
        0.0,
    );
    let found = run(&Op::LayerNorm(norm), &[&input]);
    close(
        &found,
        &[
            -1.341_640_786_5,
            -0.447_213_595_5,
            0.447_213_595_5,
            1.341_640_786_5,
        ],
        1.1,
        0.0,
    );
    let found = run(&Op::Softmax { axis: 0 }, &[&input]);
    close(
        &found,
        &[
            0.032_058_603_3,
            0.087_144_318_7,
            0.236_882_818_1,
            0.643_914_259_9,
        ],
        2.0,
        0.0,
    );
}
