//! Element by element, and sources.

use rialto_compute::ops::{
    Binary, Compare, Distribution, Iota, Number, Random, Unary, accepts::elements,
};

use super::*;

const UNARY: [Unary; 21] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Exp,
    Unary::Ln,
    Unary::Sqrt,
    Unary::Rsqrt,
    Unary::Reciprocal,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Relu,
    Unary::Gelu,
    Unary::GeluTanh,
    Unary::Silu,
    Unary::Erf,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sin,
    Unary::Cos,
    Unary::Not,
];
const BINARY: [Binary; 11] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Rem,
    Binary::Pow,
    Binary::Min,
    Binary::Max,
    Binary::And,
    Binary::Or,
    Binary::Xor,
];
const COMPARE: [Compare; 6] = [
    Compare::Equal,
    Compare::NotEqual,
    Compare::Less,
    Compare::LessEqual,
    Compare::Greater,
    Compare::GreaterEqual,
];

/// Roundings that a function may be off.
fn units(unary: Unary) -> (f64, f64) {
    match unary {
        Unary::Gelu | Unary::GeluTanh | Unary::Erf | Unary::Silu | Unary::Sigmoid => (64.0, 0.0),
        Unary::Sin | Unary::Cos => (8.0, 0.1),
        _ => (8.0, 0.0),
    }
}

#[test]
fn unary() {
    let mut draw = Draw(1);
    for unary in UNARY {
        let op = Op::Unary(unary);
        for element in elements(&op) {
            let x = draw.tensor(*element, &[3, 67], true);
            let (units, size) = units(unary);
            compare(&op, &[&x], units, size);
        }
    }
}

#[test]
fn functions_over_their_range() {
    let mut draw = Draw(2);
    for unary in UNARY {
        if unary == Unary::Not {
            continue;
        }
        let values: Vec<f32> = (0..2000)
            .map(|at| {
                let size = 2.0_f64.powf(draw.below(4000) as f64 / 100.0 - 20.0);
                (if at % 2 == 0 { size } else { -size }) as f32
            })
            .collect();
        let x = Tensor::from_f32(vec![2000], &values).unwrap();
        let (units, size) = units(unary);
        let units = if matches!(unary, Unary::Gelu) {
            400.0
        } else {
            units
        };
        compare(&Op::Unary(unary), &[&x], units, size.max(1e-30));
    }
}

#[test]
fn casts() {
    let mut draw = Draw(3);
    for from in Element::ALL {
        for to in Element::ALL {
            let x = draw.tensor(from, &[131], true);
            compare(&Op::Cast(to), &[&x], 0.0, 0.0);
        }
    }
    let longs: Vec<i64> = (0..64)
        .flat_map(|k| {
            let bit = 1_i64 << k;
            [
                bit.wrapping_sub(1),
                i64::MAX.wrapping_sub(bit),
                bit.wrapping_neg(),
                (3_i64 << k) + 1,
            ]
        })
        .collect();
    let x = Tensor::from_i64(vec![256], &longs).unwrap();
    compare(&Op::Cast(Element::F32), &[&x], 0.0, 0.0);
    let floats: Vec<f32> = (0..140)
        .map(|k| 1.7 * 2.0_f32.powi(k - 70) * if k % 2 == 0 { 1.0 } else { -1.0 })
        .collect();
    let x = Tensor::from_f32(vec![140], &floats).unwrap();
    for to in Element::ALL {
        compare(&Op::Cast(to), &[&x], 0.0, 0.0);
    }
}

#[test]
fn random_numbers_and_counts() {
    for element in [Element::F32, Element::F16, Element::Bf16] {
        let spec = Spec::new(element, [1003]).unwrap();
        for distribution in [
            Distribution::Uniform {
                low: -1.0,
                high: 3.0,
            },
            Distribution::Normal {
                mean: 0.5,
                deviation: 2.0,
            },
        ] {
            let random = Random {
                spec: spec.clone(),
                distribution,
                seed: 7 << 40,
                stream: 3,
            };
            compare(&Op::Random(random), &[], 8.0, 1.0);
        }
    }
    for element in Element::ALL {
        let spec = Spec::new(element, [3, 5, 2]).unwrap();
        for number in [
            Number::Int(-3),
            Number::Float(2.7),
            Number::Float(f64::NAN),
            Number::Int(300),
        ] {
            compare(&Op::Full(spec.clone(), number), &[], 0.0, 0.0);
        }
        if element == Element::Bool {
            continue;
        }
        for (start, step) in [
            (Number::Int(250), Number::Int(-7)),
            (Number::Float(0.5), Number::Float(0.3)),
        ] {
            compare(
                &Op::Iota(Iota {
                    spec: spec.clone(),
                    axis: 1,
                    start,
                    step,
                }),
                &[],
                0.0,
                0.0,
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn binary(shape in shapes(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        for binary in BINARY {
            let op = Op::Binary(binary);
            let element = draw.pick(elements(&op));
            let (a, b) = (draw.narrower(&shape), draw.narrower(&shape));
            let (a, b) = (draw.tensor(element, &a, true), draw.tensor(element, &b, true));
            let units = if binary == Binary::Pow { 64.0 } else { 4.0 };
            compare(&op, &[&a, &b], units, 0.0);
        }
        for comparison in COMPARE {
            let element = draw.pick(&Element::ALL);
            let (a, b) = (draw.narrower(&shape), draw.narrower(&shape));
            let (a, b) = (draw.tensor(element, &a, true), draw.tensor(element, &b, true));
            compare(&Op::Compare(comparison), &[&a, &b], 0.0, 0.0);
        }
        let element = draw.pick(&Element::ALL);
        let [c, a, b] = [Element::Bool, element, element].map(|element| {
            let shape = draw.narrower(&shape);
            draw.tensor(element, &shape, true)
        });
        compare(&Op::Select, &[&c, &a, &b], 0.0, 0.0);
    }
}
