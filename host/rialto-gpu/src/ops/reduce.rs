//! Reductions over axes, and over the lines that other operations need.
//!
//! The order of a sum is fixed by the shape: within a line by strides of the workgroup and then as a
//! tree, or in runs of 32; long lines in parts. Sums are made in f32.

use rialto_compute::{
    Element,
    ops::{
        Binary, EvalError, Reduce, ReduceKind, Spec,
        spec::{extent, size},
    },
};

use super::{layout, place::zero, step::binary};
use crate::{
    kernel::{Kernel, Operand, register, spread, wide},
    stream::Stream,
};

/// A tensor as lines of `n` elements, `inner` apart, to be joined one by one.
pub(super) struct Lines<'a> {
    pub op: &'static str,
    pub kind: ReduceKind,
    pub input: &'a Operand,
    /// Before, on and after the line.
    pub sizes: [usize; 3],
    /// Tensors with an element for each line, in a term `e0`, `e1`, ..
    pub extra: &'a [&'a Operand],
    /// What is joined, of the element `x`.
    pub term: &'a str,
}

/// Reduces over any set of axes.
pub(super) fn reduce(
    stream: &mut Stream<'_>,
    op: &Reduce,
    input: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let reduced: Vec<bool> = (0..input.spec.rank())
        .map(|axis| op.axes.as_ref().is_none_or(|axes| axes.contains(&axis)))
        .collect();
    // Runs of neighbouring axes that are reduced, or kept, together; extents of one belong to any.
    let mut runs: Vec<(bool, usize)> = Vec::new();
    for (extent, reduced) in input.spec.shape().iter().zip(&reduced) {
        match runs.last_mut() {
            _ if *extent == 1 => {}
            Some((kind, length)) if kind == reduced => *length *= size(*extent),
            _ => runs.push((*reduced, size(*extent))),
        }
    }
    let mut moved = None;
    let sizes = match runs.as_slice() {
        [] => [1, 1, 1],
        [(true, n)] => [1, *n, 1],
        [(false, n)] => [*n, 1, 1],
        [(true, n), (false, inner)] => [1, *n, *inner],
        [(false, outer), (true, n)] => [*outer, *n, 1],
        [(false, outer), (true, n), (false, inner)] => [*outer, *n, *inner],
        _ => {
            let (kept, gone): (Vec<_>, Vec<_>) =
                (0..reduced.len()).partition(|axis| reduced.get(*axis) == Some(&false));
            let order = [kept, gone].concat();
            let shape: Vec<u32> = order
                .iter()
                .filter_map(|axis| input.spec.shape().get(*axis).copied())
                .collect();
            let spec = Spec::new(input.spec.element(), shape)?;
            moved = Some(layout::transpose(stream, &order, input, &spec)?);
            let outer = result.elements();
            [
                outer,
                input.spec.elements().checked_div(outer).unwrap_or(0),
                1,
            ]
        }
    };
    let joined = lines(
        stream,
        &Lines {
            op: op.kind.name(),
            kind: op.kind,
            input: moved.as_ref().unwrap_or(input),
            sizes,
            extra: &[],
            term: "x",
        },
    )?;
    let spec = result.with_element(joined.spec.element())?;
    let part = joined.part;
    stream.narrowed(op.kind.name(), Operand { spec, part }, result.element())
}

/// Joins each line; the result is as wide as a register.
pub(super) fn lines(stream: &mut Stream<'_>, lines: &Lines<'_>) -> Result<Operand, EvalError> {
    let [outer, n, inner] = lines.sizes;
    let parts = if outer * inner < RESULTS_MIN && n > PART_MIN * 2 {
        (n / PART_MIN).min(PARTS_MAX)
    } else {
        1
    };
    let mean = lines.kind == ReduceKind::Mean;
    if parts == 1 {
        return joined(stream, lines, (1, n), mean.then_some(n));
    }
    let partial = joined(stream, lines, (parts, n.div_ceil(parts)), None)?;
    let kind = if mean { ReduceKind::Sum } else { lines.kind };
    let rest = Lines {
        kind,
        input: &partial,
        sizes: [outer, parts, inner],
        extra: &[],
        term: "x",
        ..*lines
    };
    joined(stream, &rest, (1, parts), mean.then_some(n))
}

/// Joins parts of each line; the results' shape is `[outer, parts, inner]`.
fn joined(
    stream: &mut Stream<'_>,
    lines: &Lines<'_>,
    (parts, each): (usize, usize),
    divisor: Option<usize>,
) -> Result<Operand, EvalError> {
    let [outer, n, inner] = lines.sizes;
    let wide = wide(lines.input.spec.element());
    let count = outer * parts * inner;
    let result = Spec::new(wide, [extent(count).unwrap_or(u32::MAX)])?;
    let mut kernel = Kernel::new(lines.op);
    let from = kernel.read(lines.input);
    let mut load = String::new();
    for (index, extra) in lines.extra.iter().enumerate() {
        let from = kernel.read(extra);
        load.push_str(&format!(
            "let e{index} = load{from}(outer * inner + within);\n"
        ));
    }
    let [n_text, inner_text, parts_text, each_text] =
        [n, inner, parts, each].map(|size| kernel.size(size));
    let (first, join) = law(lines.kind, wide);
    let term = lines.term;
    let setup = format!(
        "let n = {n_text};\nlet inner = {inner_text};\nlet parts = {parts_text};\nlet each = {each_text};\n\
         let within = line % inner;\nlet part = (line / inner) % parts;\nlet outer = line / inner / parts;\n\
         {load}let start = part * each;\nlet end = min(start + each, n);\nlet base = outer * n * inner + within;\n"
    );
    let last = match divisor {
        Some(n) => format!("all / f32({})", kernel.size(n)),
        None => "all".to_owned(),
    };
    let register = register(wide);
    let part = stream.allocate(lines.op, result.bytes())?;
    let out = kernel.write(&part, register);
    let count_text = kernel.size(count);
    let body = if inner == 1 && each >= WORKGROUP_MIN {
        kernel.declare(&format!(
            "var<workgroup> shared_: array<{register}, 256>;\n"
        ));
        kernel.groups = spread(count);
        format!(
            "let line = group;\nif (line >= {count_text}) {{ return; }}\n{setup}var all = {first};\n\
             for (var j = start + lane; j < end; j += 256u) {{ let x = load{from}(base + j); let t = {term}; all = {join}; }}\n\
             shared_[lane] = all;\nworkgroupBarrier();\n\
             for (var half = 128u; half > 0u; half = half >> 1u) {{\n\
             if (lane < half) {{ all = shared_[lane]; let t = shared_[lane + half]; all = {join}; shared_[lane] = all; }}\n\
             workgroupBarrier();\n}}\n\
             if (lane == 0u) {{ all = shared_[0]; b{out}[line] = {last}; }}\n"
        )
    } else {
        kernel.groups = spread(count.div_ceil(64));
        format!(
            "let line = group * 64u + lane;\nif (line >= {count_text}) {{ return; }}\n{setup}var total = {first};\n\
             for (var run = start; run < end; run += 32u) {{\nvar all = {first};\nlet stop = min(run + 32u, end);\n\
             for (var j = run; j < stop; j++) {{ let x = load{from}(base + j * inner); let t = {term}; all = {join}; }}\n\
             let t = all; all = total; total = {join};\n}}\nlet all = total;\nb{out}[line] = {last};\n"
        )
    };
    let lanes = if inner == 1 && each >= WORKGROUP_MIN {
        256
    } else {
        64
    };
    stream.add(kernel.finish(lanes, &body))?;
    Ok(Operand { spec: result, part })
}

/// What joining starts from, and how `all` and `t` are joined.
fn law(kind: ReduceKind, wide: Element) -> (String, String) {
    let long = |low: u32, high: u32| format!("vec2<u32>({low}u, {high}u)");
    let first = match (kind, wide) {
        (ReduceKind::Sum | ReduceKind::Mean, wide) => zero(wide).to_owned(),
        (ReduceKind::Prod, Element::F32) => "1.0".to_owned(),
        (ReduceKind::Prod, Element::I64) => long(1, 0),
        (ReduceKind::Prod, _) => "1".to_owned(),
        (ReduceKind::Max, Element::F32) => "(-infinity())".to_owned(),
        (ReduceKind::Max, Element::I64) => long(0, 0x8000_0000),
        (ReduceKind::Max, _) => "(i32(-2147483647) - 1)".to_owned(),
        (ReduceKind::Min, Element::F32) => "infinity()".to_owned(),
        (ReduceKind::Min, Element::I64) => long(u32::MAX, 0x7fff_ffff),
        (ReduceKind::Min, _) => "2147483647".to_owned(),
    };
    let op = match kind {
        ReduceKind::Sum | ReduceKind::Mean => Binary::Add,
        ReduceKind::Prod => Binary::Mul,
        ReduceKind::Max => Binary::Max,
        ReduceKind::Min => Binary::Min,
    };
    (first, binary(op, wide, "all", "t"))
}

/// Results for which lines are not worth dividing.
const RESULTS_MIN: usize = 4096;
/// Elements of a part of a line, at least.
const PART_MIN: usize = 512;
const PARTS_MAX: usize = 1024;
/// Elements of a line for which a workgroup is worth its start.
const WORKGROUP_MIN: usize = 64;
