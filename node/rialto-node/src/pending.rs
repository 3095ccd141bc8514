//! What was begun on the chain and is not over: remembered before it is sent, looked into after a
//! crash, forgotten when it is over.
//!
//! One small file each, written and synced before the chain hears of it (`shelf`). A refund whose
//! outcome is unknown keeps its channel closed; a claim, settlement or refund that a reorganisation
//! may still take back enters the books only when it lies deep enough. A movement is in the books once
//! however often it is recorded, so one that is looked into twice counts once.
//! Not here: deciding what became of anything (`resolve` asks the chain), and the books themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bytes};
use rialto_chain::client::{KeepError, KeepSent, Sent};
use rialto_channels::{Amount, ChannelId};
use serde::{Deserialize, Serialize};

use crate::api::ExactPayment;
use crate::shelf::{PendingError, Shelf, decimal};

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
    /// A claim or settlement that is about to be sent, or was, and is not recorded.
    Sent {
        /// Which way it moves money.
        kind: Kind,
        /// Whose money.
        receiver: Address,
        /// The transaction's nonce.
        nonce: u64,
        /// Every form that it had.
        hashes: Vec<B256>,
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
    shelf: Shelf<Item>,
    /// The names of items that a task of this process is seeing through.
    active: Mutex<BTreeSet<String>>,
}

impl Pending {
    /// Reads what an earlier process left in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`PendingError`]; the operator's to solve.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, PendingError> {
        let inner = Inner {
            shelf: Shelf::open(folder)?,
            active: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Makes an item durable; one of the same name is replaced. Blocks for a sync.
    ///
    /// # Errors
    /// [`PendingError::Io`]; then nothing is remembered.
    pub(crate) fn keep(&self, item: Item) -> Result<(), PendingError> {
        self.inner.shelf.keep(item.name(), item)
    }

    /// Forgets an item that is over.
    pub(crate) fn forget(&self, item: &Item) {
        self.inner.shelf.forget(&item.name());
    }

    /// The items that nobody is seeing through.
    pub(crate) fn left_behind(&self) -> Vec<Item> {
        let mut items = self.inner.shelf.all();
        let active = self.active();
        items.retain(|item| !active.contains(&item.name()));
        items
    }

    /// Whether a refund of this channel was sent and its outcome is not known.
    pub(crate) fn is_refunding(&self, channel: ChannelId) -> bool {
        self.inner.shelf.has(&refund_name(channel.0))
    }

    /// Marks a channel's refund as being seen through until the guard is dropped. One at a time:
    /// the caller holds the channel's place on the chain.
    pub(crate) fn refund(&self, channel: ChannelId) -> RefundKeeper {
        self.active().insert(refund_name(channel.0));
        RefundKeeper {
            pending: self.clone(),
            channel,
        }
    }

    /// Remembers claims, or a settlement, until the guard is dropped or they are recorded.
    pub(crate) fn sends(&self, kind: Kind, receiver: Address) -> SendKeeper {
        SendKeeper {
            pending: self.clone(),
            kind,
            receiver,
            kept: Mutex::default(),
        }
    }

    /// Remembers a transfer that is about to be owed; it is being seen through until the guard is
    /// dropped.
    ///
    /// # Errors
    /// [`PendingError::Io`]; then nothing is remembered.
    pub(crate) async fn exact(&self, payment: &ExactPayment) -> Result<ExactKeeper, KeepError> {
        let item = Item::exact(payment);
        self.active().insert(item.name());
        let keeper = ExactKeeper {
            pending: self.clone(),
            item: item.clone(),
        };
        let pending = self.clone();
        let kept = tokio::task::spawn_blocking(move || pending.keep(item)).await;
        kept??;
        Ok(keeper)
    }

    fn active(&self) -> MutexGuard<'_, BTreeSet<String>> {
        let active = self.inner.active.lock();
        active.unwrap_or_else(PoisonError::into_inner)
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

    /// Names the item; no other has its name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Refund { channel, .. } => refund_name(*channel),
            Self::Exact { from, nonce, .. } => {
                format!("exact-{}-{}", hex::encode(from), hex::encode(nonce))
            }
            // A nonce may be given to another transaction when the endpoint forgot the first.
            Self::Sent {
                kind,
                nonce,
                hashes,
                ..
            } => {
                let first = hashes.first().copied().unwrap_or_default();
                format!("sent-{kind:?}-{nonce}-{}", hex::encode(first)).to_lowercase()
            }
            Self::Movement {
                kind, transaction, ..
            } => format!("{kind:?}-{}", hex::encode(transaction)).to_lowercase(),
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
        self.pending.active().remove(&refund_name(self.channel.0));
    }
}

/// Remembers claims and settlements before they are sent: a process that dies before it records them
/// finds them in its books all the same.
#[derive(Debug)]
pub(crate) struct SendKeeper {
    pending: Pending,
    kind: Kind,
    receiver: Address,
    /// What was kept, by name, in its newest form.
    kept: Mutex<BTreeMap<String, Item>>,
}

impl SendKeeper {
    /// What was sent is recorded, or certainly moved nothing.
    pub(crate) fn over(&self) {
        for item in self.kept().values() {
            self.pending.forget(item);
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Item>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeepSent for SendKeeper {
    fn keep<'a>(
        &'a self,
        sent: &'a Sent,
    ) -> Pin<Box<dyn Future<Output = Result<(), KeepError>> + Send + 'a>> {
        let item = Item::Sent {
            kind: self.kind,
            receiver: self.receiver,
            nonce: sent.nonce,
            hashes: sent.hashes.clone(),
        };
        self.pending.active().insert(item.name());
        self.kept().insert(item.name(), item.clone());
        let pending = self.pending.clone();
        Box::pin(async move {
            let kept = tokio::task::spawn_blocking(move || pending.keep(item)).await;
            Ok(kept??)
        })
    }
}

impl Drop for SendKeeper {
    fn drop(&mut self) {
        let mut active = self.pending.active();
        for name in self.kept().keys() {
            active.remove(name);
        }
    }
}

/// A transfer that is being seen through.
#[derive(Debug)]
pub(crate) struct ExactKeeper {
    pending: Pending,
    item: Item,
}

impl ExactKeeper {
    /// The transfer is made, or never will be.
    pub(crate) fn over(&self) {
        self.pending.forget(&self.item);
    }
}

impl Drop for ExactKeeper {
    fn drop(&mut self) {
        self.pending.active().remove(&self.item.name());
    }
}

fn refund_name(channel: B256) -> String {
    format!("refund-{}", hex::encode(channel))
}

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
