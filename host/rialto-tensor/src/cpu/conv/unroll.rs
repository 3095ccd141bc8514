//! What one element of the window meets at each pixel, line by line.

use super::{Cell, Geometry, Window};

/// Fills a row of the unrolled matrix: what one element of the window meets at each pixel.
pub(super) fn unroll(
    geometry: &Geometry,
    input: &[Cell],
    row: usize,
    start: usize,
    out: &mut [Cell],
) {
    let [_, kernel_width] = geometry.kernel;
    let [height, width] = geometry.input;
    let [_, out_width] = geometry.output;
    let (channel, tap) = (row / geometry.taps(), row % geometry.taps());
    let (y, x) = (tap / kernel_width, tap % kernel_width);
    let plane = input.get(channel * height * width..).unwrap_or_default();
    let reach = Reach::new(&geometry.windows[1], x, width, out_width);
    let (mut done, mut pixel) = (0, start);
    while done < out.len() {
        let (line, from) = (pixel / out_width, pixel % out_width);
        let run = (out_width - from).min(out.len() - done);
        let into = out.get_mut(done..done + run).unwrap_or_default();
        let source = geometry.windows[0]
            .place(line, y, height)
            .and_then(|line| plane.get(line * width..(line + 1) * width));
        match source {
            Some(source) => reach.copy(source, from, into),
            None => into.fill([0; 4]),
        }
        done += run;
        pixel += run;
    }
}

/// Which windows of a line have an element of the line at one place of the window.
pub(super) struct Reach {
    pub(super) low: usize,
    pub(super) high: usize,
    pub(super) stride: usize,
    /// The place of the element in window `low`.
    pub(super) first: usize,
}

impl Reach {
    pub(super) fn new(window: &Window, tap: usize, width: usize, windows: usize) -> Self {
        let stride = usize::try_from(window.stride).unwrap_or(1).max(1);
        // The windows inside are neighbours: find the first by arithmetic, then where they end.
        let before = usize::try_from(window.before).unwrap_or(0);
        let offset = tap * usize::try_from(window.dilation).unwrap_or(1);
        let low = before.saturating_sub(offset).div_ceil(stride).min(windows);
        let high = (width + before)
            .saturating_sub(offset)
            .div_ceil(stride)
            .clamp(low, windows);
        let first = window.place(low, tap, width).unwrap_or(0);
        Self {
            low,
            high,
            stride,
            first,
        }
    }

    /// Copies what windows from `from` on meet, zeros where that is padding.
    fn copy(&self, source: &[Cell], from: usize, out: &mut [Cell]) {
        let low = self.low.clamp(from, from + out.len());
        let high = self.high.clamp(low, from + out.len());
        let (head, rest) = out.split_at_mut(low - from);
        let (body, tail) = rest.split_at_mut(high - low);
        head.fill([0; 4]);
        tail.fill([0; 4]);
        if body.is_empty() {
            return;
        }
        let place = self.first + (low - self.low) * self.stride;
        let source = source.get(place..).unwrap_or_default();
        if self.stride == 1 {
            for (into, cell) in body.iter_mut().zip(source) {
                *into = *cell;
            }
        } else {
            for (into, cell) in body.iter_mut().zip(source.iter().step_by(self.stride)) {
                *into = *cell;
            }
        }
    }
}
