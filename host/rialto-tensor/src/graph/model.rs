//! A loaded model: checks operands, picks a plan, runs it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Devices, ENGINE,
    file::{self, Block, Graph, Work},
    plan::{Key, Plan, failed, limits, may_decide},
    refusal::{Refusal, of_first_plan},
    scope::Scope,
    walk::{Readers, Walk, readers},
    weights::Weights,
};
use crate::{
    Abilities, Config, LoadError, Model, Port, RunError, Tensor, fingerprint, operands,
    ops::{Device, EvalError},
    share::Share,
    tract::{cache::Cache, confine},
};

/// A model of the engine for devices.
pub(super) struct GraphModel {
    name: String,
    graph: Graph,
    readers: Readers,
    abilities: Abilities,
    plans: Cache<Key, Plan>,
    /// A shape or a branch depends on the value of a small input.
    by_value: AtomicBool,
    weights: Weights,
    devices: Arc<Devices>,
    config: Arc<Config>,
    _share: Share,
}

impl GraphModel {
    /// Parses and checks a file. Where every input has a fixed shape, plans the run too.
    pub(super) fn load(
        bytes: &[u8],
        name: &str,
        config: Arc<Config>,
        devices: Arc<Devices>,
        share: Share,
        equal_bits: bool,
    ) -> Result<Self, LoadError> {
        let read = || {
            let mut graph = file::parse(bytes, &config)?;
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            fold(
                &mut graph.block,
                size.saturating_mul(FOLDED_MAX),
                &config,
                &*devices.cpu,
            );
            Ok(graph)
        };
        let graph = confined(read, Refusal::Malformed).map_err(|refusal| refusal.of_load(name))?;
        let model = Self {
            name: name.to_owned(),
            readers: readers(&graph.block),
            graph,
            abilities: abilities(&devices, bytes, equal_bits),
            plans: Cache::new(config.plans_max),
            by_value: AtomicBool::new(false),
            weights: Weights::default(),
            devices,
            config,
            _share: share,
        };
        model.plan_ahead(name)?;
        Ok(model)
    }

    /// Plans a run whose shapes the file itself fixes, unless it depends on values that only runs have.
    fn plan_ahead(&self, name: &str) -> Result<(), LoadError> {
        let fixed = |port: &Port| {
            let shape: Option<Vec<u32>> = port.shape.iter().copied().collect();
            shape.map(|shape| (shape, None))
        };
        let Some(shapes) = self.graph.inputs.iter().map(fixed).collect() else {
            return Ok(());
        };
        let key = Key(shapes);
        match self.plan(&key) {
            Ok(_) => Ok(()),
            Err(_) if self.by_value.load(Ordering::Relaxed) => Ok(()),
            Err(error) => Err(of_first_plan(name, &error)),
        }
    }

    /// Whether an input could decide a shape or a branch by its value.
    fn decisive(&self, key: &Key) -> bool {
        let mut inputs = self.graph.inputs.iter().zip(&key.0);
        inputs.any(|(port, (shape, _))| may_decide(port.element, shape))
    }

    fn key(&self, operands: &[Tensor], by_value: bool) -> Key {
        let entry = |tensor: &Tensor| {
            let decides = by_value && may_decide(tensor.element(), tensor.shape());
            (tensor.shape().to_vec(), decides.then(|| tensor.clone()))
        };
        Key(operands.iter().map(entry).collect())
    }

    fn plan(&self, key: &Key) -> Result<Arc<Plan>, RunError> {
        self.plans.get(key, || {
            let shapes: Vec<_> = key.0.iter().map(|(shape, _)| shape).collect();
            tracing::debug!(model = self.name, ?shapes, "planning for a device");
            let (graph, readers) = (&self.graph, &self.readers);
            let build = || {
                Plan::build(
                    graph,
                    readers,
                    key,
                    &self.config,
                    &self.devices,
                    &self.weights,
                )
            };
            confined(build, Refusal::Malformed).map_err(|refusal| {
                if matches!(refusal, Refusal::DependsOnData(_)) && self.decisive(key) {
                    self.by_value.store(true, Ordering::Relaxed);
                }
                let named = graph.inputs.iter().map(|port| port.name.as_str());
                let shapes = key.0.iter().map(|(shape, _)| shape.as_slice());
                refusal.of_run(operands::shapes(named.zip(shapes)))
            })
        })
    }

    /// The plan for operands; their values decide it only where their shapes do not.
    fn plan_for(&self, operands: &[Tensor]) -> Result<Arc<Plan>, RunError> {
        let by_value = self.by_value.load(Ordering::Relaxed);
        let plan = self.plan(&self.key(operands, by_value));
        if plan.is_err() && !by_value && self.by_value.load(Ordering::Relaxed) {
            return self.plan(&self.key(operands, true));
        }
        plan
    }

    fn run_once(&self, operands: &[Tensor], wanted: &[usize]) -> Result<Vec<Tensor>, Stop> {
        let plan = self.plan_for(operands).map_err(Stop::Run)?;
        // A driver may panic: it is this run's failure, nobody else's.
        let result = confine::here(|| plan.run(&self.devices, operands, wanted))
            .map_err(|panicked| Stop::Run(RunError::Engine(panicked.0)))?;
        result.map_err(|error| match error {
            EvalError::Device { .. } => Stop::Device(error),
            EvalError::Infer(_)
            | EvalError::Input { .. }
            | EvalError::Index { .. }
            | EvalError::Memory { .. }
            | EvalError::Cancelled => Stop::Run(failed(error)),
        })
    }
}

/// Why a run ended early.
enum Stop {
    /// The device failed.
    Device(EvalError),
    Run(RunError),
}

impl Stop {
    fn into_error(self) -> RunError {
        match self {
            Self::Device(error) => failed(error),
            Self::Run(error) => error,
        }
    }
}

impl Model for GraphModel {
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
        match self.run_once(&operands, &wanted) {
            // A device that was lost is opened again, without what was on it.
            Err(Stop::Device(_)) => {
                self.plans.clear();
                self.weights.forget();
                self.run_once(&operands, &wanted).map_err(Stop::into_error)
            }
            result => result.map_err(Stop::into_error),
        }
    }
}

impl fmt::Debug for GraphModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphModel({} on {})", self.name, self.abilities.device)
    }
}

fn abilities(devices: &Devices, file: &[u8], equal_bits: bool) -> Abilities {
    let device = &devices.device;
    let deterministic = equal_bits && device.abilities().deterministic;
    Abilities {
        engine: ENGINE.to_owned(),
        device: device.name().to_owned(),
        deterministic,
        fingerprint: fingerprint::of(
            &[ENGINE, device.name(), &device.abilities().fingerprint],
            file,
        ),
    }
}

/// Computes once, at load, what depends on constants only; the nodes that are done go.
fn fold(block: &mut Block, bytes_max: u64, config: &Config, cpu: &dyn Device) {
    let readers = readers(block);
    let mut walk = Walk::new(Scope::new(limits(config), cpu, bytes_max), &readers);
    let known: HashMap<String, Tensor> = walk
        .known(block)
        .into_iter()
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .collect();
    let is_open = |name: &String| !name.is_empty() && !known.contains_key(name);
    block
        .nodes
        .retain(|node| matches!(node.work, Work::If { .. }) || node.outputs.iter().any(is_open));
    block.constants.extend(known);
}

/// Runs a step so that a panic is a refusal.
fn confined<T, E>(
    step: impl FnOnce() -> Result<T, E>,
    refusal: impl FnOnce(String) -> E,
) -> Result<T, E> {
    match confine::here(step) {
        Ok(result) => result,
        Err(panicked) => Err(refusal(panicked.0)),
    }
}

/// How many times its file's size a graph may grow by folding: bytes widened to floats, twice over.
const FOLDED_MAX: u64 = 8;
