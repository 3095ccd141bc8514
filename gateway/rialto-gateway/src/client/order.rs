//! A call that is paid under one name however often it is made, also by a program that was lost in between.
//!
//! Whom it was sent to, and on which channel, is on the disk before it is sent: a payment's name counts at one host and
//! on one channel, and anywhere else the call would be carried out, and paid, a second time.
//!
//! Not here: what came of it, which whoever places the order keeps.

mod cells;

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::StoreError;
use cells::Cells;

/// Orders that are not known to have ended, in a folder. Clones share it, and nobody else has it meanwhile.
#[derive(Debug, Clone)]
pub struct Orders(Arc<Cells>);

/// A call under one name.
#[derive(Debug, Clone)]
pub struct Order {
    orders: Orders,
    pub(super) name: String,
    /// What is sent with it.
    pub(super) headers: HeaderMap,
}

/// Where an order went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Placed {
    /// The provider, as a router names it.
    pub(super) provider: String,
    /// The channel's id.
    pub(super) channel: B256,
}

/// An order at one provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placing<'a> {
    pub(super) order: &'a Order,
    pub(super) provider: &'a str,
}

impl Orders {
    /// Orders in this folder, which is made for its owner alone. Those that are older than hosts keep answers are
    /// forgotten. Waits a little for another program to let go of them. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Cells::open(dir)?)))
    }

    /// The order of this name. The headers go with each of its requests.
    #[must_use]
    pub fn order(&self, name: &str, headers: HeaderMap) -> Order {
        Order {
            orders: self.clone(),
            name: name.to_owned(),
            headers,
        }
    }

    /// Forgets an order: what came of it is kept elsewhere.
    pub fn forget(&self, name: &str) {
        if let Err(error) = self.0.clear(name) {
            tracing::warn!(%error, "an order stays on the disk for some days");
        }
    }
}

impl Order {
    /// Where it went, if it was sent before.
    pub(super) fn placed(&self) -> Option<Placed> {
        self.orders.0.get(&self.name)
    }

    /// Whether it may have been carried out.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.placed().is_some()
    }

    /// Notes where it goes, which has to be made [durable](Self::durable) before it is sent there. False where it went
    /// there before.
    pub(super) fn place(&self, placed: Placed) -> Result<bool, StoreError> {
        if self.placed().as_ref() == Some(&placed) {
            return Ok(false);
        }
        self.orders.0.put(&self.name, placed)?;
        Ok(true)
    }

    /// Waits until all that was noted before is durable. Orders that overlap share the disk's time.
    pub(super) async fn durable(&self) -> Result<(), StoreError> {
        self.orders.0.durable().await
    }

    /// It was certainly not carried out: it may go anywhere.
    pub(super) fn forget(&self) {
        self.orders.forget(&self.name);
    }
}
