//! How a note's pitch moves: at each frame, the strongest fine pitch near the note's.

use crate::maps::{FINE_PITCHES, Maps};
use crate::notes::{Found, LOWEST_PITCH};

/// The bend at each frame of a note, in thirds of a semitone; nothing without contours.
#[must_use]
pub fn follow(maps: &Maps, note: &Found) -> Vec<i8> {
    let middle = usize::from(note.pitch.saturating_sub(LOWEST_PITCH)) * FINE_A_SEMITONE;
    let start = middle.saturating_sub(REACH);
    let end = (middle + REACH + 1).min(FINE_PITCHES);
    let rows = maps.contours.chunks_exact(FINE_PITCHES);
    rows.skip(note.start)
        .take(note.end.saturating_sub(note.start))
        .map(|row| {
            let near = row.get(start..end).unwrap_or(&[]);
            let mut best = (f64::NEG_INFINITY, middle);
            for (fine, value) in (start..).zip(near) {
                let value = f64::from(*value) * weight(fine, middle);
                if value > best.0 {
                    best = (value, fine);
                }
            }
            let bend = i64::try_from(best.1).unwrap_or(0) - i64::try_from(middle).unwrap_or(0);
            i8::try_from(bend).unwrap_or(0)
        })
        .collect()
}

/// A bell of five fine pitches: nearer ones count more.
fn weight(fine: usize, middle: usize) -> f64 {
    let apart = f64::from(u16::try_from(fine.abs_diff(middle)).unwrap_or(u16::MAX)) / 5.0;
    (-0.5 * apart * apart).exp()
}

const FINE_A_SEMITONE: usize = 3;
/// Fine pitches on each side that a note may bend to.
const REACH: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_near_pitch_counts() {
        let mut maps = Maps::new(4);
        maps.contours = vec![0.01; 4 * FINE_PITCHES];
        let middle = 39 * 3;
        maps.contours[middle] = 0.5;
        maps.contours[FINE_PITCHES + middle + 2] = 0.5;
        maps.contours[2 * FINE_PITCHES + middle - 3] = 0.5;
        maps.contours[3 * FINE_PITCHES + middle + 40] = 0.9; // Too far.
        let note = Found {
            start: 0,
            end: 4,
            pitch: 60,
            amplitude: 0.5,
        };
        assert_eq!(follow(&maps, &note), [0, 2, -3, 0]);
        let lowest = Found { pitch: 21, ..note };
        assert_eq!(follow(&maps, &lowest), [0; 4]);
        maps.contours.clear();
        assert!(follow(&maps, &note).is_empty());
    }
}
