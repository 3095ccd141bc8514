//! Which way up a page is.

use picture::{Kernel, Picture, resample};

/// The most pixels of a picture.
pub const PIXELS_MAX: u64 = 24_000_000;
/// The orientation model's input.
pub const SHAPE: [u32; 4] = [1, 3, 224, 224];

/// By how much a page is turned clockwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It is upright.
    Upright,
    /// By a quarter: its top is on the right.
    Right,
    /// It is upside down.
    Over,
    /// By three quarters: its top is on the left.
    Left,
}

const ALL: [Turned; 4] = [Turned::Upright, Turned::Right, Turned::Over, Turned::Left];

impl Turned {
    /// The angle, clockwise.
    #[must_use]
    pub fn degrees(self) -> u16 {
        match self {
            Self::Upright => 0,
            Self::Right => 90,
            Self::Over => 180,
            Self::Left => 270,
        }
    }

    /// The picture turned back.
    #[must_use]
    pub fn upright(self, picture: Picture) -> Picture {
        match self {
            Self::Upright => picture,
            Self::Right => picture.turned_left(),
            Self::Over => picture.turned_over(),
            Self::Left => picture.turned_over().turned_left(),
        }
    }
}

/// What the caller knows about the page.
///
/// # Errors
/// If it is no quarter.
pub fn known(degrees: Option<u16>) -> Result<Option<Turned>, String> {
    let Some(degrees) = degrees else {
        return Ok(None);
    };
    let found = ALL.into_iter().find(|turned| turned.degrees() == degrees);
    found
        .map(Some)
        .ok_or_else(|| format!("`rotation` is {degrees}: send 0, 90, 180 or 270"))
}

/// The middle of the picture, its shorter side made 256 pixels, as the model was trained: blue, green and
/// red planes, scaled as photographs usually are.
#[must_use]
pub fn input(picture: &Picture) -> Vec<f32> {
    const SIDE: usize = 224;
    let shorter = picture.width().min(picture.height());
    let scaled = |side: usize| (side * 256 + shorter / 2) / shorter;
    let (width, height) = (scaled(picture.width()), scaled(picture.height()));
    let (left, top) = ((width - SIDE) / 2, (height - SIDE) / 2);
    let mut planes = vec![0.0; 3 * SIDE * SIDE];
    resample(picture, width, height, Kernel::Lanczos4, |y, row| {
        let Some(y) = y.checked_sub(top).filter(|y| *y < SIDE) else {
            return;
        };
        for (x, pixel) in row.iter().skip(left).take(SIDE).enumerate() {
            for (plane, value) in pixel.iter().rev().enumerate() {
                let (mean, deviation) = SCALING[plane];
                let value = value.round().clamp(0.0, 255.0) / 255.0;
                if let Some(place) = planes.get_mut((plane * SIDE + y) * SIDE + x) {
                    *place = (value - mean) / deviation;
                }
            }
        }
    });
    planes
}

/// Mean and deviation of each plane.
const SCALING: [(f32, f32); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];

/// What the model's probabilities amount to. A picture that is no page gets middling ones for all four: it
/// counts as upright.
///
/// # Errors
/// If there are not four: another model is installed.
pub fn turned(probabilities: &[f32]) -> Result<Turned, String> {
    if probabilities.len() != ALL.len() {
        return Err(format!(
            "the orientation model returned {} numbers, not 4",
            probabilities.len()
        ));
    }
    Ok(ALL
        .into_iter()
        .zip(probabilities)
        .find(|(_, probability)| **probability >= SURE)
        .map_or(Turned::Upright, |(turned, _)| turned))
}

/// The model's probabilities for clear pages are about 0.92, and never much higher.
const SURE: f32 = 0.85;

/// From places on the upright page to places in the picture as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    turned: Turned,
    width: f32,
    height: f32,
}

impl Frame {
    /// The frame of a picture of this size as it is shown.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "sides of pictures are far below 2^24"
    )]
    pub fn new(turned: Turned, width: usize, height: usize) -> Self {
        Self {
            turned,
            width: width as f32,
            height: height as f32,
        }
    }

    /// The size of the upright page.
    #[must_use]
    fn upright(&self) -> [f32; 2] {
        match self.turned {
            Turned::Upright | Turned::Over => [self.width, self.height],
            Turned::Right | Turned::Left => [self.height, self.width],
        }
    }

    /// Where a place of the upright page is shown.
    #[must_use]
    pub fn shown(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [width, height] = self.upright();
        let (x, y) = (x.clamp(0.0, width), y.clamp(0.0, height));
        match self.turned {
            Turned::Upright => [x, y],
            Turned::Right => [self.width - y, x],
            Turned::Over => [self.width - x, self.height - y],
            Turned::Left => [y, self.height - x],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sure_model_turns_the_page() {
        assert_eq!(turned(&[0.03, 0.02, 0.93, 0.02]), Ok(Turned::Over));
        assert_eq!(turned(&[0.02, 0.91, 0.05, 0.02]), Ok(Turned::Right));
        assert_eq!(turned(&[0.06, 0.04, 0.84, 0.05]), Ok(Turned::Upright));
        assert!(turned(&[1.0]).is_err());
    }

    #[test]
    fn a_known_rotation_is_a_quarter() {
        assert_eq!(known(None), Ok(None));
        assert_eq!(known(Some(270)), Ok(Some(Turned::Left)));
        assert!(known(Some(45)).unwrap_err().contains("`rotation` is 45"));
    }

    /// A marked pixel of the picture as shown is found again where the upright page has it.
    #[test]
    fn places_are_found_again() {
        let mut shown = Picture::filled(5, 3, [0; 3]);
        shown.set(4, 1, [255; 3]);
        for way in ALL {
            let frame = Frame::new(way, 5, 3);
            let upright = way.upright(shown.clone());
            let mut found = None;
            for y in 0..upright.height() {
                for (x, pixel) in upright.row(y).iter().enumerate() {
                    if pixel[0] == 255 {
                        found = Some([x, y].map(|at| f32::from(u8::try_from(at).unwrap()) + 0.5));
                    }
                }
            }
            assert_eq!(frame.shown(found.unwrap()), [4.5, 1.5], "{way:?}");
        }
    }

    #[test]
    fn the_input_is_scaled() {
        let planes = input(&Picture::filled(640, 300, [255, 0, 128]));
        assert_eq!(planes.len(), 3 * 224 * 224);
        let of = |plane: usize| planes[plane * 224 * 224 + 5];
        assert!((of(0) - (128.0 / 255.0 - 0.485) / 0.229).abs() < 1e-4);
        assert!((of(1) - (0.0 - 0.456) / 0.224).abs() < 1e-4);
        assert!((of(2) - (1.0 - 0.406) / 0.225).abs() < 1e-4);
    }
}
