//! What providers wanted a moment ago: whoever calls again need not ask again.
//!
//! A price that has changed meanwhile costs nobody anything: the provider refuses a payment for less, and takes its own
//! lower price from one for more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::Quote;

/// Quotes by whom and for what they are.
#[derive(Debug, Default)]
pub(super) struct Quotes(Mutex<HashMap<Asked, (Quote, Instant)>>);

/// Whom was asked for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) gateway: String,
    pub(super) service: String,
    pub(super) method: String,
    /// Of the body.
    pub(super) bytes: u64,
}

impl Quotes {
    fn all(&self) -> MutexGuard<'_, HashMap<Asked, (Quote, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, asked: &Asked) -> Option<Quote> {
        let all = self.all();
        let (quote, since) = all.get(asked)?;
        (since.elapsed() < GOOD_FOR).then(|| quote.clone())
    }

    pub(super) fn put(&self, asked: Asked, quote: Quote) {
        let mut all = self.all();
        if all.len() >= QUOTES_MAX {
            all.retain(|_, (_, since)| since.elapsed() < GOOD_FOR);
        }
        if all.len() < QUOTES_MAX {
            all.insert(asked, (quote, Instant::now()));
        }
    }

    pub(super) fn forget(&self, asked: &Asked) {
        self.all().remove(asked);
    }
}

/// A few calls in a row; offers on the mesh are older.
const GOOD_FOR: Duration = Duration::from_secs(10);
const QUOTES_MAX: usize = 1_024;
