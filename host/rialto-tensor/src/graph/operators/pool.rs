//! Pooling over windows, or over all.

use super::{Found, conv::Sliding, one};
use crate::{
    graph::{
        attributes::Attributes,
        fact::{Fact, count},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Op, Pool, PoolKind, ReduceKind},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "MaxPool" => {
            a.only("storage_order", 0)?;
            let sliding = windows(a)?;
            one(move |s, x| pool(s, x.at(0)?, &sliding, PoolKind::Max))
        }
        "AveragePool" => {
            let with_padding = a.flag("count_include_pad", false)?;
            let sliding = windows(a)?;
            if sliding.ceil && with_padding {
                return Err(Refusal::unsupported("`ceil_mode` with `count_include_pad`"));
            }
            let kind = if with_padding {
                PoolKind::MeanWithPadding
            } else {
                PoolKind::Mean
            };
            one(move |s, x| pool(s, x.at(0)?, &sliding, kind))
        }
        "GlobalAveragePool" => one(|s, x| global(s, x.at(0)?, ReduceKind::Mean)),
        "GlobalMaxPool" => one(|s, x| global(s, x.at(0)?, ReduceKind::Max)),
        _ => Ok(None),
    }
}

fn windows(a: &mut Attributes<'_>) -> Result<Sliding, Refusal> {
    let mut sliding = Sliding::read(a)?;
    sliding.ceil = a.flag("ceil_mode", false)?;
    if sliding.extents.is_none() {
        return Err(Refusal::malformed("`kernel_shape` is missing"));
    }
    Ok(sliding)
}

fn pool(
    s: &mut Scope<'_>,
    fact: &Fact,
    sliding: &Sliding,
    kind: PoolKind,
) -> Result<Fact, Refusal> {
    let extents = sliding.extents.iter().flatten();
    let extents: Vec<u32> = extents
        .map(|extent| count(*extent, "a window"))
        .collect::<Result<_, _>>()?;
    let windows = sliding.windows(fact, &extents)?;
    let op = match (&extents[..], &windows[..]) {
        ([one], [window]) => Op::Pool1d(Pool {
            kind,
            extents: Some([*one]),
            windows: [*window],
        }),
        ([rows, columns], [down, across]) => Op::Pool2d(Pool {
            kind,
            extents: Some([*rows, *columns]),
            windows: [*down, *across],
        }),
        _ => {
            return Err(Refusal::unsupported(format!(
                "windows over {} axes",
                extents.len()
            )));
        }
    };
    s.op(op, &[fact])
}

fn global(s: &mut Scope<'_>, fact: &Fact, kind: ReduceKind) -> Result<Fact, Refusal> {
    if fact.rank() < 3 {
        return Err(Refusal::malformed("at least three axes are needed"));
    }
    let axes: Vec<usize> = (2..fact.rank()).collect();
    s.reduce(kind, fact, &axes, true)
}
