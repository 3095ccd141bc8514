//! Guards of what is being seen through: each remembers, before the chain hears of it, what a process
//! that dies must find again, and stops marking it as under way when it is dropped.
//!
//! Not here: where it is kept, and what becomes of it after a crash.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::Address;
use rialto_chain::client::{KeepError, KeepSent, Sent};
use rialto_channels::ChannelId;

use super::{Item, Kind, Owed, Pending, refund_name};

type Keeping<'a> = Pin<Box<dyn Future<Output = Result<(), KeepError>> + Send + 'a>>;

/// Remembers a refund's transactions before they are sent.
#[derive(Debug)]
pub(crate) struct RefundKeeper {
    pending: Pending,
    channel: ChannelId,
}

impl RefundKeeper {
    pub(super) fn new(pending: &Pending, channel: ChannelId) -> Self {
        let pending = pending.clone();
        Self { pending, channel }
    }

    /// The refund is over, and what came of it is recorded.
    pub(crate) fn over(&self) {
        if self.pending.is_refunding(self.channel) {
            self.pending.forget(&self.item(&Sent::default()));
        }
    }

    fn item(&self, sent: &Sent) -> Item {
        Item::Refund {
            channel: self.channel.0,
            nonce: sent.nonce,
            hashes: sent.hashes.clone(),
        }
    }
}

impl KeepSent for RefundKeeper {
    fn keep<'a>(&'a self, sent: &'a Sent) -> Keeping<'a> {
        Box::pin(self.pending.keep_aside(self.item(sent)))
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
    pub(super) fn new(pending: &Pending, kind: Kind, receiver: Address) -> Self {
        Self {
            pending: pending.clone(),
            kind,
            receiver,
            kept: Mutex::default(),
        }
    }

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
    fn keep<'a>(&'a self, sent: &'a Sent) -> Keeping<'a> {
        let item = Item::Sent {
            kind: self.kind,
            receiver: self.receiver,
            nonce: sent.nonce,
            hashes: sent.hashes.clone(),
        };
        self.pending.active().insert(item.name());
        self.kept().insert(item.name(), item.clone());
        Box::pin(self.pending.keep_aside(item))
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
    owed: Owed,
}

impl ExactKeeper {
    pub(super) fn new(pending: &Pending, owed: Owed) -> Self {
        let pending = pending.clone();
        Self { pending, owed }
    }

    /// What is owed.
    pub(crate) fn owed(&self) -> &Owed {
        &self.owed
    }

    /// The transfer is made for good, or never will be and is in no sum any more.
    pub(crate) fn over(&self) {
        self.pending.forget(&self.item());
    }

    /// The chain refused the transfer, and the caller is told so: from now on it is only watched.
    ///
    /// # Errors
    /// When this cannot be made durable; then it is tried once more.
    pub(crate) async fn refused(&self) -> Result<(), KeepError> {
        let item = Item::Exact(self.owed.clone().into_refused());
        self.pending.keep_aside(item).await
    }

    pub(super) async fn keep(&self) -> Result<(), KeepError> {
        self.pending.keep_aside(self.item()).await
    }

    fn item(&self) -> Item {
        Item::Exact(self.owed.clone())
    }
}

impl Drop for ExactKeeper {
    fn drop(&mut self) {
        self.pending.active().remove(&self.item().name());
    }
}
