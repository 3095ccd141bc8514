//! The caller's options, checked, in samples.

use crate::speech_activity::Options;
use crate::windows::{RATE, STEP};

/// How segments are made. Lengths are in samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub(crate) threshold: f64,
    pub(crate) negative_threshold: f64,
    pub(crate) min_speech: usize,
    pub(crate) max_speech: f64,
    pub(crate) min_silence: usize,
    pub(crate) pad: usize,
    pub(crate) min_silence_at_split: usize,
    pub(crate) split_at_longest_silence: bool,
}

impl Settings {
    /// Fills in the usual where nothing is asked for.
    ///
    /// # Errors
    /// Which option is out of its range, and the range.
    pub fn new(options: Option<&Options>) -> Result<Self, String> {
        let threshold = options.and_then(|o| o.threshold).unwrap_or(0.5);
        probability("threshold", threshold)?;
        let negative_threshold = options
            .and_then(|o| o.negative_threshold)
            .unwrap_or_else(|| (threshold - 0.15).max(0.01));
        probability("negative_threshold", negative_threshold)?;
        let length = |name, value: Option<u32>, usual| {
            let ms = value.unwrap_or(usual);
            if ms > MS_MAX {
                return Err(format!("`{name}` is {ms}: send at most {MS_MAX}"));
            }
            Ok(usize::try_from(ms * (RATE / 1_000)).unwrap_or(usize::MAX))
        };
        let pad = length("speech_pad_ms", options.and_then(|o| o.speech_pad_ms), 30)?;
        Ok(Self {
            threshold,
            negative_threshold,
            min_speech: length("min_speech_ms", options.and_then(|o| o.min_speech_ms), 250)?,
            max_speech: max_speech(options.and_then(|o| o.max_speech_s), pad)?,
            min_silence: length(
                "min_silence_ms",
                options.and_then(|o| o.min_silence_ms),
                100,
            )?,
            pad,
            min_silence_at_split: length(
                "min_silence_at_split_ms",
                options.and_then(|o| o.min_silence_at_split_ms),
                98,
            )?,
            split_at_longest_silence: options
                .and_then(|o| o.split_at_longest_silence)
                .unwrap_or(true),
        })
    }
}

fn probability(name: &str, value: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(format!("`{name}` is {value}: send a number from 0 to 1"))
}

/// The length at which a segment is split: the padding on both sides and the window at hand count too.
#[expect(
    clippy::cast_precision_loss,
    reason = "a padding of at most a minute is far below 2^53 samples"
)]
fn max_speech(seconds: Option<f64>, pad: usize) -> Result<f64, String> {
    let Some(seconds) = seconds else {
        return Ok(f64::INFINITY);
    };
    let samples = seconds * f64::from(RATE) - STEP as f64 - 2.0 * pad as f64;
    if samples > 0.0 {
        return Ok(samples);
    }
    Err(format!(
        "`max_speech_s` is {seconds}: send more than twice `speech_pad_ms` and 32 ms"
    ))
}

/// A minute: longer paddings and silences are mistakes of unit.
const MS_MAX: u32 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Options = Options {
        threshold: None,
        negative_threshold: None,
        min_speech_ms: None,
        max_speech_s: None,
        min_silence_ms: None,
        speech_pad_ms: None,
        min_silence_at_split_ms: None,
        split_at_longest_silence: None,
    };

    #[test]
    fn the_usual_is_the_packages() {
        let settings = Settings::new(None).unwrap();
        assert_eq!(Settings::new(Some(&NONE)).unwrap(), settings);
        assert_eq!(
            (settings.min_speech, settings.min_silence, settings.pad),
            (4_000, 1_600, 480)
        );
        assert_eq!(settings.min_silence_at_split, 1_568);
        assert!((settings.negative_threshold - 0.35).abs() < 1e-6);
        assert!(settings.max_speech.is_infinite() && settings.split_at_longest_silence);
        let low = Options {
            threshold: Some(0.1),
            ..NONE
        };
        assert!((Settings::new(Some(&low)).unwrap().negative_threshold - 0.01).abs() < 1e-6);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (options, expected) in [
            (
                Options {
                    threshold: Some(1.5),
                    ..NONE
                },
                "`threshold` is 1.5",
            ),
            (
                Options {
                    threshold: Some(f64::NAN),
                    ..NONE
                },
                "`threshold` is NaN",
            ),
            (
                Options {
                    negative_threshold: Some(-0.1),
                    ..NONE
                },
                "`negative_threshold`",
            ),
            (
                Options {
                    min_speech_ms: Some(60_001),
                    ..NONE
                },
                "`min_speech_ms` is 60001",
            ),
            (
                Options {
                    max_speech_s: Some(0.05),
                    ..NONE
                },
                "`max_speech_s` is 0.05",
            ),
            (
                Options {
                    max_speech_s: Some(f64::NAN),
                    ..NONE
                },
                "`max_speech_s` is NaN",
            ),
        ] {
            let error = Settings::new(Some(&options)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
