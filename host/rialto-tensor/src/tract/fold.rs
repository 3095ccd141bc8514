//! Computing once, at load, what depends on constants only.
//!
//! Exporters store weights in small types and widen them in the graph. tract leaves the larger of
//! these steps to every run; folded here, all plans share the result.

use std::sync::Arc;

use tract_onnx::{
    prelude::{InferenceModel, IntoArcTensor, IntoTValue, TValue, TVec, Tensor},
    tract_core::ops::konst::Const,
    tract_hir::infer::{InferenceFact, InferenceOp},
};

use super::{
    Config,
    graph::{Refusal, malformed},
    plan::{check_repeats, tensor_bytes},
};

/// Replaces nodes whose inputs are all constants by their results, as long as the results together
/// stay below `bytes_max`. Nodes must be in topological order, and are afterwards.
pub(super) fn fold(
    mut model: InferenceModel,
    bytes_max: u64,
    config: &Config,
) -> Result<InferenceModel, Refusal> {
    let mut left = bytes_max;
    for id in 0..model.nodes().len() {
        let Some(values) = constant_inputs(&model, id) else {
            continue;
        };
        let Some(bytes) = result_bytes(&model, id, config)? else {
            continue;
        };
        if bytes > left {
            continue;
        }
        // What cannot be computed here is left to the plan, which reports why.
        let Ok(Some(results)) = model.node(id).op.eval_out_of_plan(values) else {
            continue;
        };
        if let Some(result) = results.into_iter().next() {
            replace(&mut model, id, result.into_arc_tensor())?;
            left -= bytes;
        }
    }
    model.into_compact().map_err(malformed)
}

fn constant_inputs(model: &InferenceModel, id: usize) -> Option<TVec<TValue>> {
    let node = model.node(id);
    if node.inputs.is_empty() || node.outputs.len() != 1 {
        return None;
    }
    let constant = |node: usize| {
        model
            .node(node)
            .op_as::<Const>()
            .map(|op| Arc::clone(op.val()))
    };
    node.inputs
        .iter()
        .map(|input| constant(input.node).map(IntoTValue::into_tvalue))
        .collect()
}

/// The size of a node's result, if it is known; an error if it is above the limit.
fn result_bytes(
    model: &InferenceModel,
    id: usize,
    config: &Config,
) -> Result<Option<u64>, Refusal> {
    let node = model.node(id);
    let (inputs, outputs) = model.node_facts(id).map_err(malformed)?;
    check_repeats(node, &inputs, config)?;
    let mut op: Box<dyn InferenceOp> = node.op.clone();
    match op.infer_facts(inputs, outputs, TVec::new()) {
        Ok((_, found, _)) => found
            .first()
            .map_or(Ok(None), |fact| tensor_bytes(&node.name, fact, config)),
        Err(_) => Ok(None),
    }
}

fn replace(model: &mut InferenceModel, id: usize, tensor: Arc<Tensor>) -> Result<(), Refusal> {
    let inputs = std::mem::take(&mut model.node_mut(id).inputs);
    for input in inputs {
        let source = model.node_mut(input.node);
        source.outputs[input.slot]
            .successors
            .retain(|successor| successor.node != id);
    }
    let fact = InferenceFact::try_from(&tensor).map_err(malformed)?;
    let op: Box<dyn InferenceOp> = Box::new(Const::new(tensor).map_err(malformed)?);
    let node = model.node_mut(id);
    node.op = op;
    node.outputs[0].fact = fact;
    Ok(())
}
