//! Getting a missing artifact from its source, once however many ask.
//!
//! Non-goals: choosing among sources, retrying.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use rialto_registry::{Digest, Source, source::WheelSource};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{FetchError, Progress, ProgressFn, PutError, Store, pip, store::Inner, wheel};

/// Fetches under way in this process, by digest.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Weak<Flight>>>);

/// Held by the task that fetches; the others wait and then find the artifact in the store.
type Flight = tokio::sync::Mutex<()>;

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
    /// [`FetchError`] says what to do; nothing is left behind.
    pub async fn fetch(
        &self,
        source: &Source,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<PathBuf, FetchError> {
        let flight = self.inner.flights.join(digest);
        let _first = flight.lock().await;
        if let Some(path) = self.look_up(source, digest).await? {
            return Ok(path);
        }
        tracing::info!(artifact.cid = %digest, from = %source, "fetching");
        let time_max = self.inner.config.fetch_time_max;
        tokio::time::timeout(time_max, self.download(source, digest, progress))
            .await
            .unwrap_or_else(|_| {
                Err(FetchError::TimedOut {
                    from: source.to_string(),
                    after: time_max,
                })
            })?;
        Ok(self.inner.path(digest))
    }

    async fn look_up(
        &self,
        source: &Source,
        digest: &Digest,
    ) -> Result<Option<PathBuf>, FetchError> {
        let (store, digest) = (self.clone(), *digest);
        blocking(source, move || Ok(store.get(&digest)?)).await
    }

    async fn download(
        &self,
        source: &Source,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        match source {
            Source::Wheel(wheel) => self.download_wheel(source, wheel, digest, progress).await,
            Source::File(path) => {
                let (inner, path, digest, progress) = (
                    Arc::clone(&self.inner),
                    path.clone(),
                    *digest,
                    Arc::clone(progress),
                );
                blocking(source, move || copy_file(&inner, &path, &digest, &progress)).await
            }
            Source::Url(url) => self.download_url(source, url, digest, progress).await,
        }
    }

    async fn download_wheel(
        &self,
        source: &Source,
        wheel: &WheelSource,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        let requirement = wheel.requirement();
        let local = |error| FetchError::Local {
            from: requirement.clone(),
            source: error,
        };
        let dir = tempfile::tempdir_in(&self.inner.partial).map_err(local)?;
        let download = pip::Download {
            python: &self.inner.config.python,
            requirement: &requirement,
            dir: dir.path(),
            bytes_max: self.inner.config.artifact_bytes_max,
        };
        download.run(progress).await?;
        let (inner, wheel, digest, progress) = (
            Arc::clone(&self.inner),
            wheel.clone(),
            *digest,
            Arc::clone(progress),
        );
        blocking(source, move || {
            unpack(&inner, dir.path(), &wheel, &digest, &progress)
        })
        .await
    }

    async fn download_url(
        &self,
        source: &Source,
        url: &str,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        let http = |source: reqwest::Error| FetchError::Http {
            url: url.to_owned(),
            source: source.without_url(),
        };
        let mut response = self.inner.http.get(url).send().await.map_err(http)?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(FetchError::Status {
                url: url.to_owned(),
                status,
            });
        }
        let bytes_total = response.content_length();
        let bytes_max = self.inner.config.artifact_bytes_max;
        if bytes_total.is_some_and(|total| total > bytes_max) {
            return Err(FetchError::DownloadTooLarge {
                from: url.to_owned(),
                bytes_max,
            });
        }
        let (chunks, received) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (inner, digest, progress, from) = (
            Arc::clone(&self.inner),
            *digest,
            Arc::clone(progress),
            source.to_string(),
        );
        let report = Report {
            progress,
            bytes_total,
            message: format!("downloading {from}"),
        };
        let writer =
            spawn_blocking(move || write_chunks(&inner, received, &digest, &report, &from));
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    // A closed channel means that the writer failed; its result says why.
                    if chunks.send(Chunk::Bytes(chunk)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => {
                    let _ = chunks.send(Chunk::End).await;
                    break;
                }
                Err(error) => return Err(http(error)),
            }
        }
        drop(chunks);
        writer.await.map_err(|error| panicked(source, error))?
    }
}

/// A piece of a download on its way to the thread that writes.
enum Chunk {
    Bytes(Bytes),
    /// The download is complete. Without it the download broke off and is thrown away.
    End,
}

struct Report {
    progress: ProgressFn,
    bytes_total: Option<u64>,
    message: String,
}

impl Report {
    fn send(&self, bytes: u64) {
        let (bytes_total, message) = (self.bytes_total, self.message.clone());
        (self.progress)(Progress {
            bytes,
            bytes_total,
            message,
        });
    }
}

fn write_chunks(
    inner: &Inner,
    mut received: mpsc::Receiver<Chunk>,
    digest: &Digest,
    report: &Report,
    from: &str,
) -> Result<(), FetchError> {
    let put = |source| FetchError::Put {
        from: from.to_owned(),
        source,
    };
    let mut incoming = inner.incoming().map_err(put)?;
    while let Some(chunk) = received.blocking_recv() {
        match chunk {
            Chunk::Bytes(bytes) => report.send(incoming.write(&bytes).map_err(put)?),
            Chunk::End => return inner.admit(incoming, Some(digest)).map(|_| ()).map_err(put),
        }
    }
    let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
    Err(put(PutError::Io(cut)))
}

fn copy_file(
    inner: &Inner,
    path: &Path,
    digest: &Digest,
    progress: &ProgressFn,
) -> Result<(), FetchError> {
    let unreadable = |source| FetchError::File {
        path: path.to_owned(),
        source,
    };
    let put = |source| FetchError::Put {
        from: path.display().to_string(),
        source,
    };
    // A pipe or a device would block or never end.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::from(io::ErrorKind::InvalidInput)));
    }
    let file = File::open(path).map_err(unreadable)?;
    let report = Report {
        progress: Arc::clone(progress),
        bytes_total: Some(metadata.len()),
        message: format!("copying {}", path.display()),
    };
    let mut incoming = inner.incoming().map_err(put)?;
    incoming
        .copy(file, |bytes| report.send(bytes))
        .map_err(put)?;
    inner.admit(incoming, Some(digest)).map_err(put)?;
    Ok(())
}

fn unpack(
    inner: &Inner,
    dir: &Path,
    source: &WheelSource,
    digest: &Digest,
    progress: &ProgressFn,
) -> Result<(), FetchError> {
    let requirement = source.requirement();
    let put = |error| FetchError::Put {
        from: requirement.clone(),
        source: error,
    };
    let wheel = wheel::find(dir)
        .map_err(|error| FetchError::Local {
            from: requirement.clone(),
            source: error,
        })?
        .ok_or_else(|| FetchError::Pip {
            requirement: requirement.clone(),
            message: "it ended well but left no wheel".to_owned(),
        })?;
    let mut incoming = inner.incoming().map_err(put)?;
    wheel::extract(&wheel, source, &mut incoming, progress)?;
    inner.admit(incoming, Some(digest)).map_err(put)?;
    Ok(())
}

/// Runs `work`, which blocks, off the runtime's threads.
async fn blocking<T: Send + 'static>(
    source: &Source,
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    spawn_blocking(work)
        .await
        .map_err(|error| panicked(source, error))?
}

fn panicked(source: &Source, error: tokio::task::JoinError) -> FetchError {
    FetchError::Local {
        from: source.to_string(),
        source: io::Error::other(error),
    }
}

const CHUNKS_WAITING_MAX: usize = 16;
