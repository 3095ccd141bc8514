//! Rotary positions: neighbouring pairs of a head's dimensions are turned by angles that grow with
//! the token's position, as files of this architecture order them.

use super::{RopeScaling, Settings};

/// The angles' frequencies, one for each pair.
#[derive(Debug)]
pub(crate) struct Rope {
    frequencies: Vec<f64>,
}

impl Rope {
    /// `factors` divide the frequencies, where the file has them.
    pub(crate) fn new(settings: &Settings, factors: Option<&[f32]>) -> Self {
        let pairs = settings.rope_width / 2;
        let stretch = match settings.rope_scaling {
            RopeScaling::None => 1.0,
            RopeScaling::Linear(factor) => f64::from(factor),
        };
        let step = f64::from(settings.rope_base).powf(-2.0 / to_f64(settings.rope_width));
        let frequencies = (0..pairs).map(|pair| {
            let factor = factors
                .and_then(|factors| factors.get(pair))
                .copied()
                .unwrap_or(1.0);
            step.powf(to_f64(pair)) / f64::from(factor) / stretch
        });
        Self {
            frequencies: frequencies.collect(),
        }
    }

    /// Cosine and sine of each pair's angle at a position.
    pub(crate) fn turns(&self, position: usize) -> Vec<(f32, f32)> {
        let position = to_f64(position);
        let turn = |frequency: &f64| {
            let (sin, cos) = (position * frequency).sin_cos();
            (to_f32(cos), to_f32(sin))
        };
        self.frequencies.iter().map(turn).collect()
    }
}

/// Turns the first dimensions of every head.
pub(crate) fn rotate(heads: &mut [f32], head_width: usize, turns: &[(f32, f32)]) {
    for head in heads.chunks_exact_mut(head_width) {
        for (pair, (cos, sin)) in head.as_chunks_mut().0.iter_mut().zip(turns) {
            let [x, y] = *pair;
            *pair = [x * cos - y * sin, x * sin + y * cos];
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "widths and positions are below 2^32"
)]
const fn to_f64(number: usize) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a sine needs no more digits"
)]
const fn to_f32(number: f64) -> f32 {
    number as f32
}
