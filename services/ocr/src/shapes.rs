//! The plane geometry behind finding lines: hulls, the smallest rectangle around points, widening it.
//!
//! Points are centres of pixels, as in OpenCV, whose functions these follow.

/// A place, to the right and downwards.
pub type Point = [f64; 2];

/// A rectangle at any angle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rectangle {
    /// Upper left, upper right, lower right, lower left, as far as the angle allows to say.
    pub corners: [Point; 4],
    /// The length of its shorter side.
    pub shorter: f64,
}

/// The convex hull of points, counter-clockwise on paper, without points on its edges.
#[must_use]
pub fn hull(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let mut hull: Vec<Point> = Vec::new();
    for pass in 0..2 {
        let start = hull.len();
        let mut add = |point: Point| {
            while let [.., before, last] = hull.as_slice()
                && hull.len() >= start + 2
                && cross(*before, *last, point) <= 0.0
            {
                hull.pop();
            }
            hull.push(point);
        };
        if pass == 0 {
            points.iter().for_each(|point| add(*point));
        } else {
            points.iter().rev().for_each(|point| add(*point));
        }
        // It is the other half's first point too.
        hull.pop();
    }
    hull
}

fn cross(o: Point, a: Point, b: Point) -> f64 {
    (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
}

/// The smallest rectangle around a hull, of those along one of its edges.
#[must_use]
pub fn smallest_rectangle(hull: &[Point]) -> Option<Rectangle> {
    let next = hull.iter().cycle().skip(1);
    let edges = hull.iter().zip(next).map(|(from, to)| {
        let along = [to[0] - from[0], to[1] - from[1]];
        let length = along[0].hypot(along[1]);
        if length > 0.0 {
            [along[0] / length, along[1] / length]
        } else {
            [1.0, 0.0]
        }
    });
    let mut best: Option<(f64, Rectangle)> = None;
    for along in edges {
        let across = [-along[1], along[0]];
        let (left, right) = extent(hull, along);
        let (top, bottom) = extent(hull, across);
        let (width, height) = (right - left, bottom - top);
        if best.is_none_or(|(area, _)| width * height < area) {
            let corner =
                |a: f64, b: f64| [along[0] * a + across[0] * b, along[1] * a + across[1] * b];
            let corners = [
                corner(left, top),
                corner(right, top),
                corner(right, bottom),
                corner(left, bottom),
            ];
            let rectangle = Rectangle {
                corners: ordered(corners),
                shorter: width.min(height),
            };
            best = Some((width * height, rectangle));
        }
    }
    best.map(|(_, rectangle)| rectangle)
}

/// The least and the greatest coordinate along a direction.
fn extent(points: &[Point], along: Point) -> (f64, f64) {
    points
        .iter()
        .map(|point| point[0] * along[0] + point[1] * along[1])
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), at| {
            (least.min(at), most.max(at))
        })
}

/// Four corners as upper left, upper right, lower right, lower left: the two on the left, then the two
/// on the right, each pair from top to bottom.
#[must_use]
pub fn ordered(mut corners: [Point; 4]) -> [Point; 4] {
    corners.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [
        mut upper_left,
        mut lower_left,
        mut upper_right,
        mut lower_right,
    ] = corners;
    if lower_left[1] < upper_left[1] {
        (upper_left, lower_left) = (lower_left, upper_left);
    }
    if lower_right[1] < upper_right[1] {
        (upper_right, lower_right) = (lower_right, upper_right);
    }
    [upper_left, upper_right, lower_right, lower_left]
}

/// The smallest rectangle around everything at most `share` of area over perimeter away from a polygon.
///
/// Lines are found smaller than they are: the detecting model was trained on text shrunk by this rule.
#[must_use]
pub fn widened(corners: &[Point; 4], share: f64) -> Option<Rectangle> {
    // The reference's library computes in whole pixels.
    let corners = corners.map(|corner| corner.map(f64::trunc));
    let distance = area(&corners) / perimeter(&corners).max(1e-9) * share;
    let around = corners.iter().flat_map(|[x, y]| {
        (0..STEPS).map(move |step| {
            let (sine, cosine) =
                (f64::from(step) * std::f64::consts::TAU / f64::from(STEPS)).sin_cos();
            [
                (x + distance * cosine).round(),
                (y + distance * sine).round(),
            ]
        })
    });
    smallest_rectangle(&hull(around.collect()))
}

/// Points on each round corner.
const STEPS: u8 = 64;

fn sides(corners: &[Point; 4]) -> impl Iterator<Item = (Point, Point)> {
    let [a, b, c, d] = *corners;
    [(a, b), (b, c), (c, d), (d, a)].into_iter()
}

fn area(corners: &[Point; 4]) -> f64 {
    let twice: f64 = sides(corners).map(|(a, b)| a[0] * b[1] - a[1] * b[0]).sum();
    twice.abs() / 2.0
}

fn perimeter(corners: &[Point; 4]) -> f64 {
    sides(corners).map(|(a, b)| distance(a, b)).sum()
}

/// How far apart two places are.
#[must_use]
pub fn distance(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The mean of a map of `width` columns over the pixels in and on a convex polygon; 0 if it has none.
#[must_use]
pub fn mean_inside(map: &[f32], width: usize, corners: &[Point; 4]) -> f64 {
    let height = map.len() / width.max(1);
    let corners = corners.map(|corner| corner.map(f64::trunc));
    let (top, bottom) = extent(&corners, [0.0, 1.0]);
    let (mut sum, mut count) = (0.0_f64, 0_u32);
    for y in whole(top)..(whole(bottom) + 1).min(height) {
        let Some((left, right)) = crossing(&corners, real(y)) else {
            continue;
        };
        let row = map.get(y * width..(y + 1) * width).unwrap_or(&[]);
        let inside = row
            .get(whole(left.round())..(whole(right.round()) + 1).min(width))
            .unwrap_or(&[]);
        sum += inside.iter().map(|value| f64::from(*value)).sum::<f64>();
        count += u32::try_from(inside.len()).unwrap_or(0);
    }
    sum / f64::from(count.max(1))
}

/// From where to where a polygon covers a row of pixels.
fn crossing(corners: &[Point; 4], y: f64) -> Option<(f64, f64)> {
    let (top, bottom) = (y - 0.5, y + 0.5);
    let mut found: Option<(f64, f64)> = None;
    for (a, b) in sides(corners) {
        let (upper, lower) = if a[1] <= b[1] { (a, b) } else { (b, a) };
        if lower[1] < top || upper[1] > bottom {
            continue;
        }
        for at in [upper[1].max(top), lower[1].min(bottom)] {
            let rise = lower[1] - upper[1];
            let share = if rise > 0.0 {
                (at - upper[1]) / rise
            } else {
                0.0
            };
            let ends = if rise > 0.0 {
                let x = upper[0] + share * (lower[0] - upper[0]);
                (x, x)
            } else {
                (upper[0].min(lower[0]), upper[0].max(lower[0]))
            };
            found = Some(found.map_or(ends, |(left, right)| (left.min(ends.0), right.max(ends.1))));
        }
    }
    found
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sides of pictures are far below 2^53"
)]
pub(crate) fn real(number: usize) -> f64 {
    number as f64
}

/// The whole part; 0 below.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the whole part is wanted, and negative numbers become 0"
)]
pub(crate) fn whole(number: f64) -> usize {
    number.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: [Point; 4], expected: [Point; 4], by: f64) {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                distance(*found, expected) <= by,
                "{found:?}, not {expected:?}"
            );
        }
    }

    #[test]
    fn a_hull_has_corners_only() {
        let grid = (0..5).flat_map(|x| (0..4).map(move |y| [f64::from(x), f64::from(y)]));
        let mut found = hull(grid.collect());
        found.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        assert_eq!(found, [[0.0, 0.0], [0.0, 3.0], [4.0, 0.0], [4.0, 3.0]]);
        assert_eq!(hull(vec![[1.0, 1.0], [1.0, 1.0]]), [[1.0, 1.0]]);
        let line = hull((0..9).map(|x| [f64::from(x), f64::from(x)]).collect());
        assert_eq!(line.len(), 2);
        assert!(hull(vec![]).is_empty() && smallest_rectangle(&[]).is_none());
    }

    #[test]
    fn the_smallest_rectangle_leans_with_its_points() {
        let flat = smallest_rectangle(&hull(vec![
            [2.0, 1.0],
            [12.0, 1.0],
            [12.0, 5.0],
            [2.0, 5.0],
            [7.0, 2.0],
        ]))
        .unwrap();
        close(
            flat.corners,
            [[2.0, 1.0], [12.0, 1.0], [12.0, 5.0], [2.0, 5.0]],
            1e-9,
        );
        assert!((flat.shorter - 4.0).abs() < 1e-9);
        let leaning = [[0.0, 10.0], [30.0, 0.0], [33.0, 9.0], [3.0, 19.0]];
        let found = smallest_rectangle(&hull(leaning.to_vec())).unwrap();
        close(found.corners, leaning, 1e-9);
        assert!((found.shorter - 90.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn widening_adds_the_same_on_all_sides() {
        let corners = [[10.0, 10.0], [110.0, 10.0], [110.0, 30.0], [10.0, 30.0]];
        // 100 * 20 / 240 * 1.6 = 13.3.
        let found = widened(&corners, 1.6).unwrap();
        close(
            found.corners,
            [[-3.0, -3.0], [123.0, -3.0], [123.0, 43.0], [-3.0, 43.0]],
            0.8,
        );
    }

    #[test]
    fn the_mean_counts_the_edge_too() {
        let mut map = vec![0.0_f32; 8 * 6];
        for y in 1..4 {
            for x in 2..6 {
                map[y * 8 + x] = 1.0;
            }
        }
        let inner = [[2.0, 1.0], [5.0, 1.0], [5.0, 3.0], [2.0, 3.0]];
        assert!((mean_inside(&map, 8, &inner) - 1.0).abs() < 1e-9);
        let outer = [[1.0, 0.0], [6.0, 0.0], [6.0, 4.0], [1.0, 4.0]];
        assert!((mean_inside(&map, 8, &outer) - 12.0 / 30.0).abs() < 1e-9);
        let outside = [[-9.0, -9.0], [90.0, -9.0], [90.0, 90.0], [-9.0, 90.0]];
        assert!((mean_inside(&map, 8, &outside) - 12.0 / 48.0).abs() < 1e-9);
        assert!(mean_inside(&[], 0, &inner).abs() < 1e-9);
    }
}
