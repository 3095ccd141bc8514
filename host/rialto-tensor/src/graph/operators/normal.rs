//! Normalisation.

use super::{Found, layout::elements, one};
use crate::{
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, axis, count, narrow},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Binary, Norm, Op, Unary},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "Softmax" | "LogSoftmax" => softmax(a, op == "LogSoftmax"),
        "BatchNormalization" => {
            let epsilon = f64::from(a.float_or("epsilon", 1e-5)?);
            a.ignore("momentum");
            a.only("training_mode", 0)?;
            a.only("spatial", 1)?;
            one(move |s, x| batch(s, x, epsilon))
        }
        "LayerNormalization" => {
            let (raw, epsilon) = (a.int_or("axis", -1)?, a.float_or("epsilon", 1e-5)?);
            a.only("stash_type", 1)?;
            one(move |s, x| layer(s, x, raw, epsilon, false))
        }
        "RMSNormalization" => {
            let (raw, epsilon) = (a.int_or("axis", -1)?, a.float_or("epsilon", 1e-5)?);
            a.only("stash_type", 1)?;
            one(move |s, x| layer(s, x, raw, epsilon, true))
        }
        "InstanceNormalization" => {
            let epsilon = a.float_or("epsilon", 1e-5)?;
            one(move |s, x| {
                let fact = x.at(0)?;
                let normal = grouped(s, fact, fact.extent(1), epsilon)?;
                per_channel(s, &normal, x)
            })
        }
        "GroupNormalization" if a.opset >= 21 => {
            let epsilon = a.float_or("epsilon", 1e-5)?;
            let groups = count(a.int_or("num_groups", 0)?, "groups")?;
            a.only("stash_type", 1)?;
            one(move |s, x| {
                let normal = grouped(s, x.at(0)?, groups, epsilon)?;
                per_channel(s, &normal, x)
            })
        }
        _ => Ok(None),
    }
}

/// Before operator set 13 all axes from the given one on are one.
fn softmax(a: &mut Attributes<'_>, log: bool) -> Found {
    let joined = a.opset < 13;
    let raw = a.int_or("axis", if joined { 1 } else { -1 })?;
    let op = move |axis| {
        if log {
            Op::LogSoftmax { axis }
        } else {
            Op::Softmax { axis }
        }
    };
    one(move |s, x| {
        let fact = x.at(0)?;
        let at = axis(raw, fact.rank())?;
        if !joined || at + 1 == fact.rank() {
            return s.op(op(at), &[fact]);
        }
        let (before, after) = fact.shape().split_at(at);
        let flat = [narrow(elements(before))?, narrow(elements(after))?];
        let flat = s.reshape(fact, &flat)?;
        let result = s.op(op(1), &[&flat])?;
        s.reshape(&result, fact.shape())
    })
}

/// A factor and a sum for each channel, both known most of the time.
fn batch(s: &mut Scope<'_>, x: &Operands, epsilon: f64) -> Result<Fact, Refusal> {
    let (fact, scale, bias) = (x.at(0)?, x.at(1)?, x.at(2)?);
    let (mean, variance) = (x.at(3)?, x.at(4)?);
    let deviation = s.with(Binary::Add, variance, epsilon)?;
    let deviation = s.unary(Unary::Sqrt, &deviation)?;
    let factor = s.binary(Binary::Div, scale, &deviation)?;
    let shift = s.binary(Binary::Mul, mean, &factor)?;
    let shift = s.binary(Binary::Sub, bias, &shift)?;
    let mut column = vec![fact.extent(1)];
    column.extend(vec![1; fact.rank().saturating_sub(2)]);
    let (factor, shift) = (s.reshape(&factor, &column)?, s.reshape(&shift, &column)?);
    let Some(scaled) = s.scaled(fact, x.alone(0), &factor)? else {
        let scaled = s.binary(Binary::Mul, fact, &factor)?;
        return s.binary(Binary::Add, &scaled, &shift);
    };
    match s.biased(&scaled, true, &shift)? {
        Some(done) => Ok(done),
        None => s.binary(Binary::Add, &scaled, &shift),
    }
}

fn layer(
    s: &mut Scope<'_>,
    x: &Operands,
    raw: i64,
    epsilon: f32,
    rms: bool,
) -> Result<Fact, Refusal> {
    let fact = x.at(0)?;
    let at = axis(raw, fact.rank())?;
    let last = fact.shape().get(at..).unwrap_or_default().to_vec();
    let norm = Norm {
        axes: last.len(),
        epsilon,
        scale: true,
        bias: x.maybe(2).is_some() && !rms,
    };
    let scale = s.broadcast(x.at(1)?, &last)?;
    let bias = x.maybe(2).filter(|_| !rms);
    let bias = bias.map(|bias| s.broadcast(bias, &last)).transpose()?;
    let mut operands = vec![fact, &scale];
    operands.extend(&bias);
    s.op(
        if rms {
            Op::RmsNorm(norm)
        } else {
            Op::LayerNorm(norm)
        },
        &operands,
    )
}

/// Each group of channels of each picture by itself.
fn grouped(s: &mut Scope<'_>, fact: &Fact, groups: u32, epsilon: f32) -> Result<Fact, Refusal> {
    let [batch, channels, axes @ ..] = fact.shape() else {
        return Err(Refusal::malformed("at least two axes are needed"));
    };
    if channels.checked_rem(groups) != Some(0) {
        return Err(Refusal::malformed(format!(
            "{channels} channels in {groups} groups"
        )));
    }
    let each = channels.checked_div(groups).unwrap_or(0);
    let each = each.checked_mul(narrow(elements(axes))?);
    let each = each.ok_or_else(|| Refusal::TooLarge(format!("{channels} channels")))?;
    let apart = s.reshape(fact, &[*batch, groups, each])?;
    let norm = Norm {
        axes: 1,
        epsilon,
        scale: false,
        bias: false,
    };
    let normal = s.op(Op::LayerNorm(norm), &[&apart])?;
    s.reshape(&normal, fact.shape())
}

fn per_channel(s: &mut Scope<'_>, normal: &Fact, x: &Operands) -> Result<Fact, Refusal> {
    let mut column = vec![normal.extent(1)];
    column.extend(vec![1; normal.rank().saturating_sub(2)]);
    let (scale, bias) = (s.reshape(x.at(1)?, &column)?, s.reshape(x.at(2)?, &column)?);
    let scaled = s.binary(Binary::Mul, normal, &scale)?;
    s.binary(Binary::Add, &scaled, &bias)
}
