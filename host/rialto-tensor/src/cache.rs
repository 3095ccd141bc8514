//! The models of a host: each file loaded once for all who use it, and given up by use when memory is
//! short.
//!
//! A model is in use while somebody holds it. The longest unused goes first, and only what nobody
//! holds goes; whoever comes back for it has it loaded again. Counted are the files' bytes.
//!
//! Non-goals: fetching and verifying files; deciding who may open what.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{Engine, LoadError, Model};

/// Which file, by its digest.
pub type Key = [u8; 32];

/// Models by their file's digest.
#[derive(Debug)]
pub struct ModelCache {
    engine: Arc<dyn Engine>,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    models: HashMap<Key, Kept>,
    /// One lock for each file that is being loaded, so that it is loaded once.
    gates: HashMap<Key, Arc<Mutex<()>>>,
    /// Files of the models that are kept or being loaded.
    bytes: u64,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    model: Arc<dyn Model>,
    bytes: u64,
    used: u64,
}

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file cannot be read.
    #[error("model `{name}` cannot be read")]
    Read {
        /// Which model.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The engine does not accept it, or there is no room for it.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl ModelCache {
    /// Bytes of the files of models that are kept or being loaded.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// An empty cache before an engine; its models' files have at most `bytes_max` bytes together.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, bytes_max: u64) -> Self {
        Self {
            engine,
            bytes_max,
            state: Mutex::default(),
        }
    }

    /// The model of a file, if it is loaded. Does not block.
    #[must_use]
    pub fn loaded(&self, key: &Key) -> Option<Arc<dyn Model>> {
        self.state().used(key)
    }

    /// The model of a file, loaded if it is not. Blocks. `read` is called at most once, and returns the
    /// `bytes` bytes of the file.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is kept, so the next caller tries again.
    pub fn open(
        &self,
        key: Key,
        name: &str,
        bytes: u64,
        read: impl FnOnce() -> io::Result<Bytes>,
    ) -> Result<Arc<dyn Model>, OpenError> {
        let gate = {
            let mut state = self.state();
            if let Some(model) = state.used(&key) {
                return Ok(model);
            }
            Arc::clone(state.gates.entry(key).or_default())
        };
        let turn = gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = self.loaded(&key) {
            return Ok(model);
        }
        let result = self.load(key, name, bytes, read);
        self.state().gates.remove(&key);
        drop(turn);
        result
    }

    fn load(
        &self,
        key: Key,
        name: &str,
        bytes: u64,
        read: impl FnOnce() -> io::Result<Bytes>,
    ) -> Result<Arc<dyn Model>, OpenError> {
        let room = self.state().make_room(bytes, self.bytes_max);
        if !room {
            return Err(OpenError::Load(LoadError::EngineFull {
                model: name.to_owned(),
                bytes_max: self.bytes_max,
            }));
        }
        let loaded = read()
            .map_err(|source| OpenError::Read {
                name: name.to_owned(),
                source,
            })
            .and_then(|file| Ok(self.engine.load(file, name)?));
        let mut state = self.state();
        match loaded {
            Ok(model) => {
                let used = state.tick();
                let kept = Kept {
                    model: Arc::clone(&model),
                    bytes,
                    used,
                };
                state.models.insert(key, kept);
                Ok(model)
            }
            Err(error) => {
                state.bytes = state.bytes.saturating_sub(bytes);
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step under this lock leaves the record half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock = self.clock.saturating_add(1);
        self.clock
    }

    fn used(&mut self, key: &Key) -> Option<Arc<dyn Model>> {
        let now = self.tick();
        let kept = self.models.get_mut(key)?;
        kept.used = now;
        Some(Arc::clone(&kept.model))
    }

    /// Gives up unused models until `bytes` more fit, and reserves them.
    fn make_room(&mut self, bytes: u64, bytes_max: u64) -> bool {
        loop {
            let sum = self.bytes.saturating_add(bytes);
            if sum <= bytes_max {
                self.bytes = sum;
                return true;
            }
            // Nobody else has it: more can only be handed out under this lock.
            let oldest = self
                .models
                .iter()
                .filter(|(_, kept)| Arc::strong_count(&kept.model) == 1)
                .min_by_key(|(_, kept)| kept.used)
                .map(|(key, _)| *key);
            let Some(gone) = oldest.and_then(|key| self.models.remove(&key)) else {
                return false;
            };
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Abilities, Port, RunError, Tensor};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Accepts every file but an empty one, and counts.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    #[derive(Debug)]
    struct Nothing(Abilities);

    impl Engine for Counting {
        fn load(&self, bytes: Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if bytes.is_empty() {
                return Err(LoadError::Malformed {
                    model: name.to_owned(),
                    reason: "empty".to_owned(),
                });
            }
            let abilities = Abilities {
                engine: "none".to_owned(),
                device: "cpu".to_owned(),
                deterministic: true,
                fingerprint: name.to_owned(),
            };
            Ok(Arc::new(Nothing(abilities)))
        }
    }

    impl Model for Nothing {
        fn inputs(&self) -> &[Port] {
            &[]
        }

        fn outputs(&self) -> &[Port] {
            &[]
        }

        fn abilities(&self) -> &Abilities {
            &self.0
        }

        fn run(&self, _: Vec<(String, Tensor)>, _: &[String]) -> Result<Vec<Tensor>, RunError> {
            Ok(Vec::new())
        }
    }

    fn cache(bytes_max: u64) -> (ModelCache, Arc<Counting>) {
        let engine = Arc::new(Counting::default());
        (ModelCache::new(engine.clone(), bytes_max), engine)
    }

    fn open(cache: &ModelCache, key: u8, bytes: u64) -> Result<Arc<dyn Model>, OpenError> {
        let file = vec![1; usize::try_from(bytes).unwrap()];
        cache.open([key; 32], &key.to_string(), bytes, || Ok(file.into()))
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_in_use_stays() {
        let (cache, engine) = cache(10);
        let held = open(&cache, 1, 4).unwrap();
        drop(open(&cache, 2, 3).unwrap());
        drop(open(&cache, 3, 3).unwrap());
        drop(cache.loaded(&[2; 32]).unwrap());
        drop(open(&cache, 4, 3).unwrap());
        assert!(cache.loaded(&[3; 32]).is_none(), "the longest unused");
        assert!(cache.loaded(&[2; 32]).is_some());
        let error = open(&cache, 5, 7).unwrap_err();
        assert!(
            matches!(error, OpenError::Load(LoadError::EngineFull { .. })),
            "{error}"
        );
        assert!(cache.loaded(&[1; 32]).is_some(), "in use");
        drop(held);
        drop(open(&cache, 5, 10).unwrap());
        assert!(cache.loaded(&[1; 32]).is_none());
        assert_eq!(engine.0.load(Ordering::Relaxed), 5);
        assert!(open(&cache, 6, 11).is_err(), "never fits");
    }

    #[test]
    fn a_file_is_loaded_once_for_all_who_ask() {
        let (cache, engine) = cache(100);
        std::thread::scope(|scope| {
            for key in [1, 2, 1, 2, 1, 2, 1, 2] {
                let cache = &cache;
                scope.spawn(move || drop(open(cache, key, 5).unwrap()));
            }
        });
        assert_eq!(engine.0.load(Ordering::Relaxed), 2);
        assert_eq!(cache.state().bytes, 10);
        assert!(cache.state().gates.is_empty());
    }

    #[test]
    fn failures_are_not_kept_and_take_no_room() {
        let (cache, engine) = cache(100);
        let read = || Err(io::Error::other("gone"));
        let error = cache.open([1; 32], "m", 60, read).unwrap_err();
        assert_eq!(error.to_string(), "model `m` cannot be read");
        assert!(open(&cache, 1, 0).is_err());
        assert_eq!(cache.state().bytes, 0);
        assert!(open(&cache, 1, 90).is_ok());
        assert_eq!(engine.0.load(Ordering::Relaxed), 2);
    }
}
