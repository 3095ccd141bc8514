//! Decodes a file, with its size checked first.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::Picture;

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpha {
    /// The picture is laid on white paper.
    OnWhite,
    /// All of it counts as opaque, so that nothing can hide.
    Ignored,
}

/// Decodes a picture of at most `pixels_max` pixels, and turns it as its metadata says.
///
/// # Errors
/// What is wrong with the file, for the caller: its kind is unknown, it is damaged or too large.
pub fn decode(content: &[u8], pixels_max: u64, alpha: Alpha) -> Result<Picture, String> {
    if content.is_empty() {
        return Err("`content` is empty: send the bytes of a picture".to_owned());
    }
    let format = image::guess_format(content)
        .ok()
        .filter(|format| KINDS_TAKEN.contains(format))
        .ok_or_else(|| format!("the kind of picture is not known: send {KINDS}"))?;
    let unreadable =
        |error: image::ImageError| format!("the picture cannot be read ({error}): send {KINDS}");
    let mut reader = ImageReader::with_format(Cursor::new(content), format);
    reader.limits(limits(pixels_max));
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > pixels_max {
        return Err(format!(
            "the picture has {width} x {height} pixels: send at most {pixels_max} in all"
        ));
    }
    // Damaged metadata is no reason to refuse a picture.
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    flatten(picture, alpha)
}

/// Decoders may hold the file's own form, eight bytes a pixel at most, beside their buffers.
fn limits(pixels_max: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(pixels_max.saturating_mul(8));
    limits
}

fn flatten(picture: DynamicImage, alpha: Alpha) -> Result<Picture, String> {
    let rgb = if alpha == Alpha::OnWhite && picture.color().has_alpha() {
        let mut rgba = picture.into_rgba8();
        for pixel in rgba.pixels_mut() {
            let [red, green, blue, opacity] = pixel.0;
            pixel.0 = [
                over_white(red, opacity),
                over_white(green, opacity),
                over_white(blue, opacity),
                u8::MAX,
            ];
        }
        DynamicImage::ImageRgba8(rgba).into_rgb8()
    } else {
        picture.into_rgb8()
    };
    let side = |pixels: u32| usize::try_from(pixels).map_err(|error| error.to_string());
    Picture::new(side(rgb.width())?, side(rgb.height())?, rgb.into_raw())
}

fn over_white(value: u8, opacity: u8) -> u8 {
    let (value, opacity) = (u16::from(value), u16::from(opacity));
    let mixed = (value * opacity + 255 * (255 - opacity) + 127) / 255;
    u8::try_from(mixed).unwrap_or(u8::MAX)
}

/// What is taken, as errors name it.
const KINDS: &str = "PNG, JPEG, WebP or BMP";
const KINDS_TAKEN: [ImageFormat; 4] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
];

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgba, RgbaImage};

    fn file(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let picture = RgbaImage::from_fn(width, height, |x, y| {
            let value = u8::try_from((x * 7 + y * 13) % 256).unwrap();
            Rgba([value, 0, 255, if x == 0 { 0 } else { 255 }])
        });
        let mut bytes = Cursor::new(Vec::new());
        let picture = DynamicImage::ImageRgba8(picture);
        if format == ImageFormat::Jpeg {
            DynamicImage::ImageRgb8(picture.into_rgb8())
                .write_to(&mut bytes, format)
                .unwrap();
        } else {
            picture.write_to(&mut bytes, format).unwrap();
        }
        bytes.into_inner()
    }

    #[test]
    fn every_kind_is_read() {
        for format in KINDS_TAKEN {
            let picture = decode(&file(20, 10, format), 1_000, Alpha::Ignored).unwrap();
            assert_eq!((picture.width(), picture.height()), (20, 10), "{format:?}");
            let pixel = picture.nearest(10, 5);
            let expected = [135_u8, 0, 255];
            for (found, expected) in pixel.iter().zip(expected) {
                assert!(found.abs_diff(expected) < 12, "{format:?}: {pixel:?}");
            }
        }
    }

    #[test]
    fn transparency_is_white_paper_or_nothing() {
        let png = file(4, 4, ImageFormat::Png);
        let paper = decode(&png, 100, Alpha::OnWhite).unwrap();
        assert_eq!(paper.nearest(0, 2), [255; 3]);
        assert_eq!(paper.nearest(1, 2), [33, 0, 255]);
        let opaque = decode(&png, 100, Alpha::Ignored).unwrap();
        assert_eq!(opaque.nearest(0, 2), [26, 0, 255]);
        assert_eq!((over_white(0, 128), over_white(77, 255)), (127, 77));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let mut cut = file(20, 10, ImageFormat::Png);
        cut.truncate(60);
        for (content, expected) in [
            (vec![], "`content` is empty"),
            (b"plain text".to_vec(), "kind of picture is not known"),
            (
                b"GIF89a\x01\0\x01\0".to_vec(),
                "kind of picture is not known",
            ),
            (cut, "cannot be read"),
            (file(40, 30, ImageFormat::Bmp), "has 40 x 30 pixels"),
        ] {
            let error = decode(&content, 1_000, Alpha::OnWhite).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// A header that promises 60,000 by 60,000 pixels is refused by its numbers, not by its data.
    #[test]
    fn a_bomb_is_not_unfolded() {
        let mut png = file(4, 4, ImageFormat::Png);
        png[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        png[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        assert!(decode(&png, 1_000_000, Alpha::OnWhite).is_err());
        let mut bmp = file(4, 4, ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&30_000_u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&30_000_u32.to_le_bytes());
        let error = decode(&bmp, 1_000_000, Alpha::OnWhite).unwrap_err();
        assert!(error.contains("30000 x 30000"), "{error}");
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic() {
        for format in KINDS_TAKEN {
            let whole = file(16, 16, format);
            for length in (0..whole.len()).step_by(7) {
                drop(decode(&whole[..length], 10_000, Alpha::OnWhite));
            }
            for at in 0..whole.len().min(120) {
                let mut changed = whole.clone();
                changed[at] ^= 0x55;
                drop(decode(&changed, 10_000, Alpha::OnWhite));
            }
        }
    }
}
