//! What the node said at one moment.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

/// The node's metrics at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) at: Instant,
    metrics: Vec<Metric>,
}

#[derive(Debug, Clone, Deserialize)]
struct Metric {
    name: String,
    points: Vec<Point>,
}

#[derive(Debug, Clone, Deserialize)]
struct Point {
    labels: std::collections::BTreeMap<String, String>,
    value: Reading,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Reading {
    Whole(u64),
    Seconds(f64),
    Times { counts: Vec<u64>, sum: f64 },
}

impl Sample {
    /// Reads what the desk answered.
    pub(super) fn read(answer: &Value, at: Instant) -> Result<Self> {
        let metrics = answer.get("metrics").context("it names no metrics")?;
        let metrics = Vec::<Metric>::deserialize(metrics)?;
        if metrics.is_empty() {
            bail!("it has no metrics");
        }
        Ok(Self { at, metrics })
    }

    /// All services that have numbers.
    pub(super) fn services(&self) -> BTreeSet<String> {
        let points = self.metrics.iter().flat_map(|metric| &metric.points);
        points
            .filter_map(|point| point.labels.get("service").cloned())
            .collect()
    }

    /// The sum of whole values with these labels.
    pub(super) fn whole(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let values = self.points(name, labels).map(|point| match point.value {
            Reading::Whole(value) => value,
            Reading::Seconds(_) | Reading::Times { .. } => 0,
        });
        values.fold(0, u64::saturating_add)
    }

    /// The sum of those whose label is none of these values.
    pub(super) fn whole_but(&self, name: &str, service: &str, label: &str, but: &[&str]) -> u64 {
        let labels = [("service", service)];
        let points = self.points(name, &labels);
        let values = points.filter_map(|point| {
            let is_wanted = !but.contains(&point.labels.get(label)?.as_str());
            match point.value {
                Reading::Whole(value) if is_wanted => Some(value),
                Reading::Whole(_) | Reading::Seconds(_) | Reading::Times { .. } => None,
            }
        });
        values.fold(0, u64::saturating_add)
    }

    /// A value in seconds.
    pub(super) fn seconds(&self, name: &str) -> f64 {
        let values = self.points(name, &[]).map(|point| match point.value {
            Reading::Seconds(value) => value,
            Reading::Whole(_) | Reading::Times { .. } => 0.0,
        });
        values.sum()
    }

    /// The buckets of times, summed up.
    pub(super) fn buckets(&self, name: &str, service: &str) -> Vec<u64> {
        let mut sums: Vec<u64> = Vec::new();
        for point in self.points(name, &[("service", service)]) {
            if let Reading::Times { counts, .. } = &point.value {
                sums.resize(sums.len().max(counts.len()), 0);
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum = sum.saturating_add(*count);
                }
            }
        }
        sums
    }

    /// The sum of times, in seconds.
    pub(super) fn time(&self, name: &str, service: &str) -> f64 {
        let labels = [("service", service)];
        let times = self.points(name, &labels).map(|point| match point.value {
            Reading::Times { sum, .. } => sum,
            Reading::Whole(_) | Reading::Seconds(_) => 0.0,
        });
        times.sum()
    }

    fn points<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Point> {
        let named = self.metrics.iter().filter(move |it| it.name == name);
        named
            .flat_map(|metric| &metric.points)
            .filter(move |point| {
                let has = |(name, value): &(&str, &str)| {
                    point.labels.get(*name).is_some_and(|found| found == value)
                };
                labels.iter().all(has)
            })
    }
}
