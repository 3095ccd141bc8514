//! Runs models through `wasi:nn` and nothing else: what a component for another host would do.

#[expect(unsafe_code, reason = "the canonical ABI is a C ABI; generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit/wasi-nn", "wit"],
        world: "guest:nn/guest",
        generate_all,
    });

    use super::Runs;
    export!(Runs with_types_in self);
}

use bindings::exports::guest::nn::runs::{Guest, Named};
use bindings::wasi::nn::errors::Error;
use bindings::wasi::nn::graph::{self, ExecutionTarget, Graph, GraphEncoding};
use bindings::wasi::nn::tensor::{Tensor, TensorType};

struct Runs;

impl Guest for Runs {
    fn by_name(name: String, inputs: Vec<Named>) -> Result<Vec<Named>, String> {
        run(&graph::load_by_name(&name).map_err(text)?, &inputs)
    }

    fn by_file(
        file: Vec<u8>,
        encoding: String,
        times: u32,
        inputs: Vec<Named>,
    ) -> Result<Vec<Named>, String> {
        let encoding = match encoding.as_str() {
            "onnx" => GraphEncoding::Onnx,
            "openvino" => GraphEncoding::Openvino,
            _ => GraphEncoding::Autodetect,
        };
        let (front, back) = file.split_at(file.len() / 2);
        let parts = [front.to_vec(), back.to_vec()];
        let graph = graph::load(&parts, encoding, ExecutionTarget::Cpu).map_err(text)?;
        drop((parts, file));
        for _ in 1..times {
            run(&graph, &inputs)?;
        }
        run(&graph, &inputs)
    }

    fn hoard(count: u32) -> u32 {
        let data = vec![0; 1 << 20];
        let make = |_| Tensor::new(&[1 << 20], TensorType::U8, &data);
        let tensors: Vec<Tensor> = (0..count).map(make).collect();
        let kept = tensors.iter().filter(|tensor| !tensor.data().is_empty());
        u32::try_from(kept.count()).unwrap_or(u32::MAX)
    }
}

fn run(graph: &Graph, inputs: &[Named]) -> Result<Vec<Named>, String> {
    let context = graph.init_execution_context().map_err(text)?;
    let inputs = inputs.iter().map(|input| {
        let tensor = Tensor::new(&input.shape, type_of(&input.element), &input.data);
        (input.name.clone(), tensor)
    });
    let outputs = context.compute(inputs.collect()).map_err(text)?;
    let output = |(name, tensor): (String, Tensor)| Named {
        name,
        shape: tensor.dimensions(),
        element: format!("{:?}", tensor.ty()),
        data: tensor.data(),
    };
    Ok(outputs.into_iter().map(output).collect())
}

fn type_of(name: &str) -> TensorType {
    match name {
        "fp32" => TensorType::Fp32,
        "fp64" => TensorType::Fp64,
        "i32" => TensorType::I32,
        "i64" => TensorType::I64,
        _ => TensorType::U8,
    }
}

fn text(error: Error) -> String {
    format!("{:?}: {}", error.code(), error.data())
}
