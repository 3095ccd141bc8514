//! Transposed convolutions, by convolutions.
//!
//! Where windows touch and do not overlap, each element becomes a block: a product, rearranged. Else zeros
//! are put between the elements, and the mirrored weight slides over them.

use super::{Found, conv::convolution, conv::item, one};
use crate::{
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, count},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Number, Op, Pad, PadMode, Range, Window},
};

/// The attributes.
#[derive(Debug, Clone)]
struct Spread {
    strides: Option<Vec<i64>>,
    dilations: Option<Vec<i64>>,
    pads: Option<Vec<i64>>,
    extra: Option<Vec<i64>>,
    groups: u32,
}

/// One axis.
#[derive(Debug, Clone, Copy)]
struct Axis {
    extent: u32,
    taps: u32,
    stride: u32,
    dilation: u32,
    /// Elements taken away before and after; what is added after if negative.
    before: i64,
    after: i64,
}

pub(super) fn read(a: &mut Attributes<'_>) -> Found {
    let auto = a.text_or("auto_pad", "NOTSET")?;
    if auto != "NOTSET" && auto != "VALID" {
        return Err(Refusal::unsupported(format!("`auto_pad` of {auto}")));
    }
    if a.has("output_shape") {
        return Err(Refusal::unsupported("`output_shape`"));
    }
    // The weight has the same extents.
    a.ignore("kernel_shape");
    let spread = Spread {
        strides: a.ints("strides")?,
        dilations: a.ints("dilations")?,
        pads: a.ints("pads")?.filter(|_| auto == "NOTSET"),
        extra: a.ints("output_padding")?,
        groups: count(a.int_or("group", 1)?, "groups")?,
    };
    one(move |s, x| transposed(s, x, &spread))
}

fn transposed(s: &mut Scope<'_>, x: &Operands, spread: &Spread) -> Result<Fact, Refusal> {
    let (input, weight) = (x.at(0)?, x.at(1)?);
    let axes = axes(input, weight, spread)?;
    let blocks = axes.iter().all(|axis| {
        axis.stride == axis.taps && axis.dilation == 1 && axis.before == 0 && axis.after == 0
    });
    let result = if blocks {
        blocks_of(s, input, weight, spread.groups)?
    } else {
        slide(s, input, weight, &axes, spread.groups)?
    };
    let Some(bias) = x.maybe(2) else {
        return Ok(result);
    };
    let mut column = vec![bias.extent(0)];
    column.extend(vec![1; axes.len()]);
    let bias = s.reshape(bias, &column)?;
    s.binary(crate::ops::Binary::Add, &result, &bias)
}

fn axes(input: &Fact, weight: &Fact, spread: &Spread) -> Result<Vec<Axis>, Refusal> {
    let ([_, channels, extents @ ..], [inputs, _, taps @ ..]) = (input.shape(), weight.shape())
    else {
        return Err(Refusal::malformed("at least three axes are needed"));
    };
    let n = extents.len();
    let groups = spread.groups;
    if channels != inputs || taps.len() != n || channels.checked_rem(groups) != Some(0) {
        let shape = weight.shape();
        return Err(Refusal::malformed(format!(
            "{channels} channels, {groups} groups, weight {shape:?}"
        )));
    }
    let axis = |(place, (extent, taps)): (usize, (&u32, &u32))| {
        let of = |list: &Option<Vec<i64>>, default| item(list.as_deref(), place, n, default);
        let extra = of(&spread.extra, 0)?;
        let after = item(spread.pads.as_deref(), place + n, 2 * n, 0)?;
        let (stride, dilation) = (of(&spread.strides, 1)?, of(&spread.dilations, 1)?);
        if [stride, dilation, *taps, *extent].contains(&0) {
            return Err(Refusal::malformed("a stride, dilation or extent of 0"));
        }
        Ok(Axis {
            extent: *extent,
            taps: *taps,
            stride,
            dilation,
            before: i64::from(item(spread.pads.as_deref(), place, 2 * n, 0)?),
            after: i64::from(after) - i64::from(extra),
        })
    };
    extents.iter().zip(taps).enumerate().map(axis).collect()
}

/// Each element becomes a block of its own.
fn blocks_of(s: &mut Scope<'_>, input: &Fact, weight: &Fact, groups: u32) -> Result<Fact, Refusal> {
    let [_, per_group, taps @ ..] = weight.shape() else {
        return Err(Refusal::malformed("the weight needs more axes"));
    };
    let taps = taps.to_vec();
    let block = taps
        .iter()
        .try_fold(*per_group, |product, tap| product.checked_mul(*tap));
    let block = block.ok_or_else(|| Refusal::TooLarge(format!("windows of {taps:?}")))?;
    let channels = weight.extent(0).checked_div(groups).unwrap_or(0);
    let rows = s.reshape(weight, &[groups, channels, block])?;
    let rows = s.transpose(&rows, &[0, 2, 1])?;
    let outputs = groups.saturating_mul(*per_group);
    let mut shape = vec![groups.saturating_mul(block), channels];
    shape.extend(vec![1; taps.len()]);
    let rows = s.reshape(&rows, &shape)?;
    let op = convolution(&vec![Window::default(); taps.len()], groups, false)?;
    let apart = s.op(op, &[input, &rows])?;
    // [n, outputs, taps.., extents..] becomes [n, outputs, extent, tap, ..].
    let extents = input.shape().get(2..).unwrap_or_default();
    let shape = [&[input.extent(0), outputs][..], &taps, extents].concat();
    let apart = s.reshape(&apart, &shape)?;
    let n = taps.len();
    let mut order = vec![0, 1];
    order.extend((0..n).flat_map(|axis| [2 + n + axis, 2 + axis]));
    let moved = s.transpose(&apart, &order)?;
    let mut shape = vec![input.extent(0), outputs];
    for (extent, tap) in extents.iter().zip(&taps) {
        let long = extent.checked_mul(*tap);
        shape.push(long.ok_or_else(|| Refusal::TooLarge(format!("{extent} blocks of {tap}")))?);
    }
    s.reshape(&moved, &shape)
}

/// The mirrored weight slides over the elements with zeros between them.
fn slide(
    s: &mut Scope<'_>,
    input: &Fact,
    weight: &Fact,
    axes: &[Axis],
    groups: u32,
) -> Result<Fact, Refusal> {
    let mut spread = input.clone();
    let mut windows = Vec::with_capacity(axes.len());
    let (mut cut_before, mut cut_after) = (Vec::new(), Vec::new());
    for (place, axis) in axes.iter().enumerate() {
        spread = apart(s, &spread, place + 2, axis)?;
        let reach = i64::from(axis.dilation)
            .checked_mul(i64::from(axis.taps) - 1)
            .ok_or_else(|| Refusal::TooLarge(format!("{} taps", axis.taps)))?;
        let (before, after) = (reach - axis.before, reach - axis.after);
        windows.push(Window {
            stride: 1,
            dilation: axis.dilation,
            before: count(before.max(0), "padding")?,
            after: count(after.max(0), "padding")?,
        });
        cut_before.push(before.min(0).unsigned_abs());
        cut_after.push(after.min(0).unsigned_abs());
    }
    let per_group = weight.extent(1);
    let channels = weight.extent(0).checked_div(groups).unwrap_or(0);
    let taps = weight.shape().get(2..).unwrap_or_default().to_vec();
    let shape = [&[groups, channels, per_group][..], &taps].concat();
    let turned = s.reshape(weight, &shape)?;
    let mut order = vec![0, 2, 1];
    order.extend(3..3 + taps.len());
    let mut turned = s.transpose(&turned, &order)?;
    let shape = [&[groups.saturating_mul(per_group), channels][..], &taps].concat();
    turned = s.reshape(&turned, &shape)?;
    for axis in 2..2 + taps.len() {
        let back = Range {
            start: -1,
            end: None,
            step: -1,
        };
        turned = s.part(&turned, axis, back)?;
    }
    let mut result = s.op(convolution(&windows, groups, false)?, &[&spread, &turned])?;
    for (place, (before, after)) in cut_before.into_iter().zip(cut_after).enumerate() {
        let extent = u64::from(result.extent(place + 2));
        let to = extent.saturating_sub(after);
        let (from, to) = (u32::try_from(before), u32::try_from(to));
        let (Ok(from), Ok(to)) = (from, to) else {
            return Err(Refusal::malformed("padding takes all elements away"));
        };
        if from > 0 || u64::from(to) < extent {
            result = s.span(&result, place + 2, from, to)?;
        }
    }
    Ok(result)
}

/// Zeros between the elements of an axis.
fn apart(s: &mut Scope<'_>, fact: &Fact, place: usize, axis: &Axis) -> Result<Fact, Refusal> {
    if axis.stride == 1 {
        return Ok(fact.clone());
    }
    let mut shape = fact.shape().to_vec();
    shape.insert(place + 1, 1);
    let fact = s.reshape(fact, &shape)?;
    let before = vec![0; shape.len()];
    let mut after = before.clone();
    if let Some(zeros) = after.get_mut(place + 1) {
        *zeros = axis.stride - 1;
    }
    let mode = PadMode::Constant(Number::Int(0));
    let spread = s.op(
        Op::Pad(Pad {
            before,
            after,
            mode,
        }),
        &[&fact],
    )?;
    let long = axis.extent.checked_mul(axis.stride);
    let long = long.ok_or_else(|| Refusal::TooLarge(format!("a stride of {}", axis.stride)))?;
    shape.splice(place..=place + 1, [long]);
    let spread = s.reshape(&spread, &shape)?;
    s.span(&spread, place, 0, long - (axis.stride - 1))
}
