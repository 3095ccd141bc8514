//! Where windows and ranges lie on an axis: the arithmetic that inference and devices share.

use super::op::{Range, Window};

/// A range on an axis of known extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first element.
    pub start: usize,
    /// How many elements.
    pub count: usize,
    /// The distance between them; may be negative, never zero.
    pub step: isize,
}

impl Range {
    /// Clamps the range to an axis. None if the step is zero.
    pub fn on(&self, extent: usize) -> Option<Span> {
        let length = i128::try_from(extent).ok()?;
        let step = i128::from(self.step);
        let place = |at: i64, low: i128, high: i128| {
            let at = i128::from(at);
            (if at < 0 { at + length } else { at }).clamp(low, high)
        };
        let (start, distance) = match step {
            0 => return None,
            1.. => {
                let start = place(self.start, 0, length);
                let end = self.end.map_or(length, |end| place(end, 0, length));
                (start, end - start)
            }
            _ => {
                let start = place(self.start, -1, length - 1);
                let end = self.end.map_or(-1, |end| place(end, -1, length - 1));
                (start, start - end)
            }
        };
        let count = usize::try_from((distance.max(0) + step.abs() - 1) / step.abs()).ok()?;
        Some(Span {
            start: usize::try_from(start).unwrap_or(0),
            count,
            // A step that no two elements are apart is as good as any other.
            step: isize::try_from(step.clamp(-length - 1, length + 1)).ok()?,
        })
    }
}

impl Window {
    /// How many windows of `size` elements fit on an axis. None if an attribute is zero or a number
    /// too large, or no window fits.
    pub fn count(&self, extent: usize, size: u32) -> Option<usize> {
        let padded = u64::try_from(extent)
            .ok()?
            .checked_add(u64::from(self.before))?
            .checked_add(u64::from(self.after))?;
        let reach = u64::from(self.dilation)
            .checked_mul(u64::from(size.checked_sub(1)?))?
            .checked_add(1)?;
        if self.dilation == 0 {
            return None;
        }
        let windows = padded
            .checked_sub(reach)?
            .checked_div(u64::from(self.stride))?
            + 1;
        usize::try_from(windows).ok()
    }

    /// The place on the axis of element `tap` of window `index`, if it is not padding.
    pub fn place(&self, index: usize, tap: usize, extent: usize) -> Option<usize> {
        let stride = usize::try_from(self.stride).ok()?;
        let dilation = usize::try_from(self.dilation).ok()?;
        let before = usize::try_from(self.before).ok()?;
        (index * stride + tap * dilation)
            .checked_sub(before)
            .filter(|place| *place < extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_as_in_numpy() {
        let check = |start, end, step, want: &[usize]| {
            let span = Range { start, end, step }.on(5).unwrap();
            let found: Vec<usize> = (0..span.count)
                .map(|i| {
                    span.start
                        .wrapping_add_signed(span.step * isize::try_from(i).unwrap())
                })
                .collect();
            assert_eq!(found, want, "{start}:{end:?}:{step}");
        };
        check(0, None, 1, &[0, 1, 2, 3, 4]);
        check(1, Some(-1), 2, &[1, 3]);
        check(-2, None, 1, &[3, 4]);
        check(4, None, -2, &[4, 2, 0]);
        check(10, Some(-10), -1, &[4, 3, 2, 1, 0]);
        check(3, Some(1), 1, &[]);
        check(i64::MIN, Some(i64::MAX), i64::MAX, &[0]);
        check(i64::MAX, Some(i64::MIN), i64::MIN, &[4]);
        assert_eq!(
            Range {
                step: 0,
                ..Range::default()
            }
            .on(5),
            None
        );
        assert_eq!(Range::default().on(0).unwrap().count, 0);
    }

    #[test]
    fn windows_are_counted() {
        let window = Window {
            stride: 2,
            dilation: 2,
            before: 1,
            after: 1,
        };
        assert_eq!(window.count(5, 3), Some(2));
        assert_eq!(window.place(0, 0, 5), None);
        assert_eq!(window.place(1, 2, 5), Some(5).filter(|_| false));
        assert_eq!(window.place(1, 1, 5), Some(3));
        assert_eq!(window.count(2, 3), None, "does not fit");
        assert_eq!(
            Window {
                stride: 0,
                ..window
            }
            .count(5, 3),
            None
        );
        assert_eq!(
            Window {
                dilation: 0,
                ..window
            }
            .count(5, 3),
            None
        );
        assert_eq!(window.count(5, 0), None);
        let huge = Window {
            stride: 1,
            dilation: u32::MAX,
            before: u32::MAX,
            after: u32::MAX,
        };
        assert_eq!(huge.count(usize::MAX, u32::MAX), None);
    }
}
