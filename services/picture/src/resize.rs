//! Resizes pictures, with the kernels that models were trained on.
//!
//! Rows and columns are resampled apart: each output has a short list of weights over neighbouring
//! inputs. Rows are made as they are needed, so that no intermediate picture is held.

use std::collections::VecDeque;

use crate::{Picture, Rgb};

/// How neighbouring pixels are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Between the two nearest, however much smaller the result is: OpenCV's `INTER_LINEAR`.
    Linear,
    /// Over the eight nearest, likewise: OpenCV's `INTER_LANCZOS4`.
    Lanczos4,
    /// A triangle as wide as an output pixel: Pillow's `BILINEAR`, which averages when it shrinks.
    Triangle,
}

/// The picture at another size, at least one pixel.
#[must_use]
pub fn resize(picture: &Picture, width: usize, height: usize, kernel: Kernel) -> Picture {
    let mut resized = Picture::filled(width, height, [0; 3]);
    resample(picture, width, height, kernel, |y, row| {
        for (x, pixel) in row.iter().enumerate() {
            resized.set(x, y, pixel.map(byte));
        }
    });
    resized
}

/// Gives each row of the picture at another size to `take`, from top to bottom; values are from 0 to 255
/// or a little beyond, and not rounded.
pub fn resample(
    picture: &Picture,
    width: usize,
    height: usize,
    kernel: Kernel,
    mut take: impl FnMut(usize, &[[f32; 3]]),
) {
    let columns = weights(picture.width(), width.max(1), kernel);
    let rows = weights(picture.height(), height.max(1), kernel);
    let mut kept: VecDeque<(usize, Vec<[f32; 3]>)> = VecDeque::new();
    let mut sum = vec![[0.0; 3]; columns.len()];
    for (y, (first, shares)) in rows.iter().enumerate() {
        while kept.front().is_some_and(|(row, _)| row < first) {
            kept.pop_front();
        }
        let next = kept.back().map_or(*first, |(row, _)| row + 1);
        for row in next..first + shares.len() {
            kept.push_back((row, across(picture.row(row), &columns)));
        }
        sum.fill([0.0; 3]);
        for ((_, row), share) in kept.iter().zip(shares) {
            for (sum, value) in sum.iter_mut().zip(row) {
                for (sum, value) in sum.iter_mut().zip(value) {
                    *sum += share * value;
                }
            }
        }
        take(y, &sum);
    }
}

/// The first input that an output is made of, and the share of each from there on.
type Weights = (usize, Vec<f32>);

fn across(row: &[Rgb], columns: &[Weights]) -> Vec<[f32; 3]> {
    columns
        .iter()
        .map(|(first, shares)| {
            let mut sum = [0.0; 3];
            let pixels = row.get(*first..).unwrap_or(&[]);
            for (pixel, share) in pixels.iter().zip(shares) {
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += share * f32::from(*value);
                }
            }
            sum
        })
        .collect()
}

fn weights(from: usize, to: usize, kernel: Kernel) -> Vec<Weights> {
    let scale = real(from) / real(to);
    (0..to)
        .map(|output| {
            let centre = (real(output) + 0.5) * scale;
            match kernel {
                Kernel::Linear => at_edges(from, centre - 0.5, 1, |distance| 1.0 - distance.abs()),
                Kernel::Lanczos4 => at_edges(from, centre - 0.5, 4, lanczos4),
                Kernel::Triangle => triangle(from, centre, scale.max(1.0)),
            }
        })
        .collect()
}

/// The `2 * reach` nearest inputs; where there are none, the edge counts instead.
fn at_edges(count: usize, place: f64, reach: i64, share: impl Fn(f64) -> f64) -> Weights {
    let before = whole(place.floor());
    let last = i64::try_from(count).unwrap_or(i64::MAX) - 1;
    let first = (before - reach + 1).clamp(0, last);
    let end = (before + reach).clamp(0, last);
    let mut shares = vec![0.0; usize::try_from(end - first + 1).unwrap_or(1)];
    let mut sum = 0.0;
    for input in before - reach + 1..=before + reach {
        let value = share(place - signed(input));
        sum += value;
        let index = usize::try_from(input.clamp(first, end) - first).unwrap_or(0);
        if let Some(place) = shares.get_mut(index) {
            *place += value;
        }
    }
    let shares = shares.iter().map(|share| single(share / sum)).collect();
    (usize::try_from(first).unwrap_or(0), shares)
}

fn lanczos4(distance: f64) -> f64 {
    let x = distance * std::f64::consts::PI;
    if x.abs() < 1e-9 {
        1.0
    } else if distance.abs() < 4.0 {
        4.0 * x.sin() * (x / 4.0).sin() / (x * x)
    } else {
        0.0
    }
}

/// Inputs under the triangle; those beyond the edges are left out.
fn triangle(count: usize, centre: f64, half: f64) -> Weights {
    let inside = |at: f64| usize::try_from(whole(at).max(0)).unwrap_or(0).min(count);
    let first = inside((centre - half + 0.5).floor());
    let end = inside((centre + half + 0.5).floor()).max(first + 1);
    let share = |input: usize| (1.0 - ((real(input) - centre + 0.5) / half).abs()).max(0.0);
    let sum: f64 = (first..end).map(share).sum();
    let shares = (first..end).map(|input| single(share(input) / sum));
    (first, shares.collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and within the range first"
)]
fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sides of pictures are far below 2^53"
)]
fn real(number: usize) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sides of pictures are far below 2^53"
)]
fn signed(number: i64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number near the side of a picture"
)]
fn whole(number: f64) -> i64 {
    number as i64
}

#[expect(clippy::cast_possible_truncation, reason = "shares need no more")]
fn single(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Picture {
        let mut picture = Picture::filled(width, height, [0; 3]);
        for y in 0..height {
            for x in 0..width {
                let value = u8::try_from((x * 37 + y * 11) % 256).unwrap();
                picture.set(x, y, [value, 255 - value, 7]);
            }
        }
        picture
    }

    fn reds(picture: &Picture) -> Vec<u8> {
        (0..picture.height())
            .flat_map(|y| picture.row(y).iter().map(|pixel| pixel[0]))
            .collect()
    }

    /// Expected values are from OpenCV and Pillow on the same picture.
    #[test]
    fn equals_the_reference_libraries() {
        let picture = ramp(6, 4);
        for (kernel, width, height, expected) in EXPECTED {
            let found = reds(&resize(&picture, *width, *height, *kernel));
            let close = found
                .iter()
                .zip(*expected)
                .all(|(found, expected)| found.abs_diff(*expected) <= 1);
            assert!(
                close && found.len() == expected.len(),
                "{kernel:?} {width} x {height}: {found:?}"
            );
        }
    }

    #[test]
    fn one_size_and_one_colour_stay() {
        for kernel in [Kernel::Linear, Kernel::Lanczos4, Kernel::Triangle] {
            let picture = ramp(9, 5);
            assert_eq!(resize(&picture, 9, 5, kernel), picture, "{kernel:?}");
            let plain = Picture::filled(13, 2, [9, 99, 199]);
            for (width, height) in [(1, 1), (40, 31), (5, 1)] {
                let resized = resize(&plain, width, height, kernel);
                assert_eq!(resized, Picture::filled(width, height, [9, 99, 199]));
            }
        }
    }

    const EXPECTED: &[(Kernel, usize, usize, &[u8])] = &[
        (
            Kernel::Linear,
            4,
            3,
            &[11, 66, 122, 177, 26, 81, 137, 192, 40, 96, 151, 207],
        ),
        (
            Kernel::Linear,
            9,
            5,
            &[
                0, 18, 43, 68, 92, 117, 142, 166, 185, 8, 26, 51, 75, 100, 125, 150, 174, 192, 17,
                35, 60, 84, 109, 134, 158, 183, 202, 25, 44, 68, 93, 118, 142, 167, 192, 210, 33,
                51, 76, 101, 125, 150, 175, 199, 218,
            ],
        ),
        (
            Kernel::Lanczos4,
            4,
            3,
            &[8, 66, 121, 180, 23, 82, 136, 195, 38, 97, 152, 210],
        ),
        (
            Kernel::Lanczos4,
            9,
            5,
            &[
                0, 15, 44, 68, 92, 117, 140, 169, 187, 5, 23, 52, 75, 100, 124, 148, 177, 195, 14,
                32, 61, 84, 109, 133, 157, 186, 204, 23, 41, 70, 94, 118, 143, 167, 195, 213, 31,
                49, 78, 102, 126, 151, 174, 203, 221,
            ],
        ),
        (Kernel::Triangle, 3, 2, &[34, 101, 167, 51, 118, 184]),
        (
            Kernel::Triangle,
            9,
            5,
            &[
                0, 19, 43, 68, 93, 117, 142, 167, 185, 8, 27, 51, 76, 101, 125, 150, 175, 193, 17,
                36, 60, 85, 110, 134, 159, 184, 202, 25, 44, 68, 93, 118, 142, 167, 192, 210, 33,
                52, 76, 101, 126, 150, 175, 200, 218,
            ],
        ),
        (
            Kernel::Triangle,
            4,
            3,
            &[17, 69, 122, 174, 31, 83, 136, 188, 44, 96, 149, 201],
        ),
    ];
}
