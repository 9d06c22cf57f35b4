//! Several measurements of the same thing.

use std::time::Duration;

use serde_json::{Value, json};

/// The middle and the ends of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without measurements. Of an even number the median is the mean of the two in the middle.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// How times are distributed, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quantiles {
    pub(super) count: usize,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Quantiles {
    /// By nearest rank: each is a time that was measured. `None` without any.
    pub(super) fn of(times: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let max = *times.last()?;
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
        Some(Self { count: times.len(), p50: rank(50), p90: rank(90), p99: rank(99), max })
    }

    /// Titles of [`Quantiles::cells`].
    pub(super) const TITLES: [&str; 5] = ["n", "p50 ms", "p90 ms", "p99 ms", "max ms"];

    /// Cells of a table.
    pub(super) fn cells(this: Option<Self>) -> [String; 5] {
        this.map_or_else(
            || std::array::from_fn(|_| "-".to_owned()),
            |Self { count, p50, p90, p99, max }| {
                let [p50, p90, p99, max] = [p50, p90, p99, max].map(|ms| format!("{ms:.1}"));
                [count.to_string(), p50, p90, p99, max]
            },
        )
    }

    pub(super) fn json(self) -> Value {
        json!({ "n": self.count, "p50_ms": self.p50, "p90_ms": self.p90, "p99_ms": self.p99, "max_ms": self.max })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_was_measured() {
        let times = |count: u64| Quantiles::of((1..=count).rev().map(Duration::from_millis));
        let Quantiles { count, p50, p90, p99, max } = times(200).unwrap();
        assert_eq!((count, p50, p90, p99, max), (200, 100.0, 180.0, 198.0, 200.0));
        assert_eq!(times(1).map(|times| (times.p50, times.p99)), Some((1.0, 1.0)));
        assert_eq!(times(0), None);
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(spread(&[]), None);
    }
}
