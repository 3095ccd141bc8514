//! Calls that a service makes of others, on the account of its own call's payer.
//!
//! A call has a purse: what its method's price keeps for others (`spend_max`), less the publisher's share where its
//! service has a royalty, since that is taken of all that arrives. A call of another service takes its ceiling out of
//! the purse before it begins, and gives back what it did not cost.
//!
//! Services of this host are called in this process. Nothing is paid then: the payer is charged for all of it by the
//! call that it made itself, and the receipt of each call below says who worked for how much. Its payer and its
//! provider are the host, which the books do not count.
//!
//! A paid call that is made again, because an answer or a host was lost, finds what was done for it already: receipts
//! of the calls below are named after its own, which follows from its payment, and their answers are kept with them.
//! They are queued for the ledger before the charge that includes them, so they are durable when it is; signing and
//! queueing goes on beside the guest, which has its answer meanwhile ([`Hirings`]).
//!
//! Services that only other hosts run are bought from them, and so are those with a royalty, whoever runs them
//! ([`abroad`]).

mod abroad;
mod items;
mod purse;
mod taken;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use alloy_primitives::{Address, B256, keccak256};
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::royalty::Royalty;
use rialto_host::{
    Arguments, CallError as HostError, Hire, HireError, HireQuote, Hired, HiredItems, Hirer,
    Hiring, NoHirer, Outcome, Spent, Usage,
};
use rialto_ledger::{Entry, PaymentRecord};
use rialto_registry::Name;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::Node;
use crate::api::{CallError, CallRequest, ChannelPayment, Lineage, Payment};
use crate::calls::{Job, record};
use crate::catalog::Version;
use crate::digest;
use crate::market::Form;
use crate::money::{Arrival, unrecorded};
use crate::receipts::{Facts, Paid};
use crate::reject::unavailable;
use items::Stored;
use purse::Purse;

/// What one call of a service has for calling others.
#[derive(Debug)]
struct Caller {
    node: Node,
    service: Arc<Version>,
    /// The receipt of the call, which those below name as their parent.
    id: B256,
    /// The services above those that it calls: its own is the last.
    above: Vec<Name>,
    /// Takes a share of all that arrives.
    royalty: Option<Royalty>,
    /// For whom it calls others; none where nobody pays, and nothing is kept then.
    whom: Option<B256>,
    purse: Mutex<Purse>,
    /// What is on its way to the ledger.
    records: Mutex<Vec<JoinHandle<Result<(), HireError>>>>,
}

/// What a call has had others do, as its ledger will have it.
#[derive(Debug, Default)]
pub(crate) struct Hirings(Option<Arc<Caller>>);

impl Hirings {
    /// Waits until all of it is queued: a charge that includes it may follow.
    ///
    /// # Errors
    /// [`CallError::Unavailable`]: the ledger takes nothing.
    pub(crate) async fn queued(&self) -> Result<(), CallError> {
        let Some(caller) = &self.0 else {
            return Ok(());
        };
        loop {
            let records = std::mem::take(&mut *caller.records());
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                let queued = record.await;
                let queued = queued.map_err(|error| unavailable("the ledger", error))?;
                queued.map_err(|error| unavailable("the ledger", error))?;
            }
        }
    }

    /// Whether there may be any.
    const fn are_possible(&self) -> bool {
        self.0.is_some()
    }

    /// What it came to, once it is all [queued](Self::queued): of answers that come item by item and have not ended, no
    /// more is known before than what they cost at most.
    pub(crate) fn settle(&self, usage: &mut Usage) {
        if let Some(caller) = &self.0 {
            let spent = caller.spent();
            usage.hires = usage.hires.min(spent.calls);
            usage.spent = usage.spent.min(spent.amount);
        }
    }
}

impl Node {
    /// Who calls others for a call of a service, whose caller is known to it as `party`.
    pub(crate) fn hirer(&self, job: &Job, party: Option<Address>) -> (Arc<dyn Hirer>, Hirings) {
        if !job.service.calls_others() {
            return (Arc::new(NoHirer), Hirings::default());
        }
        let manifest = &job.service.view.manifest;
        let royalty = manifest.royalty().copied();
        let kept = job.service.spend_max(&job.method).min(job.price);
        let max = royalty.map_or(kept, |royalty| royalty.share.split(kept).1);
        let mut above = job.lineage.above.clone();
        above.push(manifest.name().clone());
        let caller = Arc::new(Caller {
            node: self.clone(),
            service: Arc::clone(&job.service),
            id: job.id,
            above,
            royalty,
            whom: party.map(|party| digest::on_behalf(party, manifest.name().as_str())),
            purse: Mutex::new(Purse::new(max)),
            records: Mutex::default(),
        });
        (Arc::new(Hires(Arc::clone(&caller))), Hirings(Some(caller)))
    }

    /// Names a call after its payment, where calls below it are named after it: made again, it finds them.
    pub(crate) fn name_again(&self, job: &mut Job, payment: &ChannelPayment) {
        if job.service.calls_others() {
            let key = digest::payment_key(payment, &job.request);
            let name = keccak256([b"rialto call receipt v1\0".as_slice(), &key].concat());
            // Signed, so that nobody who knows the payment knows the receipt.
            job.id = keccak256(self.key().sign(name).to_bytes());
        }
    }
}

/// The same, as the host knows it.
#[derive(Debug)]
struct Hires(Arc<Caller>);

impl Hirer for Hires {
    fn left(&self) -> u128 {
        self.0.purse().left().get()
    }

    fn spent(&self) -> Spent {
        self.0.spent()
    }

    fn quote(&self, service: String, method: String, arguments_bytes: u64) -> Hiring<HireQuote> {
        let caller = Arc::clone(&self.0);
        Box::pin(async move {
            let name = caller.allowed(&service)?;
            let Some(callee) = caller.callee(&name)? else {
                return caller.tender(&name, &method, arguments_bytes).await;
            };
            let price = callee.price(&method, arguments_bytes);
            Ok(HireQuote {
                price_max: price.map_err(|error| untold(&error))?.get(),
                provider: "here".to_owned(),
            })
        })
    }

    fn call(&self, hire: Hire) -> Hiring<Hired> {
        self.beside(Arc::clone(&self.0).call(hire))
    }

    fn open(&self, hire: Hire) -> Hiring<Box<dyn HiredItems>> {
        self.beside(Arc::clone(&self.0).open(hire))
    }
}

impl Hires {
    /// Works in a task of its own: what it computes is its own time, not that of the guest that waits for it.
    fn beside<T, F>(&self, work: F) -> Hiring<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, HireError>> + Send + 'static,
    {
        Box::pin(AbortOnDrop::spawn(&self.0.node, work).ended())
    }
}

impl Caller {
    fn spent(&self) -> Spent {
        let (calls, amount) = self.purse().spent();
        let gross = match self.royalty {
            // What arrives has to leave as much as was spent.
            Some(royalty) => royalty.share.gross(amount).unwrap_or(Amount::MAX),
            None => amount,
        };
        Spent {
            calls,
            amount: gross.get(),
        }
    }

    fn purse(&self) -> MutexGuard<'_, Purse> {
        // No step under this lock leaves something half-changed.
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, Vec<JoinHandle<Result<(), HireError>>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a service that may be called.
    fn allowed(&self, name: &str) -> Result<Name, HireError> {
        let parsed: Name = name
            .parse()
            .map_err(|error| HireError::Unknown(format!("`{name}` names no service: {error}")))?;
        let granted = self.service.view.manifest.grants().calls.as_ref();
        if !granted.is_some_and(|callees| callees.contains(&parsed)) {
            return Err(HireError::NotGranted(format!(
                "`{name}` is not among the services that this one may call: add it to `calls` under [grants] in service.toml"
            )));
        }
        if self.above.contains(&parsed) {
            let chain: Vec<&str> = self.above.iter().map(Name::as_str).collect();
            return Err(HireError::TooDeep(format!(
                "`{name}` would be called by itself: {}",
                chain.join(", ")
            )));
        }
        if self.above.len() >= DEPTH_MAX {
            return Err(HireError::TooDeep(format!(
                "{DEPTH_MAX} services call each other already"
            )));
        }
        Ok(parsed)
    }

    /// The service of this name, if this host runs it, and may have it work without paying. A royalty has to be paid:
    /// such a service is bought, by whichever host is best, be it this one.
    fn callee(&self, name: &Name) -> Result<Option<Arc<Version>>, HireError> {
        let callee = match self.node.open(name.as_str()) {
            Ok(callee) => callee,
            Err(CallError::UnknownService { .. }) if self.node.market().is_some() => {
                return Ok(None);
            }
            Err(error) => return Err(untold(&error)),
        };
        if callee.receiver == callee.provider {
            return Ok(Some(callee));
        }
        if self.node.market().is_none() {
            return Err(HireError::Unknown(format!(
                "`{name}` pays its publisher a royalty, and this host has no wallet to pay it with"
            )));
        }
        Ok(None)
    }

    async fn call(self: Arc<Self>, hire: Hire) -> Result<Hired, HireError> {
        let name = self.allowed(&hire.service)?;
        match self.callee(&name)? {
            Some(callee) => self.call_here(callee, hire).await,
            None => self.call_abroad(name, hire).await,
        }
    }

    /// As [`call`](Self::call), item by item. What comes as a whole is its one item.
    async fn open(self: Arc<Self>, hire: Hire) -> Result<Box<dyn HiredItems>, HireError> {
        let name = self.allowed(&hire.service)?;
        let Some(callee) = self.callee(&name)? else {
            return self.open_abroad(name, hire).await;
        };
        let method = callee.view.interface.method(&hire.method);
        if method.is_some_and(|method| method.streams) {
            return self.open_here(callee, hire).await;
        }
        let hired = self.call_here(callee, hire).await?;
        Ok(Box::new(Stored::one(hired)))
    }

    async fn call_here(
        self: &Arc<Self>,
        callee: Arc<Version>,
        hire: Hire,
    ) -> Result<Hired, HireError> {
        let bytes = u64::try_from(hire.arguments.len()).unwrap_or(u64::MAX);
        let price = callee.price(&hire.method, bytes);
        let price = price.map_err(|error| untold(&error))?;
        let mut taken = self.take(price, hire.price_max)?;
        let mut job = self.job(callee, &hire, price)?;
        let Named { id, place, known } = self.find(&job.request, Wanted::Whole).await?;
        taken.place = place;
        job.id = id;
        if let Some(known) = &known
            && let Some(answer) = abroad::answer_of(known)
        {
            let charged = known.receipt.receipt.charged;
            taken.cost(charged);
            return Ok(self.hired(answer.text, charged, id));
        }
        let (facts, outcome) = self.run(job).await?;
        // What was done before is charged as it was, though its answer is no longer kept.
        let is_new = known.is_none();
        let charged = match known {
            Some(known) => known.receipt.receipt.charged,
            None => facts.charge(&outcome),
        };
        taken.cost(charged);
        let body = outcome.body.clone();
        if is_new && self.whom.is_some() {
            self.note(Arc::clone(self).record(facts, outcome));
        }
        Ok(self.hired(body, charged, id))
    }

    fn job(&self, callee: Arc<Version>, hire: &Hire, price: Amount) -> Result<Job, HireError> {
        let request = CallRequest {
            service: hire.service.clone(),
            method: hire.method.clone(),
            body_digest: Sha256::digest(&hire.arguments).into(),
            body_bytes: u64::try_from(hire.arguments.len()).unwrap_or(u64::MAX),
            arguments: Arguments::Json(hire.arguments.clone()),
            price_max: price,
            payment: Payment::None,
            lineage: Lineage {
                parent: Some(self.id),
                above: self.above.clone(),
                time_max: Some(hire.deadline.saturating_duration_since(Instant::now())),
                on_behalf: self.whom,
            },
        };
        let party = digest::party(self.payer(), self.whom);
        let job = self.node.job_of(callee, request, (None, party));
        let (mut job, _) = job.map_err(|error| untold(&error))?;
        job.awaited = Some(hire.lends);
        Ok(job)
    }

    /// Names the call: after the first place where the same was done before, or else after the first where nothing
    /// was. What was delivered of a stream that ended early is something else to whoever wants the whole.
    async fn find(&self, request: &B256, wanted: Wanted) -> Result<Named, HireError> {
        if self.whom.is_none() {
            // Nobody comes again for what nobody paid for.
            return Ok(Named {
                id: B256::from(rand::random::<[u8; 32]>()),
                place: None,
                known: None,
            });
        }
        for place in 0..PLACES_MAX {
            if self.purse().has_used(place) {
                continue;
            }
            let id = digest::hire(&self.id, place);
            let known = self.node.stored_hire(&id).await?;
            let is_it = known.as_ref().is_none_or(|known| {
                let answer = abroad::answer_of(known);
                known.receipt.receipt.request == *request
                    && answer.is_none_or(|it| wanted.is_met_by(it.form))
            });
            if is_it && self.purse().uses(place) {
                let place = Some(place);
                return Ok(Named { id, place, known });
            }
        }
        Err(HireError::TooDeep(format!(
            "one call calls others {HIRES_MAX} times at most"
        )))
    }

    /// The host, if anybody pays.
    fn payer(&self) -> Option<Address> {
        self.whom.map(|_| self.service.provider)
    }

    fn hired(&self, body: Bytes, charged: Amount, id: B256) -> Hired {
        Hired {
            body,
            charged: charged.get(),
            receipt: self.whom.map(|_| id.to_string()),
        }
    }

    async fn run(&self, job: Job) -> Result<(Facts, Outcome), HireError> {
        let metered = job.service.begin(&job.method);
        let ran = async {
            let code = self.node.0.catalog.code(&job.service).await?;
            self.node.execute(job, code, self.payer()).await
        };
        let ran = ran.await;
        if let Some(metered) = metered {
            metered.end_hire(ran.as_ref().map(drop));
        }
        ran.map_err(|error| untold(&error))
    }

    /// Queues the receipt and the answer for the ledger.
    async fn record(self: Arc<Self>, facts: Facts, outcome: Outcome) -> Result<(), HireError> {
        let paid = Paid::once(facts.service.provider, facts.charge(&outcome));
        let receipt = facts.receipt(&outcome, &paid, self.node.now());
        let receipt = receipt.sign(self.node.key());
        let key = digest::hire_key(&facts.id);
        let payment = record(key, &receipt, &outcome.body, facts.extent);
        let entry = Entry::Charge {
            snapshot: None,
            payment,
        };
        // It is durable when the charge above it is.
        self.node.keep_hire(entry).await.map(drop)
    }

    /// Writes something down beside whoever goes on.
    fn note<F>(&self, recording: F)
    where
        F: Future<Output = Result<(), HireError>> + Send + 'static,
    {
        let runtime = &self.node.0.hiring.runtime;
        let recording = runtime.spawn(recording.in_current_span());
        self.records().push(recording);
    }
}

impl Node {
    /// The receipts of the calls that a service of this host made for one of its calls, in their order; all of them
    /// name it as their parent. Of a call that was made again and did otherwise then, those of both times.
    ///
    /// # Errors
    /// [`CallError::Unavailable`]: the ledger does not answer.
    pub async fn receipts_below(&self, parent: B256) -> Result<Vec<SignedReceipt>, CallError> {
        let own = self.receipt(parent).await?;
        let told = own.map_or(0, |own| own.receipt.usage.hires.calls);
        let mut below = Vec::new();
        for place in 0..PLACES_MAX {
            match self.receipt(digest::hire(&parent, place)).await? {
                Some(receipt) => below.push(receipt),
                // Of some calls nobody knows what came; those after them have their receipts.
                None if u64::try_from(below.len()).is_ok_and(|found| found < told) => {}
                None => break,
            }
        }
        Ok(below)
    }

    /// What proves that the call of this receipt was bought from another host, as the [`Market`](crate::Market) told
    /// it; none for any other call.
    ///
    /// # Errors
    /// [`CallError::Unavailable`]: the ledger does not answer.
    pub async fn proof_of_purchase(&self, id: B256) -> Result<Option<Bytes>, CallError> {
        let known = self.known_hire(&id).await?;
        Ok(known.as_ref().and_then(abroad::proof_of))
    }

    async fn stored_hire(&self, id: &B256) -> Result<Option<PaymentRecord>, HireError> {
        let stored = self.known_hire(id).await;
        stored.map_err(|error| untold(&error))
    }

    async fn known_hire(&self, id: &B256) -> Result<Option<PaymentRecord>, CallError> {
        let key = digest::hire_key(id);
        match self.ledger().own() {
            Some(ledger) => ledger.payment(&key).map_err(unrecorded),
            None => match self.ledger().receipt(id).await.map_err(unrecorded) {
                Ok(Some(_)) => self.arrive(key).await.map(|arrival| match arrival {
                    Arrival::Before(known) => Some(*known),
                    Arrival::Now(_) => None,
                }),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Queues what came of a call for the ledger, whose order it keeps; what is answered resolves when it is durable.
    async fn keep_hire(&self, entry: Entry) -> Result<Durable, HireError> {
        let kept: Result<Durable, CallError> = match self.ledger().own() {
            Some(ledger) => match ledger.enqueue(entry) {
                Ok(durable) => Ok(Box::pin(async { durable.await.is_ok() })),
                Err(error) => Err(unrecorded(error)),
            },
            None => match self.ledger().commit(entry).await {
                Ok(()) => Ok(Box::pin(std::future::ready(true))),
                Err(error) => Err(unrecorded(error)),
            },
        };
        kept.map_err(|error| untold(&error))
    }
}

/// Resolves to whether an entry is durable.
type Durable = Pin<Box<dyn Future<Output = bool> + Send>>;

/// What is wanted of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// All of its answer.
    Whole,
    /// Its items; it is known that there are some.
    Items,
    /// Its items, or its answer as the one.
    ItemsOrOne,
}

impl Wanted {
    /// Whether what was done before will do.
    const fn is_met_by(self, form: Form) -> bool {
        match form {
            Form::List | Form::One => true,
            Form::Answer => !matches!(self, Self::ItemsOrOne),
            Form::Part => !matches!(self, Self::Whole),
        }
    }
}

/// A call's name, and what was done under it before.
struct Named {
    id: B256,
    /// None where nothing is kept.
    place: Option<u32>,
    known: Option<PaymentRecord>,
}

/// A task that ends when nobody waits for it.
struct AbortOnDrop<T>(JoinHandle<Result<T, HireError>>);

impl<T: Send + 'static> AbortOnDrop<T> {
    /// Where calls begin, wherever the guest was carried to that waits for it.
    fn spawn<F>(node: &Node, work: F) -> Self
    where
        F: Future<Output = Result<T, HireError>> + Send + 'static,
    {
        Self(node.0.hiring.runtime.spawn(work.in_current_span()))
    }

    async fn ended(mut self) -> Result<T, HireError> {
        let ended = (&mut self.0).await;
        ended.unwrap_or_else(|error| Err(broke_off(&error)))
    }
}

fn broke_off(error: &tokio::task::JoinError) -> HireError {
    HireError::Failed(format!("the call broke off: {error}"))
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A failed call, as the service hears of it that made it.
fn untold(error: &CallError) -> HireError {
    let text = error.to_string();
    match error {
        CallError::UnknownService { .. } | CallError::UnknownMethod { .. } => {
            HireError::Unknown(text)
        }
        CallError::Arguments(_) => HireError::Invalid(text),
        CallError::Service(HostError::Refused { error }) => {
            HireError::Refused(String::from_utf8_lossy(error).into_owned())
        }
        CallError::Service(HostError::TimedOut { .. }) => HireError::Late,
        CallError::NotServing { .. }
        | CallError::Overloaded { .. }
        | CallError::Repriced { .. }
        | CallError::Service(
            HostError::Overloaded { .. }
            | HostError::OverShare { .. }
            | HostError::LongCalls { .. }
            | HostError::CellRests { .. },
        ) => HireError::Busy(text),
        CallError::Service(_)
        | CallError::Payment(_)
        | CallError::Conflict(_)
        | CallError::StreamEnded { .. }
        | CallError::TooManyFailures { .. }
        | CallError::Unavailable { .. } => HireError::Failed(text),
    }
}

/// Services that call each other in a row.
const DEPTH_MAX: usize = 16;
/// Calls of others that one call may make.
const HIRES_MAX: u32 = 256;
/// Names that they may have: what a call did before it was made again, and did otherwise then, keeps its own.
const PLACES_MAX: u32 = 2 * HIRES_MAX;
