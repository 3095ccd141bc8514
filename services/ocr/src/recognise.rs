//! Reading a straight line: whether it is upside down, and what it says.

use picture::{Kernel, Picture, resample};

/// The height at which the models look at lines.
const HEIGHT: usize = 48;
/// The width at which the model for upside-down lines looks.
pub const SIDE_WIDTH: usize = 192;
/// That model's input.
pub const SIDE_SHAPE: [u32; 4] = [1, 3, 48, 192];

/// Widths at which lines are read. Few, because an engine plans a run for each: a line is filled up to
/// the next, and squeezed into the last.
const WIDTHS: [usize; 8] = [320, 480, 640, 960, 1280, 1920, 2560, 3840];

/// The width at which to read a line.
#[must_use]
pub fn width(strip: &Picture) -> usize {
    let needed = scaled(strip);
    let fits = WIDTHS.into_iter().find(|width| *width >= needed);
    fits.unwrap_or(WIDTHS[WIDTHS.len() - 1])
}

/// The reading model's input at this width.
#[must_use]
pub fn shape(width: usize) -> [u32; 4] {
    [1, 3, 48, u32::try_from(width).unwrap_or(u32::MAX)]
}

/// A line at the models' height, grey on the right up to `width`: blue, green and red planes from -1 to 1.
#[must_use]
pub fn input(strip: &Picture, width: usize) -> Vec<f32> {
    let filled = scaled(strip).clamp(1, width);
    let mut planes = vec![0.0; 3 * HEIGHT * width];
    resample(strip, filled, HEIGHT, Kernel::Linear, |y, row| {
        for plane in 0..3 {
            let start = (plane * HEIGHT + y) * width;
            let places = planes.get_mut(start..start + filled).unwrap_or_default();
            for (place, pixel) in places.iter_mut().zip(row) {
                *place = pixel[2 - plane].round() / 127.5 - 1.0;
            }
        }
    });
    planes
}

/// The width that keeps the line's proportions, rounded up.
fn scaled(strip: &Picture) -> usize {
    (HEIGHT * strip.width()).div_ceil(strip.height())
}

/// Whether the model is sure that the line is upside down.
///
/// # Errors
/// If there are not two probabilities: another model is installed.
pub fn is_upside_down(sides: &[f32]) -> Result<bool, String> {
    match sides {
        [_, over] => Ok(*over > 0.9),
        _ => Err("the model for upside-down lines returned no two numbers".to_owned()),
    }
}

/// The least confidence that a caller wants.
///
/// # Errors
/// If it is no probability.
pub fn least(wanted: Option<f32>) -> Result<f32, String> {
    let least = wanted.unwrap_or(0.5);
    if (0.0..=1.0).contains(&least) {
        return Ok(least);
    }
    Err(format!(
        "`min_confidence` is {least}: send a number from 0 to 1"
    ))
}

/// The text that the model's scores spell, and the mean score of its characters.
///
/// At each place the best class counts; a class that follows itself, and the blank, spell nothing.
///
/// # Errors
/// If the scores are not of this model's classes.
pub fn decode(scores: &[f32]) -> Result<(String, f32), String> {
    let (places, rest) = scores.as_chunks::<CLASSES>();
    if places.is_empty() || !rest.is_empty() {
        return Err("the reading model's scores are not of its characters".to_owned());
    }
    let (mut text, mut sum, mut count) = (String::new(), 0.0_f32, 0_u16);
    let mut before = BLANK;
    for place in places {
        let (class, score) = best(place);
        if class != BLANK && class != before {
            text.push(character(class));
            sum += score;
            count = count.saturating_add(1);
        }
        before = class;
    }
    Ok((text, sum / f32::from(count.max(1))))
}

fn best(scores: &[f32; CLASSES]) -> (usize, f32) {
    let mut best = (BLANK, f32::NEG_INFINITY);
    for (class, score) in scores.iter().enumerate() {
        if *score > best.1 {
            best = (class, *score);
        }
    }
    best
}

/// What a class spells: the model's characters follow the blank, and a space follows them.
fn character(class: usize) -> char {
    CHARACTERS.get(class - 1).copied().unwrap_or(' ')
}

const BLANK: usize = 0;
const CLASSES: usize = CHARACTERS.len() + 2;

/// The characters that the model knows, in its order.
static CHARACTERS: [char; 6_623] = include!(concat!(env!("OUT_DIR"), "/characters.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(classes: &[(usize, f32)]) -> Vec<f32> {
        let mut all = vec![0.0; classes.len() * CLASSES];
        for (place, (class, score)) in classes.iter().enumerate() {
            all[place * CLASSES + class] = *score;
        }
        all
    }

    fn class(wanted: char) -> usize {
        CHARACTERS.iter().position(|c| *c == wanted).unwrap() + 1
    }

    #[test]
    fn repeats_and_blanks_spell_nothing() {
        let (a, b, space) = (class('a'), class('b'), CLASSES - 1);
        let found = decode(&scores(&[
            (a, 0.9),
            (a, 0.1),
            (BLANK, 0.9),
            (a, 0.7),
            (space, 0.8),
            (b, 0.6),
        ]));
        let (text, confidence) = found.unwrap();
        assert_eq!(text, "aa b");
        assert!((confidence - 0.75).abs() < 1e-6);
        assert_eq!(decode(&scores(&[(BLANK, 1.0)])), Ok((String::new(), 0.0)));
        assert!(decode(&[0.0; 7]).is_err() && decode(&[]).is_err());
    }

    #[test]
    fn lines_have_few_widths() {
        for (width, height, expected) in [
            (10, 48, 320),
            (320, 48, 320),
            (321, 48, 480),
            (400, 40, 480),
            (2_000, 10, 3_840),
        ] {
            let strip = Picture::filled(width, height, [0; 3]);
            assert_eq!(super::width(&strip), expected, "{width} x {height}");
        }
    }

    #[test]
    fn a_line_is_filled_up_with_grey() {
        let planes = input(&Picture::filled(24, 12, [255, 127, 0]), 320);
        assert_eq!(planes.len(), 3 * 48 * 320);
        let at = |plane: usize, x: usize| planes[(plane * 48 + 7) * 320 + x];
        assert!((at(0, 95) + 1.0).abs() < 1e-6 && (at(2, 95) - 1.0).abs() < 1e-6);
        assert_eq!((at(0, 96), at(2, 319)), (0.0, 0.0));
    }

    #[test]
    fn only_a_sure_model_turns_a_line() {
        assert_eq!(is_upside_down(&[0.1, 0.9]), Ok(false));
        assert_eq!(is_upside_down(&[0.05, 0.95]), Ok(true));
        assert!(is_upside_down(&[]).is_err());
        assert!(least(Some(1.5)).is_err() && least(None) == Ok(0.5));
    }
}
