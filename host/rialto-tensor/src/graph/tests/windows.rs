//! Convolution, its transpose, and pooling, against the embedded engine.

use super::build::{Case, f32s, ramp};

fn conv(input: &[u32], weight: &[u32]) -> Case {
    Case::new("Conv", input.len())
        .on(ramp(input))
        .with(ramp(weight))
}

#[test]
fn windows_move_over_one_and_two_axes() {
    conv(&[1, 2, 9], &[3, 2, 3]).agrees();
    conv(&[2, 2, 9], &[3, 2, 3])
        .ints("strides", &[2])
        .ints("pads", &[1, 2])
        .agrees();
    conv(&[1, 2, 7, 6], &[4, 2, 3, 2]).agrees();
    let odd = conv(&[1, 3, 8, 7], &[2, 3, 3, 3]).ints("kernel_shape", &[3, 3]);
    odd.clone()
        .ints("strides", &[2, 1])
        .ints("pads", &[1, 0, 2, 1])
        .agrees();
    odd.clone().ints("dilations", &[2, 3]).agrees();
    odd.clone().with(ramp(&[2])).agrees();
    for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        odd.clone()
            .text("auto_pad", auto)
            .ints("strides", &[2, 2])
            .agrees();
    }
    conv(&[1, 4, 6, 6], &[4, 1, 3, 3]).int("group", 4).agrees();
    conv(&[1, 4, 6, 6], &[6, 2, 3, 3])
        .int("group", 2)
        .ints("pads", &[1, 1, 1, 1])
        .agrees();
}

#[test]
fn what_does_not_fit_is_refused() {
    conv(&[1, 2, 2], &[3, 2, 3]).fails("no window");
    conv(&[1, 2, 9], &[3, 3, 3]).fails("channels");
    conv(&[1, 2, 9], &[3, 2, 3]).int("group", 0).fails("groups");
    conv(&[1, 1, 3, 3, 3], &[1, 1, 2, 2, 2]).fails("over 3 axes");
    conv(&[1, 2, 9], &[3, 2, 3])
        .ints("kernel_shape", &[2])
        .fails("windows of");
    conv(&[1, 2, 9], &[3, 2, 3])
        .ints("strides", &[0])
        .fails("of 0");
    conv(&[1, 2, 9], &[3, 2, 3])
        .ints("pads", &[1])
        .fails("2 entries");
    conv(&[1, 2, 9], &[3, 2, 3])
        .ints("pads", &[-1, 0])
        .fails("measure of -1");
    conv(&[1, 2, 9], &[3, 2, 3])
        .text("auto_pad", "SOME")
        .fails("`auto_pad` of SOME");
}

#[test]
fn a_transposed_convolution_spreads() {
    let of = |input: &[u32], weight: &[u32]| {
        Case::new("ConvTranspose", input.len())
            .on(ramp(input))
            .with(ramp(weight))
    };
    // Blocks that touch.
    of(&[1, 3, 4, 5], &[3, 2, 2, 2])
        .ints("strides", &[2, 2])
        .agrees();
    of(&[1, 3, 4, 5], &[3, 2, 2, 2])
        .ints("strides", &[2, 2])
        .with(ramp(&[2]))
        .agrees();
    of(&[1, 4, 3, 3], &[4, 1, 2, 2])
        .ints("strides", &[2, 2])
        .int("group", 2)
        .agrees();
    // Windows that overlap, or leave gaps.
    of(&[1, 3, 4, 5], &[3, 2, 3, 3]).agrees();
    of(&[1, 3, 4, 5], &[3, 2, 3, 3])
        .ints("strides", &[2, 2])
        .ints("pads", &[1, 1, 1, 1])
        .agrees();
    of(&[1, 3, 4, 5], &[3, 2, 3, 3])
        .ints("strides", &[2, 2])
        .ints("pads", &[1, 1, 1, 1])
        .ints("output_padding", &[1, 1])
        .agrees();
    of(&[1, 2, 6], &[2, 3, 4]).ints("strides", &[3]).agrees();
    of(&[1, 4, 4, 4], &[4, 1, 3, 3])
        .ints("strides", &[2, 2])
        .int("group", 4)
        .agrees();
    // Every element of a row twice, and a gap.
    let gap = Case::new("ConvTranspose", 3)
        .ints("strides", &[3])
        .on(f32s(&[1, 1, 2], &[1.0, 2.0]));
    gap.with(f32s(&[1, 1, 2], &[10.0, 1.0]))
        .is(&[1, 1, 5], &[10.0, 1.0, 0.0, 20.0, 2.0]);
    of(&[1, 3, 4, 5], &[3, 2, 3, 3])
        .text("auto_pad", "SAME_UPPER")
        .fails("`auto_pad`");
}

#[test]
fn pools_take_the_largest_or_the_mean() {
    let pool = |op, input: &[u32]| Case::new(op, input.len()).on(ramp(input));
    for op in ["MaxPool", "AveragePool"] {
        pool(op, &[1, 2, 7, 8])
            .ints("kernel_shape", &[3, 2])
            .agrees();
        pool(op, &[1, 2, 7, 8])
            .ints("kernel_shape", &[3, 3])
            .ints("strides", &[2, 2])
            .ints("pads", &[1, 1, 1, 1])
            .agrees();
        pool(op, &[1, 2, 9])
            .ints("kernel_shape", &[3])
            .ints("strides", &[2])
            .agrees();
        pool(op, &[1, 2, 8, 8])
            .ints("kernel_shape", &[3, 3])
            .ints("strides", &[2, 2])
            .text("auto_pad", "SAME_UPPER")
            .agrees();
        pool(op, &[1, 2, 8]).fails("`kernel_shape` is missing");
    }
    let ceil = pool("MaxPool", &[1, 1, 6, 6])
        .ints("kernel_shape", &[3, 3])
        .ints("strides", &[2, 2])
        .int("ceil_mode", 1);
    assert_eq!(ceil.run().unwrap()[0].shape(), [1, 1, 3, 3]);
    ceil.agrees();
    pool("AveragePool", &[1, 2, 6, 6])
        .ints("kernel_shape", &[3, 3])
        .ints("pads", &[1, 1, 1, 1])
        .int("count_include_pad", 1)
        .agrees();
    pool("AveragePool", &[1, 2, 6, 6])
        .ints("kernel_shape", &[3, 3])
        .int("count_include_pad", 1)
        .int("ceil_mode", 1)
        .fails("with `count_include_pad`");
    pool("GlobalAveragePool", &[1, 2, 3, 4]).agrees();
    pool("GlobalMaxPool", &[1, 2, 3, 4]).agrees();
    pool("GlobalMaxPool", &[1, 2]).fails("three axes");
    pool("MaxPool", &[1, 1, 4])
        .ints("kernel_shape", &[2])
        .int("storage_order", 1)
        .fails("`storage_order` of 1");
}
