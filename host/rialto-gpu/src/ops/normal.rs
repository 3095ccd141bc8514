//! Operations that treat the elements along an axis together: softmax, norms, rotary embedding.
//!
//! In general lines are reduced first and then each element is computed from what that gave, for any
//! element type and axis. Lines of neighbouring f32 that fit a workgroup's memory are read once.

use rialto_compute::{
    Element,
    ops::{EvalError, Norm, ReduceKind, Rope, spec::product},
};

use super::{
    layout::value,
    reduce::{Lines, lines},
};
use crate::{
    kernel::{Kernel, Operand, spread},
    stream::Stream,
};

/// The softmax along an axis, or its logarithm.
pub(super) fn softmax(
    stream: &mut Stream<'_>,
    op: &'static str,
    axis: usize,
    input: &Operand,
) -> Result<Operand, EvalError> {
    let (outer, n, inner) = input.spec.around(axis);
    let logarithm = op == "log-softmax";
    if inner == 1 && fits(input, n) {
        let last = if logarithm {
            "let shift = top + ln_(total);\nfor (var j = lane; j < n; j += 256u) { b1[base + j] = row[j] - shift; }"
        } else {
            "for (var j = lane; j < n; j += 256u) { b1[base + j] = exp_(row[j] - top) / total; }"
        };
        let body = format!(
            "var t = -infinity();\nfor (var j = lane; j < n; j += 256u) {{ let x = b0[base + j]; row[j] = x; t = max_(t, x); }}\n\
             let top = join_max(lane, t);\nt = 0.0;\n\
             for (var j = lane; j < n; j += 256u) {{ t += exp_(row[j] - top); }}\nlet total = join_sum(lane, t);\n{last}\n"
        );
        return rows(stream, op, input, &[], (outer, n), &body);
    }
    let sizes = [outer, n, inner];
    let line = Lines {
        op,
        kind: ReduceKind::Max,
        input,
        sizes,
        extra: &[],
        term: "x",
    };
    let top = lines(stream, &line)?;
    let total = lines(
        stream,
        &Lines {
            kind: ReduceKind::Sum,
            extra: &[&top],
            term: "exp_(x - e0)",
            ..line
        },
    )?;
    stream.map(op, &input.spec, |kernel| {
        let [x, t, s] = [input, &top, &total].map(|operand| kernel.read(operand));
        let (n, inner) = (kernel.size(n), kernel.size(inner));
        let last = if logarithm {
            format!("x - (load{t}(line) + ln_(load{s}(line)))")
        } else {
            format!("exp_(x - load{t}(line)) / load{s}(line)")
        };
        let text = format!(
            "let line = i / ({n} * {inner}) * {inner} + i % {inner};\nlet x = load{x}(i);\nreturn {last};"
        );
        value(kernel, &input.spec, &text);
    })
}

/// Whether a workgroup's memory holds lines of an f32 tensor, worth a workgroup.
fn fits(input: &Operand, n: usize) -> bool {
    input.spec.element() == Element::F32 && (WORKGROUP_MIN..=ROW_MAX).contains(&n)
}

/// One workgroup for each row of an f32 tensor `b0`; the result is `b1`, other operands come after.
fn rows(
    stream: &mut Stream<'_>,
    op: &'static str,
    input: &Operand,
    rest: &[&Operand],
    (count, n): (usize, usize),
    body: &str,
) -> Result<Operand, EvalError> {
    let part = stream.allocate(op, input.spec.bytes())?;
    let mut kernel = Kernel::new(op);
    kernel.read_as(&input.part, "f32");
    kernel.write(&part, "f32");
    for operand in rest {
        kernel.read_as(&operand.part, "f32");
    }
    kernel
        .declare("var<workgroup> row: array<f32, 3584>;\nvar<workgroup> tree: array<f32, 256>;\n");
    for (name, join) in [("max", "max_(a, b)"), ("sum", "a + b")] {
        if body.contains(&format!("join_{name}(")) {
            kernel.push(&format!(
                "fn join_{name}(lane: u32, x: f32) -> f32 {{\ntree[lane] = x;\nworkgroupBarrier();\n\
                 for (var half = 128u; half > 0u; half = half >> 1u) {{\n\
                 if (lane < half) {{ let a = tree[lane]; let b = tree[lane + half]; tree[lane] = {join}; }}\n\
                 workgroupBarrier();\n}}\nlet all = tree[0];\nworkgroupBarrier();\nreturn all;\n}}\n"
            ));
        }
    }
    let (count_text, n) = (kernel.size(count), kernel.size(n));
    kernel.groups = spread(count);
    let body = format!(
        "if (group >= {count_text}) {{ return; }}\nlet n = {n};\nlet base = group * n;\n{body}"
    );
    stream.add(kernel.finish(256, &body))?;
    let spec = input.spec.clone();
    Ok(Operand { spec, part })
}

/// Layer norm, or rms norm if not `centred`.
pub(super) fn norm(
    stream: &mut Stream<'_>,
    op: &Norm,
    centred: bool,
    (input, rest): (&Operand, &[&Operand]),
) -> Result<Operand, EvalError> {
    let name = if centred { "layer-norm" } else { "rms-norm" };
    let rank = input.spec.rank();
    let width = product(input.spec.shape().get(rank - op.axes..).unwrap_or_default());
    let count = input.spec.elements().checked_div(width).unwrap_or(0);
    let mut given = rest.iter().copied();
    let scale = if op.scale { given.next() } else { None };
    let bias = if op.bias { given.next() } else { None };
    if fits(input, width) {
        return norm_rows(stream, op, (name, centred), (input, rest), (count, width));
    }
    let line = Lines {
        op: name,
        kind: ReduceKind::Mean,
        input,
        sizes: [count, width, 1],
        extra: &[],
        term: if centred { "x" } else { "x * x" },
    };
    let first = lines(stream, &line)?;
    let second = if centred {
        let spread = Lines {
            extra: &[&first],
            term: "(x - e0) * (x - e0)",
            ..line
        };
        Some(lines(stream, &spread)?)
    } else {
        None
    };
    stream.map(name, &input.spec, |kernel| {
        let (x, f) = (kernel.read(input), kernel.read(&first));
        let (width, epsilon) = (kernel.size(width), kernel.float(op.epsilon));
        let mut text = format!("let line = i / {width};\nvar v = load{x}(i);\n");
        match &second {
            Some(second) => {
                let s = kernel.read(second);
                text.push_str(&format!(
                    "v = (v - load{f}(line)) * rsqrt_(load{s}(line) + {epsilon});\n"
                ));
            }
            None => text.push_str(&format!("v = v * rsqrt_(load{f}(line) + {epsilon});\n")),
        }
        for (operand, joint) in [(scale, '*'), (bias, '+')] {
            if let Some(operand) = operand {
                let n = kernel.read(operand);
                text.push_str(&format!("v = v {joint} load{n}(i % {width});\n"));
            }
        }
        value(kernel, &input.spec, &format!("{text}return v;"));
    })
}

fn norm_rows(
    stream: &mut Stream<'_>,
    op: &Norm,
    (name, centred): (&'static str, bool),
    (input, rest): (&Operand, &[&Operand]),
    sizes: (usize, usize),
) -> Result<Operand, EvalError> {
    let mut last = "(row[j] - mean) * factor".to_owned();
    if op.scale {
        last.push_str(" * b2[j]");
    }
    if op.bias {
        last.push_str(if op.scale { " + b3[j]" } else { " + b2[j]" });
    }
    let mean = if centred {
        "t = 0.0;\nfor (var j = lane; j < n; j += 256u) { t += row[j]; }\nlet mean = join_sum(lane, t) / f32(n);\n"
    } else {
        "let mean = 0.0;\n"
    };
    let epsilon = op.epsilon.to_bits();
    let body = format!(
        "var t = 0.0;\nfor (var j = lane; j < n; j += 256u) {{ row[j] = b0[base + j]; }}\n{mean}t = 0.0;\n\
         for (var j = lane; j < n; j += 256u) {{ let d = row[j] - mean; t += d * d; }}\n\
         let factor = rsqrt_(join_sum(lane, t) / f32(n) + bitcast<f32>({epsilon}u | p[0].x));\n\
         for (var j = lane; j < n; j += 256u) {{ b1[base + j] = {last}; }}\n"
    );
    rows(stream, name, input, rest, sizes, &body)
}

/// Rotary position embedding. Angles are counted in turns, as fractions of 64 bits: whatever the
/// position, the product with it is exact.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a fraction of a turn, in 64 bits"
)]
pub(super) fn rope(
    stream: &mut Stream<'_>,
    op: &Rope,
    input: &Operand,
    positions: &Operand,
) -> Result<Operand, EvalError> {
    let rank = input.spec.rank();
    let (length, depth) = (input.spec.extent(rank - 2), input.spec.extent(rank - 1));
    let pairs = usize::try_from(op.dimensions).unwrap_or(0) / 2;
    let turns = (0..pairs).flat_map(|pair| {
        let exponent = -(pair as f64) / pairs as f64;
        let turn = f64::from(op.base).powf(exponent) / std::f64::consts::TAU;
        let scaled = turn.fract() * 18_446_744_073_709_551_616.0;
        (scaled as u64).to_le_bytes()
    });
    let table = stream.upload("rope", &turns.collect::<Vec<u8>>())?;
    stream.map("rope", &input.spec, |kernel| {
        let x = kernel.read(input);
        if pairs == 0 {
            value(kernel, &input.spec, &format!("return load{x}(i);"));
            return;
        }
        let at = kernel.read(positions);
        let t = kernel.read_as(&table, "vec2<u32>");
        kernel.push(include_str!("../wgsl/philox.wgsl"));
        let [length, depth, pairs] = [length, depth, pairs].map(|size| kernel.size(size));
        let position = if positions.spec.element() == Element::I64 {
            format!("load{at}(row)")
        } else {
            format!("l_of(load{at}(row))")
        };
        let place = if op.interleaved {
            "let pair = d >> 1u;\nlet second = (d & 1u) == 1u;\nlet other = i ^ 1u;\n".replace(
                "i ^ 1u",
                "select(i + 1u, i - 1u, second)",
            )
        } else {
            "let second = d >= pairs;\nlet pair = select(d, d - pairs, second);\n\
             let other = select(i + pairs, i - pairs, second);\n"
                .to_owned()
        };
        let text = format!(
            "let pairs = {pairs};\nlet d = i % {depth};\nif (d >= 2u * pairs) {{ return load{x}(i); }}\n\
             let row = (i / {depth}) % {length};\n{place}\
             let angle = l_mul({position}, b{t}[pair]);\nlet rounded = angle.y + (angle.x >> 31u);\n\
             let turn = turned(rounded);\nlet a = load{x}(i);\nlet b = load{x}(other);\n\
             return select(a * turn.x - b * turn.y, b * turn.y + a * turn.x, second);"
        );
        value(kernel, &input.spec, &text);
    })
}

/// Elements of a row that a workgroup's memory holds, beside a tree.
const ROW_MAX: usize = 3584;
/// Elements for which a workgroup is worth its start.
const WORKGROUP_MIN: usize = 64;
