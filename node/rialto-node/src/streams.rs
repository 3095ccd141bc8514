//! Calls whose answer is handed out item by item, and what is charged for them.
//!
//! The guest runs in a task of its own and makes an item when the one before was taken. When the stream
//! ends, whatever ended it, that task charges and makes the charge durable (M4), and only then tells the
//! reader of the end; it does so too when the reader has gone.
//!
//! What is charged is for what was delivered: for a whole stream what any call costs; for one that its
//! reader left, the price list's charge for what was used up to the last item that it took, and nothing
//! if it took none (M3); for one that the service broke off, the metered parts up to the last item,
//! without the price of a call. Never more than was reserved (M2). The same payment again gets what was
//! delivered, as a replay (M5).
//!
//! `exact` knows one sum and no part of it, and its answer goes out for a transfer that was made: such a
//! call runs to its end first, and its items are handed out then.

mod delivery;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_host::{CallError as HostError, GuestStream, Outcome, Usage};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout_at;
use tracing::Instrument as _;

use crate::Node;
use crate::api::{CallError, CallOutcome, CallRequest, Payment, PaymentError};
use crate::calls::{Began, Hold, Job, Prepare, Ready, Stay, is_whole, named, prepare};
use crate::catalog::{Code, Version, Visit};
use crate::failures::Running;
use crate::meters::Metered;
use crate::receipts::{Extent, Facts};
use crate::reject::unavailable;
pub use delivery::{CallStream, StreamEnd, StreamPart};
use delivery::{Delivery, Item};

/// Who hears of a stream's course.
struct Opened {
    /// That the method returned its stream.
    told: oneshot::Sender<Result<(), CallError>>,
    /// How it ended.
    metered: Option<Metered>,
}

/// How a stream is paid for.
enum Paying {
    /// It is free, and has its place in the node.
    Nothing(Arc<Code>, OwnedSemaphorePermit),
    Through(Box<Ready>),
}

/// How a stream ended.
enum Ending {
    /// With its last item.
    Whole,
    /// Its reader went away, or took too long.
    Left,
    /// The service broke it off.
    Broken(HostError),
}

impl Node {
    /// Runs a call whose answer comes item by item. Returns when the method has returned its stream,
    /// before the first item.
    ///
    /// Cancel-safe: dropped before it returns, nothing is charged but what a deposit moves. Dropping the
    /// stream drops the guest at once; what was delivered is charged.
    ///
    /// # Errors
    /// [`CallError`]; nothing is charged in any case (M3).
    pub async fn stream(&self, request: CallRequest) -> Result<CallStream, CallError> {
        let service = self.open(&request.service)?;
        let mut metered = service.begin(&request.method);
        let opened = self.stream_of(service, request, &mut metered).await;
        if let (Err(error), Some(metered)) = (&opened, metered) {
            metered.end(Err(error));
        }
        opened
    }

    /// Takes what counts the call, unless it fails here.
    async fn stream_of(
        &self,
        service: Arc<Version>,
        request: CallRequest,
        metered: &mut Option<Metered>,
    ) -> Result<CallStream, CallError> {
        let (job, payment) = self.job(service, request)?;
        let permit = self.admit()?;
        self.check_room(&job, &payment)?;
        let (outcome, whole) = match payment {
            Payment::None if job.price.is_zero() => {
                let code = self.0.catalog.code(&job.service).await?;
                let paying = Paying::Nothing(code, permit);
                return self.start_stream(job, paying, metered.take()).await;
            }
            Payment::None => return Err(PaymentError::Required.into()),
            Payment::Channel(payment) => match self.begin(&job, *payment, permit).await? {
                Began::Now(ready) => {
                    let paying = Paying::Through(ready);
                    return self.start_stream(job, paying, metered.take()).await;
                }
                Began::Before(record, slot) => {
                    let outcome = self.stored(&record, &job.request, slot.as_deref())?;
                    (outcome, is_whole(&record))
                }
            },
            Payment::Exact(payment) => (self.call_exact(job, *payment, permit).await?, true),
        };
        if let Some(metered) = metered.take() {
            metered.end(Ok(&outcome));
        }
        Ok(CallStream::stored(outcome, whole))
    }

    /// Lets a task of its own run the call, and waits until the method has returned its stream.
    async fn start_stream(
        &self,
        job: Job,
        paying: Paying,
        metered: Option<Metered>,
    ) -> Result<CallStream, CallError> {
        let (delivery, stream) = delivery::pair();
        let (opened, opening) = oneshot::channel();
        let node = self.clone();
        let serving = async move {
            let opened = Opened {
                told: opened,
                metered,
            };
            node.serve(job, paying, delivery, opened).await;
        };
        tokio::spawn(serving.in_current_span());
        opening
            .await
            .map_err(|error| unavailable("the call", error))??;
        Ok(stream)
    }

    async fn serve(self, job: Job, paying: Paying, delivery: Delivery, opened: Opened) {
        let Opened { told, metered } = opened;
        let (code, payer, attempt, held, _place) = match paying {
            Paying::Through(ready) => {
                let Ready {
                    payer,
                    code,
                    attempt,
                    hold,
                    key,
                    deposited,
                    stay,
                } = *ready;
                let held = Held {
                    hold,
                    key,
                    deposited,
                    _stay: stay,
                };
                (code, Some(payer), Some(attempt.run()), Some(held), None)
            }
            Paying::Nothing(code, permit) => (code, None, None, None, Some(permit)),
        };
        let opening = opened_guest(job, code, payer, &delivery.items);
        let Open {
            facts,
            visit,
            guest,
            deadline,
        } = match opening.await {
            Ok(opened) => opened,
            Err(error) => {
                finish(attempt, !Running::counts(&error));
                if let Some(held) = held {
                    held.hold.give_back().await;
                }
                if let Some(metered) = metered {
                    metered.end(Err(&error));
                }
                // Nobody is told who does not listen.
                let _ = told.send(Err(error));
                return;
            }
        };
        let _ = told.send(Ok(()));
        let stall = Duration::from_millis(self.config().sandbox.stall_ms_max);
        // The guest is gone when this returns, before anything is charged.
        let (ending, used) = run(guest, &delivery.items, deadline, stall).await;
        match &ending {
            Ending::Broken(error) => visit.over::<()>(&named(payer), &Err(error.clone())),
            Ending::Whole | Ending::Left => visit.over(&named(payer), &Ok(())),
        }
        let end = self
            .charge_delivered(facts, ending, used, held, &delivery)
            .await;
        let at_fault = match &end.failure {
            Some(error) if end.outcome.is_none() => Running::counts(error),
            Some(_) | None => false,
        };
        finish(attempt, !at_fault);
        if let Some(metered) = metered {
            metered.end_stream(&end);
        }
        delivery.over(end);
    }

    /// Charges for what was delivered. From here on nothing more is.
    async fn charge_delivered(
        &self,
        mut facts: Facts,
        ending: Ending,
        used: Usage,
        held: Option<Held>,
        delivery: &Delivery,
    ) -> StreamEnd {
        let (items, delivered) = delivery.seal();
        let count = items.count();
        let (extent, failure) = match ending {
            Ending::Whole => (Extent::Whole, None),
            Ending::Left => (Extent::Left, Some(CallError::StreamEnded { items: count })),
            Ending::Broken(error) => (Extent::Broken, Some(error.into())),
        };
        facts.extent = extent;
        let outcome = match extent {
            Extent::Whole => Outcome {
                body: items.finish(),
                usage: used,
            },
            Extent::Left | Extent::Broken => Outcome {
                body: items.unfinished(),
                usage: delivered,
            },
        };
        let owed = extent == Extent::Whole || (count > 0 && !facts.charge(&outcome).is_zero());
        let charged = match held {
            None if extent == Extent::Whole => Ok(Some(free(outcome.body))),
            None => Ok(None),
            Some(held) if owed => self.charge_held(held, facts, outcome).await.map(Some),
            Some(held) => {
                held.hold.give_back().await;
                Ok(None)
            }
        };
        match charged {
            Ok(outcome) => StreamEnd {
                outcome: outcome.map(Box::new),
                failure,
            },
            Err(error) => StreamEnd {
                outcome: None,
                failure: Some(error),
            },
        }
    }

    async fn charge_held(
        &self,
        held: Held,
        facts: Facts,
        outcome: Outcome,
    ) -> Result<CallOutcome, CallError> {
        let Held {
            hold,
            key,
            deposited,
            _stay,
        } = held;
        self.charge_channel(hold, facts, outcome, key, deposited)
            .await
    }
}

/// What a paid stream holds until it is charged.
struct Held {
    hold: Hold,
    key: [u8; 32],
    deposited: Option<(B256, Amount)>,
    _stay: Stay,
}

/// A stream that a guest has returned.
struct Open {
    facts: Facts,
    visit: Visit,
    guest: GuestStream,
    /// When the call ends at the latest.
    deadline: Instant,
}

/// Opens the guest's stream, unless nobody waits for it any more.
async fn opened_guest(
    job: Job,
    code: Arc<Code>,
    payer: Option<Address>,
    items: &mpsc::Sender<Item>,
) -> Result<Open, CallError> {
    let Prepare {
        facts,
        visit,
        prepared,
        context,
    } = prepare(job, code, payer);
    let deadline = context.deadline;
    let opened = tokio::select! {
        opened = facts.code.service.open(prepared, context) => opened,
        () = items.closed() => return Err(CallError::StreamEnded { items: 0 }),
    };
    match opened {
        Ok(guest) => Ok(Open {
            facts,
            visit,
            guest,
            deadline,
        }),
        Err(error) => {
            visit.over::<()>(&named(payer), &Err(error.clone()));
            Err(error.into())
        }
    }
}

/// Hands items over, one made when the one before was taken, until one side ends it.
async fn run(
    mut guest: GuestStream,
    items: &mpsc::Sender<Item>,
    deadline: Instant,
    stall: Duration,
) -> (Ending, Usage) {
    let started = Instant::now();
    let mut waited = Duration::ZERO;
    let ending = loop {
        let asked = Instant::now();
        let patience = deadline.min(asked + stall);
        let Ok(Ok(place)) = timeout_at(patience.into(), items.reserve()).await else {
            break Ending::Left;
        };
        waited += asked.elapsed();
        let made = tokio::select! {
            made = guest.next() => made,
            () = items.closed() => break Ending::Left,
        };
        match made {
            Ok(Some(json)) => {
                let usage = guest.usage().clone();
                place.send(Item { json, usage });
            }
            Ok(None) => break Ending::Whole,
            // The guest had less time than its reader took: it is not the service that was late.
            Err(HostError::TimedOut { .. }) if waited > started.elapsed() / 2 => {
                break Ending::Left;
            }
            Err(error) => break Ending::Broken(error),
        }
    };
    (ending, guest.usage().clone())
}

/// A call that failed counts against its payer, whose calls are free then.
fn finish(attempt: Option<Running>, succeeded: bool) {
    if let Some(attempt) = attempt
        && succeeded
    {
        attempt.over();
    }
}

/// A whole stream that nobody pays for.
fn free(body: Bytes) -> CallOutcome {
    CallOutcome {
        body,
        charged: Amount::ZERO,
        payer: None,
        channel: None,
        transaction: None,
        receipt: None,
        replayed: false,
    }
}
