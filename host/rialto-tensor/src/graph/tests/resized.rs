//! Resizing, against the standard's own examples.

use super::build::{Case, f32s, i64s, row};
use crate::Tensor;

fn square() -> Tensor {
    f32s(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0])
}

fn resize(x: Tensor, scales: &[f32]) -> Case {
    Case::new("Resize", 4).on(x).without().with(row(scales))
}

#[test]
fn the_nearest_element_is_repeated() {
    let twice = [
        1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0,
        3.0, 3.0, 3.0, 4.0, 4.0, 4.0,
    ];
    resize(square(), &[1.0, 1.0, 2.0, 3.0]).is(&[1, 1, 4, 6], &twice);
    let floor = resize(square(), &[1.0, 1.0, 2.0, 3.0])
        .text("coordinate_transformation_mode", "asymmetric");
    floor
        .text("nearest_mode", "floor")
        .is(&[1, 1, 4, 6], &twice);
    let old = Case::new("Resize", 4)
        .opset(10)
        .on(square())
        .with(row(&[1.0, 1.0, 2.0, 3.0]));
    old.is(&[1, 1, 4, 6], &twice);
    let older = Case::new("Upsample", 4)
        .opset(9)
        .on(square())
        .with(row(&[1.0, 1.0, 2.0, 3.0]));
    older.is(&[1, 1, 4, 6], &twice);
    let down = f32s(&[1, 1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    resize(down, &[1.0, 1.0, 0.6, 0.6]).is(&[1, 1, 1, 2], &[1.0, 3.0]);
}

#[test]
fn lines_join_two_elements() {
    let linear = |case: Case| case.text("mode", "linear");
    linear(resize(square(), &[1.0, 1.0, 2.0, 2.0])).is(
        &[1, 1, 4, 4],
        &[
            1.0, 1.25, 1.75, 2.0, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3.0, 3.25, 3.75, 4.0,
        ],
    );
    let corners = resize(square(), &[1.0, 1.0, 2.0, 2.0])
        .text("coordinate_transformation_mode", "align_corners");
    linear(corners).is(
        &[1, 1, 4, 4],
        &[
            1.0,
            1.333_333_3,
            1.666_666_6,
            2.0,
            1.666_666_6,
            2.0,
            2.333_333_3,
            2.666_666_7,
            2.333_333_3,
            2.666_666_7,
            3.0,
            3.333_333_3,
            3.0,
            3.333_333_3,
            3.666_666_7,
            4.0,
        ],
    );
    let down = f32s(&[1, 1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    linear(resize(down, &[1.0, 1.0, 0.6, 0.6])).is(&[1, 1, 1, 2], &[2.666_666_5, 4.333_333]);
}

#[test]
fn extents_may_be_given_instead() {
    let sizes = || {
        Case::new("Resize", 4)
            .on(square())
            .without()
            .without()
            .with(i64s(&[1, 1, 3, 2]))
    };
    sizes().is(&[1, 1, 3, 2], &[1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
    let two = Case::new("Resize", 4)
        .ints("axes", &[2, 3])
        .on(square())
        .without()
        .without()
        .with(i64s(&[3, 2]));
    two.is(&[1, 1, 3, 2], &[1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
    sizes().text("mode", "cubic").fails("`mode` of cubic");
    sizes().int("antialias", 1).fails("`antialias` of 1");
    sizes()
        .text("keep_aspect_ratio_policy", "not_larger")
        .fails("`keep_aspect_ratio_policy`");
    resize(square(), &[1.0, 1.0, 1e9, 1.0]).fails("an axis of");
    resize(square(), &[1.0, 1.0, -1.0, 1.0]).fails("an extent of");
    resize(square(), &[1.0, 1.0]).fails("not one for each axis");
}
