//! Which engines are here, how fast they are, and what to install for more.

use std::sync::Arc;

use crate::{
    CpuDevice, Engine, GraphEngine, Model, TractEngine,
    onnxruntime::{self, Device},
    worker::{Task, WorkerEngine},
};

use super::{Config, probe, threads};

/// One engine on one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The engine, with its version where it is here.
    pub engine: String,
    /// The device.
    pub device: String,
    /// Whether it is here.
    pub state: State,
}

/// Whether an engine is here.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It is, and it works.
    Works {
        /// Billions of operations a second on a small fixed model.
        gflops: f64,
        /// What its worker gave up; empty for an engine in this process.
        confined: Vec<String>,
    },
    /// It is not, or it does not work.
    Missing {
        /// Why, and what to do.
        reason: String,
    },
}

/// Looks for every engine and measures those that are here, for a few hundred milliseconds each.
#[must_use]
pub fn survey(config: &Config) -> Vec<Found> {
    let mut found = vec![embedded(config)];
    found.extend(on_device(config));
    found.push(onnx_runtime(config, Device::Cpu));
    let card = match config.device {
        Device::Cpu => Device::Cuda(0),
        other @ Device::Cuda(_) => other,
    };
    found.push(onnx_runtime(config, card));
    found
}

fn embedded(config: &Config) -> Found {
    let loaded = TractEngine::new(config.embedded.clone()).load(probe::file(), "probe");
    let state = match &loaded {
        Ok(model) => measured(model.as_ref(), Vec::new()),
        Err(error) => missing(error.to_string()),
    };
    Found {
        engine: crate::tract::ENGINE.to_owned(),
        device: "cpu".to_owned(),
        state,
    }
}

/// Models on the device for tensor operations, if there is one beside the processor.
fn on_device(config: &Config) -> Option<Found> {
    let device = config.accelerator.clone()?;
    let cpu = CpuDevice::new(1, config.embedded.run_bytes_max);
    let engine = GraphEngine::new(device, Arc::new(cpu), config.embedded.clone());
    let state = match engine.load(probe::file(), "probe") {
        Ok(model) => measured(model.as_ref(), Vec::new()),
        Err(error) => missing(error.to_string()),
    };
    Some(Found {
        engine: crate::graph::ENGINE.to_owned(),
        device: engine.device().to_owned(),
        state,
    })
}

fn onnx_runtime(config: &Config, device: Device) -> Found {
    let absent = |reason: String| Found {
        engine: "ONNX Runtime".to_owned(),
        device: device.to_string(),
        state: missing(reason),
    };
    let Some(program) = config.worker.clone() else {
        return absent("this program cannot start workers".to_owned());
    };
    let library = match onnxruntime::find(config.library.as_deref()) {
        Ok(library) => library,
        Err(error) => return absent(error.to_string()),
    };
    let task = Task::OnnxRuntime(onnxruntime::Config {
        library,
        threads: threads(config),
        device,
    });
    let program = match device {
        Device::Cpu => program,
        Device::Cuda(_) => super::with_libraries(program),
    };
    let engine = WorkerEngine::new(program, task, config.limits);
    match engine.load_confined(probe::file(), "probe") {
        Ok((model, confined)) => Found {
            engine: model.abilities().engine.clone(),
            device: model.abilities().device.clone(),
            state: measured(model.as_ref(), confined),
        },
        Err(error) if device == Device::Cpu => absent(error.to_string()),
        Err(error) => absent(format!(
            "{error}; for NVIDIA cards install `pip install onnxruntime-gpu` with CUDA and cuDNN"
        )),
    }
}

fn measured(model: &dyn Model, confined: Vec<String>) -> State {
    match probe::measure(model) {
        Ok(gflops) => State::Works { gflops, confined },
        Err(error) => missing(error.to_string()),
    }
}

fn missing(reason: String) -> State {
    State::Missing { reason }
}
