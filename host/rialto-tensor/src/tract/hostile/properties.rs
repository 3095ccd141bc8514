//! Random graphs: bytes, operators, attributes, and damaged real models.

use proptest::prelude::*;

use super::*;

fn mutate(mut file: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (index, byte) in changes {
        let index = index.index(file.len());
        file[index] = *byte;
    }
    file
}

proptest! {
    #[test]
    fn random_bytes_are_errors(file in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(model) = load_file(file) {
            let _ = run_zeros(&*model, 2);
        }
    }

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..6), extent in 0..5_u32,
    ) {
        if let Ok(model) = load_file(mutate(layer().file(), &changes)) {
            let _ = run_zeros(&*model, extent);
        }
    }

    #[test]
    fn any_operator_on_any_constant_is_an_error_or_a_result(
        op in prop::sample::select(vec![
            "Add", "Concat", "Conv", "Expand", "Flatten", "Gather", "GatherND", "MatMul", "MaxPool",
            "OneHot", "Pad", "Range", "ReduceSum", "Reshape", "Resize", "Slice", "Split", "Squeeze",
            "Tile", "TopK", "Transpose", "Unsqueeze", "Where",
        ]),
        values in prop::collection::vec(any::<i64>(), 0..4), small in any::<bool>(), swap in any::<bool>(),
        extent in 0..5_u32,
    ) {
        let values: Vec<i64> = values.iter().map(|v| if small { v % 5 } else { *v }).collect();
        let inputs = if swap { ["s", "x"] } else { ["x", "s"] };
        if let Ok(model) = load(&Sample::one(op, &inputs, &[i64s("s", &values)])) {
            let _ = run_zeros(&*model, extent);
        }
    }
}

/// A number of attributes with numbers that no exporter writes, and some that all do.
fn attributes() -> impl Strategy<Value = Vec<(&'static str, Vec<i64>)>> {
    let names = prop::sample::select(vec![
        "axis",
        "axes",
        "batch_axis",
        "batch_dims",
        "block_size",
        "blocksize",
        "dilations",
        "group",
        "k",
        "kernel_shape",
        "keepdims",
        "num_outputs",
        "output_padding",
        "output_shape",
        "pads",
        "perm",
        "scales",
        "seq_axis",
        "split",
        "starts",
        "ends",
        "strides",
        "to",
        "value_ints",
    ]);
    let number = prop_oneof![
        -3..7_i64,
        any::<i64>(),
        Just(i64::MAX),
        Just(1 << 40),
        Just(1 << 20)
    ];
    prop::collection::vec((names, prop::collection::vec(number, 0..5)), 0..4)
}

proptest! {
    #[test]
    fn any_operator_with_any_attributes_is_an_error_or_a_result(
        op in prop::sample::select(vec![
            "ArgMax", "AveragePool", "Cast", "Compress", "Concat", "ConstantOfShape", "Conv", "ConvInteger",
            "ConvTranspose", "CumSum", "DepthToSpace", "Einsum", "Expand", "EyeLike", "Flatten", "Gather",
            "GatherElements", "GatherND", "GlobalAveragePool", "InstanceNormalization", "LRN",
            "LayerNormalization", "LogSoftmax", "LpPool", "MatMul", "MaxPool", "OneHot", "Pad", "Range",
            "ReduceL2", "ReduceMax", "ReduceSum", "Reshape", "Resize", "ReverseSequence", "ScatterND", "Shape",
            "Slice", "Softmax", "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Trilu",
            "Unsqueeze", "Upsample", "Where",
        ]),
        attributes in attributes(), rank in 0..5_usize, values in prop::collection::vec(-2..9_i64, 0..5),
        operands in 1..4_usize, extent in 0..5_u32,
    ) {
        let attributes: Vec<Message> = attributes.iter().map(|(name, values)| sample::ints(name, values)).collect();
        let axes = vec![Axis::Named("n"); rank];
        let operand = &["x", "s", "s"][..operands];
        let sample = Sample {
            nodes: vec![node(op, operand, "y", &attributes)],
            initializers: vec![i64s("s", &values)],
            inputs: vec![value("x", F32, &axes)],
            outputs: vec![value("y", F32, &axes)],
        };
        if let Ok(model) = load(&sample) {
            let _ = run_zeros(&*model, extent);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_damaged_real_model_never_panics(
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..40),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut file = mutate(real::magika_file().to_vec(), &changes);
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(model) = load_file(file) {
            let _ = run_zeros(&*model, 1);
        }
    }
}
