//! Which models run on the device for tensor operations.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{Choice, Config, Engines, SetupError, State, agree, survey};
use crate::{
    CpuDevice, Engine, GraphEngine, LoadError, Model, Tensor,
    onnxruntime::{self, Device as Place},
    ops::{Cancel, Device, DeviceAbilities, EvalError, Program, Resident},
    tract::{ENGINE, sample::layer},
    worker::{
        Limits, Task, WorkerEngine,
        tests::{counting_loop, program},
    },
};

/// A device that computes as the processor does, but for an error that it adds to every result.
#[derive(Debug)]
struct Elsewhere {
    cpu: CpuDevice,
    full: AtomicBool,
    off_by: f32,
    pause: Duration,
    runs: AtomicU32,
}

impl Elsewhere {
    fn new(off_by: f32, pause: Duration) -> Arc<Self> {
        Arc::new(Self {
            cpu: CpuDevice::new(1, 1 << 30),
            full: AtomicBool::new(false),
            off_by,
            pause,
            runs: AtomicU32::new(0),
        })
    }
}

impl Device for Elsewhere {
    fn name(&self) -> &str {
        "elsewhere"
    }

    fn abilities(&self) -> &DeviceAbilities {
        self.cpu.abilities()
    }

    fn memory_bytes_max(&self) -> u64 {
        self.cpu.memory_bytes_max()
    }

    fn upload(&self, tensor: Tensor) -> Result<Resident, EvalError> {
        self.cpu.upload(tensor)
    }

    fn download(&self, resident: &Resident) -> Result<Tensor, EvalError> {
        let tensor = self.cpu.download(resident)?;
        let Some(mut values) = tensor.to_f32() else {
            return Ok(tensor);
        };
        for value in &mut values {
            *value += self.off_by;
        }
        Ok(Tensor::from_f32(tensor.shape().to_vec(), &values).unwrap())
    }

    fn run(
        &self,
        program: &Program,
        inputs: &[Resident],
        cancel: &Cancel,
    ) -> Result<Vec<Resident>, EvalError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(EvalError::Memory {
                needed: 1,
                used: 1,
                limit: 1,
            });
        }
        self.runs.fetch_add(1, Ordering::Relaxed);
        let end = std::time::Instant::now() + self.pause;
        let results = self.cpu.run(program, inputs, cancel);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        results
    }
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        Self(
            std::env::temp_dir().join(format!("rialto-device-{name}-{}-{now}", std::process::id())),
        )
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

fn config(folder: &Folder, device: &Arc<Elsewhere>) -> Config {
    Config {
        choice: Choice::Gpu,
        accelerator: Some(Arc::<Elsewhere>::clone(device)),
        worker: Some(program("serve")),
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

fn load(config: Config, file: Bytes) -> Result<Arc<dyn Model>, LoadError> {
    Engines::new(config).unwrap().load(file, "m")
}

fn file() -> Bytes {
    layer().file().into()
}

#[test]
fn what_agrees_runs_on_the_device_and_is_compared_once() {
    let (folder, device) = (Folder::new("agrees"), Elsewhere::new(0.0, Duration::ZERO));
    let model = load(config(&folder, &device), file()).unwrap();
    assert_eq!(model.abilities().device, "elsewhere");
    assert!(model.abilities().engine.starts_with("rialto graph "));
    assert!(
        folder.texts()[0].starts_with("agrees within "),
        "{:?}",
        folder.texts()
    );
    assert!(device.runs.swap(0, Ordering::Relaxed) > 0);
    load(config(&folder, &device), file()).unwrap();
    assert_eq!(
        device.runs.load(Ordering::Relaxed),
        0,
        "the verdict was kept"
    );
}

#[test]
fn what_differs_runs_on_the_processor() {
    let (folder, device) = (Folder::new("differs"), Elsewhere::new(0.5, Duration::ZERO));
    let model = load(config(&folder, &device), file()).unwrap();
    assert_ne!(model.abilities().device, "elsewhere");
    let differs = folder
        .texts()
        .into_iter()
        .find(|text| text.starts_with("differs: output"));
    assert!(differs.is_some(), "{:?}", folder.texts());
    let strict = Config {
        deterministic: true,
        ..config(&folder, &device)
    };
    let error = load(strict, file()).unwrap_err().to_string();
    assert!(
        error.contains("elsewhere is not used for it: output"),
        "{error}"
    );
}

#[test]
fn a_device_that_is_full_is_no_verdict() {
    let (folder, device) = (Folder::new("full"), Elsewhere::new(0.0, Duration::ZERO));
    device.full.store(true, Ordering::Relaxed);
    let model = load(config(&folder, &device), file()).unwrap();
    assert_ne!(model.abilities().device, "elsewhere");
    device.full.store(false, Ordering::Relaxed);
    let model = load(config(&folder, &device), file()).unwrap();
    assert_eq!(model.abilities().device, "elsewhere");
}

#[test]
fn what_is_slower_there_stays_here_unless_it_is_named() {
    let (folder, device) = (
        Folder::new("slower"),
        Elsewhere::new(0.0, Duration::from_millis(50)),
    );
    let free = Config {
        choice: Choice::Auto,
        ..config(&folder, &device)
    };
    let model = load(free, file()).unwrap();
    assert_ne!(model.abilities().device, "elsewhere");
    assert!(
        folder
            .texts()
            .iter()
            .any(|text| text.contains("on the processor")),
        "{:?}",
        folder.texts()
    );
    let model = load(config(&folder, &device), file()).unwrap();
    assert_eq!(model.abilities().device, "elsewhere");
}

#[test]
fn what_the_device_does_not_cover_runs_on_the_processor() {
    let (folder, device) = (Folder::new("covers"), Elsewhere::new(0.0, Duration::ZERO));
    let model = load(config(&folder, &device), counting_loop()).unwrap();
    assert!(model.abilities().engine.starts_with("ONNX Runtime "));
    assert_eq!(device.runs.load(Ordering::Relaxed), 0);
}

#[test]
fn who_asks_for_equal_bits_or_for_separation_gets_no_device_unasked() {
    let (folder, device) = (Folder::new("unasked"), Elsewhere::new(0.0, Duration::ZERO));
    let free = || Config {
        choice: Choice::Auto,
        ..config(&folder, &device)
    };
    for config in [
        Config {
            deterministic: true,
            ..free()
        },
        Config {
            isolate: true,
            ..free()
        },
        Config {
            choice: Choice::Embedded,
            ..free()
        },
        Config {
            choice: Choice::OnnxRuntime,
            ..free()
        },
    ] {
        assert_eq!(load(config, file()).unwrap().abilities().device, "cpu");
    }
    assert_eq!(device.runs.load(Ordering::Relaxed), 0);
    let nothing = Config {
        accelerator: None,
        ..config(&folder, &device)
    };
    assert!(matches!(
        Engines::new(nothing),
        Err(SetupError::NoAccelerator)
    ));
}

#[test]
fn a_survey_measures_the_device_too() {
    let (folder, device) = (Folder::new("survey"), Elsewhere::new(0.0, Duration::ZERO));
    let found = survey(&config(&folder, &device));
    assert_eq!(found.len(), 4);
    assert_eq!(
        (found[0].engine.as_str(), found[1].device.as_str()),
        (ENGINE, "elsewhere")
    );
    assert!(
        matches!(found[1].state, State::Works { gflops, .. } if gflops > 0.01),
        "{found:?}"
    );
}

/// Every model that services name.
const MODELS: [(&str, &str); 9] = [
    (
        "magika",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    ),
    (
        "minilm",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    ),
    (
        "silero, 16 kHz",
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    ),
    (
        "detect",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    ),
    (
        "recognise",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
    ),
    (
        "direction",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    (
        "orientation",
        "2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
    ),
    (
        "nsfw",
        "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8",
    ),
    (
        "notes",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
    ),
];

fn graph_engine() -> GraphEngine {
    let cpu = || Arc::new(CpuDevice::new(1, 1 << 30));
    GraphEngine::new(cpu(), cpu(), crate::Config::default())
}

fn runtime() -> WorkerEngine {
    let task = Task::OnnxRuntime(onnxruntime::Config {
        library: onnxruntime::library_of_tests(),
        threads: 1,
        device: Place::Cpu,
    });
    WorkerEngine::new(program("serve"), task, Limits::default())
}

#[test]
fn every_model_of_a_service_equals_onnx_runtime() {
    let (engine, runtime) = (graph_engine(), runtime());
    for (name, digest) in MODELS {
        let file = crate::tract::real::file(digest);
        let model = engine.load(file.clone(), name).unwrap();
        let reference = runtime.load(file, name).unwrap();
        let comparison = agree::compare(model.as_ref(), reference.as_ref());
        assert!(
            matches!(comparison, agree::Comparison::Agree { difference } if difference < 1.5e-3),
            "{name}: {comparison:?}"
        );
    }
}

#[test]
fn a_model_whose_branch_the_sampling_rate_decides_equals_onnx_runtime() {
    let file = crate::tract::real::file(SILERO);
    let model = graph_engine().load(file.clone(), "silero").unwrap();
    let reference = runtime().load(file, "silero").unwrap();
    let names = ["output".to_owned(), "stateN".to_owned()];
    for (rate, window) in [(16_000, 576_u16), (8_000, 288), (16_000, 576)] {
        let wave: Vec<f32> = (0..window)
            .map(|place| (f32::from(place) / 9.0).sin() / 2.0)
            .collect();
        let inputs = vec![
            (
                "input".to_owned(),
                Tensor::from_f32(vec![1, u32::from(window)], &wave).unwrap(),
            ),
            ("sr".to_owned(), Tensor::from_i64(vec![], &[rate]).unwrap()),
            (
                "state".to_owned(),
                Tensor::from_f32(vec![2, 1, 128], &[0.25; 256]).unwrap(),
            ),
        ];
        let found = model.run(inputs.clone(), &names).unwrap();
        let expected = reference.run(inputs, &names).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.shape(), expected.shape());
            let pairs = found
                .to_f32()
                .unwrap()
                .into_iter()
                .zip(expected.to_f32().unwrap());
            for (found, expected) in pairs {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{found} instead of {expected} at {rate}"
                );
            }
        }
    }
}

/// Its one branch is for 16 kHz, the other one for 8 kHz.
const SILERO: &str = "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28";
