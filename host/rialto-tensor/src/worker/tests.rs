//! Workers that work, that crash, that never answer, and models that make them do so.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rialto_confine::{Reach, confine};

use super::{Limits, Program, Task, WorkerEngine, model::WorkerModel, serve};
use crate::{
    Engine, Kind, LoadError, Model, RunError, Tensor, TractEngine, onnxruntime,
    tract::sample::{Axis, F32, I64, Message, Sample, layer, node, tensor, value},
};

const MODE: &str = "RIALTO_TEST_WORKER";
const BOOL: u64 = 9;

/// This test program as a worker: the test below, by its name, with something else to do.
pub(crate) fn program(mode: &str) -> Program {
    Program {
        file: std::env::current_exe().unwrap(),
        arguments: vec![
            "worker::tests::a_worker_gives_the_bits_that_the_engine_gives_here".into(),
            "--exact".into(),
            "--nocapture".into(),
        ],
        environment: vec![(MODE.into(), mode.into())],
    }
}

/// What a worker of these tests does.
fn be_a_worker(mode: &str) -> ! {
    match mode {
        "serve" => {
            let _ = serve();
        }
        "abort" => std::process::abort(),
        "silence" => loop {
            std::thread::park();
        },
        "nonsense" => {
            use std::{io::Write as _, os::fd::AsFd as _};
            let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            let mut socket = std::os::unix::net::UnixStream::from(socket);
            socket.write_all(&[7; 64]).unwrap();
            std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
        }
        "confined" => std::process::exit(confined()),
        other => panic!("no mode {other}"),
    }
    std::process::exit(0);
}

/// Tries what a worker must not do; returns which it could, one bit each.
fn confined() -> i32 {
    let done = confine(64 << 20, Reach::Nothing).unwrap();
    let has = |what: &str| done.iter().any(|line| line.contains(what));
    let mut could = 0;
    if Vec::<u8>::new().try_reserve_exact(1 << 30).is_ok() {
        could |= 1;
    }
    if has("no files") && std::fs::read("/etc/passwd").is_ok() {
        could |= 2;
    }
    if has("no connections") && std::net::TcpListener::bind("127.0.0.1:0").is_ok() {
        could |= 4;
    }
    if !has("memory") || !has("no dumps") {
        could |= 8;
    }
    could
}

fn tract() -> Task {
    Task::Tract(crate::Config::default())
}

fn ort() -> Task {
    Task::OnnxRuntime(onnxruntime::Config {
        library: onnxruntime::library_of_tests(),
        threads: 1,
        device: onnxruntime::Device::Cpu,
    })
}

fn engine(mode: &str, task: Task) -> WorkerEngine {
    let limits = Limits {
        memory_bytes: 1 << 30,
        run_time_max: Duration::from_secs(20),
        ..Limits::default()
    };
    WorkerEngine::new(program(mode), task, limits)
}

fn file() -> Bytes {
    layer().file().into()
}

fn rows(n: u32) -> Vec<(String, Tensor)> {
    let values: Vec<f32> = (0..n * 3)
        .map(|value| f32::from(u8::try_from(value % 251).unwrap()))
        .collect();
    vec![("a".into(), Tensor::from_f32(vec![n, 3], &values).unwrap())]
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_worker_gives_the_bits_that_the_engine_gives_here() {
    if let Ok(mode) = std::env::var(MODE) {
        be_a_worker(&mode);
    }
    let here = TractEngine::default().load(file(), "m").unwrap();
    let there = engine("serve", tract()).load(file(), "m").unwrap();
    assert_eq!(there.inputs(), here.inputs());
    assert_eq!(there.outputs(), here.outputs());
    assert_eq!(there.abilities(), here.abilities());
    assert_eq!(there.metadata(), here.metadata());
    assert!(
        there
            .metadata()
            .contains(&("graph.parameters".into(), "8".into()))
    );
    for n in [1, 2, 7, 30_000] {
        let wanted = names(&["z", "y", "z"]);
        let expected = here.run(rows(n), &wanted).unwrap();
        assert_eq!(there.run(rows(n), &wanted).unwrap(), expected);
    }
}

#[test]
fn onnx_runtime_in_a_worker_agrees_with_the_embedded_engine() {
    let here = TractEngine::default().load(file(), "m").unwrap();
    let (there, confined) = engine("serve", ort()).load_confined(file(), "m").unwrap();
    assert!(
        confined.iter().any(|line| line.contains("memory")),
        "{confined:?}"
    );
    assert_eq!(there.inputs(), here.inputs());
    assert_eq!(there.outputs(), here.outputs());
    assert!(there.abilities().engine.starts_with("ONNX Runtime 1."));
    assert!(there.abilities().deterministic);
    let wanted = names(&["y", "z"]);
    let found = there.run(rows(5), &wanted).unwrap();
    for (found, expected) in found.iter().zip(here.run(rows(5), &wanted).unwrap()) {
        assert_eq!(found.shape(), expected.shape());
        let both = found
            .to_f32()
            .unwrap()
            .into_iter()
            .zip(expected.to_f32().unwrap());
        for (found, expected) in both {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn operands_are_refused_as_the_engine_here_refuses_them() {
    let here = TractEngine::default().load(file(), "m").unwrap();
    let there = engine("serve", tract()).load(file(), "m").unwrap();
    let wrong = |name: &str, tensor: Tensor| vec![(name.to_owned(), tensor)];
    let check = |inputs: Vec<(String, Tensor)>, outputs: &[&str]| {
        let error = there.run(inputs.clone(), &names(outputs)).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert_eq!(error, here.run(inputs, &names(outputs)).unwrap_err());
    };
    check(rows(1), &["nothing"]);
    check(Vec::new(), &["y"]);
    check(
        wrong("b", Tensor::from_f32(vec![1, 3], &[0.0; 3]).unwrap()),
        &["y"],
    );
    check(
        wrong("a", Tensor::from_f32(vec![3], &[0.0; 3]).unwrap()),
        &["y"],
    );
    check(
        wrong("a", Tensor::from_i32(vec![1, 3], &[0; 3]).unwrap()),
        &["y"],
    );
    assert!(there.run(rows(1), &names(&["y"])).is_ok());
}

#[test]
fn what_is_no_model_is_refused_by_either_engine() {
    for task in [tract(), ort()] {
        let engine = engine("serve", task);
        let error = engine
            .load(Bytes::from_static(b"no model"), "bad")
            .unwrap_err();
        assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
        let mut missing = layer();
        missing.nodes.remove(0);
        let error = engine.load(missing.file().into(), "bad").unwrap_err();
        assert!(error.to_string().starts_with("model `bad` is"), "{error}");
    }
}

#[test]
fn a_missing_library_is_the_operators_matter() {
    let task = Task::OnnxRuntime(onnxruntime::Config {
        library: "/nowhere/libonnxruntime.so".into(),
        threads: 1,
        device: onnxruntime::Device::Cpu,
    });
    let error = engine("serve", task).load(file(), "m").unwrap_err();
    assert!(matches!(error, LoadError::Engine { .. }), "{error}");
    assert!(
        error.to_string().contains("/nowhere/libonnxruntime.so"),
        "{error}"
    );
    let nowhere = Program {
        file: "/nowhere/rialto".into(),
        ..program("serve")
    };
    let engine = WorkerEngine::new(nowhere, tract(), Limits::default());
    let error = engine.load(file(), "m").unwrap_err();
    assert!(
        error.to_string().contains("no worker can be started"),
        "{error}"
    );
}

#[test]
fn a_worker_that_never_answers_is_ended_in_time() {
    let limits = Limits {
        load_time_max: Duration::from_millis(300),
        ..Limits::default()
    };
    let engine = WorkerEngine::new(program("silence"), tract(), limits);
    let start = Instant::now();
    let error = engine.load(file(), "slow").unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_worker_that_crashes_is_an_error_and_then_rests() {
    let engine = engine("abort", tract());
    for _ in 0..3 {
        let error = engine.load(file(), "bad").unwrap_err();
        assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("signal: 6"), "{error}");
    }
    let error = engine.load(file(), "bad").unwrap_err();
    assert!(matches!(error, LoadError::Engine { .. }), "{error}");
    assert!(
        error.to_string().contains("crashed several times in a row"),
        "{error}"
    );
    let mut other = layer();
    other.outputs.remove(1);
    let error = engine.load(other.file().into(), "other").unwrap_err();
    assert!(
        error.to_string().contains("signal: 6"),
        "another model does not rest: {error}"
    );
}

#[test]
fn nonsense_from_a_worker_is_an_error() {
    let error = engine("nonsense", tract()).load(file(), "bad").unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
}

#[test]
fn a_worker_cannot_do_what_it_gave_up() {
    let program = program("confined");
    let status = Command::new(&program.file)
        .args(&program.arguments)
        .envs(program.environment)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn a_worker_that_ended_between_runs_is_not_noticed() {
    let engine = engine("serve", tract());
    let (model, _) = WorkerModel::load(Arc::clone(&engine.setup), file(), "m").unwrap();
    let first = model.run(rows(2), &names(&["y"])).unwrap();
    let before = model.idle_processes();
    assert_eq!(before.len(), 1);
    let pid = rustix::process::Pid::from_raw(i32::try_from(before[0]).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    model.wait_for_idle_ends();
    assert_eq!(model.run(rows(2), &names(&["y"])).unwrap(), first);
    let after = model.idle_processes();
    assert_ne!(after, before);
    drop(model);
    let still_there = rustix::process::Pid::from_raw(i32::try_from(after[0]).unwrap())
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    assert!(!still_there, "a model that is dropped leaves no process");
}

#[test]
fn several_processes_of_one_model_answer_many_callers() {
    let limits = Limits {
        processes_max: 2,
        ..Limits::default()
    };
    let engine = WorkerEngine::new(program("serve"), tract(), limits);
    let (model, _) = WorkerModel::load(Arc::clone(&engine.setup), file(), "m").unwrap();
    let here = TractEngine::default().load(file(), "m").unwrap();
    std::thread::scope(|scope| {
        for n in 1..9 {
            let (model, here) = (&model, &here);
            scope.spawn(move || {
                for _ in 0..20 {
                    let wanted = names(&["y"]);
                    let expected = here.run(rows(n), &wanted).unwrap();
                    assert_eq!(model.run(rows(n), &wanted).unwrap(), expected);
                }
            });
        }
    });
    assert!(model.idle_processes().len() <= 2);
}

/// Adds one to `v` as often as `n` says: as long as a stranger wants.
pub(crate) fn counting_loop() -> Bytes {
    const GRAPH: u64 = 5;
    let one = tensor("one", F32, &[1], &1.0_f32.to_le_bytes());
    let body = Message::default()
        .message(1, &node("Identity", &["more"], "more_out", &[]))
        .message(1, &node("Add", &["sum", "one"], "sum_out", &[]))
        .bytes(2, b"body")
        .message(5, &one)
        .message(11, &value("step", I64, &[]))
        .message(11, &value("more", BOOL, &[]))
        .message(11, &value("sum", F32, &[Axis::Fixed(1)]))
        .message(12, &value("more_out", BOOL, &[]))
        .message(12, &value("sum_out", F32, &[Axis::Fixed(1)]));
    let body = Message::default()
        .bytes(1, b"body")
        .message(6, &body)
        .varint(20, GRAPH);
    let sample = Sample {
        nodes: vec![node("Loop", &["n", "", "v"], "y", &[body])],
        inputs: vec![value("n", I64, &[]), value("v", F32, &[Axis::Fixed(1)])],
        outputs: vec![value("y", F32, &[Axis::Fixed(1)])],
        ..Sample::default()
    };
    sample.file().into()
}

fn count(model: &dyn Model, n: i64) -> Result<Vec<Tensor>, RunError> {
    let inputs = vec![
        ("n".to_owned(), Tensor::from_i64(vec![], &[n]).unwrap()),
        ("v".to_owned(), Tensor::from_f32(vec![1], &[0.5]).unwrap()),
    ];
    model.run(inputs, &names(&["y"]))
}

#[test]
fn an_endless_loop_ends_a_worker_and_not_the_model() {
    let limits = Limits {
        run_time_max: Duration::from_secs(3),
        ..Limits::default()
    };
    let engine = WorkerEngine::new(program("serve"), ort(), limits);
    let model = engine.load(counting_loop(), "loop").unwrap();
    assert_eq!(count(&*model, 3).unwrap()[0].to_f32().unwrap(), [3.5]);
    let error = count(&*model, i64::MAX).unwrap_err();
    assert_eq!(error.kind(), Kind::Engine);
    assert!(
        error.to_string().contains("did not answer within 3.0 s"),
        "{error}"
    );
    assert_eq!(count(&*model, 4).unwrap()[0].to_f32().unwrap(), [4.5]);
}

#[test]
fn a_memory_bomb_is_an_error_and_the_model_goes_on() {
    let sample = Sample {
        nodes: vec![node("ConstantOfShape", &["shape"], "y", &[])],
        inputs: vec![value("shape", I64, &[Axis::Fixed(1)])],
        outputs: vec![value("y", F32, &[Axis::Named("n")])],
        ..Sample::default()
    };
    let model = engine("serve", ort())
        .load(sample.file().into(), "bomb")
        .unwrap();
    let run = |n: i64| {
        let shape = Tensor::from_i64(vec![1], &[n]).unwrap();
        model.run(vec![("shape".to_owned(), shape)], &names(&["y"]))
    };
    assert_eq!(run(4).unwrap()[0].shape(), [4]);
    // Four gigabytes, of the one that it may take; then a terabyte.
    for n in [1 << 30, 1 << 38] {
        let error = run(n).unwrap_err();
        assert!(
            matches!(error.kind(), Kind::Engine | Kind::OutOfBudget),
            "{error}"
        );
        assert_eq!(run(5).unwrap()[0].shape(), [5]);
    }
}

#[test]
fn random_operators_run_and_are_not_called_deterministic() {
    let sample = Sample {
        nodes: vec![node("RandomUniformLike", &["x"], "y", &[])],
        ..Sample::one("Neg", &["x"], &[])
    };
    let model = engine("serve", ort())
        .load(sample.file().into(), "dice")
        .unwrap();
    assert!(!model.abilities().deterministic);
    let refused = engine("serve", tract()).load(sample.file().into(), "dice");
    assert!(matches!(refused, Err(LoadError::Unsupported { .. })));
}

#[test]
fn every_element_type_passes_through_onnx_runtime() {
    let elements = [
        (1, 4),
        (10, 2),
        (16, 2),
        (7, 8),
        (6, 4),
        (3, 1),
        (2, 1),
        (9, 1),
    ];
    for (onnx, size) in elements {
        let sample = Sample {
            nodes: vec![node("Identity", &["x"], "y", &[])],
            inputs: vec![value("x", onnx, &[Axis::Named("n"), Axis::Fixed(2)])],
            outputs: vec![value("y", onnx, &[Axis::Named("n"), Axis::Fixed(2)])],
            ..Sample::default()
        };
        let model = engine("serve", ort())
            .load(sample.file().into(), "copy")
            .unwrap();
        let element = model.inputs()[0].element;
        assert_eq!(element.size_bytes(), size);
        let bytes: Vec<u8> = (0..6 * size)
            .map(|place| u8::from(place % 2 == 0))
            .collect();
        let x = Tensor::new(element, vec![3, 2], bytes.into()).unwrap();
        let y = model.run(vec![("x".to_owned(), x.clone())], &names(&["y"]));
        assert_eq!(y.unwrap(), [x]);
    }
    let strings = Sample {
        inputs: vec![value("x", 8, &[Axis::Fixed(1)])],
        outputs: vec![value("y", 8, &[Axis::Fixed(1)])],
        ..Sample::one("Identity", &["x"], &[])
    };
    let refused = engine("serve", ort()).load(strings.file().into(), "text");
    assert!(
        matches!(refused, Err(LoadError::Unsupported { .. })),
        "{refused:?}"
    );
}
