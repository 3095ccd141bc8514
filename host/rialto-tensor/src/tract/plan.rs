//! A graph with all its shapes fixed, folded, optimised and ready to run.
//!
//! Non-goals: choosing shapes, keeping plans.

use std::sync::Arc;

use tract_onnx::{
    prelude::{
        DatumType, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, OutletId,
        TValue, TVec, TractResult, TypedRunnableModel,
    },
    tract_hir::{
        infer::{Factoid, InferenceNode, InferenceOp},
        internal::DimLike,
    },
};

use super::{
    Config,
    graph::{Refusal, malformed},
    measure,
};

/// An optimised graph for one combination of input shapes. Runs share it; each has its own state.
#[derive(Debug)]
pub(super) struct Plan(Arc<TypedRunnableModel>);

impl Plan {
    /// Plans `graph` for inputs of `shapes`, in the graph's order. May recurse deeply and panic on
    /// malformed graphs: to be confined.
    pub(super) fn build(
        graph: &InferenceModel,
        shapes: &[Vec<usize>],
        config: &Config,
    ) -> Result<Self, Refusal> {
        let mut model = graph.clone();
        for (index, shape) in shapes.iter().enumerate() {
            let declared = model.input_fact(index).map_err(malformed)?;
            let datum = declared.datum_type;
            let fact = InferenceFact {
                datum_type: datum,
                ..InferenceFact::shape(shape.clone())
            };
            model.set_input_fact(index, fact).map_err(malformed)?;
        }
        walk(&mut model, config)?;
        let mut model = model.into_typed().map_err(malformed)?;
        model.declutter().map_err(malformed)?;
        measure::check(&model, config)?;
        model.optimize().map_err(malformed)?;
        model.into_runnable().map(Self).map_err(malformed)
    }

    /// Runs the plan on this thread; all outputs, in the graph's order.
    pub(super) fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.run(inputs)
    }
}

/// Infers shapes once in topological order, checking each tensor's size before it can be made: tract
/// computes constants while it infers, whatever their size.
fn walk(model: &mut InferenceModel, config: &Config) -> Result<(), Refusal> {
    for id in 0..model.nodes().len() {
        let (inputs, outputs) = model.node_facts(id).map_err(malformed)?;
        let constant = !inputs.is_empty() && inputs.iter().all(|fact| fact.value.is_concrete());
        let inputs: Vec<InferenceFact> = inputs.into_iter().cloned().collect();
        let outputs: Vec<InferenceFact> = outputs.into_iter().cloned().collect();
        let node = model.node(id);
        let observed = node.op.observe_outlets(model, node).map_err(malformed)?;
        let observed = observed
            .iter()
            .map(|outlet| model.outlet_fact(*outlet).cloned());
        let observed = observed
            .collect::<TractResult<Vec<_>>>()
            .map_err(malformed)?;
        let facts = || {
            (
                inputs.iter().collect(),
                outputs.iter().collect(),
                observed.iter().collect(),
            )
        };

        check_repeats(node, &inputs.iter().collect::<Vec<_>>(), config)?;
        let mut op: Box<dyn InferenceOp> = node.op.clone();
        let (i, o, seen) = facts();
        let (_, found, _) = op.infer_facts(i, o, seen).map_err(malformed)?;
        for fact in &found {
            if tensor_bytes(&node.name, fact, config)?.is_none() && constant {
                let reason = format!("node `{}` makes a constant of unknown size", node.name);
                return Err(Refusal::Unsupported(reason));
            }
        }
        let (i, o, seen) = facts();
        let (_, found, _) = op.infer(i, o, seen).map_err(malformed)?;
        for (slot, (old, new)) in outputs.iter().zip(&found).enumerate() {
            let fact = old.unify(new).map_err(malformed)?;
            model
                .set_outlet_fact(OutletId::new(id, slot), fact)
                .map_err(malformed)?;
        }
    }
    Ok(())
}

/// Checks a tile before tract may compute it; one whose repeats are not known yet is checked when they
/// are. Other nodes pass.
pub(super) fn check_repeats(
    node: &InferenceNode,
    inputs: &[&InferenceFact],
    config: &Config,
) -> Result<(), Refusal> {
    let ("Tile", [operand, times]) = (&*node.op.name(), inputs) else {
        return Ok(());
    };
    let (Some((datum, shape)), Some(times)) = (extents(operand), times.value.concretize()) else {
        return Ok(());
    };
    let times = times.cast_to::<i64>().map_err(malformed)?;
    let times = times.try_as_plain_ram().map_err(malformed)?;
    let times: Vec<usize> = times
        .as_slice::<i64>()
        .map_err(malformed)?
        .iter()
        .map(|times| usize::try_from(*times).unwrap_or(usize::MAX))
        .collect();
    measure::check_tiles(&node.name, datum, &shape, &times, config)
}

/// Element type and extents, if all are known.
fn extents(fact: &InferenceFact) -> Option<(DatumType, Vec<usize>)> {
    let dims = fact.shape.concretize()?;
    let shape = dims.iter().map(|dim| dim.to_usize().ok());
    Some((fact.datum_type.concretize()?, shape.collect::<Option<_>>()?))
}

/// The size of a tensor, if its shape is known; an error if it is above the limit.
pub(super) fn tensor_bytes(
    node: &str,
    fact: &InferenceFact,
    config: &Config,
) -> Result<Option<u64>, Refusal> {
    extents(fact)
        .map(|(datum, shape)| measure::check_tensor(node, datum, &shape, config))
        .transpose()
}
