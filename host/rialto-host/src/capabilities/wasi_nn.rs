//! `wasi:nn`: the models that `rialto:tensor` has, for components that were written for other hosts.
//!
//! A thin layer: models are opened, run, queued and metered as everywhere. Bytes that a guest calls a
//! model are compared with the files that its manifest grants and never reach a parser.
//!
//! Non-goals: formats beyond what the engines load, choosing the device.

use std::sync::Arc;

use bytes::Bytes;
use rialto_compute::{Element, Model, Tensor};
use sha2::{Digest as _, Sha256};
use wasmtime::component::{HasSelf, Linker, Resource};

use super::bindings::wasi_nn::wasi::nn::{errors, graph, inference, tensor};
use super::tensor::HostModel;
use crate::device::{Lease, Run};
use crate::limits::Breach;
use crate::state::CallState;
use errors::ErrorCode;
use tensor::TensorType;

use super::bindings::tensor::rialto::tensor::types::Error as TensorError;

/// A tensor as the guest's handle sees it. The constructor cannot fail, so what is wrong with one is
/// told when it is used.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct NnTensor {
    dimensions: Vec<u32>,
    ty: TensorType,
    value: Result<(Tensor, Lease), (ErrorCode, String)>,
}

/// A model as the guest's handle sees it.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct NnGraph(HostModel);

/// What runs a model, as the guest's handle sees it: nothing but the model.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct NnContext(HostModel);

/// An error as the guest's handle sees it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct NnError {
    code: ErrorCode,
    text: String,
}

/// Defines all interfaces of the package.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    errors::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    tensor::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    inference::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    graph::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

/// What the functions of this package return.
type Answer<T> = wasmtime::Result<Result<T, Resource<NnError>>>;

impl errors::Host for CallState {}
impl tensor::Host for CallState {}
impl inference::Host for CallState {}

impl errors::HostError for CallState {
    fn code(&mut self, this: Resource<NnError>) -> wasmtime::Result<ErrorCode> {
        self.charge_host_call(0)?;
        Ok(self.table.get(&this)?.code)
    }

    fn data(&mut self, this: Resource<NnError>) -> wasmtime::Result<String> {
        let text = self.table.get(&this)?.text.clone();
        self.charge_host_call(text.len() as u64)?;
        Ok(text)
    }

    fn drop(&mut self, this: Resource<NnError>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl tensor::HostTensor for CallState {
    async fn new(
        &mut self,
        dimensions: Vec<u32>,
        ty: TensorType,
        data: Vec<u8>,
    ) -> wasmtime::Result<Resource<NnTensor>> {
        self.charge_host_call(data.len() as u64)?;
        let value = match element_of(ty) {
            Some(element) => Tensor::new(element, dimensions.clone(), Bytes::from(data))
                .map_err(|error| (ErrorCode::InvalidArgument, error.to_string())),
            None => Err((
                ErrorCode::UnsupportedOperation,
                "no engine here computes with FP64; use FP32".to_owned(),
            )),
        };
        let value = match value {
            Ok(tensor) => self.hold(tensor).await,
            Err(error) => Err(error),
        };
        self.keep(NnTensor {
            dimensions,
            ty,
            value,
        })
    }

    fn dimensions(&mut self, this: Resource<NnTensor>) -> wasmtime::Result<Vec<u32>> {
        self.charge_host_call(0)?;
        Ok(self.table.get(&this)?.dimensions.clone())
    }

    fn ty(&mut self, this: Resource<NnTensor>) -> wasmtime::Result<TensorType> {
        self.charge_host_call(0)?;
        Ok(self.table.get(&this)?.ty)
    }

    fn data(&mut self, this: Resource<NnTensor>) -> wasmtime::Result<Vec<u8>> {
        let value = &self.table.get(&this)?.value;
        let data = value
            .as_ref()
            .map_or_else(|_| Bytes::new(), |(tensor, _)| tensor.data().clone());
        self.charge_host_call(data.len() as u64)?;
        Ok(data.to_vec())
    }

    fn drop(&mut self, this: Resource<NnTensor>) -> wasmtime::Result<()> {
        let tensor = self.table.delete(this)?;
        if let Ok((tensor, _)) = tensor.value {
            self.tensor_bytes = self.tensor_bytes.saturating_sub(tensor.data().len() as u64);
        }
        Ok(())
    }
}

impl graph::Host for CallState {
    async fn load(
        &mut self,
        builder: Vec<Vec<u8>>,
        encoding: graph::GraphEncoding,
        _target: graph::ExecutionTarget,
    ) -> Answer<Resource<NnGraph>> {
        use graph::GraphEncoding as Encoding;
        self.charge_host_call(builder.iter().map(|part| part.len() as u64).sum())?;
        match encoding {
            Encoding::Onnx | Encoding::Autodetect => {}
            Encoding::Openvino
            | Encoding::Tensorflow
            | Encoding::Pytorch
            | Encoding::Tensorflowlite
            | Encoding::Ggml => {
                let text = "this host runs ONNX graphs; convert the model, or use rialto:tensor \
                            for language models";
                return self.refuse(ErrorCode::InvalidEncoding, text.to_owned());
            }
        }
        let mut hasher = Sha256::new();
        builder.iter().for_each(|part| hasher.update(part));
        let digest = hex::encode(hasher.finalize());
        if self.shared.granted(&digest).is_none() {
            return self.refuse(
                ErrorCode::Security,
                format!(
                    "the manifest grants no model with sha256 {digest}; add it under [[models]]"
                ),
            );
        }
        self.open_graph(digest).await
    }

    async fn load_by_name(&mut self, name: String) -> Answer<Resource<NnGraph>> {
        self.charge_host_call(name.len() as u64)?;
        self.open_graph(name).await
    }
}

impl graph::HostGraph for CallState {
    fn init_execution_context(&mut self, this: Resource<NnGraph>) -> Answer<Resource<NnContext>> {
        self.charge_host_call(0)?;
        let model = self.table.get(&this)?.0.clone();
        Ok(Ok(self.keep(NnContext(model))?))
    }

    fn drop(&mut self, this: Resource<NnGraph>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl inference::HostGraphExecutionContext for CallState {
    async fn compute(
        &mut self,
        this: Resource<NnContext>,
        inputs: Vec<(String, Resource<NnTensor>)>,
    ) -> Answer<Vec<(String, Resource<NnTensor>)>> {
        self.charge_host_call(0)?;
        let opened = self.table.get(&this)?.0.clone();
        let mut given = Vec::with_capacity(inputs.len());
        let mut wrong = None;
        for (name, handle) in inputs {
            match &self.table.get(&handle)?.value {
                Ok((tensor, _)) => given.push((name, tensor.clone())),
                Err((code, text)) => wrong = Some((*code, format!("`{name}`: {text}"))),
            }
            // The guest gave the tensor away.
            tensor::HostTensor::drop(self, handle)?;
        }
        if let Some((code, text)) = wrong {
            return self.refuse(code, text);
        }
        let outputs: Vec<String> = names(opened.model.as_ref());
        let run = Run {
            model: Arc::clone(&opened.model),
            inputs: given,
            outputs: outputs.clone(),
        };
        self.tensor_runs = self.tensor_runs.saturating_add(1);
        let tensors = match self.run_model(run, &opened.pace).await {
            Ok(tensors) => tensors,
            Err(error) => return self.refuse_as(error),
        };
        let mut handles = Vec::with_capacity(tensors.len());
        for (name, result) in outputs.into_iter().zip(tensors) {
            match self.output(result).await {
                Ok(kept) => handles.push((name, self.keep(kept)?)),
                Err((code, text)) => {
                    for (_, handle) in handles {
                        tensor::HostTensor::drop(self, handle)?;
                    }
                    return self.refuse(code, format!("`{name}`: {text}"));
                }
            }
        }
        Ok(Ok(handles))
    }

    fn drop(&mut self, this: Resource<NnContext>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl CallState {
    async fn open_graph(&mut self, name: String) -> Answer<Resource<NnGraph>> {
        match self.open_model(name).await {
            Ok(model) => Ok(Ok(self.keep(NnGraph(model))?)),
            Err(error) => self.refuse_as(error),
        }
    }

    /// Counts a tensor as held by the call.
    async fn hold(&mut self, tensor: Tensor) -> Result<(Tensor, Lease), (ErrorCode, String)> {
        let lease = self.reserve(tensor.data().len() as u64).await;
        Ok((tensor, lease.map_err(code_of)?))
    }

    async fn output(&mut self, tensor: Tensor) -> Result<NnTensor, (ErrorCode, String)> {
        let ty = type_of(tensor.element()).ok_or_else(|| {
            let text = format!("wasi:nn has no type for {}", tensor.element());
            (ErrorCode::UnsupportedOperation, text)
        })?;
        Ok(NnTensor {
            dimensions: tensor.shape().to_vec(),
            ty,
            value: Ok(self.hold(tensor).await?),
        })
    }

    fn refuse<T>(&mut self, code: ErrorCode, text: String) -> Answer<T> {
        Ok(Err(self.keep(NnError { code, text })?))
    }

    fn refuse_as<T>(&mut self, error: TensorError) -> Answer<T> {
        let (code, text) = code_of(error);
        self.refuse(code, text)
    }

    fn keep<T: Send + 'static>(&mut self, entry: T) -> wasmtime::Result<Resource<T>> {
        Ok(self.table.push(entry).map_err(|_| Breach::Handles)?)
    }
}

fn names(model: &dyn Model) -> Vec<String> {
    let ports = model.outputs().iter();
    ports.map(|port| port.name.clone()).collect()
}

fn code_of(error: TensorError) -> (ErrorCode, String) {
    match error {
        TensorError::InvalidArgument(text) => (ErrorCode::InvalidArgument, text),
        TensorError::NotGranted(text) => (ErrorCode::Security, text),
        TensorError::Unsupported(text) => (ErrorCode::UnsupportedOperation, text),
        TensorError::OutOfBudget(text) => (ErrorCode::TooLarge, text),
        TensorError::Engine(text) => (ErrorCode::RuntimeError, text),
    }
}

const fn element_of(ty: TensorType) -> Option<Element> {
    Some(match ty {
        TensorType::Fp16 => Element::F16,
        TensorType::Fp32 => Element::F32,
        TensorType::Fp64 => return None,
        TensorType::Bf16 => Element::Bf16,
        TensorType::U8 => Element::U8,
        TensorType::I32 => Element::I32,
        TensorType::I64 => Element::I64,
    })
}

const fn type_of(element: Element) -> Option<TensorType> {
    Some(match element {
        Element::F16 => TensorType::Fp16,
        Element::F32 => TensorType::Fp32,
        Element::Bf16 => TensorType::Bf16,
        // A boolean is a byte of 0 or 1.
        Element::U8 | Element::Bool => TensorType::U8,
        Element::I32 => TensorType::I32,
        Element::I64 => TensorType::I64,
        Element::I8 => return None,
    })
}
