//! Callers that go on calling, and what became of every call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::lab::{CALLER, Lab, SERVICE};

/// What became of one call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// Its provider and what was paid, or why there is no answer.
    pub(crate) outcome: Result<Answer, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    provider: String,
    charged: u128,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    key: String,
    stop: AtomicBool,
    left: AtomicUsize,
    calls: Mutex<Vec<Call>>,
}

impl Load {
    /// So many callers, who make so many calls in all unless they are stopped.
    pub(crate) fn start(lab: &Lab, callers: usize, calls: usize, query: &str) -> Result<Self> {
        let local = lab.get(CALLER)?.text("/local");
        let shared = Arc::new(Shared {
            url: format!("{local}/call/{SERVICE}/echo?{query}"),
            key: lab.key.clone(),
            stop: AtomicBool::new(false),
            left: AtomicUsize::new(calls),
            calls: Mutex::default(),
        });
        let mut load = Self {
            callers: JoinSet::new(),
            shared,
        };
        for _ in 0..callers {
            let shared = Arc::clone(&load.shared);
            load.callers.spawn(async move { shared.go_on().await });
        }
        Ok(load)
    }

    /// What ended until now.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let calls = self.shared.calls.lock();
        calls.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the callers are done.
    pub(crate) async fn done(mut self) -> Vec<Call> {
        while self.callers.join_next().await.is_some() {}
        self.calls()
    }

    /// Lets no new call begin, and waits for those under way.
    pub(crate) async fn stop(self) -> Vec<Call> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.done().await
    }
}

impl Shared {
    async fn go_on(&self) {
        let http = reqwest::Client::new();
        let take = |left: usize| left.checked_sub(1);
        while !self.stop.load(Ordering::Relaxed)
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
        {
            let began = Instant::now();
            let answered = call(&http, &self.url, &self.key).await;
            let outcome = answered.map_err(|error| format!("{error:#}"));
            let call = Call {
                began,
                ended: Instant::now(),
                outcome,
            };
            let calls = self.calls.lock();
            calls.unwrap_or_else(PoisonError::into_inner).push(call);
        }
    }
}

async fn call(http: &reqwest::Client, url: &str, key: &str) -> Result<Answer> {
    let answer = http
        .post(url)
        .bearer_auth(key)
        .timeout(CALL_TIME_MAX)
        .json(&json!({ "text": "hello" }))
        .send()
        .await?;
    let header = |name: &str| {
        let value = answer.headers().get(name);
        let value = value.and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let (provider, charged) = (header("rialto-provider"), header("rialto-charged"));
    let status = answer.status();
    let text = answer.text().await?;
    anyhow::ensure!(status.is_success(), "{status}: {text}");
    anyhow::ensure!(text.contains("hello"), "another answer: {text}");
    Ok(Answer {
        provider: provider.context("no provider")?,
        charged: charged.context("no charge")?.parse()?,
    })
}

/// What a lot of calls came to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    /// Why calls have no answer.
    pub(crate) lost: Vec<String>,
    pub(crate) paid: u128,
    /// Answers of each provider.
    by_provider: BTreeMap<String, u128>,
    millis: Vec<u64>,
}

impl Tally {
    pub(crate) fn of(calls: &[Call]) -> Self {
        let mut tally = Self::default();
        for call in calls {
            match &call.outcome {
                Ok(answer) => {
                    tally.answered += 1;
                    tally.paid += answer.charged;
                    *tally
                        .by_provider
                        .entry(answer.provider.clone())
                        .or_default() += 1;
                    let millis = (call.ended - call.began).as_millis();
                    tally.millis.push(u64::try_from(millis).unwrap_or(u64::MAX));
                }
                Err(why) => {
                    let after = (call.ended - call.began).as_millis();
                    tally.lost.push(format!("after {after} ms: {why}"));
                }
            }
        }
        tally.millis.sort_unstable();
        tally
    }

    /// Answers of one peer.
    pub(crate) fn answered_by(&self, peer: &str) -> u128 {
        let of = |(name, _): &(&String, &u128)| is_of(name, peer);
        self.by_provider
            .iter()
            .filter(of)
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn json(&self) -> Value {
        let at = |permille: usize| {
            self.millis
                .get(self.millis.len() * permille / 1000)
                .copied()
        };
        json!({
            "answered": self.answered,
            "lost": self.lost.len(),
            "why_lost": self.lost,
            "paid": self.paid.to_string(),
            "providers": self.by_provider.len(),
            "p50_ms": at(500),
            "p99_ms": at(990),
            "slowest_ms": self.millis.last(),
        })
    }
}

/// The first answer to a call that began after `since`, counted from then, from one of these providers if named.
pub(crate) fn first_answer(
    calls: &[Call],
    since: Instant,
    from: Option<&[String]>,
) -> Option<Duration> {
    let fits = |call: &&Call| {
        call.began >= since
            && call.outcome.as_ref().is_ok_and(|answer| {
                from.is_none_or(|names| names.iter().any(|name| is_of(&answer.provider, name)))
            })
    };
    let ended = calls.iter().filter(fits).map(|call| call.ended).min();
    ended.map(|ended| ended - since)
}

/// A provider is named by its peer and the service.
fn is_of(provider: &str, peer: &str) -> bool {
    provider.starts_with(peer)
}

const CALL_TIME_MAX: Duration = Duration::from_secs(70);
