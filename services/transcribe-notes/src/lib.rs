//! `transcribe-notes`: notes and a MIDI file from a recording of music, by Spotify's basic-pitch.
//!
//! The interface is below; [`maps`] is what the model hears and answers, [`notes`] makes notes of it,
//! [`bends`] follows their pitch, [`midi`] writes them down, [`settings`] checks what the caller asks for.

pub mod bends;
pub mod maps;
pub mod midi;
pub mod notes;
pub mod settings;

/// Notes and MIDI from a recording of music.
///
/// Spotify's basic-pitch (Apache-2.0) hears pitched instruments and voices, several at a time; it was made for
/// one kind of instrument a recording, and drums confuse it. The notes equal those of the `basic-pitch` Python
/// package with the same options. WAV, FLAC, OGG (Vorbis) and MP3, any rate and number of channels, at most
/// five minutes.
#[rialto_sdk::service]
pub mod transcribe_notes {
    use crate::maps::{self, Maps, Windows};
    use crate::settings::Settings;
    use crate::{bends, midi, notes};
    use rialto_sdk::tensor::{Dtype, Model, Tensor};
    use sound::Sound;

    /// A note.
    pub struct Note {
        /// When it starts, in seconds.
        pub start: f64,
        /// When it ends, in seconds.
        pub end: f64,
        /// MIDI's number of its pitch: 60 is the middle C, 21 to 108 are a piano's keys.
        pub pitch: u8,
        /// How loud it is, from 0 to 1.
        pub amplitude: f32,
        /// The same for MIDI, from 0 to 127.
        pub velocity: u8,
        /// How its pitch moves, in thirds of a semitone, at even times from start to end; empty if not wanted.
        pub bends: Vec<i8>,
    }

    /// What was heard.
    pub struct Transcription {
        /// The notes by their start, and then by their pitch.
        pub notes: Vec<Note>,
        /// A standard MIDI file of the notes: one track, an electric piano. Notes that sound alone bend.
        pub midi: Vec<u8>,
        /// How long the recording lasts, in seconds.
        pub duration: f64,
    }

    /// How to make notes. What is left out is as in the `basic-pitch` package.
    pub struct Options {
        /// How sure the model must be that a note starts, above 0 and up to 1; 0.5 if left out.
        pub onset_threshold: Option<f64>,
        /// How sure it must be that a note goes on, above 0 and up to 1; 0.3 if left out.
        pub frame_threshold: Option<f64>,
        /// Shorter notes are dropped, in milliseconds; 127.7 if left out.
        pub min_note_ms: Option<f64>,
        /// Lower notes are dropped, in hertz.
        pub min_frequency: Option<f64>,
        /// Higher notes are dropped, in hertz.
        pub max_frequency: Option<f64>,
        /// Whether notes may start where the sound grows suddenly, too; true if left out.
        pub infer_onsets: Option<bool>,
        /// Whether to look for notes without a start in what is left; true if left out.
        pub melodia: Option<bool>,
        /// Whether to follow the pitch of each note; true if left out.
        pub bends: Option<bool>,
        /// Beats a minute that the MIDI file says; 120 if left out. Times stay as they are.
        pub tempo: Option<f64>,
    }

    /// Transcribes a recording.
    pub fn transcribe(
        /// The file's bytes.
        content: Vec<u8>,
        /// How to make notes; the usual if left out.
        options: Option<Options>,
    ) -> Result<Transcription, String> {
        // Checked first: a call that asks for nonsense does no work.
        let settings = Settings::new(options.as_ref())?;
        let sound = sound::decode(content, maps::RATE, maps::SECONDS_MAX)?;
        let duration = sound.seconds();
        let mut maps = listen(sound, settings.bends)?;
        let mut found = notes::find(&mut maps, &settings);
        found.sort_by_key(|note| (note.start, note.pitch));
        let notes: Vec<Note> = found
            .iter()
            .map(|note| Note {
                start: maps::seconds(note.start),
                end: maps::seconds(note.end),
                pitch: note.pitch,
                amplitude: note.amplitude,
                velocity: midi::velocity(note.amplitude),
                bends: bends::follow(&maps, note),
            })
            .collect();
        Ok(Transcription {
            midi: midi::file(&notes, settings.tempo),
            notes,
            duration,
        })
    }

    /// Runs the model on one window after another.
    fn listen(sound: Sound, with_contours: bool) -> Result<Maps, String> {
        let model = Model::open("basic-pitch")?;
        let outputs: &[&str] = if with_contours {
            &[maps::NOTES, maps::ONSETS, maps::CONTOURS]
        } else {
            &[maps::NOTES, maps::ONSETS]
        };
        let mut windows = Windows::new(sound.samples);
        let mut maps = Maps::new(windows.frames());
        while let Some(window) = windows.next_window() {
            let bytes = bytemuck::cast_slice(window);
            let input = Tensor::from_bytes(Dtype::F32, &maps::WINDOW_SHAPE, bytes)?;
            let kept = model.run(&[(maps::INPUT, &input)], outputs)?;
            let values = kept.iter().map(Tensor::to_f32);
            maps.add(&values.collect::<Result<Vec<_>, _>>()?)?;
        }
        Ok(maps)
    }
}
