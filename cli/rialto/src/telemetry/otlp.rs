//! What is sent to a collector: the part of OTLP 1 that spans and metrics need, by the field numbers of
//! its published protobuf files.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::{Message, Oneof};
use rialto_node::HISTOGRAM_BOUNDS;
use rialto_node::metrics::{Kind, Metric as Known, Point, Value};

use super::spans::{Attribute, Span as Ended};

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Traces {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Whole(i64),
    #[prost(double, tag = "4")]
    Number(f64),
}

/// `ExportMetricsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metrics {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<Number>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<Number>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<Times>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
}

/// `NumberDataPoint`.
#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(oneof = "NumberValue", tags = "4, 6")]
    value: Option<NumberValue>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Oneof)]
enum NumberValue {
    #[prost(double, tag = "4")]
    Number(f64),
    #[prost(sfixed64, tag = "6")]
    Whole(i64),
}

/// `HistogramDataPoint`.
#[derive(Clone, PartialEq, Message)]
struct Times {
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

/// Spans that ended.
pub(super) fn spans(ended: &[Ended]) -> Traces {
    let spans = ended.iter().map(|span| {
        let is_root = span.name == "gateway.request";
        let is_client = matches!(span.name, "http.outbound" | "chain.call");
        Span {
            trace_id: span.ids.trace.to_be_bytes().to_vec(),
            span_id: span.ids.span.to_be_bytes().to_vec(),
            parent_span_id: match span.parent {
                0 => Vec::new(),
                parent => parent.to_be_bytes().to_vec(),
            },
            name: span.name.to_owned(),
            kind: match (is_root, is_client) {
                (true, _) => KIND_SERVER,
                (false, true) => KIND_CLIENT,
                (false, false) => KIND_INTERNAL,
            },
            start_time_unix_nano: nanos(span.began),
            end_time_unix_nano: nanos(span.ended),
            attributes: span
                .attributes
                .iter()
                .map(|(name, value)| attribute(name, any(value)))
                .collect(),
        }
    });
    Traces {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans: spans.collect(),
            }],
        }],
    }
}

/// The node's numbers.
pub(super) fn metrics(known: &[Known], began: SystemTime, now: SystemTime) -> Metrics {
    let (began, now) = (nanos(began), nanos(now));
    let metrics = known.iter().map(|metric| Metric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: metric.unit.to_owned(),
        data: Some(data(metric, began, now)),
    });
    Metrics {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics: metrics.collect(),
            }],
        }],
    }
}

fn data(metric: &Known, began: u64, now: u64) -> Data {
    let points = metric.points.iter();
    match metric.kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: points.filter_map(|it| number(it, began, now)).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(Gauge {
            data_points: points.filter_map(|it| number(it, began, now)).collect(),
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: points.filter_map(|it| times(it, began, now)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    }
}

fn number(point: &Point, began: u64, now: u64) -> Option<Number> {
    let value = match &point.value {
        // OTLP's whole numbers are signed: those that do not fit are too many to tell.
        Value::Whole(value) => NumberValue::Whole(i64::try_from(*value).unwrap_or(i64::MAX)),
        Value::Seconds(value) => NumberValue::Number(*value),
        Value::Histogram(_) => return None,
    };
    Some(Number {
        start_time_unix_nano: began,
        time_unix_nano: now,
        value: Some(value),
        attributes: attributes(point),
    })
}

fn times(point: &Point, began: u64, now: u64) -> Option<Times> {
    let Value::Histogram(view) = &point.value else {
        return None;
    };
    Some(Times {
        start_time_unix_nano: began,
        time_unix_nano: now,
        count: view.count(),
        sum: Some(view.sum.as_secs_f64()),
        bucket_counts: view.counts.clone(),
        explicit_bounds: HISTOGRAM_BOUNDS.map(|bound| bound.as_secs_f64()).to_vec(),
        attributes: attributes(point),
    })
}

/// Labels by OpenTelemetry's names: Prometheus has no dots.
fn attributes(point: &Point) -> Vec<KeyValue> {
    let labels = point.labels.iter().map(|(name, value)| {
        let name = match *name {
            "http_route" => "http.route",
            "http_response_status_code" => "http.response.status_code",
            other => other,
        };
        attribute(name, Any::Text(value.clone()))
    });
    labels.collect()
}

fn any(value: &Attribute) -> Any {
    match value {
        Attribute::Text(text) => Any::Text(text.clone()),
        Attribute::Whole(value) => Any::Whole(*value),
        Attribute::Number(value) => Any::Number(*value),
        Attribute::Bool(value) => Any::Bool(*value),
    }
}

fn attribute(name: &str, value: Any) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn resource() -> Resource {
    let text = |text: &str| Any::Text(text.to_owned());
    Resource {
        attributes: vec![
            attribute("service.name", text("rialto")),
            attribute("service.version", text(env!("CARGO_PKG_VERSION"))),
        ],
    }
}

fn scope() -> Scope {
    Scope {
        name: "rialto".to_owned(),
    }
}

/// Nanoseconds since the Unix epoch; 0, which OTLP reads as unknown, before it.
fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// `SPAN_KIND_INTERNAL`.
const KIND_INTERNAL: i32 = 1;
/// `SPAN_KIND_SERVER`.
const KIND_SERVER: i32 = 2;
/// `SPAN_KIND_CLIENT`.
const KIND_CLIENT: i32 = 3;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = 2;
