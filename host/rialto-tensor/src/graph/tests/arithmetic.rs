//! Two operands and more: arithmetic, comparison, choice, conversion.

use super::build::{Case, bytes, f32s, i64s, ramp, row, scalar};
use crate::{Element, Tensor};

fn flags(values: &[u8]) -> Tensor {
    bytes(
        Element::Bool,
        &[u32::try_from(values.len()).unwrap()],
        values,
    )
}

const FLAGS: [(Element, usize); 1] = [(Element::Bool, 1)];
const INTS: [(Element, usize); 1] = [(Element::I64, 1)];

#[test]
fn operands_broadcast_as_in_numpy() {
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"] {
        for (left, right) in [
            (&[2, 3][..], &[3][..]),
            (&[2, 1, 3], &[4, 1]),
            (&[], &[2, 2]),
            (&[5], &[]),
        ] {
            let rank = left.len().max(right.len());
            Case::new(op, rank).on(ramp(left)).on(ramp(right)).agrees();
            Case::new(op, rank)
                .on(ramp(left))
                .with(ramp(right))
                .agrees();
        }
    }
    let mean = Case::new("Mean", 1)
        .on(scalar(1.0))
        .on(row(&[2.0, 6.0]))
        .on(row(&[3.0, -1.0]));
    mean.is(&[2], &[2.0, 2.0]);
    Case::new("Add", 1)
        .on(row(&[1.0, 2.0]))
        .on(row(&[1.0, 2.0, 3.0]))
        .fails("broadcast");
}

#[test]
fn whole_numbers_divide_towards_zero_and_wrap() {
    let left = i64s(&[7, -7, 7, -7, i64::MAX]);
    let right = i64s(&[2, 2, -2, -2, 1]);
    let ints = |op| {
        Case::new(op, 1)
            .gives(&INTS)
            .on(left.clone())
            .on(right.clone())
    };
    ints("Div").is_exactly(&i64s(&[3, -3, -3, 3, i64::MAX]));
    ints("Add").is_exactly(&i64s(&[9, -5, 5, -9, i64::MIN]));
    ints("Mod").is_exactly(&i64s(&[1, 1, -1, -1, 0]));
    ints("Mod")
        .int("fmod", 1)
        .is_exactly(&i64s(&[1, -1, 1, -1, 0]));
    let floats = Case::new("Mod", 1)
        .on(row(&[5.5, -5.5]))
        .on(row(&[2.0, 2.0]));
    floats.clone().int("fmod", 1).is(&[2], &[1.5, -1.5]);
    floats.fails("floats need `fmod`");
}

#[test]
fn powers_have_the_bases_type() {
    let base = || row(&[1.5, 2.0, 4.0]);
    Case::new("Pow", 1)
        .on(base())
        .with(scalar(2.0))
        .is(&[3], &[2.25, 4.0, 16.0]);
    Case::new("Pow", 1)
        .on(base())
        .with(scalar(0.5))
        .is(&[3], &[1.224_744_9, std::f32::consts::SQRT_2, 2.0]);
    Case::new("Pow", 1)
        .on(base())
        .on(row(&[3.0, -1.0, 0.0]))
        .is(&[3], &[3.375, 0.5, 1.0]);
    Case::new("Pow", 1)
        .on(base())
        .with(i64s(&[3]))
        .is(&[3], &[3.375, 8.0, 64.0]);
    let whole = Case::new("Pow", 1).gives(&INTS).on(i64s(&[2, 3]));
    whole
        .clone()
        .on(i64s(&[10, 3]))
        .is_exactly(&i64s(&[1024, 27]));
    whole.with(scalar(2.0)).is_exactly(&i64s(&[4, 9]));
}

#[test]
fn comparisons_give_flags() {
    let check = |op, expected: &[u8]| {
        let case = Case::new(op, 1).gives(&FLAGS);
        case.on(row(&[1.0, 2.0, f32::NAN]))
            .on(row(&[2.0, 2.0, 1.0]))
            .is_exactly(&flags(expected));
    };
    check("Less", &[1, 0, 0]);
    check("LessOrEqual", &[1, 1, 0]);
    check("Greater", &[0, 0, 0]);
    check("GreaterOrEqual", &[0, 1, 0]);
    check("Equal", &[0, 1, 0]);
    let nothing = row(&[f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY]);
    let of = |op| Case::new(op, 1).gives(&FLAGS).on(nothing.clone());
    of("IsNaN").is_exactly(&flags(&[1, 0, 0, 0]));
    of("IsInf").is_exactly(&flags(&[0, 0, 1, 1]));
    of("IsInf")
        .int("detect_negative", 0)
        .is_exactly(&flags(&[0, 0, 1, 0]));
    of("IsInf")
        .int("detect_positive", 0)
        .is_exactly(&flags(&[0, 0, 0, 1]));
    let both = |op| {
        Case::new(op, 1)
            .gives(&FLAGS)
            .on(flags(&[0, 0, 1, 1]))
            .on(flags(&[0, 1, 0, 1]))
    };
    both("And").is_exactly(&flags(&[0, 0, 0, 1]));
    both("Or").is_exactly(&flags(&[0, 1, 1, 1]));
    both("Xor").is_exactly(&flags(&[0, 1, 1, 0]));
    Case::new("Not", 1)
        .gives(&FLAGS)
        .on(flags(&[0, 1]))
        .is_exactly(&flags(&[1, 0]));
}

#[test]
fn a_choice_takes_one_of_two() {
    let case = Case::new("Where", 2)
        .on(flags(&[1, 0]))
        .on(scalar(5.0))
        .on(f32s(&[2, 1], &[1.0, 2.0]));
    case.is(&[2, 2], &[5.0, 1.0, 5.0, 2.0]);
}

#[test]
fn limits_are_attributes_or_operands() {
    let x = || row(&[-2.0, 0.5, 9.0]);
    Case::new("Clip", 1)
        .opset(10)
        .float("min", 0.0)
        .float("max", 6.0)
        .on(x())
        .is(&[3], &[0.0, 0.5, 6.0]);
    Case::new("Clip", 1)
        .on(x())
        .with(scalar(0.0))
        .with(scalar(6.0))
        .is(&[3], &[0.0, 0.5, 6.0]);
    Case::new("Clip", 1)
        .on(x())
        .without()
        .with(scalar(6.0))
        .is(&[3], &[-2.0, 0.5, 6.0]);
    Case::new("Clip", 1).on(x()).is(&[3], &[-2.0, 0.5, 9.0]);
}

#[test]
fn conversions_truncate_and_saturate() {
    let to = |element: i64, kind| Case::new("Cast", 1).int("to", element).gives(&[(kind, 1)]);
    to(7, Element::I64)
        .on(row(&[1.9, -1.9, 0.0]))
        .is_exactly(&i64s(&[1, -1, 0]));
    to(9, Element::Bool)
        .on(row(&[0.0, -0.5]))
        .is_exactly(&flags(&[0, 1]));
    to(1, Element::F32)
        .on(i64s(&[3, -4]))
        .is(&[2], &[3.0, -4.0]);
    to(11, Element::F32)
        .on(row(&[1.0]))
        .fails("element type 11");
    let like = Case::new("CastLike", 1)
        .gives(&INTS)
        .opset(19)
        .on(row(&[2.5]))
        .on(i64s(&[0]));
    like.is_exactly(&i64s(&[2]));
}

#[test]
fn half_floats_compute_as_such() {
    let half = |values: &[f32]| {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
            .collect();
        bytes(Element::F16, &[u32::try_from(values.len()).unwrap()], &data)
    };
    let case = Case::new("Add", 1).gives(&[(Element::F16, 1)]);
    case.on(half(&[1.0, 2.5]))
        .on(half(&[0.5, 0.25]))
        .is_exactly(&half(&[1.5, 2.75]));
}

#[test]
fn operands_of_two_types_do_not_meet() {
    Case::new("Add", 1)
        .on(row(&[1.0]))
        .on(i64s(&[1]))
        .fails("right must be f32");
}
