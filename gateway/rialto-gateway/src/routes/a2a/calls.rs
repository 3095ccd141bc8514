//! The call that is a task: what it costs, how it is paid, and what it comes to.
//!
//! A call goes on when its client goes away; whoever knows the task's id sees what came of it. Cancelling drops it, as
//! closing a connection does elsewhere. What a call costs and whether a payment is good is decided where it is for
//! calls by plain HTTP.

use std::sync::Arc;

use http::HeaderMap;
use rialto_node::{Arguments, Lineage, StreamEnd, StreamPart, Terms};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::entry::{self, Entry, Said};
use super::journal::Kept;
use super::table::{Place, Tasks};
use crate::a2a::payment;
use crate::a2a::skills::Order;
use crate::a2a::task::State;
use crate::body::Held;
use crate::demand::Demand;
use crate::gateway::Gateway;
use crate::problem::Problem;
use crate::routes::calls::{Route, Sent, manner_of};
use crate::routes::refusal::{self, Refusal};
use crate::routes::streams::Begun;
use crate::x402::payment::{self as x402, Manner, Means, PaymentPayload, Presented};

/// A call that may begin.
#[derive(Debug)]
pub(super) struct Ready {
    order: Order,
    url: String,
    terms: Terms,
    means: Option<Means>,
    manner: Manner,
    /// As it came.
    payment: Option<Value>,
    pub(super) streams: bool,
}

impl Ready {
    /// Looks whether a call can be made with what pays for it.
    ///
    /// # Errors
    /// A demand if it is not paid, a problem if it cannot be made.
    pub(super) fn new(
        gateway: &Gateway,
        headers: &HeaderMap,
        order: Order,
        url: String,
        paid: Option<&Value>,
    ) -> Result<Self, Refusal> {
        let route = Route::new(gateway, headers, &order.service, &order.method).at(url.clone());
        let bytes = u64::try_from(order.arguments.len()).unwrap_or(u64::MAX);
        let terms = route.terms(bytes)?;
        let presented = paid
            .map(|paid| presented(&route, paid, &terms))
            .transpose()?;
        route.check_open()?;
        let manner = manner_of(presented.as_ref());
        let means = route.means(presented, &terms)?;
        if matches!(means, Some(Means::Refund(_))) {
            let message = "a refund is no call: ask for it by HTTP at the method's own path";
            return Err(Problem::malformed_payment(message).into());
        }
        // Who cannot be answered is not asked for money.
        let arguments = Arguments::Json(order.arguments.clone());
        let fits = gateway
            .node
            .check_arguments(&order.service, &order.method, &arguments);
        fits.map_err(refusal::problem)?;
        if means.is_none() && !terms.price.is_zero() {
            return Err(route.demand(&terms).into());
        }
        let streams = route.streams();
        Ok(Self {
            order,
            url,
            terms,
            means,
            manner,
            payment: paid.cloned(),
            streams,
        })
    }

    /// Whether it costs nothing.
    pub(super) const fn is_free(&self) -> bool {
        self.terms.price.is_zero()
    }

    /// Makes the call, which so many gateways began before.
    pub(super) async fn run(
        mut self,
        gateway: Arc<Gateway>,
        entry: Arc<Entry>,
        begun: u32,
        _held: (Held, Place),
    ) {
        let _ending = Ending(Arc::clone(&entry));
        let journal = gateway.tasks.journal();
        let was_over = journal.is_some_and(|journal| journal.is_over(&entry.id));
        let is_noted = was_over || self.note(&gateway, &entry, begun).await;
        let streams = self.streams;
        self.make(&gateway, &entry).await;
        let Some(journal) = journal.filter(|_| is_noted) else {
            return;
        };
        let state = entry.state();
        let is_answered = state == State::Completed;
        let is_kept = is_answered && !streams && entry.answer_bytes() <= ANSWER_BYTES_MAX;
        if is_kept {
            return journal.over(&entry.id);
        }
        // The next gateway makes it: this one could not write what it came to.
        let is_cut = state != State::Canceled && gateway.node.is_stopping();
        if is_answered || !is_cut {
            journal.forget(&entry.id);
        }
        // Its payer was told the answer, which nobody keeps any more.
        if was_over && !is_answered {
            gateway.tasks.remove(&entry.id);
        }
    }

    /// Notes a paid call, so that it outlives this gateway.
    async fn note(&mut self, gateway: &Gateway, entry: &Arc<Entry>, begun: u32) -> bool {
        let (Some(journal), false) = (gateway.tasks.journal(), self.is_free()) else {
            return false;
        };
        let arguments = serde_json::from_slice(&self.order.arguments);
        let (Ok(arguments), Some(payment)) = (arguments, self.payment.take()) else {
            return false;
        };
        let kept = Kept {
            id: entry.id.clone(),
            context: entry.context.clone(),
            agent: entry.agent.clone(),
            service: self.order.service.clone(),
            method: self.order.method.clone(),
            arguments,
            url: self.url.clone(),
            payment,
            begun: begun.saturating_add(1),
        };
        let task = Arc::clone(entry);
        journal.note(&kept, move || !task.state().is_over()).await
    }

    async fn make(self, gateway: &Gateway, entry: &Entry) {
        let order = &self.order;
        let headers = HeaderMap::new();
        let route = Route::new(gateway, &headers, &order.service, &order.method).at(self.url);
        let sent = Sent {
            digest: Sha256::digest(&order.arguments).into(),
            bytes: u64::try_from(order.arguments.len()).unwrap_or(u64::MAX),
            arguments: Arguments::Json(order.arguments.clone()),
            lineage: Lineage::default(),
        };
        let is_paid = self.means.is_some() && !self.terms.price.is_zero();
        match route
            .begin(self.means, self.manner, &self.terms, sent)
            .await
        {
            Ok(begun) => deliver(gateway, entry, begun, Paid::of(is_paid)).await,
            Err(Refusal::Demand(demand)) => entry.wait(demanded(*demand, true)),
            Err(Refusal::Problem(problem)) => {
                if is_paid && is_passing(&problem) {
                    return again(entry, problem, route.demand(&self.terms));
                }
                fail(entry, problem, Paid::of(is_paid), (Map::new(), None));
            }
            Err(Refusal::Deposited(problem, settlement)) => {
                let receipt = Some(json!(settlement));
                fail(entry, problem, Paid::Refused, (Map::new(), receipt));
            }
        }
    }
}

fn presented(route: &Route<'_>, paid: &Value, terms: &Terms) -> Result<Presented, Refusal> {
    let payload = PaymentPayload::deserialize(paid)
        .map_err(|error| Problem::malformed_payment(&error.to_string()))?;
    x402::from_payload(payload).map_err(|error| route.unreadable(terms, error))
}

/// Ends a task whose call is gone without an end: a panic must not leave it at work for ever.
struct Ending(Arc<Entry>);

impl Drop for Ending {
    fn drop(&mut self) {
        if self.0.state() == State::Working {
            let said = Said::text("the call broke off: send a message without `taskId` again");
            self.0.end(State::Failed, said, Map::new(), None);
        }
    }
}

/// What a task says that waits for a payment.
pub(super) fn demanded(demand: Demand, was_paid: bool) -> Said {
    let text = demand.message().to_owned();
    let (required, settlement) = demand.into_parts();
    let code = required.error.clone().unwrap_or_default();
    let required = json!(required);
    let metadata = match was_paid {
        true => payment::refused(&code, &required),
        false => payment::required(&required),
    };
    Said {
        text: Some(text),
        metadata,
        receipt: settlement.map(|settlement| json!(settlement)),
    }
}

/// Whether it may work a moment later.
fn is_passing(problem: &Problem) -> bool {
    [
        http::StatusCode::SERVICE_UNAVAILABLE,
        http::StatusCode::TOO_MANY_REQUESTS,
    ]
    .contains(&problem.code().status())
}

/// The task waits for the same payment, a moment later.
fn again(entry: &Entry, problem: Problem, demand: Demand) {
    let (required, _) = demand.into_parts();
    let error = problem.error();
    let mut metadata = payment::required(&json!(required));
    metadata.extend(entry::problem(&error));
    entry.wait(Said {
        text: Some(words(&error)),
        metadata,
        receipt: None,
    });
}

/// What came of the payment of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paid {
    /// There was none.
    Nothing,
    /// Nothing was charged.
    Refused,
    /// What was delivered before was charged.
    Partly,
}

impl Paid {
    const fn of(is_paid: bool) -> Self {
        if is_paid {
            Self::Refused
        } else {
            Self::Nothing
        }
    }
}

pub(super) fn fail(
    entry: &Entry,
    problem: Problem,
    paid: Paid,
    (cost, receipt): (Map<String, Value>, Option<Value>),
) {
    let code = problem.code().as_str();
    let error = problem.error();
    let mut metadata = match paid {
        Paid::Nothing => Map::new(),
        Paid::Refused => payment::failed(code),
        Paid::Partly => payment::completed(),
    };
    metadata.extend(entry::problem(&error));
    let said = Said {
        text: Some(words(&error)),
        metadata,
        receipt,
    };
    entry.end(State::Failed, said, cost, None);
}

/// Tells items as they come, and the end.
async fn deliver(gateway: &Gateway, entry: &Entry, mut begun: Begun, paid: Paid) {
    let tasks = &gateway.tasks;
    let mut items = 0_usize;
    let mut bytes = 0_usize;
    let receipt = begun.receipt();
    if let Some(receipt) = receipt {
        entry.set_cost(
            [("rialto/receiptId".to_owned(), json!(receipt))]
                .into_iter()
                .collect(),
        );
    }
    let end = loop {
        match begun.next().await {
            Some(StreamPart::Item(item)) => {
                bytes = bytes.saturating_add(item.len());
                let is_large = bytes > tasks.task_bytes_max();
                if is_large || !tasks.count(item.len(), entry) {
                    let text = if is_large { TOO_LARGE } else { NO_ROOM };
                    return cut(tasks, entry, text, receipt.is_some());
                }
                items = items.saturating_add(1);
                entry.push(item);
            }
            Some(StreamPart::End(end)) => break end,
            None => {
                break StreamEnd {
                    outcome: None,
                    failure: None,
                };
            }
        }
    };
    let StreamEnd { outcome, failure } = end;
    let (cost, settlement) = entry::cost(begun.closing.cost(outcome.as_deref()));
    let is_paid = outcome.as_ref().is_some_and(|it| it.payer.is_some());
    // A payment that was used before keeps one task, and not as many as it is sent with.
    let is_new = outcome.as_ref().is_some_and(|it| !it.replayed);
    if is_paid && is_new {
        tasks.paid(entry);
    }
    match (outcome, failure) {
        (Some(outcome), None) => {
            let said = match is_paid {
                true => Said {
                    text: Some(format!("paid: {} base units were charged", outcome.charged)),
                    metadata: payment::completed(),
                    receipt: settlement,
                },
                false => Said::default(),
            };
            let whole = (items == 0).then(|| {
                let size = outcome.body.len();
                let keeps = size <= tasks.task_bytes_max() && tasks.count(size, entry);
                (outcome.body, keeps)
            });
            entry.end(State::Completed, said, cost, whole);
        }
        (_, failure) => {
            let problem = failure.map_or_else(
                || Problem::internal(&"a stream had no end"),
                refusal::problem,
            );
            let paid = if is_paid { Paid::Partly } else { paid };
            fail(entry, problem, paid, (cost, settlement));
        }
    }
}

/// Ends an answer that is not kept. Nothing more is read, so what was delivered is charged if it is paid: the receipt,
/// whose id the task has, says how much.
fn cut(tasks: &Tasks, entry: &Entry, text: &str, is_paid: bool) {
    let mut said = Said::text(text);
    if is_paid {
        tasks.paid(entry);
        said.metadata = payment::completed();
    }
    entry.end(State::Failed, said, Map::new(), None);
}

/// A problem in words.
fn words(error: &Value) -> String {
    let parts = [error["message"].as_str(), error["hint"].as_str()];
    let details = error.get("details").map(Value::to_string);
    let parts = parts.into_iter().flatten().map(str::to_owned);
    parts.chain(details).collect::<Vec<_>>().join("\n")
}

/// Larger answers are not the ledger's, and the same payment does not fetch them: such a task is gone with its gateway.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const NO_ROOM: &str = "this host keeps as many answers as it may: what was delivered so far is charged. Call the method \
     at its own path, with Accept: text/event-stream, where nothing is kept";
const TOO_LARGE: &str = "the answer is larger than a task keeps, and was ended; what was delivered is charged. \
     Call the method at its own path, with Accept: text/event-stream, for more";
