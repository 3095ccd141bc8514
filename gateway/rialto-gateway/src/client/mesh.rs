//! A client of many providers: it chooses one for each call, goes to another where one fails, and pays once.
//!
//! Whom to ask and what to do after a failure is decided by [`rialto_registry::router`]; what is signed by
//! [`PayingClient`], of which there is one for each provider. An offer is believed as far as its signatures
//! go: the host that a provider's terms name has to be the one that the offer names.
//!
//! Not here: finding providers ([`Directory`]).

mod attempt;
mod directory;
mod outcome;
mod provider;
mod quotes;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rialto_channels::Amount;
use rialto_registry::reputation::Outcome as Rating;
use rialto_registry::router::{
    Abandon, Action, Attempt, AttemptId, Call, CallSpec, Capabilities, Exposure, Hedge, KeyError,
    Millis, NoProvider, NotStarted, Outcome, ProviderId, Region, Report, Router,
};
use rialto_registry::{Name, PeerId};

use super::call::Course;
use super::{
    Allowance, Answer, Body, ClientError, Config, Heard, Leave, Order, PayingClient, Wallet,
};

pub use directory::DoorDirectory;
pub(crate) use directory::{ProviderRecord, ProvidersRecord};
pub use provider::Provider;
use quotes::Quotes;

/// Providers, when they are there.
pub type Finding<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Provider>, DirectoryError>> + Send + 'a>>;

/// Who knows providers.
pub trait Directory: std::fmt::Debug + Send + Sync {
    /// Those that offer a service now, each once.
    fn providers<'a>(&'a self, service: &'a Name) -> Finding<'a>;

    /// An endpoint of the chain that whoever keeps the directory uses.
    fn rpc(&self) -> Option<String> {
        None
    }

    /// Hears what came of a request to one of them.
    fn ended(&self, _provider: PeerId, _rating: Rating) {}
}

/// Why no providers are known.
#[derive(Debug, thiserror::Error)]
#[error("providers of the service cannot be looked up")]
pub struct DirectoryError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A call that any provider may answer.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The service.
    pub service: Name,
    /// The method, in either spelling.
    pub method: String,
    /// The parameters.
    pub body: Body,
    /// Whether carrying it out twice does no harm.
    pub idempotent: bool,
    /// How long it may take in all.
    pub time_max: Duration,
    /// The most that it may cost; none for what the client allows.
    pub price_max: Option<Amount>,
    /// The one region that will do.
    pub region: Option<Region>,
    /// What may be left behind at providers that went silent.
    pub abandon: Abandon,
    /// Whether a second provider may be asked while the first is late.
    pub hedge: Hedge,
    /// What the one on whose behalf it is made may spend, besides the wallet's own budget; none for the wallet's
    /// owner.
    pub allowance: Option<Allowance>,
    /// The order that it carries out: once, and at the provider where it was placed if it was before.
    pub order: Option<Order>,
    /// Says when nobody wants more of an answer that comes item by item.
    pub leave: Option<Leave>,
}

impl Ask {
    /// A call that is carried out once at most: whatever may have been done, and paid, is not done again elsewhere, nor
    /// are two providers asked at a time. It costs whatever the client allows.
    #[must_use]
    pub fn once(service: Name, method: &str, body: Body, time_max: Duration) -> Self {
        Self {
            service,
            method: method.to_owned(),
            body,
            idempotent: false,
            time_max,
            price_max: None,
            region: None,
            abandon: Abandon::Never,
            hedge: Hedge::Never,
            allowance: None,
            order: None,
            leave: None,
        }
    }
}

/// Who listens to an answer that comes item by item.
pub type Each<'a> = &'a (dyn Fn(Heard<'_>) + Send + Sync);

/// An answer, who gave it, and what it took.
#[derive(Debug)]
pub struct MeshAnswer {
    /// The answer, as its provider gave it.
    pub answer: Answer,
    /// Who answered.
    pub provider: ProviderId,
    /// Its gateway, where it has one that anybody reaches.
    pub gateway: Option<String>,
    /// Requests that were sent.
    pub attempts: u32,
    /// Who else may charge for this call.
    pub exposure: Vec<Exposure>,
}

/// Why no provider answered.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// No provider could be asked; nothing was sent.
    #[error("no provider of `{service}` can be asked: {why}")]
    Nobody {
        /// The service.
        service: Name,
        /// What there is, and why it will not do.
        why: Box<NoProvider>,
    },
    /// The providers cannot be looked up.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The last provider's reason.
    #[error("{provider} did not answer, and no other did")]
    Failed {
        /// Who was asked last.
        provider: ProviderId,
        /// Requests that were sent.
        attempts: u32,
        /// Who may charge for this call all the same.
        exposure: Vec<Exposure>,
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// The time was over.
    #[error("nobody answered in time; {} may have been carried out and charged", exposed(.exposure))]
    Late {
        /// Requests that were sent.
        attempts: u32,
        /// Who may charge for this call all the same.
        exposure: Vec<Exposure>,
    },
    /// A service's name is too long to keep counts under.
    #[error("the service's name {0}")]
    Key(#[from] KeyError),
}

/// A client of many providers. Cheap to clone; clones share what they know of them.
#[derive(Debug, Clone)]
pub struct MeshClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: Arc<dyn Directory>,
    /// For each provider with its own gateway.
    config: Config,
    wallet: Arc<dyn Wallet>,
    /// By the gateway, and when each was used last.
    clients: Mutex<Clients>,
    router: Mutex<Router>,
    quotes: Quotes,
    began: Instant,
}

type Clients = BTreeMap<String, (PayingClient, Instant)>;

/// What an attempt came to.
struct Ended {
    attempt: AttemptId,
    provider: ProviderId,
    outcome: Outcome,
    answer: Result<Answer, ClientError>,
}

impl MeshClient {
    /// A client that pays from this wallet, by `config`, whose gateway is not used.
    #[must_use]
    pub fn new(config: Config, wallet: Arc<dyn Wallet>, directory: Arc<dyn Directory>) -> Self {
        Self(Arc::new(Inner {
            directory,
            // What is tried again, and where, is the router's to decide.
            config: Config {
                attempts: 1,
                // But what was paid for and lost on the way is asked for where it was sent.
                repeats: REPEATS,
                public_rpc: true,
                ..config
            },
            wallet,
            clients: Mutex::default(),
            router: Mutex::new(Router::new(rialto_registry::router::Config::default())),
            quotes: Quotes::default(),
            began: Instant::now(),
        }))
    }

    /// Makes a call at whichever provider is best, and at others where that fails and it is safe.
    ///
    /// A future that is dropped gives the call up; what was sent may be carried out and charged all the same.
    ///
    /// # Errors
    /// [`MeshError`].
    pub async fn call(&self, ask: &Ask) -> Result<MeshAnswer, MeshError> {
        self.choose(ask, None).await
    }

    /// As [`call`](Self::call), and hands the items over as they come, where the method streams. From the first
    /// one on nobody else is asked; nor are two at a time, or anybody after what was perhaps carried out.
    ///
    /// # Errors
    /// [`MeshError`]. As with [`PayingClient::stream`], an answer that broke off and was charged is none.
    pub async fn stream(&self, ask: &Ask, each: Each<'_>) -> Result<MeshAnswer, MeshError> {
        let once = Ask {
            idempotent: false,
            hedge: Hedge::Never,
            abandon: Abandon::Never,
            ..ask.clone()
        };
        self.choose(&once, Some(each)).await
    }

    /// What whoever would be asked wants for a body of so many bytes; nothing is paid.
    ///
    /// # Errors
    /// [`MeshError`], if nobody says.
    pub async fn price(&self, ask: &Ask, bytes: u64) -> Result<(ProviderId, Amount), MeshError> {
        let (providers, mut guarded) = self.chosen(ask).await?;
        let mut attempts = 0;
        loop {
            match guarded.poll() {
                Action::Try(attempt) | Action::Repeat(attempt) | Action::Hedge(attempt) => {
                    attempts += 1;
                    let provider = attempt.provider.clone();
                    let source = match self.price_of((ask, bytes), &providers, &attempt).await {
                        Ok(price) => return Ok((provider, price)),
                        Err(source) => source,
                    };
                    let ended = Ended {
                        attempt: attempt.id,
                        provider: provider.clone(),
                        outcome: outcome::of(&Err(source), &Course::default()),
                        answer: Err(ClientError::Unfinished),
                    };
                    guarded.on_result(&ended);
                }
                Action::Wait { until } => {
                    let pause = Duration::from_millis(until.since(self.now()).0);
                    tokio::time::sleep(pause).await;
                }
                Action::Done(_) => {
                    let exposure = Vec::new();
                    return Err(MeshError::Late { attempts, exposure });
                }
                Action::Refuse(why) => {
                    let (service, why) = (ask.service.clone(), Box::new(why));
                    return Err(MeshError::Nobody { service, why });
                }
            }
        }
    }

    async fn choose(&self, ask: &Ask, each: Option<Each<'_>>) -> Result<MeshAnswer, MeshError> {
        let (providers, mut guarded) = self.chosen(ask).await?;
        self.drive((ask, each), &providers, &mut guarded).await
    }

    /// Who may be asked, and a call for which the router chooses among them.
    async fn chosen(&self, ask: &Ask) -> Result<(Vec<Provider>, Guarded<'_>), MeshError> {
        let providers = self.0.directory.providers(&ask.service).await?;
        let (epoch, now) = (provider::since_epoch(), self.now());
        let placed = ask.order.as_ref().and_then(Order::placed);
        let elsewhere = |provider: &&Provider| {
            let placed = placed.as_ref();
            placed.is_none_or(|placed| placed.provider == provider.id().as_str())
        };
        let mut candidates = Vec::new();
        for provider in providers.iter().filter(elsewhere) {
            let opened = self.has_channel(provider).await;
            candidates.extend(provider.candidate(ask, &self.0.config, opened, epoch, now));
        }
        let spec = self.spec(ask, now)?;
        let call = self.router().begin(spec, &candidates, now, rand::random());
        Ok((providers, Guarded { client: self, call }))
    }

    async fn drive(
        &self,
        (ask, each): (&Ask, Option<Each<'_>>),
        providers: &[Provider],
        guarded: &mut Guarded<'_>,
    ) -> Result<MeshAnswer, MeshError> {
        let mut running = FuturesUnordered::new();
        let mut ended: Vec<Ended> = Vec::new();
        loop {
            match guarded.poll() {
                Action::Repeat(attempt) if in_doubt(&ended, &attempt) => {
                    // What was paid for was sent again under its payment already, and a host keeps no answers
                    // of free calls: what may have been carried out is not asked for again.
                    let end = unasked(attempt);
                    guarded.on_result(&end);
                }
                Action::Try(attempt) | Action::Repeat(attempt) | Action::Hedge(attempt) => {
                    running.push(self.attempt((ask, each), providers, attempt));
                }
                Action::Wait { until } => {
                    let pause = Duration::from_millis(until.since(self.now()).0);
                    tokio::select! {
                        Some(end) = running.next() => {
                            let end: Ended = end;
                            guarded.on_result(&end);
                            ended.push(end);
                        }
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                Action::Done(report) => {
                    self.rate(providers, &ended);
                    return finish(report, ended, providers);
                }
                Action::Refuse(why) => {
                    let (service, why) = (ask.service.clone(), Box::new(why));
                    return Err(MeshError::Nobody { service, why });
                }
            }
        }
    }

    /// Tells whoever keeps providers how they served. That one cannot be reached is its fault only where
    /// another one answered: else it may be this machine's.
    fn rate(&self, providers: &[Provider], ended: &[Ended]) {
        let answered = ended.iter().any(|end| end.answer.is_ok());
        for end in ended {
            let unreached = end.outcome == Outcome::NotStarted(NotStarted::Unreachable);
            let asked = providers.iter().find(|it| *it.id() == end.provider);
            if let Some(provider) = asked
                && let Some(rating) = outcome::rating(end.outcome, &end.answer)
                && (answered || !unreached)
            {
                self.0.directory.ended(provider.peer(), rating);
            }
        }
    }

    async fn has_channel(&self, provider: &Provider) -> bool {
        let client = self.clients().get(&provider.base).cloned();
        match client {
            Some((client, _)) => !client.channels().await.is_empty(),
            None => false,
        }
    }

    fn spec(&self, ask: &Ask, now: Millis) -> Result<CallSpec, KeyError> {
        let time = u64::try_from(ask.time_max.as_millis()).unwrap_or(u64::MAX);
        Ok(CallSpec {
            service: ask.service.as_str().parse()?,
            idempotent: ask.idempotent,
            deadline: now.plus(Millis(time)),
            price_max: Some(ask.price_max.unwrap_or(self.0.config.price_max)),
            region: ask.region.clone(),
            needs: Capabilities::NONE,
            abandon: ask.abandon,
            hedge: ask.hedge,
            attempt_max: None,
        })
    }

    fn now(&self) -> Millis {
        let elapsed = self.0.began.elapsed().as_millis();
        Millis(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    fn router(&self) -> MutexGuard<'_, Router> {
        // Every step of the router leaves it whole.
        self.0.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.0
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is given up when nobody waits for it any more.
struct Guarded<'a> {
    client: &'a MeshClient,
    call: Call,
}

impl Guarded<'_> {
    fn poll(&mut self) -> Action {
        let now = self.client.now();
        self.call.poll(&mut self.client.router(), now)
    }

    fn on_result(&mut self, ended: &Ended) {
        let now = self.client.now();
        let mut router = self.client.router();
        self.call
            .on_result(&mut router, ended.attempt, ended.outcome, now);
    }
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        let now = self.client.now();
        let exposure = self.call.cancel(&mut self.client.router(), now);
        if !exposure.is_empty() {
            tracing::debug!(?exposure, "a call may yet be charged");
        }
    }
}

/// Whether an earlier attempt at the same provider may have been carried out.
fn in_doubt(ended: &[Ended], attempt: &Attempt) -> bool {
    let mut there = ended.iter().filter(|end| end.provider == attempt.provider);
    there.any(|end| end.outcome == Outcome::Unknown)
}

/// An attempt that was not made, of a call that nobody knows the end of.
fn unasked(attempt: Attempt) -> Ended {
    Ended {
        attempt: attempt.id,
        provider: attempt.provider,
        outcome: Outcome::Unknown,
        answer: Err(ClientError::Unfinished),
    }
}

fn finish(
    report: Report,
    ended: Vec<Ended>,
    providers: &[Provider],
) -> Result<MeshAnswer, MeshError> {
    let Report {
        attempt,
        attempts,
        exposure,
        ..
    } = report;
    let last = ended.into_iter().find(|ended| ended.attempt == attempt);
    match last {
        Some(Ended {
            provider,
            answer: Ok(answer),
            ..
        }) => Ok(MeshAnswer {
            answer,
            gateway: providers.iter().find_map(|it| it.gateway(&provider)),
            provider,
            attempts,
            exposure,
        }),
        Some(Ended {
            provider,
            answer: Err(error),
            ..
        }) => Err(MeshError::Failed {
            provider,
            attempts,
            exposure,
            source: Box::new(error),
        }),
        None => Err(MeshError::Late { attempts, exposure }),
    }
}

fn exposed(exposure: &[Exposure]) -> String {
    match exposure {
        [] => "nothing".to_owned(),
        [one] => format!("a call of at most {} at {}", one.price, one.provider),
        many => format!("calls at {} providers", many.len()),
    }
}

/// How often a paid request that may have arrived is sent again to the same provider.
const REPEATS: u32 = 2;
