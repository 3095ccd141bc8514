//! Finding lines: what the detecting model sees, and how its map becomes boxes.
//!
//! The model gives each pixel a probability of belonging to the inner part of a line. Connected pixels
//! make a line; its box is the smallest rectangle around them, widened. Sizes, thresholds and order are
//! the reference's, `rapidocr-onnxruntime`. Not as there: bright holes inside a line make no box of
//! their own, and very tall pictures are not blown up without bound.

use picture::{Kernel, Picture, resample, resize};

use crate::shapes::{self, Rectangle, distance, hull, real, smallest_rectangle, whole};

/// The corners of a line in a page's pixels: upper left, upper right, lower right, lower left.
pub type Corners = [[f32; 2]; 4];

/// A page at the size at which lines are looked for.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// The page.
    pub picture: Picture,
    scale: [f64; 2],
    margin: usize,
}

impl Reduced {
    /// Where a place of this page is on the page as it came.
    #[must_use]
    pub fn original(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            single(f64::from(x) * self.scale[0]),
            single((f64::from(y) - real(self.margin)) * self.scale[1]),
        ]
    }
}

/// Makes a large page smaller and a tiny one larger, and gives a narrow strip margins: the model knows no
/// such pictures.
#[must_use]
pub fn reduce(page: Picture) -> Reduced {
    let size = |page: &Picture| [real(page.width()), real(page.height())];
    let came = size(&page);
    let mut picture = page;
    let longer = picture.width().max(picture.height());
    if longer > LONGER_MAX {
        picture = scaled(&picture, real(LONGER_MAX) / real(longer));
    }
    let shorter = picture.width().min(picture.height());
    if shorter < SHORTER_MIN {
        picture = scaled(&picture, real(SHORTER_MIN) / real(shorter));
    }
    let [width, height] = size(&picture);
    let mut margin = 0;
    if picture.height() <= SHORTER_MIN || width / height > 8.0 {
        let wanted = (picture.width() / 8).max(SHORTER_MIN) * 2;
        margin = wanted.abs_diff(picture.height()) / 2;
        picture = picture.with_margins(margin);
    }
    Reduced {
        picture,
        scale: [came[0] / width, came[1] / height],
        margin,
    }
}

fn scaled(page: &Picture, by: f64) -> Picture {
    let side = |pixels: usize| multiple(real(pixels) * by);
    resize(
        page,
        side(page.width()),
        side(page.height()),
        Kernel::Linear,
    )
}

/// The nearest multiple of 32, at least that.
fn multiple(pixels: f64) -> usize {
    whole((pixels.trunc() / 32.0).round_ties_even() * 32.0).max(32)
}

/// The detecting model's input: its shape, and blue, green and red planes from -1 to 1.
#[must_use]
pub fn input(page: &Picture) -> ([u32; 4], Vec<f32>) {
    let shorter = page.width().min(page.height());
    let wanted = (real(DETECT_SHORTER_MIN) / real(shorter)).max(1.0);
    let most = (DETECT_PIXELS_MAX / (real(page.width()) * real(page.height()))).sqrt();
    let by = wanted.min(most.max(1.0));
    let width = multiple(real(page.width()) * by);
    let height = multiple(real(page.height()) * by);
    let mut planes = vec![0.0; 3 * width * height];
    resample(page, width, height, Kernel::Linear, |y, row| {
        for plane in 0..3 {
            let start = (plane * height + y) * width;
            let places = planes.get_mut(start..start + width).unwrap_or_default();
            for (place, pixel) in places.iter_mut().zip(row) {
                *place = pixel[2 - plane].round() / 127.5 - 1.0;
            }
        }
    });
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    ([1, 3, side(height), side(width)], planes)
}

/// The lines of a page in reading order, from the model's map for an input of `shape`.
///
/// # Errors
/// If the map has another size: another model is installed.
pub fn lines(map: &[f32], shape: [u32; 4], page: &Picture) -> Result<Vec<Corners>, String> {
    let side = |pixels: u32| usize::try_from(pixels).unwrap_or(0);
    let (height, width) = (side(shape[2]), side(shape[3]));
    if width == 0 || map.len() != width * height {
        return Err(format!(
            "the detecting model returned {} numbers for {width} x {height} pixels",
            map.len()
        ));
    }
    let to_page = [
        real(page.width()) / real(width),
        real(page.height()) / real(height),
    ];
    let edge = [page.width(), page.height()];
    let mut found: Vec<Corners> = regions(map, width)
        .into_iter()
        .take(REGIONS_MAX)
        .filter_map(|points| rectangle(map, width, points))
        .filter_map(|rectangle| on_page(&rectangle, to_page, edge))
        .collect();
    sort(&mut found);
    Ok(found)
}

/// The widened box of a region, if it is large enough and the map sure enough of it.
fn rectangle(map: &[f32], width: usize, points: Vec<shapes::Point>) -> Option<Rectangle> {
    let inner = smallest_rectangle(&hull(points))?;
    if inner.shorter < SHORTER_SIDE_MIN
        || shapes::mean_inside(map, width, &inner.corners) < BOX_THRESHOLD
    {
        return None;
    }
    shapes::widened(&inner.corners, UNCLIP_RATIO)
        .filter(|outer| outer.shorter >= SHORTER_SIDE_MIN + 2.0)
}

/// A box of the map in the page's whole pixels, cut at its edges.
fn on_page(rectangle: &Rectangle, scale: [f64; 2], edge: [usize; 2]) -> Option<Corners> {
    let place = |at: f64, axis: usize| {
        let pixels = (at * scale[axis]).round_ties_even();
        pixels.clamp(0.0, real(edge[axis] - 1))
    };
    let corners = rectangle.corners.map(|[x, y]| [place(x, 0), place(y, 1)]);
    let corners = shapes::ordered(corners);
    let [upper_left, upper_right, _, lower_left] = corners;
    let long_enough = |to| whole(distance(upper_left, to)) > 3;
    (long_enough(upper_right) && long_enough(lower_left))
        .then(|| corners.map(|corner| corner.map(single)))
}

/// From top to bottom; of neighbours at nearly one height, the left one first.
fn sort(found: &mut [Corners]) {
    found.sort_by(|[a, ..], [b, ..]| a[1].total_cmp(&b[1]).then(a[0].total_cmp(&b[0])));
    for end in 1..found.len() {
        for at in (1..=end).rev() {
            let ([before, ..], [after, ..]) = (found[at - 1], found[at]);
            if (after[1] - before[1]).abs() >= SAME_HEIGHT || after[0] >= before[0] {
                break;
            }
            found.swap(at - 1, at);
        }
    }
}

/// The regions of connected pixels above the threshold, each by the ends of its runs, which is all that a
/// hull needs. Pixels touch at their corners too.
fn regions(map: &[f32], width: usize) -> Vec<Vec<shapes::Point>> {
    let mut regions = Regions::default();
    let mut above: Vec<(usize, usize, usize)> = Vec::new();
    let mut before: Vec<bool> = vec![false; width];
    for (y, row) in map.chunks_exact(width).enumerate() {
        let bright: Vec<bool> = row.iter().map(|value| *value > THRESHOLD).collect();
        let runs = runs(&widened_row(&bright, &before));
        let mut here = Vec::with_capacity(runs.len());
        for (start, end) in runs {
            let mut label = None;
            for (first, last, other) in &above {
                if *first <= end + 1 && start <= *last + 1 {
                    label = Some(match label {
                        Some(label) => regions.join(label, *other),
                        None => *other,
                    });
                }
            }
            let label = label.unwrap_or_else(|| regions.fresh());
            regions.add(label, [[real(start), real(y)], [real(end), real(y)]]);
            here.push((start, end, label));
        }
        above = here;
        before = bright;
    }
    regions.finish()
}

/// A pixel counts too if the one on its left, above it, or above that one does: the reference widens the
/// map by a square of four before it looks for regions.
fn widened_row(bright: &[bool], before: &[bool]) -> Vec<bool> {
    let either: Vec<bool> = bright.iter().zip(before).map(|(a, b)| *a || *b).collect();
    let left = std::iter::once(&false).chain(&either);
    either.iter().zip(left).map(|(a, b)| *a || *b).collect()
}

/// The first and last index of each run.
fn runs(row: &[bool]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (x, _) in row.iter().enumerate().filter(|(_, on)| **on) {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == x => *end = x,
            _ => runs.push((x, x)),
        }
    }
    runs
}

/// Regions that turn out to be one are joined.
#[derive(Default)]
struct Regions {
    points: Vec<Vec<shapes::Point>>,
    /// The region that each one was joined to, or itself.
    joined: Vec<usize>,
}

impl Regions {
    fn fresh(&mut self) -> usize {
        self.points.push(Vec::new());
        self.joined.push(self.joined.len());
        self.joined.len() - 1
    }

    fn root(&self, mut label: usize) -> usize {
        while let Some(next) = self.joined.get(label).filter(|next| **next != label) {
            label = *next;
        }
        label
    }

    fn join(&mut self, a: usize, b: usize) -> usize {
        let (a, b) = (self.root(a), self.root(b));
        let (keep, give) = if a < b { (a, b) } else { (b, a) };
        if keep != give {
            let given = self.points.get_mut(give).map(std::mem::take);
            if let (Some(points), Some(given)) = (self.points.get_mut(keep), given) {
                points.extend(given);
            }
            if let Some(joined) = self.joined.get_mut(give) {
                *joined = keep;
            }
        }
        keep
    }

    fn add(&mut self, label: usize, points: [shapes::Point; 2]) {
        let root = self.root(label);
        if let Some(place) = self.points.get_mut(root) {
            place.extend(points);
        }
    }

    fn finish(self) -> Vec<Vec<shapes::Point>> {
        let mut found = self.points;
        found.retain(|points| !points.is_empty());
        found
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "places in a picture need no more"
)]
fn single(number: f64) -> f32 {
    number as f32
}

/// Longer sides are reduced.
const LONGER_MAX: usize = 2_000;
/// Shorter sides are enlarged.
const SHORTER_MIN: usize = 30;
/// The shorter side that the model wants at least.
const DETECT_SHORTER_MIN: usize = 736;
/// The most pixels to which a page is enlarged for the model.
const DETECT_PIXELS_MAX: f64 = 4_500_000.0;
/// Above this probability a pixel belongs to a line.
const THRESHOLD: f32 = 0.3;
/// A box's mean probability is at least this.
const BOX_THRESHOLD: f64 = 0.5;
/// How far a box is widened, in areas over perimeters.
const UNCLIP_RATIO: f64 = 1.6;
/// The shorter side of a box in the map is at least this.
const SHORTER_SIDE_MIN: f64 = 3.0;
/// Regions that are looked at.
const REGIONS_MAX: usize = 1_000;
/// Boxes whose tops are less apart stand beside each other.
const SAME_HEIGHT: f32 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_references() {
        let size = |width, height| {
            let reduced = reduce(Picture::filled(width, height, [255; 3]));
            let (shape, planes) = input(&reduced.picture);
            assert_eq!(planes.len(), (3 * shape[2] * shape[3]) as usize);
            let picture = &reduced.picture;
            ((picture.width(), picture.height()), (shape[3], shape[2]))
        };
        assert_eq!(size(384, 191), ((384, 191), (1_472, 736)));
        assert_eq!(size(1_000, 800), ((1_000, 800), (992, 800)));
        assert_eq!(size(3_000, 2_000), ((1_984, 1_344), (1_984, 1_344)));
        assert_eq!(size(200, 20), ((288, 72), (2_944, 736)));
        assert_eq!(size(900, 100), ((900, 224), (2_944, 736)));
        // Not blown up to 736 pixels of width.
        let (_, (width, height)) = size(40, 2_000);
        assert!(width * height <= 5_000_000, "{width} x {height}");
    }

    #[test]
    fn places_are_found_again() {
        let reduced = reduce(Picture::filled(3_968, 400, [0; 3]));
        let picture = &reduced.picture;
        assert_eq!((picture.width(), picture.height()), (1_984, 496));
        assert_eq!(reduced.original([0.0, 152.0]), [0.0, 0.0]);
        assert_eq!(reduced.original([992.0, 248.0]), [1_984.0, 200.0]);
    }

    /// A map as text: `#` is sure, `+` above the threshold.
    fn map(text: &[&str]) -> (Vec<f32>, usize) {
        let value = |c| match c {
            '#' => 0.9,
            '+' => 0.35,
            _ => 0.0,
        };
        let map = text.iter().flat_map(|row| row.chars().map(value));
        (map.collect(), text[0].len())
    }

    #[test]
    fn pixels_that_touch_are_one_region() {
        let (map, width) = self::map(&[
            "##....#....",
            "..##.......",
            ".......##.#",
            "#.....#..#.",
            "........#..",
        ]);
        // Each is widened to the right and downwards, and then touches more.
        assert_eq!(regions(&map, width).len(), 2);
        let (joined, width) = self::map(&["#.......#", "#.......#", "#.......#", "#########"]);
        assert_eq!(regions(&joined, width).len(), 1);
        let (apart, width) = self::map(&["##...##", "##...##", ".......", ".......", "...##.."]);
        assert_eq!(regions(&apart, width).len(), 3);
    }

    #[test]
    fn a_bright_bar_is_a_line() {
        let width = 96;
        let mut map = vec![0.0; width * 64];
        for y in 20..30 {
            for x in 10..70 {
                map[y * width + x] = 0.9;
            }
        }
        // A second one, too faint, and a third, too small.
        for x in 10..70 {
            (40..46).for_each(|y| map[y * width + x] = 0.4);
        }
        map[60 * width + 80] = 0.9;
        let page = Picture::filled(192, 128, [0; 3]);
        let found = lines(&map, [1, 3, 64, 96], &page).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        // Widened by 60 * 10 / 140 * 1.6 = 6.9 pixels of the map, of which each is two of the page.
        let expected = [[6.0, 26.0], [154.0, 26.0], [154.0, 74.0], [6.0, 74.0]];
        for (found, expected) in found[0].iter().zip(expected) {
            for (found, expected) in found.iter().zip(expected) {
                let apart: f32 = found - expected;
                assert!(apart.abs() <= 2.0, "{found} is not {expected}");
            }
        }
        assert!(lines(&map, [1, 3, 64, 95], &page).is_err());
    }

    #[test]
    fn lines_are_read_from_the_top_and_from_the_left() {
        let at = |x: f32, y: f32| [[x, y], [x + 9.0, y], [x + 9.0, y + 5.0], [x, y + 5.0]];
        let mut found = vec![at(5.0, 60.0), at(80.0, 2.0), at(4.0, 8.0), at(40.0, 5.0)];
        sort(&mut found);
        let order: Vec<f32> = found.iter().map(|corners| corners[0][0]).collect();
        assert_eq!(order, [4.0, 40.0, 80.0, 5.0]);
    }
}
