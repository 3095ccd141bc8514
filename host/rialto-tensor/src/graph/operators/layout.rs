//! The same elements in another arrangement.

use super::{Found, many, one};
use crate::{
    graph::{
        attributes::Attributes,
        fact::{self, Fact, Operands, axis, count, narrow, wide},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Op, Range, Spec},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "Reshape" => {
            let keep_zero = a.flag("allowzero", false)?;
            one(move |s, x| {
                let shape = x.at(1)?.ints("the shape")?;
                let shape = reshaped(x.at(0)?, &shape, keep_zero)?;
                s.reshape(x.at(0)?, &shape)
            })
        }
        "Flatten" => {
            let raw = a.int_or("axis", 1)?;
            one(move |s, x| flatten(s, x.at(0)?, raw))
        }
        "Squeeze" => {
            let fixed = a.ints("axes")?;
            one(move |s, x| squeeze(s, x.at(0)?, axes(fixed.as_deref(), x, 1)?.as_deref()))
        }
        "Unsqueeze" => {
            let fixed = a.ints("axes")?;
            one(move |s, x| {
                let axes = axes(fixed.as_deref(), x, 1)?;
                let axes = axes.ok_or_else(|| Refusal::malformed("no axes are given"))?;
                unsqueeze(s, x.at(0)?, &axes)
            })
        }
        "Transpose" => {
            let order = a.ints("perm")?;
            one(move |s, x| {
                let fact = x.at(0)?;
                let order = match &order {
                    Some(order) => fact::axes(order, fact.rank())?,
                    None => (0..fact.rank()).rev().collect(),
                };
                s.transpose(fact, &order)
            })
        }
        "Concat" => {
            let raw = a.int_or("axis", 1)?;
            one(move |s, x| {
                let axis = axis(raw, x.at(0)?.rank())?;
                s.concat(&x.all()?, axis)
            })
        }
        "Split" => split(a),
        "Slice" => slice(a),
        "Expand" => one(|s, x| {
            let wanted: Vec<u32> = sizes(x.at(1)?)?;
            let joint = crate::ops::spec::broadcast(&[x.at(0)?.shape(), &wanted]);
            let joint = joint.ok_or_else(|| Refusal::malformed("the shapes do not broadcast"))?;
            s.broadcast(x.at(0)?, &joint)
        }),
        "Tile" => one(|s, x| tile(s, x.at(0)?, &sizes(x.at(1)?)?)),
        _ => Ok(None),
    }
}

/// Axes from an attribute (before operator set 13) or from an operand.
pub(super) fn axes(
    fixed: Option<&[i64]>,
    x: &Operands,
    place: usize,
) -> Result<Option<Vec<i64>>, Refusal> {
    match (fixed, x.maybe(place)) {
        (Some(axes), _) => Ok(Some(axes.to_vec())),
        (None, Some(axes)) => axes.ints("an axis").map(Some),
        (None, None) => Ok(None),
    }
}

fn sizes(fact: &Fact) -> Result<Vec<u32>, Refusal> {
    let ints = fact.ints("a shape")?;
    ints.into_iter()
        .map(|size| count(size, "an extent"))
        .collect()
}

fn reshaped(fact: &Fact, wanted: &[i64], keep_zero: bool) -> Result<Vec<u32>, Refusal> {
    let mut open = None;
    let mut shape = Vec::with_capacity(wanted.len());
    for (place, extent) in wanted.iter().enumerate() {
        shape.push(match extent {
            -1 if open.replace(place).is_none() => 1,
            0 if !keep_zero => match fact.shape().get(place) {
                Some(extent) => *extent,
                None => return Err(Refusal::malformed(format!("no axis {place} to keep"))),
            },
            extent => count(*extent, "an extent")?,
        });
    }
    if let Some(place) = open {
        let rest = Spec::new(fact.element(), shape.clone())?.elements();
        let open = fact.spec().elements().checked_div(rest);
        let open =
            open.ok_or_else(|| Refusal::malformed("an axis of any extent beside one of none"))?;
        if let Some(extent) = shape.get_mut(place) {
            *extent = narrow(open)?;
        }
    }
    Ok(shape)
}

fn flatten(s: &mut Scope<'_>, fact: &Fact, raw: i64) -> Result<Fact, Refusal> {
    // The axis may be the one after the last.
    let at = axis(raw, fact.rank() + usize::from(raw >= 0))?;
    let (before, after) = fact.shape().split_at(at);
    let product = |shape: &[u32]| narrow(crate::ops::spec::product(shape));
    let shape = [product(before)?, product(after)?];
    s.reshape(fact, &shape)
}

fn squeeze(s: &mut Scope<'_>, fact: &Fact, axes: Option<&[i64]>) -> Result<Fact, Refusal> {
    let gone = match axes {
        Some(axes) => fact::axes(axes, fact.rank())?,
        None => (0..fact.rank())
            .filter(|axis| fact.extent(*axis) == 1)
            .collect(),
    };
    if let Some(axis) = gone.iter().find(|axis| fact.extent(**axis) != 1) {
        return Err(Refusal::malformed(format!(
            "axis {axis} has {} elements",
            fact.extent(*axis)
        )));
    }
    let kept = (0..fact.rank()).filter(|axis| !gone.contains(axis));
    let shape: Vec<u32> = kept.map(|axis| fact.extent(axis)).collect();
    s.reshape(fact, &shape)
}

fn unsqueeze(s: &mut Scope<'_>, fact: &Fact, raw: &[i64]) -> Result<Fact, Refusal> {
    let rank = fact.rank() + raw.len();
    let new = fact::axes(raw, rank)?;
    let mut old = fact.shape().iter();
    let extents = (0..rank).map(|axis| {
        if new.contains(&axis) {
            Some(1)
        } else {
            old.next().copied()
        }
    });
    let shape: Vec<u32> = extents.flatten().collect();
    s.reshape(fact, &shape)
}

fn split(a: &mut Attributes<'_>) -> Found {
    let raw = a.int_or("axis", 0)?;
    let fixed = a.ints("split")?;
    let parts = a.int("num_outputs")?;
    let outputs = a.outputs();
    a.results(usize::MAX);
    many(move |s, x| {
        let fact = x.at(0)?;
        let axis = axis(raw, fact.rank())?;
        let extent = fact.extent(axis);
        let lengths = match (axes(fixed.as_deref(), x, 1)?, parts) {
            (Some(lengths), _) => lengths,
            (None, parts) => {
                let parts = parts.map_or_else(|| narrow(outputs), |parts| count(parts, "parts"))?;
                let each = extent.div_ceil(parts.max(1));
                // The last one is smaller where they are not equal (operator set 18).
                let part = |place: u32| extent.saturating_sub(place.saturating_mul(each)).min(each);
                let places = 0..parts.min(narrow(outputs)?);
                places.map(|place| i64::from(part(place))).collect()
            }
        };
        let mut from = 0_u32;
        let mut results = Vec::new();
        for length in lengths {
            let to = from.saturating_add(count(length, "a part")?);
            if to > extent {
                return Err(Refusal::malformed(format!(
                    "parts of {extent} elements reach {to}"
                )));
            }
            results.push(s.span(fact, axis, from, to)?);
            from = to;
        }
        if from != extent {
            return Err(Refusal::malformed(format!(
                "parts of {extent} elements reach {from}"
            )));
        }
        Ok(results)
    })
}

fn slice(a: &mut Attributes<'_>) -> Found {
    let fixed = (a.ints("starts")?, a.ints("ends")?, a.ints("axes")?);
    one(move |s, x| {
        let fact = x.at(0)?;
        let given = |fixed: &Option<Vec<i64>>, place| axes(fixed.as_deref(), x, place);
        let missing = || Refusal::malformed("where to start or to end is missing");
        let starts = given(&fixed.0, 1)?.ok_or_else(missing)?;
        let ends = given(&fixed.1, 2)?.ok_or_else(missing)?;
        let places = match given(&fixed.2, 3)? {
            Some(places) => fact::axes(&places, fact.rank())?,
            None => (0..starts.len()).collect(),
        };
        let steps = axes(None, x, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), places.len(), steps.len()] != [starts.len(); 3] {
            return Err(Refusal::malformed(
                "starts, ends, axes and steps differ in number",
            ));
        }
        let mut ranges = vec![Range::default(); fact.rank()];
        for (((start, end), place), step) in starts.iter().zip(ends).zip(places).zip(steps) {
            let range = ranges.get_mut(place);
            let range =
                range.ok_or_else(|| Refusal::malformed(format!("there is no axis {place}")))?;
            let extent = i64::from(fact.extent(place));
            let all = step == 1 && (*start == 0 || *start <= -extent) && end >= extent;
            if !all {
                let end = Some(end);
                *range = Range {
                    start: *start,
                    end,
                    step,
                };
            }
        }
        if ranges.iter().all(|range| *range == Range::default()) {
            return Ok(fact.clone());
        }
        s.op(Op::Slice(ranges), &[fact])
    })
}

/// Each axis repeated: a new axis before it, broadcast, joined with it.
fn tile(s: &mut Scope<'_>, fact: &Fact, times: &[u32]) -> Result<Fact, Refusal> {
    if times.len() != fact.rank() {
        return Err(Refusal::malformed(
            "a number of repeats is needed for each axis",
        ));
    }
    let mut fact = fact.clone();
    for (axis, times) in times.iter().enumerate() {
        if *times == 1 {
            continue;
        }
        let mut shape = fact.shape().to_vec();
        let extent = fact.extent(axis);
        shape.insert(axis, 1);
        let apart = s.reshape(&fact, &shape)?;
        shape.splice(axis..=axis, [*times]);
        let spread = s.broadcast(&apart, &shape)?;
        let joint = extent.checked_mul(*times);
        let joint = joint.ok_or_else(|| Refusal::TooLarge(format!("{times} times {extent}")))?;
        shape.splice(axis..=axis + 1, [joint]);
        fact = s.reshape(&spread, &shape)?;
    }
    Ok(fact)
}

/// The number of elements of a shape that was checked.
pub(super) fn elements(shape: &[u32]) -> usize {
    shape
        .iter()
        .fold(1, |product, extent| product.saturating_mul(wide(*extent)))
}
