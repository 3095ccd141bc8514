//! What the node counts of calls, for its operator: outcomes, times, money, by service and method.
//!
//! A call only adds to atomic numbers. Labels are bounded by the services and their methods, and by the
//! codes of errors; nothing is counted by payer.
//!
//! Non-goals: what calls use (the host counts that), and how numbers are shown ([`crate::metrics`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use rialto_channels::Amount;
use rialto_host::Histogram;

use crate::api::{CallError, CallOutcome};
use crate::streams::StreamEnd;

/// The counts of a node.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) started: SystemTime,
    /// By service and method. Locked when a service is loaded and when numbers are read.
    methods: Mutex<BTreeMap<String, BTreeMap<String, Arc<CallMeters>>>>,
    /// Calls that were refused because too many were there, running and waiting.
    pub(crate) crowded: AtomicU64,
}

/// The counts of one method.
#[derive(Debug)]
pub(crate) struct CallMeters {
    outcomes: [AtomicU64; OUTCOMES.len()],
    pub(crate) took: Histogram,
    /// Calls between their arguments and their answers.
    pub(crate) in_flight: AtomicU64,
    /// Token base units.
    pub(crate) charged: AtomicU64,
}

impl Default for CallMeters {
    fn default() -> Self {
        Self {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            took: Histogram::default(),
            in_flight: AtomicU64::default(),
            charged: AtomicU64::default(),
        }
    }
}

/// A call that is being answered; counted as abandoned if it is dropped before.
pub(crate) struct Metered {
    meters: Arc<CallMeters>,
    began: Instant,
    outcome: usize,
}

/// How calls end, as labels say it.
pub(crate) const OUTCOMES: [&str; 35] = [
    "ok",
    "replayed",
    "abandoned",
    "unknown_method",
    "invalid_json",
    "invalid_argument",
    "raw_body_not_accepted",
    "input_too_large",
    "payment_required",
    "payment_refused",
    "refused",
    "trapped",
    "cell_ended",
    "cell_rests",
    "callee_failed",
    "timed_out",
    "cpu_exceeded",
    "memory_exceeded",
    "table_exceeded",
    "stack_exhausted",
    "output_too_large",
    "host_calls_exceeded",
    "host_bytes_exceeded",
    "handles_exceeded",
    "overloaded",
    "over_share",
    "long_calls",
    "not_serving",
    "repriced",
    "conflict",
    "stream_ended",
    "too_many_failures",
    "unavailable",
    "state_unavailable",
    "internal",
];
const ABANDONED: usize = 2;
const INTERNAL: usize = OUTCOMES.len() - 1;

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            started: SystemTime::now(),
            methods: Mutex::default(),
            crowded: AtomicU64::new(0),
        }
    }

    /// The counts of a method that exists, which outlive its service's versions.
    pub(crate) fn of(&self, service: &str, method: &str) -> Arc<CallMeters> {
        let mut methods = self.methods();
        let of_service = methods.entry(service.to_owned()).or_default();
        Arc::clone(of_service.entry(method.to_owned()).or_default())
    }

    /// The counts of every method.
    pub(crate) fn all(&self) -> Vec<(String, String, Arc<CallMeters>)> {
        let methods = self.methods();
        let all = methods.iter().flat_map(|(service, methods)| {
            let of_service = methods.iter();
            of_service
                .map(move |(method, meters)| (service.clone(), method.clone(), Arc::clone(meters)))
        });
        all.collect()
    }

    fn methods(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Arc<CallMeters>>>> {
        // No step under this lock leaves something half-changed.
        self.methods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallMeters {
    /// A call begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Metered {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Metered {
            meters: Arc::clone(self),
            began: Instant::now(),
            outcome: ABANDONED,
        }
    }

    /// How many calls ended in each way.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        OUTCOMES.into_iter().zip(counts)
    }
}

impl Metered {
    /// The call is answered.
    pub(crate) fn end(mut self, result: Result<&CallOutcome, &CallError>) {
        let outcome = match result {
            Ok(outcome) => self.charged(outcome),
            Err(error) => error.outcome(),
        };
        self.ended(outcome);
    }

    /// A call that another service of this host made is answered. What it cost is a part of what that one's call
    /// does, and counted there.
    pub(crate) fn end_hire(mut self, result: Result<(), &CallError>) {
        self.ended(result.map_or_else(CallError::outcome, |()| "ok"));
    }

    /// The stream has ended: what was delivered of one that broke off may be charged as well.
    pub(crate) fn end_stream(mut self, end: &StreamEnd) {
        let charged = end.outcome.as_deref().map(|outcome| self.charged(outcome));
        let broken = end.failure.as_ref().map(CallError::outcome);
        self.ended(broken.or(charged).unwrap_or("internal"));
    }

    /// Counts what was charged, unless it was charged before.
    fn charged(&self, outcome: &CallOutcome) -> &'static str {
        if outcome.replayed {
            return "replayed";
        }
        let charged = units(outcome.charged);
        self.meters.charged.fetch_add(charged, Ordering::Relaxed);
        "ok"
    }

    fn ended(&mut self, outcome: &'static str) {
        let place = OUTCOMES.iter().position(|known| *known == outcome);
        self.outcome = place.unwrap_or(INTERNAL);
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meters.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.meters.took.observe(self.began.elapsed());
        if let Some(count) = self.meters.outcomes.get(self.outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl CallError {
    /// How the call ended, as counts name it.
    fn outcome(&self) -> &'static str {
        use crate::api::PaymentError;
        match self {
            Self::UnknownService { .. } | Self::UnknownMethod { .. } => "unknown_method",
            Self::Arguments(error) => error.wire_code(),
            Self::Payment(PaymentError::Required) => "payment_required",
            Self::Payment(
                PaymentError::Invalid { .. }
                | PaymentError::Resync { .. }
                | PaymentError::Settlement { .. },
            ) => "payment_refused",
            Self::Service(error) => error.wire_code(),
            Self::NotServing { .. } => "not_serving",
            Self::Repriced { .. } => "repriced",
            Self::Conflict(_) => "conflict",
            Self::StreamEnded { .. } => "stream_ended",
            Self::Overloaded { .. } => "overloaded",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

/// An amount as a count: what is more than 2^64 - 1 base units is that many.
pub(crate) fn units(amount: Amount) -> u64 {
    u64::try_from(amount.get()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_host::{ArgumentError, CallError as HostError};

    fn counts(meters: &Meters) -> Vec<(&'static str, u64)> {
        let [(_, _, meters)] = &meters.all()[..] else {
            panic!("one method");
        };
        meters.outcomes().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_call_is_counted_once_however_it_ends() {
        let meters = Meters::new();
        let of_method = meters.of("a", "b");
        drop(of_method.begin());
        of_method.begin().end(Err(&CallError::Conflict("c".into())));
        let running = of_method.begin();
        assert_eq!(counts(&meters), [("abandoned", 1), ("conflict", 1)]);
        assert_eq!(of_method.in_flight.load(Ordering::Relaxed), 1);
        assert_eq!(of_method.took.view().count(), 2);
        drop(running);
        assert_eq!(of_method.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn every_code_of_an_error_is_a_label() {
        let host = [
            HostError::Refused { error: "1".into() },
            HostError::Trapped(String::new()),
            HostError::TimedOut {
                limit_ms: 1,
                busy: false,
            },
            HostError::CpuExceeded { limit_ms: 1 },
            HostError::MemoryExceeded { bytes_max: 1 },
            HostError::TableExceeded { elements_max: 1 },
            HostError::StackExhausted,
            HostError::OutputTooLarge { bytes_max: 1 },
            HostError::HostCalls,
            HostError::HostBytes { bytes_max: 1 },
            HostError::HandlesExceeded { handles_max: 1 },
            HostError::Overloaded { retry_after_ms: 1 },
            HostError::OverShare { retry_after_ms: 1 },
            HostError::LongCalls { retry_after_ms: 1 },
            HostError::State(String::new()),
            HostError::CellEnded(String::new()),
            HostError::CellRests { retry_after_ms: 1 },
            HostError::Callee(String::new()),
            HostError::Internal(String::new()),
        ];
        let arguments = [
            ArgumentError::Syntax(String::new()),
            ArgumentError::Type(String::new()),
            ArgumentError::Overloaded,
        ];
        let errors = host.into_iter().map(CallError::Service);
        let errors = errors.chain(arguments.into_iter().map(CallError::Arguments));
        let ended = CallError::StreamEnded { items: 1 };
        for error in errors.chain([ended]) {
            let outcome = error.outcome();
            assert!(OUTCOMES.contains(&outcome), "{outcome}");
        }
        assert_eq!(OUTCOMES[ABANDONED], "abandoned");
        assert_eq!(OUTCOMES[INTERNAL], "internal");
    }
}
