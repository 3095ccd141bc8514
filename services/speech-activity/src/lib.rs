//! `speech-activity`: when somebody speaks in a recording, by the silero model.
//!
//! The interface is below; [`windows`] is what the model hears, [`segments`] makes stretches of speech
//! of its answers, [`settings`] checks what the caller asks for.

pub mod segments;
pub mod settings;
pub mod windows;

/// When does somebody speak?
///
/// The silero voice activity model (version 6, MIT) listens to windows of 32 ms, one after another. The
/// segments equal those of the `silero-vad` Python package with the same options. WAV, FLAC, OGG (Vorbis)
/// and MP3, any rate and number of channels, at most half an hour.
#[rialto_sdk::service]
pub mod speech_activity {
    use crate::segments::{self, Stretch};
    use crate::settings::Settings;
    use crate::windows::{self, Windows};
    use rialto_sdk::tensor::{Model, Tensor};
    use sound::Sound;

    /// A stretch of speech.
    pub struct Segment {
        /// Where it starts, in seconds.
        pub start: f64,
        /// Where it ends, in seconds.
        pub end: f64,
    }

    /// What was heard.
    pub struct Activity {
        /// The stretches of speech, in order; they do not overlap.
        pub segments: Vec<Segment>,
        /// How long all of them last together, in seconds.
        pub speech: f64,
        /// How long the recording lasts, in seconds.
        pub duration: f64,
    }

    /// How to make segments of probabilities. What is left out is as in the `silero-vad` package.
    pub struct Options {
        /// From this probability on it is speech, from 0 to 1; 0.5 if left out.
        pub threshold: Option<f64>,
        /// Below this probability speech has ended; 0.15 below `threshold` if left out, at least 0.01.
        pub negative_threshold: Option<f64>,
        /// Segments that are not longer than this are dropped, in milliseconds; 250 if left out.
        pub min_speech_ms: Option<u32>,
        /// Longer segments are split, in seconds; never if left out.
        pub max_speech_s: Option<f64>,
        /// Silence that ends a segment, in milliseconds; 100 if left out.
        pub min_silence_ms: Option<u32>,
        /// Added on both sides of each segment, in milliseconds; 30 if left out.
        pub speech_pad_ms: Option<u32>,
        /// Silence at which a segment that is too long may be split, in milliseconds; 98 if left out.
        pub min_silence_at_split_ms: Option<u32>,
        /// Whether to split at the longest such silence rather than at the last; true if left out.
        pub split_at_longest_silence: Option<bool>,
    }

    /// Finds the stretches of speech in a recording.
    pub fn detect(
        /// The file's bytes.
        content: Vec<u8>,
        /// How to make segments; the usual if left out.
        options: Option<Options>,
    ) -> Result<Activity, String> {
        // Checked first: a call that asks for nonsense does no work.
        let settings = Settings::new(options.as_ref())?;
        let sound = decode(content)?;
        let probabilities = listen(&sound)?;
        let stretches = segments::find(&probabilities, sound.samples.len(), &settings);
        Ok(activity(&stretches, &sound))
    }

    /// How likely it is that somebody speaks: one number from 0 to 1 for each 32 ms.
    pub fn probabilities(
        /// The file's bytes.
        content: Vec<u8>,
    ) -> Result<Vec<f32>, String> {
        listen(&decode(content)?)
    }

    fn decode(content: Vec<u8>) -> Result<Sound, String> {
        sound::decode(content, windows::RATE, windows::SECONDS_MAX)
    }

    /// Runs the model on a block of windows at a time. Its state stays on the host and goes from block
    /// to block; what fills up the last block comes after all that counts.
    fn listen(sound: &Sound) -> Result<Vec<f32>, String> {
        let model = Model::open("silero")?;
        let mut state = Tensor::from_f32(&windows::STATE_SHAPE, &windows::SILENT_STATE)?;
        let mut cell = Tensor::from_f32(&windows::STATE_SHAPE, &windows::SILENT_STATE)?;
        let count = Windows::count(sound.samples.len());
        let mut probabilities = Vec::with_capacity(count + windows::BLOCK);
        let mut windows = Windows::new(&sound.samples);
        while let Some(block) = windows.next_block() {
            let input = Tensor::from_f32(&windows::BLOCK_SHAPE, block)?;
            let mut outputs = model.run(
                &[("input", &input), ("h", &state), ("c", &cell)],
                &["hn", "cn", "speech_probs"],
            )?;
            let mut output = || outputs.pop().ok_or("the engine returned too little");
            probabilities.extend(output()?.to_f32()?);
            cell = output()?;
            state = output()?;
        }
        if probabilities.len() < count {
            return Err("the model returned too few probabilities".to_owned());
        }
        probabilities.truncate(count);
        Ok(probabilities)
    }

    fn activity(stretches: &[Stretch], sound: &Sound) -> Activity {
        let segments: Vec<Segment> = stretches
            .iter()
            .map(|stretch| Segment {
                start: windows::seconds(stretch.start),
                end: windows::seconds(stretch.end),
            })
            .collect();
        Activity {
            speech: stretches.iter().fold(0.0, |sum, stretch| {
                sum + windows::seconds(stretch.end.saturating_sub(stretch.start))
            }),
            segments,
            duration: sound.seconds(),
        }
    }
}
