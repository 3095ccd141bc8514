//! Chains of element-wise operations, each one kernel.

use rialto_compute::ops::{
    EvalError, Fused, FusedStep, Source, Spec,
    spec::{broadcast_strides, size},
};

use super::step::expression;
use crate::{
    kernel::{Kernel, Operand, register},
    link::failed,
    stream::Stream,
};

/// Runs a chain; in several kernels if it has more operands than one may bind.
pub(crate) fn fused(
    stream: &mut Stream<'_>,
    chain: &Fused,
    operands: &[&Operand],
) -> Result<Operand, EvalError> {
    let bindings = stream.link.limits.max_storage_buffers_per_shader_stage;
    if operands.len() < size(bindings) || chain.steps.len() == 1 {
        return one(stream, chain, operands);
    }
    let mut made: Vec<Operand> = Vec::with_capacity(chain.steps.len());
    for step in &chain.steps {
        let sources: Vec<&Operand> = step
            .operands
            .iter()
            .filter_map(|source| match source {
                Source::Operand(index) => operands.get(*index).copied(),
                Source::Step(index) => made.get(*index),
            })
            .collect();
        let shape = chain.result.shape();
        let single = Fused {
            steps: vec![FusedStep {
                operands: (0..sources.len()).map(Source::Operand).collect(),
                ..step.clone()
            }],
            result: Spec::new(step.element, shape)?,
        };
        let result = one(stream, &single, &sources)?;
        made.push(result);
    }
    made.pop()
        .ok_or_else(|| failed(NAME, "it has no steps".to_owned()))
}

fn one(
    stream: &mut Stream<'_>,
    chain: &Fused,
    operands: &[&Operand],
) -> Result<Operand, EvalError> {
    let mut understood = true;
    let made = stream.map(NAME, &chain.result, |kernel| {
        let mut body = String::new();
        let shapes: Vec<&[u32]> = operands
            .iter()
            .map(|operand| operand.spec.shape())
            .collect();
        let places = places(kernel, &shapes, chain.result.shape(), &mut body);
        for (index, (operand, place)) in operands.iter().zip(&places).enumerate() {
            let n = kernel.read(operand);
            body.push_str(&format!("let x{index} = load{n}({place});\n"));
        }
        for (index, step) in chain.steps.iter().enumerate() {
            let name = |source: &Source| match source {
                Source::Operand(index) => format!("x{index}"),
                Source::Step(index) => format!("y{index}"),
            };
            let source = step.operands.first().and_then(|source| match source {
                Source::Operand(index) => operands.get(*index).map(|o| o.spec.element()),
                Source::Step(index) => chain.steps.get(*index).map(|step| step.element),
            });
            let args: Vec<String> = step.operands.iter().map(name).collect();
            let types = (source.unwrap_or(step.element), step.element);
            match expression(step.op, types, &args) {
                Some(text) => body.push_str(&format!("let y{index} = {text};\n")),
                None => understood = false,
            }
        }
        let last = chain.steps.len().saturating_sub(1);
        let register = register(chain.result.element());
        kernel.push(&format!(
            "fn value(i: u32) -> {register} {{\n{body}return y{last};\n}}\n"
        ));
    })?;
    if understood {
        Ok(made)
    } else {
        Err(failed(NAME, "operands are of another type".to_owned()))
    }
}

/// For tensors that are read as if they had the shape `to`: the places, as expressions, of the element
/// at place `i`. What the expressions need is written to `body`.
pub(super) fn places(
    kernel: &mut Kernel,
    shapes: &[&[u32]],
    to: &[u32],
    body: &mut String,
) -> Vec<String> {
    // Axes with a stride for each tensor; neighbours that all tensors walk as one are one.
    let strides: Vec<Vec<usize>> = shapes
        .iter()
        .map(|shape| broadcast_strides(shape, to))
        .collect();
    let mut axes: Vec<(usize, Vec<usize>)> = Vec::new();
    for (axis, extent) in to.iter().map(|extent| size(*extent)).enumerate() {
        if extent == 1 {
            continue;
        }
        let own: Vec<usize> = strides
            .iter()
            .map(|strides| strides.get(axis).copied().unwrap_or(0))
            .collect();
        match axes.last_mut() {
            Some((outer, outer_strides))
                if outer_strides
                    .iter()
                    .zip(&own)
                    .all(|(outer, stride)| *outer == stride * extent) =>
            {
                *outer *= extent;
                *outer_strides = own;
            }
            _ => axes.push((extent, own)),
        }
    }
    if axes.is_empty() {
        return vec!["i".to_owned(); shapes.len()];
    }
    let mut places = vec![String::new(); shapes.len()];
    if let [(_, strides)] = axes.as_slice()
        && strides.iter().all(|stride| *stride < 2)
    {
        for (place, stride) in places.iter_mut().zip(strides) {
            place.push_str(if *stride == 0 { "0u" } else { "i" });
        }
        return places;
    }
    body.push_str("var rest = i;\n");
    for (axis, (extent, strides)) in axes.iter().enumerate().rev() {
        let extent = kernel.size(*extent);
        if axis == 0 {
            body.push_str("let at0 = rest;\n");
        } else {
            body.push_str(&format!(
                "let at{axis} = rest % {extent};\nrest = rest / {extent};\n"
            ));
        }
        for (place, stride) in places.iter_mut().zip(strides) {
            if *stride > 0 {
                let stride = kernel.size(*stride);
                place.push_str(&format!("at{axis} * {stride} + "));
            }
        }
    }
    for place in &mut places {
        place.push_str("0u");
    }
    places
}

const NAME: &str = "element-wise chain";
