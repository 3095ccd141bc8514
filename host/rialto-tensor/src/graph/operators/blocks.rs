//! Pictures whose channels are blocks of elements, and matrices cut at a diagonal.

use super::{Found, one};
use crate::{
    Element,
    graph::{
        attributes::Attributes,
        fact::{Fact, Operands, count},
        refusal::Refusal,
        scope::Scope,
    },
    ops::{Compare, Iota, Number, Op, Spec},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "DepthToSpace" => {
            let block = count(a.int_or("blocksize", 0)?, "a block")?;
            let column_first = match a.text_or("mode", "DCR")?.as_str() {
                "DCR" => false,
                "CRD" => true,
                other => return Err(Refusal::unsupported(format!("`mode` of {other}"))),
            };
            one(move |s, x| depth_to_space(s, x.at(0)?, block, column_first))
        }
        "SpaceToDepth" => {
            let block = count(a.int_or("blocksize", 0)?, "a block")?;
            one(move |s, x| space_to_depth(s, x.at(0)?, block))
        }
        "Trilu" => {
            let upper = a.flag("upper", true)?;
            one(move |s, x| triangle(s, x, upper))
        }
        _ => Ok(None),
    }
}

fn picture(fact: &Fact) -> Result<[u32; 4], Refusal> {
    <[u32; 4]>::try_from(fact.shape())
        .map_err(|_| Refusal::malformed(format!("four axes are needed, found {:?}", fact.shape())))
}

fn depth_to_space(
    s: &mut Scope<'_>,
    fact: &Fact,
    block: u32,
    column_first: bool,
) -> Result<Fact, Refusal> {
    let [n, c, h, w] = picture(fact)?;
    let depth = c.checked_div(block).and_then(|c| c.checked_div(block));
    let depth = depth
        .filter(|depth| depth.checked_mul(block).and_then(|d| d.checked_mul(block)) == Some(c));
    let depth = depth
        .ok_or_else(|| Refusal::malformed(format!("{c} channels are no blocks of {block}")))?;
    let (apart, order) = if column_first {
        ([n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3])
    } else {
        ([n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2])
    };
    let apart = s.reshape(fact, &apart)?;
    let moved = s.transpose(&apart, &order)?;
    let tall = |extent: u32| {
        extent
            .checked_mul(block)
            .ok_or_else(|| Refusal::TooLarge(format!("{extent}")))
    };
    s.reshape(&moved, &[n, depth, tall(h)?, tall(w)?])
}

fn space_to_depth(s: &mut Scope<'_>, fact: &Fact, block: u32) -> Result<Fact, Refusal> {
    let [n, c, h, w] = picture(fact)?;
    let (Some(rows), Some(columns)) = (h.checked_div(block), w.checked_div(block)) else {
        return Err(Refusal::malformed("a block of 0"));
    };
    let apart = s.reshape(fact, &[n, c, rows, block, columns, block])?;
    let moved = s.transpose(&apart, &[0, 3, 5, 1, 2, 4])?;
    let depth = c
        .checked_mul(block)
        .and_then(|depth| depth.checked_mul(block));
    let depth = depth.ok_or_else(|| Refusal::TooLarge(format!("{c} channels")))?;
    s.reshape(&moved, &[n, depth, rows, columns])
}

/// Keeps what is above (or below) a diagonal of the last two axes.
fn triangle(s: &mut Scope<'_>, x: &Operands, upper: bool) -> Result<Fact, Refusal> {
    let fact = x.at(0)?;
    let shift = x
        .maybe(1)
        .map_or(Ok(0), |shift| shift.int("the diagonal"))?;
    let [.., rows, columns] = fact.shape() else {
        return Err(Refusal::malformed("two axes are needed"));
    };
    let mut line = |extent: u32, axis: usize, start: i64| {
        let shape = if axis == 0 {
            vec![extent, 1]
        } else {
            vec![1, extent]
        };
        let iota = Iota {
            spec: Spec::new(Element::I64, shape)?,
            axis,
            start: Number::Int(start),
            step: Number::Int(1),
        };
        s.op(Op::Iota(iota), &[])
    };
    let (row, column) = (line(*rows, 0, shift)?, line(*columns, 1, 0)?);
    let by = if upper {
        Compare::LessEqual
    } else {
        Compare::GreaterEqual
    };
    let kept = s.compare(by, &row, &column)?;
    let none = s.number(fact.element(), Number::Int(0))?;
    s.select(&kept, fact, &none)
}
