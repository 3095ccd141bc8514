//! Metrics as text: OpenMetrics 1.0, written by Prometheus' own library, and the older format that
//! Prometheus' servers before it, and people with `curl`, ask for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use rialto_node::HISTOGRAM_BOUNDS;
use rialto_node::metrics::{Kind, Metric, Value};

/// Metrics in the format of OpenMetrics.
///
/// # Errors
/// None that a string gives.
pub(super) fn open_metrics(metrics: Vec<Metric>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(List(metrics)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The same in Prometheus' own text format, 0.0.4: a counter's description has the name of its sample,
/// and there are neither units nor an end mark.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let lines: Vec<&str> = text.lines().collect();
    let mut counter = "";
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("# UNIT ") || line.starts_with("# EOF") {
            continue;
        }
        if let Some(help) = line.strip_prefix("# HELP ") {
            // The next line has the type.
            let kind = lines.get(at.saturating_add(1)).copied().unwrap_or("");
            let name = help.split(' ').next().unwrap_or(help);
            let is_counter = kind.starts_with("# TYPE ") && kind.ends_with(" counter");
            counter = if is_counter { name } else { "" };
        }
        let described = line
            .strip_prefix("# HELP ")
            .map(|rest| ("# HELP ", rest))
            .or_else(|| line.strip_prefix("# TYPE ").map(|rest| ("# TYPE ", rest)));
        match described.and_then(|(word, rest)| Some((word, rest.strip_prefix(counter)?))) {
            Some((word, rest)) if !counter.is_empty() => {
                plain.push_str(word);
                plain.push_str(counter);
                plain.push_str("_total");
                plain.push_str(rest);
            }
            Some(_) | None => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

#[derive(Debug)]
struct List(Vec<Metric>);

impl Collector for List {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.0 {
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let unit = metric.prometheus_unit();
            let unit = unit.map(|unit| prometheus_client::registry::Unit::Other(unit.to_owned()));
            let name = metric.name.replace('.', "_");
            let mut family = encoder.encode_descriptor(&name, metric.help, unit.as_ref(), kind)?;
            for point in &metric.points {
                if point.labels.is_empty() {
                    write(&mut family, metric.kind, &point.value)?;
                } else {
                    let mut labelled = family.encode_family(&point.labels)?;
                    write(&mut labelled, metric.kind, &point.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => {
            encoder.encode_counter::<NoLabelSet, _, u64>(value, None)
        }
        (Kind::Counter, Value::Seconds(value)) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(value, None)
        }
        (_, Value::Whole(value)) => encoder.encode_gauge(value),
        (_, Value::Seconds(value)) => encoder.encode_gauge(value),
        (_, Value::Histogram(view)) => {
            let bounds = HISTOGRAM_BOUNDS.iter().map(|bound| bound.as_secs_f64());
            let bounds = bounds.chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(view.counts.iter().copied()).collect();
            let sum = view.sum.as_secs_f64();
            encoder.encode_histogram::<NoLabelSet>(sum, view.count(), &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rialto_node::Histogram;
    use rialto_node::metrics::Point;

    use super::*;

    fn metric(name: &'static str, unit: &'static str, kind: Kind, value: Value) -> Metric {
        let labels = vec![("service", "a \"b\"\\".to_owned())];
        Metric {
            name,
            help: "What it is.",
            unit,
            kind,
            points: vec![Point { labels, value }],
        }
    }

    #[test]
    fn both_formats_are_as_published() {
        let times = Histogram::default();
        times.observe(Duration::from_micros(60));
        times.observe(Duration::from_secs(100));
        let text = open_metrics(vec![
            metric("a.calls", "{call}", Kind::Counter, Value::Whole(3)),
            metric("a.memory", "By", Kind::Gauge, Value::Whole(7)),
            metric(
                "a.time",
                "s",
                Kind::Histogram,
                Value::Histogram(times.view()),
            ),
        ])
        .unwrap();
        for line in [
            "# TYPE a_calls counter",
            r#"a_calls_total{service="a \"b\"\\"} 3"#,
            "# UNIT a_memory_bytes bytes",
            r#"a_memory_bytes{service="a \"b\"\\"} 7"#,
            "# TYPE a_time_seconds histogram",
            r#"a_time_seconds_count{service="a \"b\"\\"} 2"#,
            r#"a_time_seconds_bucket{le="0.0001",service="a \"b\"\\"} 1"#,
            r#"a_time_seconds_bucket{le="+Inf",service="a \"b\"\\"} 2"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));

        let plain = plain(&text);
        for line in [
            "# HELP a_calls_total What it is.",
            "# TYPE a_calls_total counter",
            r#"a_calls_total{service="a \"b\"\\"} 3"#,
            "# TYPE a_memory_bytes gauge",
        ] {
            assert!(plain.lines().any(|it| it == line), "{line} in\n{plain}");
        }
        assert!(!plain.contains("# UNIT") && !plain.contains("# EOF"));
    }
}
