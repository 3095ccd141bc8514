//! `[observability]`: who may see what this host does, and where it tells.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Who may see what this host does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observability {
    /// Where the operator's own listener serves `/metrics`; none for nowhere. Earnings are among the
    /// numbers: whoever reaches it sees them.
    pub metrics: Option<SocketAddr>,
    /// A collector of OpenTelemetry, by OTLP over HTTP; none sends nothing.
    pub otlp: Option<String>,
    /// How many of a thousand calls are traced, if their callers do not say.
    pub traces_per_thousand: u32,
    /// How often metrics are sent to the collector.
    pub metrics_every: Duration,
    /// How lines of log look.
    pub log_format: LogFormat,
}

/// How lines of log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line, with the trace that it belongs to.
    Json,
}

impl LogFormat {
    /// The format of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "human" => Some(Self::Human),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl Default for Observability {
    fn default() -> Self {
        Self {
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], 8404))),
            otlp: None,
            traces_per_thousand: 1_000,
            metrics_every: Duration::from_secs(15),
            log_format: LogFormat::default(),
        }
    }
}

impl Observability {
    pub(super) fn overlay(&mut self, raw: RawObservability, problems: &mut Vec<String>) {
        match raw.metrics.as_deref() {
            None => {}
            Some(OFF) => self.metrics = None,
            Some(text) => match text.parse() {
                Ok(address) => self.metrics = Some(address),
                Err(_) => problems.push(format!(
                    "observability.metrics `{text}` is no address: use one such as \"127.0.0.1:8404\", or \"off\""
                )),
            },
        }
        if let Some(url) = raw.otlp {
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                problems.push(format!(
                    "observability.otlp `{url}` is no URL: use the collector's, such as \"http://127.0.0.1:4318\""
                ));
            }
            self.otlp = Some(url.trim_end_matches('/').to_owned());
        }
        self.traces_per_thousand = raw.traces_per_thousand.unwrap_or(self.traces_per_thousand);
        if self.traces_per_thousand > 1_000 {
            problems.push(format!(
                "observability.traces_per_thousand is {}: use 0 to 1000",
                self.traces_per_thousand
            ));
        }
        if let Some(seconds) = raw.metrics_every_seconds {
            self.metrics_every = Duration::from_secs(seconds);
        }
        if self.metrics_every.is_zero() {
            problems.push("observability.metrics_every_seconds must be above zero".to_owned());
        }
        if let Some(name) = raw.log_format {
            match LogFormat::from_name(&name) {
                Some(format) => self.log_format = format,
                None => problems.push(format!(
                    "observability.log_format `{name}`: use \"human\" or \"json\""
                )),
            }
        }
    }
}

const OFF: &str = "off";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawObservability {
    metrics: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    otlp: Option<String>,
    traces_per_thousand: Option<u32>,
    metrics_every_seconds: Option<u64>,
    log_format: Option<String>,
}

impl From<&Observability> for RawObservability {
    fn from(observability: &Observability) -> Self {
        let metrics = observability.metrics;
        Self {
            metrics: Some(metrics.map_or_else(|| OFF.to_owned(), |address| address.to_string())),
            otlp: observability.otlp.clone(),
            traces_per_thousand: Some(observability.traces_per_thousand),
            metrics_every_seconds: Some(observability.metrics_every.as_secs()),
            log_format: Some(observability.log_format.name().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Observability, Vec<String>) {
        let (mut observability, mut problems) = (Observability::default(), Vec::new());
        observability.overlay(toml::from_str(text).unwrap(), &mut problems);
        (observability, problems)
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = "metrics = \"off\"\notlp = \"http://127.0.0.1:4318/\"\ntraces_per_thousand = 5\n\
                    metrics_every_seconds = 7\nlog_format = \"json\"";
        let (before, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(before.otlp.as_deref(), Some("http://127.0.0.1:4318"));
        for observability in [before, Observability::default()] {
            let printed = toml::to_string(&RawObservability::from(&observability)).unwrap();
            assert_eq!(read(&printed).0, observability);
        }
    }

    #[test]
    fn every_problem_is_named() {
        let (_, problems) = read(
            "metrics = \"here\"\notlp = \"4318\"\ntraces_per_thousand = 1001\n\
             metrics_every_seconds = 0\nlog_format = \"xml\"",
        );
        assert_eq!(problems.len(), 5, "{problems:?}");
    }
}
