//! A loaded model: checks operands, picks a plan, runs it.

use std::sync::Arc;

use bytes::Bytes;
use tract_onnx::prelude::{IntoTValue, TValue, TVec};

use super::{
    Config, DEVICE, ENGINE,
    cache::Cache,
    confine::{self, Panicked},
    convert,
    graph::{self, Graph, Refusal},
    plan::Plan,
};
use crate::{
    Abilities, LoadError, Model, Port, RunError, Tensor, fingerprint, operands, share::Share,
};

/// A model of the embedded engine.
#[derive(Debug)]
pub(super) struct TractModel {
    name: String,
    graph: Graph,
    abilities: Abilities,
    plans: Cache<Vec<Vec<usize>>, Plan>,
    config: Arc<Config>,
    _share: Share,
}

impl TractModel {
    /// Parses and checks a file. Where every input has a fixed shape, plans the run too.
    pub(super) fn load(
        file: Bytes,
        name: &str,
        config: Arc<Config>,
        share: Share,
    ) -> Result<Self, LoadError> {
        let graph = confine::on_deep_stack(|| graph::parse(&file, &config))
            .unwrap_or_else(|Panicked(reason)| Err(Refusal::Malformed(reason)))
            .map_err(|refusal| load_error(name, refusal))?;
        let abilities = Abilities {
            engine: ENGINE.to_owned(),
            device: DEVICE.to_owned(),
            deterministic: true,
            fingerprint: fingerprint::of(&[ENGINE, DEVICE], &file),
        };
        let plans = Cache::new(config.plans_max);
        let model = Self {
            name: name.to_owned(),
            graph,
            abilities,
            plans,
            config,
            _share: share,
        };
        if let Some(shapes) = model.fixed_shapes() {
            model
                .plan(&shapes)
                .map_err(|error| load_error_of_plan(name, &error))?;
        }
        Ok(model)
    }

    fn fixed_shapes(&self) -> Option<Vec<Vec<usize>>> {
        let fixed = |port: &Port| {
            let shape: Option<Vec<u32>> = port.shape.iter().copied().collect();
            shape.map(|shape| convert::extents(&shape))
        };
        self.graph.inputs.iter().map(fixed).collect()
    }

    fn plan(&self, shapes: &Vec<Vec<usize>>) -> Result<Arc<Plan>, RunError> {
        self.plans.get(shapes, || {
            tracing::debug!(model = self.name, ?shapes, "planning");
            let build = || Plan::build(&self.graph.model, shapes, &self.config);
            match confine::on_deep_stack(build) {
                Ok(Ok(plan)) => Ok(plan),
                Ok(Err(refusal)) => Err(self.run_error(shapes, refusal)),
                Err(Panicked(reason)) => Err(RunError::Engine(reason)),
            }
        })
    }

    fn run_error(&self, shapes: &[Vec<usize>], refusal: Refusal) -> RunError {
        match refusal {
            Refusal::Malformed(reason) => {
                let named = self.graph.inputs.iter().zip(shapes);
                let shapes: Vec<String> = named
                    .map(|(port, shape)| format!("`{}` {shape:?}", port.name))
                    .collect();
                RunError::Shapes {
                    shapes: shapes.join(", "),
                    reason,
                }
            }
            Refusal::TooLarge(reason) => RunError::OutOfBudget(reason),
            Refusal::Unsupported(reason) => RunError::Unsupported(reason),
        }
    }
}

impl Model for TractModel {
    fn inputs(&self) -> &[Port] {
        &self.graph.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.graph.outputs
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.graph.metadata.clone()
    }

    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        let wanted = operands::wanted(&self.graph.outputs, outputs)?;
        let operands = operands::in_order(&self.graph.inputs, inputs)?;
        let shapes = operands
            .iter()
            .map(|tensor| convert::extents(tensor.shape()))
            .collect();
        let plan = self.plan(&shapes)?;
        let failed = |reason: String| RunError::Engine(reason);
        let values = operands
            .iter()
            .map(|tensor| Ok(convert::to_tract(tensor)?.into_tvalue()));
        let values = values.collect::<Result<TVec<TValue>, RunError>>()?;
        let results = confine::here(|| plan.run(values))
            .map_err(|Panicked(reason)| failed(reason))?
            .map_err(|error| failed(format!("{error:#}")))?;
        let pick = |index: usize| {
            let result = results
                .get(index)
                .ok_or_else(|| failed("an output is missing".into()))?;
            convert::from_tract(result, self.graph.outputs[index].element)
        };
        wanted.into_iter().map(pick).collect()
    }
}

fn load_error(name: &str, refusal: Refusal) -> LoadError {
    let model = name.to_owned();
    match refusal {
        Refusal::Malformed(reason) => LoadError::Malformed { model, reason },
        Refusal::TooLarge(reason) => LoadError::TooLarge { model, reason },
        Refusal::Unsupported(reason) => LoadError::Unsupported { model, reason },
    }
}

fn load_error_of_plan(name: &str, error: &RunError) -> LoadError {
    use crate::Kind;
    let reason = error.to_string();
    let refusal = match error.kind() {
        Kind::OutOfBudget => Refusal::TooLarge(reason),
        Kind::Unsupported => Refusal::Unsupported(reason),
        Kind::InvalidArgument | Kind::Engine => Refusal::Malformed(reason),
    };
    load_error(name, refusal)
}
