//! What the model hears: windows of 512 samples at 16 kHz, each with the 64 samples before it.

/// Samples a second that the model was made for.
pub const RATE: u32 = 16_000;
/// The longest recording, in seconds.
pub const SECONDS_MAX: u32 = 1_800;
/// New samples in a window: 32 ms.
pub const STEP: usize = 512;
/// Samples of the window before.
const CONTEXT: usize = 64;
/// Windows in one run of the model: about a second, so that all runs share one plan.
pub const BLOCK: usize = 32;
/// One block.
pub const BLOCK_SHAPE: [u32; 2] = [32, 576];
/// Each of the two parts of the recurrent state.
pub const STATE_SHAPE: [u32; 3] = [1, 1, 128];
/// The state before anything was heard.
pub const SILENT_STATE: [f32; 128] = [0.0; 128];

/// Walks over a recording; what its last block lacks is silence.
#[derive(Debug)]
pub struct Windows<'a> {
    samples: &'a [f32],
    /// The first new sample of the next window.
    next: usize,
    block: Vec<f32>,
}

impl<'a> Windows<'a> {
    /// The windows of a recording at [`RATE`].
    #[must_use]
    pub fn new(samples: &'a [f32]) -> Self {
        Self {
            samples,
            next: 0,
            block: vec![0.0; BLOCK * (CONTEXT + STEP)],
        }
    }

    /// How many windows a recording of `samples` samples has.
    #[must_use]
    pub fn count(samples: usize) -> usize {
        samples.div_ceil(STEP)
    }

    /// The next block of windows, if any sample is left.
    pub fn next_block(&mut self) -> Option<&[f32]> {
        if self.next >= self.samples.len() {
            return None;
        }
        for window in self.block.chunks_exact_mut(CONTEXT + STEP) {
            // Before the first sample there is silence too.
            let silent = CONTEXT.saturating_sub(self.next);
            let from = self.next.saturating_sub(CONTEXT).min(self.samples.len());
            let to = (self.next + STEP).min(self.samples.len());
            let heard = self.samples.get(from..to).unwrap_or(&[]);
            window.fill(0.0);
            if let Some(place) = window.get_mut(silent..silent + heard.len()) {
                place.copy_from_slice(heard);
            }
            self.next += STEP;
        }
        Some(&self.block)
    }
}

/// A number of samples at [`RATE`] in seconds.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "there are far fewer than 2^53 samples"
)]
pub fn seconds(samples: usize) -> f64 {
    samples as f64 / f64::from(RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_carry_the_samples_before_them() {
        let samples: Vec<f32> = (0..1_200_u16).map(f32::from).collect();
        let mut windows = Windows::new(&samples);
        let block = windows.next_block().unwrap().to_vec();
        assert_eq!(block.len(), BLOCK * 576);
        assert_eq!(block[..64], [0.0; 64]);
        assert_eq!(block[64..576], samples[..512]);
        assert_eq!(block[576..2 * 576], samples[512 - 64..1_024]);
        let third = &block[2 * 576..3 * 576];
        assert_eq!(third[..64 + 176], samples[1_024 - 64..]);
        assert!(block[2 * 576 + 64 + 176..].iter().all(|s| *s == 0.0));
        assert!(windows.next_block().is_none());
    }

    #[test]
    fn blocks_follow_each_other() {
        let samples: Vec<f32> = (0..20_000_u16).map(f32::from).collect();
        let mut windows = Windows::new(&samples);
        assert!(windows.next_block().is_some());
        let second = windows.next_block().unwrap();
        let first_new = BLOCK * STEP;
        assert_eq!(second[..576], samples[first_new - 64..first_new + 512]);
        assert!(windows.next_block().is_none());
        assert_eq!(Windows::count(samples.len()), 40);
        assert_eq!((Windows::count(0), Windows::count(512)), (0, 1));
    }
}
