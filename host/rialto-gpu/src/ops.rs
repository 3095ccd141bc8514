//! Which kernels compute which operation.

mod attention;
mod conv;
mod elementwise;
mod index;
mod layout;
mod matmul;
mod normal;
mod place;
mod pool;
mod rank;
mod reduce;
mod scan;
mod source;
mod step;
mod tile;
mod vector;

use rialto_compute::ops::{EvalError, Fused, Op, Spec};

use crate::{kernel::Operand, stream::Stream};

pub(crate) use elementwise::fused;

/// Computes an operation that inference accepted. None if there are no kernels for it.
pub(crate) fn compute(
    stream: &mut Stream<'_>,
    op: &Op,
    operands: &[&Operand],
    results: &[Spec],
) -> Result<Option<Vec<Operand>>, EvalError> {
    let Some(result) = results.first() else {
        return Ok(None);
    };
    if let Op::TopK(top) = op {
        return match operands {
            [input] => rank::top_k(stream, top, input, results),
            _ => Ok(None),
        };
    }
    if results.iter().all(|spec| spec.elements() == 0) {
        return if indexed(op) {
            Ok(None)
        } else {
            stream
                .map(op.name(), result, |_| {})
                .map(|made| Some(vec![made]))
        };
    }
    if let Some(chain) = Fused::single(op, operands.len(), result) {
        return fused(stream, &chain, operands).map(|made| Some(vec![made]));
    }
    let made = match operands {
        [] => source::compute(stream, op, result),
        [input] => single(stream, op, input, result),
        [first, second, rest @ ..] => several(stream, op, (first, second, rest), result),
    };
    if let Op::Concat { axis } = op {
        return place::concatenate(stream, *axis, operands, result).map(|made| Some(vec![made]));
    }
    made.map(|made| made.map(|made| vec![made]))
}

/// Whether an operation may find an index outside even if it gives nothing.
const fn indexed(op: &Op) -> bool {
    matches!(
        op,
        Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::Scatter { .. }
            | Op::ScatterElements { .. }
    )
}

fn single(
    stream: &mut Stream<'_>,
    op: &Op,
    input: &Operand,
    result: &Spec,
) -> Result<Option<Operand>, EvalError> {
    if let Op::Transpose(order) = op {
        layout::transpose(stream, order, input, result).map(Some)
    } else if let Op::Slice(ranges) = op {
        layout::slice(stream, ranges, input, result).map(Some)
    } else if let Op::BroadcastTo(_) = op {
        layout::broadcast_to(stream, input, result).map(Some)
    } else if let Op::Pad(pad) = op {
        place::pad(stream, pad, input, result).map(Some)
    } else if let Op::Softmax { axis } = op {
        normal::softmax(stream, "softmax", *axis, input).map(Some)
    } else if let Op::LogSoftmax { axis } = op {
        normal::softmax(stream, "log-softmax", *axis, input).map(Some)
    } else if let Op::LayerNorm(norm) = op {
        normal::norm(stream, norm, true, (input, &[])).map(Some)
    } else if let Op::RmsNorm(norm) = op {
        normal::norm(stream, norm, false, (input, &[])).map(Some)
    } else if let Op::Reduce(reduce) = op {
        reduce::reduce(stream, reduce, input, result).map(Some)
    } else if let Op::ArgReduce(arg) = op {
        rank::arg(stream, arg, input, result).map(Some)
    } else if let Op::CumSum(sum) = op {
        scan::cumulative(stream, sum, input).map(Some)
    } else if let Op::Pool1d(pool) = op {
        pool::pool(stream, pool, input, result).map(Some)
    } else if let Op::Pool2d(pool) = op {
        pool::pool(stream, pool, input, result).map(Some)
    } else {
        Ok(None)
    }
}

fn several(
    stream: &mut Stream<'_>,
    op: &Op,
    (first, second, rest): (&Operand, &Operand, &[&Operand]),
    result: &Spec,
) -> Result<Option<Operand>, EvalError> {
    if let Op::Matmul(matmul) = op {
        matmul::matmul(
            stream,
            matmul,
            (first, second, rest.first().copied()),
            result,
        )
        .map(Some)
    } else if let Op::Conv1d(conv) = op {
        conv::conv(stream, conv, (first, second, rest.first().copied()), result).map(Some)
    } else if let Op::Conv2d(conv) = op {
        conv::conv(stream, conv, (first, second, rest.first().copied()), result).map(Some)
    } else if let (Op::Attention(attention), [value, mask @ ..]) = (op, rest) {
        attention::attention(
            stream,
            attention,
            ([first, second, value], mask.first().copied()),
            result,
        )
    } else if let Op::LayerNorm(norm) = op {
        let rest = [&[second], rest].concat();
        normal::norm(stream, norm, true, (first, &rest)).map(Some)
    } else if let Op::RmsNorm(norm) = op {
        normal::norm(stream, norm, false, (first, &[second])).map(Some)
    } else if let Op::Rope(rope) = op {
        normal::rope(stream, rope, first, second).map(Some)
    } else if let Op::Gather { axis } = op {
        index::gather(stream, *axis, first, second, result).map(Some)
    } else if let Op::GatherElements { axis } = op {
        index::gather_elements(stream, *axis, first, second, result).map(Some)
    } else if let (Op::Scatter { axis, combine }, [updates]) = (op, rest) {
        index::scatter(stream, (*axis, *combine), [first, second, updates])
    } else if let (Op::ScatterElements { axis, combine }, [updates]) = (op, rest) {
        index::scatter_elements(stream, (*axis, *combine), [first, second, updates])
    } else if let (Op::Quantise(quantise), [zero]) = (op, rest) {
        index::quantise(stream, quantise, [first, second, zero], result).map(Some)
    } else if let (Op::Dequantise(quantise, _), [zero]) = (op, rest) {
        index::dequantise(stream, quantise, [first, second, zero], result).map(Some)
    } else {
        Ok(None)
    }
}
