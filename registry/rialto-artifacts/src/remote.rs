//! Downloads from one end to the other that go on where they broke off: after a lost connection, and
//! after a restart.
//!
//! What an earlier download left may be another source's, and wrong. So a whole that turns out wrong is
//! fetched once more from its first byte before anybody is blamed. Not here: how a source is asked, and
//! choosing among sources.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use rialto_registry::Digest;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    FetchError, Progress, ProgressFn, PutError, Store,
    fetch::{blocking, panicked},
    incoming::Incoming,
};

/// Something that has an artifact's bytes in order.
pub(crate) trait Remote: Send + Sync {
    /// Asks for the bytes from `from` on.
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, FetchError>>;
}

/// An answer whose bytes are on their way.
pub(crate) struct Opened {
    /// The first byte that comes: the one that was asked for, or 0.
    pub(crate) start: u64,
    /// Bytes of the whole, where the source says so.
    pub(crate) bytes_total: Option<u64>,
    pub(crate) body: BoxStream<'static, Result<Bytes, FetchError>>,
}

/// What one download tells.
#[derive(Clone)]
pub(crate) struct Report {
    pub(crate) progress: ProgressFn,
    pub(crate) bytes_total: Option<u64>,
    pub(crate) message: String,
}

impl Report {
    pub(crate) fn send(&self, bytes: u64) {
        let (bytes_total, message) = (self.bytes_total, self.message.clone());
        (self.progress)(Progress {
            bytes,
            bytes_total,
            message,
        });
    }
}

impl Store {
    /// Downloads `digest` from `remote`, which people know as `from`.
    pub(crate) async fn download_from(
        &self,
        remote: &dyn Remote,
        from: &str,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        let mut incoming = self.resume(from, digest).await?;
        if incoming.is_complete(digest) {
            return finish(incoming, from, digest).await;
        }
        let mut failures = 0;
        loop {
            let before = incoming.bytes();
            let (kept, passed) = self.pass(remote, incoming, from, progress).await?;
            incoming = kept;
            match passed {
                Ok(()) => {
                    let resumed = incoming.is_resumed();
                    match finish(incoming, from, digest).await {
                        Err(error) if error.is_wrong_bytes() && resumed => {
                            tracing::info!(from, "what an earlier download left was wrong");
                            incoming = self.resume(from, digest).await?;
                        }
                        finished => return finished,
                    }
                }
                // There is no such byte: what is here is longer than what is there.
                Err(FetchError::Status { status: 416, .. }) if before > 0 => {
                    incoming.discard();
                    incoming = self.resume(from, digest).await?;
                }
                Err(error) if error.is_passing() => {
                    let grew = incoming.bytes() > before;
                    failures = if grew { 1 } else { failures + 1 };
                    if failures > self.inner.config.retries_max {
                        return Err(error);
                    }
                    tracing::info!(from, bytes = incoming.bytes(), %error, "download broke off");
                    let pause = self.inner.config.retry_pause;
                    tokio::time::sleep(pause.saturating_mul(1 << failures.min(6))).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn resume(&self, from: &str, digest: &Digest) -> Result<Incoming, FetchError> {
        let (folder, digest, name) = (Arc::clone(&self.inner.folder), *digest, from.to_owned());
        blocking(from, move || {
            Incoming::resume(&folder, &digest)
                .map_err(|source| FetchError::Put { from: name, source })
        })
        .await
    }

    /// Asks once and takes what comes. The outer error is this machine's; the inner one the source's,
    /// with what is here so far.
    async fn pass(
        &self,
        remote: &dyn Remote,
        incoming: Incoming,
        from: &str,
        progress: &ProgressFn,
    ) -> Result<(Incoming, Result<(), FetchError>), FetchError> {
        let mut opened = match remote.open(incoming.bytes()).await {
            Ok(opened) => opened,
            Err(error) => return Ok((incoming, Err(error))),
        };
        let bytes_max = self.inner.config.artifact_bytes_max;
        if opened.bytes_total.is_some_and(|total| total > bytes_max) {
            let from = from.to_owned();
            incoming.discard();
            return Err(FetchError::DownloadTooLarge { from, bytes_max });
        }
        let report = Report {
            progress: Arc::clone(progress),
            bytes_total: opened.bytes_total,
            message: format!("downloading {from}"),
        };
        let (chunks, received) = mpsc::channel(CHUNKS_WAITING_MAX);
        let start = opened.start;
        let writer = spawn_blocking(move || write(incoming, start, received, &report));
        let mut broke = None;
        while let Some(chunk) = opened.body.next().await {
            match chunk {
                // A closed channel means that the writer failed; its result says why.
                Ok(chunk) => {
                    if chunks.send(chunk).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    broke = Some(error);
                    break;
                }
            }
        }
        drop(chunks);
        let incoming = writer
            .await
            .map_err(|error| panicked(from, error))?
            .map_err(|source| FetchError::Put {
                from: from.to_owned(),
                source,
            })?;
        let bytes = incoming.bytes();
        let short = opened.bytes_total.is_some_and(|total| bytes != total);
        let passed = match broke {
            Some(error) => Err(error),
            None if short => Err(FetchError::Cut {
                from: from.to_owned(),
                bytes,
            }),
            None => Ok(()),
        };
        Ok((incoming, passed))
    }
}

/// Writes what comes until nothing more does.
fn write(
    mut incoming: Incoming,
    start: u64,
    mut received: mpsc::Receiver<Bytes>,
    report: &Report,
) -> Result<Incoming, PutError> {
    if start != incoming.bytes() {
        // The source knows no ranges.
        incoming.restart()?;
    }
    if let Some(total) = report.bytes_total {
        incoming.expect(total)?;
    }
    while let Some(chunk) = received.blocking_recv() {
        report.send(incoming.write(&chunk)?);
    }
    Ok(incoming)
}

async fn finish(incoming: Incoming, from: &str, digest: &Digest) -> Result<(), FetchError> {
    let (digest, name) = (*digest, from.to_owned());
    blocking(from, move || {
        let finished = incoming.finish(Some(&digest));
        finished
            .map(|_| ())
            .map_err(|source| FetchError::Put { from: name, source })
    })
    .await
}

const CHUNKS_WAITING_MAX: usize = 16;
