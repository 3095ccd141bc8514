//! Changes the sample rate by a windowed sinc filter, a block at a time.
//!
//! For a ratio of whole numbers `up / down` the filter repeats after `up` outputs; each of these
//! phases is computed once. A ratio with more phases than [`PHASES_MAX`] takes the nearest of them,
//! an error of timing below a thousandth of a sample.

use std::f64::consts::PI;

/// A resampler between two rates; it starts and ends in silence.
#[derive(Debug)]
pub struct Resampler {
    up: u64,
    down: u64,
    /// Input samples on each side of an output.
    reach: usize,
    phases: u64,
    /// `phases` filters of `2 * reach` weights, one after another; empty if the rates are equal.
    filters: Vec<f32>,
    /// Input that outputs still need, from input sample `first - reach + 1` on.
    pending: Vec<f32>,
    /// The input sample at or before the next output.
    first: u64,
    taken: u64,
    made: u64,
}

impl Resampler {
    /// A resampler from `from` to `to` samples a second, both above zero.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Self {
        let (from, to) = (u64::from(from.max(1)), u64::from(to.max(1)));
        let common = greatest_common_divisor(from, to);
        let (up, down) = (to / common, from / common);
        let cutoff = ROLL_OFF * (whole(up) / whole(down)).min(1.0);
        let reach = if up == down { 1 } else { reach(cutoff) };
        let phases = up.min(PHASES_MAX);
        let filters = if up == down {
            Vec::new()
        } else {
            (0..phases)
                .flat_map(|phase| filter(whole(phase) / whole(phases), cutoff, reach))
                .collect()
        };
        Self {
            up,
            down,
            reach,
            phases,
            filters,
            pending: vec![0.0; reach.saturating_sub(1)],
            first: 0,
            taken: 0,
            made: 0,
        }
    }

    /// Takes `input` and appends what it completes to `output`.
    pub fn push(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.taken += input.len() as u64;
        if self.filters.is_empty() {
            output.extend_from_slice(input);
            return;
        }
        self.pending.extend_from_slice(input);
        self.make(u64::MAX, output);
    }

    /// Appends the rest: outputs and inputs then last equally long.
    pub fn finish(mut self, output: &mut Vec<f32>) {
        if self.filters.is_empty() {
            return;
        }
        let all = (self.taken * self.up).div_ceil(self.down);
        self.pending
            .resize(self.pending.len() + self.reach + 1, 0.0);
        self.make(all, output);
    }

    /// Makes the outputs whose input is here, at most `all` since the start.
    fn make(&mut self, all: u64, output: &mut Vec<f32>) {
        let width = 2 * self.reach;
        let mut used = 0;
        while self.made < all {
            let place = self.made * self.down;
            let (at, phase) = (place / self.up, place % self.up);
            let skip = usize::try_from(at - self.first).unwrap_or(usize::MAX);
            let Some(input) = self
                .pending
                .get(skip..)
                .and_then(|input| input.get(..width))
            else {
                break;
            };
            let phase = usize::try_from(phase * self.phases / self.up).unwrap_or(0);
            let Some(filter) = self.filters.chunks_exact(width).nth(phase) else {
                break;
            };
            output.push(dot(input, filter));
            self.made += 1;
            used = skip;
        }
        // What comes before the last output's own input is needed no more.
        self.pending.drain(..used);
        self.first += used as u64;
    }
}

/// The weights around an output that lies `fraction` of a sample after an input.
fn filter(fraction: f64, cutoff: f64, reach: usize) -> Vec<f32> {
    let window_at_0 = bessel(KAISER_BETA);
    (0..2 * reach)
        .map(|index| {
            let distance = whole(index as u64) - whole(reach as u64 - 1) - fraction;
            let place = distance / whole(reach as u64);
            let window = bessel(KAISER_BETA * (1.0 - place * place).max(0.0).sqrt()) / window_at_0;
            single(cutoff * sinc(cutoff * distance) * window)
        })
        .collect()
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-12 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40_u8 {
        term *= quarter / (f64::from(k) * f64::from(k));
        sum += term;
        if term < sum * 1e-12 {
            break;
        }
    }
    sum
}

/// Four sums, which the compiler may keep in one register of four.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 4];
    for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small positive number, as the cutoff is bounded below by the rates allowed"
)]
fn reach(cutoff: f64) -> usize {
    // A multiple of 2, so that a filter is a multiple of 4 long.
    ((ZERO_CROSSINGS / cutoff / 2.0).ceil() as usize).clamp(1, REACH_MAX / 2) * 2
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of samples and phases are far below 2^53"
)]
fn whole(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "weights need no more")]
fn single(number: f64) -> f32 {
    number as f32
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Zero crossings of the sinc on each side.
const ZERO_CROSSINGS: f64 = 32.0;
/// The end of the pass band, as a share of the lower rate's half.
const ROLL_OFF: f64 = 0.945;
/// About 100 dB between pass band and stop band.
const KAISER_BETA: f64 = 10.0;
/// Phases of the filter that are kept.
const PHASES_MAX: u64 = 1024;
/// The longest half of a filter.
const REACH_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone of `rate / share` samples.
    fn tone(rate: u32, hertz: f64, share: u32) -> Vec<f32> {
        (0..rate / share)
            .map(|i| single((2.0 * PI * hertz * f64::from(i) / f64::from(rate)).sin()))
            .collect()
    }

    fn resampled(from: u32, to: u32, input: &[f32], block: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to);
        let mut output = Vec::new();
        for block in input.chunks(block) {
            resampler.push(block, &mut output);
        }
        resampler.finish(&mut output);
        output
    }

    #[test]
    fn a_tone_stays_the_tone() {
        for (from, to) in [
            (48_000, 16_000),
            (44_100, 16_000),
            (44_100, 22_050),
            (8_000, 16_000),
            (11_025, 22_050),
            (47_999, 16_000),
        ] {
            let output = resampled(from, to, &tone(from, 440.0, 2), 777);
            let expected = tone(to, 440.0, 2);
            assert!(output.len().abs_diff(expected.len()) <= 1, "{from} to {to}");
            let inner = 2000..expected.len() - 2000;
            for index in inner {
                let apart = (output[index] - expected[index]).abs();
                assert!(apart < 1e-3, "{from} to {to} at {index}: {apart}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        let output = resampled(48_000, 16_000, &tone(48_000, 9_000.0, 2), 1024);
        let loudest = output[500..output.len() - 500]
            .iter()
            .fold(0.0_f32, |max, value| max.max(value.abs()));
        assert!(loudest < 1e-3, "{loudest}");
    }

    #[test]
    fn blocks_do_not_matter() {
        let input = tone(44_100, 1_000.0, 5);
        let whole = resampled(44_100, 16_000, &input, input.len());
        for block in [1, 7, 4_410] {
            assert_eq!(resampled(44_100, 16_000, &input, block), whole);
        }
        assert_eq!(resampled(16_000, 16_000, &input, 100), input);
        assert!(resampled(48_000, 16_000, &[], 1).is_empty());
    }
}
