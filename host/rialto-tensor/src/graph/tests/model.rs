//! Whole graphs: plans, branches, weights on the device, limits, and errors by whose fault they are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::build::{config, constant_of, cpu, engine, file, i64_of, row, run};
use crate::{
    Config, Engine, GraphEngine, Kind, LoadError, Model, RunError, Tensor, TractEngine,
    ops::{Cancel, Device, DeviceAbilities, EvalError, Program, Resident},
    tract::sample::{Axis, F32, I64, Message, Sample, i64s, layer, node, tensor, value},
};

/// The processor, seen from outside: what was uploaded, and whether the next run fails.
#[derive(Debug)]
struct Watched {
    cpu: Arc<dyn Device>,
    uploads: AtomicUsize,
    lost: AtomicBool,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            cpu: cpu(),
            uploads: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        })
    }

    fn uploads(&self) -> usize {
        self.uploads.swap(0, Ordering::Relaxed)
    }
}

impl Device for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn abilities(&self) -> &DeviceAbilities {
        self.cpu.abilities()
    }

    fn memory_bytes_max(&self) -> u64 {
        self.cpu.memory_bytes_max()
    }

    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError> {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        self.cpu.upload(tensor)
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        self.cpu.download(resident)
    }

    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        if self.lost.swap(false, Ordering::Relaxed) {
            return Err(EvalError::Device {
                op: "run",
                reason: "lost".to_owned(),
            });
        }
        self.cpu.run(program, inputs, cancel)
    }
}

fn load(file: Vec<u8>) -> Result<Arc<dyn Model>, LoadError> {
    engine().load(file.into(), "m")
}

fn layer_input(rows: u32) -> Vec<(String, Tensor)> {
    let count = usize::try_from(rows * 3).unwrap();
    vec![(
        "a".to_owned(),
        Tensor::from_f32(vec![rows, 3], &vec![1.0; count]).unwrap(),
    )]
}

#[test]
fn weights_are_on_the_device_once_for_all_plans() {
    let device = Watched::new();
    let engine = GraphEngine::new(Arc::<Watched>::clone(&device), cpu(), config());
    let model = engine.load(layer().file().into(), "m").unwrap();
    assert_eq!(device.uploads(), 0);
    for rows in 1..6 {
        let results = run(model.as_ref(), layer_input(rows)).unwrap();
        assert_eq!(results[1].to_f32().unwrap()[..2], [9.0, 12.0]);
        // The input, and with the first plan the weight and the bias.
        assert_eq!(device.uploads(), if rows == 1 { 3 } else { 1 });
    }
    assert_eq!(model.abilities().device, "watched");
}

#[test]
fn a_device_that_was_lost_gets_everything_again() {
    let device = Watched::new();
    let engine = GraphEngine::new(Arc::<Watched>::clone(&device), cpu(), config());
    let model = engine.load(layer().file().into(), "m").unwrap();
    let expected = run(model.as_ref(), layer_input(2)).unwrap();
    device.uploads();
    device.lost.store(true, Ordering::Relaxed);
    assert_eq!(run(model.as_ref(), layer_input(2)).unwrap(), expected);
    assert_eq!(device.uploads(), 4, "the input twice, both weights");
}

#[test]
fn it_is_seen_as_the_embedded_engine_sees_it() {
    let embedded = TractEngine::default()
        .load(layer().file().into(), "m")
        .unwrap();
    let model = load(layer().file()).unwrap();
    assert_eq!(model.inputs(), embedded.inputs());
    assert_eq!(model.outputs(), embedded.outputs());
    assert_eq!(model.metadata(), embedded.metadata());
    assert_ne!(
        model.abilities().fingerprint,
        embedded.abilities().fingerprint
    );
    assert!(model.abilities().deterministic);
    let again = load(layer().file()).unwrap();
    assert_eq!(model.abilities(), again.abilities());
    let twice = model
        .run(
            layer_input(1),
            &["z".to_owned(), "y".to_owned(), "z".to_owned()],
        )
        .unwrap();
    assert_eq!(twice[0], twice[2]);
    let error = model.run(Vec::new(), &["y".to_owned()]).unwrap_err();
    assert!(matches!(error, RunError::MissingInput { .. }), "{error}");
}

#[test]
fn runs_that_wait_are_joined() {
    for engine in [engine(), engine().joining_within_rounding()] {
        let model = engine.load(layer().file().into(), "m").unwrap();
        let names = ["y".to_owned(), "z".to_owned()];
        let runs: Vec<_> = (1..9_u8).map(|by| scaled_input(f32::from(by))).collect();
        let alone: Vec<_> = runs
            .iter()
            .map(|inputs| model.run(inputs.clone(), &names))
            .collect();
        assert_eq!(model.run_joined(runs, &names), alone);
    }
    let promised = engine().load(layer().file().into(), "m").unwrap();
    let joined = engine()
        .joining_within_rounding()
        .load(layer().file().into(), "m")
        .unwrap();
    assert!(promised.abilities().deterministic && !joined.abilities().deterministic);
}

fn scaled_input(by: f32) -> Vec<(String, Tensor)> {
    vec![(
        "a".to_owned(),
        Tensor::from_f32(vec![1, 3], &[by, 1.0, -by]).unwrap(),
    )]
}

#[test]
fn many_threads_run_one_model() {
    let model = load(layer().file()).unwrap();
    let expected = run(model.as_ref(), layer_input(3)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(run(model.as_ref(), layer_input(3)).unwrap(), expected));
        }
    });
}

/// `y = x + 1` if `c` is not 0, else `y = x * x`; `c` comes from outside, or is a constant.
fn branching(condition: Option<u8>) -> Vec<u8> {
    const BOOL: u64 = 9;
    let branch = |name: &str, inner: &Message, output: &str| {
        let graph = Message::default()
            .message(1, inner)
            .message(12, &value(output, F32, &[Axis::Named("n")]));
        Message::default()
            .bytes(1, name.as_bytes())
            .message(6, &graph)
            .varint(20, 5)
    };
    let one = tensor("one", F32, &[], &1.0_f32.to_le_bytes());
    let branches = [
        branch(
            "then_branch",
            &node("Add", &["x", "one"], "more", &[]),
            "more",
        ),
        branch(
            "else_branch",
            &node("Mul", &["x", "x"], "square", &[]),
            "square",
        ),
    ];
    let graph = Message::default()
        .message(1, &node("If", &["c"], "y", &branches))
        .message(5, &one)
        .message(11, &value("x", F32, &[Axis::Named("n")]))
        .message(12, &value("y", F32, &[Axis::Named("n")]));
    let graph = match condition {
        Some(known) => graph.message(5, &tensor("c", BOOL, &[], &[known])),
        None => graph.message(11, &value("c", BOOL, &[])),
    };
    file(graph, 16)
}

#[test]
fn a_branch_is_chosen_by_a_constant_or_by_a_small_input() {
    let x = || ("x".to_owned(), row(&[3.0, 4.0]));
    for (condition, expected) in [(1, [4.0, 5.0]), (0, [9.0, 16.0])] {
        let known = load(branching(Some(condition))).unwrap();
        assert_eq!(
            run(known.as_ref(), vec![x()]).unwrap()[0].to_f32().unwrap(),
            expected
        );
    }
    let open = load(branching(None)).unwrap();
    for condition in [1, 0, 0, 1] {
        let c = Tensor::new(crate::Element::Bool, Vec::new(), vec![condition].into()).unwrap();
        let found = run(open.as_ref(), vec![("c".to_owned(), c), x()]).unwrap();
        let expected = if condition == 1 {
            [4.0, 5.0]
        } else {
            [9.0, 16.0]
        };
        assert_eq!(found[0].to_f32().unwrap(), expected);
    }
}

#[test]
fn a_shape_may_be_decided_by_a_small_input_and_by_nothing_else() {
    let sample = |axes: &[Axis<'_>]| Sample {
        nodes: vec![node("Tile", &["x", "times"], "y", &[])],
        inputs: vec![
            value("x", F32, &[Axis::Fixed(1)]),
            value("times", I64, axes),
        ],
        outputs: vec![value("y", F32, &[Axis::Named("n")])],
        ..Sample::default()
    };
    let model = load(sample(&[Axis::Fixed(1)]).file()).unwrap();
    for times in [3_u8, 1, 3] {
        let inputs = vec![
            ("times".to_owned(), i64_of(&[1], &[i64::from(times)])),
            ("x".to_owned(), row(&[2.0])),
        ];
        let found = run(model.as_ref(), inputs).unwrap();
        assert_eq!(found[0].to_f32().unwrap(), vec![2.0; usize::from(times)]);
    }
    let model = load(sample(&[Axis::Named("n")]).file()).unwrap();
    let inputs = vec![
        ("times".to_owned(), i64_of(&[2], &[1, 1])),
        ("x".to_owned(), row(&[2.0])),
    ];
    let error = model.run(inputs, &["y".to_owned()]).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert!(error.to_string().contains("node `y` (Tile)"), "{error}");
}

#[test]
fn outputs_may_be_inputs_or_constants() {
    let graph = Message::default()
        .message(1, &node("Identity", &["x"], "same", &[]))
        .message(1, &node("Shape", &["x"], "shape", &[]))
        .message(5, &constant_of("w", &row(&[5.0])))
        .message(11, &value("x", F32, &[Axis::Named("n")]))
        .message(12, &value("same", F32, &[Axis::Named("n")]))
        .message(12, &value("shape", I64, &[Axis::Fixed(1)]))
        .message(12, &value("w", F32, &[Axis::Fixed(1)]));
    let model = load(file(graph, 16)).unwrap();
    let found = run(model.as_ref(), vec![("x".to_owned(), row(&[1.0, 2.0]))]).unwrap();
    assert_eq!(found[0], row(&[1.0, 2.0]));
    assert_eq!(found[1], i64_of(&[1], &[2]));
    assert_eq!(found[2], row(&[5.0]));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let check = |sample: &Sample, reason: &str| {
        let error = load(sample.file()).unwrap_err();
        assert!(matches!(error, LoadError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    let one = |op| Sample::one(op, &["x"], &[]);
    check(
        &one("Frobnicate"),
        "node `y` (Frobnicate): the operator is not known",
    );
    check(&one("Loop"), "(Loop): the operator is not known");
    check(&one("RandomNormalLike"), "draws random numbers");
    let foreign = node("Gelu", &["x"], "y", &[]).bytes(7, b"com.example");
    check(
        &Sample {
            nodes: vec![foreign],
            ..one("Gelu")
        },
        "operators of `com.example`",
    );
    let elsewhere = tensor("w", F32, &[2], &[]).varint(14, 1);
    check(
        &Sample::one("Add", &["x", "w"], &[elsewhere]),
        "in another file",
    );
    let wide = tensor("w", 11, &[1], &[0; 8]);
    check(&Sample::one("Add", &["x", "w"], &[wide]), "element type 11");
    for opset in [6, 25] {
        let graph = Message::default()
            .message(12, &value("x", F32, &[]))
            .message(11, &value("x", F32, &[]));
        let error = load(file(graph, opset)).unwrap_err().to_string();
        assert!(error.contains(&format!("operator set {opset}")), "{error}");
    }
}

#[test]
fn graphs_that_are_none_are_malformed() {
    let check = |sample: &Sample, reason: &str| {
        let error = load(sample.file()).unwrap_err();
        assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    let relu = || Sample::one("Relu", &["x"], &[]);
    let twice = vec![
        node("Relu", &["x"], "y", &[]),
        node("Abs", &["x"], "y", &[]),
    ];
    check(
        &Sample {
            nodes: twice,
            ..relu()
        },
        "`y` is computed twice",
    );
    let circle = vec![
        node("Add", &["x", "q"], "y", &[]),
        node("Relu", &["y"], "q", &[]),
    ];
    check(
        &Sample {
            nodes: circle,
            ..relu()
        },
        "nothing computes `q` before",
    );
    check(
        &Sample {
            nodes: vec![],
            ..relu()
        },
        "nothing computes output `y`",
    );
    check(
        &Sample {
            nodes: vec![node("Relu", &[], "y", &[])],
            inputs: vec![],
            ..relu()
        },
        "input 0 is missing",
    );
    check(
        &Sample::one("Add", &["x", "w"], &[tensor("w", F32, &[4], &[0; 4])]),
        "tensor `w`",
    );
    let cast = Sample {
        outputs: vec![value("y", I64, &[Axis::Fixed(2)])],
        inputs: vec![value("x", F32, &[Axis::Fixed(2)])],
        ..relu()
    };
    check(&cast, "output `y` is f32, declared as i64");
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
    let model = load(sample.file()).unwrap();
    let of = |a: &[f32], b: &[f32]| run_ab(model.as_ref(), a, b);
    assert_eq!(
        of(&[1.0, 2.0], &[3.0, 4.0]).unwrap()[0].to_f32().unwrap(),
        [4.0, 6.0]
    );
    let error = of(&[1.0; 2], &[1.0; 3]).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("`a` [2], `b` [3]"), "{error}");
}

fn run_ab(model: &dyn Model, a: &[f32], b: &[f32]) -> Result<Vec<Tensor>, RunError> {
    let inputs = vec![("a".to_owned(), row(a)), ("b".to_owned(), row(b))];
    model.run(inputs, &["y".to_owned()])
}

#[test]
fn limits_of_the_engine_hold() {
    let file = bytes::Bytes::from(layer().file());
    let size = u64::try_from(file.len()).unwrap();
    let with = |config: Config| GraphEngine::new(cpu(), cpu(), config);
    let small = with(Config {
        file_bytes_max: size - 1,
        ..config()
    });
    assert!(matches!(
        small.load(file.clone(), "m"),
        Err(LoadError::FileTooLarge { .. })
    ));
    let few = with(Config {
        nodes_max: 2,
        ..config()
    });
    assert!(matches!(
        few.load(file.clone(), "m"),
        Err(LoadError::TooLarge { .. })
    ));
    let tight = with(Config {
        weights_bytes_max: size,
        ..config()
    });
    let first = tight.load(file.clone(), "m").unwrap();
    assert!(matches!(
        tight.load(file.clone(), "m"),
        Err(LoadError::EngineFull { .. })
    ));
    drop(first);
    tight.load(file.clone(), "m").unwrap();
    let slow = with(Config {
        multiply_adds_max: 1_000,
        ..config()
    });
    let model = slow.load(file.clone(), "m").unwrap();
    run(model.as_ref(), layer_input(5)).unwrap();
    let error = model
        .run(layer_input(1_000), &["y".to_owned()])
        .unwrap_err();
    assert_eq!(error.kind(), Kind::OutOfBudget, "{error}");
    let narrow = with(Config {
        run_bytes_max: 1_000,
        ..config()
    });
    let model = narrow.load(file, "m").unwrap();
    let error = model
        .run(layer_input(1_000), &["y".to_owned()])
        .unwrap_err();
    assert_eq!(error.kind(), Kind::OutOfBudget, "{error}");
    let huge = Sample::one("ConstantOfShape", &["s"], &[i64s("s", &[1 << 30, 1 << 30])]);
    assert!(load(huge.file()).is_err() || run_error(&huge).contains("large"));
}

fn run_error(sample: &Sample) -> String {
    let model = load(sample.file()).unwrap();
    run(model.as_ref(), vec![("x".to_owned(), row(&[1.0]))]).unwrap_err()
}
