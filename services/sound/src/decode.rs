//! Decodes a file to one channel at one rate.

use std::fmt;
use std::io::{Cursor, ErrorKind};

use symphonia::core::audio::{AudioBuffer, AudioBufferRef};
use symphonia::core::codecs::{CODEC_TYPE_NULL, Decoder, DecoderOptions};
use symphonia::core::errors::Error as Symphonia;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::{Limit, MetadataOptions};
use symphonia::core::probe::Hint;

use crate::Resampler;

/// One channel of sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// The samples, about from -1 to 1.
    pub samples: Vec<f32>,
    /// Samples a second.
    pub rate: u32,
}

impl Sound {
    /// How long it lasts, in seconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are far fewer than 2^53 samples"
    )]
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }
}

/// Decodes the first track of a file, mixes its channels equally and resamples to `rate`.
///
/// Damaged packets are skipped, as players do.
///
/// # Errors
/// What is wrong with the file, for the caller: its kind is unknown, nothing in it can be decoded, or
/// it lasts longer than `seconds_max`.
pub fn decode(content: Vec<u8>, rate: u32, seconds_max: u32) -> Result<Sound, String> {
    if content.is_empty() {
        return Err("`content` is empty: send the bytes of a sound file".to_owned());
    }
    let mut reader = open(content)?;
    let track = reader
        .default_track()
        .filter(|track| track.codec_params.codec != CODEC_TYPE_NULL)
        .ok_or_else(|| format!("the file has no track of sound: send {KINDS}"))?;
    let id = track.id;
    let mut decoder = symphonia::default::get_codecs()
        .make(&track.codec_params, &DecoderOptions::default())
        .map_err(|error| format!("the sound's encoding is not known ({error}): send {KINDS}"))?;
    let samples_max = usize::try_from(u64::from(rate) * u64::from(seconds_max))
        .map_err(|error| error.to_string())?;
    let mut mixer = Mixer::new(rate, samples_max, seconds_max);
    loop {
        let packet = match reader.next_packet() {
            Ok(packet) if packet.track_id() == id => packet,
            Ok(_) => continue,
            Err(error) if is_end(&error) => break,
            // What came before a damaged end is still sound.
            Err(_) if mixer.heard() => break,
            Err(error) => return Err(unreadable(&error)),
        };
        decode_packet(decoder.as_mut(), &packet, &mut mixer)?;
    }
    mixer.finish()
}

fn open(content: Vec<u8>) -> Result<Box<dyn FormatReader>, String> {
    let stream = MediaSourceStream::new(
        Box::new(Cursor::new(content)),
        MediaSourceStreamOptions::default(),
    );
    let format = FormatOptions {
        enable_gapless: true,
        ..FormatOptions::default()
    };
    let metadata = MetadataOptions {
        limit_metadata_bytes: Limit::Maximum(METADATA_BYTES_MAX),
        limit_visual_bytes: Limit::Maximum(METADATA_BYTES_MAX),
    };
    symphonia::default::get_probe()
        .format(&Hint::new(), stream, &format, &metadata)
        .map(|probed| probed.format)
        .map_err(|error| unreadable(&error))
}

fn decode_packet(
    decoder: &mut dyn Decoder,
    packet: &symphonia::core::formats::Packet,
    mixer: &mut Mixer,
) -> Result<(), String> {
    match decoder.decode(packet) {
        Ok(sound) => mixer.push(&sound),
        Err(Symphonia::DecodeError(_)) => Ok(()),
        Err(error) if is_end(&error) => Ok(()),
        Err(error) => Err(unreadable(&error)),
    }
}

fn is_end(error: &Symphonia) -> bool {
    matches!(error, Symphonia::IoError(error) if error.kind() == ErrorKind::UnexpectedEof)
}

fn unreadable(error: &impl fmt::Display) -> String {
    format!("the file cannot be read ({error}): send {KINDS}")
}

/// Channels to one, any rate to one.
struct Mixer {
    rate: u32,
    samples_max: usize,
    seconds_max: u32,
    /// Made when the first packet tells the rate.
    resampler: Option<(u32, Resampler)>,
    converted: Option<AudioBuffer<f32>>,
    mono: Vec<f32>,
    samples: Vec<f32>,
}

impl Mixer {
    fn new(rate: u32, samples_max: usize, seconds_max: u32) -> Self {
        Self {
            rate,
            samples_max,
            seconds_max,
            resampler: None,
            converted: None,
            mono: Vec::new(),
            samples: Vec::new(),
        }
    }

    fn heard(&self) -> bool {
        self.resampler.is_some()
    }

    fn push(&mut self, sound: &AudioBufferRef<'_>) -> Result<(), String> {
        let spec = *sound.spec();
        if !(RATE_MIN..=RATE_MAX).contains(&spec.rate) {
            return Err(format!(
                "the sound has {} samples a second: send {RATE_MIN} to {RATE_MAX}",
                spec.rate
            ));
        }
        let (from, resampler) = self
            .resampler
            .get_or_insert_with(|| (spec.rate, Resampler::new(spec.rate, self.rate)));
        if *from != spec.rate {
            return Err("the sound changes its rate on the way: send one rate a file".to_owned());
        }
        let fits = |buffer: &AudioBuffer<f32>| {
            *buffer.spec() == spec && buffer.capacity() >= sound.capacity()
        };
        if !self.converted.as_ref().is_some_and(fits) {
            self.converted = Some(sound.make_equivalent());
        }
        let Some(converted) = &mut self.converted else {
            return Ok(());
        };
        sound.convert(converted);
        mix(converted, &mut self.mono);
        resampler.push(&self.mono, &mut self.samples);
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        if self.samples.len() > self.samples_max {
            return Err(format!(
                "the sound lasts longer than {} seconds: send it in parts",
                self.seconds_max
            ));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Sound, String> {
        if let Some((_, resampler)) = self.resampler.take() {
            resampler.finish(&mut self.samples);
        }
        if self.samples.is_empty() {
            return Err(format!("the file holds no sound: send {KINDS}"));
        }
        self.check()?;
        Ok(Sound {
            samples: self.samples,
            rate: self.rate,
        })
    }
}

/// The mean of all channels.
fn mix(sound: &AudioBuffer<f32>, mono: &mut Vec<f32>) {
    mono.clear();
    let planes = sound.planes();
    let mut channels = 0_u8;
    for plane in planes.planes() {
        if channels == 0 {
            mono.extend_from_slice(plane);
        } else {
            for (sum, value) in mono.iter_mut().zip(plane.iter()) {
                *sum += value;
            }
        }
        channels = channels.saturating_add(1);
    }
    if channels > 1 {
        let share = 1.0 / f32::from(channels);
        for sample in mono {
            *sample *= share;
        }
    }
}

/// What is taken, as errors name it.
const KINDS: &str = "WAV, FLAC, OGG (Vorbis) or MP3";
/// Titles and cover pictures are not needed, and not kept beyond this.
const METADATA_BYTES_MAX: usize = 256 * 1024;
const RATE_MIN: u32 = 4_000;
const RATE_MAX: u32 = 384_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV file of 16-bit samples, all channels one after another.
    fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let size = u32::try_from(bytes.len()).unwrap();
        let frame = channels * 2;
        let mut file = Vec::new();
        file.extend(b"RIFF");
        file.extend((36 + size).to_le_bytes());
        file.extend(b"WAVEfmt ");
        file.extend(16_u32.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend((rate * u32::from(frame)).to_le_bytes());
        file.extend(frame.to_le_bytes());
        file.extend(16_u16.to_le_bytes());
        file.extend(b"data");
        file.extend(size.to_le_bytes());
        file.extend(bytes);
        file
    }

    #[test]
    fn samples_arrive_as_they_are() {
        let sound = decode(wav(16_000, 1, &[0, 16_384, -16_384, 32_767]), 16_000, 1).unwrap();
        assert_eq!(sound.samples, [0.0, 0.5, -0.5, 32_767.0 / 32_768.0]);
        assert!((sound.seconds() - 4.0 / 16_000.0).abs() < 1e-12);
    }

    #[test]
    fn channels_are_averaged() {
        let sound = decode(wav(16_000, 2, &[16_384, 0, 16_384, -16_384]), 16_000, 1).unwrap();
        assert_eq!(sound.samples, [0.25, 0.0]);
    }

    #[test]
    fn rates_are_changed() {
        let sound = decode(wav(48_000, 1, &vec![8_192; 48_000]), 16_000, 1).unwrap();
        assert_eq!((sound.samples.len(), sound.rate), (16_000, 16_000));
        assert!((sound.samples[8_000] - 0.25).abs() < 1e-4);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let long = wav(16_000, 1, &vec![0; 32_001]);
        let mut broken = wav(16_000, 1, &[1; 100]);
        broken.truncate(30);
        for (content, expected) in [
            (vec![], "`content` is empty"),
            (b"not a sound at all".to_vec(), "cannot be read"),
            (long, "longer than 2 seconds"),
            (broken, "cannot be read"),
            (wav(16_000, 1, &[]), "holds no sound"),
            (wav(1_000, 1, &[0; 10]), "has 1000 samples a second"),
        ] {
            let error = decode(content, 16_000, 2).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic() {
        let file = wav(44_100, 2, &[1_000; 400]);
        for length in (0..file.len()).step_by(17) {
            drop(decode(file[..length].to_vec(), 16_000, 2));
        }
        // One byte changed at a time, all over the header.
        for at in 0..60 {
            for value in [0, 0xff] {
                let mut file = file.clone();
                file[at] = value;
                drop(decode(file, 16_000, 2));
            }
        }
        for magic in [&b"fLaC"[..], b"OggS\0", b"\xff\xfb\x90\x64", b"ID3\x04\0\0"] {
            let mut file = magic.to_vec();
            file.extend((0..4_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()));
            drop(decode(file, 16_000, 2));
        }
    }
}
