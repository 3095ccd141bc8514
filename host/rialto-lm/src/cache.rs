//! Keys and values of the tokens seen so far, in pages of 32 tokens.
//!
//! Pages are shared by sessions with a common prefix and copied when one of them writes. Every page
//! counts against a [`Budget`] from before it is allocated until it is freed.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU64, Ordering},
};

/// How many tokens a page holds.
pub(crate) const PAGE_TOKENS: usize = 32;

/// Memory, shared by all models or sessions that are given it.
#[derive(Debug, Clone)]
pub struct Budget {
    used: Arc<AtomicU64>,
    max: u64,
}

impl Budget {
    /// A budget of `max` bytes.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self {
            used: Arc::default(),
            max,
        }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes at most.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Takes a part, before it is allocated; none if the rest is smaller.
    pub(crate) fn take(&self, bytes: u64) -> Option<Share> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.is_ok().then(|| Share {
            budget: self.clone(),
            bytes,
        })
    }
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a page has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) head_width: usize,
}

impl Shape {
    /// Bytes of one page.
    pub(crate) fn page_bytes(self) -> u64 {
        let numbers = [
            self.layers,
            self.heads,
            self.head_width,
            PAGE_TOKENS * 2 * size_of::<f32>(),
        ];
        numbers.iter().fold(1, |all: u64, one| {
            all.saturating_mul(u64::try_from(*one).unwrap_or(u64::MAX))
        })
    }
}

/// Keys and values of 32 tokens, for all layers.
#[derive(Debug)]
pub(crate) struct Page {
    layers: Vec<RwLock<Layer>>,
    _share: Share,
}

/// One layer's part of a page.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// For each head, for each dimension, 32 tokens.
    keys: Vec<[f32; PAGE_TOKENS]>,
    /// For each head, for each token, all dimensions.
    values: Vec<f32>,
    head_width: usize,
}

impl Page {
    /// An empty page, or none if the budget is used up.
    pub(crate) fn new(shape: Shape, budget: &Budget) -> Option<Self> {
        let share = budget.take(shape.page_bytes())?;
        let width = shape.heads * shape.head_width;
        let layer = || {
            RwLock::new(Layer {
                keys: vec![[0.0; PAGE_TOKENS]; width],
                values: vec![0.0; width * PAGE_TOKENS],
                head_width: shape.head_width,
            })
        };
        Some(Self {
            layers: (0..shape.layers).map(|_| layer()).collect(),
            _share: share,
        })
    }

    /// A page with the same content, or none if the budget is used up.
    pub(crate) fn copy(&self, shape: Shape, budget: &Budget) -> Option<Self> {
        let share = budget.take(shape.page_bytes())?;
        let layers = (0..self.layers.len()).filter_map(|layer| self.read(layer));
        Some(Self {
            layers: layers.map(|layer| RwLock::new(layer.clone())).collect(),
            _share: share,
        })
    }

    /// A layer's part.
    pub(crate) fn read(&self, layer: usize) -> Option<RwLockReadGuard<'_, Layer>> {
        let layer = self.layers.get(layer)?;
        Some(layer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts one token's keys and values of a layer into a slot.
    pub(crate) fn write(&self, layer: usize, slot: usize, keys: &[f32], values: &[f32]) {
        let Some(layer) = self.layers.get(layer) else {
            return;
        };
        let mut layer = layer.write().unwrap_or_else(PoisonError::into_inner);
        let width = layer.head_width;
        for (places, key) in layer.keys.iter_mut().zip(keys) {
            if let Some(place) = places.get_mut(slot) {
                *place = *key;
            }
        }
        let places = layer
            .values
            .chunks_exact_mut(width)
            .skip(slot)
            .step_by(PAGE_TOKENS);
        for (place, value) in places.zip(values.chunks_exact(width)) {
            place.copy_from_slice(value);
        }
    }
}

impl Layer {
    /// A head's keys: for each dimension, 32 tokens.
    pub(crate) fn keys(&self, head: usize) -> &[[f32; PAGE_TOKENS]] {
        let start = head * self.head_width;
        self.keys
            .get(start..start + self.head_width)
            .unwrap_or_default()
    }

    /// A head's values: for each of 32 tokens, all dimensions.
    pub(crate) fn values(&self, head: usize) -> &[f32] {
        let size = self.head_width * PAGE_TOKENS;
        self.values
            .get(head * size..(head + 1) * size)
            .unwrap_or_default()
    }
}
