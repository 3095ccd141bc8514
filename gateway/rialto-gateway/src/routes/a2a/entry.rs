//! One task as it is kept, and those who watch it.
//!
//! Whoever watches reads from what is kept, at their own pace: all see the same events in the same order, and a slow
//! one keeps nobody up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::journal::Left;
use crate::a2a::payment;
use crate::a2a::skills::Order;
use crate::a2a::task::{self, Answer, Named, State, Status};
use crate::a2a::{Error, Kind};
use crate::moment;

/// A task.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) context: String,
    /// The service whose agent has it; none for the host's own.
    pub(super) agent: Option<String>,
    /// Bytes that all tasks keep.
    kept: Arc<AtomicUsize>,
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    /// The service and its method.
    call: (String, String),
    /// What to call once it is paid; none if it is over, or was too large to be kept.
    order: Option<Order>,
    status: Status,
    /// Of the status.
    number: u64,
    answer: Answer,
    /// What it came to.
    cost: Map<String, Value>,
    /// What came of its payments.
    receipts: Vec<Value>,
    /// SHA-256 of the last payment.
    payment: Option<[u8; 32]>,
    is_paid: bool,
    /// Of the call, while it runs.
    running: Option<AbortHandle>,
    changed_at: Instant,
    /// Counted among those that are kept.
    bytes: usize,
    /// Those who watch. An answer that is too large to be kept is theirs alone.
    watchers: usize,
    is_large: bool,
}

/// What a message may do with a task that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Call, or say what it costs.
    Call,
    /// Watch: it was paid by the same payment before.
    Watch,
}

/// A change of status.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) text: Option<String>,
    pub(super) metadata: Map<String, Value>,
    /// What came of a payment.
    pub(super) receipt: Option<Value>,
}

impl Said {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::default()
        }
    }
}

impl Entry {
    pub(super) fn new(
        (agent, context): (Option<String>, String),
        call: (String, String),
        kept: Arc<AtomicUsize>,
    ) -> Self {
        let inner = Inner {
            call,
            order: None,
            status: Status {
                state: State::InputRequired,
                text: None,
                metadata: Map::new(),
                at: moment::rfc3339(SystemTime::now()),
            },
            number: 0,
            answer: Answer::default(),
            cost: Map::new(),
            receipts: Vec::new(),
            payment: None,
            is_paid: false,
            running: None,
            changed_at: Instant::now(),
            bytes: 0,
            watchers: 0,
            is_large: false,
        };
        Self {
            id: new_id(),
            context,
            agent,
            kept,
            inner: Mutex::new(inner),
            changed: watch::Sender::new(()),
        }
    }

    /// A task that an earlier gateway left: at work, until it is known what came of it.
    pub(super) fn left(left: Left, kept: Arc<AtomicUsize>) -> Self {
        let mut entry = Self::new((left.agent, left.context), left.call, kept);
        entry.id = left.id;
        let mut inner = entry.inner();
        inner.payment = Some(left.payment);
        entry.say(&mut inner, State::Working, Said::default());
        drop(inner);
        entry
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        self.inner().status.state
    }

    pub(super) fn is_paid(&self) -> bool {
        self.inner().is_paid
    }

    /// Whether it is older than it may be. A call that runs has a deadline of its own.
    pub(super) fn is_expired(&self, unpaid: Duration, paid: Duration) -> bool {
        let inner = self.inner();
        let kept = if inner.is_paid { paid } else { unpaid };
        inner.status.state != State::Working && inner.changed_at.elapsed() >= kept
    }

    /// How old its status is.
    pub(super) fn age(&self) -> Duration {
        self.inner().changed_at.elapsed()
    }

    /// The moment of its status.
    pub(super) fn at(&self) -> String {
        self.inner().status.at.clone()
    }

    /// What a message that pays with this may do.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a task that runs or is over.
    pub(super) fn next(&self, payment: Option<[u8; 32]>) -> Result<Next, Error> {
        let inner = self.inner();
        inner.next(payment)
    }

    pub(super) fn order(&self) -> Option<Order> {
        self.inner().order.clone()
    }

    /// Keeps what to call, if it is as small as this, there is place for it, and the task still waits.
    pub(super) fn keep_order(
        &self,
        order: &Order,
        bytes_max: usize,
        place: impl Fn(usize) -> bool,
    ) {
        let bytes = order.arguments.len();
        let keeps = bytes <= bytes_max && place(bytes);
        let mut inner = self.inner();
        if inner.status.state != State::InputRequired {
            let counted = if keeps { bytes } else { 0 };
            self.kept.fetch_sub(counted, Ordering::Relaxed);
            return;
        }
        let before = inner.order.take().map_or(0, |order| order.arguments.len());
        self.uncount(&mut inner, before);
        inner.call = (order.service.clone(), order.method.clone());
        if keeps {
            inner.bytes = inner.bytes.saturating_add(bytes);
            inner.order = Some(Order {
                // Not a piece of a larger body, which it would keep.
                arguments: Bytes::copy_from_slice(&order.arguments),
                ..order.clone()
            });
        }
    }

    /// Begins the call, which `spawn` starts.
    ///
    /// # Errors
    /// As [`next`](Self::next), if another message was faster.
    pub(super) fn begin(
        &self,
        payment: Option<[u8; 32]>,
        streams: bool,
        spawn: impl FnOnce() -> AbortHandle,
    ) -> Result<Next, Error> {
        let mut inner = self.inner();
        if inner.next(payment)? == Next::Watch {
            return Ok(Next::Watch);
        }
        inner.payment = payment;
        inner.answer.streams = streams;
        self.say(&mut inner, State::Working, Said::default());
        inner.running = Some(spawn());
        Ok(Next::Call)
    }

    /// Begins the call of a task that was left, unless it was canceled in between.
    pub(super) fn begin_again(&self, streams: bool, spawn: impl FnOnce() -> AbortHandle) {
        let mut inner = self.inner();
        if inner.status.state == State::Working {
            inner.answer.streams = streams;
            inner.running = Some(spawn());
        }
    }

    /// Adds an item that was counted.
    pub(super) fn push(&self, item: Bytes) {
        let mut inner = self.inner();
        inner.bytes = inner.bytes.saturating_add(item.len());
        inner.answer.items.push(item);
        self.changed.send_replace(());
    }

    /// Waits for a payment, perhaps another one, if the task does so already.
    ///
    /// # Errors
    /// As [`next`](Self::next): another message began its call.
    pub(super) fn ask(&self, said: Said) -> Result<(), Error> {
        let mut inner = self.inner();
        if inner.next(None)? == Next::Call {
            self.say(&mut inner, State::InputRequired, said);
        }
        Ok(())
    }

    /// The call that runs waits for a payment again.
    pub(super) fn wait(&self, said: Said) {
        let mut inner = self.inner();
        if inner.status.state.is_over() {
            return;
        }
        inner.running = None;
        inner.payment = None;
        self.say(&mut inner, State::InputRequired, said);
    }

    /// Its call is charged, or will be, whatever becomes of it.
    pub(super) fn set_paid(&self) {
        self.inner().is_paid = true;
    }

    /// What is known of a call's cost before it is over.
    pub(super) fn set_cost(&self, cost: Map<String, Value>) {
        self.inner().cost = cost;
    }

    /// Ends a call. A whole answer that did not come piece by piece is added; `counted` says whether there is place
    /// for it.
    pub(super) fn end(
        &self,
        state: State,
        said: Said,
        cost: Map<String, Value>,
        whole: Option<(Bytes, bool)>,
    ) {
        let mut inner = self.inner();
        if inner.status.state.is_over() {
            return self.end_late(&mut inner, said, cost, whole);
        }
        inner.cost.extend(cost);
        if let Some((body, counted)) = whole {
            match counted {
                true => inner.bytes = inner.bytes.saturating_add(body.len()),
                false => inner.is_large = true,
            }
            inner.answer.items.push(body);
        }
        self.over(&mut inner, state, said);
    }

    /// A task that was canceled while its call ended: what that cost is told all the same.
    fn end_late(
        &self,
        inner: &mut Inner,
        said: Said,
        cost: Map<String, Value>,
        whole: Option<(Bytes, bool)>,
    ) {
        if let Some((body, true)) = whole {
            self.kept.fetch_sub(body.len(), Ordering::Relaxed);
        }
        inner.cost.extend(cost);
        inner.receipts.extend(said.receipt);
        inner.status.metadata.extend(said.metadata);
        payment::put_receipts(&mut inner.status.metadata, &inner.receipts);
    }

    /// Ends it because the client wants that: a call that runs is dropped.
    ///
    /// # Errors
    /// [`Kind::NotCancelable`] for a task that is over.
    pub(super) fn cancel(&self, said: Said) -> Result<(), Error> {
        let mut inner = self.inner();
        if inner.status.state.is_over() {
            let message = "the task is over: there is nothing to cancel";
            return Err(Error::new(Kind::NotCancelable, message).detail("taskId", &*self.id));
        }
        if let Some(running) = inner.running.take() {
            running.abort();
        }
        self.over(&mut inner, State::Canceled, said);
        Ok(())
    }

    fn over(&self, inner: &mut Inner, state: State, said: Said) {
        inner.running = None;
        let order = inner.order.take().map_or(0, |order| order.arguments.len());
        self.uncount(inner, order);
        self.say(inner, state, said);
        self.forget_large(inner);
    }

    fn say(&self, inner: &mut Inner, state: State, said: Said) {
        inner.receipts.extend(said.receipt);
        let mut metadata = said.metadata;
        payment::put_receipts(&mut metadata, &inner.receipts);
        inner.status = Status {
            state,
            text: said.text,
            metadata,
            at: moment::rfc3339(SystemTime::now()),
        };
        inner.number = inner.number.saturating_add(1);
        inner.changed_at = Instant::now();
        self.changed.send_replace(());
    }

    /// Gives back the place of an answer that nobody reads now. Says how much that was.
    pub(super) fn forget(&self) -> usize {
        let mut inner = self.inner();
        if !inner.status.state.is_over() || inner.watchers > 0 {
            return 0;
        }
        let bytes = inner.bytes;
        self.forget_answer(&mut inner);
        bytes
    }

    fn forget_large(&self, inner: &mut Inner) {
        if inner.is_large && inner.watchers == 0 {
            self.forget_answer(inner);
        }
    }

    fn forget_answer(&self, inner: &mut Inner) {
        if inner.answer.items.is_empty() {
            return;
        }
        inner.answer.items = Vec::new();
        inner.answer.forgotten = true;
        inner.is_large = false;
        let bytes = inner.bytes;
        self.uncount(inner, bytes);
    }

    fn uncount(&self, inner: &mut Inner, bytes: usize) {
        let bytes = bytes.min(inner.bytes);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of the answer so far.
    pub(super) fn answer_bytes(&self) -> usize {
        let inner = self.inner();
        inner.answer.items.iter().map(Bytes::len).sum()
    }

    /// The whole task.
    pub(super) fn told(&self, with_answer: bool) -> Value {
        self.inner().told(self, with_answer)
    }

    /// Watches from now on.
    pub(super) fn watch(self: &Arc<Self>) -> Watcher {
        let mut inner = self.inner();
        inner.watchers = inner.watchers.saturating_add(1);
        Watcher {
            changed: self.changed.subscribe(),
            items: 0,
            number: 0,
            entry: Arc::clone(self),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let bytes = self.inner().bytes;
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Inner {
    fn next(&self, payment: Option<[u8; 32]>) -> Result<Next, Error> {
        let state = self.status.state;
        if state == State::InputRequired {
            return Ok(Next::Call);
        }
        if payment.is_some() && payment == self.payment {
            return Ok(Next::Watch);
        }
        let message = match state.is_over() {
            true => "the task is over: send a message without `taskId` for another one",
            false => "the task is at work: wait for its end, or cancel it",
        };
        Err(Error::new(Kind::Unsupported, message))
    }

    fn named<'a>(&'a self, entry: &'a Entry) -> Named<'a> {
        Named {
            id: &entry.id,
            context: &entry.context,
            call: (&self.call.0, &self.call.1),
        }
    }

    fn told(&self, entry: &Entry, with_answer: bool) -> Value {
        let answer = with_answer.then_some(&self.answer);
        self.named(entry)
            .task((&self.status, self.number), answer, &self.cost)
    }
}

/// Somebody who watches a task.
#[derive(Debug)]
pub(super) struct Watcher {
    entry: Arc<Entry>,
    changed: watch::Receiver<()>,
    /// So many items were told.
    items: usize,
    /// The last status that was told.
    number: u64,
}

impl Watcher {
    /// Bytes of the answer so far.
    pub(super) fn answer_bytes(&self) -> usize {
        self.entry.answer_bytes()
    }

    /// The whole task; what comes later is told by [`events`](Self::events).
    pub(super) fn task(&mut self) -> Value {
        let inner = self.entry.inner();
        self.items = inner.answer.items.len();
        self.number = inner.number;
        inner.told(&self.entry, true)
    }

    /// Waits until the call runs no more.
    pub(super) async fn settled(&mut self) {
        while self.entry.state() == State::Working {
            // Ends with the entry, which is held.
            if self.changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// What came since, one piece of the answer at a time, and whether that was all: the call is over, or a payment is
    /// waited for.
    pub(super) async fn events(&mut self) -> (Vec<Value>, bool) {
        loop {
            self.changed.borrow_and_update();
            let (events, is_all) = self.unread();
            if !events.is_empty() || is_all || self.changed.changed().await.is_err() {
                return (events, is_all);
            }
        }
    }

    /// A slow reader has no more than one piece in memory of its own.
    fn unread(&mut self) -> (Vec<Value>, bool) {
        let inner = self.entry.inner();
        let (named, streams) = (inner.named(&self.entry), inner.answer.streams);
        if let Some(item) = inner.answer.items.get(self.items) {
            let piece = named.piece(task::part(item), self.items == 0, !streams);
            self.items = self.items.saturating_add(1);
            return (vec![piece], false);
        }
        let mut events = Vec::new();
        if inner.number != self.number {
            let is_whole = streams && inner.status.state == State::Completed;
            let last = inner.answer.items.last().filter(|_| is_whole);
            if last.is_some_and(|last| task::is_text(last)) {
                events.push(named.piece(task::end_of_pieces(), false, true));
            }
            events.push(named.status_update((&inner.status, inner.number), &inner.cost));
            self.number = inner.number;
        }
        (events, inner.status.state != State::Working)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut inner = self.entry.inner();
        inner.watchers = inner.watchers.saturating_sub(1);
        if inner.status.state.is_over() {
            self.entry.forget_large(&mut inner);
        }
    }
}

/// What nobody guesses.
pub(super) fn new_id() -> String {
    let random: [u8; 16] = rand::random();
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a call came to, as tasks tell it.
pub(super) fn cost(told: Value) -> (Map<String, Value>, Option<Value>) {
    let Value::Object(mut told) = told else {
        return (Map::new(), None);
    };
    let settlement = told.remove("settlement");
    let cost = told
        .into_iter()
        .map(|(name, value)| (format!("rialto/{name}"), value));
    (cost.collect(), settlement)
}

/// A problem among a status's metadata.
pub(super) fn problem(error: &Value) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("rialto/error".to_owned(), json!(error));
    metadata
}
