//! A whole EVM chain inside the process: for development, for tests, and for one machine.
//!
//! One thread owns the chain and takes calls from a bounded mailbox; each transaction is mined at
//! once in a block of its own and, with a data folder, is on disk before it is answered. The
//! contracts stand at the addresses, and the chain has the id, that unmodified x402 clients know.
//!
//! Departures from public chains, on purpose: block times may repeat within a second; a header's
//! state root is a chained digest of all changes, not a Merkle root; calls at `latest` run in the
//! block that would come next, so that they see the present time; a nonce gap is refused instead
//! of queued.
//! Non-goals: consensus, peers, subscriptions, proofs, tracing. The keys are public: never expose
//! the chain beyond this machine as if it held value.

mod accounts;
mod block;
mod chain;
mod clock;
mod evm;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod genesis;
mod log;
mod record;
mod rpc;
mod server;
mod state;
mod step;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use accounts::{DEV_ACCOUNTS, DevAccount};
pub use genesis::Funding;
pub use log::LogError;
pub use rpc::RpcError;
pub use server::Server;

use crate::contracts::DEV_CHAIN_ID;
use chain::Chain;
use log::Log;
use record::Record;
use step::StepError;

/// How a development chain is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the block log is kept; in memory only if `None`.
    pub dir: Option<PathBuf>,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Accounts funded at genesis besides [`DEV_ACCOUNTS`], with as much. They are part of the
    /// genesis hash: the same folder needs the same list.
    pub extra_accounts: Vec<Address>,
    /// Mine an empty block when there was none for so long, so that the latest block's time
    /// keeps up with the clock. `None`: only transactions and `evm_mine` make blocks.
    pub idle_block_interval: Option<Duration>,
}

impl Default for Config {
    /// In memory, with the id of Base Sepolia, no further accounts, no idle blocks.
    fn default() -> Self {
        Self {
            dir: None,
            chain_id: DEV_CHAIN_ID,
            extra_accounts: Vec::new(),
            idle_block_interval: None,
        }
    }
}

/// Why a chain did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The data folder could not be made.
    #[error("data folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The block log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A logged record cannot be repeated: damaged, or written by another version.
    #[error("record {index} of the block log: {reason}")]
    Replay {
        /// Which record, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The first block could not be written.
    #[error("first block: {0}")]
    FirstBlock(String),
    /// A committed contract artifact is damaged: a fault of the build.
    #[error("contract artifact")]
    Artifact(#[from] serde_json::Error),
    /// The system gave no thread.
    #[error("chain thread")]
    Thread(#[source] io::Error),
}

/// A running chain. Clones share it; it ends, and its files close, when the last clone is
/// dropped (which waits for the call under way).
#[derive(Clone, Debug)]
pub struct DevChain {
    inner: Arc<Inner>,
}

impl DevChain {
    /// Begins a chain, or goes on with the one in `config.dir`. Blocks while it replays.
    ///
    /// # Errors
    /// See [`OpenError`]; a data folder of another genesis is never touched.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let mut accounts: Vec<Address> = DEV_ACCOUNTS.iter().map(|a| a.address).collect();
        accounts.extend(&config.extra_accounts);
        accounts.sort_unstable();
        accounts.dedup();
        let funded: Vec<_> = accounts.into_iter().map(Funding::generous).collect();
        let mut chain = Chain::new(config.chain_id, genesis::changes(&funded)?);
        let genesis_hash = chain.latest().hash;
        if let Some(dir) = &config.dir {
            load(&mut chain, dir)?;
        }
        if chain.blocks().len() == 1 {
            // Genesis has a fixed time; from here on the latest block tells the real one.
            chain
                .mine(Vec::new())
                .map_err(|error| OpenError::FirstBlock(error.to_string()))?;
        }
        let (mailbox, jobs) = sync_channel(MAILBOX_MAX);
        let idle = config.idle_block_interval;
        let thread = std::thread::Builder::new()
            .name("rialto-devchain".to_owned())
            .spawn(move || run(chain, &jobs, idle))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                mailbox: Some(mailbox),
                thread: Some(thread),
                genesis_hash,
            }),
        })
    }

    /// The well-known accounts' private keys, in the order of [`DEV_ACCOUNTS`].
    #[must_use]
    pub fn keys(&self) -> Vec<B256> {
        DEV_ACCOUNTS.iter().map(|account| account.key).collect()
    }

    /// The hash of block 0; equal configurations have equal ones.
    #[must_use]
    pub fn genesis_hash(&self) -> B256 {
        self.inner.genesis_hash
    }

    /// One JSON-RPC call, without HTTP. If the future is dropped, the call may still run.
    ///
    /// # Errors
    /// What JSON-RPC answers; code -32005 when the mailbox is full.
    pub async fn request(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            method: method.to_owned(),
            params,
            reply,
        };
        let ended = || RpcError::internal("the chain has ended".to_owned());
        let mailbox = self.inner.mailbox.as_ref().ok_or_else(ended)?;
        mailbox.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => RpcError::busy(),
            TrySendError::Disconnected(_) => ended(),
        })?;
        answer.await.map_err(|_| ended())?
    }

    /// Serves JSON-RPC on `listener` until the returned server is shut down or dropped.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn serve(&self, listener: TcpListener) -> io::Result<Server> {
        server::serve(self.clone(), listener)
    }
}

#[derive(Debug)]
struct Inner {
    /// `None` only while dropping.
    mailbox: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    genesis_hash: B256,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread ends with its mailbox; wait, so that the log is closed when this returns.
        self.mailbox = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the development chain's thread panicked");
        }
    }
}

#[derive(Debug)]
struct Job {
    method: String,
    params: Value,
    reply: oneshot::Sender<Result<Value, RpcError>>,
}

fn run(mut chain: Chain, jobs: &Receiver<Job>, idle: Option<Duration>) {
    loop {
        let job = match idle {
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(interval) => jobs.recv_timeout(interval),
        };
        match job {
            Ok(job) => {
                let answer = rpc::dispatch(&mut chain, &job.method, job.params);
                // Nobody waits any more: fine.
                let _ = job.reply.send(answer);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(interval) = idle {
            mine_if_late(&mut chain, interval);
        }
    }
}

/// Mines an empty block if the latest is older than `interval`.
fn mine_if_late(chain: &mut Chain, interval: Duration) {
    let latest = chain.latest().header.timestamp;
    let age_secs = chain.pending().timestamp.saturating_sub(latest);
    if age_secs >= interval.as_secs().max(1)
        && let Err(error) = chain.mine(Vec::new())
    {
        tracing::error!(%error, "idle block not mined");
    }
}

fn load(chain: &mut Chain, dir: &Path) -> Result<(), OpenError> {
    std::fs::create_dir_all(dir).map_err(|source| OpenError::Folder {
        path: dir.to_owned(),
        source,
    })?;
    let genesis_hash = chain.latest().hash;
    let (log, records) = Log::open(&dir.join(LOG_FILE), genesis_hash)?;
    for (index, bytes) in records.iter().enumerate() {
        let replayed = Record::decode(bytes)
            .map_err(|error| error.to_string())
            .and_then(|record| {
                chain
                    .replay(record)
                    .map_err(|error: StepError| error.to_string())
            });
        replayed.map_err(|reason| OpenError::Replay { index, reason })?;
    }
    chain.set_log(log);
    Ok(())
}

/// The block log's name in the data folder.
const LOG_FILE: &str = "blocks.log";
/// Calls that may wait for the chain's thread.
const MAILBOX_MAX: usize = 1_024;
