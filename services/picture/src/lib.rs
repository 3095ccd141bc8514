//! Picture files to pixels, for the services that look: PNG, JPEG, WebP and BMP become red, green and
//! blue bytes, upright as their metadata says, and are resized the way that a model was trained on.
//!
//! A file says how large its picture is before it is decoded, and is refused if that is too large: a few
//! bytes may unfold to gigabytes. Non-goals: animation, colour profiles, writing pictures.

mod decode;
mod resize;

pub use decode::{Alpha, decode};
pub use resize::{Kernel, resample, resize};

/// Red, green and blue, one byte each, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// One pixel: red, green, blue.
pub type Rgb = [u8; 3];

impl Picture {
    /// A picture of pixels that are there already.
    ///
    /// # Errors
    /// If `pixels` are not `width * height * 3` bytes, or there is no pixel.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, String> {
        if width == 0 || height == 0 || pixels.len() != width * height * 3 {
            return Err(format!(
                "{} bytes are no picture of {width} x {height}",
                pixels.len()
            ));
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// A picture of one colour, at least one pixel large.
    #[must_use]
    pub fn filled(width: usize, height: usize, colour: Rgb) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let mut picture = Self {
            width,
            height,
            pixels: vec![0; width * height * 3],
        };
        for pixel in picture.pixels.as_chunks_mut().0 {
            *pixel = colour;
        }
        picture
    }

    /// Pixels in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels of a row; of the last one for rows below.
    #[must_use]
    pub fn row(&self, y: usize) -> &[Rgb] {
        let start = y.min(self.height - 1) * self.width * 3;
        let row = self.pixels.get(start..start + self.width * 3);
        row.unwrap_or(&[]).as_chunks().0
    }

    /// A pixel; beyond the edges, the nearest.
    #[must_use]
    pub fn nearest(&self, x: i64, y: i64) -> Rgb {
        let inside = |at: i64, count: usize| usize::try_from(at.max(0)).unwrap_or(0).min(count - 1);
        let row = self.row(inside(y, self.height));
        row.get(inside(x, self.width)).copied().unwrap_or_default()
    }

    /// The picture turned by a quarter, counter-clockwise.
    #[must_use]
    pub fn turned_left(&self) -> Self {
        let mut turned = Self::filled(self.height, self.width, [0; 3]);
        for y in 0..self.height {
            for (x, pixel) in self.row(y).iter().enumerate() {
                turned.set(y, self.width - 1 - x, *pixel);
            }
        }
        turned
    }

    /// The picture upside down.
    #[must_use]
    pub fn turned_over(&self) -> Self {
        let mut turned = self.clone();
        turned.pixels.as_chunks_mut::<3>().0.reverse();
        turned
    }

    /// The picture with rows of black above and below.
    #[must_use]
    pub fn with_margins(&self, rows: usize) -> Self {
        let mut wide = Self::filled(self.width, self.height + 2 * rows, [0; 3]);
        let start = rows * self.width * 3;
        if let Some(place) = wide.pixels.get_mut(start..start + self.pixels.len()) {
            place.copy_from_slice(&self.pixels);
        }
        wide
    }

    /// Changes a pixel; outside the picture there is none.
    pub fn set(&mut self, x: usize, y: usize, colour: Rgb) {
        if x >= self.width {
            return;
        }
        let (pixels, _) = self.pixels.as_chunks_mut();
        if let Some(pixel) = pixels.get_mut(y * self.width + x) {
            *pixel = colour;
        }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Picture {
        Picture::new(
            3,
            2,
            [1_u8, 2, 3, 4, 5, 6]
                .into_iter()
                .flat_map(|v| [v, v, v])
                .collect(),
        )
        .unwrap()
    }

    fn values(picture: &Picture) -> Vec<u8> {
        (0..picture.height())
            .flat_map(|y| picture.row(y).iter().map(|pixel| pixel[0]))
            .collect()
    }

    #[test]
    fn turning_moves_every_pixel() {
        let left = sample().turned_left();
        assert_eq!((left.width(), left.height()), (2, 3));
        assert_eq!(values(&left), [3, 6, 2, 5, 1, 4]);
        assert_eq!(values(&sample().turned_over()), [6, 5, 4, 3, 2, 1]);
        assert_eq!(left.turned_left(), sample().turned_over());
    }

    #[test]
    fn beyond_the_edge_is_the_nearest_pixel() {
        let picture = sample();
        assert_eq!(picture.nearest(-5, -5), [1; 3]);
        assert_eq!(picture.nearest(9, 1), [6; 3]);
        assert_eq!(picture.nearest(1, 0), [2; 3]);
    }

    #[test]
    fn margins_are_black() {
        let wide = sample().with_margins(1);
        assert_eq!(values(&wide), [0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0]);
    }

    #[test]
    fn sizes_are_checked() {
        assert!(Picture::new(2, 2, vec![0; 11]).is_err());
        assert!(Picture::new(0, 2, vec![]).is_err());
        assert_eq!(Picture::filled(0, 0, [1; 3]).width(), 1);
    }
}
