//! The caller's options, checked, in the model's units.

use crate::maps::PITCHES;
use crate::transcribe_notes::Options;

/// How notes are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub(crate) onset_threshold: f64,
    pub(crate) frame_threshold: f64,
    /// Notes of more frames are kept.
    pub(crate) min_frames: usize,
    /// The first note that is kept, by its index from the lowest key.
    pub(crate) lowest: usize,
    /// The first note above those that are kept.
    pub(crate) highest: usize,
    pub(crate) infer_onsets: bool,
    pub(crate) melodia: bool,
    pub(crate) bends: bool,
    pub(crate) tempo: f64,
}

impl Settings {
    /// Fills in the usual where nothing is asked for.
    ///
    /// # Errors
    /// Which option is out of its range, and the range.
    pub fn new(options: Option<&Options>) -> Result<Self, String> {
        let number = |name: &str, value: Option<f64>, usual: f64, range: (f64, f64)| {
            let value = value.unwrap_or(usual);
            if value >= range.0 && value <= range.1 {
                return Ok(value);
            }
            let (least, most) = range;
            Err(format!(
                "`{name}` is {value}: send a number from {least} to {most}"
            ))
        };
        let threshold = |name, value, usual| number(name, value, usual, (0.01, 1.0));
        let frequency = |name, value, usual| number(name, value, usual, (1.0, 100_000.0));
        let min_note_ms = number(
            "min_note_ms",
            options.and_then(|o| o.min_note_ms),
            127.7,
            (0.0, 10_000.0),
        )?;
        let (low, high) = (
            options.and_then(|o| o.min_frequency),
            options.and_then(|o| o.max_frequency),
        );
        let flag = |value: Option<bool>| value.unwrap_or(true);
        Ok(Self {
            onset_threshold: threshold(
                "onset_threshold",
                options.and_then(|o| o.onset_threshold),
                0.5,
            )?,
            frame_threshold: threshold(
                "frame_threshold",
                options.and_then(|o| o.frame_threshold),
                0.3,
            )?,
            min_frames: index(min_note_ms / 1_000.0 * FRAMES_A_SECOND, usize::MAX),
            lowest: match low {
                None => 0,
                Some(_) => key(frequency("min_frequency", low, 0.0)?),
            },
            highest: match high {
                None => PITCHES,
                Some(_) => key(frequency("max_frequency", high, 0.0)?),
            },
            infer_onsets: flag(options.and_then(|o| o.infer_onsets)),
            melodia: flag(options.and_then(|o| o.melodia)),
            bends: flag(options.and_then(|o| o.bends)),
            tempo: number(
                "tempo",
                options.and_then(|o| o.tempo),
                120.0,
                (10.0, 1_000.0),
            )?,
        })
    }
}

/// The index of the note nearest to a frequency.
fn key(hertz: f64) -> usize {
    index(12.0 * (hertz / LOWEST).log2(), PITCHES)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number, and within the range first"
)]
fn index(number: f64, most: usize) -> usize {
    (number.round_ties_even().max(0.0) as usize).min(most)
}

/// The frequency of a piano's lowest key.
const LOWEST: f64 = 27.5;
const FRAMES_A_SECOND: f64 = 22_050.0 / 256.0;

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Options = Options {
        onset_threshold: None,
        frame_threshold: None,
        min_note_ms: None,
        min_frequency: None,
        max_frequency: None,
        infer_onsets: None,
        melodia: None,
        bends: None,
        tempo: None,
    };

    #[test]
    fn the_usual_is_the_packages() {
        let settings = Settings::new(None).unwrap();
        assert_eq!(Settings::new(Some(&NONE)).unwrap(), settings);
        assert_eq!(
            (settings.min_frames, settings.lowest, settings.highest),
            (11, 0, 88)
        );
        let some = Options {
            min_frequency: Some(440.0),
            max_frequency: Some(5.0),
            min_note_ms: Some(0.0),
            ..NONE
        };
        let settings = Settings::new(Some(&some)).unwrap();
        assert_eq!(
            (settings.min_frames, settings.lowest, settings.highest),
            (0, 48, 0)
        );
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (options, expected) in [
            (
                Options {
                    onset_threshold: Some(0.0),
                    ..NONE
                },
                "`onset_threshold` is 0",
            ),
            (
                Options {
                    frame_threshold: Some(f64::NAN),
                    ..NONE
                },
                "`frame_threshold` is NaN",
            ),
            (
                Options {
                    min_note_ms: Some(-1.0),
                    ..NONE
                },
                "`min_note_ms` is -1",
            ),
            (
                Options {
                    max_frequency: Some(0.0),
                    ..NONE
                },
                "`max_frequency` is 0",
            ),
            (
                Options {
                    tempo: Some(5.0),
                    ..NONE
                },
                "`tempo` is 5",
            ),
        ] {
            let error = Settings::new(Some(&options)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
