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
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

    /// As [`buy`](Self::buy), item by item. Nothing is sent before the first item is asked for.
    fn open(&self, order: Order) -> Box<dyn BoughtItems>;

    /// What came of an order is on this node's disk: the market may forget it.
    fn kept(&self, name: &str);
}

/// An answer that is bought item by item. Dropped, it is given up: whoever wants to know what it cost ends it.
pub trait BoughtItems: fmt::Debug + Send {
    /// The next item as JSON; none where it has ended, however it did. Cancel-safe.
    fn next(&mut self) -> Asking<'_, Option<Bytes>>;

    /// Ends it, and asks what was charged; so the bill comes although nobody waits for items any more.
    fn end(self: Box<Self>) -> Asking<'static, BoughtStream>;
}

/// What came of an answer that was bought item by item.
#[derive(Debug, Clone)]
pub struct BoughtStream {
    /// What was bought.
    pub bought: Bought,
    /// What its body is.
    pub form: Form,
}

/// What an answer is to whoever asked for its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A whole answer; whether it is a list of items is not known.
    #[default]
    Answer,
    /// A JSON array of all its items.
    List,
    /// The same of those that came before it ended early, without the last bracket.
    Part,
    /// An answer that came at once: its one item.
    One,
}

/// What a node's services hire others with.
#[derive(Debug)]
pub(crate) struct Hiring {
    /// Buys from other hosts, once somebody with a wallet is there.
    market: Mutex<Option<Arc<dyn Market>>>,
    /// Where calls begin.
    pub(crate) runtime: Handle,
    waits: Arc<Mutex<Waits>>,
    /// For answers that come item by item, whose guests are beside the host's places.
    streams: Arc<Semaphore>,
}

/// Guests that wait for calls which are bought, and who came because of that.
#[derive(Debug, Default)]
struct Waits {
    /// For each such call that nobody came for yet, by its receipt, the memory that the guest leaves meanwhile.
    left: BTreeMap<B256, u64>,
    /// Guests that wait.
    waiting: usize,
    /// Calls that were let in beside the host's places and have not ended. More than wait where a host answered the
    /// order and has the call that it made here go on.
    beside: usize,
}

/// A call that a guest waits for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Beside {
    waits: Arc<Mutex<Waits>>,
    /// Host memory that the guest leaves it, in bytes.
    pub(crate) lends: u64,
}

/// A guest waits for a call that is bought, until this is dropped.
pub(crate) struct Wait {
    waits: Arc<Mutex<Waits>>,
    id: B256,
}

impl Hiring {
    /// Calls begin on the runtime of the calling task.
    pub(crate) fn here() -> Self {
        Self {
            market: Mutex::default(),
            runtime: Handle::current(),
            waits: Arc::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// Room for an answer that comes item by item.
    ///
    /// # Errors
    /// [`HireError::Busy`].
    pub(crate) fn room(&self) -> Result<OwnedSemaphorePermit, HireError> {
        let room = Arc::clone(&self.streams).try_acquire_owned();
        room.map_err(|_| {
            HireError::Busy(format!(
                "{STREAMS_MAX} answers come item by item to services of this host already"
            ))
        })
    }

    /// A guest waits for a call that is bought, and leaves so many bytes of host memory meanwhile.
    pub(crate) fn wait(&self, id: B256, lends: u64) -> Wait {
        let mut waits = lock(&self.waits);
        waits.left.insert(id, lends);
        waits.waiting += 1;
        let waits = Arc::clone(&self.waits);
        Wait { waits, id }
    }

    /// The place of a call whose parent is one that a guest of this host waits for: where it was bought from this host
    /// itself, or comes back to it, it must not wait for the place that its own caller has. Once for each; none, too,
    /// when many calls go on that nobody waits for any more.
    pub(crate) fn awaited(&self, parent: Option<&B256>) -> Option<Beside> {
        let mut waits = lock(&self.waits);
        if waits.beside >= waits.waiting + LEFT_BEHIND_MAX {
            return None;
        }
        let lends = waits.left.remove(parent?)?;
        waits.beside += 1;
        Some(Beside {
            waits: Arc::clone(&self.waits),
            lends,
        })
    }

    pub(crate) fn market(&self) -> MutexGuard<'_, Option<Arc<dyn Market>>> {
        // It is put in whole.
        self.market.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits = lock(&self.waits);
        waits.left.remove(&self.id);
        waits.waiting -= 1;
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        lock(&self.waits).beside -= 1;
    }
}

fn lock(waits: &Mutex<Waits>) -> MutexGuard<'_, Waits> {
    // Each step under this lock leaves it whole.
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers that come item by item to services of this host at a time.
const STREAMS_MAX: usize = 64;
/// Calls beside the host's places that nobody waits for any more: whoever is hired may answer and have them go on.
const LEFT_BEHIND_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_wait_lets_one_in_and_few_are_left_behind() {
        let hiring = Hiring::here();
        let id = B256::with_last_byte;
        let mut left_behind = Vec::new();
        for number in 0..=16 {
            let wait = hiring.wait(id(number), 7);
            assert!(hiring.awaited(None).is_none());
            assert!(hiring.awaited(Some(&id(99))).is_none());
            let beside = hiring.awaited(Some(&id(number))).unwrap();
            assert_eq!(beside.lends, 7);
            assert!(hiring.awaited(Some(&id(number))).is_none());
            left_behind.push(beside);
            drop(wait);
        }
        let _wait = hiring.wait(id(17), 7);
        assert!(hiring.awaited(Some(&id(17))).is_none());
        left_behind.pop();
        assert!(hiring.awaited(Some(&id(17))).is_some());
        drop(hiring.wait(id(18), 7));
        assert!(hiring.awaited(Some(&id(18))).is_none());
    }
}
