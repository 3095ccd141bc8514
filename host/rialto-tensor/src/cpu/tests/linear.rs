//! Products and attention.

use super::*;
use crate::ops::{Activation, Attention, Matmul};

const FLOATS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];

fn activated(activation: Option<Activation>, x: f64) -> f64 {
    match activation {
        None => x,
        Some(Activation::Relu) => x.max(0.0),
        Some(Activation::Tanh) => x.tanh(),
        Some(Activation::Sigmoid) => 1.0 / (1.0 + (-x).exp()),
        Some(Activation::Silu) => x / (1.0 + (-x).exp()),
        // 1 + tanh(u) is 2 / (1 + exp(-2u)), without cancellation.
        Some(Activation::GeluTanh) => {
            x / (1.0 + (-2.0 * 0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3))).exp())
        }
        Some(Activation::Gelu) => unreachable!("tested by itself"),
    }
}

/// The shapes of the operands of a product.
#[derive(Debug, Clone)]
struct Case {
    batch: Vec<u32>,
    sizes: [u32; 3],
    op: Matmul,
}

fn cases() -> impl Strategy<Value = Case> {
    let activations = prop::sample::select(vec![
        None,
        Some(Activation::Relu),
        Some(Activation::Tanh),
        Some(Activation::Sigmoid),
        Some(Activation::Silu),
        Some(Activation::GeluTanh),
    ]);
    let batch = prop::collection::vec(0..4_u32, 0..3);
    let sizes = prop::array::uniform3(prop_oneof![1 => Just(0_u32), 9 => 1..20_u32]);
    (batch, sizes, any::<[bool; 3]>(), activations).prop_map(
        |(batch, sizes, [transpose_left, transpose_right, bias], activation)| Case {
            batch,
            sizes,
            op: Matmul {
                transpose_left,
                transpose_right,
                bias,
                activation,
            },
        },
    )
}

/// The product in f64, and the largest sum of sizes.
fn product(
    op: &Matmul,
    out: &[u32],
    left: &Tensor,
    right: &Tensor,
    bias: Option<&Tensor>,
) -> Vec<f64> {
    let (a, b) = (floats(left), floats(right));
    let batch = &out[..out.len() - 2];
    let (ls, rs) = (left.shape(), right.shape());
    let (lb, rb) = (&ls[..ls.len() - 2], &rs[..rs.len() - 2]);
    let k = if op.transpose_left {
        ls[ls.len() - 2]
    } else {
        ls[ls.len() - 1]
    } as usize;
    let (m, n) = (out[out.len() - 2] as usize, out[out.len() - 1] as usize);
    let bias = bias.map(floats);
    let count: usize = out.iter().map(|e| *e as usize).product();
    (0..count)
        .map(|at| {
            let (batch_at, i, j) = (at / (m * n), at / n % m, at % n);
            let (x, y) = (
                shown(lb, batch, batch_at) * m * k,
                shown(rb, batch, batch_at) * k * n,
            );
            let sum: f64 = (0..k)
                .map(|l| {
                    let left = if op.transpose_left {
                        l * m + i
                    } else {
                        i * k + l
                    };
                    let right = if op.transpose_right {
                        j * k + l
                    } else {
                        l * n + j
                    };
                    a[x + left] * b[y + right]
                })
                .sum();
            activated(
                op.activation,
                sum + bias.as_ref().map_or(0.0, |bias| bias[j]),
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn products(case in cases(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let Case { batch, sizes: [m, n, k], op } = case;
        let (mut left, mut right) = (draw.narrower(&batch), draw.narrower(&batch));
        let joint = crate::ops::spec::broadcast(&[&left, &right]).unwrap();
        left.extend(if op.transpose_left { [k, m] } else { [m, k] });
        right.extend(if op.transpose_right { [n, k] } else { [k, n] });
        let out = [joint, vec![m, n]].concat();
        for element in FLOATS {
            let (a, b) = (draw.tensor(element, &left, false), draw.tensor(element, &right, false));
            let bias = draw.tensor(element, &[n], false);
            let operands = [&a, &b, &bias];
            let found = run(&Op::Matmul(op), &operands[..2 + usize::from(op.bias)]);
            prop_assert_eq!(found.shape(), &out[..]);
            close(&found, &product(&op, &out, &a, &b, op.bias.then_some(&bias)), 1.1, 0.0);
        }
        let op = Matmul { activation: op.activation.map(|_| Activation::Relu), ..op };
        for (x, y) in [(Element::I8, Element::I8), (Element::U8, Element::I8)] {
            let (a, b) = (draw.tensor(x, &left, true), draw.tensor(y, &right, true));
            let bias = draw.tensor(Element::I32, &[n], false);
            let operands = [&a, &b, &bias];
            let found = run(&Op::Matmul(op), &operands[..2 + usize::from(op.bias)]);
            prop_assert_eq!(found.element(), Element::I32);
            let want = product(&op, &out, &a, &b, op.bias.then_some(&bias));
            prop_assert_eq!(floats(&found), want);
        }
    }

    #[test]
    fn attention(
        [batch, key_heads, share, rows, keys, depth] in prop::array::uniform6(1..5_u32),
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
                _ => Some(tensor_bool(&[1, 1], &[false])),
            };
            let op = Attention { causal, scale: None, mask: masks.is_some() };
            let mut operands = vec![&query, &key, &value];
            operands.extend(&masks);
            let found = run(&Op::Attention(op), &operands);
            let want = straightforward(&op, &operands, &scores);
            // A score of 30 is off by some 2e-6, and weights by as much, times values up to 4.
            let (units, size) = if element == Element::F32 { (40.0, 4.0) } else { (1.1, 0.25) };
            close(&found, &want, units, size);
        }
    }
}

/// Attention as its definition says, in f64.
fn straightforward(op: &Attention, operands: &[&Tensor], scores: &[u32; 4]) -> Vec<f64> {
    let [_, heads, rows, keys] = scores.map(|e| e as usize);
    let (query, key, value) = (
        floats(operands[0]),
        floats(operands[1]),
        floats(operands[2]),
    );
    let depth = operands[0].shape()[3] as usize;
    let (key_heads, out_depth) = (
        operands[1].shape()[1] as usize,
        operands[2].shape()[3] as usize,
    );
    let mask = operands.get(3).map(|mask| (mask, floats(mask)));
    let mut out = Vec::new();
    for unit in 0..scores[0] as usize * heads {
        let source = unit / heads * key_heads + unit % heads * key_heads / heads;
        for i in 0..rows {
            let score = |j: usize| {
                let dot: f64 = (0..depth)
                    .map(|d| {
                        query[(unit * rows + i) * depth + d] * key[(source * keys + j) * depth + d]
                    })
                    .sum();
                let mut score = dot / (depth as f64).sqrt();
                if let Some((tensor, values)) = &mask {
                    let at = (unit * rows + i) * keys + j;
                    let value = values[shown(tensor.shape(), scores, at)];
                    score += match tensor.element() {
                        Element::Bool if value == 0.0 => f64::NEG_INFINITY,
                        Element::Bool => 0.0,
                        _ => value,
                    };
                }
                if op.causal && j + rows > i + keys {
                    f64::NEG_INFINITY
                } else {
                    score
                }
            };
            let all: Vec<f64> = (0..keys).map(score).collect();
            let top = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = all.iter().map(|score| (score - top).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for d in 0..out_depth {
                let mean: f64 = weights
                    .iter()
                    .enumerate()
                    .map(|(j, weight)| weight / sum * value[(source * keys + j) * out_depth + d])
                    .sum();
                out.push(if top == f64::NEG_INFINITY { 0.0 } else { mean });
            }
        }
    }
    out
}

#[test]
fn attention_in_tiles_is_attention() {
    let mut draw = Draw(7);
    let query = draw.tensor(Element::F32, &[1, 2, 150, 8], false);
    let key = draw.tensor(Element::F32, &[1, 1, 170, 8], false);
    let value = draw.tensor(Element::F32, &[1, 1, 170, 4], false);
    let op = Attention {
        causal: true,
        ..Attention::default()
    };
    let operands = [&query, &key, &value];
    let found = run(&Op::Attention(op), &operands);
    close(
        &found,
        &straightforward(&op, &operands, &[1, 2, 150, 170]),
        60.0,
        0.5,
    );
}
