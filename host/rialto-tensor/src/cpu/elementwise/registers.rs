//! Blocks of elements, converted to what is computed with.

use super::floats;
use crate::{
    Element,
    cpu::cells::{load_floats, load_ints, store_floats, store_ints},
};

/// A block of numbers.
#[derive(Debug)]
pub(crate) enum Register {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Bools(Vec<u8>),
}

/// A block to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Block<'a> {
    Floats(&'a [f32]),
    Ints(&'a [i64]),
    Bools(&'a [u8]),
}

impl Default for Register {
    fn default() -> Self {
        Self::Bools(Vec::new())
    }
}

impl Register {
    pub(crate) fn new(element: Element, length: usize) -> Self {
        if floats(element) {
            Self::Floats(vec![0.0; length])
        } else if element == Element::Bool {
            Self::Bools(vec![0; length])
        } else {
            Self::Ints(vec![0; length])
        }
    }

    /// Makes it a block of this type and length.
    pub(crate) fn shape(&mut self, element: Element, length: usize) {
        let fits = match self {
            Self::Floats(_) => floats(element),
            Self::Ints(_) => !floats(element) && element != Element::Bool,
            Self::Bools(_) => element == Element::Bool,
        };
        if fits {
            self.resize(length);
        } else {
            *self = Self::new(element, length);
        }
    }

    pub(crate) fn resize(&mut self, length: usize) {
        match self {
            Self::Floats(values) => values.resize(length, 0.0),
            Self::Ints(values) => values.resize(length, 0),
            Self::Bools(values) => values.resize(length, 0),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::Bools(values) => values.len(),
        }
    }

    /// The first elements, to read.
    pub(crate) fn first(&self, length: usize) -> Block<'_> {
        match self {
            Self::Floats(values) => Block::Floats(values.get(..length).unwrap_or(values)),
            Self::Ints(values) => Block::Ints(values.get(..length).unwrap_or(values)),
            Self::Bools(values) => Block::Bools(values.get(..length).unwrap_or(values)),
        }
    }

    /// Reads `length` elements into the places from `at` on.
    pub(crate) fn load(&mut self, element: Element, bytes: &[u8], at: usize, length: usize) {
        let places = at..at + length;
        match self {
            Self::Floats(values) => {
                let into = values.get_mut(places).unwrap_or_default();
                let bytes = bytes
                    .get(..into.len() * element.size_bytes())
                    .unwrap_or_default();
                load_floats(element, bytes, into);
            }
            Self::Ints(values) => {
                load_ints(element, bytes, values.get_mut(places).unwrap_or_default());
            }
            Self::Bools(values) => {
                for (into, byte) in values
                    .get_mut(places)
                    .unwrap_or_default()
                    .iter_mut()
                    .zip(bytes)
                {
                    *into = *byte;
                }
            }
        }
    }

    /// Fills `length` places from `at` on with the first element.
    pub(crate) fn fill_part(&mut self, element: Element, bytes: &[u8], at: usize, length: usize) {
        self.load(element, bytes, at, length.min(1));
        let places = at..at + length;
        match self {
            Self::Floats(values) => spread(values.get_mut(places).unwrap_or_default()),
            Self::Ints(values) => spread(values.get_mut(places).unwrap_or_default()),
            Self::Bools(values) => spread(values.get_mut(places).unwrap_or_default()),
        }
    }

    /// Fills the block with the first element.
    pub(crate) fn fill(&mut self, element: Element, bytes: &[u8]) {
        self.fill_part(element, bytes, 0, self.len());
    }

    pub(crate) fn store(&self, element: Element, out: &mut [u8]) {
        match self {
            Self::Floats(values) => store_floats(element, values, out),
            Self::Ints(values) => store_ints(element, values, out),
            Self::Bools(values) => {
                for (into, value) in out.iter_mut().zip(values) {
                    *into = *value;
                }
            }
        }
    }
}

fn spread<T: Copy>(places: &mut [T]) {
    if let Some(first) = places.first().copied() {
        places.fill(first);
    }
}
