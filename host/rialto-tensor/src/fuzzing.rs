//! What fuzz targets call: models from strangers, and answers from workers that strangers may hold, with
//! the properties that must hold for all that are accepted. A broken property panics.
//!
//! Compiled for the feature `fuzzing` and for tests, and no part of the API. Not here: the loop that makes
//! inputs (`fuzz/`).

use std::sync::{Arc, Once};

use bytes::Bytes;

use crate::{
    Config, CpuDevice, Element, Engine, GraphEngine, LoadError, Model, TractEngine,
    engines::seeded_inputs, file::About, worker,
};

/// A model's file in the embedded engine: refused, or loaded, planned and run within small limits.
pub fn onnx_model(data: &[u8]) {
    model(data, |bytes| TractEngine::new(limits()).load(bytes, "fuzz"));
}

/// A model's file in the engine for devices: refused, or loaded, planned and run within small limits.
pub fn onnx_graph(data: &[u8]) {
    let cpu = || Arc::new(CpuDevice::new(1, 32 << 20));
    model(data, |bytes| {
        GraphEngine::new(cpu(), cpu(), limits()).load(bytes, "fuzz")
    });
}

fn limits() -> Config {
    Config {
        file_bytes_max: 1 << 20,
        nodes_max: 200,
        tensor_bytes_max: 4 << 20,
        run_bytes_max: 16 << 20,
        multiply_adds_max: 1 << 26,
        weights_bytes_max: 1 << 20,
        plans_max: 2,
    }
}

fn model(data: &[u8], load: impl Fn(Bytes) -> Result<Arc<dyn Model>, LoadError>) {
    // The engine turns its panics into errors; a fuzzer's hook would end the process before that. A
    // property that breaks is caught by nobody, and ends it all the same.
    static CAUGHT: Once = Once::new();
    if cfg!(feature = "fuzzing") {
        CAUGHT.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    }
    let about = About::of(data);
    let Ok(model) = load(Bytes::copy_from_slice(data)) else {
        return;
    };
    let metadata = model.metadata();
    assert_eq!(about.map(|about| about.metadata), Ok(metadata.clone()));
    assert!(metadata.len() <= 64);
    for (key, value) in &metadata {
        assert!(key.len() <= 128 && value.len() <= 4096, "{key}");
    }
    for extent in [1, 3] {
        run(model.as_ref(), extent);
    }
}

/// What a worker answers, as the host reads it.
pub fn worker_reply(data: &[u8]) {
    if let Some(tensors) = worker::read_reply(data, REPLY_BYTES_MAX) {
        let bytes = |element: Element, shape: &[u32]| {
            let elements: u64 = shape.iter().map(|extent| u64::from(*extent)).product();
            elements * u64::try_from(element.size_bytes()).unwrap_or(u64::MAX)
        };
        let mut all = 0;
        for tensor in &tensors {
            let held = u64::try_from(tensor.data().len()).unwrap_or(u64::MAX);
            assert_eq!(held, bytes(tensor.element(), tensor.shape()));
            all += held;
        }
        assert!(all <= REPLY_BYTES_MAX);
    }
}

fn run(model: &dyn Model, extent: u32) {
    let Some(inputs) = seeded_inputs(model, |_, _| extent) else {
        return;
    };
    let bytes: usize = inputs.iter().map(|(_, input)| input.data().len()).sum();
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > REPLY_BYTES_MAX) {
        return;
    }
    let ports = model.outputs();
    let names: Vec<String> = ports.iter().map(|port| port.name.clone()).collect();
    if let Ok(outputs) = model.run(inputs, &names) {
        assert_eq!(outputs.len(), ports.len());
        for (output, port) in outputs.iter().zip(ports) {
            assert_eq!(output.element(), port.element, "{}", port.name);
        }
    }
}

const REPLY_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_loaded_within_bounds() {
        replay::seeds("onnx_model", onnx_model);
    }

    #[test]
    fn graphs_become_programs_within_bounds() {
        replay::seeds("onnx_graph", onnx_graph);
    }

    #[test]
    fn answers_of_workers_are_read_within_bounds() {
        replay::seeds("worker_reply", worker_reply);
    }
}
