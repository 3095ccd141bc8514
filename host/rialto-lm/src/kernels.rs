//! The arithmetic that time goes into, chosen for the processor at run time.
//!
//! Every path does the same operations in the same order and never fuses a multiplication with an
//! addition, so all of them give equal bits. The only unsafe code of the crate is here: calls of
//! functions whose processor features were checked, and vector loads and stores.

#![expect(
    unsafe_code,
    reason = "vector instructions; every block says why it is sound"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
mod vector;

use crate::blocks::Layout;

pub(crate) use vector::{add, mix, norm, quantise, scores, silu_times, softmax};

/// How many rows lie side by side in a matrix: one vector of f32.
pub(crate) const LANES: usize = 16;
/// Into how many numbers 32 codes are packed.
const GROUP_CODES: usize = 8;
/// How many tokens one pass over the weights serves.
pub(crate) const TILE: usize = 8;

/// An instruction set. Values exist only for those that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The best one here.
    #[must_use]
    pub fn detect() -> Self {
        Self::all().last().copied().unwrap_or(Self(Kind::Scalar))
    }

    /// All that this processor has, slowest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_mut, reason = "one set only")
        )]
        let mut all = vec![Self(Kind::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 {
                all.push(Self(Kind::Avx2));
            }
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 && avx512 {
                all.push(Self(Kind::Avx512));
            }
        }
        all
    }

    /// The name, for fingerprints and benchmarks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512-vnni",
        }
    }
}

/// 64 codes, or 128 of four bits, as one load takes them.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// Some of a matrix's rows: a whole number of 16 side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) layout: Layout,
    /// Groups of 32 in a row.
    pub(crate) blocks: usize,
    /// Lines of codes: for each 16 rows, for each block, four or eight.
    pub(crate) codes: &'a [Line],
    /// Half-precision scales, for each 16 rows and block.
    pub(crate) scales: &'a [[u16; LANES]],
    /// Minima likewise, where the layout stores them.
    pub(crate) mins: &'a [[u16; LANES]],
}

/// Up to [`TILE`] tokens' activations, quantised: for each block, for each token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tile {
    /// How many tokens.
    pub(crate) width: usize,
    /// 32 signed bytes each, four to a number, first in the lowest byte.
    pub(crate) codes: Vec<[i32; 8]>,
    /// What a code is worth.
    pub(crate) scales: Vec<f32>,
    /// The sum of the codes.
    pub(crate) sums: Vec<i32>,
}

/// Multiplies rows with a tile: for each 16 rows, for each token, 16 numbers.
///
/// # Panics
/// If the slices' lengths do not fit each other, which is a bug of this crate.
pub(crate) fn multiply(isa: Isa, rows: &Rows<'_>, tile: &Tile, out: &mut [[f32; LANES]]) {
    let lines = if rows.layout.eight { 8 } else { 4 };
    let places = out.len() / tile.width.max(1) * rows.blocks;
    assert!(
        (1..=TILE).contains(&tile.width)
            && out.len().is_multiple_of(tile.width)
            && rows.codes.len() == places * lines
            && rows.scales.len() == places
            && rows.mins.len()
                == if rows.layout.offset.is_none() {
                    places
                } else {
                    0
                }
            && tile.codes.len() == rows.blocks * tile.width
            && tile.scales.len() == tile.codes.len()
            && tile.sums.len() == tile.codes.len(),
        "a matrix and its operand fit each other"
    );
    match isa.0 {
        Kind::Scalar => scalar::multiply(rows, tile, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of this kind exists only after its features were detected.
        Kind::Avx2 => unsafe { avx2::multiply(rows, tile, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Avx512 => unsafe { avx512::multiply(rows, tile, out) },
    }
}

#[cfg(test)]
mod tests;
