//! What the host does for a call in a cell: models, requests, keys and values, other services, as if nobody there could be trusted.
//!
//! Names are compared with the manifest's grants, sizes and numbers are counted against the call's limits,
//! time is measured here. The cell has done all of that too; it may be in a stranger's hands.

mod hired;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt as _;
use rialto_compute::{Model, RunError, Tensor};

use self::hired::OpenItems;
use super::link::lock;
use super::values::{
    Answer, Described, Form, KeyFound, KeyResult, KeyTask, KeyWant, Want, tensors,
};
use crate::capabilities::keyvalue::{KEYS_MAX, fault_of_change, fault_of_keys, fault_of_start};
use crate::device::{DeviceError, Done, Lease, Run, STOPPED};
use crate::hires::{Hirer, Spent};
use crate::keyvalue::Bucket;
use crate::meters::Limit;
use crate::model::OpenError;
use crate::outbound::{OutboundBody, OutboundError};
use crate::pace::Pace;
use crate::spec::Limits;
use crate::state::Shared;

/// What one call may still have, and what it had.
pub(super) struct Desk {
    shared: Arc<Shared>,
    /// Who pays; empty for nobody.
    payer: String,
    deadline: Instant,
    /// The run of the state's store in which the call first read or wrote there.
    state_run: Mutex<Option<u64>>,
    wants_left: AtomicU64,
    requests_left: AtomicU64,
    /// Bytes of requests and answers.
    bytes_left: AtomicU64,
    bodies: Mutex<HashMap<u64, OutboundBody>>,
    /// Answers of other services that come item by item.
    items: Mutex<OpenItems>,
    hirer: Arc<dyn Hirer>,
    /// Host memory that the guest leaves to a call that it waits for, in bytes.
    lends: u64,
    had: Mutex<Had>,
}

/// What a call had of the host, by the host's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Had {
    pub(super) runs: u64,
    pub(super) device_time: Duration,
}

/// The call asked for more than any may.
#[derive(Debug)]
pub(super) struct TooMuch;

impl Desk {
    pub(super) fn new(
        shared: Arc<Shared>,
        payer: String,
        deadline: Instant,
        (hirer, lends): (Arc<dyn Hirer>, u64),
    ) -> Self {
        let limits = &shared.limits;
        Self {
            payer,
            deadline,
            state_run: Mutex::default(),
            // A call of the guest may need one, and another for what it leaves.
            wants_left: AtomicU64::new(limits.host_calls_max.saturating_mul(2)),
            requests_left: AtomicU64::new(limits.outbound_requests_max.into()),
            bytes_left: AtomicU64::new(limits.host_bytes_max),
            bodies: Mutex::default(),
            items: Mutex::default(),
            hirer,
            lends,
            had: Mutex::default(),
            shared,
        }
    }

    pub(super) fn had(&self) -> Had {
        *lock(&self.had)
    }

    /// What the call spent on other services.
    pub(super) fn spent(&self) -> Spent {
        self.hirer.spent()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Waits until all that the call has read or written is durable: an answer must not tell of what a
    /// crash takes back.
    ///
    /// # Errors
    /// It cannot be, and why.
    pub(super) async fn kept(&self) -> Result<(), String> {
        let Some(run) = *lock(&self.state_run) else {
            return Ok(());
        };
        let synced = self.shared.key_value.sync(run).await;
        synced.map_err(|error| error.0)
    }

    /// Counts a wish.
    ///
    /// # Errors
    /// [`TooMuch`]; a sound cell would have ended the call before.
    pub(super) fn count(&self) -> Result<(), TooMuch> {
        take(&self.wants_left, 1).ok_or(TooMuch)
    }

    /// Fulfils a wish, or says why not; nothing is to be answered to some.
    pub(super) async fn serve(
        &self,
        request: u64,
        want: Want,
        payload: Bytes,
    ) -> Option<(Answer, Vec<Bytes>)> {
        let plain = |answer| Some((answer, Vec::new()));
        match want {
            Want::Open { name } => plain(match self.open(&name).await {
                Ok((model, _)) => Answer::Model(Described::of(model.as_ref())),
                Err(error) => Answer::NotOpened(error),
            }),
            Want::Run {
                model,
                inputs,
                outputs,
            } => match self.run(&model, inputs, outputs, payload).await {
                Ok(tensors) => {
                    let forms = tensors.iter().map(Form::of).collect();
                    let data = tensors.iter().map(|tensor| tensor.data().clone());
                    Some((Answer::Tensors(forms), data.collect()))
                }
                Err(error) => plain(Answer::NotRun(error)),
            },
            Want::Send {
                method,
                url,
                headers,
                left,
            } => plain(
                match self
                    .send(request, (&method, &url), headers, payload, left)
                    .await
                {
                    Ok(answer) => answer,
                    Err(error) => Answer::NotSent(error),
                },
            ),
            Want::More { body } => Some(match self.more(body).await {
                Ok(Some(piece)) => (Answer::Piece { last: false }, vec![piece]),
                Ok(None) => (Answer::Piece { last: true }, Vec::new()),
                Err(error) => (Answer::NotSent(error), Vec::new()),
            }),
            Want::Close { body } => {
                self.bodies().remove(&body);
                None
            }
            Want::Keys => Some((Answer::Keys, vec![self.keys_written(&payload).await?])),
            Want::Quote {
                service,
                method,
                bytes,
            } => plain(self.quoted(service, method, bytes).await),
            Want::Hire(task) => Some(self.hired(task, payload).await),
            Want::OpenItems(task) => plain(self.opened(request, task, payload).await),
            Want::NextItem { items } => Some(self.next_item(items).await),
            Want::EndItems { items } => plain(self.bill(items).await),
            Want::DropItems { items } => {
                self.items().take(items);
                None
            }
        }
    }

    async fn keys_written(&self, want: &[u8]) -> Option<Bytes> {
        let found = self.keys(want).await;
        let written = postcard::to_allocvec(&found);
        let written = written.or_else(|error| {
            let error: KeyFound = Err(error.to_string());
            postcard::to_allocvec(&error)
        });
        Some(written.ok()?.into())
    }

    /// What a guest in this process would get, by the same rules.
    async fn keys(&self, want: &[u8]) -> KeyFound {
        let want: KeyWant = postcard::from_bytes(want).map_err(|error| error.to_string())?;
        if want.of_payer && self.payer.is_empty() {
            return Err("nobody pays for this call".to_owned());
        }
        let bucket = Bucket {
            service: self.shared.service.clone(),
            payer: if want.of_payer {
                self.payer.clone()
            } else {
                String::new()
            },
        };
        let fault = match &want.what {
            KeyTask::Get(keys) => fault_of_keys(keys),
            KeyTask::List(start, _) => fault_of_start(start),
            KeyTask::Change(change) => fault_of_change(change),
        };
        if let Some(fault) = fault {
            return Err(fault);
        }
        let (port, limits) = (&self.shared.key_value, &self.shared.limits);
        lock(&self.state_run).get_or_insert_with(|| port.run());
        let result = match want.what {
            KeyTask::Get(keys) => {
                let found = port.get(bucket, keys, limits.transfer_bytes_max).await;
                found.map(KeyResult::Entries)
            }
            KeyTask::List(start, count) => {
                let count = usize::try_from(count).unwrap_or(KEYS_MAX).min(KEYS_MAX);
                port.list(bucket, start, count).await.map(KeyResult::Keys)
            }
            KeyTask::Change(change) => {
                let changed = port.change(bucket, change, limits.key_value_bytes_max);
                changed.await.map(KeyResult::Changed)
            }
        };
        result.map_err(|error| error.0)
    }

    async fn open(&self, name: &str) -> Result<(Arc<dyn Model>, Arc<Pace>), OpenError> {
        let shared = &self.shared;
        let Some(pace) = shared.models_granted.get(name) else {
            return Err(OpenError::Unknown(
                name.chars().take(NAME_CHARS_MAX).collect(),
            ));
        };
        let pace = Arc::clone(pace);
        if let Some(model) = shared.models.loaded(name) {
            return Ok((model, pace));
        }
        let (models, name) = (Arc::clone(&shared.models), name.to_owned());
        let opening = move || models.open(&name);
        let opened = shared.device.alone(&shared.tenant, OPENING, opening).await;
        match opened {
            Ok(done) => {
                self.meter(0, done.took);
                Ok((done.result?, pace))
            }
            Err(DeviceError::Refused(refused)) => Err(OpenError::OutOfBudget(refused.to_string())),
            Err(stopped @ DeviceError::Stopped) => Err(OpenError::Engine(stopped.to_string())),
        }
    }

    async fn run(
        &self,
        model: &str,
        inputs: Vec<(String, Form)>,
        outputs: Vec<String>,
        payload: Bytes,
    ) -> Result<Vec<Tensor>, RunError> {
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let _room = self.hold(bytes)?;
        let (model, pace) = self
            .open(model)
            .await
            .map_err(|error| RunError::Engine(error.to_string()))?;
        if outputs.len() > model.outputs().len() {
            return Err(RunError::Engine(
                "too many outputs are asked for".to_owned(),
            ));
        }
        let (names, forms): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        let tensors = tensors(&forms, payload)
            .ok_or_else(|| RunError::Engine("the inputs came in pieces".to_owned()))?;
        let run = Run {
            model,
            inputs: names.into_iter().zip(tensors).collect(),
            outputs,
        };
        let (tenant, device) = (&self.shared.tenant, &self.shared.device);
        let estimate = pace.of(bytes).unwrap_or(UNKNOWN);
        let short = pace.is_short(bytes) && crate::capabilities::tensor::may_block();
        let begun = short.then(|| device.begin(tenant, estimate)).flatten();
        let done: Result<Done<_>, _> = match begun {
            Some(begun) => begun.work(|| tokio::task::block_in_place(|| run.now())),
            None => device.run(tenant, estimate, run).await,
        };
        match done {
            Ok(done) => {
                pace.learn(bytes, done.took);
                self.meter(1, done.took);
                done.result
            }
            Err(DeviceError::Refused(refused)) => Err(RunError::OutOfBudget(refused.to_string())),
            Err(DeviceError::Stopped) => Err(RunError::Engine(STOPPED.to_owned())),
        }
    }

    /// Room for inputs, as tensors of a guest in this process would take.
    fn hold(&self, bytes: u64) -> Result<Lease, RunError> {
        let budget = |text: String| RunError::OutOfBudget(text);
        let bytes_max = self.shared.limits.tensor_bytes_max;
        if bytes > bytes_max {
            return Err(budget(format!(
                "inputs of {bytes} bytes; {bytes_max} may be held"
            )));
        }
        let held = self.shared.device.hold(&self.shared.tenant, bytes);
        held.map_err(|error| budget(error.to_string()))
    }

    async fn send(
        &self,
        request: u64,
        (method, url): (&str, &str),
        headers: Vec<(String, Vec<u8>)>,
        body: Bytes,
        left: Duration,
    ) -> Result<Answer, OutboundError> {
        let bad = |what: &str| OutboundError::Denied(format!("{what} is malformed"));
        let url: http::Uri = url.parse().map_err(|_| bad("the URL"))?;
        if !self.shared.origins.iter().any(|origin| origin.covers(&url)) {
            return Err(OutboundError::Denied(
                "the manifest does not grant it".to_owned(),
            ));
        }
        take(&self.requests_left, 1).ok_or_else(|| {
            self.shared.meters.breach(Limit::OutboundRequests);
            OutboundError::Denied("the call has sent its last".to_owned())
        })?;
        self.shared.meters.outbound_request();
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if bytes > self.shared.limits.transfer_bytes_max {
            return Err(OutboundError::TooLarge);
        }
        take(&self.bytes_left, bytes).ok_or(OutboundError::TooLarge)?;
        let mut message = Request::new(body);
        *message.method_mut() = method.parse().map_err(|_| bad("the method"))?;
        *message.uri_mut() = url;
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| bad("a header"))?;
            let value = HeaderValue::from_bytes(&value).map_err(|_| bad("a header"))?;
            message.headers_mut().append(name, value);
        }
        let now = Instant::now();
        let own = now.checked_add(left).unwrap_or(self.deadline);
        let sent = self.shared.outbound.send(message, own.min(self.deadline));
        let (parts, body) = sent.await?.into_parts();
        self.bodies().insert(request, body);
        let headers = parts.headers.iter();
        Ok(Answer::Response {
            status: parts.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
            body: request,
        })
    }

    async fn more(&self, number: u64) -> Result<Option<Bytes>, OutboundError> {
        let body = self.bodies().remove(&number);
        let Some(mut body) = body else {
            return Ok(None);
        };
        while let Some(frame) = body.frame().await {
            // What is no data are trailers, which a guest here would not see either.
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            take(&self.bytes_left, bytes).ok_or(OutboundError::TooLarge)?;
            self.bodies().insert(number, body);
            return Ok(Some(data));
        }
        Ok(None)
    }

    fn meter(&self, runs: u64, took: Duration) {
        let mut had = lock(&self.had);
        had.runs = had.runs.saturating_add(runs);
        had.device_time = had.device_time.saturating_add(took);
    }

    fn bodies(&self) -> MutexGuard<'_, HashMap<u64, OutboundBody>> {
        lock(&self.bodies)
    }
}

/// Takes from what is left; none if there is too little.
fn take(left: &AtomicU64, amount: u64) -> Option<()> {
    let less = |left: u64| left.checked_sub(amount);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .ok()
        .map(|_| ())
}

const OPENING: Duration = Duration::from_millis(100);
const UNKNOWN: Duration = Duration::from_millis(20);
/// What of a wrong name is repeated.
const NAME_CHARS_MAX: usize = 64;
