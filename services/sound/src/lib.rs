//! Sound files to samples, for the services that listen: WAV, FLAC, OGG (Vorbis) and MP3 become one
//! channel at the rate that a model wants.
//!
//! The file is decoded, mixed and resampled packet by packet, so that memory holds the file and the
//! result, never the sound at its own rate. Non-goals: video containers, streaming, writing sound.

mod decode;
mod resample;

pub use decode::{Sound, decode};
pub use resample::Resampler;
