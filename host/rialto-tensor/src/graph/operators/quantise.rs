//! Quantised tensors.
//!
//! Products of 8-bit integers are computed in floats, exactly: their sums are split so that no partial
//! sum leaves the whole numbers that an f32 holds.

use super::{Found, many, one};
use crate::{
    Element,
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, axis},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Binary, Compare, Matmul, Number, Op, Quantise, ReduceKind, Unary},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "QuantizeLinear" => {
            let raw = axis_of(a)?;
            one(move |s, x| {
                let element = x.maybe(2).map_or(Element::U8, Fact::element);
                let [scale, zero, on] = parameters(s, x, raw, element)?;
                let axis = on
                    .map(|_| raw)
                    .map(|raw| axis(raw, x.at(0)?.rank()))
                    .transpose()?;
                s.op(
                    Op::Quantise(Quantise { axis }),
                    &[x.at(0)?, &needed(scale)?, &needed(zero)?],
                )
            })
        }
        "DequantizeLinear" => {
            let raw = axis_of(a)?;
            one(move |s, x| dequantise(s, x, raw))
        }
        "DynamicQuantizeLinear" => {
            a.results(3);
            many(|s, x| dynamic(s, x.at(0)?))
        }
        _ => Ok(None),
    }
}

fn axis_of(a: &mut Attributes<'_>) -> Result<i64, Refusal> {
    a.only("block_size", 0)?;
    a.only("output_dtype", 0)?;
    a.only("precision", 0)?;
    a.ignore("saturate");
    a.int_or("axis", 1)
}

fn needed(fact: Option<Fact>) -> Result<Fact, Refusal> {
    fact.ok_or_else(|| Refusal::malformed("a scale is missing"))
}

/// Scale, zero point, and the scale again if there is one for each place on an axis.
fn parameters(
    s: &mut Scope<'_>,
    x: &Operands,
    raw: i64,
    element: Element,
) -> Result<[Option<Fact>; 3], Refusal> {
    let scale = x.at(1)?;
    let zero = match x.maybe(2) {
        Some(zero) => zero.clone(),
        None => {
            let zero = s.number(element, Number::Int(0))?;
            s.broadcast(&zero, scale.shape())?
        }
    };
    let scale = s.cast(scale, Element::F32)?;
    let one = scale.spec().elements() == 1 && zero.spec().elements() == 1;
    if one {
        let (scale, zero) = (s.reshape(&scale, &[])?, s.reshape(&zero, &[])?);
        return Ok([Some(scale), Some(zero), None]);
    }
    let extent = x.at(0)?.extent(axis(raw, x.at(0)?.rank())?);
    if scale.shape() != [extent] {
        return Err(Refusal::unsupported(format!(
            "scales of {:?}",
            scale.shape()
        )));
    }
    Ok([Some(scale.clone()), Some(zero), Some(scale)])
}

fn dequantise(s: &mut Scope<'_>, x: &Operands, raw: i64) -> Result<Fact, Refusal> {
    let input = x.at(0)?;
    let to = x.at(1)?.element();
    let [scale, zero, on] = parameters(s, x, raw, input.element())?;
    let (scale, zero) = (needed(scale)?, needed(zero)?);
    let axis = on
        .map(|_| raw)
        .map(|raw| axis(raw, input.rank()))
        .transpose()?;
    if [Element::I8, Element::U8].contains(&input.element()) {
        return s.op(
            Op::Dequantise(Quantise { axis }, to),
            &[input, &scale, &zero],
        );
    }
    // Biases of 32 bits, whose zero point is 0.
    let mut shape = vec![1; input.rank()];
    if let (Some(axis), Some(extent)) = (axis, scale.shape().first()) {
        if let Some(place) = shape.get_mut(axis) {
            *place = *extent;
        }
    } else {
        shape.clear();
    }
    let (scale, zero) = (s.reshape(&scale, &shape)?, s.reshape(&zero, &shape)?);
    let centred = s.binary(Binary::Sub, input, &zero)?;
    let wide = s.cast(&centred, Element::F32)?;
    let product = s.binary(Binary::Mul, &wide, &scale)?;
    s.cast(&product, to)
}

/// To u8, by the operand's own range, which always includes zero.
fn dynamic(s: &mut Scope<'_>, x: &Fact) -> Result<Vec<Fact>, Refusal> {
    let all: Vec<usize> = (0..x.rank()).collect();
    let high = s.reduce(ReduceKind::Max, x, &all, false)?;
    let high = s.with(Binary::Max, &high, 0.0)?;
    let low = s.reduce(ReduceKind::Min, x, &all, false)?;
    let low = s.with(Binary::Min, &low, 0.0)?;
    let range = s.binary(Binary::Sub, &high, &low)?;
    let scale = s.with(Binary::Div, &range, 255.0)?;
    // Nothing but zeros has no range.
    let none = s.is(Compare::Equal, &scale, 0.0)?;
    let one = s.number(Element::F32, Number::Int(1))?;
    let scale = s.select(&none, &one, &scale)?;
    let zero = s.binary(Binary::Div, &low, &scale)?;
    let zero = s.unary(Unary::Neg, &zero)?;
    let zero = s.with(Binary::Max, &zero, 0.0)?;
    let zero = s.with(Binary::Min, &zero, 255.0)?;
    let zero = s.unary(Unary::Round, &zero)?;
    let zero = s.cast(&zero, Element::U8)?;
    let y = s.op(Op::Quantise(Quantise { axis: None }), &[x, &scale, &zero])?;
    Ok(vec![y, scale, zero])
}

/// 8-bit integers less their zero point, as f32: a whole number of at most 255. Zero points that are one
/// for each row (`from_end` 1) or column (0) of a matrix lie along that axis.
pub(super) fn centred(
    s: &mut Scope<'_>,
    fact: &Fact,
    zero: Option<&Fact>,
    from_end: usize,
) -> Result<Fact, Refusal> {
    if ![Element::I8, Element::U8].contains(&fact.element()) {
        return Err(Refusal::unsupported(format!(
            "factors of {}",
            fact.element()
        )));
    }
    let wide = s.cast(fact, Element::F32)?;
    let Some(zero) = zero else { return Ok(wide) };
    if zero.tensor().is_some() && zero.ints("a zero point")?.iter().all(|zero| *zero == 0) {
        return Ok(wide);
    }
    let mut zero = s.cast(zero, Element::F32)?;
    let along = fact
        .rank()
        .checked_sub(1 + from_end)
        .map(|axis| fact.extent(axis));
    match zero.shape() {
        [] | [1] => {}
        [extent] if Some(*extent) == along => {
            let extent = *extent;
            let shape = if from_end == 1 {
                vec![extent, 1]
            } else {
                vec![extent]
            };
            zero = s.reshape(&zero, &shape)?;
        }
        other => return Err(Refusal::unsupported(format!("zero points of {other:?}"))),
    }
    let shape = wide.shape().to_vec();
    let centred = s.binary(Binary::Sub, &wide, &zero)?;
    s.reshape(&centred, &shape)
}

/// The product of matrices of whole numbers up to 255, in i32.
pub(super) fn exact_product(s: &mut Scope<'_>, left: &Fact, right: &Fact) -> Result<Fact, Refusal> {
    if left.rank() < 2 || right.rank() < 2 {
        return Err(Refusal::unsupported("factors of one axis"));
    }
    let (inner, rows) = (left.rank() - 1, right.rank() - 2);
    let depth = left.extent(inner);
    let mut sum: Option<Fact> = None;
    let mut from = 0;
    loop {
        let to = depth.min(from + DEPTH_MAX);
        let (a, b) = (
            s.span(left, inner, from, to)?,
            s.span(right, rows, from, to)?,
        );
        let part = s.op(Op::Matmul(Matmul::default()), &[&a, &b])?;
        let part = s.cast(&part, Element::I32)?;
        sum = Some(match sum {
            Some(sum) => s.binary(Binary::Add, &sum, &part)?,
            None => part,
        });
        from = to;
        if from >= depth {
            break;
        }
    }
    sum.ok_or_else(|| Refusal::malformed("nothing is multiplied"))
}

/// 255 * 255 * 258 is the last that is below 2^24.
const DEPTH_MAX: u32 = 256;
