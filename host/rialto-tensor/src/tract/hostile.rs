//! Graphs from strangers: right ones run, wrong ones are errors, none panics or runs away.

mod properties;

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Config, TractEngine, real,
    sample::{self, Axis, F32, I64, Message, Sample, i64s, layer, node, tensor, value},
};
use crate::{Element, Engine, Kind, LoadError, Model, RunError, Tensor};

fn config() -> Config {
    Config {
        file_bytes_max: 8 << 20,
        tensor_bytes_max: 16 << 20,
        run_bytes_max: 64 << 20,
        multiply_adds_max: 1 << 30,
        ..Config::default()
    }
}

fn load_file(file: Vec<u8>) -> Result<Arc<dyn Model>, LoadError> {
    TractEngine::new(config()).load(Bytes::from(file), "m")
}

fn load(sample: &Sample) -> Result<Arc<dyn Model>, LoadError> {
    load_file(sample.file())
}

/// Runs a model on zeros, with `extent` wherever the caller chooses.
fn run_zeros(model: &dyn Model, extent: u32) -> Result<Vec<Tensor>, RunError> {
    let inputs = model.inputs().iter().map(|port| {
        let shape: Vec<u32> = port
            .shape
            .iter()
            .map(|axis| axis.unwrap_or(extent))
            .collect();
        let elements = shape.iter().fold(1_usize, |elements, extent| {
            elements.saturating_mul(usize::try_from(*extent).unwrap())
        });
        let bytes = elements.saturating_mul(port.element.size_bytes());
        // What no caller could hold, no caller can send.
        (bytes <= 1 << 20).then(|| {
            let tensor = Tensor::new(port.element, shape, vec![0; bytes].into()).unwrap();
            (port.name.clone(), tensor)
        })
    });
    let Some(inputs) = inputs.collect::<Option<Vec<_>>>() else {
        return Ok(Vec::new());
    };
    let outputs: Vec<String> = model
        .outputs()
        .iter()
        .map(|port| port.name.clone())
        .collect();
    model.run(inputs, &outputs)
}

fn run_layer(model: &dyn Model, a: Tensor, outputs: &[&str]) -> Result<Vec<Tensor>, RunError> {
    let outputs: Vec<String> = outputs.iter().map(|name| (*name).to_owned()).collect();
    model.run(vec![("a".to_owned(), a)], &outputs)
}

#[test]
fn a_graph_runs_on_any_length_and_outputs_come_as_wanted() {
    let model = load(&layer()).unwrap();
    for n in 1..20_u32 {
        let ones: Vec<f32> = (0..n * 3).map(|_| 1.0).collect();
        let a = Tensor::from_f32(vec![n, 3], &ones).unwrap();
        let results = run_layer(&*model, a, &["z", "y", "z"]).unwrap();
        assert_eq!(results.len(), 3);
        assert_eq!(results[0], results[2]);
        assert_eq!(results[0].shape(), [n, 2]);
        for row in results[0].to_f32().unwrap().chunks(2) {
            assert_eq!(row, [9.0, 12.0]);
        }
        for row in results[1].to_f32().unwrap().chunks(2) {
            // softmax(9.5, 11.5)
            assert!((row[0] - 0.119_202_92).abs() < 1e-6, "{row:?}");
            assert!((row[1] - 0.880_797_1).abs() < 1e-6, "{row:?}");
        }
    }
    let none = Tensor::from_f32(vec![0, 3], &[]).unwrap();
    let _ = run_layer(&*model, none, &["y"]);
}

#[test]
fn arguments_are_checked_before_anything_runs() {
    let model = load(&layer()).unwrap();
    let a = || Tensor::from_f32(vec![1, 3], &[1.0; 3]).unwrap();
    let check = |error: RunError, message: &str| {
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(error.to_string(), message);
    };
    let with = |inputs: Vec<(&str, Tensor)>| {
        let inputs = inputs
            .into_iter()
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .collect();
        model.run(inputs, &["y".to_owned()]).unwrap_err()
    };
    check(with(vec![]), "input `a` is missing");
    check(
        with(vec![("a", a()), ("a", a())]),
        "input `a` is given twice",
    );
    check(
        with(vec![("b", a())]),
        "`b` is no input of this model; its inputs are `a`",
    );
    let integers = Tensor::from_i32(vec![1, 3], &[1; 3]).unwrap();
    check(
        with(vec![("a", integers)]),
        "input `a` takes f32, found i32",
    );
    let flat = Tensor::from_f32(vec![3], &[1.0; 3]).unwrap();
    check(
        with(vec![("a", flat)]),
        "input `a` takes shape [?, 3], found [3]",
    );
    let wide = Tensor::from_f32(vec![2, 2], &[1.0; 4]).unwrap();
    check(
        with(vec![("a", wide)]),
        "input `a` takes shape [?, 3], found [2, 2]",
    );
    check(
        run_layer(&*model, a(), &["y", "q"]).unwrap_err(),
        "`q` is no output of this model; its outputs are `y`, `z`",
    );
}

#[test]
fn shapes_that_contradict_each_other_are_the_callers_fault() {
    let sample = Sample {
        nodes: vec![node("Add", &["a", "b"], "y", &[])],
        inputs: vec![
            value("a", F32, &[Axis::Named("n")]),
            value("b", F32, &[Axis::Named("n")]),
        ],
        outputs: vec![value("y", F32, &[Axis::Named("n")])],
        ..Sample::default()
    };
    let model = load(&sample).unwrap();
    let operand = |name: &str, values: &[f32]| {
        let length = u32::try_from(values.len()).unwrap();
        (
            name.to_owned(),
            Tensor::from_f32(vec![length], values).unwrap(),
        )
    };
    let outputs = ["y".to_owned()];
    let good = model.run(
        vec![operand("b", &[1.0, 2.0]), operand("a", &[3.0, 4.0])],
        &outputs,
    );
    assert_eq!(good.unwrap()[0].to_f32().unwrap(), [4.0, 6.0]);
    let error = model.run(
        vec![operand("a", &[1.0; 2]), operand("b", &[1.0; 3])],
        &outputs,
    );
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("`a` [2], `b` [3]"), "{error}");
}

#[test]
fn graphs_that_ask_for_too_much_are_refused() {
    let shape = |values: &[i64]| i64s("s", values);
    let fill = |values: &[i64]| Sample::one("ConstantOfShape", &["s"], &[shape(values)]);
    for huge in [
        vec![1 << 30],
        vec![1 << 30, 1 << 30, 1 << 30],
        vec![1 << 20, 1 << 20],
        vec![4 << 20, 2],
    ] {
        let error = load(&fill(&huge)).unwrap_err();
        assert!(
            matches!(error, LoadError::TooLarge { .. }),
            "{huge:?}: {error}"
        );
    }
    let scalar = |name: &str, value: i64| tensor(name, I64, &[], &value.to_le_bytes());
    let range = [scalar("a", 0), scalar("b", 1 << 40), scalar("c", 1)];
    let refused = |sample: &Sample| match load(sample) {
        Ok(model) => run_zeros(&*model, 4).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for sample in [
        Sample::one("Range", &["a", "b", "c"], &range),
        Sample::one("Expand", &["x", "s"], &[shape(&[1 << 30, 4])]),
        Sample::one("Expand", &["x", "s"], &[shape(&[1 << 30, 1 << 30, 4])]),
        Sample::one("Tile", &["x", "s"], &[shape(&[1 << 30])]),
        Sample::one("Pad", &["x", "s"], &[shape(&[0, 1 << 30])]),
    ] {
        let reason = refused(&sample);
        assert!(!reason.is_empty(), "{sample:?}");
    }
    let engine = TractEngine::new(Config {
        multiply_adds_max: 1_000,
        ..config()
    });
    let model = engine.load(layer().file().into(), "m").unwrap();
    run_zeros(&*model, 10).unwrap();
    let error = run_zeros(&*model, 1_000).unwrap_err();
    assert_eq!(error.kind(), Kind::OutOfBudget, "{error}");
    let engine = TractEngine::new(Config {
        run_bytes_max: 1_000,
        ..config()
    });
    let model = engine.load(layer().file().into(), "m").unwrap();
    assert_eq!(
        run_zeros(&*model, 1_000).unwrap_err().kind(),
        Kind::OutOfBudget
    );
}

#[test]
fn graphs_that_need_what_the_engine_lacks_say_so() {
    let check = |sample: Sample, reason: &str| {
        let error = load(&sample).unwrap_err();
        assert!(matches!(error, LoadError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    check(
        Sample::one("Frobnicate", &["x"], &[]),
        "does not implement Frobnicate",
    );
    check(
        Sample::one("RandomNormalLike", &["x"], &[]),
        "draws random numbers",
    );
    let branch = Message::default()
        .bytes(1, b"then_branch")
        .message(6, &Message::default());
    let nodes = vec![node("If", &["x"], "y", &[branch])];
    check(
        Sample {
            nodes,
            ..Sample::one("If", &["x"], &[])
        },
        "is control flow",
    );
    let elsewhere = tensor("w", F32, &[2], &[]).varint(14, 1);
    check(
        Sample::one("Add", &["x", "w"], &[elsewhere]),
        "in another file",
    );
    let wide = vec![value("x", 11, &[Axis::Named("n")])];
    check(
        Sample {
            inputs: wide,
            ..Sample::one("Relu", &["x"], &[])
        },
        "element type 11",
    );
    let text = vec![value("x", 8, &[Axis::Named("n")])];
    check(
        Sample {
            inputs: text,
            ..Sample::one("Relu", &["x"], &[])
        },
        "element type 8",
    );

    let outputs = vec![value("y", I64, &[Axis::Fixed(1), Axis::Named("k")])];
    let model = load(&Sample {
        outputs,
        ..Sample::one("NonZero", &["x"], &[])
    })
    .unwrap();
    let error = run_zeros(&*model, 4).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
}

#[test]
fn malformed_graphs_are_errors() {
    let relu = || Sample::one("Relu", &["x"], &[]);
    let check = |sample: Sample, reason: &str| {
        let error = load(&sample).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    assert!(
        load_file(vec![])
            .unwrap_err()
            .to_string()
            .contains("has no graph")
    );
    let far = vec![value("x", F32, &[Axis::Fixed(1 << 40)])];
    check(
        Sample {
            inputs: far,
            ..relu()
        },
        "extent above 32 bits",
    );
    let deep = vec![value("x", F32, &[Axis::Fixed(1); 9])];
    check(
        Sample {
            inputs: deep,
            ..relu()
        },
        "has 9 axes",
    );
    let twice = vec![value("x", F32, &[Axis::Fixed(1)]); 2];
    check(
        Sample {
            inputs: twice,
            ..relu()
        },
        "have one name",
    );
    check(
        Sample {
            outputs: vec![],
            ..relu()
        },
        "has no outputs",
    );
    check(
        Sample {
            outputs: vec![value("q", F32, &[])],
            ..relu()
        },
        "nothing computes output `q`",
    );
    check(
        Sample {
            inputs: vec![],
            ..relu()
        },
        "nothing computes `x`",
    );
}

#[test]
fn malformed_weights_are_errors() {
    let check = |weights: Message, reason: &str| {
        let error = load(&Sample::one("Add", &["x", "w"], &[weights]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    };
    check(tensor("w", F32, &[1 << 20, 1 << 20], &[0; 4]), "too large");
    check(tensor("w", F32, &[4], &[0; 4]), "malformed");
    check(tensor("w", F32, &[-1], &[0; 4]), "too large");
}

#[test]
fn a_circle_is_an_error() {
    let relu = Sample::one("Relu", &["x"], &[]);
    let circle = vec![
        node("Add", &["x", "q"], "y", &[]),
        node("Relu", &["y"], "q", &[]),
    ];
    assert!(
        load(&Sample {
            nodes: circle,
            ..relu
        })
        .is_err()
    );
}

#[test]
fn names_of_axes_are_not_parsed() {
    let name = "(".repeat(100_000);
    let inputs = vec![value("x", F32, &[Axis::Named(&name)])];
    let model = load(&Sample {
        inputs,
        ..Sample::one("Relu", &["x"], &[])
    })
    .unwrap();
    assert_eq!(run_zeros(&*model, 3).unwrap()[0].shape(), [3]);
}

#[test]
fn long_chains_do_not_exhaust_the_stack() {
    let count = 5_000;
    let name = |i: usize| {
        if i == 0 {
            "x".to_owned()
        } else {
            format!("t{i}")
        }
    };
    let mut nodes: Vec<Message> = (0..count)
        .map(|i| node("Sqrt", &[&name(i)], &name(i + 1), &[]))
        .collect();
    nodes.push(node("Relu", &[&name(count)], "y", &[]));
    let model = load(&Sample {
        nodes,
        ..Sample::one("Relu", &["x"], &[])
    })
    .unwrap();
    assert_eq!(
        run_zeros(&*model, 2).unwrap()[0].to_f32().unwrap(),
        [0.0, 0.0]
    );
}

#[test]
fn limits_of_the_engine_hold() {
    let file = Bytes::from(layer().file());
    let bytes = u64::try_from(file.len()).unwrap();
    let engine = TractEngine::new(Config {
        file_bytes_max: bytes - 1,
        ..config()
    });
    let error = engine.load(file.clone(), "m").unwrap_err();
    assert!(matches!(error, LoadError::FileTooLarge { .. }), "{error}");
    let engine = TractEngine::new(Config {
        nodes_max: 2,
        ..config()
    });
    let error = engine.load(file.clone(), "m").unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");

    let engine = TractEngine::new(Config {
        weights_bytes_max: bytes * 2,
        ..config()
    });
    let first = engine.load(file.clone(), "m").unwrap();
    let _second = engine.load(file.clone(), "m").unwrap();
    let error = engine.load(file.clone(), "m").unwrap_err();
    assert!(matches!(error, LoadError::EngineFull { .. }), "{error}");
    assert!(
        error.to_string().contains("raise `weights_bytes_max`"),
        "{error}"
    );
    drop(first);
    engine.load(file, "m").unwrap();
}

#[test]
fn a_tensor_without_elements_has_bounded_axes_all_the_same() {
    let long = i64::MAX >> 2;
    let cases = [
        ("Expand", vec![long, 1]),
        ("Expand", vec![long, long, 1]),
        ("Tile", vec![long]),
        ("Tile", vec![-1]),
    ];
    for (op, values) in cases {
        let model = load(&Sample::one(op, &["x", "s"], &[i64s("s", &values)])).unwrap();
        let error = run_zeros(&*model, 0).unwrap_err();
        assert_eq!(error.kind(), Kind::OutOfBudget, "{op} {values:?}: {error}");
    }
    let empty = tensor("e", F32, &[0], &[]);
    let tiled = Sample::one("Tile", &["e", "s"], &[empty, i64s("s", &[long])]);
    let error = load(&tiled).map(|model| run_zeros(&*model, 1).unwrap_err().kind());
    assert!(
        matches!(
            error,
            Ok(Kind::OutOfBudget) | Err(LoadError::TooLarge { .. })
        ),
        "{error:?}"
    );
    let hollow = tensor("s", I64, &[0, long], &[]);
    let error = load(&Sample::one("Reshape", &["x", "s"], &[hollow])).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
}

#[test]
fn numbers_that_tract_would_count_up_to_are_bounded() {
    let cases = [
        ("OneHot", "axis", vec![1 << 40]),
        ("Squeeze", "axes", vec![0, i64::MIN]),
        ("MaxPool", "kernel_shape", vec![1 << 20, 1 << 20]),
        ("Split", "num_outputs", vec![i64::MAX]),
    ];
    for (op, name, values) in cases {
        let sample = Sample {
            nodes: vec![node(
                op,
                &["x", "s", "s"],
                "y",
                &[sample::ints(name, &values)],
            )],
            ..Sample::one(op, &[], &[i64s("s", &[3, 4])])
        };
        let error = load(&sample).unwrap_err();
        assert!(matches!(error, LoadError::TooLarge { .. }), "{op}: {error}");
    }
}

#[test]
fn every_cut_of_a_file_is_an_error_or_a_model() {
    let file = layer().file();
    for length in 0..file.len() {
        if let Ok(model) = load_file(file[..length].to_vec()) {
            let _ = run_zeros(&*model, 2);
        }
    }
}

#[test]
fn booleans_of_a_model_are_booleans() {
    let outputs = vec![value("y", 9, &[Axis::Named("n")])];
    let zero = tensor("w", F32, &[], &[0; 4]);
    let model = load(&Sample {
        outputs,
        ..Sample::one("Greater", &["x", "w"], &[zero])
    })
    .unwrap();
    let x = Tensor::from_f32(vec![3], &[-1.0, 0.0, 2.0]).unwrap();
    let y = model
        .run(vec![("x".to_owned(), x)], &["y".to_owned()])
        .unwrap()
        .remove(0);
    assert_eq!(
        (y.element(), &y.data()[..]),
        (Element::Bool, &[0, 0, 1][..])
    );
}

#[test]
fn what_is_no_permutation_is_refused_at_once() {
    for perm in [[1, 1], [0, 2], [-1, 0]] {
        let sample = Sample {
            nodes: vec![node(
                "Transpose",
                &["x"],
                "y",
                &[sample::ints("perm", &perm)],
            )],
            inputs: vec![value("x", F32, &[Axis::Fixed(2), Axis::Fixed(3)])],
            outputs: vec![value("y", F32, &[Axis::Named("n"), Axis::Named("m")])],
            ..Sample::default()
        };
        let error = load(&sample).unwrap_err().to_string();
        assert!(error.contains("which is no permutation"), "{error}");
    }
}
