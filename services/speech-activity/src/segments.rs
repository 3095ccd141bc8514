//! From probabilities to stretches of speech, by the rules of the silero package's
//! `get_speech_timestamps`.
//!
//! Speech starts at a window at or above the threshold, and ends where a silence begins that lasts long
//! enough below the lower threshold. Too long a stretch is split at one of the shorter silences in it, or
//! where it becomes too long. Short stretches are dropped, the others padded without touching each other.

use crate::settings::Settings;
use crate::windows::STEP;

/// A stretch of speech, in samples from the start of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first sample.
    pub start: usize,
    /// The sample after its last.
    pub end: usize,
}

/// The stretches of speech in a recording of `samples` samples.
#[must_use]
pub fn find(probabilities: &[f32], samples: usize, settings: &Settings) -> Vec<Stretch> {
    let mut finder = Finder {
        settings,
        found: Vec::new(),
        start: None,
        silent_from: None,
        last_silence: None,
        pauses: Vec::new(),
    };
    for (index, probability) in probabilities.iter().enumerate() {
        finder.hear(f64::from(*probability), index * STEP);
    }
    let mut found = finder.finish(samples);
    pad(&mut found, samples, settings.pad);
    found
}

struct Finder<'a> {
    settings: &'a Settings,
    found: Vec<Stretch>,
    /// Where the stretch at hand starts.
    start: Option<usize>,
    /// Where the silence at hand starts, which may become the stretch's end.
    silent_from: Option<usize>,
    /// For splitting at the last silence: where it started, and where speech came back.
    last_silence: Option<(usize, Option<usize>)>,
    /// For splitting at the longest silence: where each starts, and how long it lasts.
    pauses: Vec<(usize, usize)>,
}

impl Finder<'_> {
    fn hear(&mut self, probability: f64, at: usize) {
        if probability >= self.settings.threshold {
            if let Some(from) = self.silent_from.take() {
                self.speech_came_back(from, at);
            }
            if self.start.is_none() {
                self.start = Some(at);
                return;
            }
        }
        if let Some(start) = self.start
            && length(start, at) > self.settings.max_speech
            && self.split(start, at)
        {
            return;
        }
        if let Some(start) = self.start
            && probability < self.settings.negative_threshold
        {
            self.silence(start, at);
        }
    }

    fn speech_came_back(&mut self, from: usize, at: usize) {
        if at - from > self.settings.min_silence_at_split {
            self.pauses.push((from, at - from));
        }
        if let Some((_, resumed)) = &mut self.last_silence {
            resumed.get_or_insert(at);
        }
    }

    /// Splits a stretch that is too long; returns whether the window at hand is done with.
    fn split(&mut self, start: usize, at: usize) -> bool {
        let longest = self
            .pauses
            .iter()
            .rev()
            .max_by_key(|(_, lasts)| *lasts)
            .filter(|_| self.settings.split_at_longest_silence)
            .copied();
        let (end, next) = match (longest, self.last_silence) {
            (Some((from, lasts)), _) => (from, Some(from + lasts)),
            (None, Some((from, resumed))) => (from, resumed),
            (None, None) => (at, None),
        };
        let nowhere = longest.is_none() && self.last_silence.is_none();
        self.found.push(Stretch { start, end });
        self.forget();
        self.start = next;
        nowhere
    }

    fn silence(&mut self, start: usize, at: usize) {
        let from = *self.silent_from.get_or_insert(at);
        let lasts = at - from;
        if !self.settings.split_at_longest_silence && lasts > self.settings.min_silence_at_split {
            self.last_silence = Some((from, None));
        }
        if lasts < self.settings.min_silence {
            return;
        }
        if from - start > self.settings.min_speech {
            self.found.push(Stretch { start, end: from });
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.start = None;
        self.silent_from = None;
        self.last_silence = None;
        self.pauses.clear();
    }

    fn finish(mut self, samples: usize) -> Vec<Stretch> {
        if let Some(start) = self.start
            && samples.saturating_sub(start) > self.settings.min_speech
        {
            self.found.push(Stretch {
                start,
                end: samples,
            });
        }
        self.found
    }
}

/// Widens each stretch on both sides; neighbours share a silence that is too short for both.
fn pad(found: &mut [Stretch], samples: usize, pad: usize) {
    if let Some(first) = found.first_mut() {
        first.start = first.start.saturating_sub(pad);
    }
    for index in 1..found.len() {
        let (before, after) = found.split_at_mut(index);
        if let (Some(before), Some(after)) = (before.last_mut(), after.first_mut()) {
            let silence = after.start.saturating_sub(before.end);
            if silence < 2 * pad {
                before.end += silence / 2;
                after.start -= silence / 2;
            } else {
                before.end = (before.end + pad).min(samples);
                after.start = after.start.saturating_sub(pad);
            }
        }
    }
    if let Some(last) = found.last_mut() {
        last.end = (last.end + pad).min(samples);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are far fewer than 2^53 samples"
)]
fn length(start: usize, at: usize) -> f64 {
    (at - start) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows as text: `#` is speech, `-` neither, `.` silence.
    fn found(windows: &str, change: impl Fn(&mut Settings)) -> Vec<(usize, usize)> {
        let probabilities: Vec<f32> = windows
            .chars()
            .map(|c| match c {
                '#' => 0.9,
                '-' => 0.4,
                _ => 0.1,
            })
            .collect();
        let mut settings = Settings::new(None).unwrap();
        settings.pad = 0;
        settings.min_speech = 2 * STEP;
        settings.min_silence = 3 * STEP;
        settings.min_silence_at_split = STEP;
        change(&mut settings);
        find(&probabilities, windows.len() * STEP, &settings)
            .iter()
            .map(|stretch| (stretch.start / STEP, stretch.end / STEP))
            .collect()
    }

    #[test]
    fn speech_lasts_until_a_long_silence() {
        assert_eq!(found("..####....", |_| {}), [(2, 6)]);
        assert_eq!(found("..####..##....", |_| {}), [(2, 10)]);
        assert_eq!(found("..####-----", |_| {}), [(2, 11)]);
        assert_eq!(found("..##....###", |_| {}), [(8, 11)]);
        assert_eq!(found("......", |_| {}), []);
        assert_eq!(found("", |_| {}), []);
    }

    /// Expected values are from the reference's own function.
    #[test]
    fn too_long_a_stretch_is_split() {
        let split = |longest: bool, steps: f64| {
            move |settings: &mut Settings| {
                settings.max_speech = steps * STEP as f64;
                settings.min_silence = 5 * STEP;
                settings.split_at_longest_silence = longest;
            }
        };
        for longest in [true, false] {
            let none = found(&"#".repeat(20), split(longest, 12.0));
            assert_eq!(none, [(0, 13), (14, 20)]);
        }
        let two = "####...###..########...####";
        assert_eq!(
            found(two, split(true, 8.0)),
            [(0, 4), (7, 10), (12, 21), (23, 27)]
        );
        assert_eq!(
            found(two, split(false, 8.0)),
            [(0, 4), (7, 16), (17, 20), (23, 27)]
        );
        let short = "####..###..####";
        assert_eq!(found(short, split(true, 12.0)), [(0, 4), (6, 15)]);
        assert_eq!(found(short, split(false, 12.0)), [(0, 13)]);
    }

    #[test]
    fn neighbours_share_a_short_silence() {
        let padded = |pad: usize| move |settings: &mut Settings| settings.pad = pad * STEP;
        let windows = "..###....###..";
        assert_eq!(found(windows, padded(1)), [(1, 6), (8, 14)]);
        assert_eq!(found(windows, padded(3)), [(0, 7), (7, 14)]);
    }
}
