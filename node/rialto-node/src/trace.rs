//! The trace that the current work belongs to, as W3C's Trace Context writes it (`traceparent`).
//!
//! Who collects traces leaves [`SpanIds`] in the spans of `tracing`; here they are found again, to pass
//! the trace on with requests that leave. Without a collector there are none.

use std::fmt;

use tracing::Span;
use tracing_subscriber::registry::{LookupSpan as _, Registry};

/// Which span of which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    /// The trace; never zero.
    pub trace: u128,
    /// The span; never zero.
    pub span: u64,
    /// Whether it is kept.
    pub sampled: bool,
}

impl SpanIds {
    /// Reads a `traceparent` header: version 00, or a later one by its first four fields.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim().split('-');
        let (version, trace) = (fields.next()?, fields.next()?);
        let (span, flags) = (fields.next()?, fields.next()?);
        let is_hex = |text: &str, len: usize| {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            text.len() == len && text.bytes().all(digit)
        };
        let is_whole = version != "00" || fields.next().is_none();
        let good = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        if !good || !is_whole || version == "ff" {
            return None;
        }
        let ids = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (ids.trace != 0 && ids.span != 0).then_some(ids)
    }

    /// Those of the span that the caller is in, or of the next one around it.
    #[must_use]
    pub fn current() -> Option<Self> {
        Span::current().with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>()?;
            let mut around = registry.span(id)?.scope();
            around.find_map(|span| span.extensions().get::<Self>().copied())
        })?
    }
}

impl fmt::Display for SpanIds {
    /// As a `traceparent` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_as_the_recommendation_says() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let ids = SpanIds::parse(text).unwrap();
        assert_eq!(ids.to_string(), text);
        assert!(ids.sampled);
        assert_eq!(ids.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more";
        assert!(!SpanIds::parse(later).unwrap().sampled);
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(SpanIds::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn without_a_collector_there_is_no_trace() {
        assert_eq!(SpanIds::current(), None);
    }
}
