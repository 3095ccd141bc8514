//! Windows that move over axes: convolution and pooling.

use super::Call;
use crate::ops::{
    error::InferError,
    op::{Conv, Pool, PoolKind, Window},
    spec::{Spec, extent},
};

pub(super) fn conv<const N: usize>(call: &Call<'_>, conv: &Conv<N>) -> Result<Spec, InferError> {
    let [input, weight] = if conv.bias {
        let [input, weight, _] = call.exactly()?;
        [input, weight]
    } else {
        call.exactly()?
    };
    let element = call.same_elements(0..call.specs.len())?;
    let ([batch, channels, axes @ ..], [outputs, weight_channels, taps @ ..]) =
        (input.shape(), weight.shape())
    else {
        return call.mismatch(format!("both need {} axes", N + 2));
    };
    if axes.len() != N || taps.len() != N {
        return call.mismatch(format!("both need {} axes", N + 2));
    }
    let groups = conv.groups;
    if channels.checked_rem(groups) != Some(0) || outputs.checked_rem(groups) != Some(0) {
        return call.mismatch(format!(
            "{channels} input and {outputs} output channels do not split into {groups} groups"
        ));
    }
    let per_group = channels.checked_div(groups).unwrap_or(0);
    if per_group != *weight_channels {
        return call.mismatch(format!(
            "{per_group} input channels a group do not meet {weight_channels} weight channels"
        ));
    }
    if conv.bias
        && call
            .specs
            .get(2)
            .is_some_and(|bias| bias.shape() != [*outputs])
    {
        return call.mismatch(format!("the bias must be [{outputs}]"));
    }
    let mut shape = vec![*batch, *outputs];
    for (axis, (size, window)) in taps.iter().zip(&conv.windows).enumerate() {
        shape.push(windows(call, input, axis, *size, window)?);
    }
    Spec::new(element, shape)
}

pub(super) fn pool<const N: usize>(call: &Call<'_>, pool: &Pool<N>) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    let [batch, channels, axes @ ..] = input.shape() else {
        return call.mismatch(format!("{} axes are needed", N + 2));
    };
    if axes.len() != N {
        return call.mismatch(format!("{} axes are needed", N + 2));
    }
    let mut shape = vec![*batch, *channels];
    let Some(extents) = pool.extents else {
        if axes.contains(&0) && pool.kind == PoolKind::Max {
            return call.mismatch("nothing has no maximum");
        }
        shape.extend([1; N]);
        return Spec::new(input.element(), shape);
    };
    for (axis, (size, window)) in extents.iter().zip(&pool.windows).enumerate() {
        if window.before.max(window.after) >= *size {
            return call.mismatch(format!("padding must be less than the window of {size}"));
        }
        shape.push(windows(call, input, axis, *size, window)?);
    }
    Spec::new(input.element(), shape)
}

/// The number of windows on a spatial axis.
fn windows(
    call: &Call<'_>,
    input: &Spec,
    axis: usize,
    size: u32,
    window: &Window,
) -> Result<u32, InferError> {
    let count = window.count(input.extent(axis + 2), size).and_then(extent);
    count.map_or_else(
        || {
            call.mismatch(format!(
                "no window of {size} fits axis {} with stride {}, dilation {} and padding {} + {}",
                axis + 2,
                window.stride,
                window.dilation,
                window.before,
                window.after
            ))
        },
        Ok,
    )
}
