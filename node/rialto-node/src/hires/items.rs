//! Calls of services of this host whose answer comes item by item.
//!
//! The guest makes an item when it is asked for one, in a task of its own, and none ahead. What is charged is for the
//! items that were given, as it is to any other caller; until the answer ends it counts as if it ended now. It is
//! settled where it ends, beside whoever goes on, so that it is also where nobody waits any more.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_host::{
    Bill, CallError as HostError, GuestStream, Hire, HireError, Hired, HiredItems, ItemList,
    Outcome, Step, Usage,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::abroad::{Known, answer_of};
use super::taken::Taken;
use super::{AbortOnDrop, Caller, Hirings, Named, Wanted, untold};
use crate::api::CallError;
use crate::calls::Prepare;
use crate::catalog::{Version, Visit};
use crate::market::Form;
use crate::meters::Metered;
use crate::receipts::{Extent, Facts};

/// An answer that was there before it was asked for, or came as a whole.
#[derive(Debug)]
pub(super) struct Stored {
    items: VecDeque<Bytes>,
    is_whole: bool,
    bill: Bill,
}

impl Stored {
    /// A whole answer as the one item.
    pub(super) fn one(hired: Hired) -> Self {
        let Hired {
            body,
            charged,
            receipt,
        } = hired;
        Self {
            items: VecDeque::from([body]),
            is_whole: true,
            bill: Bill { charged, receipt },
        }
    }

    /// What was given of a stream before.
    pub(super) fn again(known: &Known, bill: Bill) -> Self {
        Self {
            items: match known.form {
                Form::One => VecDeque::from([known.text.clone()]),
                Form::Answer | Form::List | Form::Part => ItemList::split(&known.text).into(),
            },
            is_whole: known.form != Form::Part,
            bill,
        }
    }
}

impl HiredItems for Stored {
    fn next(&mut self) -> Step<'_, Option<Bytes>> {
        let item = self.items.pop_front();
        let next = match item.is_some() || std::mem::replace(&mut self.is_whole, true) {
            true => Ok(item),
            false => Err(HireError::Failed(
                "it ended here when the same call was made before".to_owned(),
            )),
        };
        Box::pin(std::future::ready(next))
    }

    fn end(&mut self) -> Step<'_, Bill> {
        self.items.clear();
        self.is_whole = true;
        Box::pin(std::future::ready(Ok(self.bill.clone())))
    }
}

/// A guest of this host makes the items.
struct Here {
    caller: Arc<Caller>,
    id: B256,
    /// None once it has ended.
    open: Option<Box<Open>>,
    bill: Told,
}

/// What it came to.
enum Told {
    Now(Bill),
    /// What it had others do is not settled yet.
    Later(oneshot::Receiver<Bill>),
}

/// An answer that has not ended.
struct Open {
    /// None while an item is made.
    guest: Option<GuestStream>,
    given: ItemList,
    /// What was used up to the last item that was given.
    usage: Usage,
    facts: Facts,
    party: String,
    visit: Visit,
    metered: Option<Metered>,
    /// What the guest has others do in turn.
    below: Hirings,
    taken: Taken,
    /// What it was charged when the same call was made before, if its answer is no longer kept.
    before: Option<Amount>,
    pace: Pace,
    _room: OwnedSemaphorePermit,
}

/// Whose time it was.
struct Pace {
    opened: Instant,
    /// When the last item was given.
    given: Instant,
    /// How long whoever asks took between items.
    waited: Duration,
}

/// How an answer ends.
enum Ending {
    /// With its last item, and what was used in all.
    Whole(Box<Usage>),
    /// Nobody asks any more.
    Left,
    /// The service broke it off.
    Broken(HostError),
}

impl Caller {
    pub(super) async fn open_here(
        self: Arc<Self>,
        callee: Arc<Version>,
        hire: Hire,
    ) -> Result<Box<dyn HiredItems>, HireError> {
        let bytes = u64::try_from(hire.arguments.len()).unwrap_or(u64::MAX);
        let price = callee.price(&hire.method, bytes);
        let price = price.map_err(|error| untold(&error))?;
        let mut taken = self.take(price, hire.price_max)?.open()?;
        let mut job = self.job(callee, &hire, price)?;
        let Named { id, place, known } = self.find(&job.request, Wanted::Items).await?;
        taken.place = place;
        job.id = id;
        let before = known.as_ref().map(|known| known.receipt.receipt.charged);
        if let (Some(charged), Some(answer)) = (before, known.as_ref().and_then(answer_of)) {
            taken.cost(charged);
            return Ok(Box::new(Stored::again(&answer, self.bill(charged, id))));
        }
        let room = self.node.0.hiring.room()?;
        let mut metered = job.service.begin(&job.method);
        let begun = async {
            let code = self.node.0.catalog.code(&job.service).await?;
            begin(self.node.make_ready(job, code, self.payer())).await
        };
        let Begun {
            guest,
            facts,
            visit,
            party,
            below,
        } = begun.await.map_err(|error| {
            if let Some(metered) = metered.take() {
                metered.end_hire(Err(&error));
            }
            untold(&error)
        })?;
        let now = Instant::now();
        let open = Open {
            guest: Some(guest),
            given: ItemList::default(),
            usage: Usage::default(),
            facts,
            party,
            visit,
            metered,
            below,
            taken,
            before,
            pace: Pace {
                opened: now,
                given: now,
                waited: Duration::ZERO,
            },
            _room: room,
        };
        Ok(Box::new(Here {
            caller: self,
            id,
            open: Some(Box::new(open)),
            bill: Told::Now(nothing()),
        }))
    }

    /// What is said of a charge; who nobody pays has no receipt.
    pub(super) fn bill(&self, charged: Amount, id: B256) -> Bill {
        Bill {
            charged: charged.get(),
            receipt: self.whom.map(|_| id.to_string()),
        }
    }
}

/// A call that has returned its stream.
struct Begun {
    guest: GuestStream,
    facts: Facts,
    visit: Visit,
    party: String,
    below: Hirings,
}

async fn begin(ready: Prepare) -> Result<Begun, CallError> {
    let Prepare {
        facts,
        visit,
        prepared,
        context,
        hirings,
    } = ready;
    let party = context.payer.clone();
    match facts.code.service.open(prepared, context).await {
        Ok(guest) => Ok(Begun {
            guest,
            facts,
            visit,
            party,
            below: hirings,
        }),
        Err(error) => {
            visit.over::<()>(&party, &Err(error.clone()));
            // Also of a call that failed: what was done for it is not done again.
            hirings.queued().await?;
            Err(error.into())
        }
    }
}

impl Here {
    async fn made(&mut self) -> Result<Option<Bytes>, HireError> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let Some(mut guest) = open.guest.take() else {
            // Whoever asked before did not wait: the guest is gone.
            self.settle(Ending::Left);
            return Ok(None);
        };
        open.pace.waited += open.pace.given.elapsed();
        let making = async move {
            let item = guest.next().await;
            Ok((guest, item))
        };
        let (guest, item) = AbortOnDrop::spawn(&self.caller.node, making)
            .ended()
            .await?;
        match item {
            Ok(Some(item)) => {
                open.give(guest, &item);
                Ok(Some(item))
            }
            Ok(None) => {
                self.settle(Ending::Whole(Box::new(guest.usage().clone())));
                Ok(None)
            }
            // The guest had less time than its reader took: it is not the service that was late.
            Err(HostError::TimedOut { .. })
                if open.pace.waited > open.pace.opened.elapsed() / 2 =>
            {
                self.settle(Ending::Left);
                Err(HireError::Late)
            }
            Err(error) => {
                self.settle(Ending::Broken(error.clone()));
                Err(untold(&error.into()))
            }
        }
    }

    /// Charges for what was given, and has it written down.
    fn settle(&mut self, ending: Ending) {
        let Some(open) = self.open.take() else {
            return;
        };
        let Open {
            guest,
            given,
            usage,
            mut facts,
            party,
            visit,
            metered,
            below,
            taken,
            before,
            ..
        } = *open;
        // What it had others do ends with it.
        drop(guest);
        let count = given.count();
        let (extent, outcome, failure) = match ending {
            Ending::Whole(usage) => {
                let (body, usage) = (given.finish(), *usage);
                (Extent::Whole, Outcome { body, usage }, None)
            }
            Ending::Left => (Extent::Left, part(given, usage), None),
            Ending::Broken(error) => (Extent::Broken, part(given, usage), Some(error)),
        };
        facts.extent = extent;
        note_end((visit, metered), &party, (extent, count), failure);
        let settling = Settling {
            caller: Arc::clone(&self.caller),
            facts,
            outcome,
            count,
            taken,
            before,
        };
        if !below.are_possible() {
            let (bill, written) = settling.charge();
            self.bill = Told::Now(bill);
            self.caller.note(written);
            return;
        }
        let (told, bill) = oneshot::channel();
        self.bill = Told::Later(bill);
        self.caller.note(async move {
            // What others charge for it is known then.
            below.queued().await.map_err(|error| untold(&error))?;
            let mut settling = settling;
            below.settle(&mut settling.outcome.usage);
            let (bill, written) = settling.charge();
            // Nobody is told who does not listen.
            let _ = told.send(bill);
            written.await
        });
    }

    async fn billed(&mut self) -> Result<Bill, HireError> {
        self.settle(Ending::Left);
        if let Told::Later(bill) = &mut self.bill {
            let failed = |_| HireError::Failed("its bill did not come".to_owned());
            self.bill = Told::Now(bill.await.map_err(failed)?);
        }
        match &self.bill {
            Told::Now(bill) => Ok(bill.clone()),
            Told::Later(_) => Err(HireError::Failed("its bill did not come".to_owned())),
        }
    }
}

/// An answer that has ended.
struct Settling {
    caller: Arc<Caller>,
    facts: Facts,
    outcome: Outcome,
    /// Items that were given.
    count: u64,
    taken: Taken,
    before: Option<Amount>,
}

impl Settling {
    /// Charges, and says what is left to write down.
    fn charge(
        self,
    ) -> (
        Bill,
        impl Future<Output = Result<(), HireError>> + Send + 'static,
    ) {
        let Self {
            caller,
            facts,
            outcome,
            count,
            taken,
            before,
        } = self;
        let charged = before.unwrap_or_else(|| facts.charge(&outcome));
        let is_owed = facts.extent == Extent::Whole || (count > 0 && !charged.is_zero());
        let bill = match is_owed {
            true => {
                taken.cost(charged);
                caller.bill(charged, facts.id)
            }
            // Its ceiling and its name are given back.
            false => nothing(),
        };
        let is_new = is_owed && before.is_none() && caller.whom.is_some();
        let written = async move {
            match is_new {
                true => caller.record(facts, outcome).await,
                false => Ok(()),
            }
        };
        (bill, written)
    }
}

/// Tells whoever counts how it ended.
fn note_end(
    (visit, metered): (Visit, Option<Metered>),
    party: &str,
    (extent, count): (Extent, u64),
    failure: Option<HostError>,
) {
    let ended = failure.map_or(Ok(()), Err);
    visit.over(party, &ended);
    let Some(metered) = metered else {
        return;
    };
    let left = CallError::StreamEnded { items: count };
    match (ended, extent) {
        (Err(error), _) => metered.end_hire(Err(&error.into())),
        (Ok(()), Extent::Left) => metered.end_hire(Err(&left)),
        (Ok(()), Extent::Whole | Extent::Broken) => metered.end_hire(Ok(())),
    }
}

/// What was given of an answer that ended early.
fn part(given: ItemList, usage: Usage) -> Outcome {
    Outcome {
        body: given.unfinished(),
        usage,
    }
}

/// What an answer costs of which nothing was given.
fn nothing() -> Bill {
    Bill {
        charged: 0,
        receipt: None,
    }
}

impl Open {
    /// An item was given: what it costs is owed from now on.
    fn give(&mut self, guest: GuestStream, item: &[u8]) {
        self.given.push(item);
        self.usage = guest.usage().clone();
        self.guest = Some(guest);
        let sofar = Outcome {
            body: Bytes::new(),
            usage: self.usage.clone(),
        };
        let left = Facts {
            extent: Extent::Left,
            ..self.facts.clone()
        };
        let cost = self.before.unwrap_or_else(|| left.charge(&sofar));
        if !cost.is_zero() {
            self.taken.would_cost(cost);
        }
        self.pace.given = Instant::now();
    }
}

impl HiredItems for Here {
    fn next(&mut self) -> Step<'_, Option<Bytes>> {
        Box::pin(self.made())
    }

    fn end(&mut self) -> Step<'_, Bill> {
        Box::pin(self.billed())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.settle(Ending::Left);
    }
}

impl fmt::Debug for Here {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Here")
            .field("id", &self.id)
            .field("is_open", &self.open.is_some())
            .finish_non_exhaustive()
    }
}
