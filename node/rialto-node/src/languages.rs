//! Language models: loaded once for all services of this node, by the digest of their file.
//!
//! Not here: models of other kinds (`models`), fetching.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use rialto_compute::LoadError;
use rialto_compute::language::LanguageModel;
use rialto_registry::Digest;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::models::ModelLoadError;

/// The language models in use.
#[derive(Debug)]
pub(crate) struct Languages {
    engine: rialto_lm::Engine,
    loaded: Mutex<HashMap<Digest, Weak<dyn LanguageModel>>>,
}

impl Languages {
    pub(crate) fn new(config: rialto_lm::Config) -> Self {
        Self {
            engine: rialto_lm::Engine::new(config),
            loaded: Mutex::default(),
        }
    }

    /// Bytes of weights, and of sessions.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.engine.bytes()
    }

    /// The language model in a file; none if the file is of another kind. Its digest was checked. Loads
    /// one at a time: two services with the same model share it.
    ///
    /// # Errors
    /// [`ModelLoadError`] if it cannot be read or is refused.
    pub(crate) async fn load(
        &self,
        path: &Path,
        digest: &Digest,
        name: &str,
    ) -> Result<Option<Arc<dyn LanguageModel>>, ModelLoadError> {
        let mut loaded = self.loaded.lock().await;
        if let Some(model) = loaded.get(digest).and_then(Weak::upgrade) {
            return Ok(Some(model));
        }
        let (engine, path, name) = (self.engine.clone(), path.to_owned(), name.to_owned());
        let model = tokio::task::spawn_blocking(move || read(&engine, &path, &name))
            .await
            .map_err(ModelLoadError::Task)??;
        loaded.retain(|_, model| model.strong_count() > 0);
        if let Some(model) = &model {
            loaded.insert(*digest, Arc::downgrade(model));
        }
        Ok(model)
    }
}

/// How language models run, by the configuration.
pub(crate) fn wanted(config: &Config) -> rialto_lm::Config {
    let usual = rialto_lm::Config::default();
    let threads = config
        .engines
        .threads
        .and_then(|threads| usize::try_from(threads).ok());
    rialto_lm::Config {
        threads: threads.and_then(NonZeroUsize::new).unwrap_or(usual.threads),
        weights_bytes_max: config.engines.weights_bytes_max,
        sessions_bytes_max: config.engines.sessions_bytes_max,
        ..usual
    }
}

fn read(
    engine: &rialto_lm::Engine,
    path: &Path,
    name: &str,
) -> Result<Option<Arc<dyn LanguageModel>>, ModelLoadError> {
    let failed = |source: io::Error| ModelLoadError::Read {
        name: name.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut contents = Vec::new();
    file.by_ref()
        .take(START_BYTES)
        .read_to_end(&mut contents)
        .map_err(failed)?;
    if !rialto_lm::Engine::recognises(&contents) {
        return Ok(None);
    }
    let bytes = file.metadata().map_err(failed)?.len();
    let bytes_max = engine.file_bytes_max();
    if bytes > bytes_max {
        let model = name.to_owned();
        return Err(ModelLoadError::Engine(LoadError::FileTooLarge {
            model,
            bytes,
            bytes_max,
        }));
    }
    // No further than was checked, should it grow meanwhile.
    let rest = bytes.saturating_sub(START_BYTES);
    contents.reserve_exact(usize::try_from(rest).unwrap_or(0));
    file.take(rest).read_to_end(&mut contents).map_err(failed)?;
    Ok(Some(engine.load(&Bytes::from(contents), name)?))
}

const START_BYTES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn languages(weights_bytes_max: u64) -> Languages {
        Languages::new(rialto_lm::Config {
            weights_bytes_max,
            ..rialto_lm::Config::default()
        })
    }

    #[tokio::test]
    async fn files_of_other_kinds_are_left_to_others_and_large_ones_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let digest = Digest::new([7; 32]);
        for other in [&b""[..], b"GG", b"\x08\x07onnx"] {
            std::fs::write(&path, other).unwrap();
            let found = languages(1 << 20).load(&path, &digest, "m").await.unwrap();
            assert!(found.is_none());
        }
        std::fs::write(&path, b"GGUF\x03\0\0\0and something").unwrap();
        let error = languages(1 << 20)
            .load(&path, &digest, "m")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("malformed"), "{error}");
        let error = languages(20).load(&path, &digest, "m").await.unwrap_err();
        assert!(error.to_string().contains("more than 20"), "{error}");
    }
}
