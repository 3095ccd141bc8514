//! Recurrent layers, against a step written out in f64.

use super::build::{Case, i64s, ramp};
use crate::{Element, Tensor};

const STEPS: u32 = 4;
const BATCH: u32 = 2;
const INPUT: u32 = 3;
const HIDDEN: u32 = 2;

fn sizes() -> [usize; 4] {
    [STEPS, BATCH, INPUT, HIDDEN].map(|size| usize::try_from(size).unwrap())
}

fn small(shape: &[u32], by: f32) -> Tensor {
    let values: Vec<f32> = ramp(shape)
        .to_f32()
        .unwrap()
        .iter()
        .map(|value| value * by)
        .collect();
    Tensor::from_f32(shape.to_vec(), &values).unwrap()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// One gate of one row: weights times inputs, recurrent weights times state, both biases.
struct Gates {
    w: Vec<f32>,
    r: Vec<f32>,
    b: Vec<f32>,
    count: usize,
}

impl Gates {
    fn new(count: u32) -> (Self, [Tensor; 3]) {
        let w = small(&[1, count * HIDDEN, INPUT], 0.4);
        let r = small(&[1, count * HIDDEN, HIDDEN], -0.3);
        let b = small(&[1, 2 * count * HIDDEN], 0.2);
        let floats = |tensor: &Tensor| tensor.to_f32().unwrap();
        let gates = Self {
            w: floats(&w),
            r: floats(&r),
            b: floats(&b),
            count: usize::try_from(count).unwrap(),
        };
        (gates, [w, r, b])
    }

    fn input(&self, gate: usize, unit: usize, x: &[f32]) -> f64 {
        let [.., input, hidden] = sizes();
        let row = gate * hidden + unit;
        let products = (0..input).map(|i| f64::from(self.w[row * input + i]) * f64::from(x[i]));
        products.sum::<f64>() + f64::from(self.b[row])
    }

    fn state(&self, gate: usize, unit: usize, h: &[f64]) -> f64 {
        let [.., hidden] = sizes();
        let row = gate * hidden + unit;
        let products = (0..hidden).map(|i| f64::from(self.r[row * hidden + i]) * h[i]);
        products.sum::<f64>() + f64::from(self.b[self.count * hidden + row])
    }
}

fn lstm(gates: &Gates, x: &[f32], h: &[f64], c: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let gate = |gate, unit| gates.input(gate, unit, x) + gates.state(gate, unit, h);
    let cell =
        |unit| sigmoid(gate(2, unit)) * c[unit] + sigmoid(gate(0, unit)) * gate(3, unit).tanh();
    let c: Vec<f64> = (0..c.len()).map(cell).collect();
    let h = (0..c.len())
        .map(|unit| sigmoid(gate(1, unit)) * c[unit].tanh())
        .collect();
    (h, c)
}

fn gru(gates: &Gates, x: &[f32], h: &[f64], after: bool) -> Vec<f64> {
    let gate = |gate, unit| sigmoid(gates.input(gate, unit, x) + gates.state(gate, unit, h));
    let reset: Vec<f64> = (0..h.len()).map(|unit| gate(1, unit) * h[unit]).collect();
    let new = |unit| {
        let back = if after {
            gate(1, unit) * gates.state(2, unit, h)
        } else {
            gates.state(2, unit, &reset)
        };
        (gates.input(2, unit, x) + back).tanh()
    };
    (0..h.len())
        .map(|unit| (1.0 - gate(0, unit)) * new(unit) + gate(0, unit) * h[unit])
        .collect()
}

/// All hidden states in order of time, and the last ones.
fn unrolled(
    back: bool,
    step: impl Fn(&[f32], &[f64], &[f64]) -> (Vec<f64>, Vec<f64>),
) -> [Vec<f64>; 3] {
    let [steps, batch, input, hidden] = sizes();
    let x = ramp(&[STEPS, BATCH, INPUT]).to_f32().unwrap();
    let mut y = vec![0.0; steps * batch * hidden];
    let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
    for row in 0..batch {
        let (mut h, mut c) = (vec![0.0; hidden], vec![0.0; hidden]);
        for step_at in 0..steps {
            let at = if back { steps - 1 - step_at } else { step_at };
            let start = (at * batch + row) * input;
            (h, c) = step(&x[start..start + input], &h, &c);
            y[(at * batch + row) * hidden..][..hidden].copy_from_slice(&h);
        }
        last_h.extend(h);
        last_c.extend(c);
    }
    [y, last_h, last_c]
}

fn layer(op: &'static str, weights: &[Tensor; 3], outputs: usize) -> Case {
    let ranks = [4, 3, 3].map(|rank| (Element::F32, rank));
    let case = Case::new(op, 4)
        .gives(&ranks[..outputs])
        .int("hidden_size", i64::from(HIDDEN));
    let case = case.on(ramp(&[STEPS, BATCH, INPUT]));
    weights
        .iter()
        .fold(case, |case, weight| case.with(weight.clone()))
}

fn check(case: &Case, expected: &[Vec<f64>]) {
    let found = case.run().unwrap();
    assert_eq!(found[0].shape(), [STEPS, 1, BATCH, HIDDEN]);
    assert_eq!(found[1].shape(), [1, BATCH, HIDDEN]);
    for (found, expected) in found.iter().zip(expected) {
        for (found, expected) in found.to_f32().unwrap().iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6,
                "{found} instead of {expected}"
            );
        }
    }
}

#[test]
fn a_long_memory_is_kept_step_by_step() {
    let (gates, weights) = Gates::new(4);
    let expected = unrolled(false, |x, h, c| lstm(&gates, x, h, c));
    check(&layer("LSTM", &weights, 3), &expected);
    let lengths = Tensor::from_i32(vec![BATCH], &[4, 4]).unwrap();
    check(&layer("LSTM", &weights, 3).with(lengths), &expected);
    let expected = unrolled(true, |x, h, c| lstm(&gates, x, h, c));
    check(
        &layer("LSTM", &weights, 3).text("direction", "reverse"),
        &expected,
    );
}

#[test]
fn a_gated_unit_resets_before_or_after_the_product() {
    let (gates, weights) = Gates::new(3);
    for after in [false, true] {
        let expected = unrolled(false, |x, h, _| (gru(&gates, x, h, after), Vec::new()));
        check(
            &layer("GRU", &weights, 2).int("linear_before_reset", i64::from(after)),
            &expected,
        );
    }
}

#[test]
fn both_directions_stand_side_by_side() {
    let (_, weights) = Gates::new(4);
    let alone = |direction: &str| {
        layer("LSTM", &weights, 3)
            .text("direction", direction)
            .run()
            .unwrap()
    };
    let twice = |tensor: &Tensor| {
        let mut shape = tensor.shape().to_vec();
        shape[0] = 2;
        Tensor::from_f32(
            shape,
            &[tensor.to_f32().unwrap(), tensor.to_f32().unwrap()].concat(),
        )
        .unwrap()
    };
    let both = weights.each_ref().map(twice);
    let found = layer("LSTM", &both, 3)
        .text("direction", "bidirectional")
        .run()
        .unwrap();
    let (forward, reverse) = (alone("forward"), alone("reverse"));
    let last = [forward[1].to_f32().unwrap(), reverse[1].to_f32().unwrap()].concat();
    assert_eq!(found[1].to_f32().unwrap(), last);
    let row = usize::try_from(BATCH * HIDDEN).unwrap();
    let y = found[0].to_f32().unwrap();
    assert_eq!(y[..row], forward[0].to_f32().unwrap()[..row]);
    assert_eq!(y[row..2 * row], reverse[0].to_f32().unwrap()[..row]);
}

#[test]
fn what_is_not_known_of_layers_is_refused() {
    let (_, weights) = Gates::new(4);
    let layer = || layer("LSTM", &weights, 3);
    layer().int("layout", 1).fails("`layout` of 1");
    layer()
        .text("direction", "sideways")
        .fails("`direction` of sideways");
    layer().float("clip", 1.0).fails("attribute `clip`");
    let lengths = Tensor::from_i32(vec![BATCH], &[4, 2]).unwrap();
    layer().with(lengths).fails("different lengths");
    let long = Case::new("LSTM", 4)
        .int("hidden_size", 2)
        .on(ramp(&[513, 1, 3]));
    let long = weights
        .iter()
        .fold(long, |case, weight| case.with(weight.clone()));
    long.fails("513 steps; at most 512");
    Case::new("LSTM", 4)
        .int("hidden_size", 2)
        .on(i64s(&[1]))
        .fails("three axes");
}
