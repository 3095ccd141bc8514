//! Graphs from strangers: wrong ones are errors, none panics or runs away.

use proptest::prelude::*;

use super::build::{config, constant_of, cpu, file, number};
use crate::{
    Config, Element, Engine, GraphEngine, Model, Tensor,
    tract::sample::{Axis, F32, I64, Message, Sample, i64s, ints, layer, node, tensor, value},
};

fn load(file: Vec<u8>) -> Option<std::sync::Arc<dyn Model>> {
    let config = Config {
        nodes_max: 500,
        ..config()
    };
    GraphEngine::new(cpu(), cpu(), config)
        .load(file.into(), "m")
        .ok()
}

/// Runs a model on zeros, with `extent` wherever the caller chooses.
fn run_zeros(model: &dyn Model, extent: u32) {
    let mut inputs = Vec::new();
    for port in model.inputs() {
        let shape: Vec<u32> = port
            .shape
            .iter()
            .map(|axis| axis.unwrap_or(extent))
            .collect();
        let elements = shape.iter().fold(1_usize, |all, extent| {
            all.saturating_mul(usize::try_from(*extent).unwrap())
        });
        let bytes = elements.saturating_mul(port.element.size_bytes());
        // What no caller could hold, no caller can send.
        if bytes > 1 << 20 {
            return;
        }
        let tensor = Tensor::new(port.element, shape, vec![0; bytes].into()).unwrap();
        inputs.push((port.name.clone(), tensor));
    }
    let names: Vec<String> = model
        .outputs()
        .iter()
        .map(|port| port.name.clone())
        .collect();
    if let Ok(outputs) = model.run(inputs, &names) {
        for (output, port) in outputs.iter().zip(model.outputs()) {
            assert_eq!(output.element(), port.element);
        }
    }
}

fn try_out(file: Vec<u8>, extent: u32) {
    if let Some(model) = load(file) {
        run_zeros(model.as_ref(), extent);
    }
}

#[test]
fn every_cut_of_a_file_is_an_error_or_a_model() {
    let file = layer().file();
    for length in 0..file.len() {
        try_out(file[..length].to_vec(), 2);
    }
}

#[test]
fn what_asks_for_too_much_is_refused_before_it_is_made() {
    let scalar = |name: &str, value: i64| tensor(name, I64, &[], &value.to_le_bytes());
    let range = [scalar("a", 0), scalar("b", 1 << 40), scalar("c", 1)];
    let mut samples = vec![Sample::one("Range", &["a", "b", "c"], &range)];
    for numbers in [
        vec![1 << 30],
        vec![1 << 30; 3],
        vec![i64::MAX],
        vec![-1],
        vec![0, 1 << 30],
        vec![i64::MIN, 1],
    ] {
        for op in [
            "ConstantOfShape",
            "Expand",
            "Tile",
            "Pad",
            "Reshape",
            "Upsample",
            "OneHot",
        ] {
            let inputs = if op == "ConstantOfShape" {
                &["s"][..]
            } else {
                &["x", "s", "s"]
            };
            samples.push(Sample::one(op, inputs, &[i64s("s", &numbers)]));
        }
    }
    for sample in samples {
        for extent in [0, 1, 4] {
            try_out(sample.file(), extent);
        }
    }
}

#[test]
fn each_doubling_is_small_and_all_together_are_refused() {
    let name = |place: usize| {
        if place == 0 {
            "x".to_owned()
        } else {
            format!("t{place}")
        }
    };
    let mut nodes: Vec<Message> = (0..60)
        .map(|place| {
            node(
                "Concat",
                &[&name(place), &name(place)],
                &name(place + 1),
                &[ints("axis", &[0])],
            )
        })
        .collect();
    nodes.push(node("Relu", &[&name(60)], "y", &[]));
    let sample = Sample {
        nodes: nodes.clone(),
        ..Sample::one("Relu", &["x"], &[])
    };
    let model = load(sample.file()).unwrap();
    let x = Tensor::from_f32(vec![1], &[1.0]).unwrap();
    let error = model
        .run(vec![("x".to_owned(), x)], &["y".to_owned()])
        .unwrap_err();
    assert_eq!(error.kind(), crate::Kind::OutOfBudget, "{error}");
    // The same of constants, which are folded at load.
    let constant = tensor("x", F32, &[1], &[0; 4]);
    let sample = Sample {
        nodes,
        initializers: vec![constant],
        inputs: vec![],
        ..Sample::one("Relu", &["x"], &[])
    };
    assert!(load(sample.file()).is_none());
}

#[test]
fn long_chains_and_deep_branches_do_not_exhaust_the_stack() {
    let name = |place: usize| {
        if place == 0 {
            "x".to_owned()
        } else {
            format!("t{place}")
        }
    };
    let mut nodes: Vec<Message> = (0..400)
        .map(|place| node("Sqrt", &[&name(place)], &name(place + 1), &[]))
        .collect();
    nodes.push(node("Relu", &[&name(400)], "y", &[]));
    let model = load(
        Sample {
            nodes,
            ..Sample::one("Relu", &["x"], &[])
        }
        .file(),
    )
    .unwrap();
    run_zeros(model.as_ref(), 2);
    let mut inner = Message::default().message(12, &value("x", F32, &[]));
    for _ in 0..60 {
        let branch = |name: &str| {
            Message::default()
                .bytes(1, name.as_bytes())
                .message(6, &inner)
                .varint(20, 5)
        };
        let both = [branch("then_branch"), branch("else_branch")];
        inner = Message::default().message(1, &node("If", &["x"], "y", &both[..1]));
    }
    assert!(load(file(inner, 16)).is_none());
}

/// Every operator that is known here.
const OPERATORS: [&str; 74] = [
    "Add",
    "And",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Equal",
    "Expand",
    "EyeLike",
    "Flatten",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSwish",
    "InstanceNormalization",
    "IsInf",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "Mod",
    "NonZero",
    "Not",
    "OneHot",
    "PRelu",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "RMSNormalization",
    "Range",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Resize",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Upsample",
    "Where",
];

/// Attributes with numbers that no exporter writes, and some that all do.
fn attributes() -> impl Strategy<Value = Vec<(&'static str, Vec<i64>)>> {
    let names = prop::sample::select(vec![
        "axis",
        "axes",
        "blocksize",
        "ceil_mode",
        "dilations",
        "ends",
        "group",
        "hidden_size",
        "k",
        "keepdims",
        "kernel_shape",
        "num_outputs",
        "output_padding",
        "pads",
        "perm",
        "split",
        "starts",
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

fn elements() -> impl Strategy<Value = Element> {
    prop::sample::select(Element::ALL.to_vec())
}

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
        try_out(file, 2);
    }

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..6), extent in 0..5_u32,
    ) {
        try_out(mutate(layer().file(), &changes), extent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_operator_with_any_attributes_is_an_error_or_a_result(
        op in prop::sample::select(OPERATORS.to_vec()), attributes in attributes(), opset in 7..24_u64,
        ranks in prop::collection::vec(0..5_usize, 1..4), element in elements(),
        values in prop::collection::vec(prop_oneof![4 => -2..9_i64, 1 => any::<i64>()], 0..5),
        order in prop::collection::vec(0..4_usize, 1..5), extent in 0..5_u32, results in 1..4_usize,
    ) {
        let attributes: Vec<Message> = attributes.iter().map(|(name, values)| ints(name, values)).collect();
        let names = ["a", "b", "c", "s"];
        let mut graph = Message::default().message(5, &i64s("s", &values));
        for (name, rank) in names.iter().zip(&ranks) {
            graph = graph.message(11, &value(name, number(element), &vec![Axis::Named("n"); *rank]));
        }
        let inputs: Vec<&str> = order.iter().map(|place| names[*place]).collect();
        let mut it = node(op, &inputs, "y", &attributes);
        for place in 1..results {
            it = it.bytes(2, format!("y{place}").as_bytes());
        }
        graph = graph.message(1, &it).message(12, &value("y", F32, &[Axis::Named("n")]));
        try_out(file(graph, opset), extent);
    }

    #[test]
    fn any_chain_of_operators_on_constants_is_folded_within_bounds(
        ops in prop::collection::vec(prop::sample::select(OPERATORS.to_vec()), 1..12),
        places in prop::collection::vec(0..16_usize, 36), values in prop::collection::vec(-2..5_i64, 1..5),
    ) {
        let constant = Tensor::from_f32(vec![2, 2], &[1.0, -2.0, 0.5, 3.0]).unwrap();
        let mut graph = Message::default().message(5, &i64s("t0", &values)).message(5, &constant_of("t1", &constant));
        let mut known = 2;
        let mut places = places.iter();
        for op in &ops {
            let operand = |place: Option<&usize>| format!("t{}", place.map_or(0, |place| place % known));
            let names = [(); 3].map(|()| operand(places.next()));
            let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
            graph = graph.message(1, &node(op, &inputs, &format!("t{known}"), &[]));
            known += 1;
        }
        let last = format!("t{}", known - 1);
        try_out(file(graph.message(12, &value(&last, F32, &[Axis::Named("n")])), 13), 1);
    }
}
