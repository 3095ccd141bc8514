//! What services keep from call to call, from the state's driver to the host's port.

use std::path::Path;
use std::sync::Arc;

use rialto_host::{
    Bucket, KeyChange, KeyChanged, KeyEntry, KeyStart, KeyValue, KeyValueAnswer, KeyValueError,
    NoKeyValue,
};
use rialto_state::{Change, Changed, Config, OpenError, Start, State, StateError};

/// Opens what services keep below `dir`. Blocks.
///
/// # Errors
/// [`OpenError`], the operator's to solve.
pub(crate) fn open(dir: &Path, bytes_max: u64) -> Result<Arc<dyn KeyValue>, OpenError> {
    if bytes_max == 0 {
        return Ok(Arc::new(NoKeyValue));
    }
    let config = Config {
        bytes_max,
        ..Config::default()
    };
    Ok(Arc::new(Kept(State::open(dir, &config)?)))
}

#[derive(Debug)]
struct Kept(State);

impl KeyValue for Kept {
    fn run(&self) -> u64 {
        self.0.run()
    }

    fn get(
        &self,
        bucket: Bucket,
        keys: Vec<String>,
        bytes_max: u64,
    ) -> KeyValueAnswer<Vec<Option<KeyEntry>>> {
        let state = self.0.clone();
        Box::pin(async move {
            let found = state.get(named(bucket), keys, bytes_max).await;
            let found = found.map_err(|error| told(&error))?;
            let entry = |it: rialto_state::Entry| KeyEntry {
                revision: it.revision,
                value: it.value,
            };
            Ok(found.into_iter().map(|it| it.map(entry)).collect())
        })
    }

    fn list(&self, bucket: Bucket, start: KeyStart, count: usize) -> KeyValueAnswer<Vec<String>> {
        let state = self.0.clone();
        let start = match start {
            KeyStart::First => Start::First,
            KeyStart::After(key) => Start::After(key),
            KeyStart::Past(keys) => Start::Past(keys),
        };
        Box::pin(async move {
            let found = state.list(named(bucket), start, count).await;
            found.map_err(|error| told(&error))
        })
    }

    fn change(
        &self,
        bucket: Bucket,
        change: KeyChange,
        bytes_max: u64,
    ) -> KeyValueAnswer<KeyChanged> {
        let state = self.0.clone();
        let change = match change {
            KeyChange::Set(pairs) => Change::Set(pairs),
            KeyChange::Delete(keys) => Change::Delete(keys),
            KeyChange::Swap {
                key,
                revision,
                value,
            } => Change::Swap {
                key,
                revision,
                value,
            },
            KeyChange::Increment {
                key,
                delta,
                lowest,
                highest,
            } => Change::Increment {
                key,
                delta,
                lowest,
                highest,
            },
        };
        Box::pin(async move {
            let changed = state.change(named(bucket), change, bytes_max).await;
            match changed.map_err(|error| told(&error))? {
                Changed::Done => Ok(KeyChanged::Done),
                Changed::Moved => Ok(KeyChanged::Moved),
                Changed::Sum(sum) => Ok(KeyChanged::Sum(sum)),
            }
        })
    }

    fn sync(&self, run: u64) -> KeyValueAnswer<()> {
        let state = self.0.clone();
        Box::pin(async move { state.sync(run).await.map_err(|error| told(&error)) })
    }
}

fn named(bucket: Bucket) -> rialto_state::Bucket {
    rialto_state::Bucket {
        service: bucket.service,
        payer: bucket.payer,
    }
}

/// What a guest is told; what concerns the operator is in the log, too.
fn told(error: &StateError) -> KeyValueError {
    match error {
        StateError::Quota { .. } => KeyValueError(format!("{error} (key_value_bytes_max)")),
        StateError::Full { .. } => {
            tracing::warn!(%error, "services' state is full: raise sandbox.state_bytes_max");
            KeyValueError(error.to_string())
        }
        StateError::Storage(_) | StateError::Lost(_) => {
            tracing::error!(%error, "services' state fails");
            KeyValueError(error.to_string())
        }
        StateError::Payers { .. }
        | StateError::NotANumber
        | StateError::OutOfRange
        | StateError::TooLarge { .. }
        | StateError::Busy => KeyValueError(error.to_string()),
    }
}
