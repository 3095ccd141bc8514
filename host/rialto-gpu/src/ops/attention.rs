//! Scaled dot-product attention in one kernel: the scores are never in memory.
//!
//! A workgroup of 256 holds 16 or 32 rows of the query and goes over the keys in tiles of as many. It
//! keeps, for each row, the largest score so far, the sum of weights and the weighted values, all
//! scaled by that score, and scales them anew when a larger one comes (online softmax). The order of
//! sums is that of the keys.

use std::fmt::Write as _;

use rialto_compute::{
    Element,
    ops::{
        Attention, EvalError, Spec,
        spec::{broadcast_strides, size},
    },
};

use crate::{
    kernel::{Kernel, Operand, spread},
    stream::Stream,
};

/// Attention; none if heads are too deep for the kernel.
pub(super) fn attention(
    stream: &mut Stream<'_>,
    op: &Attention,
    ([query, key, value], mask): ([&Operand; 3], Option<&Operand>),
    result: &Spec,
) -> Result<Option<Operand>, EvalError> {
    let rank = query.spec.rank();
    let [heads, rows, depth] = [3, 2, 1].map(|back| query.spec.extent(rank - back));
    let (keys, key_heads) = (key.spec.extent(rank - 2), key.spec.extent(rank - 3));
    let out_depth = value.spec.extent(rank - 1);
    let memory = size(stream.link.limits.max_compute_workgroup_storage_size);
    let Some(tile) = tile(depth.max(out_depth), memory) else {
        return Ok(None);
    };
    let units = query.spec.elements().checked_div(rows * depth).unwrap_or(0);
    let spec = result.with_element(Element::F32)?;
    let part = stream.allocate("attention", spec.bytes())?;
    let mut kernel = Kernel::new("attention");
    let [q, k, v] = [query, key, value].map(|operand| kernel.read(operand));
    let mut body = String::new();
    for (name, size) in [
        ("rows", rows),
        ("keys", keys),
        ("depth", depth),
        ("out_depth", out_depth),
        ("heads", heads),
        ("key_heads", key_heads),
        ("tiles", rows.div_ceil(tile.rows)),
        ("units", units),
    ] {
        let _ = writeln!(body, "let {name} = {};", kernel.size(size));
    }
    let scale = op.scale.unwrap_or_else(|| inverse_root(depth));
    let _ = writeln!(body, "let scale = {};", kernel.float(scale));
    let masked = mask.map(|mask| mask_text(&mut kernel, mask, query, keys));
    let out = kernel.write(&part, "f32");
    kernel.groups = spread(units * rows.div_ceil(tile.rows));
    let (t, stride) = (tile.rows, tile.depth + 1);
    declare(&mut kernel, t, stride);
    body.push_str(
        "if (group >= tiles * units) { return; }\nlet unit = group / tiles;\nlet row0 = (group % tiles) * ROWS;\n\
         let source = unit / heads * key_heads + (unit % heads) * key_heads / heads;\n\
         let ty = lane / 16u;\nlet tx = lane % 16u;\n",
    );
    if let Some((outer, _)) = &masked {
        body.push_str(outer);
    }
    body.push_str(&text(
        &tile,
        [q, k, v],
        op.causal,
        masked.as_ref().map(|(_, inner)| inner),
    ));
    body.push_str(&finish(&tile, out));
    let body = body
        .replace("ROWS", &format!("{t}u"))
        .replace("STRIDE", &format!("{stride}u"))
        .replace("WIDTH", &format!("{}u", t + 1));
    stream.add(kernel.finish(256, &body))?;
    stream
        .narrowed("attention", Operand { spec, part }, result.element())
        .map(Some)
}

/// The workgroup's memory, for `t` rows of `stride` elements.
fn declare(kernel: &mut Kernel, t: usize, stride: usize) {
    kernel.declare(&format!(
        "var<workgroup> queries: array<f32, {a}>;\nvar<workgroup> others: array<f32, {a}>;\n\
         var<workgroup> scores: array<f32, {b}>;\nvar<workgroup> tree: array<f32, 256>;\n\
         var<workgroup> tops: array<f32, {t}>;\nvar<workgroup> totals: array<f32, {t}>;\nvar<workgroup> rescale: array<f32, {t}>;\n",
        a = t * stride,
        b = t * (t + 1),
    ));
}

/// How much a workgroup holds.
struct Tile {
    /// Rows, and keys at a time.
    rows: usize,
    /// The deepest heads.
    depth: usize,
}

/// The largest tile that the workgroup's memory holds.
fn tile(depth: usize, memory: usize) -> Option<Tile> {
    let class = [32, 64, 128, 256]
        .into_iter()
        .find(|class| depth <= *class)?;
    [32, 16].into_iter().find_map(|rows| {
        let floats = 2 * rows * (class + 1) + rows * (rows + 1) + 256 + 3 * rows;
        (floats * 4 <= memory).then_some(Tile { rows, depth: class })
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "rounding is meant"
)]
fn inverse_root(depth: usize) -> f32 {
    (1.0 / (depth as f64).sqrt()) as f32
}

/// Where a unit's mask begins, and what it does to the score `s` of row `r` and key `j`.
fn mask_text(
    kernel: &mut Kernel,
    mask: &Operand,
    query: &Operand,
    keys: usize,
) -> (String, String) {
    let n = kernel.read(mask);
    let mut shape = query.spec.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = rialto_compute::ops::spec::extent(keys).unwrap_or(u32::MAX);
    }
    let strides = broadcast_strides(mask.spec.shape(), &shape);
    let rank = shape.len();
    let mut outer = "var rest = unit;\nvar mask_at = 0u;\n".to_owned();
    let axes = query.spec.sizes().into_iter().zip(&strides);
    for (extent, stride) in axes.take(rank - 2).collect::<Vec<_>>().into_iter().rev() {
        let (extent, stride) = (kernel.size(extent), kernel.size(*stride));
        let _ = write!(
            outer,
            "mask_at += (rest % {extent}) * {stride};\nrest = rest / {extent};\n"
        );
    }
    let [row, key] = [rank - 2, rank - 1].map(|axis| strides.get(axis).copied().unwrap_or(0));
    let (row, key) = (kernel.size(row), kernel.size(key));
    let place = format!("load{n}(mask_at + r * {row} + j * {key})");
    let inner = if mask.spec.element() == Element::Bool {
        format!("if ({place} == 0) {{ s = -infinity(); }}\n")
    } else {
        format!("s += {place};\n")
    };
    (outer, inner)
}

/// Reads the query, then goes over the keys.
fn text(tile: &Tile, [q, k, v]: [usize; 3], causal: bool, mask: Option<&String>) -> String {
    let (each, columns) = (tile.rows / 16, tile.depth / 16);
    let mut text = fill(
        "queries",
        q,
        ("unit * rows + row0", "row0", "rows", "depth"),
    );
    text.push_str("if (lane < ROWS) { tops[lane] = -infinity(); totals[lane] = 0.0; }\n");
    for a in 0..each {
        for d in 0..columns {
            let _ = writeln!(text, "var o{a}_{d} = 0.0;");
        }
    }
    let stop = if causal {
        "let stop = min(keys, select(0u, row0 + ROWS + keys - rows, row0 + ROWS + keys > rows));\n"
    } else {
        "let stop = keys;\n"
    };
    text.push_str(stop);
    text.push_str("for (var j0 = 0u; j0 < stop; j0 += ROWS) {\n");
    text.push_str(&fill(
        "others",
        k,
        ("source * keys + j0", "j0", "keys", "depth"),
    ));
    text.push_str("workgroupBarrier();\n");
    text.push_str(&scores(each, causal, mask));
    text.push_str("workgroupBarrier();\n");
    text.push_str(&fill(
        "others",
        v,
        ("source * keys + j0", "j0", "keys", "out_depth"),
    ));
    text.push_str(&weights(256 / tile.rows));
    text.push_str(&values(each, columns));
    text.push_str("workgroupBarrier();\n}\n");
    text
}

/// Brings a tile of rows to the workgroup's memory; what is outside is zero.
fn fill(name: &str, n: usize, (first, row, count, depth): (&str, &str, &str, &str)) -> String {
    format!(
        "for (var e = lane; e < ROWS * {depth}; e += 256u) {{\nlet r = e / {depth};\nlet d = e % {depth};\nvar x = 0.0;\n\
         if ({row} + r < {count}) {{ x = load{n}(({first} + r) * {depth} + d); }}\n{name}[r * STRIDE + d] = x;\n}}\n"
    )
}

/// The scores of a tile of keys, masked.
fn scores(each: usize, causal: bool, mask: Option<&String>) -> String {
    let mut text = String::new();
    for a in 0..each {
        for b in 0..each {
            let _ = writeln!(text, "var s{a}_{b} = 0.0;");
        }
    }
    text.push_str("for (var d = 0u; d < depth; d++) {\n");
    for a in 0..each {
        let shift = a * 16;
        let _ = writeln!(text, "let x{a} = queries[(ty + {shift}u) * STRIDE + d];");
        let _ = writeln!(text, "let y{a} = others[(tx + {shift}u) * STRIDE + d];");
    }
    for a in 0..each {
        for b in 0..each {
            let _ = writeln!(text, "s{a}_{b} += x{a} * y{b};");
        }
    }
    text.push_str("}\n");
    let limit = if causal {
        " && j + rows <= r + keys"
    } else {
        ""
    };
    let mask = mask.map_or("", String::as_str);
    for a in 0..each {
        for b in 0..each {
            let (down, right) = (a * 16, b * 16);
            let _ = writeln!(
                text,
                "{{\nlet r = row0 + ty + {down}u;\nlet j = j0 + tx + {right}u;\nvar s = -infinity();\n\
                 if (r < rows && j < keys{limit}) {{\ns = s{a}_{b} * scale;\n{mask}}}\n\
                 scores[(ty + {down}u) * WIDTH + tx + {right}u] = s;\n}}"
            );
        }
    }
    text
}

/// Makes weights of the scores, and what the sums so far are to be scaled by.
fn weights(group: usize) -> String {
    format!(
        "let line = lane / {group}u;\nlet share = lane % {group}u;\nvar top = -infinity();\n\
         for (var c = share; c < ROWS; c += {group}u) {{ top = max_(top, scores[line * WIDTH + c]); }}\n\
         tree[lane] = top;\nworkgroupBarrier();\nlet before = tops[line];\ntop = before;\n\
         for (var g = 0u; g < {group}u; g++) {{ top = max_(top, tree[line * {group}u + g]); }}\n\
         let shift = select(top, 0.0, is_minus_inf(top));\nvar total = 0.0;\n\
         for (var c = share; c < ROWS; c += {group}u) {{\nlet w = exp_(scores[line * WIDTH + c] - shift);\n\
         scores[line * WIDTH + c] = w;\ntotal += w;\n}}\nworkgroupBarrier();\ntree[lane] = total;\nworkgroupBarrier();\n\
         if (share == 0u) {{\nlet factor = exp_(before - shift);\nvar all = totals[line] * factor;\n\
         for (var g = 0u; g < {group}u; g++) {{ all += tree[lane + g]; }}\n\
         totals[line] = all;\ntops[line] = top;\nrescale[line] = factor;\n}}\nworkgroupBarrier();\n"
    )
}

/// Adds the weighted values of a tile of keys.
fn values(each: usize, columns: usize) -> String {
    let mut text = String::new();
    for a in 0..each {
        let _ = writeln!(text, "let f{a} = rescale[ty + {}u];", a * 16);
        for d in 0..columns {
            let _ = writeln!(text, "o{a}_{d} *= f{a};");
        }
    }
    text.push_str("for (var c = 0u; c < ROWS; c++) {\n");
    for a in 0..each {
        let _ = writeln!(text, "let w{a} = scores[(ty + {}u) * WIDTH + c];", a * 16);
    }
    for d in 0..columns {
        let _ = writeln!(text, "let v{d} = others[c * STRIDE + tx + {}u];", d * 16);
        for a in 0..each {
            let _ = writeln!(text, "o{a}_{d} += w{a} * v{d};");
        }
    }
    text.push_str("}\n");
    text
}

/// Divides by the weights' sums and writes.
fn finish(tile: &Tile, out: usize) -> String {
    let mut text = "workgroupBarrier();\n".to_owned();
    for a in 0..tile.rows / 16 {
        let _ = write!(
            text,
            "{{\nlet r = row0 + ty + {shift}u;\nlet all = totals[ty + {shift}u];\nif (r < rows) {{\n",
            shift = a * 16
        );
        for d in 0..tile.depth / 16 {
            let _ = writeln!(
                text,
                "if (tx + {shift}u < out_depth) {{ b{out}[(unit * rows + r) * out_depth + tx + {shift}u] = select(o{a}_{d} / all, 0.0, all == 0.0); }}",
                shift = d * 16
            );
        }
        text.push_str("}\n}\n");
    }
    text
}
