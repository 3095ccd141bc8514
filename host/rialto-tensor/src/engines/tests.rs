//! Which engine runs a model, and what stops one.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    Choice, Config, Engines, State,
    agree::{self, Comparison},
    survey,
    verdicts::Verdicts,
};
use crate::{
    Abilities, Engine, LoadError, Model, Port, RunError, Tensor, TractEngine, onnxruntime,
    tract::{ENGINE, sample::layer},
    worker::{
        Limits,
        tests::{counting_loop, program},
    },
};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        Self(std::env::temp_dir().join(format!("rialto-{name}-{}-{now}", std::process::id())))
    }

    fn texts(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(mode: &str, folder: &Folder) -> Config {
    Config {
        worker: Some(program(mode)),
        library: Some(onnxruntime::library_of_tests()),
        threads: Some(1),
        verdicts: Some(folder.0.clone()),
        limits: Limits {
            load_time_max: Duration::from_secs(20),
            ..Limits::default()
        },
        ..Config::default()
    }
}

fn file() -> Bytes {
    layer().file().into()
}

fn load(config: Config) -> Result<Arc<dyn Model>, LoadError> {
    Engines::new(config).unwrap().load(file(), "m")
}

#[test]
fn onnx_runtime_runs_what_both_engines_agree_on() {
    let folder = Folder::new("agree");
    let model = load(config("serve", &folder)).unwrap();
    assert!(model.abilities().engine.starts_with("ONNX Runtime "));
    let texts = folder.texts();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("agrees within "), "{texts:?}");
}

#[test]
fn a_verdict_against_an_engine_holds_after_a_restart() {
    let folder = Folder::new("differ");
    drop(load(config("serve", &folder)).unwrap());
    let kept = std::fs::read_dir(&folder.0)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::write(kept.path(), "differs: output `y` is 7 instead of 0\n").unwrap();
    let model = load(config("serve", &folder)).unwrap();
    assert_eq!(model.abilities().engine, ENGINE, "the other engine");
    let strict = Config {
        choice: Choice::OnnxRuntime,
        ..config("serve", &folder)
    };
    let error = load(strict).unwrap_err().to_string();
    assert!(
        error.contains("is not trusted with it: output `y` is 7"),
        "{error}"
    );
    std::fs::write(kept.path(), "differs: half a verd").unwrap();
    let model = load(config("serve", &folder)).unwrap();
    assert!(
        model.abilities().engine.starts_with("ONNX Runtime "),
        "torn files do not count"
    );
}

#[test]
fn deterministic_means_one_engine_whatever_is_installed() {
    let folder = Folder::new("deterministic");
    let fixed = Config {
        deterministic: true,
        ..config("serve", &folder)
    };
    assert_eq!(load(fixed.clone()).unwrap().abilities().engine, ENGINE);
    let named = Config {
        choice: Choice::OnnxRuntime,
        threads: None,
        ..fixed
    };
    let (one, other) = (load(named.clone()).unwrap(), load(named).unwrap());
    assert!(one.abilities().engine.starts_with("ONNX Runtime "));
    assert!(one.abilities().deterministic);
    assert_eq!(one.abilities(), other.abilities());
}

#[test]
fn only_what_came_through_a_worker_is_loaded_here() {
    let folder = Folder::new("vet");
    let with = |mode: &str| Config {
        choice: Choice::Embedded,
        limits: Limits {
            load_time_max: Duration::from_millis(300),
            ..Limits::default()
        },
        ..config(mode, &folder)
    };
    let error = load(with("silence")).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
    let error = load(with("abort")).unwrap_err();
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
    let trusted = Config {
        vet: false,
        ..with("abort")
    };
    assert!(load(trusted).is_ok());
    let patient = Config {
        limits: Limits::default(),
        ..with("serve")
    };
    assert!(load(patient).is_ok());
    assert_eq!(folder.texts(), ["passed\n"]);
    assert!(load(with("abort")).is_ok(), "nobody asks a second time");
}

#[test]
fn the_embedded_engine_can_stay_in_workers() {
    let folder = Folder::new("isolate");
    let apart = |mode: &str| Config {
        choice: Choice::Embedded,
        isolate: true,
        ..config(mode, &folder)
    };
    let here = TractEngine::default().load(file(), "m").unwrap();
    let there = load(apart("serve")).unwrap();
    assert_eq!(there.abilities(), here.abilities());
    assert!(load(apart("abort")).is_err());
    let nobody = Config {
        worker: None,
        ..apart("serve")
    };
    let error = Engines::new(nobody).unwrap_err().to_string();
    assert!(error.contains("needs a worker program"), "{error}");
}

#[test]
fn a_model_that_only_one_engine_knows_runs_there() {
    let folder = Folder::new("alone");
    let engines = Engines::new(config("serve", &folder)).unwrap();
    let model = engines.load(counting_loop(), "loop").unwrap();
    assert!(model.abilities().engine.starts_with("ONNX Runtime "));
    assert_eq!(folder.texts(), ["alone\n"]);
}

#[test]
fn what_is_asked_for_by_name_must_be_there() {
    let folder = Folder::new("named");
    let missing = Config {
        library: Some("/nowhere/libonnxruntime.so".into()),
        ..config("serve", &folder)
    };
    let error = Engines::new(missing).unwrap_err().to_string();
    assert!(error.contains("/nowhere/libonnxruntime.so"), "{error}");
    let nobody = Config {
        worker: None,
        choice: Choice::OnnxRuntime,
        ..config("serve", &folder)
    };
    assert!(Engines::new(nobody).is_err());
    let nobody = Config {
        worker: None,
        ..config("serve", &folder)
    };
    assert_eq!(load(nobody).unwrap().abilities().engine, ENGINE);
}

#[test]
fn a_survey_names_what_is_here_and_what_to_do_for_more() {
    let folder = Folder::new("survey");
    let found = survey(&config("serve", &folder));
    assert_eq!(found.len(), 3);
    let works =
        |place: usize| matches!(&found[place].state, State::Works { gflops, .. } if *gflops > 0.01);
    assert!(works(0) && works(1), "{found:?}");
    assert_eq!(found[0].engine, ENGINE);
    assert!(found[1].engine.starts_with("ONNX Runtime "));
    assert_eq!(found[2].device, "cuda:0");
    let State::Missing { reason } = &found[2].state else {
        panic!("the tests' library has no CUDA: {found:?}");
    };
    assert!(reason.contains("onnxruntime-gpu"), "{reason}");
}

/// A model whose first output is off.
#[derive(Debug)]
struct Skewed {
    model: Arc<dyn Model>,
    by: f32,
}

impl Model for Skewed {
    fn inputs(&self) -> &[Port] {
        self.model.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.model.outputs()
    }

    fn abilities(&self) -> &Abilities {
        self.model.abilities()
    }

    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        names: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        let mut outputs = self.model.run(inputs, names)?;
        let shape = outputs[0].shape().to_vec();
        let mut values = outputs[0].to_f32().unwrap();
        values[0] += self.by;
        outputs[0] = Tensor::from_f32(shape, &values).unwrap();
        Ok(outputs)
    }
}

#[test]
fn an_engine_that_is_off_is_found_out() {
    let model = TractEngine::default().load(file(), "m").unwrap();
    let skewed = |by| Skewed {
        model: Arc::clone(&model),
        by,
    };
    assert_eq!(
        agree::compare(&*model, &*model),
        Comparison::Agree { difference: 0.0 }
    );
    assert!(matches!(
        agree::compare(&skewed(1e-5), &*model),
        Comparison::Agree { difference } if difference > 1e-6
    ));
    for by in [0.1, f32::NAN] {
        let Comparison::Differ(reason) = agree::compare(&skewed(by), &*model) else {
            panic!("off by {by}");
        };
        assert!(reason.starts_with("output `y` is "), "{reason}");
    }
}

#[test]
fn verdicts_are_of_one_file_and_one_circumstance() {
    let (one, other) = (
        Verdicts::key(&["a", "b"], b"1"),
        Verdicts::key(&["ab"], b"1"),
    );
    assert_ne!(one, other);
    assert_ne!(one, Verdicts::key(&["a", "b"], b"2"));
    assert_eq!(one, Verdicts::key(&["a", "b"], b"1"));
}
