//! Tensors made of nothing, of a shape, or of values that no input decides.

use super::{Found, one};
use crate::{
    Element, Tensor,
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, axis, count, narrow},
        literal,
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Compare, Iota, Number, Op},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "Constant" => {
            let tensor = constant(a)?;
            one(move |_, _| Fact::known(tensor.clone()))
        }
        "Shape" => {
            let (start, end) = (a.int_or("start", 0)?, a.int("end")?);
            one(move |s, x| {
                let shape = x.at(0)?.shape();
                let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
                let place = |raw: i64| {
                    let place = if raw < 0 {
                        raw.saturating_add(rank)
                    } else {
                        raw
                    };
                    usize::try_from(place.clamp(0, rank)).unwrap_or(0)
                };
                let part = shape.get(place(start)..place(end.unwrap_or(rank)));
                let part = part
                    .unwrap_or_default()
                    .iter()
                    .map(|extent| i64::from(*extent));
                s.row(&part.collect::<Vec<_>>())
            })
        }
        "Size" => one(|s, x| {
            let size = i64::try_from(x.at(0)?.spec().elements()).unwrap_or(i64::MAX);
            s.number(Element::I64, Number::Int(size))
        }),
        "ConstantOfShape" => {
            let value = a.tensor("value")?;
            one(move |s, x| {
                let shape: Vec<u32> = x
                    .at(0)?
                    .ints("the shape")?
                    .into_iter()
                    .map(|extent| count(extent, "an extent"))
                    .collect::<Result<_, _>>()?;
                let value = match &value {
                    Some(value) => Fact::known(value.clone())?,
                    None => s.number(Element::F32, Number::Int(0))?,
                };
                s.spec(value.element(), &shape)?;
                let value = s.reshape(&value, &[])?;
                s.broadcast(&value, &shape)
            })
        }
        "Range" => one(range),
        _ => marks(op, a),
    }
}

/// Ones at places.
fn marks(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "OneHot" => {
            let raw = a.int_or("axis", -1)?;
            one(move |s, x| one_hot(s, x, raw))
        }
        "EyeLike" => {
            let shift = a.int_or("k", 0)?;
            let to = a.int("dtype")?.and_then(|to| i32::try_from(to).ok());
            let to = to.map(literal::element).transpose()?;
            one(move |s, x| {
                let like = x.at(0)?;
                let [rows, columns] = like.shape() else {
                    return Err(Refusal::malformed("two axes are needed"));
                };
                let row = count_from(s, &[*rows, 1], 0, shift)?;
                let column = count_from(s, &[1, *columns], 1, 0)?;
                let eye = s.compare(Compare::Equal, &row, &column)?;
                s.cast(&eye, to.unwrap_or_else(|| like.element()))
            })
        }
        "NonZero" => one(|s, x| non_zero(s, x.at(0)?)),
        _ => Ok(None),
    }
}

fn constant(a: &mut Attributes<'_>) -> Result<Tensor, Refusal> {
    let bad = |error: crate::TensorError| Refusal::malformed(error.to_string());
    if let Some(tensor) = a.tensor("value")? {
        return Ok(tensor);
    }
    if let Some(value) = a.float("value_float")? {
        return Tensor::from_f32(Vec::new(), &[value]).map_err(bad);
    }
    if let Some(value) = a.int("value_int")? {
        return Tensor::from_i64(Vec::new(), &[value]).map_err(bad);
    }
    if let Some(values) = a.floats("value_floats")? {
        return Tensor::from_f32(vec![narrow(values.len())?], &values).map_err(bad);
    }
    if let Some(values) = a.ints("value_ints")? {
        return Tensor::from_i64(vec![narrow(values.len())?], &values).map_err(bad);
    }
    Err(Refusal::unsupported("its value"))
}

fn count_from(s: &mut Scope<'_>, shape: &[u32], axis: usize, start: i64) -> Result<Fact, Refusal> {
    let iota = Iota {
        spec: s.spec(Element::I64, shape)?,
        axis,
        start: Number::Int(start),
        step: Number::Int(1),
    };
    s.op(Op::Iota(iota), &[])
}

/// `start`, `start + step`, .. before `limit`; the number of elements must be known.
fn range(s: &mut Scope<'_>, x: &Operands) -> Result<Fact, Refusal> {
    let (start, limit, step) = (x.at(0)?, x.at(1)?, x.at(2)?);
    let element = start.element();
    if element == Element::F32 {
        let one = |fact: &Fact| fact.float("a range");
        let (start, limit, step) = (
            f64::from(one(start)?),
            f64::from(one(limit)?),
            f64::from(one(step)?),
        );
        let length = ((limit - start) / step).ceil().max(0.0);
        if !length.is_finite() || length > FLOATS_MAX {
            return Err(Refusal::TooLarge(format!("a range of {length} elements")));
        }
        let mut values = Vec::new();
        let (mut place, mut value) = (0.0, start);
        while place < length {
            #[expect(clippy::cast_possible_truncation, reason = "the range is of f32")]
            values.push(value as f32);
            place += 1.0;
            value = place.mul_add(step, start);
        }
        return s.floats(&values);
    }
    let start = start.int("a range")?;
    let (limit, step) = (
        i128::from(limit.int("a range")?),
        i128::from(step.int("a range")?),
    );
    let distance = limit - i128::from(start);
    let length = match step {
        0 => return Err(Refusal::malformed("a step of 0")),
        1.. => (distance.max(0) + step - 1) / step,
        _ => (distance.min(0) + step + 1) / step,
    };
    let length =
        u32::try_from(length).map_err(|_| Refusal::TooLarge(format!("{length} elements")))?;
    let iota = Iota {
        spec: s.spec(element, &[length])?,
        axis: 0,
        start: Number::Int(start),
        step: Number::Int(i64::try_from(step).unwrap_or(i64::MAX)),
    };
    s.op(Op::Iota(iota), &[])
}

fn one_hot(s: &mut Scope<'_>, x: &Operands, raw: i64) -> Result<Fact, Refusal> {
    let (indices, values) = (x.at(0)?, x.at(2)?);
    let depth = x.at(1)?.ints("the depth")?;
    let depth = count(depth.first().copied().unwrap_or(-1), "a depth")?;
    let at = axis(raw, indices.rank() + 1)?;
    let indices = s.cast(indices, Element::I64)?;
    // A negative index counts from the end.
    let from_end = s.with(crate::ops::Binary::Add, &indices, f64::from(depth))?;
    let negative = s.is(Compare::Less, &indices, 0.0)?;
    let indices = s.select(&negative, &from_end, &indices)?;
    let mut shape = indices.shape().to_vec();
    shape.insert(at, 1);
    let indices = s.reshape(&indices, &shape)?;
    let mut line = vec![1; shape.len()];
    if let Some(extent) = line.get_mut(at) {
        *extent = depth;
    }
    let places = count_from(s, &line, at, 0)?;
    let hot = s.compare(Compare::Equal, &indices, &places)?;
    let mut value = |place: u32| {
        let one = s.span(values, 0, place, place + 1)?;
        s.reshape(&one, &[])
    };
    let (off, on) = (value(0)?, value(1)?);
    s.select(&hot, &on, &off)
}

/// The places of what is not zero: only of what no input decides, since their number is a shape.
fn non_zero(s: &mut Scope<'_>, fact: &Fact) -> Result<Fact, Refusal> {
    let zero = s.number(fact.element(), Number::Int(0))?;
    let set = s.compare(Compare::NotEqual, fact, &zero)?;
    let set = set.ints("what is not zero")?;
    let sizes = fact.spec().sizes();
    let mut rows: Vec<Vec<i64>> = vec![Vec::new(); sizes.len()];
    for (flat, _) in set.iter().enumerate().filter(|(_, set)| **set != 0) {
        let mut rest = flat;
        for (row, size) in rows.iter_mut().zip(&sizes).rev() {
            row.push(i64::try_from(rest % size).unwrap_or(i64::MAX));
            rest /= size;
        }
    }
    let found = rows.first().map_or(0, Vec::len);
    let shape = vec![narrow(sizes.len())?, narrow(found)?];
    let tensor = Tensor::from_i64(shape, &rows.concat());
    Fact::known(tensor.map_err(|error| Refusal::malformed(error.to_string()))?)
}

const FLOATS_MAX: f64 = 16_777_216.0;
