//! Activations that are made of several functions.

use super::{Found, one};
use crate::{
    graph::{attributes::Attributes, fact::Fact, refusal::Refusal, scope::Scope},
    ops::{Binary, Compare, Unary},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "LeakyRelu" => {
            let alpha = f64::from(a.float_or("alpha", 0.01)?);
            one(move |s, x| {
                let x = x.at(0)?;
                let low = s.with(Binary::Mul, x, alpha)?;
                below_zero(s, x, &low)
            })
        }
        "PRelu" => one(|s, x| {
            let low = s.binary(Binary::Mul, x.at(0)?, x.at(1)?)?;
            below_zero(s, x.at(0)?, &low)
        }),
        "Elu" => exponential(a.float_or("alpha", 1.0)?, 1.0, 1.0),
        "Celu" => {
            let alpha = a.float_or("alpha", 1.0)?;
            exponential(alpha, 1.0, 1.0 / f64::from(alpha))
        }
        "Selu" => {
            let (alpha, gamma) = (
                a.float_or("alpha", SELU_ALPHA)?,
                a.float_or("gamma", SELU_GAMMA)?,
            );
            exponential(alpha, f64::from(gamma), 1.0)
        }
        "ThresholdedRelu" => {
            let alpha = f64::from(a.float_or("alpha", 1.0)?);
            one(move |s, x| {
                let x = x.at(0)?;
                let above = s.is(Compare::Greater, x, alpha)?;
                let zero = s.number(x.element(), crate::ops::Number::Int(0))?;
                s.select(&above, x, &zero)
            })
        }
        "HardSigmoid" => {
            let alpha = f64::from(a.float_or("alpha", 0.2)?);
            let beta = f64::from(a.float_or("beta", 0.5)?);
            one(move |s, x| hard_sigmoid(s, x.at(0)?, alpha, beta))
        }
        "HardSwish" => one(|s, x| {
            let x = x.at(0)?;
            let gate = hard_sigmoid(s, x, 1.0 / 6.0, 0.5)?;
            s.binary(Binary::Mul, x, &gate)
        }),
        _ => smooth(op, a),
    }
}

/// Those without a corner.
fn smooth(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "Softplus" => one(|s, x| softplus(s, x.at(0)?)),
        "Softsign" => one(|s, x| {
            let x = x.at(0)?;
            let size = s.unary(Unary::Abs, x)?;
            let size = s.with(Binary::Add, &size, 1.0)?;
            s.binary(Binary::Div, x, &size)
        }),
        "Mish" => one(|s, x| {
            let x = x.at(0)?;
            let gate = softplus(s, x)?;
            let gate = s.unary(Unary::Tanh, &gate)?;
            s.binary(Binary::Mul, x, &gate)
        }),
        "Gelu" => {
            let unary = match a.text_or("approximate", "none")?.as_str() {
                "none" => Unary::Gelu,
                "tanh" => Unary::GeluTanh,
                other => return Err(Refusal::unsupported(format!("`approximate` of {other}"))),
            };
            one(move |s, x| s.unary(unary, x.at(0)?))
        }
        "Tan" => one(|s, x| {
            let (sin, cos) = (
                s.unary(Unary::Sin, x.at(0)?)?,
                s.unary(Unary::Cos, x.at(0)?)?,
            );
            s.binary(Binary::Div, &sin, &cos)
        }),
        _ => Ok(None),
    }
}

/// `gamma * x`, and `gamma * alpha * (exp(x * inner) - 1)` below zero.
fn exponential(alpha: f32, gamma: f64, inner: f64) -> Found {
    one(move |s, x| {
        let x = x.at(0)?;
        let argument = s.with(Binary::Mul, x, inner)?;
        let low = s.unary(Unary::Exp, &argument)?;
        let low = s.with(Binary::Sub, &low, 1.0)?;
        let low = s.with(Binary::Mul, &low, f64::from(alpha))?;
        let joined = below_zero(s, x, &low)?;
        s.with(Binary::Mul, &joined, gamma)
    })
}

/// `low` where the operand is below zero, itself elsewhere.
fn below_zero(s: &mut Scope<'_>, x: &Fact, low: &Fact) -> Result<Fact, Refusal> {
    let below = s.is(Compare::Less, x, 0.0)?;
    s.select(&below, low, x)
}

fn hard_sigmoid(s: &mut Scope<'_>, x: &Fact, alpha: f64, beta: f64) -> Result<Fact, Refusal> {
    let line = s.with(Binary::Mul, x, alpha)?;
    let line = s.with(Binary::Add, &line, beta)?;
    let line = s.with(Binary::Max, &line, 0.0)?;
    s.with(Binary::Min, &line, 1.0)
}

/// `ln(1 + exp(x))`, without overflow: `max(x, 0) + ln(1 + exp(-|x|))`.
fn softplus(s: &mut Scope<'_>, x: &Fact) -> Result<Fact, Refusal> {
    let size = s.unary(Unary::Abs, x)?;
    let size = s.unary(Unary::Neg, &size)?;
    let rest = s.unary(Unary::Exp, &size)?;
    let rest = s.with(Binary::Add, &rest, 1.0)?;
    let rest = s.unary(Unary::Ln, &rest)?;
    let line = s.unary(Unary::Relu, x)?;
    s.binary(Binary::Add, &line, &rest)
}

/// The standard's defaults.
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_GAMMA: f32 = 1.050_701;
