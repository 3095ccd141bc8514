//! Answers of other hosts that come item by item.
//!
//! The other host is paid for what it delivered, which it says at the end. An answer that is left before its end is asked
//! for once more, which makes nothing and tells what it cost; until then its ceiling counts.

use std::sync::Arc;

use bytes::Bytes;
use rialto_channels::Amount;
use rialto_host::{Bill, Hire, HireError, HiredItems, Step};
use rialto_registry::Name;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::super::items::Stored;
use super::super::taken::Taken;
use super::super::{Caller, Named, Wanted};
use super::{Purchase, answer_of, method_of};
use crate::digest;
use crate::market::{BoughtItems, BoughtStream, Form, Wait};

/// An answer that another host makes.
#[derive(Debug)]
struct Abroad {
    /// None once it has ended.
    open: Option<Box<Open>>,
    bill: Result<Bill, HireError>,
}

/// One that has not ended.
struct Open {
    items: Box<dyn BoughtItems>,
    given: u64,
    purchase: Purchase,
    taken: Taken,
    /// What it was charged when the same call was made before, if its answer is no longer kept.
    before: Option<Amount>,
    _waits: Wait,
    _room: OwnedSemaphorePermit,
}

impl Caller {
    pub(in super::super) async fn open_abroad(
        self: Arc<Self>,
        service: Name,
        hire: Hire,
    ) -> Result<Box<dyn HiredItems>, HireError> {
        let (market, method) = (self.market(&service)?, method_of(&service, &hire.method)?);
        let body: [u8; 32] = Sha256::digest(&hire.arguments).into();
        let request = digest::request(service.as_str(), &method.to_snake_case(), &body);
        let price_max = self.may_spend(hire.price_max);
        let taken = self.take(price_max, None)?.open()?;
        let Named { id, known, .. } = self.find(&request, Wanted::ItemsOrOne).await?;
        let before = known.as_ref().map(|known| known.receipt.receipt.charged);
        if let (Some(charged), Some(answer)) = (before, known.as_ref().and_then(answer_of)) {
            taken.cost(charged);
            return Ok(Box::new(Stored::again(&answer, self.bill(charged, id))));
        }
        let room = self.node.0.hiring.room()?;
        let waits = self.node.0.hiring.wait(id, 0);
        let order = self.order(
            &id,
            (service, method),
            price_max,
            hire.arguments,
            hire.deadline,
        );
        let items = market.open(order.clone());
        let open = Open {
            items,
            given: 0,
            purchase: Purchase {
                caller: self,
                market,
                order,
                id,
                request,
                lends: 0,
            },
            taken,
            before,
            _waits: waits,
            _room: room,
        };
        Ok(Box::new(Abroad {
            open: Some(Box::new(open)),
            bill: Ok(nothing()),
        }))
    }
}

impl Abroad {
    async fn made(&mut self) -> Result<Option<Bytes>, HireError> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        match open.items.next().await {
            Ok(Some(item)) => {
                open.given += 1;
                open.taken.would_cost(open.taken.ceiling());
                Ok(Some(item))
            }
            ended => {
                let settled = self.settled().await;
                // Why it broke off says more than that its bill is not known.
                let item = ended?;
                settled?;
                Ok(item)
            }
        }
    }

    /// Ends it, and waits for its bill.
    async fn settled(&mut self) -> Result<Bill, HireError> {
        if let Some(open) = self.open.take() {
            self.bill = Err(HireError::Failed("its bill did not come".to_owned()));
            if let Ok(bill) = open.settle().await {
                self.bill = bill;
            }
        }
        self.bill.clone()
    }
}

impl Open {
    /// Asks for the bill and has it written down, beside whoever goes on.
    fn settle(self) -> oneshot::Receiver<Result<Bill, HireError>> {
        let (told, bill) = oneshot::channel();
        let caller = Arc::clone(&self.purchase.caller);
        let settling = async move {
            let (bill, written) = match self.end().await {
                Ok(bill) => (Ok(bill), Ok(())),
                Err(Unsettled::Unknown(error)) => {
                    // As with a call that was paid and never answered, it is the host's to bear.
                    tracing::warn!(%error, "what an answer cost that was left is not known");
                    (Err(error), Ok(()))
                }
                Err(Unsettled::Unwritten(error)) => (Err(error.clone()), Err(error)),
            };
            // Nobody is told who does not listen.
            let _ = told.send(bill);
            written
        };
        caller.note(settling);
        bill
    }

    async fn end(self) -> Result<Bill, Unsettled> {
        let Self {
            items,
            given,
            purchase,
            taken,
            before,
            ..
        } = self;
        let BoughtStream { bought, form } = items.end().await.map_err(Unsettled::Unknown)?;
        if given == 0 && form == Form::Part && bought.charged.is_zero() {
            return Ok(nothing());
        }
        let charged = match before {
            Some(charged) => charged,
            None => {
                let written = purchase.record(&bought, form).await;
                written.map_err(Unsettled::Unwritten)?
            }
        };
        taken.cost(charged);
        Ok(purchase.caller.bill(charged, purchase.id))
    }
}

/// Why there is no bill.
enum Unsettled {
    /// Whoever was paid does not say.
    Unknown(HireError),
    /// The ledger takes nothing.
    Unwritten(HireError),
}

impl HiredItems for Abroad {
    fn next(&mut self) -> Step<'_, Option<Bytes>> {
        Box::pin(self.made())
    }

    fn end(&mut self) -> Step<'_, Bill> {
        Box::pin(self.settled())
    }
}

impl Drop for Abroad {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            drop(open.settle());
        }
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("order", &self.purchase.order.name)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// What an answer costs of which nothing came.
fn nothing() -> Bill {
    Bill {
        charged: 0,
        receipt: None,
    }
}
