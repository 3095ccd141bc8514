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
//! A response of `wasi:http` goes the same way, unless it is there as a whole before long: then it is an answer
//! like any other.
//!
//! `exact` knows one sum and no part of it, and its answer goes out for a transfer that was made: such a
//! call runs to its end first, and its items are handed out then.

mod delivery;
mod making;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_host::{CallError as HostError, Outcome, Usage};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout_at;
use tracing::Instrument as _;

use crate::Node;
use crate::api::{CallError, CallOutcome, CallRequest, Payment, PaymentError};
use crate::calls::{Began, Hold, Job, Prepare, Ready, Stay, is_whole, named};
use crate::catalog::{Code, Version, Visit};
use crate::digest;
use crate::failures::Running;
use crate::hires::Hirings;
use crate::meters::Metered;
use crate::receipts::{Extent, Facts};
use crate::reject::unavailable;
pub use delivery::{CallStream, StreamEnd, StreamPart};
use delivery::{Delivery, Item};
use making::{Begun, Making};

/// The answer to a request that a handler of `wasi:http` serves.
#[derive(Debug)]
pub enum Response {
    /// All of it, as [`Node::call`] gives it.
    Whole(Box<CallOutcome>),
    /// Its body comes as it is written.
    Streams {
        /// A JSON object of `status`, and `headers` as pairs.
        head: Bytes,
        /// The bytes of the body.
        body: CallStream,
    },
}

/// Who hears of a stream's course.
struct Opened {
    /// How the answer began.
    told: oneshot::Sender<Result<Told, CallError>>,
    /// How it ended.
    metered: Option<Metered>,
}

/// What is known of an answer that began.
enum Told {
    Whole(Box<CallOutcome>),
    Streams {
        /// A response's.
        head: Option<Bytes>,
        /// The id that the receipt will have.
        receipt: Option<B256>,
    },
}

/// How a stream is paid for.
enum Paying {
    /// It is free, and has its place in the node.
    Nothing(Arc<Code>, OwnedSemaphorePermit),
    Through(Box<Ready>),
}

/// What a stream has of its payment, or without one.
struct Taken {
    code: Arc<Code>,
    payer: Option<Address>,
    attempt: Option<Running>,
    held: Option<Held>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Paying {
    fn taken(self) -> Taken {
        match self {
            Self::Through(ready) => {
                let ready = *ready;
                Taken {
                    code: ready.code,
                    payer: Some(ready.payer),
                    attempt: Some(ready.attempt.run()),
                    held: Some(Held {
                        hold: ready.hold,
                        key: ready.key,
                        deposited: ready.deposited,
                        _stay: ready.stay,
                    }),
                    _place: None,
                }
            }
            Self::Nothing(code, permit) => Taken {
                code,
                payer: None,
                attempt: None,
                held: None,
                _place: Some(permit),
            },
        }
    }
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
        match self.answer(request, false).await? {
            Answer::Begun(Told::Streams { receipt, .. }, stream) => Ok(stream.named(receipt)),
            Answer::Begun(Told::Whole(outcome), _) => Ok(CallStream::stored(*outcome, true)),
            Answer::There(outcome, whole) => Ok(CallStream::stored(*outcome, whole)),
        }
    }

    /// Runs a request to a handler of `wasi:http`. Returns when its response is whole, or when it has begun
    /// and is large or takes its time: then its body comes as a stream does.
    ///
    /// Cancel-safe, as [`Node::stream`].
    ///
    /// # Errors
    /// [`CallError`]; nothing is charged in any case (M3).
    pub async fn respond(&self, request: CallRequest) -> Result<Response, CallError> {
        match self.answer(request, true).await? {
            Answer::Begun(Told::Whole(outcome), _) => Ok(Response::Whole(outcome)),
            Answer::There(outcome, true) => Ok(Response::Whole(outcome)),
            Answer::Begun(Told::Streams { head, receipt }, body) => {
                let head = head.ok_or_else(|| no_response("its head"))?;
                let body = body.named(receipt);
                Ok(Response::Streams { head, body })
            }
            Answer::There(outcome, false) => {
                let stored = CallStream::stored_response(*outcome);
                let (head, body) = stored.ok_or_else(|| no_response("what is stored of it"))?;
                Ok(Response::Streams { head, body })
            }
        }
    }

    /// Lets a call that streams, or responds, begin its answer.
    async fn answer(&self, request: CallRequest, responds: bool) -> Result<Answer, CallError> {
        let service = self.open(&request.service)?;
        let mut metered = service.begin(&request.method);
        let opened = self
            .answer_of(service, request, responds, &mut metered)
            .await;
        if let (Err(error), Some(metered)) = (&opened, metered) {
            metered.end(Err(error));
        }
        opened
    }

    /// Takes what counts the call, unless it fails here.
    async fn answer_of(
        &self,
        service: Arc<Version>,
        request: CallRequest,
        responds: bool,
        metered: &mut Option<Metered>,
    ) -> Result<Answer, CallError> {
        let (mut job, payment) = self.job(service, request)?;
        if job.prepared.is_request() != responds {
            return Err(no_response("a call of another kind"));
        }
        let permit = self.admit()?;
        self.check_room(&job, &payment)?;
        let (outcome, whole) = match payment {
            Payment::None if job.price.is_zero() => {
                let code = self.0.catalog.code(&job.service).await?;
                let paying = Paying::Nothing(code, permit);
                return self.start_answer(job, paying, metered.take()).await;
            }
            Payment::None => return Err(PaymentError::Required.into()),
            Payment::Channel(payment) => {
                self.name_again(&mut job, &payment);
                match self.begin(&job, *payment, permit).await? {
                    Began::Now(ready) => {
                        let paying = Paying::Through(ready);
                        return self.start_answer(job, paying, metered.take()).await;
                    }
                    Began::Before(record, slot) => {
                        let outcome = self.stored(&record, &job.request, slot.as_deref())?;
                        (outcome, is_whole(&record))
                    }
                }
            }
            Payment::Exact(payment) => (self.call_exact(job, *payment, permit).await?, true),
        };
        if let Some(metered) = metered.take() {
            metered.end(Ok(&outcome));
        }
        Ok(Answer::There(Box::new(outcome), whole))
    }

    /// Lets a task of its own run the call, and waits until its answer has begun.
    async fn start_answer(
        &self,
        job: Job,
        paying: Paying,
        metered: Option<Metered>,
    ) -> Result<Answer, CallError> {
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
        let told = opening
            .await
            .map_err(|error| unavailable("the call", error))??;
        Ok(Answer::Begun(told, Box::new(stream)))
    }

    async fn serve(self, job: Job, paying: Paying, delivery: Delivery, opened: Opened) {
        let Opened { told, metered } = opened;
        let Taken {
            code,
            payer,
            attempt,
            held,
            _place,
        } = paying.taken();
        let party = digest::party(payer, job.lineage.on_behalf);
        let opening = opened_guest(self.make_ready(job, code, payer), &delivery.items);
        let Open {
            facts,
            visit,
            begun,
            deadline,
            hirings,
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
        let (ending, answered, told) = match begun {
            Begun::Whole(outcome) => (Ending::Whole, Answered::Whole(*outcome), Some(told)),
            Begun::Part(guest) => {
                let receipt = held.is_some().then_some(facts.id);
                delivery.begin(guest.text());
                let _ = told.send(Ok(Told::Streams {
                    head: guest.head(),
                    receipt,
                }));
                let stall = Duration::from_millis(self.config().sandbox.stall_ms_max);
                // The guest is gone when this returns, before anything is charged.
                let (ending, used) = run(guest, &delivery.items, deadline, stall).await;
                (ending, Answered::InParts(used), None)
            }
        };
        // Where the ledger takes nothing, it takes no charge either.
        if let Err(error) = hirings.queued().await {
            tracing::warn!(%error, "what a stream had others do is not recorded");
        }
        match &ending {
            Ending::Broken(error) => visit.over::<()>(&named(party), &Err(error.clone())),
            Ending::Whole | Ending::Left => visit.over(&named(party), &Ok(())),
        }
        let end = self
            .charge_delivered(facts, ending, answered, held, (&delivery, &hirings))
            .await;
        let at_fault = match &end.failure {
            Some(error) if end.outcome.is_none() => Running::counts(error),
            Some(_) | None => false,
        };
        finish(attempt, !at_fault);
        if let Some(metered) = metered {
            metered.end_stream(&end);
        }
        match told {
            Some(told) => {
                // Nobody is told who does not listen.
                let _ = told.send(end.whole().map(Told::Whole));
            }
            None => delivery.over(end),
        }
    }

    /// Charges for what was delivered. From here on nothing more is.
    async fn charge_delivered(
        &self,
        mut facts: Facts,
        ending: Ending,
        answered: Answered,
        held: Option<Held>,
        (delivery, hirings): (&Delivery, &Hirings),
    ) -> StreamEnd {
        let (text, delivered) = delivery.seal();
        let count = text.count();
        let (extent, failure) = match ending {
            Ending::Whole => (Extent::Whole, None),
            Ending::Left => (Extent::Left, Some(CallError::StreamEnded { items: count })),
            Ending::Broken(error) => (Extent::Broken, Some(error.into())),
        };
        facts.extent = extent;
        let mut outcome = match (extent, answered) {
            (_, Answered::Whole(outcome)) => outcome,
            (Extent::Whole, Answered::InParts(usage)) => Outcome {
                body: text.finish(),
                usage,
            },
            (Extent::Left | Extent::Broken, Answered::InParts(_)) => Outcome {
                body: text.unfinished(),
                usage: delivered,
            },
        };
        hirings.settle(&mut outcome.usage);
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

/// An answer on its way to its caller.
enum Answer {
    /// Its guest made it, or makes it.
    Begun(Told, Box<CallStream>),
    /// It was there before, or was paid for as a whole; whether it is whole.
    There(Box<CallOutcome>, bool),
}

/// What there is to charge for.
enum Answered {
    /// An answer in one.
    Whole(Outcome),
    /// What was taken; with what was used in all.
    InParts(Usage),
}

impl StreamEnd {
    /// The answer, if it is whole.
    fn whole(self) -> Result<Box<CallOutcome>, CallError> {
        match (self.failure, self.outcome) {
            (Some(failure), _) => Err(failure),
            (None, Some(outcome)) => Ok(outcome),
            (None, None) => Err(no_response("a whole answer")),
        }
    }
}

/// A bug of the host's.
fn no_response(of: &str) -> CallError {
    HostError::Internal(format!("{of} is no response")).into()
}

/// What a paid stream holds until it is charged.
struct Held {
    hold: Hold,
    key: [u8; 32],
    deposited: Option<(B256, Amount)>,
    _stay: Stay,
}

/// An answer that a guest has begun.
struct Open {
    facts: Facts,
    visit: Visit,
    begun: Begun,
    /// When the call ends at the latest.
    deadline: Instant,
    /// What it has others do.
    hirings: Hirings,
}

/// Lets the guest begin its answer, unless nobody waits for it any more.
async fn opened_guest(ready: Prepare, items: &mpsc::Sender<Item>) -> Result<Open, CallError> {
    let Prepare {
        facts,
        visit,
        prepared,
        context,
        hirings,
    } = ready;
    let payer = context.payer.clone();
    let deadline = context.deadline;
    let opened = tokio::select! {
        opened = Making::begin(&facts.code.service, prepared, context) => opened,
        () = items.closed() => return Err(CallError::StreamEnded { items: 0 }),
    };
    match opened {
        Ok(begun) => Ok(Open {
            facts,
            visit,
            begun,
            deadline,
            hirings,
        }),
        Err(error) => {
            visit.over::<()>(&payer, &Err(error.clone()));
            hirings.queued().await?;
            Err(error.into())
        }
    }
}

/// Hands items over, one made when the one before was taken, until one side ends it.
async fn run(
    mut guest: Making,
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
            Ok(Some(item)) => place.send(item),
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
