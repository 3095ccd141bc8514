//! The same elements in another arrangement, and tensors made of nothing.

use proptest::prelude::*;

use super::build::{Case, bytes, constant_of, f32s, i64_of, i64s, ramp, row, scalar};
use crate::{Element, Tensor, tract::sample::Message};

const INTS: [(Element, usize); 1] = [(Element::I64, 1)];

fn floats(count: u8) -> Vec<f32> {
    (0..count).map(f32::from).collect()
}

fn cube() -> Tensor {
    f32s(&[2, 3, 4], &floats(24))
}

#[test]
fn a_shape_may_keep_and_leave_open() {
    let to = |shape: &[i64], rank| Case::new("Reshape", rank).on(cube()).with(i64s(shape));
    to(&[6, 4], 2).is(&[6, 4], &floats(24));
    to(&[0, -1], 2).is(&[2, 12], &floats(24));
    to(&[-1], 1).is(&[24], &floats(24));
    to(&[0, 0, 2, -1], 4).is(&[2, 3, 2, 2], &floats(24));
    to(&[5, -1], 2).fails("do not fill");
    to(&[-1, -1], 2).fails("-1");
    to(&[0, 0, 0, 0], 4).fails("no axis 3");
    let empty = Case::new("Reshape", 2)
        .int("allowzero", 1)
        .on(f32s(&[0, 3], &[]));
    empty.with(i64s(&[3, 0])).is(&[3, 0], &[]);
    Case::new("Reshape", 2)
        .on(row(&[1.0]))
        .on(i64s(&[1, 1]))
        .fails("depends on the inputs' values");
}

#[test]
fn axes_come_and_go() {
    let thin = f32s(&[1, 3, 1], &floats(3));
    Case::new("Squeeze", 1)
        .on(thin.clone())
        .is(&[3], &floats(3));
    Case::new("Squeeze", 2)
        .on(thin.clone())
        .with(i64s(&[-1]))
        .is(&[1, 3], &floats(3));
    Case::new("Squeeze", 2)
        .opset(11)
        .ints("axes", &[0])
        .on(thin.clone())
        .is(&[3, 1], &floats(3));
    Case::new("Squeeze", 2)
        .on(thin)
        .with(i64s(&[1]))
        .fails("axis 1 has 3 elements");
    Case::new("Unsqueeze", 3)
        .on(row(&floats(3)))
        .with(i64s(&[0, -1]))
        .is(&[1, 3, 1], &floats(3));
    Case::new("Unsqueeze", 2)
        .opset(11)
        .ints("axes", &[1])
        .on(row(&floats(3)))
        .is(&[3, 1], &floats(3));
    Case::new("Unsqueeze", 3)
        .on(row(&floats(3)))
        .with(i64s(&[0, 0]))
        .fails("not different");
    Case::new("Flatten", 2).on(cube()).is(&[2, 12], &floats(24));
    Case::new("Flatten", 2)
        .int("axis", 0)
        .on(cube())
        .is(&[1, 24], &floats(24));
    Case::new("Flatten", 2)
        .int("axis", 3)
        .on(cube())
        .is(&[24, 1], &floats(24));
    Case::new("Flatten", 2)
        .int("axis", -1)
        .on(cube())
        .is(&[6, 4], &floats(24));
}

#[test]
fn axes_change_places() {
    Case::new("Transpose", 3).on(cube()).agrees();
    Case::new("Transpose", 3)
        .ints("perm", &[1, 0, 2])
        .on(cube())
        .agrees();
    Case::new("Transpose", 3)
        .ints("perm", &[1, 1, 2])
        .on(cube())
        .fails("not different");
    Case::new("DepthToSpace", 4)
        .int("blocksize", 2)
        .on(ramp(&[1, 8, 2, 3]))
        .agrees();
    let row_first = Case::new("DepthToSpace", 4)
        .int("blocksize", 2)
        .on(f32s(&[1, 4, 1, 1], &floats(4)));
    row_first
        .clone()
        .text("mode", "CRD")
        .is(&[1, 1, 2, 2], &floats(4));
    row_first.is(&[1, 1, 2, 2], &floats(4));
    let block = Case::new("SpaceToDepth", 4)
        .int("blocksize", 2)
        .on(f32s(&[1, 1, 2, 2], &floats(4)));
    block.is(&[1, 4, 1, 1], &floats(4));
}

#[test]
fn parts_are_cut_and_joined() {
    for axis in [0, 1, -1] {
        Case::new("Concat", 3)
            .int("axis", axis)
            .on(cube())
            .on(cube())
            .on(cube())
            .agrees();
    }
    let two = [(Element::F32, 2); 2];
    let split = |case: Case| case.run().unwrap();
    let wide = || f32s(&[1, 5], &floats(5));
    let parts = split(
        Case::new("Split", 2)
            .gives(&two)
            .int("axis", 1)
            .with(wide())
            .with(i64s(&[2, 3])),
    );
    assert_eq!(
        (parts[0].shape(), parts[1].to_f32().unwrap()),
        (&[1, 2][..], vec![2.0, 3.0, 4.0])
    );
    let parts = split(
        Case::new("Split", 2)
            .gives(&two)
            .int("axis", 1)
            .int("num_outputs", 2)
            .on(wide()),
    );
    assert_eq!(
        (parts[0].shape(), parts[1].shape()),
        (&[1, 3][..], &[1, 2][..])
    );
    let parts = Case::new("Split", 2)
        .gives(&two)
        .opset(11)
        .ints("split", &[1, 4])
        .int("axis", -1)
        .on(wide());
    assert_eq!(split(parts)[1].to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    Case::new("Split", 2)
        .gives(&two)
        .int("axis", 1)
        .on(wide())
        .with(i64s(&[2, 2]))
        .fails("reach 4");
}

#[test]
fn slices_count_from_both_ends_and_in_both_directions() {
    let of = |lists: [&[i64]; 4]| {
        let case = Case::new("Slice", 1).on(row(&floats(6)));
        lists.iter().fold(case, |case, list| case.with(i64s(list)))
    };
    of([&[1], &[4], &[0], &[1]]).is(&[3], &[1.0, 2.0, 3.0]);
    of([&[-2], &[i64::MAX], &[0], &[1]]).is(&[2], &[4.0, 5.0]);
    of([&[-1], &[i64::MIN], &[-1], &[-2]]).is(&[3], &[5.0, 3.0, 1.0]);
    of([&[4], &[-7], &[0], &[-1]]).is(&[5], &[4.0, 3.0, 2.0, 1.0, 0.0]);
    of([&[4], &[-1], &[0], &[-1]]).is(&[0], &[]);
    of([&[0], &[4], &[0], &[0]]).fails("step");
    of([&[0], &[4], &[1], &[1]]).fails("axis 1");
    Case::new("Slice", 1)
        .opset(9)
        .ints("starts", &[1])
        .ints("ends", &[-1])
        .on(row(&floats(4)))
        .is(&[2], &[1.0, 2.0]);
}

#[test]
fn elements_repeat() {
    let pair = || f32s(&[2, 1], &[1.0, 2.0]);
    Case::new("Expand", 2)
        .on(pair())
        .with(i64s(&[1, 3]))
        .is(&[2, 3], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    Case::new("Expand", 3)
        .on(pair())
        .with(i64s(&[2, 1, 1]))
        .is(&[2, 2, 1], &[1.0, 2.0, 1.0, 2.0]);
    Case::new("Tile", 2)
        .on(pair())
        .with(i64s(&[2, 2]))
        .is(&[4, 2], &[1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    Case::new("Tile", 2)
        .on(pair())
        .with(i64s(&[0, 2]))
        .is(&[0, 2], &[]);
    Case::new("Tile", 2)
        .on(pair())
        .with(i64s(&[2]))
        .fails("for each axis");
}

#[test]
fn padding_is_added_and_taken_away() {
    let pad = |mode: &str, pads: &[i64]| {
        Case::new("Pad", 1)
            .text("mode", mode)
            .on(row(&[1.0, 2.0, 3.0]))
            .with(i64s(pads))
    };
    pad("constant", &[1, 2])
        .with(scalar(9.0))
        .is(&[6], &[9.0, 1.0, 2.0, 3.0, 9.0, 9.0]);
    pad("constant", &[-1, 1]).is(&[3], &[2.0, 3.0, 0.0]);
    pad("reflect", &[2, 1]).is(&[6], &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    pad("edge", &[1, 1]).is(&[5], &[1.0, 1.0, 2.0, 3.0, 3.0]);
    pad("wrap", &[1, 1]).fails("`mode` of wrap");
    pad("reflect", &[3, 0]).fails("too few elements");
    let one = Case::new("Pad", 2)
        .on(f32s(&[1, 2], &[1.0, 2.0]))
        .with(i64s(&[0, 1]))
        .without()
        .with(i64s(&[-1]));
    one.is(&[1, 3], &[1.0, 2.0, 0.0]);
}

#[test]
fn shapes_are_tensors() {
    let shape = || Case::new("Shape", 1).gives(&INTS).on(cube());
    shape().is_exactly(&i64s(&[2, 3, 4]));
    shape().int("start", 1).is_exactly(&i64s(&[3, 4]));
    shape()
        .int("start", -3)
        .int("end", -1)
        .is_exactly(&i64s(&[2, 3]));
    Case::new("Size", 0)
        .gives(&[(Element::I64, 0)])
        .on(cube())
        .is_exactly(&i64_of(&[], &[24]));
}

fn attribute(name: &str, value: &Tensor) -> Message {
    Message::default()
        .bytes(1, name.as_bytes())
        .message(5, &constant_of("", value))
        .varint(20, 4)
}

#[test]
fn tensors_are_made_of_nothing() {
    Case::new("ConstantOfShape", 2)
        .with(i64s(&[2, 1]))
        .is(&[2, 1], &[0.0, 0.0]);
    let seven = Case::new("ConstantOfShape", 1)
        .gives(&INTS)
        .attribute(attribute("value", &i64s(&[7])));
    seven.with(i64s(&[3])).is_exactly(&i64s(&[7, 7, 7]));
    Case::new("Constant", 1)
        .attribute(attribute("value", &row(&[1.0])))
        .is(&[1], &[1.0]);
    Case::new("Constant", 0)
        .float("value_float", 2.5)
        .is(&[], &[2.5]);
    Case::new("Constant", 1)
        .gives(&INTS)
        .ints("value_ints", &[4, 5])
        .is_exactly(&i64s(&[4, 5]));
    Case::new("Constant", 0)
        .text("value_string", "x")
        .fails("its value");
    let range = |start, limit, step| {
        let scalar = |value| i64_of(&[], &[value]);
        Case::new("Range", 1)
            .gives(&INTS)
            .with(scalar(start))
            .with(scalar(limit))
            .with(scalar(step))
    };
    range(1, 8, 3).is_exactly(&i64s(&[1, 4, 7]));
    range(3, -3, -2).is_exactly(&i64s(&[3, 1, -1]));
    range(3, 3, 1).is_exactly(&i64s(&[]));
    range(3, 4, 0).fails("a step of 0");
    range(0, i64::MAX, 1).fails("elements");
    let halves = Case::new("Range", 1)
        .with(scalar(0.0))
        .with(scalar(1.4))
        .with(scalar(0.5));
    halves.is(&[3], &[0.0, 0.5, 1.0]);
    let hot = Case::new("OneHot", 2)
        .on(i64s(&[1, -1, 5]))
        .with(i64s(&[3]))
        .with(row(&[0.0, 2.0]));
    hot.is(&[3, 3], &[0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
    let eye = Case::new("EyeLike", 2)
        .int("k", 1)
        .on(f32s(&[2, 3], &[9.0; 6]));
    eye.is(&[2, 3], &[0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let places = Case::new("NonZero", 2).gives(&[(Element::I64, 2)]);
    places
        .clone()
        .with(f32s(&[2, 2], &[0.0, 1.0, 2.0, 0.0]))
        .is_exactly(&i64_of(&[2, 2], &[0, 1, 1, 0]));
    places
        .on(row(&[1.0]))
        .fails("depends on the inputs' values");
    let low = Case::new("Trilu", 2)
        .int("upper", 0)
        .on(f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0]));
    low.is(&[2, 2], &[1.0, 0.0, 3.0, 4.0]);
    let high = Case::new("Trilu", 2)
        .on(f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0]))
        .with(i64_of(&[], &[1]));
    high.is(&[2, 2], &[0.0, 2.0, 0.0, 0.0]);
    let flags = bytes(Element::Bool, &[2], &[1, 1]);
    let dropped = Case::new("Dropout", 1)
        .gives(&[(Element::F32, 1), (Element::Bool, 1)])
        .on(row(&[1.0, 2.0]));
    assert_eq!(dropped.run().unwrap()[1], flags);
}

proptest! {
    #[test]
    fn reshapes_keep_every_element(shape in prop::collection::vec(1..5_u32, 1..5), open in 0..4_usize) {
        let count: u32 = shape.iter().product();
        let values = ramp(&[count]).to_f32().unwrap();
        let mut wanted: Vec<i64> = shape.iter().rev().map(|extent| i64::from(*extent)).collect();
        let open = open % wanted.len();
        wanted[open] = -1;
        let result: Vec<u32> = shape.iter().rev().copied().collect();
        Case::new("Reshape", shape.len()).on(ramp(&shape)).with(i64s(&wanted)).is(&result, &values);
    }

    #[test]
    fn slices_are_those_of_numpy(
        length in 1..9_i64, start in -10..10_i64, end in -10..10_i64, step in prop::sample::select(vec![-3_i64, -1, 1, 2]),
    ) {
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let place = |raw: i64| (if raw < 0 { raw + length } else { raw }).clamp(low, high);
        let (mut at, end_at) = (place(start), place(end));
        let values = ramp(&[u32::try_from(length).unwrap()]);
        let mut expected = Vec::new();
        while if step > 0 { at < end_at } else { at > end_at } {
            expected.push(values.to_f32().unwrap()[usize::try_from(at).unwrap()]);
            at += step;
        }
        let case = Case::new("Slice", 1).on(values).with(i64s(&[start])).with(i64s(&[end]));
        let case = case.with(i64s(&[0])).with(i64s(&[step]));
        case.is(&[u32::try_from(expected.len()).unwrap()], &expected);
    }

    #[test]
    fn transposing_twice_is_nothing(shape in prop::collection::vec(1..4_u32, 3), order in Just(vec![0_i64, 1, 2]).prop_shuffle()) {
        let moved = Case::new("Transpose", 3).ints("perm", &order).on(ramp(&shape)).run().unwrap().remove(0);
        let mut back = vec![0_i64; 3];
        for (place, axis) in order.iter().enumerate() {
            back[usize::try_from(*axis).unwrap()] = i64::try_from(place).unwrap();
        }
        Case::new("Transpose", 3).ints("perm", &back).on(moved).is_exactly(&ramp(&shape));
    }
}
