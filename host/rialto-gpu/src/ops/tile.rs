//! Batched products of matrices, or of what can be read as one, in tiles.
//!
//! A workgroup of 256 makes a tile of 64 or 128 rows and columns: it brings parts of both operands to
//! its own memory, four by four elements an invocation, and each invocation keeps 4x4 or 8x8 sums in
//! registers. Sums are made in f32 (i32 for integers), in the order of the inner axis. Elements are
//! read four at a time where rows allow it. Non-goals: what is read and written (`blocks`, `store`).

use std::fmt::Write as _;

use rialto_compute::ops::{Activation, EvalError, Spec, Window};

use self::{
    blocks::{block, quad_cell},
    store::store,
};
use crate::{
    kernel::{Kernel, Operand, cell, register, wide, word},
    stream::Stream,
};

pub(super) use self::blocks::quad;

mod blocks;
mod store;

/// Where an operand's element (`k` on the inner axis, `x` on its own) lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    /// A matrix with `x` contiguous (`k` else), rows of the other axis one after another.
    Matrix { along_x: bool },
    /// An image's windows.
    Windows(Image),
}

/// How windows move over an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    pub windows: [Window; 2],
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub output: [usize; 2],
}

/// One side of a product.
#[derive(Debug)]
pub(super) struct Side<'a> {
    pub operand: &'a Operand,
    pub layout: Layout,
    /// The first element of matrix `i` of the batch, as an expression.
    pub base: String,
}

/// A product.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub op: &'static str,
    /// Rows, columns, and products an element.
    pub sizes: [usize; 3],
    pub batch: usize,
    pub sides: [Side<'a>; 2],
    /// What the sides' bases need, with the kernel's numbers.
    pub setup: String,
    /// Added to each column, or to each row (of matrix `i`, as an expression of `row`).
    pub bias: Option<(&'a Operand, Option<String>)>,
    pub activation: Option<Activation>,
}

/// Runs a product; the kernel has the numbers that the bases name.
pub(super) fn product(
    stream: &mut Stream<'_>,
    mut kernel: Kernel,
    product: &Product<'_>,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let [m, n, k] = product.sizes;
    let element = result.element();
    let quads = n.is_multiple_of(4);
    let wide = wide(element);
    let stored = if quads { element } else { wide };
    let spec = result.with_element(stored)?;
    let part = stream.allocate(product.op, spec.bytes())?;
    let tiles = |side: usize| m.div_ceil(side) * n.div_ceil(side) * product.batch;
    let large =
        m >= 128 && n >= 128 && tiles(128) >= LARGE_TILES_MIN && stream.link.takes_large_tiles();
    let (side, depth) = if large { (128, 16) } else { (64, 32) };
    let register = register(wide);
    let sizes = [m, n, k, product.batch].map(|size| kernel.size(size));
    let [m_text, n_text, k_text, batch] = &sizes;
    memory(&mut kernel, register, side * depth / 4);
    let [left, right] = &product.sides;
    block(
        &mut kernel,
        ("left", left),
        [(m, m_text), (k, k_text)],
        register,
    );
    block(
        &mut kernel,
        ("right", right),
        [(n, n_text), (k, k_text)],
        register,
    );
    let bias = product
        .bias
        .as_ref()
        .map(|(operand, row)| (kernel.read(operand), row.clone()));
    let out = kernel.write(
        &part,
        if quads {
            quad_cell(stored)
        } else {
            cell(stored)
        },
    );
    kernel.groups = [
        word(n.div_ceil(side)),
        word(m.div_ceil(side)),
        word(product.batch.min(LAYERS_MAX)),
    ];
    let mut body = format!(
        "let m = {m_text};\nlet n = {n_text};\nlet row0 = at.y * {side}u;\nlet column0 = at.x * {side}u;\n\
         for (var i = layer; i < {batch}; i += among.z) {{\n{}let left_base = {};\nlet right_base = {};\n",
        product.setup, left.base, right.base
    );
    body.push_str(&sums(side, depth, register, k_text, [left, right]));
    body.push_str(&store(
        side,
        (stored, register),
        out,
        bias,
        product.activation,
        quads,
    ));
    body.push_str("}\n");
    stream.add(kernel.finish(256, &body))?;
    stream.narrowed(product.op, Operand { spec, part }, element)
}

/// The workgroup's memory: parts of both sides, four elements a cell.
fn memory(kernel: &mut Kernel, register: &str, cells: usize) {
    kernel.declare(&format!(
        "struct Block {{ a: vec4<{register}>, b: vec4<{register}>, c: vec4<{register}>, d: vec4<{register}> }}\n\
         var<workgroup> left: array<vec4<{register}>, {cells}>;\nvar<workgroup> right: array<vec4<{register}>, {cells}>;\n",
    ));
}

/// The loop over the inner axis: sums `s{row}_{column}` of four columns.
fn sums(side: usize, depth: usize, register: &str, k_text: &str, sides: [&Side<'_>; 2]) -> String {
    let (rows, columns) = (side / 16, side / 64);
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..columns {
            let _ = writeln!(
                text,
                "var s{row}_{column} = vec4<{register}>({register}(0));"
            );
        }
    }
    let _ = write!(
        text,
        "let ty = lane / 16u;\nlet tx = lane % 16u;\nlet load = lane % 128u;\n\
         for (var k0 = 0u; k0 < {k_text}; k0 += {depth}u) {{\n"
    );
    let (across, deep) = (side / 4, depth / 4);
    for (which, (side, (name, origin))) in sides
        .iter()
        .zip([("left", "row0"), ("right", "column0")])
        .enumerate()
    {
        let along_x = !matches!(side.layout, Layout::Matrix { along_x: false });
        let (kb, xb) = if along_x {
            (format!("load / {across}u"), format!("load % {across}u"))
        } else {
            (format!("load % {deep}u"), format!("load / {deep}u"))
        };
        let test = if which == 0 {
            "lane < 128u"
        } else {
            "lane >= 128u"
        };
        let _ = write!(
            text,
            "if ({test}) {{\nlet kb = {kb};\nlet xb = {xb};\n\
             let r = {name}_block(k0 + kb * 4u, {origin} + xb * 4u, {name}_base);\nlet to = kb * 4u * {across}u + xb;\n\
             {name}[to] = r.a;\n{name}[to + {across}u] = r.b;\n{name}[to + {across}u * 2u] = r.c;\n{name}[to + {across}u * 3u] = r.d;\n}}\n"
        );
    }
    let _ = write!(
        text,
        "workgroupBarrier();\nfor (var kk = 0u; kk < {depth}u; kk++) {{\nlet line = kk * {across}u;\n"
    );
    for quad in 0..columns {
        let _ = write!(
            text,
            "let a{quad} = left[line + ty + {shift}u];\nlet b{quad} = right[line + tx + {shift}u];\n",
            shift = quad * 16
        );
    }
    for row in 0..rows {
        let lane = ["x", "y", "z", "w"]
            .into_iter()
            .cycle()
            .nth(row)
            .unwrap_or("x");
        for column in 0..columns {
            let _ = writeln!(text, "s{row}_{column} += a{}.{lane} * b{column};", row / 4);
        }
    }
    text.push_str("}\nworkgroupBarrier();\n}\n");
    text
}

/// Large tiles that keep a device busy.
const LARGE_TILES_MIN: usize = 48;
/// The most workgroups on the third axis.
const LAYERS_MAX: usize = 32768;
