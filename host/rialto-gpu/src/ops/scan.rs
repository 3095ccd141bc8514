//! Running sums: lines in parts, whose sums are known before their elements are.

use rialto_compute::ops::{Binary, CumSum, EvalError, Spec, spec::extent};

use super::{layout::value, place::zero, step::binary};
use crate::{
    kernel::{Operand, wide},
    stream::Stream,
};

/// Sums along an axis.
pub(super) fn cumulative(
    stream: &mut Stream<'_>,
    op: &CumSum,
    input: &Operand,
) -> Result<Operand, EvalError> {
    let (outer, n, inner) = input.spec.around(op.axis);
    let wide = wide(input.spec.element());
    let each = (n.isqrt() / 2).max(16).min(n.max(1));
    let parts = n.div_ceil(each);
    let count = extent(outer * parts * inner).unwrap_or(u32::MAX);
    let spec = Spec::new(wide, [count])?;
    let add = binary(Binary::Add, wide, "all", "t");
    let zero = zero(wide);
    // The place of element `j` of a line, counted from where the sum starts.
    let place = |n: &str| {
        if op.reverse {
            format!("({n} - 1u - j)")
        } else {
            "j".to_owned()
        }
    };
    let sums = stream.map("cumulative-sum", &spec, |kernel| {
        let x = kernel.read(input);
        let [n, inner, parts, each] = [n, inner, parts, each].map(|size| kernel.size(size));
        let place = place(&n);
        let text = format!(
            "let part = (i / {inner}) % {parts};\nlet base = (i / {inner} / {parts}) * {n} * {inner} + i % {inner};\n\
             var all = {zero};\nfor (var j = part * {each}; j < min((part + 1u) * {each}, {n}); j++) {{ let t = load{x}(base + {place} * {inner}); all = {add}; }}\n\
             return all;"
        );
        value(kernel, &spec, &text);
    })?;
    let starts = stream.map("cumulative-sum", &spec, |kernel| {
        let s = kernel.read(&sums);
        let [inner, parts] = [inner, parts].map(|size| kernel.size(size));
        let text = format!(
            "let part = (i / {inner}) % {parts};\nlet base = i - part * {inner};\n\
             var all = {zero};\nfor (var j = 0u; j < part; j++) {{ let t = load{s}(base + j * {inner}); all = {add}; }}\n\
             return all;"
        );
        value(kernel, &spec, &text);
    })?;
    stream.map("cumulative-sum", &input.spec, |kernel| {
        let (x, s) = (kernel.read(input), kernel.read(&starts));
        let [n, inner, parts, each] = [n, inner, parts, each].map(|size| kernel.size(size));
        let (place, at) = (place(&n), place(&n).replace('j', "(i / inner) % n"));
        let end = if op.exclusive { "at" } else { "at + 1u" };
        let text = format!(
            "let inner = {inner};\nlet n = {n};\nlet at = {at};\nlet part = at / {each};\nlet outer = i / inner / n;\n\
             let base = outer * n * inner + i % inner;\nvar all = {zero};\n\
             for (var j = part * {each}; j < {end}; j++) {{ let t = load{x}(base + {place} * inner); all = {add}; }}\n\
             let t = load{s}((outer * {parts} + part) * inner + i % inner);\nreturn {add};"
        );
        value(kernel, &input.spec, &text);
    })
}
