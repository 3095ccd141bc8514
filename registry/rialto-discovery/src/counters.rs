//! Counts of what happens, for metrics.
//!
//! Not here: showing them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted. Each name is a metric's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Count {
    BytesIn,
    BytesOut,
    StreamBytesIn,
    StreamBytesOut,
    ConnectionsOpened,
    ConnectionsClosed,
    ConnectionsRefused,
    DialsFailed,
    StreamsIn,
    StreamsOut,
    StreamsRefused,
    Registered,
    RegisterRefused,
    Lookups,
    LookupRequests,
    LookupFailures,
    RecordsFound,
    RecordsRefused,
    CacheHits,
    CacheStale,
    RequestsServed,
    RequestsLimited,
    RequestsMalformed,
    PointersTaken,
    PointersRefused,
    GossipAccepted,
    GossipIgnored,
    GossipRejected,
    GossipSent,
    PartsServed,
    PartsFetched,
    Faults,
    Bans,
    EventsDropped,
    CommandsDropped,
    AddressesRefused,
    RoutingRefused,
}

/// The counts' names, in the order of [`Count`].
const NAMES: [&str; Count::RoutingRefused as usize + 1] = [
    "bytes_in",
    "bytes_out",
    "stream_bytes_in",
    "stream_bytes_out",
    "connections_opened",
    "connections_closed",
    "connections_refused",
    "dials_failed",
    "streams_in",
    "streams_out",
    "streams_refused",
    "registered",
    "register_refused",
    "lookups",
    "lookup_requests",
    "lookup_failures",
    "records_found",
    "records_refused",
    "cache_hits",
    "cache_stale",
    "requests_served",
    "requests_limited",
    "requests_malformed",
    "pointers_taken",
    "pointers_refused",
    "gossip_accepted",
    "gossip_ignored",
    "gossip_rejected",
    "gossip_sent",
    "parts_served",
    "parts_fetched",
    "faults",
    "bans",
    "events_dropped",
    "commands_dropped",
    "addresses_refused",
    "routing_refused",
];

/// The counts.
#[derive(Debug)]
pub(crate) struct Counters([AtomicU64; NAMES.len()]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(crate) fn add(&self, count: Count, amount: u64) {
        self.0[count as usize].fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn one(&self, count: Count) {
        self.add(count, 1);
    }

    #[cfg(test)]
    pub(crate) fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }

    fn named(&self) -> Vec<(&'static str, u64)> {
        NAMES
            .iter()
            .zip(&self.0)
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
            .collect()
    }

    pub(crate) fn snapshot(&self, levels: Levels) -> Snapshot {
        Snapshot {
            counts: self.named(),
            levels,
        }
    }
}

/// How much there is of what comes and goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// Connected peers.
    pub peers: usize,
    /// Peers in the routing table.
    pub routing: usize,
    /// Records that others registered here.
    pub records: usize,
    /// Keys under which they are.
    pub keys: usize,
    /// Provider pointers of others.
    pub pointers: usize,
    /// Keys whose findings are remembered.
    pub cached: usize,
    /// Records that this node publishes.
    pub published: usize,
    /// Peers that are shut out.
    pub banned: usize,
    /// Open streams of this crate's protocols that others opened.
    pub streams_in: usize,
    /// Open streams that this node opened.
    pub streams_out: usize,
    /// Whether this node serves others' lookups.
    pub serving: bool,
}

/// Everything that is counted, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Counts since the start, by name.
    pub counts: Vec<(&'static str, u64)>,
    /// Levels now.
    pub levels: Levels,
}

impl Snapshot {
    /// One count by its name; zero for a name that there is not.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let found = self.counts.iter().find(|(known, _)| *known == name);
        found.map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts_go_together() {
        let counters = Counters::new();
        counters.one(Count::BytesIn);
        counters.add(Count::RoutingRefused, 5);
        let snapshot = counters.snapshot(Levels::default());
        assert_eq!(snapshot.count("bytes_in"), 1);
        assert_eq!(snapshot.count("routing_refused"), 5);
        assert_eq!(snapshot.count("nothing"), 0);
        let names: std::collections::HashSet<_> = NAMES.into_iter().collect();
        assert_eq!(names.len(), NAMES.len(), "every name once");
    }
}
