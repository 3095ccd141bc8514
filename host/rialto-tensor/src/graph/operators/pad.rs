//! Elements added around axes, or taken away.

use super::{Found, layout::axes, one};
use crate::{
    Element,
    graph::{
        attributes::Attributes,
        fact::{self, Fact, count},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Number, Op, Pad, PadMode, accepts::is_float},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "Pad" => pad(a),
        _ => Ok(None),
    }
}

fn pad(a: &mut Attributes<'_>) -> Found {
    let mode = a.text_or("mode", "constant")?;
    if !["constant", "reflect", "edge"].contains(&mode.as_str()) {
        return Err(Refusal::unsupported(format!("`mode` of {mode}")));
    }
    let fixed = (a.ints("pads")?, a.float("value")?);
    one(move |s, x| {
        let fact = x.at(0)?;
        let missing = || Refusal::malformed("the padding is missing");
        let pads = axes(fixed.0.as_deref(), x, 1)?.ok_or_else(missing)?;
        let places = match axes(None, x, 3)? {
            Some(places) => fact::axes(&places, fact.rank())?,
            None => (0..fact.rank()).collect(),
        };
        if pads.len() != 2 * places.len() {
            return Err(Refusal::malformed(
                "padding is needed before and after each axis",
            ));
        }
        let (before, after) = pads.split_at(places.len());
        let (mut all_before, mut all_after) = (vec![0; fact.rank()], vec![0; fact.rank()]);
        for ((place, before), after) in places.iter().zip(before).zip(after) {
            for (all, pad) in [(&mut all_before, before), (&mut all_after, after)] {
                let into = all.get_mut(*place).ok_or_else(missing)?;
                *into = *pad;
            }
        }
        let value = match (fixed.1, x.maybe(2)) {
            (Some(value), _) => Number::Float(f64::from(value)),
            (None, Some(value)) => number(s, value)?,
            (None, None) => Number::Int(0),
        };
        let mode = match mode.as_str() {
            "reflect" => PadMode::Reflect,
            "edge" => PadMode::Edge,
            _ => PadMode::Constant(value),
        };
        padded(s, fact, [&all_before, &all_after], mode)
    })
}

/// A known scalar as a number.
fn number(s: &mut Scope<'_>, fact: &Fact) -> Result<Number, Refusal> {
    if is_float(fact.element()) {
        let wide = s.cast(fact, Element::F32)?;
        return Ok(Number::Float(f64::from(wide.float("a value")?)));
    }
    fact.int("a value").map(Number::Int)
}

/// Negative padding takes elements away.
fn padded(
    s: &mut Scope<'_>,
    fact: &Fact,
    [before, after]: [&[i64]; 2],
    mode: PadMode,
) -> Result<Fact, Refusal> {
    let cut = |pad: i64| pad.min(0).unsigned_abs();
    let mut fact = fact.clone();
    for (axis, (before, after)) in before.iter().zip(after).enumerate() {
        let extent = u64::from(fact.extent(axis));
        if cut(*before).saturating_add(cut(*after)) > extent {
            return Err(Refusal::malformed(format!(
                "axis {axis} has too few elements to take away"
            )));
        }
        let from = count(i64::try_from(cut(*before)).unwrap_or(i64::MAX), "padding")?;
        let to = u32::try_from(extent - cut(*after)).unwrap_or(u32::MAX);
        if from > 0 || u64::from(to) < extent {
            fact = s.span(&fact, axis, from, to)?;
        }
    }
    let sizes = |pads: &[i64]| -> Result<Vec<u32>, Refusal> {
        pads.iter()
            .map(|pad| count((*pad).max(0), "padding"))
            .collect()
    };
    let (before, after) = (sizes(before)?, sizes(after)?);
    if before.iter().chain(&after).all(|pad| *pad == 0) {
        return Ok(fact);
    }
    s.op(
        Op::Pad(Pad {
            before,
            after,
            mode,
        }),
        &[&fact],
    )
}
