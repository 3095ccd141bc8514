//! What was begun on the chain and is not over: remembered before it is sent, looked into after a
//! crash, forgotten when it is over.
//!
//! One small file each, written and synced before the chain hears of it (`shelf`). A refund whose
//! outcome is unknown keeps its channel closed; a claim, settlement or refund that a reorganisation
//! may still take back enters the books only when it lies deep enough. A movement is in the books once
//! however often it is recorded, so one that is looked into twice counts once.
//! Not here: deciding what became of anything (`resolve` asks the chain), and the books themselves.

mod keep;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bytes};
use rialto_chain::client::KeepError;
use rialto_channels::{Amount, ChannelId, TransferAuthorization};
use serde::{Deserialize, Serialize};

use crate::api::ExactPayment;
use crate::shelf::{PendingError, Shelf, decimal};

pub(crate) use keep::{ExactKeeper, RefundKeeper, SendKeeper};

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
    Exact(Owed),
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

/// A transfer that is owed for an answer, until it is made for good or certain never to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owed {
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
    /// A block in which the nonce was unused; unknown of transfers that an older version kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// The chain refused it and its caller was told so: the host makes it again only when it is asked
    /// to (M3: nothing is charged for a call that failed), and watches what becomes of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refused: bool,
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

/// What is under way could not be remembered.
#[derive(Debug, thiserror::Error)]
#[error("what is under way on the chain cannot be remembered")]
pub(crate) struct Unkept(#[source] pub(crate) KeepError);

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
        inner.shelf.rename(Item::name)?;
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
        RefundKeeper::new(self, channel)
    }

    /// Remembers claims, or a settlement, until the guard is dropped or they are recorded.
    pub(crate) fn sends(&self, kind: Kind, receiver: Address) -> SendKeeper {
        SendKeeper::new(self, kind, receiver)
    }

    /// Remembers a transfer that is about to be owed, and made; it is being seen through until the
    /// guard is dropped. `since` is a block in which its nonce was unused, if one is known now.
    ///
    /// # Errors
    /// [`PendingError::Io`]; then nothing is remembered.
    pub(crate) async fn exact(
        &self,
        payment: &ExactPayment,
        since: Option<u64>,
    ) -> Result<ExactKeeper, KeepError> {
        let mut owed = Owed::of(payment, since);
        let name = Item::Exact(owed.clone()).name();
        self.active().insert(name.clone());
        // Asked for again, it is the same transfer. Of two signatures under one nonce the one that is
        // good for longer can still pay when the other cannot.
        if let Some(Item::Exact(before)) = self.inner.shelf.get(&name) {
            owed.since = owed.since.or(before.since);
            if before.valid_before > owed.valid_before {
                let since = owed.since;
                let refused = false;
                owed = Owed {
                    since,
                    refused,
                    ..before
                };
            }
        }
        let keeper = ExactKeeper::new(self, owed);
        keeper.keep().await?;
        Ok(keeper)
    }

    /// As [`Pending::keep`], on a thread that may block.
    pub(crate) async fn keep_aside(&self, item: Item) -> Result<(), KeepError> {
        let pending = self.clone();
        Ok(tokio::task::spawn_blocking(move || pending.keep(item)).await??)
    }

    fn active(&self) -> MutexGuard<'_, BTreeSet<String>> {
        let active = self.inner.active.lock();
        active.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owed {
    fn of(payment: &ExactPayment, since: Option<u64>) -> Self {
        let authorization = &payment.authorization;
        Self {
            from: authorization.from,
            to: authorization.to,
            value: authorization.value,
            valid_after: authorization.valid_after,
            valid_before: authorization.valid_before,
            nonce: authorization.nonce,
            signature: payment.signature.to_vec().into(),
            since,
            refused: false,
        }
    }

    /// The payment that it is for, without the id that its caller may have given it.
    pub(crate) fn payment(&self) -> ExactPayment {
        ExactPayment {
            authorization: TransferAuthorization {
                from: self.from,
                to: self.to,
                value: self.value,
                valid_after: self.valid_after,
                valid_before: self.valid_before,
                nonce: self.nonce,
            },
            signature: self.signature.to_vec().into(),
            payment_id: None,
        }
    }

    /// A block in which the nonce was unused, if one is known.
    pub(crate) fn since(&self) -> Option<u64> {
        self.since
    }

    /// Whether it is only watched.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The same, to be watched only.
    pub(crate) fn into_refused(self) -> Self {
        let refused = true;
        Self { refused, ..self }
    }
}

impl Item {
    /// Names the item; no other has its name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Refund { channel, .. } => refund_name(*channel),
            Self::Exact(Owed { from, nonce, .. }) => {
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
            // One transaction may settle to several receivers.
            Self::Movement {
                kind: kind @ Kind::Settled,
                transaction,
                receiver,
                ..
            } => {
                let (transaction, receiver) = (hex::encode(transaction), hex::encode(receiver));
                format!("{kind:?}-{transaction}-{receiver}").to_lowercase()
            }
            Self::Movement {
                kind, transaction, ..
            } => format!("{kind:?}-{}", hex::encode(transaction)).to_lowercase(),
        }
    }
}

fn refund_name(channel: B256) -> String {
    format!("refund-{}", hex::encode(channel))
}

#[cfg(test)]
mod tests {
    use rialto_chain::client::{KeepSent, Sent};
    use serde_json::json;

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

    #[tokio::test]
    async fn a_transfer_stays_what_it_is_when_it_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let pending = Pending::open(folder.path().to_owned()).unwrap();
        let payment = ExactPayment {
            authorization: TransferAuthorization {
                from: Address::repeat_byte(1),
                to: Address::repeat_byte(2),
                value: Amount::MAX,
                valid_after: 3,
                valid_before: 4,
                nonce: B256::repeat_byte(5),
            },
            signature: vec![6; 65].into(),
            payment_id: None,
        };
        let owed = |since, refused| {
            let owed = Owed::of(&payment, since);
            Item::Exact(Owed { refused, ..owed })
        };
        let keeper = pending.exact(&payment, Some(7)).await.unwrap();
        assert!(pending.left_behind().is_empty());
        keeper.refused().await.unwrap();
        drop(keeper);
        assert_eq!(pending.left_behind(), [owed(Some(7), true)]);
        // Asked for again, it is made again.
        drop(pending.exact(&payment, None).await.unwrap());
        drop(pending);
        let pending = Pending::open(folder.path().to_owned()).unwrap();
        assert_eq!(pending.left_behind(), [owed(Some(7), false)]);
        // As an older version wrote it.
        let mut written = serde_json::to_value(owed(None, false)).unwrap();
        let fields = written.as_object().unwrap().len();
        assert_eq!((&written["what"], fields), (&json!("exact"), 8));
        assert_eq!(
            serde_json::from_value::<Item>(written.clone()).unwrap(),
            owed(None, false)
        );
        written["surprise"] = json!(1);
        assert!(serde_json::from_value::<Item>(written).is_err());
    }
}
