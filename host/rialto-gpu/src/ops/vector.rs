//! Products with few rows on the left: bound by reading the right matrix once.
//!
//! Workgroups share the inner axis; the order of sums is fixed by the shape.

use std::fmt::Write as _;

use rialto_compute::{
    Element,
    ops::{EvalError, Matmul, Spec},
};

use super::{step::float, tile::quad};
use crate::{
    kernel::{Kernel, Operand, spread},
    stream::Stream,
};

/// The most rows that are few.
pub(super) const ROWS_MAX: usize = 4;

/// A product of so many rows, columns, and products an element; the left matrix is not transposed.
pub(super) fn product(
    stream: &mut Stream<'_>,
    op: &Matmul,
    (left, right, bias): (&Operand, &Operand, Option<&Operand>),
    [m, n, k]: [usize; 3],
    result: &Spec,
) -> Result<Operand, EvalError> {
    let spec = result.with_element(Element::F32)?;
    let part = stream.allocate("matmul", spec.bytes())?;
    let mut kernel = Kernel::new("matmul");
    let (lanes, columns) = if op.transpose_right {
        (64, 1)
    } else {
        (256, 64)
    };
    let mut body = String::new();
    for (name, size) in [("n", n), ("k", k)] {
        let _ = writeln!(body, "let {name} = {};", kernel.size(size));
    }
    let _ = write!(
        body,
        "let column = group * {columns}u + lane % {columns}u;\nlet slice = lane / {columns}u;\n"
    );
    for row in 0..m {
        let _ = writeln!(body, "var s{row} = 0.0;");
    }
    let slices = lanes / columns;
    body.push_str(&sums(
        &mut kernel,
        op.transpose_right,
        (left, right),
        (m, k),
        slices,
    ));
    let added = bias.map(|bias| kernel.read(bias));
    let out = kernel.write(&part, "f32");
    body.push_str(&join(&mut kernel, op, (added, out), m, (lanes, columns)));
    kernel.groups = spread(n.div_ceil(columns));
    stream.add(kernel.finish(u32::try_from(lanes).unwrap_or(64), &body))?;
    stream.narrowed("matmul", Operand { spec, part }, result.element())
}

/// Each invocation's share of the inner axis, for all rows.
fn sums(
    kernel: &mut Kernel,
    transposed: bool,
    (left, right): (&Operand, &Operand),
    (m, k): (usize, usize),
    slices: usize,
) -> String {
    let mut text = "if (column < n) {\n".to_owned();
    if transposed && k.is_multiple_of(4) {
        let (l, r) = (
            quad(kernel, "left", left, "f32"),
            quad(kernel, "right", right, "f32"),
        );
        let _ = write!(
            text,
            "let quads = k >> 2u;\nfor (var q = slice; q < quads; q += {slices}u) {{\nlet w = {r}(column * quads + q);\n"
        );
        for row in 0..m {
            let _ = writeln!(text, "s{row} += dot(w, {l}({row}u * quads + q));");
        }
    } else {
        let (l, r) = (kernel.read(left), kernel.read(right));
        let place = if transposed {
            "column * k + j"
        } else {
            "j * n + column"
        };
        let _ = write!(
            text,
            "for (var j = slice; j < k; j += {slices}u) {{\nlet w = load{r}({place});\n"
        );
        for row in 0..m {
            let _ = writeln!(text, "s{row} += w * load{l}({row}u * k + j);");
        }
    }
    text.push_str("}\n}\n");
    text
}

/// Joins the shares as a tree and writes the result.
fn join(
    kernel: &mut Kernel,
    op: &Matmul,
    (added, out): (Option<usize>, usize),
    m: usize,
    (lanes, columns): (usize, usize),
) -> String {
    let mut text = String::new();
    for row in 0..m {
        kernel.declare(&format!("var<workgroup> tree{row}: array<f32, {lanes}>;\n"));
        let _ = writeln!(text, "tree{row}[lane] = s{row};");
    }
    text.push_str("workgroupBarrier();\n");
    let _ = write!(
        text,
        "for (var half = {}u; half >= {columns}u; half = half >> 1u) {{\nif (lane < half) {{\n",
        lanes / 2
    );
    for row in 0..m {
        let _ = writeln!(text, "tree{row}[lane] += tree{row}[lane + half];");
    }
    let _ = write!(
        text,
        "}}\nworkgroupBarrier();\nif (half == {columns}u) {{ break; }}\n}}\nif (lane < {columns}u && column < n) {{\n"
    );
    for row in 0..m {
        let mut value = format!("tree{row}[lane]");
        if let Some(b) = added {
            value = format!("({value} + load{b}(column))");
        }
        if let Some(activation) = op.activation {
            value = float(activation.unary(), &value);
        }
        let _ = writeln!(text, "b{out}[{row}u * n + column] = {value};");
    }
    text.push_str("}\n");
    text
}
