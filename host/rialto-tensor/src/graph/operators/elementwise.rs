//! Element by element: functions, arithmetic, comparison, choice, conversion.

use super::{Found, activation, many, one};
use crate::{
    Element,
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands},
        literal,
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Activation, Binary, Compare, Number, Unary, accepts::is_float},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    if let Some(unary) = function(op) {
        return one(move |s, x| s.unary(unary, x.at(0)?));
    }
    if let Some(compare) = comparison(op) {
        return one(move |s, x| s.compare(compare, x.at(0)?, x.at(1)?));
    }
    match op {
        "Relu" => one(|s, x| s.activated(x.at(0)?, x.alone(0), Activation::Relu)),
        "Sigmoid" => one(|s, x| s.activated(x.at(0)?, x.alone(0), Activation::Sigmoid)),
        "Tanh" => one(|s, x| s.activated(x.at(0)?, x.alone(0), Activation::Tanh)),
        "Add" => one(sum),
        "Mul" => one(product),
        "Sub" => one(|s, x| s.binary(Binary::Sub, x.at(0)?, x.at(1)?)),
        "Div" => one(|s, x| s.binary(Binary::Div, x.at(0)?, x.at(1)?)),
        "And" | "BitwiseAnd" => one(|s, x| s.binary(Binary::And, x.at(0)?, x.at(1)?)),
        "Or" | "BitwiseOr" => one(|s, x| s.binary(Binary::Or, x.at(0)?, x.at(1)?)),
        "Xor" | "BitwiseXor" => one(|s, x| s.binary(Binary::Xor, x.at(0)?, x.at(1)?)),
        "Pow" => one(|s, x| power(s, x.at(0)?, x.at(1)?)),
        "Mod" => {
            let truncated = a.flag("fmod", false)?;
            one(move |s, x| modulo(s, x.at(0)?, x.at(1)?, truncated))
        }
        "Sum" => one(|s, x| join(s, x, Binary::Add)),
        "Max" => one(|s, x| join(s, x, Binary::Max)),
        "Min" => one(|s, x| join(s, x, Binary::Min)),
        "Mean" => one(|s, x| {
            let count = x.all()?.len();
            let all = join(s, x, Binary::Add)?;
            let count = s.number(
                all.element(),
                Number::Int(i64::try_from(count).unwrap_or(i64::MAX)),
            )?;
            s.binary(Binary::Div, &all, &count)
        }),
        "Where" => one(|s, x| s.select(x.at(0)?, x.at(1)?, x.at(2)?)),
        "Clip" => {
            let (low, high) = (a.float("min")?, a.float("max")?);
            one(move |s, x| clip(s, x, low, high))
        }
        "Cast" => {
            let to = a.int("to")?.and_then(|to| i32::try_from(to).ok());
            let to = literal::element(to.unwrap_or_default())?;
            a.ignore("saturate");
            one(move |s, x| s.cast(x.at(0)?, to))
        }
        "CastLike" => {
            a.ignore("saturate");
            one(|s, x| {
                let to = x.at(1)?.element();
                s.cast(x.at(0)?, to)
            })
        }
        "Identity" => one(|_, x| x.at(0).cloned()),
        "Dropout" => {
            a.ignore("ratio");
            a.ignore("seed");
            a.results(2);
            many(dropout)
        }
        "IsNaN" => one(|s, x| s.compare(Compare::NotEqual, x.at(0)?, x.at(0)?)),
        "IsInf" => {
            let (positive, negative) = (
                a.flag("detect_positive", true)?,
                a.flag("detect_negative", true)?,
            );
            one(move |s, x| is_infinite(s, x.at(0)?, positive, negative))
        }
        _ => activation::of(op, a),
    }
}

fn function(op: &str) -> Option<Unary> {
    let unary = match op {
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Sign" => Unary::Sign,
        "Exp" => Unary::Exp,
        "Log" => Unary::Ln,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Erf" => Unary::Erf,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Not" | "BitwiseNot" => Unary::Not,
        _ => return None,
    };
    Some(unary)
}

fn comparison(op: &str) -> Option<Compare> {
    let compare = match op {
        "Equal" => Compare::Equal,
        "Less" => Compare::Less,
        "LessOrEqual" => Compare::LessEqual,
        "Greater" => Compare::Greater,
        "GreaterOrEqual" => Compare::GreaterEqual,
        _ => return None,
    };
    Some(compare)
}

fn sum(s: &mut Scope<'_>, x: &Operands) -> Result<Fact, Refusal> {
    for (product, other) in [(0, 1), (1, 0)] {
        if let Some(fact) = s.biased(x.at(product)?, x.alone(product), x.at(other)?)? {
            return Ok(fact);
        }
    }
    s.binary(Binary::Add, x.at(0)?, x.at(1)?)
}

fn product(s: &mut Scope<'_>, x: &Operands) -> Result<Fact, Refusal> {
    for (product, other) in [(0, 1), (1, 0)] {
        if let Some(fact) = s.scaled(x.at(product)?, x.alone(product), x.at(other)?)? {
            return Ok(fact);
        }
    }
    s.binary(Binary::Mul, x.at(0)?, x.at(1)?)
}

/// The base's type is the result's; squares and roots are what they are.
fn power(s: &mut Scope<'_>, base: &Fact, exponent: &Fact) -> Result<Fact, Refusal> {
    let scalar = exponent.spec().elements() == 1 && exponent.rank() <= base.rank();
    let known = exponent
        .tensor()
        .filter(|_| scalar)
        .and_then(crate::Tensor::to_f32);
    if is_float(base.element()) {
        if known.as_deref() == Some(&[2.0]) {
            return s.binary(Binary::Mul, base, base);
        }
        if known.as_deref() == Some(&[0.5]) {
            return s.unary(Unary::Sqrt, base);
        }
        let exponent = s.cast(exponent, base.element())?;
        return s.binary(Binary::Pow, base, &exponent);
    }
    if is_float(exponent.element()) {
        let wide = s.cast(base, exponent.element())?;
        let power = s.binary(Binary::Pow, &wide, exponent)?;
        return s.cast(&power, base.element());
    }
    let exponent = s.cast(exponent, base.element())?;
    s.binary(Binary::Pow, base, &exponent)
}

/// The remainder has the divisor's sign, or the dividend's if it is `truncated`.
fn modulo(s: &mut Scope<'_>, left: &Fact, right: &Fact, truncated: bool) -> Result<Fact, Refusal> {
    let rest = s.binary(Binary::Rem, left, right)?;
    if truncated {
        return Ok(rest);
    }
    if is_float(left.element()) {
        return Err(Refusal::malformed("floats need `fmod`"));
    }
    let is_left_over = s.is(Compare::NotEqual, &rest, 0.0)?;
    let (below, above) = (
        s.is(Compare::Less, &rest, 0.0)?,
        s.is(Compare::Less, right, 0.0)?,
    );
    let other_sign = s.compare(Compare::NotEqual, &below, &above)?;
    let wrong = s.binary(Binary::And, &is_left_over, &other_sign)?;
    let mended = s.binary(Binary::Add, &rest, right)?;
    s.select(&wrong, &mended, &rest)
}

fn join(s: &mut Scope<'_>, x: &Operands, by: Binary) -> Result<Fact, Refusal> {
    let all = x.all()?;
    let mut joined = x.at(0)?.clone();
    for fact in all.into_iter().skip(1) {
        joined = s.binary(by, &joined, fact)?;
    }
    Ok(joined)
}

/// Limits are attributes before operator set 11, operands from then on.
fn clip(
    s: &mut Scope<'_>,
    x: &Operands,
    low: Option<f32>,
    high: Option<f32>,
) -> Result<Fact, Refusal> {
    let mut fact = x.at(0)?.clone();
    for (given, place, op) in [(low, 1, Binary::Max), (high, 2, Binary::Min)] {
        fact = match (given, x.maybe(place)) {
            (Some(limit), _) => s.with(op, &fact, f64::from(limit))?,
            (None, Some(limit)) => s.binary(op, &fact, limit)?,
            (None, None) => fact,
        };
    }
    Ok(fact)
}

/// In inference nothing is dropped.
fn dropout(s: &mut Scope<'_>, x: &Operands) -> Result<Vec<Fact>, Refusal> {
    if let Some(training) = x.maybe(2)
        && training.int("the mode")? != 0
    {
        return Err(Refusal::unsupported("training"));
    }
    let fact = x.at(0)?;
    let all = s.number(Element::Bool, Number::Int(1))?;
    Ok(vec![fact.clone(), s.broadcast(&all, fact.shape())?])
}

fn is_infinite(
    s: &mut Scope<'_>,
    x: &Fact,
    positive: bool,
    negative: bool,
) -> Result<Fact, Refusal> {
    match (positive, negative) {
        (true, true) => {
            let size = s.unary(Unary::Abs, x)?;
            s.is(Compare::Equal, &size, f64::INFINITY)
        }
        (true, false) => s.is(Compare::Equal, x, f64::INFINITY),
        (false, true) => s.is(Compare::Equal, x, f64::NEG_INFINITY),
        (false, false) => {
            let none = s.number(Element::Bool, Number::Int(0))?;
            s.broadcast(&none, x.shape())
        }
    }
}
