//! Spans of `tracing` as spans of a trace: ids, parents, attributes; handed over when they end.
//!
//! A trace begins with a request. What the node does on its own account is no trace. A caller names the
//! trace (`traceparent`) and does not decide whether it is kept: strangers could fill the collector.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rialto_node::trace::SpanIds;
use tokio::sync::mpsc;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// A span that ended.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) ids: SpanIds,
    /// 0 for none.
    pub(super) parent: u64,
    pub(super) name: &'static str,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) attributes: Vec<(&'static str, Attribute)>,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Text(String),
    Whole(i64),
    Number(f64),
    Bool(bool),
}

/// Where spans wait to be sent. Clones are the same queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub(super) sender: mpsc::Sender<Span>,
    /// Spans for which there was no place.
    pub(super) dropped: Arc<AtomicU64>,
}

/// Makes traces of spans.
#[derive(Debug)]
pub(super) struct Spans {
    per_thousand: u32,
    queue: Option<Queue>,
}

/// A span that has not ended.
struct Open {
    parent: u64,
    began: SystemTime,
    attributes: Vec<(&'static str, Attribute)>,
}

impl Open {
    fn new(parent: u64, attributes: Vec<(&'static str, Attribute)>) -> Self {
        Self {
            parent,
            began: SystemTime::now(),
            attributes,
        }
    }
}

impl Spans {
    /// Keeps so many of a thousand traces.
    pub(super) fn new(per_thousand: u32, queue: Option<Queue>) -> Self {
        Self {
            per_thousand,
            queue,
        }
    }

    /// Whether a trace is kept, by its id: every host that looks at the same bits decides the same.
    fn keeps(&self, trace: u128) -> bool {
        let part = u64::try_from(trace & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        part % 1_000 < u64::from(self.per_thousand)
    }

    /// The ids of a span that nothing is around.
    fn root(&self, caller: Option<SpanIds>) -> SpanIds {
        let trace = caller.map_or_else(|| rand::random::<u128>().max(1), |caller| caller.trace);
        SpanIds {
            trace,
            span: fresh(),
            sampled: self.keeps(trace),
        }
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let around = span.parent();
        let around = around.and_then(|it| it.extensions().get::<SpanIds>().copied());
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let (ids, parent) = match around {
            Some(around) => {
                let ids = SpanIds {
                    span: fresh(),
                    ..around
                };
                (ids, around.span)
            }
            None if span.name() == ROOT => (self.root(None), 0),
            None => return,
        };
        let mut extensions = span.extensions_mut();
        extensions.insert(ids);
        if ids.sampled {
            extensions.insert(Open::new(parent, fields.attributes));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::default();
        values.record(&mut fields);
        let mut extensions = span.extensions_mut();
        if span.name() == ROOT
            && let Some(caller) = fields.caller
        {
            // Recorded before anything begins within.
            let ids = self.root(Some(caller));
            extensions.replace(ids);
            match extensions.get_mut::<Open>() {
                Some(open) if ids.sampled => open.parent = caller.span,
                Some(_) => drop(extensions.remove::<Open>()),
                None if ids.sampled => extensions.insert(Open::new(caller.span, Vec::new())),
                None => {}
            }
        }
        if let Some(open) = extensions.get_mut::<Open>() {
            let left = ATTRIBUTES_MAX.saturating_sub(open.attributes.len());
            open.attributes
                .extend(fields.attributes.into_iter().take(left));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        let ids = extensions.get_mut::<SpanIds>().copied();
        let (Some(ids), Some(open), Some(queue)) = (ids, extensions.remove::<Open>(), &self.queue)
        else {
            return;
        };
        let ended = Span {
            ids,
            parent: open.parent,
            name: span.name(),
            began: open.began,
            ended: SystemTime::now(),
            attributes: open.attributes,
        };
        if queue.sender.try_send(ended).is_err() {
            queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is recorded in a span.
#[derive(Default)]
struct Fields {
    attributes: Vec<(&'static str, Attribute)>,
    /// The caller's span.
    caller: Option<SpanIds>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Attribute) {
        if self.attributes.len() < ATTRIBUTES_MAX {
            self.attributes.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Attribute::Number(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Attribute::Whole(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(
            field,
            Attribute::Whole(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Attribute::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TRACEPARENT {
            self.caller = SpanIds::parse(value);
            return;
        }
        let kept = value.chars().take(TEXT_CHARS_MAX).collect();
        self.set(field, Attribute::Text(kept));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn fresh() -> u64 {
    rand::random::<u64>().max(1)
}

/// The span that every trace here begins with.
const ROOT: &str = "gateway.request";
/// The field in which it has its caller's header.
const TRACEPARENT: &str = "traceparent";
const ATTRIBUTES_MAX: usize = 16;
const TEXT_CHARS_MAX: usize = 256;
