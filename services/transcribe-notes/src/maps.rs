//! What the model hears and answers: windows of two seconds, and maps of time by pitch.
//!
//! Windows overlap; half of what overlaps is dropped on each side, so that no frame is heard at an edge.

/// Samples a second that the model was made for.
pub const RATE: u32 = 22_050;
/// The longest recording, in seconds.
pub const SECONDS_MAX: u32 = 300;
/// The model's input.
pub const INPUT: &str = "serving_default_input_2:0";
/// The output that says which notes sound.
pub const NOTES: &str = "StatefulPartitionedCall:1";
/// The output that says which notes start.
pub const ONSETS: &str = "StatefulPartitionedCall:2";
/// The output that says which pitches sound, in thirds of a semitone.
pub const CONTOURS: &str = "StatefulPartitionedCall:0";
/// One window.
pub const WINDOW_SHAPE: [u32; 3] = [1, 43_844, 1];

/// Notes that the model knows: a piano's keys.
pub const PITCHES: usize = 88;
/// Pitches of a contour: three a semitone.
pub const FINE_PITCHES: usize = 264;

const WINDOW: usize = 43_844;
/// Samples a frame.
const HOP: usize = 256;
/// Frames that the model returns for a window.
const WINDOW_FRAMES: usize = 172;
/// Frames that are dropped on each side of a window.
const EDGE_FRAMES: usize = 15;
const STEP: usize = WINDOW - 2 * EDGE_FRAMES * HOP;
/// Whole frames a second, by which the reference counts.
const FRAMES_A_SECOND: usize = 86;

/// Walks over a recording; what the last window lacks is silence.
#[derive(Debug)]
pub struct Windows {
    /// The recording after the silence that takes the first window's edge.
    samples: Vec<f32>,
    next: usize,
    last: Vec<f32>,
}

impl Windows {
    /// The windows of a recording at [`RATE`].
    #[must_use]
    pub fn new(mut samples: Vec<f32>) -> Self {
        samples.splice(..0, [0.0; EDGE_FRAMES * HOP]);
        Self {
            samples,
            next: 0,
            last: Vec::new(),
        }
    }

    /// How many frames the recording has.
    #[must_use]
    pub fn frames(&self) -> usize {
        let samples = self.samples.len() - EDGE_FRAMES * HOP;
        samples * FRAMES_A_SECOND / usize::try_from(RATE).unwrap_or(usize::MAX)
    }

    /// The next window, if any sample is left.
    pub fn next_window(&mut self) -> Option<&[f32]> {
        let rest = self.samples.get(self.next..).filter(|r| !r.is_empty())?;
        self.next += STEP;
        if let Some(window) = rest.get(..WINDOW) {
            return Some(window);
        }
        self.last.clear();
        self.last.extend_from_slice(rest);
        self.last.resize(WINDOW, 0.0);
        Some(&self.last)
    }
}

/// The model's answers, a row a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    frames: usize,
    /// Which notes sound: [`PITCHES`] a frame.
    pub notes: Vec<f32>,
    /// Which notes start: [`PITCHES`] a frame.
    pub onsets: Vec<f32>,
    /// Which pitches sound: [`FINE_PITCHES`] a frame, or nothing.
    pub contours: Vec<f32>,
}

impl Maps {
    /// Maps for a recording of `frames` frames, to which windows are added.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        Self {
            frames,
            notes: Vec::with_capacity(frames * PITCHES),
            onsets: Vec::with_capacity(frames * PITCHES),
            contours: Vec::new(),
        }
    }

    /// How many frames are here.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.notes.len() / PITCHES
    }

    /// Adds what the model returned for the next window: notes, onsets, and contours if they were wanted.
    ///
    /// # Errors
    /// If the sizes are wrong: another model is installed.
    pub fn add(&mut self, outputs: &[Vec<f32>]) -> Result<(), String> {
        let places = [
            (&mut self.notes, PITCHES),
            (&mut self.onsets, PITCHES),
            (&mut self.contours, FINE_PITCHES),
        ];
        for ((place, width), output) in places.into_iter().zip(outputs) {
            if output.len() != WINDOW_FRAMES * width {
                return Err(format!(
                    "the model returned {} numbers a window, not {}",
                    output.len(),
                    WINDOW_FRAMES * width
                ));
            }
            let inner = output.get(EDGE_FRAMES * width..(WINDOW_FRAMES - EDGE_FRAMES) * width);
            place.extend_from_slice(inner.unwrap_or(&[]));
            place.truncate(self.frames * width);
        }
        Ok(())
    }
}

/// When a frame is, in seconds. The model's windows are a little shorter than their frames, which the
/// reference makes good again at every window's end.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "there are far fewer than 2^53 frames"
)]
pub fn seconds(frame: usize) -> f64 {
    const FRAME: f64 = HOP as f64 / RATE as f64;
    const WINDOW_EXCESS: f64 = FRAME * (WINDOW_FRAMES as f64 - WINDOW as f64 / HOP as f64) + 0.0018;
    frame as f64 * FRAME - WINDOW_EXCESS * (frame / WINDOW_FRAMES) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_and_start_in_silence() {
        let samples: Vec<f32> = (0..60_000_u16).map(f32::from).collect();
        let mut windows = Windows::new(samples.clone());
        assert_eq!(windows.frames(), 60_000 * 86 / 22_050);
        let first = windows.next_window().unwrap().to_vec();
        assert_eq!(first.len(), WINDOW);
        assert_eq!(first[..3_840], [0.0; 3_840]);
        assert_eq!(first[3_840..], samples[..WINDOW - 3_840]);
        let second = windows.next_window().unwrap();
        let start = STEP - 3_840;
        assert_eq!(second[..60_000 - start], samples[start..]);
        assert!(second[60_000 - start..].iter().all(|sample| *sample == 0.0));
        assert!(windows.next_window().is_none());
    }

    #[test]
    fn edges_are_dropped_and_the_rest_joined() {
        let mut maps = Maps::new(200);
        let window = |value: f32, width: usize| {
            let mut output = vec![value; WINDOW_FRAMES * width];
            output[..EDGE_FRAMES * width].fill(-1.0);
            output[(WINDOW_FRAMES - EDGE_FRAMES) * width..].fill(-1.0);
            output
        };
        for value in [1.0, 2.0] {
            let outputs = [PITCHES, PITCHES, FINE_PITCHES].map(|width| window(value, width));
            maps.add(&outputs).unwrap();
        }
        assert_eq!(maps.frames(), 200);
        assert_eq!(maps.contours.len(), 200 * FINE_PITCHES);
        assert!(maps.notes.iter().all(|value| *value > 0.0));
        assert_eq!((maps.notes[141 * 88], maps.notes[142 * 88]), (1.0, 2.0));
        assert!(maps.add(&[vec![0.0; 5]]).is_err());
    }

    #[test]
    fn times_are_the_references() {
        assert!(seconds(0).abs() < 1e-12);
        assert!((seconds(100) - 1.160_997_732_426_304).abs() < 1e-12);
        assert!((seconds(400) - 4.623338775510204).abs() < 1e-9);
    }
}
