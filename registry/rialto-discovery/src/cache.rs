//! What was found, for a while: fresh, then stale but usable until its records end, then gone.
//!
//! Not here: looking again, which whoever reads something stale begins.

use std::collections::HashMap;
use std::time::Duration;

use crate::Key;
use crate::find::Record;
use crate::judge::UnixSeconds;

/// Findings by key, in bounded memory.
#[derive(Debug)]
pub(crate) struct Cache {
    keys_max: usize,
    fresh_s: u64,
    negative_s: u64,
    findings: HashMap<Key, Finding>,
}

#[derive(Debug)]
struct Finding {
    records: Vec<Record>,
    /// How many were looked for: who wants more looks again.
    wanted: usize,
    fresh_until: u64,
    /// Whether somebody is looking again already.
    refreshing: bool,
}

/// What the cache knows of a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// Nothing: look.
    Nothing,
    /// This, and it is fresh. Empty: a moment ago there was nothing.
    Fresh(Vec<Record>),
    /// This; and the caller, being the first to see it stale, should look again.
    Stale(Vec<Record>),
}

impl Cache {
    pub(crate) fn new(keys_max: usize, fresh: Duration, negative: Duration) -> Self {
        Self {
            keys_max,
            fresh_s: fresh.as_secs(),
            negative_s: negative.as_secs(),
            findings: HashMap::new(),
        }
    }

    /// What is known of a key for somebody who wants so many records.
    pub(crate) fn get(&mut self, key: &Key, want: usize, now: UnixSeconds) -> Known {
        let Some(finding) = self.findings.get_mut(key) else {
            return Known::Nothing;
        };
        let was_empty = finding.records.is_empty();
        finding.records.retain(|record| record.judged.expires > now);
        let ended = finding.records.is_empty() && (!was_empty || now.0 >= finding.fresh_until);
        if ended {
            self.findings.remove(key);
            return Known::Nothing;
        }
        if finding.records.len() < want && finding.wanted < want {
            return Known::Nothing;
        }
        let records = finding.records.iter().take(want).cloned().collect();
        if now.0 < finding.fresh_until || finding.refreshing {
            return Known::Fresh(records);
        }
        finding.refreshing = true;
        Known::Stale(records)
    }

    /// Remembers a finding.
    pub(crate) fn put(&mut self, key: Key, records: Vec<Record>, wanted: usize, now: UnixSeconds) {
        let until = if records.is_empty() {
            now.0.saturating_add(self.negative_s)
        } else {
            let ends = records.iter().map(|record| record.judged.expires.0).min();
            now.0
                .saturating_add(self.fresh_s)
                .min(ends.unwrap_or(u64::MAX))
        };
        if self.findings.len() >= self.keys_max && !self.findings.contains_key(&key) {
            self.make_room(now);
        }
        let finding = Finding {
            records,
            wanted,
            fresh_until: until,
            refreshing: false,
        };
        self.findings.insert(key, finding);
    }

    /// Notes that looking again came to nothing, so that the next one tries.
    pub(crate) fn not_refreshed(&mut self, key: &Key) {
        if let Some(finding) = self.findings.get_mut(key) {
            finding.refreshing = false;
        }
    }

    /// Forgets a key.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.findings.remove(key);
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        self.findings.len()
    }

    fn make_room(&mut self, now: UnixSeconds) {
        self.findings
            .retain(|_, finding| now.0 < finding.fresh_until);
        while self.findings.len() >= self.keys_max {
            let first = self
                .findings
                .iter()
                .min_by_key(|(_, finding)| finding.fresh_until);
            let Some(first) = first.map(|(key, _)| *key) else {
                return;
            };
            self.findings.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::judge::{Judged, Subject};
    use crate::{Identity, PeerKey};

    fn peer() -> PeerKey {
        Identity::from_seed([1; 32]).peer()
    }

    fn record(subject: u8, expires: u64) -> Record {
        Record {
            bytes: Bytes::from(vec![subject]),
            judged: Judged {
                keys: Vec::new(),
                publisher: peer(),
                subject: Subject([subject; 32]),
                seq: 1,
                expires: UnixSeconds(expires),
                addresses: Vec::new(),
            },
        }
    }

    fn cache() -> Cache {
        Cache::new(2, Duration::from_secs(600), Duration::from_secs(30))
    }

    fn at(cache: &mut Cache, want: usize, now: u64) -> (&'static str, usize) {
        match cache.get(&Key::service("a"), want, UnixSeconds(now)) {
            Known::Nothing => ("nothing", 0),
            Known::Fresh(records) => ("fresh", records.len()),
            Known::Stale(records) => ("stale", records.len()),
        }
    }

    #[test]
    fn a_finding_is_fresh_then_stale_then_gone() {
        let (mut cache, key) = (cache(), Key::service("a"));
        cache.put(
            key,
            vec![record(1, 3000), record(2, 2000)],
            8,
            UnixSeconds(1000),
        );
        assert_eq!(at(&mut cache, 8, 1599), ("fresh", 2));
        assert_eq!(at(&mut cache, 8, 1600), ("stale", 2));
        assert_eq!(
            at(&mut cache, 8, 1600),
            ("fresh", 2),
            "one looks again, not all"
        );
        cache.not_refreshed(&key);
        assert_eq!(
            at(&mut cache, 8, 2000),
            ("stale", 1),
            "an ended record is never given out"
        );
        assert_eq!(at(&mut cache, 8, 3000), ("nothing", 0));
    }

    #[test]
    fn a_finding_is_fresh_no_longer_than_its_records() {
        let mut cache = cache();
        cache.put(
            Key::service("a"),
            vec![record(1, 1100), record(2, 9000)],
            2,
            UnixSeconds(1000),
        );
        assert_eq!(at(&mut cache, 2, 1099), ("fresh", 2));
        assert_eq!(at(&mut cache, 2, 1100), ("stale", 1));
    }

    #[test]
    fn nothing_found_is_remembered_shortly() {
        let mut cache = cache();
        cache.put(Key::service("a"), Vec::new(), 8, UnixSeconds(1000));
        assert_eq!(at(&mut cache, 8, 1029), ("fresh", 0));
        assert_eq!(at(&mut cache, 8, 1030), ("nothing", 0));
    }

    #[test]
    fn who_wants_more_than_was_looked_for_looks_again() {
        let mut cache = cache();
        cache.put(
            Key::service("a"),
            vec![record(1, 3000)],
            1,
            UnixSeconds(1000),
        );
        assert_eq!(at(&mut cache, 1, 1001), ("fresh", 1));
        assert_eq!(at(&mut cache, 8, 1001), ("nothing", 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut cache = cache();
        for name in 0..100 {
            cache.put(
                Key::service(&name.to_string()),
                Vec::new(),
                8,
                UnixSeconds(1000),
            );
        }
        assert_eq!(cache.len(), 2);
        cache.forget(&Key::service("99"));
        assert_eq!(cache.len(), 1);
    }
}
