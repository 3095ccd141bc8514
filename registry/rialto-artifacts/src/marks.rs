//! Who gave wrong bytes of late: bounded, and forgotten after a while.
//!
//! A mark is no ban: whoever is marked is asked last, or not at all where there are others. Not here:
//! what a peer's behaviour is worth; whoever listens ([`Marks::listen`]) may score it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rialto_registry::{Digest, Source};

use crate::PeerName;

/// Who gave wrong bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// A peer, which is trusted less for every artifact.
    Peer(PeerName),
    /// A source, which is trusted less for this artifact.
    Source(Source, Digest),
}

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The whole had another digest than was asked for.
    WrongBytes,
    /// A chunk did not fit the outline that the whole proved right.
    WrongChunk,
    /// The outline described other bytes.
    WrongOutline,
}

/// Hears of each fault as it is found; called from any thread, and should return at once.
pub type MarkFn = Arc<dyn Fn(&Culprit, Fault) + Send + Sync>;

/// Memory of bad sources: the last [`MARKS_MAX`], each for an hour.
pub struct Marks {
    marks: Mutex<VecDeque<(Culprit, Instant)>>,
    listener: OnceLock<MarkFn>,
}

impl Marks {
    /// Lets `listener` hear of each fault from now on; the first one stays. Says whether this is it.
    pub fn listen(&self, listener: MarkFn) -> bool {
        self.listener.set(listener).is_ok()
    }

    /// Whether `culprit` gave wrong bytes within the last hour.
    #[must_use]
    pub fn is_marked(&self, culprit: &Culprit) -> bool {
        self.was_marked(culprit, Instant::now())
    }

    fn was_marked(&self, culprit: &Culprit, now: Instant) -> bool {
        let marks = self.marks();
        let mut fresh = marks.iter().filter(|(_, until)| now < *until);
        fresh.any(|(marked, _)| marked == culprit)
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks().len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks().is_empty()
    }

    pub(crate) fn mark(&self, culprit: Culprit, fault: Fault) {
        tracing::warn!(?culprit, ?fault, "marking a source of wrong bytes");
        if let Some(listener) = self.listener.get() {
            listener(&culprit, fault);
        }
        let now = Instant::now();
        let mut marks = self.marks();
        marks.retain(|(marked, until)| now < *until && *marked != culprit);
        if marks.len() >= MARKS_MAX {
            marks.pop_front();
        }
        marks.push_back((culprit, now + MARKED_FOR));
    }

    fn marks(&self) -> MutexGuard<'_, VecDeque<(Culprit, Instant)>> {
        // Every step leaves a sound list behind.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            marks: Mutex::default(),
            listener: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks")
            .field("marks", &*self.marks())
            .finish_non_exhaustive()
    }
}

/// The most marks that are remembered; the oldest goes first.
pub const MARKS_MAX: usize = 1024;
const MARKED_FOR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> Culprit {
        Culprit::Peer(format!("peer{number}").parse().unwrap())
    }

    #[test]
    fn marks_expire_and_are_few() {
        let marks = Marks::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        let listener: MarkFn = Arc::new(move |culprit, fault| {
            kept.lock().unwrap().push((culprit.clone(), fault));
        });
        assert!(marks.listen(Arc::clone(&listener)) && !marks.listen(listener));
        marks.mark(peer(0), Fault::WrongChunk);
        assert_eq!(*heard.lock().unwrap(), [(peer(0), Fault::WrongChunk)]);
        assert!(marks.is_marked(&peer(0)) && !marks.is_marked(&peer(1)));
        assert!(!marks.was_marked(&peer(0), Instant::now() + MARKED_FOR));
        for number in 0..MARKS_MAX + 5 {
            marks.mark(peer(number), Fault::WrongOutline);
            marks.mark(peer(number), Fault::WrongOutline);
        }
        assert_eq!(marks.len(), MARKS_MAX);
        assert!(!marks.is_marked(&peer(4)) && marks.is_marked(&peer(5)));
    }

    #[test]
    fn a_source_is_marked_for_one_artifact() {
        let marks = Marks::default();
        let source = Source::url("https://models.example/m").unwrap();
        let of = |bytes: &[u8]| Culprit::Source(source.clone(), Digest::of(bytes));
        marks.mark(of(b"a"), Fault::WrongBytes);
        assert!(marks.is_marked(&of(b"a")) && !marks.is_marked(&of(b"b")));
    }
}
