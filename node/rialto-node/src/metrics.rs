//! The node's numbers as a list of metrics, for whoever shows or exports them.
//!
//! One list for all: Prometheus, OTLP and `rialto top` differ in form and never in number. Names are
//! OpenTelemetry's (`rialto.call.duration`, units apart); Prometheus' follow from them by the published
//! rules. Amounts are counts of token base units. Labels are bounded: services, methods, codes, accounts
//! of the one provider; no payer, no channel, no call.
//!
//! Non-goals: forms and protocols.

mod gather;
mod process;

use rialto_host::HistogramView;

/// One metric with all its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// OpenTelemetry's name, words joined by dots.
    pub name: &'static str,
    /// What it counts, for people.
    pub help: &'static str,
    /// The unit by UCUM: `s`, `By`, or a word in braces for things that are counted.
    pub unit: &'static str,
    /// What may become of it.
    pub kind: Kind,
    /// One value for each combination of labels.
    pub points: Vec<Point>,
}

/// What may become of a metric's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They grow until the process ends.
    Counter,
    /// They rise and fall.
    Gauge,
    /// They are distributions of durations, which grow.
    Histogram,
}

/// A value and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// A metric's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Whole things.
    Whole(u64),
    /// Seconds.
    Seconds(f64),
    /// Durations.
    Histogram(HistogramView),
}

impl Metric {
    /// The name by Prometheus' rules: words joined by underscores, then the unit, and `_total` for
    /// counters if `with_total`.
    #[must_use]
    pub fn prometheus_name(&self, with_total: bool) -> String {
        let mut name = self.name.replace('.', "_");
        if let Some(unit) = self.prometheus_unit() {
            name.push('_');
            name.push_str(unit);
        }
        if with_total && self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// The unit as Prometheus spells it; none for things that are counted.
    #[must_use]
    pub fn prometheus_unit(&self) -> Option<&'static str> {
        match self.unit {
            "s" => Some("seconds"),
            "By" => Some("bytes"),
            "{base_unit}" => Some("base_units"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_rules() {
        let metric = |name, unit, kind| Metric {
            name,
            help: "",
            unit,
            kind,
            points: Vec::new(),
        };
        let calls = metric("rialto.calls", "{call}", Kind::Counter);
        assert_eq!(calls.prometheus_name(true), "rialto_calls_total");
        assert_eq!(calls.prometheus_name(false), "rialto_calls");
        let took = metric("rialto.call.duration", "s", Kind::Histogram);
        assert_eq!(took.prometheus_name(true), "rialto_call_duration_seconds");
        let cpu = metric("process.cpu", "s", Kind::Counter);
        assert_eq!(cpu.prometheus_name(true), "process_cpu_seconds_total");
    }
}
