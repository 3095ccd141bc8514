//! One version of a service: what it offers and costs, and its code while that is in memory.
//!
//! Loading is single-flight: the first call begins it, the others wait with it, and it goes on when all of
//! them went away.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use rialto_channels::payee::Reject;
use rialto_channels::price::MethodPrice;
use rialto_channels::receipt::Usage;
use rialto_channels::{Amount, ChannelConfig};
use rialto_host::Description;
use rialto_registry::MethodName;
use rialto_scheduler::{End, Entry, Quarantine, Tenant};
use tokio::sync::watch;
use tokio::time::timeout;

use super::loader::{Code, Loader, Site};
use super::{Candidate, ServiceError, chain};
use crate::api::{CallError, Closed, PaymentError, ServiceView};
use crate::market::Beside;
use crate::meters::{CallMeters, Metered};
use crate::reject::{refused, unavailable};

/// A service in one version.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) view: ServiceView,
    pub(crate) host: Description,
    /// SHA-256 of each model, in the manifest's order.
    pub(crate) models: Vec<B256>,
    pub(crate) provider: Address,
    /// Who is paid by channels: the provider, or the splitter of its royalty.
    pub(crate) receiver: Address,
    pub(crate) chain_id: u64,
    pub(crate) token: Address,
    /// The counts of its methods, by name.
    meters: BTreeMap<String, Arc<CallMeters>>,
    /// What it is called: its number, and for a deployed one the digits after it.
    label: String,
    /// Where its component is.
    pub(super) folder: PathBuf,
    /// Whether its code stays in memory.
    pub(super) is_pinned: bool,
    state: Mutex<State>,
    used: AtomicU64,
    running: AtomicU32,
    /// Whether it keeps failing; times are counted from `since`.
    quarantine: Mutex<Quarantine>,
    since: Instant,
}

/// Where a version's code is.
#[derive(Debug)]
enum State {
    Cold,
    /// Being loaded; the sender goes when it is over.
    Loading(watch::Receiver<()>),
    Loaded(Arc<Code>),
    /// It could not be loaded; not tried again for a moment.
    Failed {
        until: Instant,
        why: String,
    },
}

/// A call that runs, or waits to. Its version counts it while it lives.
#[derive(Debug)]
pub(crate) struct Visit {
    version: Arc<Version>,
    /// Whether its end decides if the service comes out of quarantine.
    is_probe: bool,
    ended: bool,
    /// Held while it runs where a guest of this host waits for it.
    beside: Option<Beside>,
}

impl Version {
    pub(super) fn new(site: &Site, candidate: Candidate, host: Description) -> Self {
        let label = candidate.label();
        let Candidate {
            folder, manifest, ..
        } = candidate;
        let royalty = manifest.royalty();
        let receiver = royalty.map_or(site.provider, |royalty| royalty.receiver(site.provider));
        let models = manifest.models().iter();
        let methods = host.interface().methods.iter();
        let meters = methods.map(|method| {
            let counts = site.meters.of(manifest.name().as_str(), &method.name);
            (method.name.clone(), counts)
        });
        Self {
            meters: meters.collect(),
            models: models.map(|model| B256::from(model.digest)).collect(),
            is_pinned: (site.sandbox.loading.preload).contains(manifest.name().as_str()),
            view: ServiceView {
                interface: Arc::clone(host.interface()),
                component: B256::from(host.component_sha256()),
                limits: site.sandbox.limits_of(&manifest),
                isolation: site.sandbox.isolation_of(manifest.name().as_str()),
                calls_max: site.sandbox.calls_max_of(manifest.name().as_str()),
                queue_max: site.sandbox.queue_max_of(manifest.name().as_str()),
                manifest: Arc::new(manifest),
                loaded: false,
                closed: None,
            },
            host,
            receiver,
            provider: site.provider,
            chain_id: site.chain_id,
            token: site.token,
            folder,
            label,
            state: Mutex::new(State::Cold),
            used: AtomicU64::new(0),
            running: AtomicU32::new(0),
            quarantine: Mutex::new(Quarantine::new(site.sandbox.quarantine)),
            since: Instant::now(),
        }
    }

    /// Whether its calls may call others.
    pub(crate) fn calls_others(&self) -> bool {
        self.view.manifest.grants().calls.is_some()
    }

    /// What a call of a method may spend on others, as its payer is charged.
    pub(crate) fn spend_max(&self, method: &str) -> Amount {
        let mut prices = self.view.manifest.prices().iter();
        let priced = prices.find(|(name, _)| name.to_snake_case() == method);
        priced.map_or(Amount::ZERO, |(_, price)| price.spend_max)
    }

    /// Counts a call of the method of this name, in either spelling. None where there is no such method:
    /// the names of what does not exist are without bound.
    pub(crate) fn begin(&self, method: &str) -> Option<Metered> {
        let named = self.meters.get(method);
        let meters = named.or_else(|| self.meters.get(&method.replace('-', "_")));
        meters.map(CallMeters::begin)
    }

    /// The same with its code in memory.
    pub(super) fn with(self, code: Code) -> Self {
        Self {
            state: Mutex::new(State::Loaded(Arc::new(code))),
            ..self
        }
    }

    /// What it is called.
    pub(super) fn label(&self) -> String {
        self.label.clone()
    }

    /// What callers see of it now.
    pub(super) fn view(&self, closed: Option<Closed>) -> ServiceView {
        ServiceView {
            closed,
            loaded: self.loaded_bytes().is_some(),
            ..self.view.clone()
        }
    }

    /// Counts a call until what is returned is dropped. `payer` is who says to pay; nobody is empty.
    ///
    /// # Errors
    /// [`CallError::NotServing`] while the service is in quarantine and this call is not the one to probe it.
    pub(crate) fn visit(self: &Arc<Self>, payer: &str) -> Result<Visit, CallError> {
        let entry = self
            .quarantine()
            .enter(&Tenant::new(payer), self.since.elapsed());
        let is_probe = match entry {
            Entry::Open => false,
            Entry::Probe => true,
            Entry::Shut { retry_after } => return Err(self.quarantined(retry_after)),
        };
        self.running.fetch_add(1, Ordering::AcqRel);
        Ok(Visit {
            version: Arc::clone(self),
            is_probe,
            ended: false,
            beside: None,
        })
    }

    /// When to come again, if the service is in quarantine and nobody may probe it now.
    pub(super) fn shut_for(&self) -> Option<Duration> {
        self.quarantine().shut_for(self.since.elapsed())
    }

    /// Whether the service is in quarantine.
    pub(super) fn is_quarantined(&self) -> bool {
        self.quarantine().is_out()
    }

    /// Ends a quarantine.
    pub(super) fn release(&self) {
        self.quarantine().release();
    }

    pub(super) fn quarantined(&self, retry_after: Duration) -> CallError {
        CallError::NotServing {
            service: self.view.manifest.name().to_string(),
            why: Closed::Quarantined,
            retry_after_seconds: retry_after
                .as_millis()
                .div_ceil(1_000)
                .try_into()
                .unwrap_or(u64::MAX),
        }
    }

    fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        self.quarantine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that run, or wait to.
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Acquire)
    }

    /// The code, loaded if it has to be: the time for that is not the call's.
    ///
    /// # Errors
    /// [`CallError::NotServing`] when it takes longer than a call waits for it (it goes on), or
    /// [`CallError::Unavailable`] when it cannot be loaded.
    pub(crate) async fn code(
        self: &Arc<Self>,
        loader: &Arc<Loader>,
    ) -> Result<Arc<Code>, CallError> {
        let deadline = Instant::now() + loader.wait_max();
        loop {
            let mut over = match self.look(loader)? {
                Ok(code) => return Ok(code),
                Err(over) => over,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            // An error of the channel means that the sender is gone: it is over.
            if timeout(left, over.changed()).await.is_err() {
                return Err(self.preparing());
            }
        }
    }

    /// The code, or what to wait for.
    fn look(
        self: &Arc<Self>,
        loader: &Arc<Loader>,
    ) -> Result<Result<Arc<Code>, watch::Receiver<()>>, CallError> {
        let mut state = self.state();
        match &*state {
            State::Loaded(code) => {
                self.used.store(loader.tick(), Ordering::Relaxed);
                return Ok(Ok(Arc::clone(code)));
            }
            State::Loading(over) if over.has_changed().is_ok() => return Ok(Err(over.clone())),
            State::Failed { until, why } if Instant::now() < *until => {
                return Err(unavailable("the service", NotLoaded(why.clone())));
            }
            // Whose loading crashed is cold.
            State::Cold | State::Loading(_) | State::Failed { .. } => {}
        }
        let (sender, over) = watch::channel(());
        *state = State::Loading(over.clone());
        tokio::spawn(Arc::clone(loader).load(Arc::clone(self), sender));
        Ok(Err(over))
    }

    /// Ends a loading.
    pub(super) fn settle(&self, code: Result<Code, ServiceError>, tick: u64) {
        self.used.store(tick, Ordering::Relaxed);
        *self.state() = match code {
            Ok(code) => State::Loaded(Arc::new(code)),
            Err(error) => {
                let (why, name) = (chain(&error), self.view.manifest.name());
                tracing::error!(service = %name, error = %why, "service cannot be loaded");
                let until = Instant::now() + TRY_AGAIN_AFTER;
                State::Failed { until, why }
            }
        };
    }

    /// Bytes of its code in memory; none if it is not.
    pub(super) fn loaded_bytes(&self) -> Option<u64> {
        match &*self.state() {
            State::Loaded(code) => Some(code.service.code_bytes()),
            State::Cold | State::Loading(_) | State::Failed { .. } => None,
        }
    }

    /// When its code was used last, by the loader's count.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Lets the code go; calls that have it keep it until they end.
    pub(super) fn cool(&self) {
        let mut state = self.state();
        if matches!(*state, State::Loaded(_)) {
            let code = std::mem::replace(&mut *state, State::Cold);
            drop(state);
            // Unmapping takes a while: nobody should wait for it.
            drop(code);
        }
    }

    fn preparing(&self) -> CallError {
        CallError::NotServing {
            service: self.view.manifest.name().to_string(),
            why: Closed::Preparing,
            retry_after_seconds: RETRY_AFTER_SECONDS,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step under this lock leaves something half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    /// A channel for another service of this node pays other people.
    ///
    /// # Errors
    /// [`PaymentError::Invalid`] with the code of a wrong receiver.
    pub(crate) fn check_receiver(&self, config: &ChannelConfig) -> Result<(), PaymentError> {
        if config.receiver == self.receiver {
            Ok(())
        } else {
            Err(refused(&Reject::WrongReceiver))
        }
    }

    /// The most that a call with a body of `body_bytes` costs: the ceiling quoted before it.
    ///
    /// # Errors
    /// [`CallError::UnknownMethod`], or [`CallError::Arguments`] when a body is too large to price.
    pub(crate) fn price(&self, method: &str, body_bytes: u64) -> Result<Amount, CallError> {
        let unknown = || CallError::UnknownMethod {
            service: self.view.manifest.name().to_string(),
            name: method.to_owned(),
            known: self.method_names().join(", "),
        };
        let wanted: MethodName = method.replace('_', "-").parse().map_err(|_| unknown())?;
        if !self.has(&wanted) {
            return Err(unknown());
        }
        let Some(price) = self.view.manifest.price(&wanted) else {
            return Ok(Amount::ZERO);
        };
        let limits = self.view.manifest.limits();
        price.ceiling(body_bytes, &limits.bounds()).map_err(|_| {
            let bytes_max = limits.input_bytes_max;
            CallError::Arguments(rialto_host::ArgumentError::TooLarge {
                bytes: body_bytes,
                bytes_max,
            })
        })
    }

    /// The charge for a call that used so much, by the meter and at most the quoted ceiling.
    pub(crate) fn charge(&self, method: &str, usage: &Usage, ceiling: Amount) -> Amount {
        let price = self.price_list(method);
        price.map_or(Amount::ZERO, |price| price.charge(usage, ceiling))
    }

    /// As [`charge`](Self::charge), without the part that does not depend on the meter.
    pub(crate) fn charge_metered(&self, method: &str, usage: &Usage, ceiling: Amount) -> Amount {
        let price = self.price_list(method);
        price.map_or(Amount::ZERO, |price| {
            price.without_call().charge(usage, ceiling)
        })
    }

    fn price_list(&self, method: &str) -> Option<MethodPrice> {
        let name: MethodName = method.replace('_', "-").parse().ok()?;
        self.view.manifest.price(&name).copied()
    }

    fn has(&self, method: &MethodName) -> bool {
        let snake = method.to_snake_case();
        self.view
            .interface
            .methods
            .iter()
            .any(|known| known.name == snake || known.name == method.as_str())
    }

    fn method_names(&self) -> Vec<String> {
        self.view
            .interface
            .methods
            .iter()
            .map(|method| method.name.clone())
            .collect()
    }
}

impl Visit {
    /// The same call, which a guest of this host may wait for.
    pub(crate) fn beside(mut self, beside: Option<Beside>) -> Self {
        self.beside = beside;
        self
    }

    /// How the call of this payer ended, which tells something about its service.
    pub(crate) fn over<T>(mut self, payer: &str, ended: &Result<T, rialto_host::CallError>) {
        let end = match ended {
            Ok(_) | Err(rialto_host::CallError::Refused { .. }) => End::Good,
            Err(error) if error.is_fault() => End::Fault,
            Err(_) => End::Neither,
        };
        self.note(&Tenant::new(payer), end);
    }

    fn note(&mut self, payer: &Tenant, end: End) {
        self.ended = true;
        let version = &self.version;
        let now = version.since.elapsed();
        let is_out = {
            let mut quarantine = version.quarantine();
            let was_out = quarantine.is_out();
            if self.is_probe {
                quarantine.probed(payer, end, now);
            } else {
                quarantine.ended(payer, end, now);
            }
            (was_out, quarantine.is_out())
        };
        let service = version.view.manifest.name();
        match is_out {
            (false, true) => {
                tracing::warn!(%service, version = %version.label, "service keeps failing: quarantined")
            }
            (true, false) => {
                tracing::warn!(%service, version = %version.label, "service works again")
            }
            (true, true) | (false, false) => {}
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.is_probe && !self.ended {
            self.note(&Tenant::new(""), End::Neither);
        }
        self.version.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a service's code is not in memory, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotLoaded(String);

/// A service that could not be loaded is not tried again before.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
pub(super) const RETRY_AFTER_SECONDS: u64 = 2;
