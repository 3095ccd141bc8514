//! Runs models on every engine, with the same seeded inputs, and keeps inputs and outputs for whoever
//! compares them: `cargo xtask models` does, with ONNX Runtime in Python.
//!
//! `cells OUT LIBRARY MODEL..`, a model being `name=file[,input@2x1x128][,input:16000]`: extents or a
//! single value for an input that would otherwise be chosen. What happened comes as JSON on the standard
//! output. `cells overhead LIBRARY` measures what a worker adds to a run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use rialto_gpu::{GpuDevice, INSTALL, Wanted};
use rialto_tensor::{
    CpuDevice, Element, Engine, GraphEngine, Model, Tensor, TractEngine,
    engines::{EXTENTS, seeded_inputs},
    onnxruntime::{self, Device},
    worker::{self, Limits, Program, Task, WorkerEngine},
};
use serde_json::{Value, json};

/// Mesa's software Vulkan: it is everywhere, and computes as slowly everywhere.
const SOFTWARE: &str = "llvmpipe";

type Failure = Box<dyn std::error::Error>;
type Inputs = Vec<(String, Tensor)>;

const WORKER: &str = "engine-worker";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [word] if word == WORKER => return worker::serve(),
        [word, library] if word == "overhead" => overhead(library),
        [out, library, models @ ..] => cells(Path::new(out), library, models),
        _ => Err("cells OUT LIBRARY MODEL.. | cells overhead LIBRARY".into()),
    };
    match result {
        Ok(value) => {
            #[expect(clippy::print_stdout, reason = "it is this program's result")]
            {
                println!("{value:#}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "somebody reads why it failed")]
            {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn engine(task: Task) -> Result<WorkerEngine, Failure> {
    let program = Program {
        file: std::env::current_exe()?,
        arguments: vec![WORKER.into()],
        environment: Vec::new(),
    };
    let limits = Limits {
        load_time_max: Duration::from_secs(120),
        run_time_max: Duration::from_secs(120),
        ..Limits::default()
    };
    Ok(WorkerEngine::new(program, task, limits))
}

fn onnx_runtime(library: &str) -> Result<WorkerEngine, Failure> {
    engine(Task::OnnxRuntime(onnxruntime::Config {
        library: PathBuf::from(library),
        threads: 1,
        device: Device::Cpu,
    }))
}

fn cells(out: &Path, library: &str, models: &[String]) -> Result<Value, Failure> {
    let runtime = onnx_runtime(library)?;
    let embedded = engine(Task::Tract(rialto_tensor::Config::default()))?;
    let cpu = || Arc::new(CpuDevice::new(1, 2 << 30));
    let on_cpu = GraphEngine::new(cpu(), cpu(), rialto_tensor::Config::default());
    let card = rialto_gpu::Config {
        adapter: Wanted::Named(SOFTWARE.to_owned()),
        ..rialto_gpu::Config::default()
    };
    let card = GpuDevice::open(card, cpu()).map_err(|error| format!("{error}; {INSTALL}"))?;
    let on_card = GraphEngine::new(Arc::new(card), cpu(), rialto_tensor::Config::default());
    let engines: [(&str, &dyn Engine); 4] = [
        ("onnxruntime", &runtime),
        ("tract", &embedded),
        ("graph", &on_cpu),
        ("card", &on_card),
    ];
    let models = models.iter().map(|spec| {
        let spec = Spec::parse(spec)?;
        let folder = out.join(&spec.name);
        fs::create_dir_all(&folder)?;
        cell(&spec, &folder, &engines)
    });
    Ok(Value::Array(models.collect::<Result<_, Failure>>()?))
}

/// One model on all engines. ONNX Runtime goes first: the first inputs that it takes are used for all.
fn cell(spec: &Spec, folder: &Path, of: &[(&str, &dyn Engine)]) -> Result<Value, Failure> {
    let file = bytes::Bytes::from(fs::read(&spec.file)?);
    let mut chosen: Option<Inputs> = None;
    let mut engines = Vec::new();
    for (name, engine) in of {
        let start = Instant::now();
        let loaded = engine.load(file.clone(), &spec.name);
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let report = match loaded {
            Err(error) => json!({ "engine": name, "fails": error.to_string() }),
            Ok(model) => {
                let result = match &chosen {
                    Some(inputs) => {
                        run(model.as_ref(), inputs.clone()).map(|out| (inputs.clone(), out))
                    }
                    None => first_run(spec, model.as_ref()),
                };
                match result {
                    Err(reason) => json!({ "engine": name, "fails": reason }),
                    Ok((inputs, outputs)) => {
                        if chosen.is_none() {
                            save(folder, "input", &inputs)?;
                        }
                        chosen = Some(inputs.clone());
                        save(folder, name, &outputs)?;
                        let run_ms = median_ms(|| run(model.as_ref(), inputs.clone()).map(drop))?;
                        let abilities = model.abilities();
                        let version = if abilities.device == "cpu" {
                            abilities.engine.clone()
                        } else {
                            format!("{} on {SOFTWARE}", abilities.engine)
                        };
                        json!({
                            "engine": name, "version": version, "load_ms": load_ms, "run_ms": run_ms,
                            "outputs": forms(&outputs),
                        })
                    }
                }
            }
        };
        engines.push(report);
    }
    let inputs = chosen.map(|inputs| forms(&inputs));
    let file = spec.file.display().to_string();
    Ok(json!({ "model": spec.name, "file": file, "inputs": inputs, "engines": engines }))
}

fn first_run(spec: &Spec, model: &dyn Model) -> Result<(Inputs, Inputs), String> {
    let mut last = "its inputs are too large".to_owned();
    for extent in EXTENTS {
        let Some(inputs) = spec.inputs(model, extent) else {
            continue;
        };
        match run(model, inputs.clone()) {
            Ok(outputs) => return Ok((inputs, outputs)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn run(model: &dyn Model, inputs: Inputs) -> Result<Inputs, String> {
    let names: Vec<String> = model
        .outputs()
        .iter()
        .map(|port| port.name.clone())
        .collect();
    let outputs = model
        .run(inputs, &names)
        .map_err(|error| error.to_string())?;
    Ok(names.into_iter().zip(outputs).collect())
}

fn save(folder: &Path, what: &str, tensors: &[(String, Tensor)]) -> Result<(), Failure> {
    for (place, (_, tensor)) in tensors.iter().enumerate() {
        fs::write(folder.join(format!("{what}.{place}.bin")), tensor.data())?;
    }
    Ok(())
}

fn forms(tensors: &[(String, Tensor)]) -> Value {
    let form = |(name, tensor): &(String, Tensor)| json!({ "name": name, "element": tensor.element().to_string(), "shape": tensor.shape() });
    tensors.iter().map(form).collect()
}

/// A model and what its inputs must be.
struct Spec {
    name: String,
    file: PathBuf,
    extents: Vec<(String, Vec<u32>)>,
    values: Vec<(String, i64)>,
}

impl Spec {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (name, rest) = text.split_once('=').ok_or("a model is name=file")?;
        let mut parts = rest.split(',');
        let mut spec = Self {
            name: name.to_owned(),
            file: parts.next().unwrap_or_default().into(),
            extents: Vec::new(),
            values: Vec::new(),
        };
        for part in parts {
            if let Some((input, extents)) = part.split_once('@') {
                let extents: Result<_, _> = extents.split('x').map(str::parse).collect();
                spec.extents.push((input.to_owned(), extents?));
            } else if let Some((input, value)) = part.split_once(':') {
                spec.values.push((input.to_owned(), value.parse()?));
            }
        }
        Ok(spec)
    }

    fn inputs(&self, model: &dyn Model, extent: u32) -> Option<Inputs> {
        let mut inputs = seeded_inputs(model, |port, place| {
            let named = self.extents.iter().find(|(input, _)| *input == port.name);
            let named = named.and_then(|(_, extents)| extents.get(place).copied());
            let leads = place == 0 && port.shape.len() > 1;
            named.unwrap_or(if leads { 1 } else { extent })
        })?;
        for (name, tensor) in &mut inputs {
            if let Some((_, value)) = self.values.iter().find(|(input, _)| input == name)
                && tensor.element() == Element::I64
            {
                *tensor = Tensor::from_i64(tensor.shape().to_vec(), &[*value]).ok()?;
            }
        }
        Some(inputs)
    }
}

/// What a worker adds to a run: a tiny model, and one with an input of three megabytes.
fn overhead(library: &str) -> Result<Value, Failure> {
    let embedded = Task::Tract(rialto_tensor::Config::default());
    let (apart, runtime) = (engine(embedded)?, onnx_runtime(library)?);
    let mut rows = Vec::new();
    for (name, elements) in [("12 bytes", 3_u32), ("3 MB", 750_000)] {
        let file = bytes::Bytes::from(identity());
        let here = TractEngine::default().load(file.clone(), "m")?;
        let there = apart.load(file.clone(), "m")?;
        let native = runtime.load(file, "m")?;
        let values: Vec<f32> = (0..elements).map(|_| 0.5).collect();
        let inputs = vec![("x".to_owned(), Tensor::from_f32(vec![elements], &values)?)];
        let time =
            |model: &Arc<dyn Model>| median_ms(|| run(model.as_ref(), inputs.clone()).map(drop));
        rows.push(json!({
            "input": name,
            "in_process_ms": time(&here)?,
            "worker_ms": time(&there)?,
            "onnxruntime_worker_ms": time(&native)?,
        }));
    }
    Ok(Value::Array(rows))
}

/// The median of many runs, of a second at most, in milliseconds.
fn median_ms(mut run: impl FnMut() -> Result<(), String>) -> Result<f64, Failure> {
    run()?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || (times.len() < 1_000 && start.elapsed() < Duration::from_secs(1)) {
        let one = Instant::now();
        run()?;
        times.push(one.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// `y = -x` for a row `x` of any length, as an ONNX file.
fn identity() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap_or(127);
        [&[number << 3 | 2, length][..], bytes].concat()
    };
    let value = |name: &[u8]| {
        let shape = field(1, &field(2, b"n"));
        let tensor = [&[8, 1][..], &field(2, &shape)].concat();
        [field(1, name), field(2, &field(1, &tensor))].concat()
    };
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Neg")].concat();
    let graph = [
        field(1, &node),
        field(2, b"g"),
        field(11, &value(b"x")),
        field(12, &value(b"y")),
    ];
    [vec![8, 8], field(7, &graph.concat()), field(8, &[16, 13])].concat()
}
