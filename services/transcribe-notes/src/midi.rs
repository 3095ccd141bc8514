//! Notes as a standard MIDI file, as basic-pitch writes it: one track of an electric piano, 220 ticks a
//! beat.
//!
//! MIDI bends a channel, not a note: only notes that sound alone bend.

use crate::transcribe_notes::Note;

/// How hard a note of this amplitude is struck, from 0 to 127.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and within the range first"
)]
pub fn velocity(amplitude: f32) -> u8 {
    (f64::from(amplitude) * 127.0)
        .round_ties_even()
        .clamp(0.0, 127.0) as u8
}

/// A file of notes, ordered by their start, at `tempo` beats a minute.
#[must_use]
pub fn file(notes: &[Note], tempo: f64) -> Vec<u8> {
    let mut events = Vec::new();
    let alone = alone(notes);
    for (note, alone) in notes.iter().zip(alone) {
        let (start, end) = (ticks(note.start, tempo), ticks(note.end, tempo));
        events.push((start, Event::On(note.pitch, note.velocity)));
        events.push((end, Event::Off(note.pitch)));
        if alone {
            let bends = bends(note).map(|(time, bend)| (ticks(time, tempo), Event::Bend(bend)));
            events.extend(bends);
        }
    }
    // At one time, what ends comes first, then the bend under which a note starts.
    events.sort();
    let mut track = Track::default();
    track.add(0, &[0xff, 0x51, 3]);
    track.bytes.extend(microseconds_a_beat(tempo));
    track.add(0, &[0xff, 0x58, 4, 4, 2, 24, 8]);
    track.add(0, &[0xc0, ELECTRIC_PIANO]);
    for (at, event) in events {
        match event {
            Event::Off(pitch) => track.add(at, &[0x80, pitch, 0]),
            Event::Bend(bend) => track.add(at, &[0xe0, low(bend), high(bend)]),
            Event::On(pitch, velocity) => track.add(at, &[0x90, pitch, velocity]),
        }
    }
    track.add(track.at + 1, &[0xff, 0x2f, 0]);
    let mut file = b"MThd\0\0\0\x06\0\0\0\x01".to_vec();
    file.extend(TICKS_A_BEAT.to_be_bytes());
    file.extend(b"MTrk");
    file.extend(
        u32::try_from(track.bytes.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    file.extend(track.bytes);
    file
}

/// What happens at a time; what is listed first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Off(u8),
    /// From -8192 to 8191.
    Bend(i16),
    On(u8, u8),
}

#[derive(Default)]
struct Track {
    bytes: Vec<u8>,
    at: u32,
}

impl Track {
    fn add(&mut self, at: u32, event: &[u8]) {
        let mut since = at.saturating_sub(self.at);
        self.at = self.at.max(at);
        let mut length = vec![seven_bits(since)];
        while since > 0x7f {
            since >>= 7;
            length.push(seven_bits(since) | 0x80);
        }
        self.bytes.extend(length.iter().rev());
        self.bytes.extend(event);
    }
}

fn seven_bits(value: u32) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0)
}

/// Whether each note sounds alone from its start to its end.
fn alone(notes: &[Note]) -> Vec<bool> {
    let mut alone = vec![true; notes.len()];
    for (index, note) in notes.iter().enumerate() {
        for (other, later) in notes.iter().enumerate().skip(index + 1) {
            if later.start >= note.end {
                break;
            }
            for index in [index, other] {
                if let Some(alone) = alone.get_mut(index) {
                    *alone = false;
                }
            }
        }
    }
    alone
}

/// When a note bends, in seconds, and by how much, in MIDI's steps: 8192 are two semitones.
fn bends(note: &Note) -> impl Iterator<Item = (f64, i16)> {
    let count = f64::from(u32::try_from(note.bends.len()).unwrap_or(u32::MAX));
    let step = (note.end - note.start) / (count - 1.0).max(1.0);
    let bends = note.bends.iter().zip(0_u32..);
    bends.map(move |(bend, index)| {
        let steps = f64::from(*bend) * 4096.0 / 3.0;
        (
            note.start + step * f64::from(index),
            whole(steps.clamp(-8192.0, 8191.0)),
        )
    })
}

/// The lower seven of a bend's fourteen bits.
fn low(bend: i16) -> u8 {
    seven_bits(unsigned(bend))
}

fn high(bend: i16) -> u8 {
    seven_bits(unsigned(bend) >> 7)
}

fn unsigned(bend: i16) -> u32 {
    u32::try_from(i32::from(bend) + 8192).unwrap_or(0)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded and within the range first"
)]
fn whole(number: f64) -> i16 {
    number.round_ties_even() as i16
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded; five minutes are few ticks"
)]
fn ticks(seconds: f64, tempo: f64) -> u32 {
    (seconds * tempo / 60.0 * f64::from(TICKS_A_BEAT))
        .round_ties_even()
        .max(0.0) as u32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tempo from 10 on has less than 2^24 microseconds a beat"
)]
fn microseconds_a_beat(tempo: f64) -> [u8; 3] {
    let [_, a, b, c] = ((60_000_000.0 / tempo).round() as u32).to_be_bytes();
    [a, b, c]
}

const TICKS_A_BEAT: u16 = 220;
/// "Electric Piano 1" of General MIDI, counted from 0.
const ELECTRIC_PIANO: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn note(start: f64, end: f64, pitch: u8, bends: &[i8]) -> Note {
        Note {
            start,
            end,
            pitch,
            amplitude: 0.5,
            velocity: velocity(0.5),
            bends: bends.to_vec(),
        }
    }

    #[test]
    fn a_file_is_as_the_standard_says() {
        let file = file(&[note(0.5, 1.0, 60, &[])], 120.0);
        let expected = [
            &b"MThd\0\0\0\x06\0\0\0\x01\0\xdcMTrk\0\0\0\x20"[..],
            b"\0\xff\x51\x03\x07\xa1\x20", // 500,000 microseconds a beat.
            b"\0\xff\x58\x04\x04\x02\x18\x08",
            b"\0\xc0\x04",
            b"\x81\x5c\x90\x3c\x40", // After 220 ticks, the middle C.
            b"\x81\x5c\x80\x3c\0",
            b"\x01\xff\x2f\0",
        ];
        assert_eq!(file, expected.concat());
    }

    #[test]
    fn only_a_note_alone_bends() {
        let bent = file(&[note(0.0, 1.0, 60, &[0, 3, -6])], 120.0);
        for (bend, bytes) in [(0, b"\xe0\0\x40"), (3, b"\xe0\0\x60"), (-6, b"\xe0\0\0")] {
            assert!(bent.windows(3).any(|found| found == bytes), "{bend}");
        }
        let two = [note(0.0, 1.0, 60, &[3]), note(0.9, 2.0, 64, &[3])];
        assert_eq!(alone(&two), [false, false]);
        let three = [two[0].clone(), note(1.0, 2.0, 64, &[3])];
        assert_eq!(alone(&three), [true, true]);
        assert!(!file(&two, 120.0).contains(&0xe0));
    }

    #[test]
    fn a_note_that_starts_when_another_ends_is_not_cut() {
        let notes = [note(0.0, 1.0, 60, &[]), note(1.0, 2.0, 60, &[])];
        let file = file(&notes, 120.0);
        let off = file.windows(3).position(|w| w == b"\x80\x3c\0").unwrap();
        let second = file.windows(3).rposition(|w| w == b"\x90\x3c\x40").unwrap();
        assert!(off < second);
        assert_eq!(
            (velocity(1.0), velocity(2.0), velocity(-1.0)),
            (127, 127, 0)
        );
    }
}
