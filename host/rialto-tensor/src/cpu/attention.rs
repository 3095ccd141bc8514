//! Scaled dot-product attention, in tiles of query rows: the scores of all rows are never in memory.

use super::{
    Context, View,
    budget::Buffer,
    cells::{count, load_floats, narrow},
    gemm::{Cell, Strides, multiply},
    rows::softmax_row,
    threads,
};
use crate::{
    Element,
    ops::{
        Attention, EvalError,
        spec::{Spec, broadcast_strides},
    },
};

/// Attention of f32 (the mask may be of another type).
pub(crate) fn floats(
    context: &Context<'_>,
    op: &Attention,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let [query, key, value, rest @ ..] = operands else {
        return Err(context.bug("operands are missing"));
    };
    let head = Head::new(op, query.spec, key.spec, value.spec, rest.first());
    let mut out = context.buffer(result.bytes())?;
    let (query, key, value) = (query.cells(), key.cells(), value.cells());
    let unit = head.rows * head.out_depth * 4;
    let work = head.keys.saturating_mul(head.depth + head.out_depth);
    let share = context.share(out.data.len() / unit.max(1), head.rows.saturating_mul(work));
    let tile = head.rows.min(TILE_ROWS);
    let inner = if share > 1 { 1 } else { context.threads };
    let _hold = context.budget.take(share * (tile + 1) * head.keys * 4)?;
    threads::split_from(
        context.crew_of(share),
        1,
        &mut out.data,
        unit,
        |first, part| {
            let mut scores = vec![[0; 4]; tile * head.keys];
            let mut row = vec![0.0_f32; head.keys];
            let (cells, _) = part.as_chunks_mut::<4>();
            for (index, out) in cells.chunks_mut((unit / 4).max(1)).enumerate() {
                let unit = first + index;
                let source = head.key_head(unit);
                let size = head.keys * head.depth;
                let tensors = Operands {
                    query: part_of(query, unit, head.rows * head.depth),
                    key: part_of(key, source, size),
                    value: part_of(value, source, head.keys * head.out_depth),
                    mask: rest.first().copied(),
                    mask_at: head.mask_at(unit),
                };
                head.run(inner, &tensors, &mut scores, &mut row, out)?;
            }
            Ok(())
        },
    )?;
    Ok(out)
}

fn part_of(cells: &[Cell], index: usize, size: usize) -> &[Cell] {
    cells
        .get(index * size..(index + 1) * size)
        .unwrap_or_default()
}

/// The operands of one head.
struct Operands<'a> {
    query: &'a [Cell],
    key: &'a [Cell],
    value: &'a [Cell],
    mask: Option<View<'a>>,
    /// Where the head's mask begins.
    mask_at: usize,
}

/// What is the same for all heads.
struct Head {
    rows: usize,
    keys: usize,
    depth: usize,
    out_depth: usize,
    query_heads: usize,
    key_heads: usize,
    scale: f32,
    causal: bool,
    /// Extents of batch and heads with the mask's strides, outermost first.
    mask_axes: Vec<(usize, usize)>,
    /// The mask's strides between rows and between keys.
    mask_row: usize,
    mask_key: usize,
}

impl Head {
    fn new(
        op: &Attention,
        query: &Spec,
        key: &Spec,
        value: &Spec,
        mask: Option<&View<'_>>,
    ) -> Self {
        let rank = query.rank();
        let [heads, rows, depth] = [3, 2, 1].map(|back| query.extent(rank - back));
        let keys = key.extent(rank - 2);
        let mut strides = vec![0; rank];
        if let Some(mask) = mask {
            let mut scores = query.shape().to_vec();
            if let (Some(last), Some(keys)) = (scores.last_mut(), key.shape().get(rank - 2)) {
                *last = *keys;
            }
            strides = broadcast_strides(mask.spec.shape(), &scores);
        }
        let outer = query.sizes().into_iter().zip(strides.iter().copied());
        Self {
            rows,
            keys,
            depth,
            out_depth: value.extent(rank - 1),
            query_heads: heads,
            key_heads: key.extent(rank - 3),
            scale: op
                .scale
                .unwrap_or_else(|| narrow(1.0 / count(depth).sqrt())),
            causal: op.causal,
            mask_axes: outer.take(rank - 2).collect(),
            mask_row: strides.get(rank - 2).copied().unwrap_or(0),
            mask_key: strides.get(rank - 1).copied().unwrap_or(0),
        }
    }

    /// The key head that a query head attends, both counted over all batches.
    fn key_head(&self, unit: usize) -> usize {
        let (batch, head) = (
            unit / self.query_heads.max(1),
            unit % self.query_heads.max(1),
        );
        batch * self.key_heads + head * self.key_heads / self.query_heads.max(1)
    }

    fn mask_at(&self, unit: usize) -> usize {
        let (mut rest, mut offset) = (unit, 0);
        for (extent, stride) in self.mask_axes.iter().rev() {
            offset += rest % extent * stride;
            rest /= extent;
        }
        offset
    }

    fn run(
        &self,
        threads: usize,
        tensors: &Operands<'_>,
        scores: &mut [Cell],
        row: &mut [f32],
        out: &mut [Cell],
    ) -> Result<(), EvalError> {
        let (keys, depth) = (self.keys, self.depth);
        for start in (0..self.rows).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(self.rows - start);
            let query = tensors.query.get(start * depth..).unwrap_or_default();
            multiply(
                threads,
                [rows, keys, depth],
                (
                    scores,
                    Strides {
                        row: keys,
                        column: 1,
                    },
                ),
                (
                    query,
                    Strides {
                        row: depth,
                        column: 1,
                    },
                ),
                (
                    tensors.key,
                    Strides {
                        row: 1,
                        column: depth,
                    },
                ),
            )?;
            for (index, cells) in scores.chunks_mut(keys.max(1)).take(rows).enumerate() {
                load_floats(Element::F32, cells.as_flattened(), row);
                self.weigh(start + index, tensors, row);
                for (cell, weight) in cells.iter_mut().zip(row.iter()) {
                    *cell = weight.to_le_bytes();
                }
            }
            let out = out.get_mut(start * self.out_depth..).unwrap_or_default();
            multiply(
                threads,
                [rows, self.out_depth, keys],
                (
                    out,
                    Strides {
                        row: self.out_depth,
                        column: 1,
                    },
                ),
                (
                    scores,
                    Strides {
                        row: keys,
                        column: 1,
                    },
                ),
                (
                    tensors.value,
                    Strides {
                        row: self.out_depth,
                        column: 1,
                    },
                ),
            )?;
        }
        Ok(())
    }

    /// Turns a row of scores into weights.
    fn weigh(&self, index: usize, tensors: &Operands<'_>, row: &mut [f32]) {
        row.iter_mut().for_each(|score| *score *= self.scale);
        if let Some(mask) = tensors.mask {
            let at = tensors.mask_at + index * self.mask_row;
            let width = mask.spec.element().size_bytes();
            let bytes = mask.data.get(at * width..).unwrap_or_default();
            let places = bytes.chunks(width).step_by(self.mask_key.max(1));
            let add = |score: &mut f32, cell: &[u8]| {
                if mask.spec.element() != Element::Bool {
                    let mut value = [0.0];
                    load_floats(mask.spec.element(), cell, &mut value);
                    *score += value[0];
                } else if cell.first() == Some(&0) {
                    *score = f32::NEG_INFINITY;
                }
            };
            if self.mask_key == 0 {
                let cell = bytes.get(..width).unwrap_or_default();
                row.iter_mut().for_each(|score| add(score, cell));
            } else {
                row.iter_mut()
                    .zip(places)
                    .for_each(|(score, cell)| add(score, cell));
            }
        }
        if self.causal {
            // Key j is seen if j <= index + keys - rows.
            let seen = (index + 1 + self.keys)
                .saturating_sub(self.rows)
                .min(self.keys);
            row.get_mut(seen..)
                .unwrap_or_default()
                .fill(f32::NEG_INFINITY);
        }
        if row.iter().all(|score| *score == f32::NEG_INFINITY) {
            row.fill(0.0);
        } else {
            softmax_row(row);
        }
    }
}

/// Query rows whose scores are in memory together.
const TILE_ROWS: usize = 64;
