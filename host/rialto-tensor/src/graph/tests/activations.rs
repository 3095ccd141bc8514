//! Functions of one element, against the mathematics in f64.

use super::build::{Case, f32s, row};

const POINTS: [f32; 12] = [
    -6.5, -3.0, -2.0, -1.0, -0.6, -0.25, 0.0, 0.3, 0.75, 1.0, 2.5, 7.0,
];

fn check(case: Case, of: impl Fn(f64) -> f64) {
    for points in [&POINTS[..], &POINTS[6..]] {
        #[expect(clippy::cast_possible_truncation, reason = "results are f32")]
        let expected: Vec<f32> = points.iter().map(|x| of(f64::from(*x)) as f32).collect();
        let length = u32::try_from(points.len()).unwrap();
        // Alone, and folded: `is` runs both.
        case.clone().on(row(points)).is(&[length], &expected);
    }
}

fn erf(x: f64) -> f64 {
    // Its series, which is exact enough where it is used here.
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    if x.abs() > 5.0 {
        x.signum()
    } else {
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }
}

#[test]
fn functions_are_what_their_names_say() {
    let one = |op| Case::new(op, 1);
    check(one("Neg"), |x| -x);
    check(one("Abs"), f64::abs);
    check(one("Sign"), |x| if x == 0.0 { 0.0 } else { x.signum() });
    check(one("Exp"), f64::exp);
    check(one("Reciprocal"), |x| 1.0 / x);
    check(one("Sqrt"), f64::sqrt);
    check(one("Log"), f64::ln);
    check(one("Erf"), erf);
    check(one("Floor"), f64::floor);
    check(one("Ceil"), f64::ceil);
    check(one("Round"), f64::round_ties_even);
    check(one("Sin"), f64::sin);
    check(one("Cos"), f64::cos);
    check(one("Tan"), f64::tan);
    check(one("Tanh"), f64::tanh);
    check(one("Sigmoid"), |x| 1.0 / (1.0 + (-x).exp()));
    check(one("Relu"), |x| x.max(0.0));
    check(one("Identity"), |x| x);
    check(one("Dropout"), |x| x);
}

#[test]
fn halves_round_to_even() {
    let halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5];
    Case::new("Round", 1)
        .on(row(&halves))
        .is(&[6], &[-2.0, -2.0, 0.0, 0.0, 2.0, 2.0]);
}

#[test]
fn activations_have_the_standards_defaults_and_attributes() {
    let one = |op| Case::new(op, 1);
    check(one("LeakyRelu"), |x| if x < 0.0 { 0.01 * x } else { x });
    check(one("LeakyRelu").float("alpha", 0.25), |x| {
        if x < 0.0 { 0.25 * x } else { x }
    });
    check(one("Elu"), |x| if x < 0.0 { x.exp() - 1.0 } else { x });
    check(one("Elu").float("alpha", 2.0), |x| {
        if x < 0.0 { 2.0 * (x.exp() - 1.0) } else { x }
    });
    check(one("Celu").float("alpha", 2.0), |x| {
        x.max(0.0) + (2.0 * ((x / 2.0).exp() - 1.0)).min(0.0)
    });
    check(one("Selu"), |x| {
        1.050_701_022_148_132_3
            * if x < 0.0 {
                1.673_263_192_176_818_8 * (x.exp() - 1.0)
            } else {
                x
            }
    });
    check(one("ThresholdedRelu").float("alpha", 0.5), |x| {
        if x > 0.5 { x } else { 0.0 }
    });
    check(one("HardSigmoid"), |x| (0.2 * x + 0.5).clamp(0.0, 1.0));
    check(
        one("HardSigmoid").float("alpha", 0.5).float("beta", 0.25),
        |x| (0.5 * x + 0.25).clamp(0.0, 1.0),
    );
    check(one("HardSwish"), |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0));
    check(one("Softplus"), |x| x.exp().ln_1p());
    check(one("Softsign"), |x| x / (1.0 + x.abs()));
    check(one("Mish"), |x| x * x.exp().ln_1p().tanh());
    let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt()));
    check(one("Gelu").opset(20), gelu);
    check(one("Gelu").opset(20).text("approximate", "tanh"), |x| {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
    });
}

#[test]
fn softplus_does_not_overflow() {
    Case::new("Softplus", 1)
        .on(row(&[-1e4, 100.0, 1e4]))
        .is(&[3], &[0.0, 100.0, 1e4]);
}

#[test]
fn a_slope_for_each_channel_broadcasts() {
    Case::new("PRelu", 2)
        .on(f32s(&[2, 2], &[-1.0, -2.0, 3.0, -4.0]))
        .with(row(&[0.5, 0.25]))
        .is(&[2, 2], &[-0.5, -0.5, 3.0, -1.0]);
}

#[test]
fn an_unknown_attribute_is_no_detail() {
    let case = Case::new("Elu", 1).float("beta", 1.0).on(row(&[1.0]));
    case.fails("attribute `beta`");
    Case::new("Gelu", 1)
        .text("approximate", "loose")
        .on(row(&[1.0]))
        .fails("`approximate` of loose");
}
