//! One pass of some tokens through all layers.
//!
//! With few tokens the rows of every matrix are divided among the threads; with many, each thread
//! takes whole tiles of tokens through half a layer. Either way each number is computed by the same
//! operations in the same order, so results do not depend on threads or on the other tokens.

mod attention;
mod product;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    cache::{PAGE_TOKENS, Page},
    kernels::{self, TILE},
    matrix::Quantised,
    model::{Model, rope},
    pool::{Panicked, Pool},
};

use product::{Direct, Divided, Part, Product};

/// One token of a pass.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) token: u32,
    pub(crate) position: usize,
    /// The session's pages, among them the one that this token is written to.
    pub(crate) pages: Arc<Vec<Arc<Page>>>,
    pub(crate) wants_logits: bool,
}

/// Why a pass ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Cancelled,
    Panicked,
}

impl From<Panicked> for Stopped {
    fn from(_: Panicked) -> Self {
        Self::Panicked
    }
}

/// What a pass needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forward<'a> {
    pub(crate) model: &'a Arc<Model>,
    pub(crate) pool: &'a Pool,
    pub(crate) cancel: &'a AtomicBool,
}

/// Tokens on their way through the layers.
#[derive(Debug, Default)]
struct State {
    rows: Vec<Row>,
    /// For each row, cosines and sines of its position.
    turns: Vec<Vec<(f32, f32)>>,
    x: Vec<f32>,
    queries: Vec<f32>,
}

impl Forward<'_> {
    /// Runs rows through the model, writes their keys and values, and returns the logits of those
    /// that want them, in order.
    pub(crate) fn run(&self, rows: Vec<Row>) -> Result<Vec<Vec<f32>>, Stopped> {
        let threads = self.pool.threads();
        let tiles = rows.len().div_ceil(TILE);
        let state = if threads > 1 && tiles >= threads * TILES_PER_THREAD {
            self.by_tokens(rows)?
        } else {
            self.by_rows(rows)?
        };
        self.logits(&state)
    }

    fn check(&self) -> Result<(), Stopped> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Stopped::Cancelled);
        }
        Ok(())
    }

    fn by_rows(&self, rows: Vec<Row>) -> Result<State, Stopped> {
        let mut state = State::new(self.model, rows);
        let (direct, divided);
        let product: &dyn Product = if self.pool.threads() == 1 {
            direct = Direct(self.model);
            &direct
        } else {
            divided = Divided(self.model, self.pool);
            &divided
        };
        for layer in 0..self.model.layers.len() {
            self.check()?;
            state.front(self.model, layer, product)?;
            state.back(self.model, layer, product)?;
        }
        Ok(state)
    }

    fn by_tokens(&self, rows: Vec<Row>) -> Result<State, Stopped> {
        let tiles = rows
            .chunks(TILE)
            .map(|rows| Mutex::new(State::new(self.model, rows.to_vec())));
        let tiles: Arc<Vec<_>> = Arc::new(tiles.collect());
        drop(rows);
        for layer in 0..self.model.layers.len() {
            for half in [State::front, State::back] {
                self.check()?;
                let (model, inner) = (Arc::clone(self.model), Arc::clone(&tiles));
                let work = move |tile: usize| {
                    if let Some(state) = inner.get(tile) {
                        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                        // A direct product cannot stop.
                        half(&mut state, &model, layer, &Direct(&model)).unwrap_or_default();
                    }
                };
                self.pool.run(tiles.len(), Arc::new(work))?;
            }
        }
        let mut all = State::default();
        for tile in tiles.iter() {
            let mut tile = tile.lock().unwrap_or_else(PoisonError::into_inner);
            all.rows.append(&mut tile.rows);
            all.x.append(&mut tile.x);
        }
        Ok(all)
    }

    fn logits(&self, state: &State) -> Result<Vec<Vec<f32>>, Stopped> {
        let model = self.model;
        let width = model.settings.width;
        let mut normed = Vec::new();
        for (row, x) in state.rows.iter().zip(state.x.chunks_exact(width)) {
            if row.wants_logits {
                let start = normed.len();
                normed.resize(start + width, 0.0);
                let out = normed.get_mut(start..).unwrap_or_default();
                kernels::norm(model.isa, x, &model.norm, model.settings.epsilon, out);
            }
        }
        if normed.is_empty() {
            return Ok(Vec::new());
        }
        self.check()?;
        let tokens = Quantised::new(model.isa, &normed, width);
        let logits = Divided(model, self.pool).one(0, Part::Head, tokens)?;
        if logits.len() == model.settings.vocabulary {
            return Ok(vec![logits]);
        }
        let each = logits.chunks_exact(model.settings.vocabulary);
        Ok(each.map(<[f32]>::to_vec).collect())
    }
}

impl State {
    fn new(model: &Model, rows: Vec<Row>) -> Self {
        let width = model.settings.width;
        let mut x = vec![0.0; rows.len() * width];
        for (row, x) in rows.iter().zip(x.chunks_exact_mut(width)) {
            model
                .embedding
                .row(usize::try_from(row.token).unwrap_or(usize::MAX), x);
        }
        Self {
            turns: rows
                .iter()
                .map(|row| model.rope.turns(row.position))
                .collect(),
            queries: Vec::new(),
            rows,
            x,
        }
    }

    /// Queries, keys and values; writes the latter two.
    fn front(&mut self, m: &Arc<Model>, layer: usize, by: &dyn Product) -> Result<(), Stopped> {
        let Some(weights) = m.layers.get(layer) else {
            return Ok(());
        };
        let tokens = self.normed(m, &weights.attention_norm);
        let parts = [Part::Query, Part::Key, Part::Value];
        let [mut queries, mut keys, values] = by.several(layer, parts, tokens)?;
        let s = &m.settings;
        let (query_width, key_width) = (s.heads * s.head_width, s.key_heads * s.head_width);
        let each = queries
            .chunks_exact_mut(query_width)
            .zip(keys.chunks_exact_mut(key_width));
        for ((queries, keys), turns) in each.zip(&self.turns) {
            rope::rotate(queries, s.head_width, turns);
            rope::rotate(keys, s.head_width, turns);
        }
        let each = keys
            .chunks_exact(key_width)
            .zip(values.chunks_exact(key_width));
        for (row, (keys, values)) in self.rows.iter().zip(each) {
            if let Some(page) = row.pages.get(row.position / PAGE_TOKENS) {
                page.write(layer, row.position % PAGE_TOKENS, keys, values);
            }
        }
        self.queries = queries;
        Ok(())
    }

    /// Attention and the feed-forward part.
    fn back(&mut self, m: &Arc<Model>, layer: usize, by: &dyn Product) -> Result<(), Stopped> {
        let Some(weights) = m.layers.get(layer) else {
            return Ok(());
        };
        let queries = std::mem::take(&mut self.queries);
        let mixed = by.attention(layer, &self.rows, queries)?;
        let tokens = Quantised::new(m.isa, &mixed, m.settings.heads * m.settings.head_width);
        let y = by.one(layer, Part::AttentionOutput, tokens)?;
        kernels::add(m.isa, &mut self.x, &y);
        let tokens = self.normed(m, &weights.feed_norm);
        let [mut gate, up] = by.several(layer, [Part::Gate, Part::Up], tokens)?;
        kernels::silu_times(m.isa, &mut gate, &up);
        let tokens = Quantised::new(m.isa, &gate, m.settings.feed_width);
        let y = by.one(layer, Part::Down, tokens)?;
        kernels::add(m.isa, &mut self.x, &y);
        Ok(())
    }

    fn normed(&self, model: &Model, weight: &[f32]) -> Quantised {
        let width = model.settings.width;
        let mut normed = vec![0.0; self.x.len()];
        for (x, out) in self
            .x
            .chunks_exact(width)
            .zip(normed.chunks_exact_mut(width))
        {
            kernels::norm(model.isa, x, weight, model.settings.epsilon, out);
        }
        Quantised::new(model.isa, &normed, width)
    }
}

/// From how many tiles a thread on, tiles are divided instead of rows.
const TILES_PER_THREAD: usize = 3;
