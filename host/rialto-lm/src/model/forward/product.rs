//! Products of weights with tokens, on this thread or divided among all.

use std::{
    array,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    kernels::LANES,
    matrix::{Matrix, Quantised},
    model::{Model, forward::attention},
    pool::Pool,
};

use super::{Row, Stopped};

/// One of a model's matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Query,
    Key,
    Value,
    AttentionOutput,
    Gate,
    Up,
    Down,
    Head,
}

/// Who computes. Results are rows of numbers, one row a token.
pub(super) trait Product {
    /// Multiplies several matrices of one layer with the same tokens.
    fn all(
        &self,
        layer: usize,
        parts: &[Part],
        tokens: Quantised,
    ) -> Result<Vec<Vec<f32>>, Stopped>;

    /// Attention of all rows.
    fn attention(&self, layer: usize, rows: &[Row], queries: Vec<f32>)
    -> Result<Vec<f32>, Stopped>;
}

impl dyn Product + '_ {
    pub(super) fn several<const N: usize>(
        &self,
        layer: usize,
        parts: [Part; N],
        tokens: Quantised,
    ) -> Result<[Vec<f32>; N], Stopped> {
        let mut all = self.all(layer, &parts, tokens)?.into_iter();
        Ok(array::from_fn(|_| all.next().unwrap_or_default()))
    }

    pub(super) fn one(
        &self,
        layer: usize,
        part: Part,
        tokens: Quantised,
    ) -> Result<Vec<f32>, Stopped> {
        let [one] = self.several(layer, [part], tokens)?;
        Ok(one)
    }
}

/// Computes on the calling thread.
pub(super) struct Direct<'a>(pub(super) &'a Model);

impl Product for Direct<'_> {
    fn all(
        &self,
        layer: usize,
        parts: &[Part],
        tokens: Quantised,
    ) -> Result<Vec<Vec<f32>>, Stopped> {
        let one = |part: &Part| {
            let Some(matrix) = part.of(self.0, layer) else {
                return Vec::new();
            };
            let mut out = vec![0.0; matrix.rows() * tokens.len()];
            // A few rows at a time, so that they stay in the cache for the next tile.
            for start in (0..matrix.sixteens()).step_by(SIXTEENS_AT_ONCE) {
                let range = start..(start + SIXTEENS_AT_ONCE).min(matrix.sixteens());
                let product = matrix.multiply(self.0.isa, range.clone(), &tokens);
                place(matrix, &tokens, &product, range, &mut out);
            }
            out
        };
        Ok(parts.iter().map(one).collect())
    }

    fn attention(
        &self,
        layer: usize,
        rows: &[Row],
        queries: Vec<f32>,
    ) -> Result<Vec<f32>, Stopped> {
        Ok(attention::all(self.0, layer, rows, &queries))
    }
}

/// Computes on all threads of the pool.
pub(super) struct Divided<'a>(pub(super) &'a Arc<Model>, pub(super) &'a Pool);

impl Divided<'_> {
    pub(super) fn one(
        &self,
        layer: usize,
        part: Part,
        tokens: Quantised,
    ) -> Result<Vec<f32>, Stopped> {
        let all: &dyn Product = self;
        all.one(layer, part, tokens)
    }
}

impl Product for Divided<'_> {
    fn all(
        &self,
        layer: usize,
        parts: &[Part],
        tokens: Quantised,
    ) -> Result<Vec<Vec<f32>>, Stopped> {
        let Self(model, pool) = *self;
        let matrices = || parts.iter().filter_map(move |part| part.of(model, layer));
        let sixteens: usize = matrices().map(Matrix::sixteens).sum();
        let size = sixteens.div_ceil(pool.threads() * CHUNKS_PER_THREAD).max(1);
        let chunks: Vec<(usize, Range<usize>)> = matrices()
            .enumerate()
            .flat_map(|(index, matrix)| {
                let last = matrix.sixteens();
                let starts = (0..last).step_by(size);
                starts.map(move |start| (index, start..(start + size).min(last)))
            })
            .collect();
        let shared = Arc::new(Shared {
            model: Arc::clone(model),
            layer,
            parts: parts.to_vec(),
            tokens,
            results: chunks.iter().map(|_| Mutex::default()).collect(),
            chunks,
        });
        let inner = Arc::clone(&shared);
        pool.run(
            shared.chunks.len(),
            Arc::new(move |chunk| inner.work(chunk)),
        )?;
        let mut outs: Vec<_> = matrices()
            .map(|matrix| vec![0.0; matrix.rows() * shared.tokens.len()])
            .collect();
        for ((index, range), result) in shared.chunks.iter().zip(&shared.results) {
            let product = result.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(matrix), Some(out)) = (matrices().nth(*index), outs.get_mut(*index)) {
                place(matrix, &shared.tokens, &product, range.clone(), out);
            }
        }
        Ok(outs)
    }

    fn attention(
        &self,
        layer: usize,
        rows: &[Row],
        queries: Vec<f32>,
    ) -> Result<Vec<f32>, Stopped> {
        let Self(model, pool) = *self;
        let s = &model.settings;
        let positions: usize = rows.iter().map(|row| row.position + 1).sum();
        if positions * s.heads * s.head_width < ATTENTION_WORTH_DIVIDING {
            return Ok(attention::all(model, layer, rows, &queries));
        }
        let tasks = rows.len() * s.key_heads;
        let results: Arc<Vec<Mutex<Vec<f32>>>> =
            Arc::new((0..tasks).map(|_| Mutex::default()).collect());
        let (model, rows) = (Arc::clone(model), rows.to_vec());
        let (inner, width) = (Arc::clone(&results), s.heads / s.key_heads * s.head_width);
        let key_heads = s.key_heads;
        let work = move |task: usize| {
            let queries = queries.chunks_exact(width).nth(task);
            let (row, result) = (rows.get(task / key_heads), inner.get(task));
            if let (Some(queries), Some(row), Some(result)) = (queries, row, result) {
                let mut out = vec![0.0; width];
                attention::one(&model, layer, row, task % key_heads, queries, &mut out);
                *result.lock().unwrap_or_else(PoisonError::into_inner) = out;
            }
        };
        pool.run(tasks, Arc::new(work))?;
        let mut out = Vec::with_capacity(tasks * width);
        for result in results.iter() {
            out.append(&mut result.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(out)
    }
}

/// What the threads see of a divided product.
struct Shared {
    model: Arc<Model>,
    layer: usize,
    parts: Vec<Part>,
    tokens: Quantised,
    /// Which of the parts, and which of its rows in sixteens.
    chunks: Vec<(usize, Range<usize>)>,
    results: Vec<Mutex<Vec<[f32; LANES]>>>,
}

impl Shared {
    fn work(&self, chunk: usize) {
        let Some((index, range)) = self.chunks.get(chunk) else {
            return;
        };
        let part = self.parts.get(*index);
        let matrix = part.and_then(|part| part.of(&self.model, self.layer));
        if let (Some(matrix), Some(result)) = (matrix, self.results.get(chunk)) {
            let product = matrix.multiply(self.model.isa, range.clone(), &self.tokens);
            *result.lock().unwrap_or_else(PoisonError::into_inner) = product;
        }
    }
}

impl Part {
    fn of(self, model: &Model, layer: usize) -> Option<&Matrix> {
        let weights = model.layers.get(layer)?;
        Some(match self {
            Self::Query => &weights.query,
            Self::Key => &weights.key,
            Self::Value => &weights.value,
            Self::AttentionOutput => &weights.attention_output,
            Self::Gate => &weights.gate,
            Self::Up => &weights.up,
            Self::Down => &weights.down,
            Self::Head => model.head(),
        })
    }
}

fn place(
    matrix: &Matrix,
    tokens: &Quantised,
    product: &[[f32; LANES]],
    range: Range<usize>,
    out: &mut [f32],
) {
    tokens.scatter(
        product,
        range.len(),
        range.start * LANES,
        matrix.rows(),
        out,
    );
}

/// So many that a thread that is late is made up for, so few that dividing costs little.
const CHUNKS_PER_THREAD: usize = 4;
/// About 40 KiB of four-bit weights at a width of 576.
const SIXTEENS_AT_ONCE: usize = 8;
/// Multiplications below which one thread is done sooner.
const ATTENTION_WORTH_DIVIDING: usize = 100_000;
