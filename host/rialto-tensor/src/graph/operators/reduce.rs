//! Reductions over axes.

use super::{Found, one};
use crate::{
    graph::{
        attributes::Attributes,
        fact::{self, Fact},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Binary, ReduceKind, Unary},
};

/// What is reduced.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain(ReduceKind),
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    let kind = match op {
        "ReduceSum" => Kind::Plain(ReduceKind::Sum),
        "ReduceMean" => Kind::Plain(ReduceKind::Mean),
        "ReduceMax" => Kind::Plain(ReduceKind::Max),
        "ReduceMin" => Kind::Plain(ReduceKind::Min),
        "ReduceProd" => Kind::Plain(ReduceKind::Prod),
        "ReduceL1" => Kind::L1,
        "ReduceL2" => Kind::L2,
        "ReduceSumSquare" => Kind::SumSquare,
        "ReduceLogSum" => Kind::LogSum,
        "ReduceLogSumExp" => Kind::LogSumExp,
        _ => return Ok(None),
    };
    let fixed = a.ints("axes")?;
    let (keep, idle) = (
        a.flag("keepdims", true)?,
        a.flag("noop_with_empty_axes", false)?,
    );
    one(move |s, x| {
        let fact = x.at(0)?;
        let axes = match (&fixed, x.maybe(1)) {
            (Some(axes), _) => axes.clone(),
            (None, Some(axes)) => axes.ints("an axis")?,
            (None, None) => Vec::new(),
        };
        let axes = match axes.is_empty() {
            true if idle => return Ok(fact.clone()),
            true => (0..fact.rank()).collect(),
            false => fact::axes(&axes, fact.rank())?,
        };
        reduce(s, fact, kind, &axes, keep)
    })
}

fn reduce(
    s: &mut Scope<'_>,
    fact: &Fact,
    kind: Kind,
    axes: &[usize],
    keep: bool,
) -> Result<Fact, Refusal> {
    let mut sum = |fact: &Fact| s.reduce(ReduceKind::Sum, fact, axes, keep);
    match kind {
        Kind::Plain(kind) => s.reduce(kind, fact, axes, keep),
        Kind::L1 => {
            let sizes = s.unary(Unary::Abs, fact)?;
            s.reduce(ReduceKind::Sum, &sizes, axes, keep)
        }
        Kind::L2 => {
            let squares = s.binary(Binary::Mul, fact, fact)?;
            let sum = s.reduce(ReduceKind::Sum, &squares, axes, keep)?;
            s.unary(Unary::Sqrt, &sum)
        }
        Kind::SumSquare => {
            let squares = s.binary(Binary::Mul, fact, fact)?;
            s.reduce(ReduceKind::Sum, &squares, axes, keep)
        }
        Kind::LogSum => {
            let sum = sum(fact)?;
            s.unary(Unary::Ln, &sum)
        }
        Kind::LogSumExp => log_sum_exp(s, fact, axes, keep),
    }
}

/// Without overflow: `m + ln(sum(exp(x - m)))` with the maximum `m`.
fn log_sum_exp(
    s: &mut Scope<'_>,
    fact: &Fact,
    axes: &[usize],
    keep: bool,
) -> Result<Fact, Refusal> {
    let most = s.reduce(ReduceKind::Max, fact, axes, true)?;
    let less = s.binary(Binary::Sub, fact, &most)?;
    let powers = s.unary(Unary::Exp, &less)?;
    let sum = s.reduce(ReduceKind::Sum, &powers, axes, true)?;
    let log = s.unary(Unary::Ln, &sum)?;
    let all = s.binary(Binary::Add, &log, &most)?;
    if keep {
        return Ok(all);
    }
    let kept = (0..fact.rank()).filter(|axis| !axes.contains(axis));
    let shape: Vec<u32> = kept.map(|axis| fact.extent(axis)).collect();
    s.reshape(&all, &shape)
}
