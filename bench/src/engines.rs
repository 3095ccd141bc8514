//! What engines make of models: the embedded one and ONNX Runtime in a worker, beside ONNX Runtime in
//! Python on the same file, inputs and number of threads; and what runs done together gain.
//!
//! In turns, so that all meet the same machine. A worker's figures have the way to it and back.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rialto_tensor::engines::seeded_inputs;
use rialto_tensor::onnxruntime::{self, Device};
use rialto_tensor::worker::{self, Limits, Program, Task, WorkerEngine};
use rialto_tensor::{Engine, Model, Tensor, TractEngine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::places::path_from_env;
use crate::plot::{Line, Plot};
use crate::report::Target;
use crate::spread::Spread;
use crate::table;

/// The word that makes this program a worker.
pub(crate) const WORKER: &str = "engine-worker";

/// Serves as a worker for a model.
pub(crate) fn serve() -> ExitCode {
    worker::serve()
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    runs: Vec<Runs>,
    batches: Vec<Batch>,
    /// Texts of sixteen different lengths, done together by each alone, in runs a second.
    mixed: Vec<Mixed>,
}

/// One model with one thread, in microseconds a run.
#[derive(Debug, Serialize)]
struct Runs {
    model: &'static str,
    python_us: Spread,
    embedded_us: Spread,
    worker_us: Spread,
    embedded_by_python: Spread,
    worker_by_python: Spread,
}

/// So many runs of one model at once.
#[derive(Debug, Serialize)]
struct Batch {
    engine: &'static str,
    size: usize,
    /// Until all have their answer, in milliseconds.
    latency_ms: Spread,
    per_second: Spread,
}

#[derive(Debug, Serialize)]
struct Mixed {
    engine: &'static str,
    joined_by_alone: Spread,
}

struct Case {
    name: &'static str,
    sha256: &'static str,
    extent: u32,
}

const CASES: [Case; 6] = [
    case(
        "file type (magika)",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        64,
    ),
    case(
        "sentences (MiniLM-L6, int8)",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        64,
    ),
    case("sentences (MiniLM-L3, fp32)", SENTENCES, 64),
    case(
        "text detection (PP-OCRv4)",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        224,
    ),
    case(
        "text recognition (PP-OCRv4)",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        64,
    ),
    case(
        "notes (basic-pitch)",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
        64,
    ),
];

const fn case(name: &'static str, sha256: &'static str, extent: u32) -> Case {
    Case {
        name,
        sha256,
        extent,
    }
}

/// The model whose runs are joined: a transformer that does not quantise by its whole input.
const SENTENCES: &str = "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16";

/// Runs at once.
const SIZES: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Tokens of each text where all are equally long.
const TOKENS: u32 = 24;

/// How long a candidate is timed in a round.
const WINDOW_US: f64 = 150_000.0;

type Inputs = Vec<(String, Tensor)>;

/// Measures.
///
/// # Errors
/// A model, the library or Python is missing, or a run fails.
pub(crate) fn measure(rounds: u32, only: Option<&str>) -> Result<Found> {
    let mut python = Python::start()?;
    let library = python.library.clone();
    let embedded = TractEngine::default();
    let worker = WorkerEngine::new(
        Program {
            file: std::env::current_exe()?,
            arguments: vec![WORKER.into()],
            environment: Vec::new(),
        },
        Task::OnnxRuntime(onnxruntime::Config {
            library,
            threads: 1,
            device: Device::Cpu,
        }),
        Limits::default(),
    );
    let mut runs = Vec::new();
    let wanted = |case: &&Case| only.is_none_or(|name| case.name.contains(name));
    for case in CASES.iter().filter(wanted) {
        table::say(&format!("{} …", case.name));
        let file = file_of(case.sha256)?;
        let bytes = Bytes::from(std::fs::read(&file)?);
        let embedded = embedded.load(bytes.clone(), case.name)?;
        let worker = worker.load(bytes, case.name)?;
        let inputs = seeded_inputs(
            embedded.as_ref(),
            |_, axis| {
                if axis == 0 { 1 } else { case.extent }
            },
        );
        let inputs = inputs.context("its inputs are too large")?;
        python.load(case.name, &file, &inputs)?;
        runs.push(compare(
            case.name,
            &mut python,
            [&*embedded, &*worker],
            &inputs,
            rounds,
        )?);
    }
    let bytes = Bytes::from(std::fs::read(file_of(SENTENCES)?)?);
    let engines = [
        ("embedded", embedded.load(bytes.clone(), "sentences")?),
        ("ONNX Runtime", worker.load(bytes, "sentences")?),
    ];
    let (mut batches, mut mixed) = (Vec::new(), Vec::new());
    for (engine, model) in engines.into_iter().filter(|_| only.is_none()) {
        table::say(&format!("runs together, {engine} …"));
        for size in SIZES {
            batches.push(batch(engine, model.as_ref(), size, rounds)?);
        }
        let (together, alone) = mixed_rates(model.as_ref(), rounds)?;
        mixed.push(Mixed {
            engine,
            joined_by_alone: Spread::ratio(&together, &alone),
        });
    }
    Ok(Found {
        runs,
        batches,
        mixed,
    })
}

fn compare(
    model: &'static str,
    python: &mut Python,
    engines: [&dyn Model; 2],
    inputs: &Inputs,
    rounds: u32,
) -> Result<Runs> {
    let [embedded, worker] = engines;
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        let times = [
            python.time(model)?,
            time(embedded, inputs)?,
            time(worker, inputs)?,
        ];
        // The first round warms up: engines plan for each shape.
        if round > 0 {
            for (column, time) in columns.iter_mut().zip(times) {
                column.push(time);
            }
        }
    }
    let [python, embedded, worker] = columns;
    Ok(Runs {
        model,
        embedded_by_python: Spread::ratio(&embedded, &python),
        worker_by_python: Spread::ratio(&worker, &python),
        python_us: Spread::of(python),
        embedded_us: Spread::of(embedded),
        worker_us: Spread::of(worker),
    })
}

/// Microseconds of a run.
fn time(model: &dyn Model, inputs: &Inputs) -> Result<f64> {
    let outputs: Vec<String> = model
        .outputs()
        .iter()
        .map(|port| port.name.clone())
        .collect();
    let once = |times: u32| -> Result<f64> {
        let started = Instant::now();
        for _ in 0..times {
            model.run(inputs.clone(), &outputs)?;
        }
        Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(times))
    };
    once(times_for(once(1)?))
}

/// How many runs of so many microseconds fill the window.
fn times_for(us: f64) -> u32 {
    let times = (WINDOW_US / us.max(1.0)).clamp(1.0, 2_000.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 2,000"
    )]
    let times = times as u32;
    times
}

fn batch(engine: &'static str, model: &dyn Model, size: usize, rounds: u32) -> Result<Batch> {
    let runs: Vec<Inputs> = (1..).map(|seed| text(TOKENS, seed)).take(size).collect();
    let (mut latency, mut rates) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let took = together(model, &runs)?;
        if round > 0 {
            latency.push(took * 1e3);
            rates.push(count(size) / took);
        }
    }
    Ok(Batch {
        engine,
        size,
        latency_ms: Spread::of(latency),
        per_second: Spread::of(rates),
    })
}

/// Runs a second of texts of different lengths: joined, and each alone.
fn mixed_rates(model: &dyn Model, rounds: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let lengths = (17..=32_u32).zip(100..);
    let runs: Vec<Inputs> = lengths.map(|(length, seed)| text(length, seed)).collect();
    let outputs = outputs(model);
    let (mut joined, mut alone) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let took = together(model, &runs)?;
        let started = Instant::now();
        for inputs in &runs {
            model.run(inputs.clone(), &outputs)?;
        }
        if round > 0 {
            joined.push(count(runs.len()) / took);
            alone.push(count(runs.len()) / started.elapsed().as_secs_f64());
        }
    }
    Ok((joined, alone))
}

/// Seconds until joined runs are done, over a window's repetitions.
fn together(model: &dyn Model, runs: &[Inputs]) -> Result<f64> {
    let outputs = outputs(model);
    let window = Duration::from_secs_f64(WINDOW_US / 1e6);
    let (started, mut times) = (Instant::now(), 0_u32);
    while started.elapsed() < window {
        for result in model.run_joined(runs.to_vec(), &outputs) {
            result?;
        }
        times += 1;
    }
    Ok(started.elapsed().as_secs_f64() / f64::from(times))
}

fn outputs(model: &dyn Model) -> Vec<String> {
    let first = model.outputs().first();
    first.map(|port| port.name.clone()).into_iter().collect()
}

/// A text of so many tokens, each seed another.
fn text(tokens: u32, seed: u32) -> Inputs {
    let ids: Vec<i64> = (0..tokens)
        .map(|at| i64::from((at * 7_919 + seed * 104_729) % 30_000))
        .collect();
    let ones = vec![1; ids.len()];
    let row = |values: &[i64]| Tensor::from_i64(vec![1, tokens], values);
    let named = |name: &str, values: &[i64]| Some((name.to_owned(), row(values).ok()?));
    let inputs = [named("input_ids", &ids), named("attention_mask", &ones)];
    inputs.into_iter().flatten().collect()
}

fn count(size: usize) -> f64 {
    f64::from(u32::try_from(size).unwrap_or(u32::MAX))
}

/// What is to be reached.
pub(crate) fn targets(found: &Found) -> Vec<Target> {
    let runs = found.runs.iter().flat_map(|runs| {
        let name = runs.model;
        [
            Target::most(
                format!("{name}: embedded engine by ONNX Runtime in Python, 1 thread"),
                EMBEDDED_MAX,
                runs.embedded_by_python,
            ),
            Target::most(
                format!("{name}: ONNX Runtime in a worker by the same in Python"),
                WORKER_MAX,
                runs.worker_by_python,
            ),
        ]
    });
    let mixed = found.mixed.iter().map(|mixed| {
        Target::least(
            format!("texts of 16 lengths joined by each alone, {}", mixed.engine),
            JOINED_MIN,
            mixed.joined_by_alone,
        )
    });
    runs.chain(mixed).collect()
}

const EMBEDDED_MAX: f64 = 1.5;
const WORKER_MAX: f64 = 1.02;
const JOINED_MIN: f64 = 1.3;

/// Prints the figures.
pub(crate) fn print(found: &Found) {
    for runs in &found.runs {
        table::say(&format!(
            "{}: microseconds a run with one thread: Python {}, worker {}, embedded {}",
            runs.model, runs.python_us, runs.worker_us, runs.embedded_us
        ));
    }
    for batch in &found.batches {
        table::say(&format!(
            "{}, {} at once: {} ms, {} runs a second",
            batch.engine, batch.size, batch.latency_ms, batch.per_second
        ));
    }
}

/// Draws latency against batch.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn draw(found: &Found, folder: &Path) -> Result<()> {
    let line = |engine: &'static str| Line {
        name: engine.to_owned(),
        points: found
            .batches
            .iter()
            .filter(|batch| batch.engine == engine)
            .map(|batch| (count(batch.size), batch.latency_ms))
            .collect(),
    };
    Plot {
        title: "Latency against batch (MiniLM-L3, 24 tokens, one thread)",
        across: "runs done as one",
        up: "milliseconds until all have their answer",
        lines: vec![line("embedded"), line("ONNX Runtime")],
    }
    .draw(&folder.join("latency-by-batch.svg"))
}

fn file_of(sha256: &str) -> Result<PathBuf> {
    let stored = path_from_env("RIALTO_ARTIFACTS")?.join(sha256);
    if stored.exists() {
        return Ok(stored);
    }
    let fetched = path_from_env("RIALTO_ASSETS")?.join("models").join(sha256);
    ensure!(
        fetched.exists(),
        "the model {sha256} is not here: `cargo xtask bench` fetches it"
    );
    Ok(fetched)
}

/// ONNX Runtime in Python, in a process of its own.
struct Python {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    library: PathBuf,
}

#[derive(Deserialize)]
struct Hello {
    library: PathBuf,
}

#[derive(Deserialize)]
struct Timed {
    us: f64,
}

impl Python {
    fn start() -> Result<Self> {
        let mut process = Command::new(path_from_env("RIALTO_VENV")?.join("bin/python3"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("engines.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("Python does not start")?;
        let input = process.stdin.take().context("no input")?;
        let output = process.stdout.take().context("no output")?;
        let mut python = Self {
            process,
            input,
            output: BufReader::new(output),
            library: PathBuf::new(),
        };
        python.library = serde_json::from_value::<Hello>(python.answer()?)?.library;
        Ok(python)
    }

    fn load(&mut self, name: &str, file: &Path, inputs: &Inputs) -> Result<()> {
        let inputs: Vec<Value> = inputs
            .iter()
            .map(|(name, tensor)| {
                let data = STANDARD.encode(tensor.data());
                let of = tensor.element().to_string();
                json!({ "name": name, "type": of, "shape": tensor.shape(), "data": data })
            })
            .collect();
        let request = json!({ "load": name, "file": file, "inputs": inputs, "threads": 1 });
        self.ask(&request).map(drop)
    }

    /// Microseconds of a run.
    fn time(&mut self, name: &str) -> Result<f64> {
        let once = self.ask(&json!({ "run": name, "times": 1 }))?;
        self.ask(&json!({ "run": name, "times": times_for(once) }))
    }

    fn ask(&mut self, request: &Value) -> Result<f64> {
        writeln!(self.input, "{request}")?;
        Ok(serde_json::from_value::<Timed>(self.answer()?)?.us)
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "Python ended: is onnxruntime installed?");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
