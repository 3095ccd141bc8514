//! Weights, arranged for the kernels: 16 rows side by side.

use half::f16;

use crate::{
    blocks::{self, GROUP, Group, Layout},
    cache::{Budget, Share},
    gguf::Tensor,
    kernels::{self, Isa, LANES, Line, Rows, TILE, Tile},
};

/// A matrix of weights.
#[derive(Debug)]
pub(crate) struct Matrix {
    rows: usize,
    blocks: usize,
    layout: Layout,
    codes: Vec<Line>,
    scales: Vec<[u16; LANES]>,
    mins: Vec<[u16; LANES]>,
    _share: Share,
}

impl Matrix {
    /// Arranges a tensor, or not if it does not fit the budget. Rows past the last are 0. The columns
    /// must be whole groups of 32.
    pub(crate) fn new(tensor: &Tensor, budget: &Budget) -> Option<Self> {
        let layout = Layout::of(tensor.element);
        let blocks = tensor.columns / GROUP;
        let share = budget.take(bytes(layout, tensor.rows.div_ceil(LANES), blocks))?;
        let row_bytes = tensor.bytes.len() / tensor.rows.max(1);
        let sixteens = tensor.rows.div_ceil(LANES);
        let lines = if layout.eight { 8 } else { 4 };
        let mut matrix = Self {
            rows: tensor.rows,
            blocks,
            layout,
            codes: vec![Line([0; 64]); sixteens * blocks * lines],
            scales: vec![[0; LANES]; sixteens * blocks],
            mins: match layout.offset {
                Some(_) => Vec::new(),
                None => vec![[0; LANES]; sixteens * blocks],
            },
            _share: share,
        };
        let mut groups = Vec::with_capacity(blocks);
        for (row, bytes) in tensor.bytes.chunks_exact(row_bytes.max(1)).enumerate() {
            blocks::groups(tensor.element, bytes, &mut groups);
            for (block, group) in groups.iter().enumerate() {
                matrix.place(row / LANES * blocks + block, row % LANES, group);
            }
        }
        Some(matrix)
    }

    fn place(&mut self, place: usize, lane: usize, group: &Group) {
        let lines = if self.layout.eight { 8 } else { 4 };
        let codes = self.codes.iter_mut().skip(place * lines).take(lines);
        for (line, part) in codes.zip(group.codes.chunks_exact(GROUP / lines)) {
            let (first, second) = part.split_at(4);
            for (index, byte) in line.0.iter_mut().skip(lane * 4).take(4).enumerate() {
                let upper = second.get(index).map_or(0, |code| code << 4);
                *byte = first.get(index).copied().unwrap_or(0) | upper;
            }
        }
        set(&mut self.scales, place, lane, group.scale);
        set(&mut self.mins, place, lane, group.min);
    }

    /// How many numbers a product has.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// How many times 16 rows there are, the last perhaps not full.
    pub(crate) const fn sixteens(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.codes.as_slice())
            + size_of_val(self.scales.as_slice())
            + size_of_val(self.mins.as_slice())
    }

    /// The numbers of one row.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let lines = if self.layout.eight { 8 } else { 4 };
        let lane = row % LANES;
        for (block, out) in out.chunks_exact_mut(GROUP).enumerate() {
            let place = row / LANES * self.blocks + block;
            let number = |numbers: &[[u16; LANES]]| {
                let bits = numbers.get(place).and_then(|sixteen| sixteen.get(lane));
                bits.map(|bits| f16::from_bits(*bits).to_f32())
            };
            let scale = number(&self.scales).unwrap_or(0.0);
            let offset = f32::from(self.layout.offset.unwrap_or(0));
            let min = number(&self.mins).unwrap_or(-offset * scale);
            let codes = self.codes.iter().skip(place * lines).take(lines);
            for (line, out) in codes.zip(out.chunks_exact_mut(GROUP / lines)) {
                for (index, out) in out.iter_mut().enumerate() {
                    let byte = line.0.get(lane * 4 + index % 4).copied().unwrap_or(0);
                    let code = match (self.layout.eight, index < 4) {
                        (true, _) => byte,
                        (false, true) => byte & 15,
                        (false, false) => byte >> 4,
                    };
                    *out = scale * f32::from(code) + min;
                }
            }
        }
    }

    /// Multiplies some of the rows, counted in sixteens, with tokens.
    pub(crate) fn multiply(
        &self,
        isa: Isa,
        sixteens: std::ops::Range<usize>,
        tokens: &Quantised,
    ) -> Vec<[f32; LANES]> {
        let lines = if self.layout.eight { 8 } else { 4 };
        let (from, to) = (sixteens.start * self.blocks, sixteens.end * self.blocks);
        let rows = Rows {
            layout: self.layout,
            blocks: self.blocks,
            codes: self.codes.get(from * lines..to * lines).unwrap_or_default(),
            scales: self.scales.get(from..to).unwrap_or_default(),
            mins: self.mins.get(from..to).unwrap_or_default(),
        };
        let mut out = vec![[0.0; LANES]; sixteens.len() * tokens.len];
        let mut rest = out.as_mut_slice();
        for tile in &tokens.tiles {
            let (part, after) = rest.split_at_mut(sixteens.len() * tile.width);
            kernels::multiply(isa, &rows, tile, part);
            rest = after;
        }
        out
    }
}

/// Bytes of a matrix in memory, before there is one.
fn bytes(layout: Layout, sixteens: usize, blocks: usize) -> u64 {
    let lines = if layout.eight { 8 } else { 4 };
    let numbers = if layout.offset.is_some() { 1 } else { 2 };
    let place = lines * size_of::<Line>() + numbers * size_of::<[u16; LANES]>();
    [sixteens, blocks, place].iter().fold(1, |all: u64, one| {
        all.saturating_mul(u64::try_from(*one).unwrap_or(u64::MAX))
    })
}

fn set(numbers: &mut [[u16; LANES]], place: usize, lane: usize, number: f32) {
    if let Some(slot) = numbers
        .get_mut(place)
        .and_then(|sixteen| sixteen.get_mut(lane))
    {
        *slot = f16::from_f32(number).to_bits();
    }
}

/// Tokens' activations, quantised.
#[derive(Debug, Default)]
pub(crate) struct Quantised {
    len: usize,
    tiles: Vec<Tile>,
}

impl Quantised {
    /// Quantises rows of `width` numbers, one row a token.
    pub(crate) fn new(isa: Isa, rows: &[f32], width: usize) -> Self {
        let tiles = rows
            .chunks(width * TILE)
            .map(|rows| quantise(isa, rows, width));
        Self {
            len: rows.len() / width.max(1),
            tiles: tiles.collect(),
        }
    }

    /// How many tokens.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a product of some sixteens into rows of `width` numbers, from `start` on. Numbers past a
    /// row's end are dropped.
    pub(crate) fn scatter(
        &self,
        product: &[[f32; LANES]],
        sixteens: usize,
        start: usize,
        width: usize,
        out: &mut [f32],
    ) {
        let mut product = product;
        let mut out = out.chunks_exact_mut(width);
        for tile in &self.tiles {
            let (part, rest) = product.split_at(sixteens * tile.width);
            for token in 0..tile.width {
                let Some(out) = out.next().and_then(|row| row.get_mut(start..)) else {
                    return;
                };
                let numbers = part.iter().skip(token).step_by(tile.width);
                for (out, numbers) in out.chunks_mut(LANES).zip(numbers) {
                    out.copy_from_slice(numbers.get(..out.len()).unwrap_or_default());
                }
            }
            product = rest;
        }
    }
}

fn quantise(isa: Isa, rows: &[f32], width: usize) -> Tile {
    let tokens = rows.len() / width;
    let blocks = width / GROUP;
    let mut tile = Tile {
        width: tokens,
        codes: vec![[0; 8]; blocks * tokens],
        scales: vec![0.0; blocks * tokens],
        sums: vec![0; blocks * tokens],
    };
    kernels::quantise(isa, rows, width, &mut tile);
    tile
}
