//! A figure over rounds: its median, and how far the rounds lie apart.

use std::fmt;

use serde::Serialize;

/// The median over rounds, with the least and the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The middle round; the lower one of two.
    pub(crate) median: f64,
    /// The least of all rounds.
    pub(crate) min: f64,
    /// The most of all rounds.
    pub(crate) max: f64,
}

impl Spread {
    /// Sums up rounds; all zero for none.
    pub(crate) fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        Self {
            median: percentile(&rounds, 50),
            min: rounds.first().copied().unwrap_or_default(),
            max: rounds.last().copied().unwrap_or_default(),
        }
    }

    /// Round by round, `one` divided by `other`.
    pub(crate) fn ratio(one: &[f64], other: &[f64]) -> Self {
        Self::of(one.iter().zip(other).map(|(one, other)| one / other))
    }

    /// All of it divided by a number.
    pub(crate) fn by(self, scale: f64) -> Self {
        Self {
            median: self.median / scale,
            min: self.min / scale,
            max: self.max / scale,
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median.abs() {
            size if size >= 100.0 => 0,
            size if size >= 10.0 => 1,
            _ => 2,
        };
        let Self { median, min, max } = self;
        write!(f, "{median:.digits$} ({min:.digits$} to {max:.digits$})")
    }
}

/// The value that `percent` of the sorted values do not exceed; zero for none.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([]), Spread::default());
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 50), 50.0);
        assert_eq!(percentile(&hundred, 99), 99.0);
        assert_eq!(percentile(&[7.0], 99), 7.0);
        assert_eq!(Spread::ratio(&[1.0, 4.0], &[2.0, 2.0]).max, 2.0);
    }
}
