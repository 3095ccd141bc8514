//! What the model sees of a picture: as its authors' program made it.
//!
//! That program read JPEG files of 256 by 256 pixels. The model learned to look through JPEG's losses, and
//! its numbers move by percents without them, so the picture is written as JPEG once and read again.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use picture::{Alpha, Kernel, Picture, resize};

/// The most pixels of a picture.
pub const PIXELS_MAX: u64 = 24_000_000;
/// The model's input: the same picture twice. One alone costs half, but the embedded engine fails to plan
/// this graph for it (it takes the first axis away from a padding and not from its bias).
pub const SHAPE: [u32; 4] = [2, 224, 224, 3];

/// The middle of the picture at the model's size: blue, green and red, without their means.
///
/// # Errors
/// If the picture cannot be written as JPEG, which none should cause.
pub fn input(picture: &Picture) -> Result<Vec<f32>, String> {
    let small = through_jpeg(&resize(picture, SIDE, SIDE, Kernel::Triangle))?;
    let mut values = Vec::with_capacity(2 * 3 * CROP * CROP);
    for y in EDGE..EDGE + CROP {
        for [red, green, blue] in small.row(y).iter().skip(EDGE).take(CROP) {
            for (value, mean) in [blue, green, red].into_iter().zip(MEANS) {
                values.push(f32::from(*value) - mean);
            }
        }
    }
    values.extend_from_within(..);
    Ok(values)
}

/// The probability among the model's two for each picture.
///
/// # Errors
/// If there are not two for each: another model is installed.
pub fn nsfw(probabilities: &[f32]) -> Result<f32, String> {
    match probabilities {
        [_, nsfw, _, _] => Ok(*nsfw),
        _ => Err(format!(
            "the model returned {} numbers, not 4",
            probabilities.len()
        )),
    }
}

/// What JPEG leaves of a picture, at the quality and with the reduced colours that Pillow writes.
fn through_jpeg(picture: &Picture) -> Result<Picture, String> {
    let pixels: Vec<u8> = (0..picture.height())
        .flat_map(|y| picture.row(y).as_flattened().iter().copied())
        .collect();
    let side = |pixels: usize| u16::try_from(pixels).map_err(|error| error.to_string());
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(&pixels, width, height, ColorType::Rgb)
        .map_err(|error| format!("the picture cannot be prepared: {error}"))?;
    picture::decode(&file, PIXELS_MAX, Alpha::Ignored)
}

/// The side to which pictures are brought, whatever their proportions.
const SIDE: usize = 256;
/// The side of what the model sees.
const CROP: usize = 224;
const EDGE: usize = (SIDE - CROP) / 2;
/// Pillow's usual quality.
const QUALITY: u8 = 75;
/// The training pictures' means of blue, green and red.
const MEANS: [f32; 3] = [104.0, 117.0, 123.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_comes_through() {
        let values = input(&Picture::filled(300, 100, [200, 100, 50])).unwrap();
        assert_eq!(values.len(), 2 * 224 * 224 * 3);
        for pixel in values.as_chunks::<3>().0 {
            for (value, expected) in pixel
                .iter()
                .zip([50.0 - 104.0, 100.0 - 117.0, 200.0 - 123.0])
            {
                let apart: f32 = value - expected;
                assert!(apart.abs() <= 3.0, "{pixel:?}");
            }
        }
    }

    #[test]
    fn the_middle_is_seen() {
        let mut page = Picture::filled(256, 256, [0; 3]);
        for y in 0..256 {
            for x in 0..128 {
                page.set(x, y, [255; 3]);
            }
        }
        let values = input(&page).unwrap();
        let at = |x: usize| values[(100 * 224 + x) * 3];
        assert!(at(0) > 140.0 && at(100) > 140.0, "{} {}", at(0), at(100));
        assert!(at(124) < -90.0 && at(223) < -90.0);
    }

    #[test]
    fn another_model_is_noticed() {
        assert_eq!(nsfw(&[0.25, 0.75, 0.25, 0.75]), Ok(0.75));
        assert!(nsfw(&[1.0]).unwrap_err().contains("1 numbers"));
    }
}
