//! From maps to notes, by the rules of basic-pitch.
//!
//! A note starts at a peak of its onsets and lasts until its map stays low for a while; what it explains is
//! taken away, its neighbours' share too. In what is left, the loudest places grow to both sides and make
//! notes without a start of their own.

use crate::maps::{Maps, PITCHES};
use crate::settings::Settings;

/// A note, in frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Its first frame.
    pub start: usize,
    /// The frame after its last.
    pub end: usize,
    /// MIDI's number of its pitch.
    pub pitch: u8,
    /// Its mean in the map.
    pub amplitude: f32,
}

/// The notes in maps, which lose what lies outside the wanted pitches.
#[must_use]
pub fn find(maps: &mut Maps, settings: &Settings) -> Vec<Found> {
    for row in maps
        .notes
        .chunks_exact_mut(PITCHES)
        .chain(maps.onsets.chunks_exact_mut(PITCHES))
    {
        let (below, rest) = row.split_at_mut(settings.lowest.min(PITCHES));
        below.fill(0.0);
        let kept = settings
            .highest
            .saturating_sub(settings.lowest)
            .min(rest.len());
        let (_, above) = rest.split_at_mut(kept);
        above.fill(0.0);
    }
    let frames = maps.frames();
    let mut search = Search {
        left: Grid(maps.notes.clone()),
        notes: Grid(std::mem::take(&mut maps.notes)),
        frames,
        settings,
        found: Vec::new(),
    };
    let onsets = onsets(maps, &search.notes, settings);
    for (frame, key) in peaks(&onsets, settings.onset_threshold).into_iter().rev() {
        search.at_onset(frame, key);
    }
    drop(onsets);
    if settings.melodia {
        search.without_onsets();
    }
    let found = search.found;
    maps.notes = search.notes.0;
    found
}

/// How likely each note starts at each frame; if wanted, also where the map grows suddenly.
fn onsets(maps: &Maps, notes: &Grid, settings: &Settings) -> Vec<f64> {
    let mut onsets: Vec<f64> = maps.onsets.iter().map(|value| f64::from(*value)).collect();
    if !settings.infer_onsets {
        return onsets;
    }
    let growth = |index: usize| {
        if index < GROWTH_FRAMES * PITCHES {
            return 0.0;
        }
        let since = |frames: usize| notes.value(index) - notes.value(index - frames * PITCHES);
        since(1).min(since(2)).max(0.0)
    };
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let steepest = most(&mut (0..onsets.len()).map(growth));
    if steepest > 0.0 {
        let likeliest = most(&mut onsets.iter().copied());
        for (index, onset) in onsets.iter_mut().enumerate() {
            *onset = onset.max(likeliest * growth(index) / steepest);
        }
    }
    onsets
}

/// The places that are greater than before and after and reach the threshold, by frame and key.
fn peaks(onsets: &[f64], threshold: f64) -> Vec<(usize, usize)> {
    let before = onsets.iter();
    let here = onsets.iter().skip(PITCHES);
    let after = onsets.iter().skip(2 * PITCHES);
    before
        .zip(here)
        .zip(after)
        .enumerate()
        .filter(|(_, ((before, here), after))| {
            *here > before && *here > after && **here >= threshold
        })
        .map(|(index, _)| (index / PITCHES + 1, index % PITCHES))
        .collect()
}

/// A map by frame and key.
struct Grid(Vec<f32>);

impl Grid {
    fn value(&self, index: usize) -> f64 {
        self.0.get(index).copied().map_or(0.0, f64::from)
    }

    fn at(&self, frame: usize, key: usize) -> f64 {
        self.value(frame * PITCHES + key)
    }

    /// Takes away a place and those of the keys beside it.
    fn clear(&mut self, frame: usize, key: usize) {
        let start = frame * PITCHES;
        let keys = start + key.saturating_sub(1)..start + (key + 2).min(PITCHES);
        if let Some(places) = self.0.get_mut(keys) {
            places.fill(0.0);
        }
    }
}

struct Search<'a> {
    notes: Grid,
    /// What no note explains yet.
    left: Grid,
    frames: usize,
    settings: &'a Settings,
    found: Vec<Found>,
}

impl Search<'_> {
    /// The note that starts here, if it lasts long enough.
    fn at_onset(&mut self, start: usize, key: usize) {
        if start + 1 >= self.frames {
            return;
        }
        let (mut end, mut low) = (start + 1, 0);
        while end + 1 < self.frames && low < LOW_FRAMES {
            low = self.low(low, end, key);
            end += 1;
        }
        let end = end - low;
        if end <= start + self.settings.min_frames {
            return;
        }
        for frame in start..end {
            self.left.clear(frame, key);
        }
        self.add(start, end, key);
    }

    /// Frames in a row, this one included, in which the map is low.
    fn low(&self, before: usize, frame: usize, key: usize) -> usize {
        if self.left.at(frame, key) < self.settings.frame_threshold {
            before + 1
        } else {
            0
        }
    }

    /// Notes around the loudest places that are left. What is taken away never comes back, so that the
    /// places can be sorted once.
    fn without_onsets(&mut self) {
        let loud = self.left.0.iter().enumerate();
        let mut places: Vec<(usize, f32)> = loud
            .filter(|(_, value)| f64::from(**value) > self.settings.frame_threshold)
            .map(|(index, value)| (index, *value))
            .collect();
        places.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (index, _) in places {
            if self.left.value(index) > 0.0 {
                self.around(index / PITCHES, index % PITCHES);
            }
        }
    }

    fn around(&mut self, middle: usize, key: usize) {
        if let Some(place) = self.left.0.get_mut(middle * PITCHES + key) {
            *place = 0.0;
        }
        let (mut frame, mut low) = (middle + 1, 0);
        while frame + 1 < self.frames && low < LOW_FRAMES {
            low = self.low(low, frame, key);
            self.left.clear(frame, key);
            frame += 1;
        }
        let end = (frame - 1).saturating_sub(low);

        let (mut frame, mut low) = (middle, 0);
        // `frame` is one above the frame at hand, which is never the first.
        while frame > 1 && low < LOW_FRAMES {
            low = self.low(low, frame - 1, key);
            self.left.clear(frame - 1, key);
            frame -= 1;
        }
        let start = frame + low;
        if end > start + self.settings.min_frames {
            self.add(start, end, key);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "an amplitude needs single precision only, and a note has few frames"
    )]
    fn add(&mut self, start: usize, end: usize, key: usize) {
        let sum: f64 = (start..end).map(|frame| self.notes.at(frame, key)).sum();
        self.found.push(Found {
            start,
            end,
            pitch: u8::try_from(key).unwrap_or(0) + LOWEST_PITCH,
            amplitude: (sum / (end - start) as f64) as f32,
        });
    }
}

/// MIDI's number of a piano's lowest key.
pub(crate) const LOWEST_PITCH: u8 = 21;
/// A note ends when its map has been low for so many frames.
const LOW_FRAMES: usize = 11;
/// Frames over which growth is seen.
const GROWTH_FRAMES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(frames: usize) -> Maps {
        let mut maps = Maps::new(frames);
        maps.notes = vec![0.0; frames * PITCHES];
        maps.onsets = vec![0.0; frames * PITCHES];
        maps
    }

    fn sound(maps: &mut Maps, frames: std::ops::Range<usize>, key: usize, value: f32) {
        for frame in frames {
            maps.notes[frame * PITCHES + key] = value;
        }
    }

    fn found(maps: &Maps, change: impl Fn(&mut Settings)) -> Vec<(usize, usize, u8)> {
        let mut settings = Settings::new(None).unwrap();
        settings.infer_onsets = false;
        change(&mut settings);
        let mut found: Vec<_> = find(&mut maps.clone(), &settings)
            .iter()
            .map(|note| (note.start, note.end, note.pitch))
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_note_lasts_from_its_onset_until_its_map_stays_low() {
        let mut maps = maps(120);
        sound(&mut maps, 20..60, 40, 0.8);
        sound(&mut maps, 64..70, 40, 0.8); // A short gap.
        maps.onsets[20 * PITCHES + 40] = 0.9;
        let none = |_: &mut Settings| {};
        assert_eq!(found(&maps, none), [(20, 70, 61)]);
        // No onset: what is left makes the note.
        maps.onsets[20 * PITCHES + 40] = 0.4;
        assert_eq!(found(&maps, none), [(20, 69, 61)]);
        assert!(found(&maps, |s| s.melodia = false).is_empty());
        // Sudden growth is an onset too, in proportion to the likeliest onset.
        maps.onsets[3 * PITCHES + 7] = 0.6;
        let inferred = found(&maps, |s| {
            s.melodia = false;
            s.infer_onsets = true;
        });
        assert_eq!(inferred, [(20, 70, 61)]);
    }

    #[test]
    fn short_notes_and_unwanted_pitches_are_dropped() {
        let mut maps = maps(120);
        sound(&mut maps, 20..31, 40, 0.8);
        sound(&mut maps, 50..90, 80, 0.8);
        maps.onsets[20 * PITCHES + 40] = 0.9;
        maps.onsets[50 * PITCHES + 80] = 0.9;
        assert_eq!(found(&maps, |_| {}), [(50, 90, 101)]);
        let shorter = found(&maps, |s| s.min_frames = 5);
        assert_eq!(shorter, [(20, 31, 61), (50, 90, 101)]);
        assert!(found(&maps, |s| s.highest = 80).is_empty());
        assert!(found(&maps, |s| s.lowest = 81).is_empty());
        assert_eq!(found(&maps, |s| s.lowest = 80), [(50, 90, 101)]);
    }

    #[test]
    fn neighbours_share_one_note() {
        let mut maps = maps(120);
        sound(&mut maps, 20..60, 40, 0.8);
        sound(&mut maps, 20..60, 41, 0.5);
        maps.onsets[20 * PITCHES + 40] = 0.9;
        assert_eq!(found(&maps, |_| {}), [(20, 60, 61)]);
    }

    #[test]
    fn nothing_gives_nothing() {
        for frames in [0, 1, 2, 50] {
            assert!(found(&maps(frames), |s| s.infer_onsets = true).is_empty());
        }
        let mut loud = maps(40);
        sound(&mut loud, 0..40, 0, 0.9);
        sound(&mut loud, 0..40, 87, 0.9);
        // To the very edges of time and pitch.
        assert_eq!(found(&loud, |_| {}).len(), 2);
    }
}
