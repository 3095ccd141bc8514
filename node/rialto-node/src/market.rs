//! Services of other hosts, hired with this host's money: a port for whoever has a wallet.
//!
//! The node decides what may be spent and remembers what was bought; the market finds a host that offers the
//! service, pays it, and brings the answer.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use alloy_primitives::B256;
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_host::HireError;
use rialto_registry::{MethodName, Name};
use tokio::runtime::Handle;

use crate::api::Lineage;

/// What is to be bought.
#[derive(Debug, Clone)]
pub struct Order {
    /// Names the payment. The same name is the same order, however often and by whichever process of this host it is
    /// placed: it is carried out once and paid once.
    pub name: String,
    /// The service.
    pub service: Name,
    /// The method.
    pub method: MethodName,
    /// Its parameters as JSON.
    pub arguments: Bytes,
    /// The most that it may cost.
    pub price_max: Amount,
    /// When the answer is no longer wanted.
    pub deadline: Instant,
    /// What the other host is told of the calls above.
    pub lineage: Lineage,
}

/// What was bought.
#[derive(Debug, Clone)]
pub struct Bought {
    /// The answer as JSON.
    pub body: Bytes,
    /// What was paid.
    pub charged: Amount,
    /// Who answered.
    pub provider: String,
    /// What proves it, as JSON; kept, and shown to whoever asks for the calls below this one.
    pub proof: Bytes,
}

/// What somebody would charge.
#[derive(Debug, Clone)]
pub struct Tender {
    /// At most.
    pub price: Amount,
    /// Who.
    pub provider: String,
}

/// What a market is asked, when it is there.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, HireError>> + Send + 'a>>;

/// Buys calls from other hosts.
pub trait Market: fmt::Debug + Send + Sync {
    /// What the host that would be asked wants for a call with arguments of so many bytes. Nothing is paid.
    fn tender<'a>(
        &'a self,
        service: &'a Name,
        method: &'a MethodName,
        arguments_bytes: u64,
    ) -> Asking<'a, Tender>;

    /// Has a call made, and pays for it. An order that was placed before goes where it went then.
    fn buy(&self, order: Order) -> Asking<'_, Bought>;

    /// What came of an order is on this node's disk: the market may forget it.
    fn kept(&self, name: &str);
}

/// What a node's services hire others with.
#[derive(Debug)]
pub(crate) struct Hiring {
    /// Buys from other hosts, once somebody with a wallet is there.
    market: Mutex<Option<Arc<dyn Market>>>,
    /// Where calls begin.
    pub(crate) runtime: Handle,
    /// For each call that is bought at the moment, by its receipt, the memory that the guest who waits for it leaves.
    waits: Mutex<BTreeMap<B256, u64>>,
}

/// A guest waits for a call that is bought, until this is dropped.
pub(crate) struct Wait<'a> {
    hiring: &'a Hiring,
    id: B256,
}

impl Hiring {
    /// Calls begin on the runtime of the calling task.
    pub(crate) fn here() -> Self {
        Self {
            market: Mutex::default(),
            runtime: Handle::current(),
            waits: Mutex::default(),
        }
    }

    /// A guest waits for a call that is bought, and leaves so many bytes of host memory meanwhile.
    pub(crate) fn wait(&self, id: B256, lends: u64) -> Wait<'_> {
        self.waits().insert(id, lends);
        Wait { hiring: self, id }
    }

    /// What the guest of this host leaves that waits for a call with this parent: where it was bought from this host
    /// itself, or comes back to it, it must not wait for the place that its own caller has. Once for each.
    pub(crate) fn awaited(&self, parent: Option<&B256>) -> Option<u64> {
        self.waits().remove(parent?)
    }

    fn waits(&self) -> MutexGuard<'_, BTreeMap<B256, u64>> {
        // Each is put in whole.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn market(&self) -> MutexGuard<'_, Option<Arc<dyn Market>>> {
        // It is put in whole.
        self.market.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.hiring.waits().remove(&self.id);
    }
}
