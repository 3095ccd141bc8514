//! Unary, binary, comparison, selection, conversion.

use super::*;
use crate::ops::{Binary, Compare, Unary, accepts::elements};

/// The error function in f64: its series, and its asymptotic form.
fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() > 4.5 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

fn unary_float(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign if x == 0.0 || x.is_nan() => x,
        Unary::Sign => x.signum(),
        Unary::Exp => x.exp(),
        Unary::Ln => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Relu if x < 0.0 => 0.0,
        Unary::Relu => x,
        Unary::Gelu | Unary::GeluTanh | Unary::Silu if x == f64::NEG_INFINITY => 0.0,
        Unary::Gelu => 0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt())),
        Unary::GeluTanh => {
            0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3))).tanh())
        }
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::Erf => erf(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Not => unreachable!("not of floats"),
    }
}

fn unary_int(op: Unary, element: Element, x: i128) -> i128 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => x.signum(),
        Unary::Relu => x.max(0),
        Unary::Not if element == Element::Bool => 1 - x,
        Unary::Not => !x,
        _ => unreachable!("{op:?} of integers"),
    }
}

fn binary_float(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Rem => a % b,
        Binary::Pow => a.powf(b),
        Binary::Min | Binary::Max if a.is_nan() || b.is_nan() => f64::NAN,
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        _ => unreachable!("{op:?} of floats"),
    }
}

fn binary_int(op: Binary, element: Element, a: i128, b: i128) -> i128 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div | Binary::Rem if b == 0 => 0,
        Binary::Div => a / b,
        Binary::Rem => a % b,
        Binary::Pow if b < 0 => match a {
            1 => 1,
            -1 => 1 - 2 * (b % 2).abs(),
            _ => 0,
        },
        Binary::Pow => {
            // Square and multiply in the ring of the type.
            let (mut base, mut rest, mut result) = (a, b, 1);
            while rest > 0 {
                if rest % 2 == 1 {
                    result = wrapped(element, result * base);
                }
                base = wrapped(element, base * base);
                rest /= 2;
            }
            result
        }
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn unary_operations(shape in shapes(), seed in any::<u64>()) {
        for unary in Unary::ALL {
            let op = Op::Unary(unary);
            for element in elements(&op) {
                let input = Draw(seed).tensor(*element, &shape, true);
                let found = run(&op, &[&input]);
                prop_assert_eq!(found.element(), *element);
                prop_assert_eq!(found.shape(), &shape[..]);
                if is_float(*element) {
                    let want: Vec<f64> =
                        floats(&input).into_iter().map(|x| unary_float(unary, x)).collect();
                    close(&found, &want, 1.01, 0.0);
                } else {
                    let want: Vec<i128> = ints(&input)
                        .into_iter()
                        .map(|x| wrapped(*element, unary_int(unary, *element, x)))
                        .collect();
                    prop_assert_eq!(ints(&found), want, "{:?} {}", unary, element);
                }
            }
        }
    }

    #[test]
    fn binary_operations(shape in shapes(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let (left, right) = (draw.narrower(&shape), draw.narrower(&shape));
        let joint = crate::ops::spec::broadcast(&[&left, &right]).unwrap();
        for binary in Binary::ALL {
            let op = Op::Binary(binary);
            for element in elements(&op) {
                let a = draw.tensor(*element, &left, true);
                let b = draw.tensor(*element, &right, true);
                let found = run(&op, &[&a, &b]);
                prop_assert_eq!(found.shape(), &joint[..]);
                let count = Spec::of(&found).unwrap().elements();
                let places: Vec<_> = (0..count)
                    .map(|at| (shown(&left, &joint, at), shown(&right, &joint, at)))
                    .collect();
                if is_float(*element) {
                    let (a, b) = (floats(&a), floats(&b));
                    let want: Vec<f64> =
                        places.iter().map(|(i, j)| binary_float(binary, a[*i], b[*j])).collect();
                    close(&found, &want, 1.01, 0.0);
                } else {
                    let (a, b) = (ints(&a), ints(&b));
                    let want: Vec<i128> = places
                        .iter()
                        .map(|(i, j)| wrapped(*element, binary_int(binary, *element, a[*i], b[*j])))
                        .collect();
                    prop_assert_eq!(ints(&found), want, "{:?} {}", binary, element);
                }
            }
        }
    }

    #[test]
    fn comparisons_and_selection(shape in shapes(), seed in any::<u64>()) {
        let mut draw = Draw(seed);
        let shapes = [draw.narrower(&shape), draw.narrower(&shape), draw.narrower(&shape)];
        let pair = crate::ops::spec::broadcast(&[&shapes[0], &shapes[1]]).unwrap();
        let joint = crate::ops::spec::broadcast(&[&pair, &shapes[2]]).unwrap();
        for element in Element::ALL {
            let a = draw.tensor(element, &shapes[0], true);
            let b = draw.tensor(element, &shapes[1], true);
            for compare in Compare::ALL {
                let found = ints(&run(&Op::Compare(compare), &[&a, &b]));
                let order = |at: usize| {
                    let (i, j) = (shown(&shapes[0], &pair, at), shown(&shapes[1], &pair, at));
                    if is_float(element) {
                        floats(&a)[i].partial_cmp(&floats(&b)[j])
                    } else {
                        ints(&a)[i].partial_cmp(&ints(&b)[j])
                    }
                };
                for (at, found) in found.iter().enumerate() {
                    let order = order(at);
                    let want = match compare {
                        Compare::Equal => order.is_some_and(|o| o.is_eq()),
                        Compare::NotEqual => order.is_none_or(|o| o.is_ne()),
                        Compare::Less => order.is_some_and(|o| o.is_lt()),
                        Compare::LessEqual => order.is_some_and(|o| o.is_le()),
                        Compare::Greater => order.is_some_and(|o| o.is_gt()),
                        Compare::GreaterEqual => order.is_some_and(|o| o.is_ge()),
                    };
                    prop_assert_eq!(*found == 1, want, "{:?} {}", compare, element);
                }
            }
            let condition = draw.tensor(Element::Bool, &shapes[2], true);
            let found = run(&Op::Select, &[&condition, &a, &b]);
            prop_assert_eq!(found.shape(), &joint[..]);
            let width = element.size_bytes();
            for (at, cell) in found.data().chunks(width).enumerate() {
                let (from, shape) = if condition.data()[shown(&shapes[2], &joint, at)] == 1 {
                    (&a, &shapes[0])
                } else {
                    (&b, &shapes[1])
                };
                let place = shown(shape, &joint, at) * width;
                let same = cell == &from.data()[place..place + width];
                let nan = is_float(element) && floats(&found)[at].is_nan();
                prop_assert!(same || nan, "{}", element);
            }
        }
    }

    #[test]
    fn conversions(shape in shapes(), seed in any::<u64>()) {
        for from in Element::ALL {
            let input = Draw(seed).tensor(from, &shape, true);
            for to in Element::ALL {
                let found = run(&Op::Cast(to), &[&input]);
                prop_assert_eq!(found.element(), to);
                if is_float(to) {
                    // Integers pass through f32 on their way to narrower floats.
                    close(&found, &floats(&input), 1.02, 0.0);
                    continue;
                }
                let (low, high) = range(to);
                let want: Vec<i128> = if is_float(from) {
                    let convert = |x: f64| match to {
                        Element::Bool => i128::from(x != 0.0),
                        _ => (x as i128).clamp(low, high),
                    };
                    floats(&input).into_iter().map(convert).collect()
                } else {
                    let convert = |x: i128| match to {
                        Element::Bool => i128::from(x != 0),
                        _ => wrapped(to, x),
                    };
                    ints(&input).into_iter().map(convert).collect()
                };
                prop_assert_eq!(ints(&found), want, "{} to {}", from, to);
            }
        }
    }
}
