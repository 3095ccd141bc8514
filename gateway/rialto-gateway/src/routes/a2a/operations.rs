//! What can be asked of an agent, whichever binding asks.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::calls::{self, Ready};
use super::entry::{Entry, Next, Said, Watcher, new_id};
use super::table::{Place, Telling};
use crate::a2a::message::Sent;
use crate::a2a::payment::{self, Said as Payment};
use crate::a2a::skills::{self, Asked, Order};
use crate::a2a::{Error, Kind, query};
use crate::body::Held;
use crate::gateway::Gateway;
use crate::listing::ServiceRecord;
use crate::problem::Problem;
use crate::routes::refusal::Refusal;

/// An agent that is asked.
#[derive(Debug)]
pub(super) struct Agent<'a> {
    pub(super) gateway: &'a Arc<Gateway>,
    pub(super) headers: &'a HeaderMap,
    /// The service whose agent it is; none for the host's.
    pub(super) service: Option<String>,
    /// What it can call.
    pub(super) services: Vec<ServiceRecord>,
    /// Where it is.
    pub(super) url: String,
}

/// What a message is answered by.
#[derive(Debug)]
pub(super) enum Reply {
    /// A task, what becomes of it, and room for what is told of it at once.
    Task(Watcher),
    /// Words.
    Message(Value),
}

impl Agent<'_> {
    /// Takes a message.
    ///
    /// # Errors
    /// For what is no call, or belongs to no task; everything else is told by a task.
    pub(super) fn send(&self, sent: Sent, held: Held, streams: bool) -> Result<Reply, Error> {
        let task = match &sent.task {
            Some(id) => Some(self.task(id)?),
            None => None,
        };
        let (paid, digest) = match &sent.payment {
            Payment::Submitted(payload) => {
                let digest: [u8; 32] = Sha256::digest(payload.to_string()).into();
                (Some(payload), Some(digest))
            }
            Payment::Nothing | Payment::Rejected => (None, None),
        };
        if let Some(task) = &task {
            if sent.context.as_ref().is_some_and(|it| *it != task.context) {
                let message = "`message.contextId` is not that of the task: leave it out";
                return Err(Error::new(Kind::Params, message));
            }
            if task.next(digest)? == Next::Watch {
                return Ok(Reply::Task(task.watch()));
            }
            if sent.payment == Payment::Rejected {
                task.cancel(Said {
                    metadata: payment::rejected(),
                    ..Said::text("nothing was called, since it is not paid")
                })?;
                return Ok(Reply::Task(task.watch()));
            }
        }
        let order = match self.order(&sent, task.as_deref(), streams)? {
            Asked::Call(order) => order,
            Asked::Unclear(text) => return Ok(Reply::Message(reply(sent.context, &text))),
        };
        let url = self.url.clone();
        let ready = Ready::new(self.gateway, self.headers, order.clone(), url, paid);
        let ready = match ready {
            Ok(ready) => Ok(ready),
            Err(Refusal::Demand(demand)) => Err(demand),
            Err(Refusal::Problem(problem) | Refusal::Deposited(problem, _)) => {
                return Err(problem.into());
            }
        };
        let place = match &ready {
            Ok(ready) => Some(self.gateway.tasks.place(ready.is_free())?),
            Err(_) => None,
        };
        let task = match task {
            Some(task) => task,
            None => {
                let context = sent.context.unwrap_or_else(new_id);
                let whose = (self.service.clone(), context);
                self.gateway.tasks.add(whose, &order)?
            }
        };
        let watcher = task.watch();
        match (ready, place) {
            (Ok(ready), Some(place)) => {
                if !ready.is_free() {
                    self.keep(&task, &order);
                }
                self.begin(&task, ready, (digest, held, place))?;
            }
            (Err(demand), _) => {
                self.keep(&task, &order);
                task.ask(calls::demanded(*demand, paid.is_some()))?;
            }
            // There is a place where a call is ready.
            (Ok(_), None) => {}
        }
        Ok(Reply::Task(watcher))
    }

    /// The call that a message asks for, or that its task waits for.
    fn order(&self, sent: &Sent, task: Option<&Entry>, streams: bool) -> Result<Asked, Error> {
        let Some(task) = task else {
            return skills::asked(&self.services, &sent.content, streams);
        };
        let data = sent.content.data.as_ref();
        // A payment may come with words.
        if data.is_some_and(|data| data["method"].is_string()) {
            return skills::asked(&self.services, &sent.content, streams);
        }
        task.order().map(Asked::Call).ok_or_else(|| {
            let message = "the arguments were too large to be kept: send them again, as a data part \
                 beside the payment";
            Error::new(Kind::Params, message)
        })
    }

    fn begin(
        &self,
        task: &Arc<Entry>,
        ready: Ready,
        (digest, held, place): (Option<[u8; 32]>, Held, Place),
    ) -> Result<(), Error> {
        let (gateway, entry) = (Arc::clone(self.gateway), Arc::clone(task));
        let streams = ready.streams;
        let spawn = || {
            let span = tracing::Span::current();
            let run = ready.run(gateway, entry, 0, (held, place));
            tokio::spawn(tracing::Instrument::instrument(run, span)).abort_handle()
        };
        task.begin(digest, streams, spawn)?;
        Ok(())
    }

    fn keep(&self, task: &Entry, order: &Order) {
        let tasks = &self.gateway.tasks;
        task.keep_order(order, ORDER_BYTES_MAX, |bytes| tasks.count(bytes, task));
    }

    /// A task.
    ///
    /// # Errors
    /// [`Kind::TaskNotFound`].
    pub(super) fn task(&self, id: &str) -> Result<Arc<Entry>, Error> {
        self.gateway.tasks.get(id, self.service.as_deref())
    }

    /// Ends a task.
    ///
    /// # Errors
    /// [`Kind::TaskNotFound`], [`Kind::NotCancelable`].
    pub(super) fn cancel(&self, id: &str) -> Result<(Value, Telling), Error> {
        let task = self.task(id)?;
        let room = self.gateway.tasks.tell(task.answer_bytes())?;
        task.cancel(Said::text(
            "canceled; of a method that streams, what was delivered before is charged: if the task has a \
             `rialto/receiptId`, that receipt says how much",
        ))?;
        if let Some(journal) = self.gateway.tasks.journal() {
            journal.forget(&task.id);
        }
        Ok((task.told(true), room))
    }

    /// A task as it is.
    ///
    /// # Errors
    /// [`Kind::TaskNotFound`], [`Kind::Busy`].
    pub(super) fn get(&self, id: &str) -> Result<(Value, Telling), Error> {
        let task = self.task(id)?;
        let room = self.gateway.tasks.tell(task.answer_bytes())?;
        Ok((task.told(true), room))
    }

    /// Watches a task.
    ///
    /// # Errors
    /// [`Kind::TaskNotFound`], [`Kind::Unsupported`] for one that is over.
    pub(super) fn subscribe(&self, id: &str) -> Result<Watcher, Error> {
        let task = self.task(id)?;
        if task.state().is_over() {
            let message = "the task is over, and nothing more comes: get it";
            return Err(Error::new(Kind::Unsupported, message));
        }
        Ok(task.watch())
    }

    /// Tasks of a conversation. Its name is what shows that they are the client's own, so that one that could be
    /// guessed has none.
    ///
    /// # Errors
    /// [`Kind::Params`] for a page that is none.
    pub(super) fn list(&self, wanted: &query::Tasks) -> Result<(Value, Telling), Error> {
        let mut found = match wanted.context.len() >= CONTEXT_BYTES_MIN {
            true => {
                let tasks = &self.gateway.tasks;
                tasks.of_context(&wanted.context, self.service.as_deref())
            }
            false => Vec::new(),
        };
        found.retain(|task| {
            wanted.state.is_none_or(|state| task.state() == state)
                && wanted
                    .since
                    .as_ref()
                    .is_none_or(|since| task.at() >= *since)
        });
        let first = match wanted.after.as_str() {
            "" => 0,
            after => {
                let last = found.iter().position(|task| task.id == after);
                let unknown = || Error::new(Kind::Params, "this agent gave no such `pageToken`");
                last.ok_or_else(unknown)?.saturating_add(1)
            }
        };
        let total = found.len();
        let rest = found.get(first..).unwrap_or_default();
        let (fit, bytes) = self.fit(rest, wanted);
        let page = rest.get(..fit).unwrap_or_default();
        let room = self.gateway.tasks.tell(bytes)?;
        let next = match page.last() {
            Some(last) if page.len() < rest.len() => last.id.as_str(),
            Some(_) | None => "",
        };
        let tasks: Vec<Value> = page
            .iter()
            .map(|task| task.told(wanted.with_artifacts))
            .collect();
        let list = json!({
            "tasks": tasks,
            "nextPageToken": next,
            "pageSize": page.len(),
            "totalSize": total,
        });
        Ok((list, room))
    }

    /// How many of these are on a page, and how many bytes their answers have: at least one, and no more than the
    /// largest answer has.
    fn fit(&self, tasks: &[Arc<Entry>], wanted: &query::Tasks) -> (usize, usize) {
        let (mut fit, mut bytes) = (0, 0_usize);
        for task in tasks.iter().take(wanted.page) {
            let more = if wanted.with_artifacts {
                task.answer_bytes()
            } else {
                0
            };
            let sum = bytes.saturating_add(more);
            if fit > 0 && sum > self.gateway.tasks.task_bytes_max() {
                break;
            }
            (fit, bytes) = (fit + 1, sum);
        }
        (fit, bytes)
    }
}

/// The agent that is asked, if it is there.
///
/// # Errors
/// For a service that is not.
pub(super) fn agent<'a>(
    gateway: &'a Arc<Gateway>,
    headers: &'a HeaderMap,
    service: Option<String>,
) -> Result<Agent<'a>, Problem> {
    let services = match &service {
        None => ServiceRecord::all(&gateway.node),
        Some(name) => match gateway.node.service(name) {
            Some(view) => vec![ServiceRecord::new(&view)],
            None => {
                let all = ServiceRecord::all(&gateway.node);
                let known: Vec<&str> = all.iter().map(|service| service.name.as_str()).collect();
                return Err(Problem::unknown_service(name, &known.join(", ")));
            }
        },
    };
    let base = gateway.base_url(headers);
    let url = match &service {
        Some(service) => format!("{base}/a2a/{service}"),
        None => format!("{base}/a2a"),
    };
    Ok(Agent {
        gateway,
        headers,
        service,
        services,
        url,
    })
}

/// Words of an agent, without a task.
fn reply(context: Option<String>, text: &str) -> Value {
    json!({
        "messageId": new_id(),
        "contextId": context.unwrap_or_else(new_id),
        "role": "ROLE_AGENT",
        "parts": [{ "text": text }],
    })
}

/// The largest arguments that a task keeps until it is paid.
const ORDER_BYTES_MAX: usize = 256 * 1024;
/// The shortest name of a conversation that shows whose its tasks are.
const CONTEXT_BYTES_MIN: usize = 16;
