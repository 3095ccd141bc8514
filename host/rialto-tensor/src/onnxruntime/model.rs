//! A model in ONNX Runtime: one session, one run at a time.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

use ort::{
    ep,
    error::ErrorCode,
    session::{OutputSelector, RunOptions, Session, SessionInputValue, builder::SessionBuilder},
    value::{Outlet, ValueType},
};

use super::{Config, Device, InProcess, convert};
use crate::{Abilities, LoadError, Model, Port, RunError, Tensor, file, fingerprint, operands};

/// A model of ONNX Runtime.
#[derive(Debug)]
pub(super) struct OrtModel {
    session: Mutex<Session>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    abilities: Abilities,
    metadata: Vec<(String, String)>,
}

impl OrtModel {
    /// Parses, checks and optimises a file, as ONNX Runtime does it.
    pub(super) fn load(engine: &InProcess, bytes: &[u8], name: &str) -> Result<Self, LoadError> {
        let model = || name.to_owned();
        let about = file::About::of(bytes).map_err(|reason| LoadError::Malformed {
            model: model(),
            reason,
        })?;
        let session = builder(engine)
            .and_then(|mut builder| builder.commit_from_memory(bytes))
            .map_err(|error| load_error(name, &error))?;
        let ports = |outlets: &[Outlet]| outlets.iter().map(port).collect::<Result<Vec<_>, _>>();
        let ports =
            ports(session.inputs()).and_then(|inputs| Ok((inputs, ports(session.outputs())?)));
        let (inputs, outputs) = ports.map_err(|reason| LoadError::Unsupported {
            model: model(),
            reason,
        })?;
        Ok(Self {
            inputs,
            outputs,
            abilities: abilities(engine, bytes, about.draws_random_numbers),
            metadata: about.metadata,
            session: Mutex::new(session),
        })
    }

    fn compute(&self, operands: &[Tensor], wanted: &[usize]) -> Result<Vec<Tensor>, ort::Error> {
        let wrapped = |error: RunError| ort::Error::wrap(error);
        let values = self.inputs.iter().zip(operands).map(|(port, operand)| {
            let value = convert::to_ort(operand).map_err(wrapped)?;
            let name = Cow::Borrowed(port.name.as_str());
            Ok((name, SessionInputValue::from(value)))
        });
        let values: Vec<_> = values.collect::<Result<_, ort::Error>>()?;
        let names = || wanted.iter().filter_map(|place| self.outputs.get(*place));
        let mut distinct: Vec<&str> = names().map(|port| port.name.as_str()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let none = OutputSelector::no_default();
        let selected = distinct.into_iter().fold(none, OutputSelector::with);
        let options = RunOptions::new()?.with_outputs(selected);
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let results = session.run_with_options(values, &options)?;
        let result = |port: &Port| {
            let value = results.get(&port.name);
            let value = value.ok_or_else(|| ort::Error::new("an output is missing"))?;
            convert::from_ort(value).map_err(wrapped)
        };
        names().map(result).collect()
    }

    fn run_error(&self, operands: &[Tensor], error: &ort::Error) -> RunError {
        let reason = error.message().to_owned();
        let code = error.code();
        if code == ErrorCode::InvalidArgument {
            let named = self.inputs.iter().zip(operands);
            let named = named.map(|(port, t)| (port.name.as_str(), t.shape()));
            RunError::Shapes {
                shapes: operands::shapes(named),
                reason,
            }
        } else if code == ErrorCode::NotImplemented {
            RunError::Unsupported(reason)
        } else {
            RunError::Engine(reason)
        }
    }
}

impl Model for OrtModel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.metadata.clone()
    }

    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        let wanted = operands::wanted(&self.outputs, outputs)?;
        let operands = operands::in_order(&self.inputs, inputs)?;
        let result = self.compute(&operands, &wanted);
        result.map_err(|error| self.run_error(&operands, &error))
    }
}

fn builder(engine: &InProcess) -> ort::Result<SessionBuilder> {
    let Config {
        threads, device, ..
    } = &engine.config;
    let builder = Session::builder(&engine.environment)?
        .with_intra_threads((*threads).max(1))?
        .with_inter_threads(1)?
        .with_deterministic_compute(true)?;
    match device {
        Device::Cpu => Ok(builder),
        Device::Cuda(card) => {
            let card = i32::try_from(*card).unwrap_or(i32::MAX);
            let provider = ep::CUDA::default().with_device_id(card).build();
            Ok(builder.with_execution_providers([provider.error_on_failure()])?)
        }
    }
}

fn abilities(engine: &InProcess, bytes: &[u8], random: bool) -> Abilities {
    let Config {
        threads, device, ..
    } = &engine.config;
    // Sums on a card may be taken in any order.
    let same_bits = *device == Device::Cpu;
    let device = device.to_string();
    let threads = threads.to_string();
    Abilities {
        fingerprint: fingerprint::of(&[&engine.engine, &device, "threads", &threads], bytes),
        engine: engine.engine.clone(),
        device,
        deterministic: same_bits && !random,
    }
}

fn port(outlet: &Outlet) -> Result<Port, String> {
    let name = outlet.name();
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(format!("`{name}` is no tensor"));
    };
    let element = convert::element(*ty);
    let element = element.ok_or_else(|| format!("`{name}` has elements of type {ty}"))?;
    // Zero and negative extents are how exporters write "any".
    let extents = shape.iter().map(|extent| match u32::try_from(*extent) {
        Ok(0) => None,
        Ok(extent) => Some(extent),
        Err(_) => None,
    });
    Ok(Port {
        name: name.to_owned(),
        element,
        shape: extents.collect(),
    })
}

fn load_error(name: &str, error: &ort::Error) -> LoadError {
    let (model, reason) = (name.to_owned(), error.message().to_owned());
    let malformed = [
        ErrorCode::InvalidProtobuf,
        ErrorCode::InvalidGraph,
        ErrorCode::NoModel,
    ];
    if malformed.contains(&error.code()) {
        LoadError::Malformed { model, reason }
    } else if reason.contains("bad_alloc") {
        LoadError::TooLarge { model, reason }
    } else {
        LoadError::Unsupported { model, reason }
    }
}
