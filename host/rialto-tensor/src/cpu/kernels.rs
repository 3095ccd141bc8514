//! Which kernel computes which operation.

use super::{
    Context, View, attention,
    budget::Buffer,
    cells::{load_floats, store_floats},
    conv, elementwise, index, layout, matmul, place, pool, quantise, rank, reduce, rope, rows,
    source,
};
use crate::{
    Element,
    ops::{EvalError, Fused, Op, spec::Spec},
};

/// Computes an operation that inference accepted, giving these results.
pub(crate) fn compute(
    context: &Context<'_>,
    op: &Op,
    operands: &[View<'_>],
    results: &[Spec],
) -> Result<Vec<Buffer>, EvalError> {
    if let Op::TopK(top) = op {
        let [input] = exactly(context, operands)?;
        return rank::top_k(context, top, input, results);
    }
    let [result] = results else {
        return Err(context.bug("one result is needed"));
    };
    let chain = Fused::single(op, operands.len(), result);
    let buffer = match (chain, op) {
        (Some(chain), _) => elementwise::fused(context, &chain, operands),
        (None, Op::Matmul(_) | Op::Conv1d(_) | Op::Conv2d(_) | Op::Attention(_)) => {
            products(context, op, operands, result)
        }
        (None, op) => single(context, op, operands, result),
    }?;
    Ok(vec![buffer])
}

fn exactly<'a, const N: usize>(
    context: &Context<'_>,
    operands: &[View<'a>],
) -> Result<[View<'a>; N], EvalError> {
    <[View<'a>; N]>::try_from(operands).map_err(|_| context.bug("operands are missing"))
}

fn single(
    context: &Context<'_>,
    op: &Op,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let one = || exactly::<1>(context, operands).map(|[input]| input);
    let two = || exactly::<2>(context, operands);
    let three = || exactly::<3>(context, operands);
    match op {
        Op::Full(spec, number) => source::full(context, spec, *number),
        Op::Iota(iota) => source::iota(context, iota),
        Op::Random(random) => source::random(context, random),
        Op::Pool1d(op) => pool::pool(context, op, one()?, result),
        Op::Pool2d(op) => pool::pool(context, op, one()?, result),
        Op::Softmax { axis } => rows::along_floats(context, one()?, *axis, rows::softmax_row),
        Op::LogSoftmax { axis } => {
            rows::along_floats(context, one()?, *axis, rows::log_softmax_row)
        }
        Op::LayerNorm(norm) => rows::norm(context, norm, true, operands),
        Op::RmsNorm(norm) => rows::norm(context, norm, false, operands),
        Op::Rope(rope) => two().and_then(|[a, b]| rope::rope(context, rope, a, b)),
        Op::Gather { axis } => two().and_then(|[a, b]| index::gather(context, *axis, a, b, result)),
        Op::GatherElements { axis } => {
            two().and_then(|[a, b]| index::gather_elements(context, *axis, a, b, result))
        }
        Op::Scatter { axis, combine } => index::scatter(context, (*axis, *combine), three()?),
        Op::ScatterElements { axis, combine } => {
            index::scatter_elements(context, (*axis, *combine), three()?)
        }
        Op::Reduce(op) => reduce::reduce(context, op, one()?, result),
        Op::ArgReduce(op) => rank::arg(context, op, one()?, result),
        Op::CumSum(op) => rows::cumulative(context, op, one()?),
        Op::Quantise(op) => quantise::quantise(context, op, three()?, result),
        Op::Dequantise(op, _) => quantise::dequantise(context, op, three()?, result),
        Op::Slice(ranges) => layout::slice(context, ranges, one()?, result),
        Op::Transpose(order) => layout::transpose(context, order, one()?, result),
        Op::Concat { axis } => place::concatenate(context, *axis, operands, result),
        Op::Pad(pad) => place::pad(context, pad, one()?, result),
        Op::BroadcastTo(_) => layout::broadcast_to(context, one()?, result),
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast(_)
        | Op::Matmul(_)
        | Op::Conv1d(_)
        | Op::Conv2d(_)
        | Op::Attention(_)
        | Op::TopK(_)
        | Op::Reshape(_) => Err(context.bug("has no kernel of its own")),
    }
}

/// Operations on f32 matrices; narrower floats are widened for them.
fn products(
    context: &Context<'_>,
    op: &Op,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let element = operands
        .first()
        .map_or(Element::F32, |view| view.spec.element());
    match element {
        Element::F32 => product(context, op, operands, result),
        Element::F16 | Element::Bf16 => {
            let wide = operands
                .iter()
                .map(|view| widen(context, *view))
                .collect::<Result<Vec<_>, _>>()?;
            let views: Vec<View<'_>> = operands
                .iter()
                .zip(&wide)
                .map(|(view, wide)| match wide {
                    Some((spec, buffer)) => View {
                        spec,
                        data: &buffer.data,
                    },
                    None => *view,
                })
                .collect();
            let wide_result = wide_spec(context, result)?;
            let found = product(context, op, &views, &wide_result)?;
            let mut out = context.buffer(result.bytes())?;
            let width = element.size_bytes();
            let (values, _) = found.data.as_chunks::<4>();
            let mut block = [0.0_f32; super::cells::BLOCK];
            for (values, out) in values
                .chunks(super::cells::BLOCK)
                .zip(out.data.chunks_mut(super::cells::BLOCK * width))
            {
                let (block, _) = block.split_at_mut(values.len());
                load_floats(Element::F32, values.as_flattened(), block);
                store_floats(element, block, out);
            }
            Ok(out)
        }
        Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
            if let Op::Matmul(op) = op {
                matmul::ints(context, op, operands, result)
            } else {
                Err(context.bug("takes no integers"))
            }
        }
    }
}

fn product(
    context: &Context<'_>,
    op: &Op,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let [input, weight, ..] = operands else {
        return Err(context.bug("operands are missing"));
    };
    let specs = [input.spec, weight.spec, result];
    if let Op::Matmul(op) = op {
        matmul::floats(context, op, operands, result)
    } else if let Op::Attention(op) = op {
        attention::floats(context, op, operands, result)
    } else if let Op::Conv1d(op) = op {
        let geometry = conv::Geometry::new(&op.windows, op.groups, op.activation, specs);
        conv::floats(context, &geometry, operands, result)
    } else if let Op::Conv2d(op) = op {
        let geometry = conv::Geometry::new(&op.windows, op.groups, op.activation, specs);
        conv::floats(context, &geometry, operands, result)
    } else {
        Err(context.bug("is no product"))
    }
}

fn wide_spec(context: &Context<'_>, spec: &Spec) -> Result<Spec, EvalError> {
    spec.with_element(Element::F32)
        .map_err(|_| context.bug("a widened tensor is too large"))
}

/// A narrower float tensor as f32; none if it is of another type (as masks may be) or f32.
fn widen(context: &Context<'_>, view: View<'_>) -> Result<Option<(Spec, Buffer)>, EvalError> {
    let element = view.spec.element();
    if !matches!(element, Element::F16 | Element::Bf16) {
        return Ok(None);
    }
    let spec = wide_spec(context, view.spec)?;
    let mut buffer = context.buffer(spec.bytes())?;
    let mut block = [0.0_f32; super::cells::BLOCK];
    let width = element.size_bytes();
    for (bytes, out) in view
        .data
        .chunks(super::cells::BLOCK * width)
        .zip(buffer.data.chunks_mut(super::cells::BLOCK * 4))
    {
        let (block, _) = block.split_at_mut(out.len() / 4);
        load_floats(element, bytes, block);
        store_floats(Element::F32, block, out);
    }
    Ok(Some((spec, buffer)))
}
