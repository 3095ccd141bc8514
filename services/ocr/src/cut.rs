//! Cuts a line out of the page and straightens it.

use picture::{Picture, Rgb};

use crate::detect::Corners;
use crate::shapes::{distance, real, whole};

/// The line between four corners as a picture of its own, the text running to the right; nothing if the
/// corners enclose nothing.
///
/// A line that is much higher than wide is taken as written upwards, as the reference does.
#[must_use]
pub fn strip(page: &Picture, corners: &Corners) -> Option<Picture> {
    let corners = corners.map(|corner| corner.map(f64::from));
    let [upper_left, upper_right, lower_right, lower_left] = corners;
    let longer = |a: f64, b: f64| whole(a.max(b));
    let width = longer(
        distance(upper_left, upper_right),
        distance(lower_right, lower_left),
    );
    let height = longer(
        distance(upper_left, lower_left),
        distance(upper_right, lower_right),
    );
    if width == 0 || height == 0 {
        return None;
    }
    let map = Projection::onto(corners)?;
    let mut strip = Picture::filled(width, height, [0; 3]);
    for y in 0..height {
        for x in 0..width {
            let [from_x, from_y] = map.place(real(x) / real(width), real(y) / real(height));
            strip.set(x, y, cubic(page, from_x, from_y));
        }
    }
    // In whole numbers: higher than one and a half times its width.
    if 2 * height >= 3 * width {
        strip = strip.turned_left();
    }
    Some(strip)
}

/// A projective map from the unit square to four corners.
struct Projection {
    x: [f64; 3],
    y: [f64; 3],
    depth: [f64; 2],
}

impl Projection {
    fn onto([p0, p1, p2, p3]: [[f64; 2]; 4]) -> Option<Self> {
        let far = |axis: usize| {
            (
                p1[axis] - p2[axis],
                p3[axis] - p2[axis],
                p0[axis] - p1[axis] + p2[axis] - p3[axis],
            )
        };
        let ((x1, x2, x3), (y1, y2, y3)) = (far(0), far(1));
        let determinant = x1 * y2 - x2 * y1;
        if determinant.abs() < 1e-9 {
            return None;
        }
        let g = (x3 * y2 - x2 * y3) / determinant;
        let h = (x1 * y3 - x3 * y1) / determinant;
        let along = |axis: usize| {
            [
                p1[axis] - p0[axis] + g * p1[axis],
                p3[axis] - p0[axis] + h * p3[axis],
                p0[axis],
            ]
        };
        Some(Self {
            x: along(0),
            y: along(1),
            depth: [g, h],
        })
    }

    fn place(&self, u: f64, v: f64) -> [f64; 2] {
        let depth = self.depth[0] * u + self.depth[1] * v + 1.0;
        [self.x, self.y].map(|[a, b, c]| (a * u + b * v + c) / depth)
    }
}

/// The colour between pixels, from the sixteen around; OpenCV's `INTER_CUBIC`.
fn cubic(page: &Picture, x: f64, y: f64) -> Rgb {
    let (left, top) = (x.floor(), y.floor());
    let (columns, rows) = (shares(x - left), shares(y - top));
    let (left, top) = (signed(left), signed(top));
    let mut sum = [0.0_f64; 3];
    for (row, share_of_row) in (top - 1..).zip(rows) {
        for (column, share) in (left - 1..).zip(columns) {
            let pixel = page.nearest(column, row);
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += share_of_row * share * f64::from(value);
            }
        }
    }
    sum.map(byte)
}

/// The shares of the pixels one before to two after, for a place a fraction after the second.
fn shares(fraction: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let first = far(fraction + 1.0);
    let second = near(fraction);
    let third = near(1.0 - fraction);
    [first, second, third, 1.0 - first - second - third]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and within the range first"
)]
fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number near the side of a picture"
)]
fn signed(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Picture {
        let mut page = Picture::filled(40, 30, [0; 3]);
        for y in 0..30 {
            for x in 0..40 {
                let value = u8::try_from(x * 5 + y).unwrap();
                page.set(x, y, [value; 3]);
            }
        }
        page
    }

    #[test]
    fn an_upright_line_is_cut_as_it_is() {
        let strip = strip(
            &page(),
            &[[4.0, 6.0], [24.0, 6.0], [24.0, 16.0], [4.0, 16.0]],
        )
        .unwrap();
        assert_eq!((strip.width(), strip.height()), (20, 10));
        for (x, y) in [(0, 0), (19, 9), (7, 3)] {
            assert_eq!(strip.nearest(x, y), page().nearest(x + 4, y + 6));
        }
    }

    #[test]
    fn a_leaning_line_is_straightened() {
        // Down to the right by 45 degrees: along it, both coordinates grow.
        let strip = strip(
            &page(),
            &[[10.0, 5.0], [25.0, 20.0], [20.0, 25.0], [5.0, 10.0]],
        )
        .unwrap();
        assert_eq!((strip.width(), strip.height()), (21, 7));
        let expected = |x: f64, y: f64| {
            let (along, down) = (x / 21.0 * 15.0, y / 7.0 * 5.0);
            (10.0 + along - down) * 5.0 + 5.0 + along + down
        };
        for (x, y) in [(0_u8, 0_u8), (20, 0), (10, 3), (20, 6)] {
            let found = strip.nearest(i64::from(x), i64::from(y))[0];
            let apart = f64::from(found) - expected(f64::from(x), f64::from(y));
            assert!(apart.abs() <= 1.0, "{x}, {y}: {found}");
        }
    }

    #[test]
    fn a_high_line_is_laid_down() {
        let strip = strip(
            &page(),
            &[[4.0, 6.0], [10.0, 6.0], [10.0, 26.0], [4.0, 26.0]],
        )
        .unwrap();
        assert_eq!((strip.width(), strip.height()), (20, 6));
        assert_eq!(strip.nearest(0, 0), page().nearest(9, 6));
    }

    #[test]
    fn nothing_encloses_nothing() {
        assert!(strip(&page(), &[[4.0, 6.0]; 4]).is_none());
        assert!(strip(&page(), &[[0.0, 0.0], [9.0, 9.0], [5.0, 5.0], [2.0, 2.0]]).is_none());
        assert!(shares(0.3).iter().sum::<f64>() - 1.0 < 1e-12);
    }
}
