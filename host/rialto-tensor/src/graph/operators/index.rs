//! Gathering, scattering, ranking and running sums.

use super::{Found, layout::elements, many, one};
use crate::{
    Element,
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, axis, count, narrow},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{ArgReduce, Binary, Combine, Compare, CumSum, Number, Op, Range, ReduceKind, TopK},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "Gather" => {
            let raw = a.int_or("axis", 0)?;
            one(move |s, x| {
                let axis = axis(raw, x.at(0)?.rank())?;
                gather(s, x.at(0)?, x.at(1)?, axis)
            })
        }
        "GatherElements" => {
            let raw = a.int_or("axis", 0)?;
            one(move |s, x| {
                let axis = axis(raw, x.at(0)?.rank())?;
                s.op(Op::GatherElements { axis }, &[x.at(0)?, x.at(1)?])
            })
        }
        "GatherND" => {
            a.only("batch_dims", 0)?;
            one(|s, x| gather_nd(s, x.at(0)?, x.at(1)?))
        }
        "ScatterElements" | "Scatter" => {
            let raw = a.int_or("axis", 0)?;
            let combine = combination(a)?;
            one(move |s, x| {
                let axis = axis(raw, x.at(0)?.rank())?;
                s.op(
                    Op::ScatterElements { axis, combine },
                    &[x.at(0)?, x.at(1)?, x.at(2)?],
                )
            })
        }
        "ScatterND" => {
            let combine = combination(a)?;
            one(move |s, x| scatter_nd(s, x, combine))
        }
        _ => ranked(op, a),
    }
}

/// What depends on the order of elements.
fn ranked(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "ArgMax" | "ArgMin" => {
            let largest = op == "ArgMax";
            let (raw, keep) = (a.int_or("axis", 0)?, a.flag("keepdims", true)?);
            let last = a.flag("select_last_index", false)?;
            one(move |s, x| {
                let axis = axis(raw, x.at(0)?.rank())?;
                let arg = ArgReduce {
                    axis,
                    largest,
                    keep,
                };
                arg_reduce(s, x.at(0)?, arg, last)
            })
        }
        "TopK" => {
            let (raw, largest) = (a.int_or("axis", -1)?, a.flag("largest", true)?);
            let fixed = a.int("k")?;
            a.ignore("sorted");
            a.results(2);
            many(move |s, x| {
                let k = match fixed {
                    Some(k) => k,
                    None => x.at(1)?.int("k")?,
                };
                let axis = axis(raw, x.at(0)?.rank())?;
                let top = TopK {
                    axis,
                    k: count(k, "k")?,
                    largest,
                };
                s.ops(Op::TopK(top), &[x.at(0)?])
            })
        }
        "CumSum" => {
            let (exclusive, reverse) = (a.flag("exclusive", false)?, a.flag("reverse", false)?);
            one(move |s, x| {
                let axis = axis(x.at(1)?.int("the axis")?, x.at(0)?.rank())?;
                s.op(
                    Op::CumSum(CumSum {
                        axis,
                        exclusive,
                        reverse,
                    }),
                    &[x.at(0)?],
                )
            })
        }
        _ => Ok(None),
    }
}

/// One known place is a slice: most often part of a shape, or a row.
fn gather(s: &mut Scope<'_>, data: &Fact, indices: &Fact, axis: usize) -> Result<Fact, Refusal> {
    if indices.tensor().is_some() && indices.rank() == 0 {
        let extent = i64::from(data.extent(axis));
        let raw = indices.int("an index")?;
        let place = if raw < 0 { raw + extent } else { raw };
        if !(0..extent).contains(&place) {
            return Err(Refusal::malformed(format!(
                "index {raw} is outside of {extent} elements"
            )));
        }
        let place = count(place, "an index")?;
        let row = s.span(data, axis, place, place.saturating_add(1))?;
        let mut shape = row.shape().to_vec();
        shape.remove(axis);
        return s.reshape(&row, &shape);
    }
    s.op(Op::Gather { axis }, &[data, indices])
}

fn combination(a: &mut Attributes<'_>) -> Result<Combine, Refusal> {
    match a.text_or("reduction", "none")?.as_str() {
        "none" => Ok(Combine::Replace),
        "add" => Ok(Combine::Add),
        "mul" => Ok(Combine::Mul),
        "min" => Ok(Combine::Min),
        "max" => Ok(Combine::Max),
        other => Err(Refusal::unsupported(format!("`reduction` of {other}"))),
    }
}

/// Rows of places in the first axes of the data, as places in those axes joined to one.
struct Places {
    /// One place for each row.
    flat: Fact,
    /// The extent of the joined axes.
    joint: u32,
    /// The other axes.
    rest: Vec<u32>,
    /// What the rows are arranged in.
    rows: Vec<u32>,
}

fn places(s: &mut Scope<'_>, data: &Fact, indices: &Fact) -> Result<Places, Refusal> {
    let [rows @ .., depth] = indices.shape() else {
        return Err(Refusal::malformed("the indices need an axis"));
    };
    let depth = usize::try_from(*depth).unwrap_or(usize::MAX);
    if depth == 0 || depth > data.rank() {
        return Err(Refusal::malformed(format!(
            "{depth} places in {} axes",
            data.rank()
        )));
    }
    let (joined, rest) = data.shape().split_at(depth);
    let mut strides = Vec::with_capacity(depth);
    let mut stride = 1_i64;
    for extent in joined.iter().rev() {
        strides.push(stride);
        stride = stride.saturating_mul(i64::from(*extent));
    }
    strides.reverse();
    let extents: Vec<i64> = joined.iter().map(|extent| i64::from(*extent)).collect();
    let (extents, strides) = (s.row(&extents)?, s.row(&strides)?);
    let indices = s.cast(indices, Element::I64)?;
    let negative = s.is(Compare::Less, &indices, 0.0)?;
    let from_end = s.binary(Binary::Add, &indices, &extents)?;
    let indices = s.select(&negative, &from_end, &indices)?;
    // What is outside on one axis must not become a place on another one.
    let below = s.is(Compare::Less, &indices, 0.0)?;
    let beyond = s.compare(Compare::GreaterEqual, &indices, &extents)?;
    let outside = s.binary(Binary::Or, &below, &beyond)?;
    let nowhere = s.number(Element::I64, Number::Int(i64::from(u32::MAX)))?;
    let scaled = s.binary(Binary::Mul, &indices, &strides)?;
    let scaled = s.select(&outside, &nowhere, &scaled)?;
    let flat = s.reduce(ReduceKind::Sum, &scaled, &[indices.rank() - 1], false)?;
    Ok(Places {
        flat,
        joint: narrow(elements(joined))?,
        rest: rest.to_vec(),
        rows: rows.to_vec(),
    })
}

fn gather_nd(s: &mut Scope<'_>, data: &Fact, indices: &Fact) -> Result<Fact, Refusal> {
    let places = places(s, data, indices)?;
    let data = s.reshape(data, &[&[places.joint][..], &places.rest].concat())?;
    s.op(Op::Gather { axis: 0 }, &[&data, &places.flat])
}

fn scatter_nd(s: &mut Scope<'_>, x: &Operands, combine: Combine) -> Result<Fact, Refusal> {
    let (data, updates) = (x.at(0)?, x.at(2)?);
    let places = places(s, data, x.at(1)?)?;
    if updates.shape() != [&places.rows[..], &places.rest].concat() {
        return Err(Refusal::malformed(format!(
            "updates of {:?}",
            updates.shape()
        )));
    }
    let count = narrow(elements(&places.rows))?;
    let flat = s.reshape(&places.flat, &[count])?;
    let joined = s.reshape(data, &[&[places.joint][..], &places.rest].concat())?;
    let updates = s.reshape(updates, &[&[count][..], &places.rest].concat())?;
    let done = s.op(
        Op::Scatter { axis: 0, combine },
        &[&joined, &flat, &updates],
    )?;
    s.reshape(&done, data.shape())
}

/// The last of equals is the first from the end.
fn arg_reduce(s: &mut Scope<'_>, fact: &Fact, arg: ArgReduce, last: bool) -> Result<Fact, Refusal> {
    if !last {
        return s.op(Op::ArgReduce(arg), &[fact]);
    }
    let back = Range {
        start: -1,
        end: None,
        step: -1,
    };
    let turned = s.part(fact, arg.axis, back)?;
    let place = s.op(Op::ArgReduce(arg), &[&turned])?;
    let highest = i64::from(fact.extent(arg.axis)).saturating_sub(1);
    let highest = s.number(Element::I64, Number::Int(highest))?;
    s.binary(Binary::Sub, &highest, &place)
}
