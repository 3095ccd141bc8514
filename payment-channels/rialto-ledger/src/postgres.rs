//! The durable record of money of many machines: replicas of one provider share it in a PostgreSQL
//! database, or in any distributed SQL that speaks its protocol.
//!
//! What one process keeps in memory, replicas keep in rows: the state of a channel, the calls in
//! flight on it, the payments being executed. Every decision about a channel is made inside a
//! transaction that holds the lock of the channel's row, by the same pure state machine
//! (`rialto_channels::payee`). So M2 (charged <= signed ceiling <= balance) holds over all replicas
//! together, and M5 (one execution per payment id) by a row that is taken before the work.
//!
//! What a replica holds, it holds while it lives: it renews one lease, and when that ends its
//! reservations, executions and duties are free. A replica that comes back late finds them gone and
//! is told so before it charges.
//!
//! Only plain tables, row locks and the default isolation level are used, whatever that is: no
//! extensions, no advisory locks, no notifications. Every change of a channel writes the channel's
//! own row, so that stronger levels detect a conflict, and conflicts are tried again.
//!
//! Non-goals: replicating the database (its own work), protocol decisions, knowledge of the chain.

mod books;
mod change;
mod charge;
mod config;
mod error;
mod execution;
mod exposure;
mod fault;
mod lease;
mod read;
mod rows;
mod schema;
mod upgrade;
mod write;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{runtime::Handle, task::JoinHandle};

pub use change::Changed;
pub use charge::Charged;
pub use config::{DatabaseUrl, NotADatabaseUrl, Provider, SharedConfig};
pub use error::{SharedError, SharedOpenError};
pub use execution::{Begun, Execution};
pub use lease::Duty;

use fault::{Backoff, Patience};

/// A handle to the shared ledger, for one replica; clones are the same replica.
///
/// Dropping the last handle ends the replica's lease on its own time; [`SharedLedger::close`] ends
/// it at once.
#[derive(Clone, Debug)]
pub struct SharedLedger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    config: SharedConfig,
    /// This replica, until it ends; a restarted process is another one.
    replica: String,
    /// Attempts that this process works on: rows of others in its name are leftovers.
    active: Mutex<HashSet<[u8; 16]>>,
    down: AtomicBool,
    retries: AtomicU64,
    runtime: Handle,
    heart: Mutex<Option<JoinHandle<()>>>,
}

impl SharedLedger {
    /// Connects, makes or migrates the tables, and registers this replica.
    ///
    /// Call it inside a tokio runtime, whose tasks renew the lease.
    ///
    /// # Errors
    /// [`SharedOpenError`]; the operator's to solve.
    pub async fn open(config: SharedConfig, provider: &Provider) -> Result<Self, SharedOpenError> {
        let options = config.connect_options()?;
        let pool = PgPoolOptions::new()
            .max_connections(config.connections_max)
            .acquire_timeout(config.connect_within)
            .connect_lazy_with(options);
        schema::prepare(&pool, provider).await?;
        let ledger = Self {
            inner: Arc::new(Inner {
                pool,
                config,
                replica: hex(&rand::random::<[u8; 16]>()),
                active: Mutex::default(),
                down: AtomicBool::new(false),
                retries: AtomicU64::new(0),
                runtime: Handle::current(),
                heart: Mutex::default(),
            }),
        };
        ledger.renew().await.map_err(SharedOpenError::from)?;
        let heart = Handle::current().spawn(lease::beat(Arc::downgrade(&ledger.inner)));
        *ledger
            .inner
            .heart
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(heart);
        Ok(ledger)
    }

    /// Ends this replica: what it still holds is free at once. Best after its last call.
    pub async fn close(&self) {
        self.inner.stop_heart();
        if let Err(error) = self.retire().await {
            tracing::warn!(%error, "the replica's lease ends by itself");
        }
        self.inner.pool.close().await;
    }

    /// This replica's name.
    #[must_use]
    pub fn replica(&self) -> &str {
        &self.inner.replica
    }

    /// Whether the database was last seen unreachable: refuse calls before any work.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.inner.down.load(Ordering::Acquire)
    }

    /// How many transactions were tried again so far, because another was in their way.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.inner.retries.load(Ordering::Relaxed)
    }

    fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    fn backoff(&self, patience: Patience) -> Backoff<'_> {
        Backoff::new(
            patience,
            self.inner.config.settle_within,
            &self.inner.retries,
        )
    }

    fn active(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 16]>> {
        self.inner
            .active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn stop_heart(&self) {
        let heart = self
            .heart
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(heart) = heart {
            heart.abort();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop_heart();
    }
}

fn hex(bytes: &[u8]) -> String {
    alloy_primitives::hex::encode(bytes)
}
