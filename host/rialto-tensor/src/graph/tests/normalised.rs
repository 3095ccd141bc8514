//! Normalisation and reduction.

use super::build::{Case, f32s, i64s, ramp, row};

#[test]
fn softmax_is_over_one_axis_and_was_over_all_that_follow() {
    for op in ["Softmax", "LogSoftmax"] {
        Case::new(op, 3).on(ramp(&[2, 3, 4])).agrees();
        Case::new(op, 3)
            .int("axis", 1)
            .on(ramp(&[2, 3, 4]))
            .agrees();
        Case::new(op, 3).opset(11).on(ramp(&[2, 3, 4])).agrees();
    }
    let old = Case::new("Softmax", 3)
        .opset(11)
        .on(f32s(&[1, 2, 2], &[0.0; 4]));
    old.is(&[1, 2, 2], &[0.25; 4]);
    Case::new("Softmax", 1)
        .int("axis", 1)
        .on(row(&[1.0]))
        .fails("none of 1 axes");
}

#[test]
fn channels_are_normalised() {
    let per_channel = || [row(&[1.0, 0.5]), row(&[0.25, -1.0])];
    let [scale, bias] = per_channel();
    let batch = Case::new("BatchNormalization", 3)
        .on(ramp(&[2, 2, 3]))
        .with(scale.clone())
        .with(bias.clone());
    batch
        .clone()
        .with(row(&[0.5, -0.5]))
        .with(row(&[1.0, 2.0]))
        .agrees();
    batch
        .clone()
        .with(row(&[0.5, -0.5]))
        .with(row(&[1.0, 2.0]))
        .float("epsilon", 0.5)
        .agrees();
    batch
        .int("training_mode", 1)
        .with(row(&[0.5, -0.5]))
        .with(row(&[1.0, 2.0]))
        .fails("`training_mode` of 1");
    let one = |op| {
        Case::new(op, 3)
            .on(f32s(&[1, 2, 2], &[1.0, 3.0, 10.0, 20.0]))
            .with(scale.clone())
            .with(bias.clone())
    };
    one("InstanceNormalization")
        .float("epsilon", 0.0)
        .is(&[1, 2, 2], &[-0.75, 1.25, -1.5, -0.5]);
    let groups = Case::new("GroupNormalization", 3)
        .opset(21)
        .int("num_groups", 1)
        .float("epsilon", 0.0);
    let pairs = f32s(&[1, 2, 1], &[1.0, 3.0]);
    groups
        .on(pairs)
        .with(scale)
        .with(bias)
        .is(&[1, 2, 1], &[-0.75, -0.5]);
}

#[test]
fn rows_are_normalised() {
    let layer = || Case::new("LayerNormalization", 3).on(ramp(&[2, 3, 4]));
    layer().with(ramp(&[4])).with(ramp(&[4])).agrees();
    layer().with(ramp(&[4])).agrees();
    layer()
        .int("axis", 1)
        .with(ramp(&[3, 4]))
        .with(ramp(&[3, 4]))
        .agrees();
    let rms = Case::new("RMSNormalization", 2)
        .opset(23)
        .float("epsilon", 0.0)
        .on(f32s(&[1, 2], &[3.0, 4.0]));
    let root = 12.5_f32.sqrt();
    rms.with(row(&[1.0, 2.0]))
        .is(&[1, 2], &[3.0 / root, 8.0 / root]);
    let three = [(crate::Element::F32, 3); 2];
    layer().gives(&three).with(ramp(&[4])).fails("output `y1`");
}

#[test]
fn reductions_keep_axes_and_take_them_from_either_place() {
    for op in [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSumExp",
    ] {
        Case::new(op, 3)
            .opset(11)
            .ints("axes", &[1])
            .on(ramp(&[2, 3, 2]))
            .agrees();
        Case::new(op, 1)
            .opset(11)
            .ints("axes", &[0, -1])
            .int("keepdims", 0)
            .on(ramp(&[2, 3, 2]))
            .agrees();
        Case::new(op, 3).opset(11).on(ramp(&[2, 3, 2])).agrees();
    }
    Case::new("ReduceSum", 1)
        .on(row(&[1.0, 2.0]))
        .with(i64s(&[0]))
        .is(&[1], &[3.0]);
    Case::new("ReduceMean", 1)
        .on(row(&[1.0, 2.0]))
        .with(i64s(&[-1]))
        .is(&[1], &[1.5]);
    Case::new("ReduceSum", 1)
        .int("noop_with_empty_axes", 1)
        .on(row(&[1.0, 2.0]))
        .is(&[2], &[1.0, 2.0]);
    Case::new("ReduceLogSum", 1)
        .on(row(&[1.0, 2.0]))
        .is(&[1], &[3.0_f32.ln()]);
    Case::new("ReduceLogSumExp", 1)
        .on(row(&[1000.0, 1000.0]))
        .is(&[1], &[1000.0 + 2.0_f32.ln()]);
}
