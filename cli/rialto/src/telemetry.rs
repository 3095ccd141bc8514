//! Where spans and lines of log go: the terminal, and a collector of OpenTelemetry if one is named.
//!
//! Spans are exported, lines are not: what a guest logs is its caller's business (M7). Nobody waits for a
//! collector: spans queue up to a bound, and beyond it they are dropped and counted.

mod export;
mod lines;
mod otlp;
mod spans;
#[cfg(test)]
mod tests;

use anyhow::Result;
use rialto_node::{LogFormat, Observability};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub(crate) use export::push_metrics;

/// What must be ended with the process.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    exporter: Option<export::Exporter>,
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends spans and lines where they belong, from now on; nothing is said for commands that serve nobody.
///
/// # Errors
/// Nothing can be sent from here at all.
pub(crate) fn start(observability: Option<&Observability>) -> Result<Telemetry> {
    let (layers, telemetry) = layers(observability)?;
    Registry::default().with(layers).init();
    Ok(telemetry)
}

fn layers(observability: Option<&Observability>) -> Result<(Vec<Boxed>, Telemetry)> {
    let filter = EnvFilter::try_from_env("RIALTO_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let ours = || {
        filter_fn(|meta| {
            meta.is_span() && *meta.level() <= LevelFilter::INFO && is_ours(meta.target())
        })
    };
    let mut layers = Vec::<Boxed>::new();
    let mut telemetry = Telemetry::default();
    let format = observability.map_or(LogFormat::Human, |known| known.log_format);
    // Lines in JSON name the trace that they belong to, even if nobody collects it.
    let wanted = observability.filter(|it| it.otlp.is_some() || format == LogFormat::Json);
    if let Some(observability) = wanted {
        let exporter = observability.otlp.as_deref().map(export::Exporter::start);
        telemetry.exporter = exporter.transpose()?;
        let queue = telemetry.exporter.as_ref().map(export::Exporter::queue);
        let spans = spans::Spans::new(observability.traces_per_thousand, queue);
        layers.push(spans.with_filter(ours()).boxed());
    }
    layers.push(match format {
        LogFormat::Human => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => lines::Lines::new(std::io::stderr)
            .with_filter(filter.or(ours()))
            .boxed(),
    });
    Ok((layers, telemetry))
}

fn is_ours(target: &str) -> bool {
    target.starts_with("rialto")
}

impl Telemetry {
    /// Sends what waits, for at most a few seconds.
    pub(crate) async fn end(self) {
        if let Some(exporter) = self.exporter {
            exporter.end().await;
        }
    }
}
