//! Attention of one token to all before it and to itself.

use crate::{cache::PAGE_TOKENS, kernels, model::Model};

use super::Row;

/// Attention of all heads of all rows.
pub(super) fn all(model: &Model, layer: usize, rows: &[Row], queries: &[f32]) -> Vec<f32> {
    let s = &model.settings;
    let width = s.heads / s.key_heads * s.head_width;
    let mut out = vec![0.0; queries.len()];
    let each = queries.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for (task, (queries, out)) in each.enumerate() {
        if let Some(row) = rows.get(task / s.key_heads) {
            one(model, layer, row, task % s.key_heads, queries, out);
        }
    }
    out
}

/// Attention of the query heads that share one key head. `out` is zeros.
pub(super) fn one(
    model: &Model,
    layer: usize,
    row: &Row,
    key_head: usize,
    queries: &[f32],
    out: &mut [f32],
) {
    let width = model.settings.head_width;
    let tokens = row.position + 1;
    let scale = 1.0 / root(width);
    let pages: Vec<_> = (row.pages.iter().take(tokens.div_ceil(PAGE_TOKENS)))
        .filter_map(|page| page.read(layer))
        .collect();
    let mut weights = vec![[0.0; PAGE_TOKENS]; pages.len()];
    for (query, out) in queries.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        for (page, scores) in pages.iter().zip(&mut weights) {
            kernels::scores(model.isa, query, page.keys(key_head), scale, scores);
        }
        let weights = weights
            .as_flattened_mut()
            .get_mut(..tokens)
            .unwrap_or_default();
        kernels::softmax(model.isa, weights);
        for (page, weights) in pages.iter().zip(weights.chunks(PAGE_TOKENS)) {
            kernels::mix(model.isa, weights, page.values(key_head), out);
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a head is far narrower than 2^24"
)]
fn root(width: usize) -> f32 {
    (width as f32).sqrt()
}
