//! What was begun on the chain and is not over: remembered before it is sent, looked into after a
//! crash, forgotten when it is over.
//!
//! One small file each, in a folder of its own, written and synced before the chain hears of it:
//! there are few, and a torn one must not spoil the others. A refund whose outcome is unknown
//! keeps its channel closed; a claim, settlement or refund that a reorganisation may still take
//! back enters the books only when it lies deep enough.
//! Not here: deciding what became of anything (`resolve` asks the chain), and the books themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bytes};
use rialto_chain::client::{KeepError, KeepSent, Sent};
use rialto_channels::{Amount, ChannelId};
use serde::{Deserialize, Serialize};

use crate::api::ExactPayment;

/// What is begun and not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Item {
    /// A refund that is about to be sent, or was.
    Refund {
        /// The channel.
        channel: B256,
        /// The transaction's nonce.
        nonce: u64,
        /// Every form that it had.
        hashes: Vec<B256>,
    },
    /// An `exact` call that is answered, or about to be, and whose transfer may not be made yet.
    Exact {
        /// Who pays.
        from: Address,
        /// Who is paid.
        to: Address,
        /// How much.
        #[serde(with = "decimal")]
        value: Amount,
        /// Not valid before.
        valid_after: u64,
        /// Not valid from then on.
        valid_before: u64,
        /// The authorization's nonce.
        nonce: B256,
        /// Its signature.
        signature: Bytes,
    },
    /// Money that moved in a transaction that is not final.
    Movement {
        /// Which way.
        kind: Kind,
        /// The transaction.
        transaction: B256,
        /// Whose money.
        receiver: Address,
        /// In which token.
        token: Address,
        /// How much, as it was when the transaction was first seen.
        #[serde(with = "decimal")]
        amount: Amount,
        /// The newest block then.
        seen_at: u64,
    },
}

/// Which way money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// From payers' channels to a receiver's account in the contract.
    Claimed,
    /// From there to the receiver.
    Settled,
    /// From a channel back to its payer.
    Refunded,
}

/// The items, in memory and on disk. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    items: BTreeMap<String, Item>,
    /// Refunds, by channel, and transfers, by nonce, that a task of this process is seeing through.
    active: BTreeSet<B256>,
}

/// Why the items cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is none of ours, or damaged.
    #[error("{} is damaged: look up its transactions on the chain, then remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Pending {
    /// Reads what an earlier process left in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`PendingError`]; the operator's to solve.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, PendingError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PendingError::Io { path, source }
        };
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let mut items = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let path = entry.map_err(failed(&folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if !name.ends_with(SUFFIX) {
                // Written halfway when the process ended: nothing was sent yet.
                fs::remove_file(&path).map_err(failed(&path))?;
                continue;
            }
            let bytes = fs::read(&path).map_err(failed(&path))?;
            let item = serde_json::from_slice(&bytes).map_err(|source| PendingError::Damaged {
                path: path.clone(),
                source,
            })?;
            items.insert(name.to_owned(), item);
        }
        let held = Held {
            items,
            active: BTreeSet::new(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                folder,
                held: Mutex::new(held),
            }),
        })
    }

    /// Makes an item durable; one of the same name is replaced. Blocks for a sync.
    ///
    /// # Errors
    /// [`PendingError::Io`]; then nothing is remembered.
    pub(crate) fn keep(&self, item: Item) -> Result<(), PendingError> {
        let name = item.file_name();
        let path = self.inner.folder.join(&name);
        let failed = |source| PendingError::Io {
            path: path.clone(),
            source,
        };
        let bytes = serde_json::to_vec(&item).map_err(|error| failed(error.into()))?;
        let halfway = path.with_extension("new");
        // One after the other, so that two forms of one item do not overtake each other.
        let mut held = self.lock();
        write_synced(&halfway, &bytes)
            .and_then(|()| fs::rename(&halfway, &path))
            .and_then(|()| File::open(&self.inner.folder)?.sync_all())
            .map_err(failed)?;
        held.items.insert(name, item);
        Ok(())
    }

    /// Forgets an item that is over. That it is gone need not be durable: what is over is found to
    /// be over once more.
    pub(crate) fn forget(&self, item: &Item) {
        let name = item.file_name();
        let mut held = self.lock();
        held.items.remove(&name);
        let path = self.inner.folder.join(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "cannot be removed; it is looked into again after a restart");
        }
    }

    /// The items that nobody is seeing through.
    pub(crate) fn left_behind(&self) -> Vec<Item> {
        let held = self.lock();
        let alone = held.items.values().filter(|item| match item {
            Item::Refund { channel, .. } => !held.active.contains(channel),
            Item::Exact { nonce, .. } => !held.active.contains(nonce),
            Item::Movement { .. } => true,
        });
        alone.cloned().collect()
    }

    /// Whether a refund of this channel was sent and its outcome is not known.
    pub(crate) fn is_refunding(&self, channel: ChannelId) -> bool {
        let name = refund_name(channel.0);
        let held = self.lock();
        !held.items.is_empty() && held.items.contains_key(&name)
    }

    /// Marks a channel's refund as being seen through until the guard is dropped. One at a time:
    /// the caller holds the channel's place on the chain.
    pub(crate) fn refund(&self, channel: ChannelId) -> RefundKeeper {
        self.lock().active.insert(channel.0);
        RefundKeeper {
            pending: self.clone(),
            channel,
        }
    }

    /// Remembers a transfer that is about to be owed; it is being seen through until the guard is
    /// dropped.
    ///
    /// # Errors
    /// [`PendingError::Io`]; then nothing is remembered.
    pub(crate) async fn exact(&self, payment: &ExactPayment) -> Result<ExactKeeper, KeepError> {
        let item = Item::exact(payment);
        let nonce = payment.authorization.nonce;
        self.lock().active.insert(nonce);
        let keeper = ExactKeeper {
            pending: self.clone(),
            item: item.clone(),
            nonce,
        };
        let pending = self.clone();
        let kept = tokio::task::spawn_blocking(move || pending.keep(item)).await;
        kept??;
        Ok(keeper)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.inner
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    fn exact(payment: &ExactPayment) -> Self {
        let authorization = &payment.authorization;
        Self::Exact {
            from: authorization.from,
            to: authorization.to,
            value: authorization.value,
            valid_after: authorization.valid_after,
            valid_before: authorization.valid_before,
            nonce: authorization.nonce,
            signature: payment.signature.to_vec().into(),
        }
    }

    fn file_name(&self) -> String {
        match self {
            Self::Refund { channel, .. } => refund_name(*channel),
            Self::Exact { from, nonce, .. } => {
                format!("exact-{}-{}{SUFFIX}", hex::encode(from), hex::encode(nonce))
            }
            Self::Movement {
                kind, transaction, ..
            } => format!("{kind:?}-{}{SUFFIX}", hex::encode(transaction)).to_lowercase(),
        }
    }
}

/// Remembers a refund's transactions before they are sent.
#[derive(Debug)]
pub(crate) struct RefundKeeper {
    pending: Pending,
    channel: ChannelId,
}

impl RefundKeeper {
    /// The refund is over, and what came of it is recorded.
    pub(crate) fn over(&self) {
        let item = Item::Refund {
            channel: self.channel.0,
            nonce: 0,
            hashes: Vec::new(),
        };
        if self.pending.is_refunding(self.channel) {
            self.pending.forget(&item);
        }
    }
}

impl KeepSent for RefundKeeper {
    fn keep<'a>(
        &'a self,
        sent: &'a Sent,
    ) -> Pin<Box<dyn Future<Output = Result<(), KeepError>> + Send + 'a>> {
        let item = Item::Refund {
            channel: self.channel.0,
            nonce: sent.nonce,
            hashes: sent.hashes.clone(),
        };
        let pending = self.pending.clone();
        Box::pin(async move {
            let kept = tokio::task::spawn_blocking(move || pending.keep(item)).await;
            Ok(kept??)
        })
    }
}

impl Drop for RefundKeeper {
    fn drop(&mut self) {
        self.pending.lock().active.remove(&self.channel.0);
    }
}

/// A transfer that is being seen through.
#[derive(Debug)]
pub(crate) struct ExactKeeper {
    pending: Pending,
    item: Item,
    nonce: B256,
}

impl ExactKeeper {
    /// The transfer is made, or never will be.
    pub(crate) fn over(&self) {
        self.pending.forget(&self.item);
    }
}

impl Drop for ExactKeeper {
    fn drop(&mut self) {
        self.pending.lock().active.remove(&self.nonce);
    }
}

fn refund_name(channel: B256) -> String {
    format!("refund-{}{SUFFIX}", hex::encode(channel))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Amounts as decimal text: JSON numbers lose large ones.
mod decimal {
    use rialto_channels::Amount;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(amount: &Amount, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(amount)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Amount, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

const SUFFIX: &str = ".json";

#[cfg(test)]
mod tests {
    use super::*;

    fn refund(channel: u8, hashes: &[u8]) -> Item {
        Item::Refund {
            channel: B256::repeat_byte(channel),
            nonce: 7,
            hashes: hashes.iter().map(|hash| B256::repeat_byte(*hash)).collect(),
        }
    }

    fn movement(kind: Kind) -> Item {
        Item::Movement {
            kind,
            transaction: B256::repeat_byte(9),
            receiver: Address::repeat_byte(1),
            token: Address::repeat_byte(2),
            amount: Amount::MAX,
            seen_at: 5,
        }
    }

    #[test]
    fn what_is_kept_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let pending = Pending::open(folder.path().join("pending")).unwrap();
        pending.keep(refund(1, &[1])).unwrap();
        pending.keep(refund(1, &[1, 2])).unwrap();
        pending.keep(movement(Kind::Claimed)).unwrap();
        pending.keep(movement(Kind::Settled)).unwrap();
        drop(pending);
        // What a crash leaves of an item that was not kept yet.
        fs::write(folder.path().join("pending/refund-aa.new"), b"{").unwrap();
        let pending = Pending::open(folder.path().join("pending")).unwrap();
        let mut left = pending.left_behind();
        assert_eq!(left.len(), 3);
        assert_eq!(left.remove(1), refund(1, &[1, 2]));
        pending.forget(&movement(Kind::Claimed));
        drop(pending);
        let pending = Pending::open(folder.path().join("pending")).unwrap();
        assert_eq!(
            pending.left_behind(),
            [refund(1, &[1, 2]), movement(Kind::Settled)]
        );
    }

    #[test]
    fn a_damaged_item_is_an_error_that_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("refund-aa.json"), b"{").unwrap();
        let error = Pending::open(folder.path().to_owned()).unwrap_err();
        assert!(error.to_string().contains("refund-aa.json"), "{error}");
    }

    #[tokio::test]
    async fn a_refund_is_left_behind_only_when_nobody_sees_it_through() {
        let folder = tempfile::tempdir().unwrap();
        let pending = Pending::open(folder.path().to_owned()).unwrap();
        let channel = ChannelId(B256::repeat_byte(1));
        let keeper = pending.refund(channel);
        assert!(!pending.is_refunding(channel), "nothing was sent yet");
        let sent = Sent {
            nonce: 7,
            hashes: vec![B256::repeat_byte(3)],
        };
        keeper.keep(&sent).await.unwrap();
        assert!(pending.is_refunding(channel) && pending.left_behind().is_empty());
        drop(keeper);
        assert_eq!(pending.left_behind(), [refund(1, &[3])]);
        let keeper = pending.refund(channel);
        keeper.over();
        drop(keeper);
        assert!(!pending.is_refunding(channel) && pending.left_behind().is_empty());
    }
}
