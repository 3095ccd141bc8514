//! Gathering, scattering, ranking, running sums.

use super::build::{Case, f32s, i64_of, i64s, ramp, row};
use crate::Element;

#[test]
fn slices_are_gathered() {
    let data = || f32s(&[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    Case::new("Gather", 2)
        .on(data())
        .on(i64s(&[2, -3]))
        .is(&[2, 2], &[4.0, 5.0, 0.0, 1.0]);
    Case::new("Gather", 1)
        .on(data())
        .with(i64_of(&[], &[-1]))
        .is(&[2], &[4.0, 5.0]);
    Case::new("Gather", 1)
        .int("axis", 1)
        .on(data())
        .with(i64_of(&[], &[1]))
        .is(&[3], &[1.0, 3.0, 5.0]);
    Case::new("Gather", 3)
        .int("axis", 1)
        .on(data())
        .on(i64_of(&[2, 1], &[1, 0]))
        .agrees();
    Case::new("Gather", 1)
        .on(data())
        .with(i64_of(&[], &[3]))
        .fails("index 3 is outside of 3");
    Case::new("Gather", 2)
        .on(data())
        .on(i64s(&[3]))
        .fails("index 3 is outside of 3");
    Case::new("GatherElements", 2)
        .int("axis", 1)
        .on(data())
        .on(i64_of(&[3, 1], &[1, 0, 1]))
        .is(&[3, 1], &[1.0, 2.0, 5.0]);
}

#[test]
fn places_of_several_axes_are_gathered_and_scattered() {
    let data = || f32s(&[2, 3, 2], &(0..12_u8).map(f32::from).collect::<Vec<_>>());
    let gather = |shape: &[u32], places: &[i64], rank| {
        Case::new("GatherND", rank)
            .on(data())
            .on(i64_of(shape, places))
    };
    gather(&[2, 2], &[0, 1, 1, -1], 2).is(&[2, 2], &[2.0, 3.0, 10.0, 11.0]);
    gather(&[1, 3], &[-1, 2, 0], 1).is(&[1], &[10.0]);
    gather(&[1, 1], &[1], 3).is(&[1, 3, 2], &[6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    // Outside of one axis is not inside of another.
    gather(&[1, 2], &[0, 3], 2).fails("index");
    gather(&[1, 2], &[0, -4], 2).fails("index");
    gather(&[1, 4], &[0, 0, 0, 0], 1).fails("4 places in 3 axes");
    let scatter = |reduction: &str| {
        let case = Case::new("ScatterND", 1)
            .text("reduction", reduction)
            .on(row(&[1.0, 2.0, 3.0]));
        case.on(i64_of(&[2, 1], &[-1, 0])).on(row(&[10.0, 20.0]))
    };
    scatter("none").is(&[3], &[20.0, 2.0, 10.0]);
    scatter("add").is(&[3], &[21.0, 2.0, 13.0]);
    scatter("mul").is(&[3], &[20.0, 2.0, 30.0]);
    scatter("max").is(&[3], &[20.0, 2.0, 10.0]);
    scatter("most").fails("`reduction` of most");
    let elements = Case::new("ScatterElements", 2)
        .int("axis", 1)
        .on(f32s(&[1, 3], &[1.0, 2.0, 3.0]));
    elements
        .on(i64_of(&[1, 2], &[2, -3]))
        .on(f32s(&[1, 2], &[8.0, 9.0]))
        .is(&[1, 3], &[9.0, 2.0, 8.0]);
}

#[test]
fn the_best_come_first() {
    let x = || f32s(&[2, 3], &[1.0, 5.0, 5.0, 2.0, 0.0, 2.0]);
    let arg = |op, rank| Case::new(op, rank).gives(&[(Element::I64, rank)]).on(x());
    arg("ArgMax", 2)
        .int("axis", 1)
        .is_exactly(&i64_of(&[2, 1], &[1, 0]));
    arg("ArgMax", 1)
        .int("axis", -1)
        .int("keepdims", 0)
        .int("select_last_index", 1)
        .is_exactly(&i64s(&[2, 2]));
    arg("ArgMin", 2).is_exactly(&i64_of(&[1, 3], &[0, 1, 1]));
    let top = Case::new("TopK", 2)
        .gives(&[(Element::F32, 2), (Element::I64, 2)])
        .on(x())
        .with(i64s(&[2]));
    let found = top.clone().run().unwrap();
    assert_eq!(found[0].to_f32().unwrap(), [5.0, 5.0, 2.0, 2.0]);
    assert_eq!(found[1], i64_of(&[2, 2], &[1, 2, 0, 2]));
    let least = top.int("largest", 0).run().unwrap();
    assert_eq!(least[0].to_f32().unwrap(), [1.0, 5.0, 0.0, 2.0]);
    Case::new("TopK", 1)
        .on(row(&[1.0]))
        .with(i64s(&[2]))
        .fails("k 2 is more than 1");
}

#[test]
fn sums_run_in_both_directions() {
    let sum = || {
        Case::new("CumSum", 2)
            .on(ramp(&[2, 3]))
            .with(i64_of(&[], &[-1]))
    };
    sum().agrees();
    sum().int("exclusive", 1).agrees();
    sum().int("reverse", 1).agrees();
    Case::new("CumSum", 1)
        .int("reverse", 1)
        .int("exclusive", 1)
        .on(row(&[1.0, 2.0, 3.0]))
        .with(i64s(&[0]))
        .is(&[3], &[5.0, 3.0, 0.0]);
}
