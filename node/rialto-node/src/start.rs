//! Starts a node: each part in the order in which the next needs it.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::Address;
use rialto_artifacts::Store;
use rialto_chain::contracts;
use rialto_channels::SettlementDomain;
use rialto_channels::payee::{RestoreError, Terms};
use rialto_compute::ops::Device;
use rialto_host::{Host, KeyValue, NoOutbound, Outbound, PayerLimits, Tenant, TenantLimits};
use rialto_ledger::{Ledger, Provider, SharedLedger};
use rialto_tensor::ModelCache;
use rialto_tensor::engines::Engines;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::Node;
use crate::answers::Answers;
use crate::api::{ChainInfo, PayeeTerms};
use crate::artifacts;
use crate::book::Book;
use crate::calls::named;
use crate::catalog::{Catalog, CatalogError, Site};
use crate::cells;
use crate::chain_setup::{self, Chain, ChainStartError};
use crate::clock::Clock;
use crate::computers;
use crate::config::{ChainChoice, Config, ConfigError, LedgerChoice, PayerTerms};
use crate::engines;
use crate::facilitator::Policy;
use crate::facilitator::foreign::Foreign;
use crate::failures::Failures;
use crate::languages::{self, Languages};
use crate::manifest::host_limits;
use crate::market::Hiring;
use crate::mesh::{Mesh, MeshError};
use crate::meters::Meters;
use crate::money::Money;
use crate::node::Inner;
use crate::outbound::Requests;
use crate::pending::Pending;
use crate::progress::Progress;
use crate::promises::Promises;
use crate::redeposit::Deposits;
use crate::settlements::Searches;
use crate::shelf::PendingError;
use crate::state;
use crate::turns::Turns;
use crate::watch::Watch;

impl Node {
    /// Starts a node with everything that `config` names.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config, progress: &Progress) -> Result<Self, StartError> {
        config.check()?;
        let lock = lock_data_dir(&config.data_dir)?;
        progress.say("starting the chain");
        let (chain, key, receiver) = Chain::start(&config).await?;
        let payee = payee_terms(&config, chain.chain_id(), receiver, key.address())?;
        if payee.deposits.permit2 {
            chain.check_permit2().await?;
        }
        let computers = open_computers(&config).await?;
        let (models, languages) = open_models(&config, computers::accelerator(&computers))?;
        let host = open_host(&config, computers).await?;
        let store = open_store(&config)?;
        let meters = Arc::new(Meters::new());
        let site = Site {
            host: host.clone(),
            store: store.clone(),
            models: Arc::clone(&models),
            languages: Arc::clone(&languages),
            sandbox: config.sandbox.clone(),
            deterministic: config.engines.deterministic,
            provider: receiver,
            chain_id: payee.chain_id,
            token: payee.token,
            meters: Arc::clone(&meters),
        };
        let (services, data) = (&config.services_dir, &config.data_dir);
        let catalog = Catalog::load(services, site, data, progress).await?;
        let mesh = join_mesh(&config, &chain, &store).await?;
        let (ledger, book) = open_money(&config, &payee).await?;
        book.add_receivers(catalog.splitters().into_keys());
        let clock = clock_of(&chain).await?;
        let node = Self(Arc::new(Inner {
            host,
            models,
            languages,
            meters,
            key,
            info: chain_info(&chain, &payee),
            payee,
            catalog,
            book,
            ledger,
            chain,
            clock,
            turns: Turns::default(),
            permits: Arc::new(Semaphore::new(calls_max(&config))),
            newcomers: Arc::new(Semaphore::new(NEWCOMERS_MAX)),
            collecting: tokio::sync::Mutex::default(),
            claiming: tokio::sync::Mutex::default(),
            pending: Pending::open(config.data_dir.join("pending"))?,
            deposits: Deposits::open(config.data_dir.join("deposits"))?,
            answers: open_answers(config.data_dir.join("answers"))?,
            promises: Promises::default(),
            searches: Searches::default(),
            watch: Watch::new(config.risk.blind_after, config.risk.blind_max),
            failures: Failures::new(config.risk.failures_max, config.risk.failures_window),
            refunds_made: Failures::new(REFUNDS_MAX, config.risk.failures_window),
            facilitator: facilitator_policy(&config),
            foreign: open_foreign(&config)?,
            mesh,
            hiring: Hiring::here(),
            stop: watch::Sender::new(false),
            tasks: tokio::sync::Mutex::new(JoinSet::new()),
            config,
            _lock: lock,
        }));
        node.spawn_tasks().await?;
        Ok(node)
    }

    async fn spawn_tasks(&self) -> Result<(), StartError> {
        self.sweep().await;
        let next_block = self
            .chain_client()
            .block_number()
            .await
            .map_err(ChainStartError::Client)?;
        let mut tasks = self.0.tasks.lock().await;
        tasks.spawn(self.clone().watch_forever(next_block));
        tasks.spawn(self.clone().collect_forever());
        tasks.spawn(self.clone().resolve_forever());
        tasks.spawn(self.clone().keep_deposits_forever());
        tasks.spawn(self.clone().look_at_services());
        if self.mesh().is_some() {
            tasks.spawn(self.clone().read_names_forever());
            tasks.spawn(self.clone().offer_forever());
            tasks.spawn(self.clone().browse_forever());
            tasks.spawn(self.clone().listen_to_peers());
            tasks.spawn(self.clone().keep_ratings());
            tasks.spawn(self.clone().read_feedback_forever());
        }
        Ok(())
    }
}

impl Node {
    /// Looks at the services of which a large catalog knew the manifests alone, one after the other.
    async fn look_at_services(self) {
        loop {
            tokio::select! {
                () = self.stopping() => return,
                more = self.0.catalog.look_at_next() => if !more { return },
            }
        }
    }
}

/// Calls that run and calls that wait for a place; each may hold one place in the ledger's queue.
fn calls_max(config: &Config) -> usize {
    usize::try_from(config.sandbox.calls_max)
        .unwrap_or(usize::MAX >> 4)
        .saturating_add(usize::try_from(config.sandbox.queue_max).unwrap_or(usize::MAX >> 4))
}

/// Two nodes on one ledger would charge twice; the second is refused.
fn lock_data_dir(dir: &Path) -> Result<File, StartError> {
    let fail = |source| StartError::DataDir {
        dir: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(fail)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}

fn open_store(config: &Config) -> Result<Store, StartError> {
    Store::open(artifacts::settings(&config.artifacts_dir)).map_err(StartError::Artifacts)
}

async fn join_mesh(
    config: &Config,
    chain: &Chain,
    store: &Store,
) -> Result<Option<Box<Mesh>>, StartError> {
    if !config.mesh.enabled {
        return Ok(None);
    }
    let (client, chain_id) = (chain.client(), chain.chain_id());
    let joined = Mesh::join(config, client, chain_id, store.clone()).await?;
    Ok(Some(Box::new(joined)))
}

async fn open_computers(config: &Config) -> Result<Vec<Arc<dyn Device>>, StartError> {
    let known = config.clone();
    // Drivers of graphics processors take their time.
    let opened = tokio::task::spawn_blocking(move || computers::open(&known)).await;
    opened
        .map_err(StartError::Devices)?
        .map_err(StartError::Gpu)
}

async fn open_host(config: &Config, computers: Vec<Arc<dyn Device>>) -> Result<Host, StartError> {
    let key_value = open_state(config).await?;
    let config = host_config(config, computers, key_value)?;
    Host::new(config).map_err(StartError::Host)
}

/// What services keep from call to call.
async fn open_state(config: &Config) -> Result<Arc<dyn KeyValue>, StartError> {
    let (dir, bytes_max) = (
        config.data_dir.join("state"),
        config.sandbox.state_bytes_max,
    );
    let opened = tokio::task::spawn_blocking(move || state::open(&dir, bytes_max)).await;
    Ok(opened.map_err(StartError::StateTask)??)
}

fn facilitator_policy(config: &Config) -> Policy {
    let is_dev = matches!(config.chain, ChainChoice::Dev { .. });
    Policy::new(config.facilitator.clone(), is_dev)
}

fn open_foreign(config: &Config) -> Result<Option<Foreign>, StartError> {
    let foreign = config.payments.facilitator_url.as_deref().map(Foreign::new);
    foreign.transpose().map_err(StartError::Facilitator)
}

/// What runs models: graphs, and language models.
fn open_models(
    config: &Config,
    accelerator: Option<Arc<dyn Device>>,
) -> Result<(Arc<ModelCache>, Arc<Languages>), StartError> {
    let engines = Engines::new(engines::wanted(config, accelerator))?;
    let models = ModelCache::new(Arc::new(engines), config.engines.weights_bytes_max);
    let languages = Languages::new(languages::wanted(config));
    Ok((Arc::new(models), Arc::new(languages)))
}

/// Who sends guests' requests.
fn outbound(config: &Config) -> Result<Arc<dyn Outbound>, StartError> {
    if !config.sandbox.outbound {
        return Ok(Arc::new(NoOutbound));
    }
    let requests = Requests::new(config.sandbox.outbound_private.clone());
    Ok(Arc::new(requests.map_err(StartError::Outbound)?))
}

fn host_config(
    config: &Config,
    computers: Vec<Arc<dyn Device>>,
    key_value: Arc<dyn KeyValue>,
) -> Result<rialto_host::Config, StartError> {
    Ok(rialto_host::Config {
        calls_max: config.sandbox.calls_max,
        concurrency: config.sandbox.concurrency,
        order: config.sandbox.priority,
        payers: payers(config),
        queue_max: config.sandbox.queue_max,
        service_queue_max: config.sandbox.service_queue_max,
        services: services_at_the_door(config),
        background_max: config.sandbox.background_max,
        device: config.device.clone(),
        cells: cells::wanted(config, &computers),
        computers,
        outbound: outbound(config)?,
        key_value,
        limits_max: host_limits(&config.sandbox.limits_max),
        warm: config.sandbox.warm.clone(),
        ..rialto_host::Config::new(config.data_dir.join("compiled"))
    })
}

/// What single services may have at the host's door.
fn services_at_the_door(config: &Config) -> HashMap<String, TenantLimits> {
    let settings = config.sandbox.settings.iter();
    let said = settings.filter(|(_, it)| it.calls_max.is_some() || it.queue_max.is_some());
    let limits = said.map(|(service, it)| {
        let limits = TenantLimits {
            running_max: it.calls_max.unwrap_or(TenantLimits::NONE.running_max),
            waiting_max: it
                .queue_max
                .map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        };
        (service.clone(), limits)
    });
    limits.collect()
}

/// What each payer may have at the host's door. Those who pay nothing are one to it, and many to us.
fn payers(config: &Config) -> rialto_host::Payers {
    let sandbox = &config.sandbox;
    let limits = |terms: PayerTerms| PayerLimits {
        running_max: terms.calls_at_once(sandbox.calls_max),
        waiting_max: usize::try_from(terms.calls_waiting(sandbox.queue_max)).unwrap_or(usize::MAX),
    };
    let accounts = config.payers.accounts.keys();
    let own = accounts.map(|account| {
        let account = Some(*account);
        (named(account), limits(config.payers.of(account)))
    });
    let own = own.chain([(named(None), PayerLimits::NONE)]);
    rialto_host::Payers {
        usual: limits(config.payers.usual),
        own: own
            .map(|(name, limits)| (Tenant::new(&name), limits))
            .collect(),
    }
}

async fn open_money(config: &Config, payee: &PayeeTerms) -> Result<(Money, Book), StartError> {
    let domain = SettlementDomain {
        chain_id: payee.chain_id,
        contract: payee.settlement,
    };
    let terms = Terms {
        receiver: payee.receiver,
        receiver_authorizer: payee.receiver_authorizer,
        token: payee.token,
        withdraw_delay: payee.withdraw_delay,
        in_flight_max: usize::try_from(config.payments.headroom).unwrap_or(1),
    };
    match &config.ledger {
        LedgerChoice::Embedded => {
            let ledger = Ledger::open(
                &config.data_dir.join("ledger"),
                rialto_ledger::Config::default(),
            )?;
            let book = Book::restore(domain, terms, ledger.channels()?)?;
            Ok((Money::Own(ledger), book))
        }
        LedgerChoice::Shared(shared) => {
            let provider = Provider {
                domain,
                host: payee.receiver_authorizer,
            };
            let ledger = SharedLedger::open(shared.to_config(), &provider).await?;
            // Channels are copied as they are used: the others are other replicas' matter.
            let book = Book::restore(domain, terms, Vec::new())?;
            Ok((Money::Shared(ledger), book))
        }
    }
}

async fn clock_of(chain: &Chain) -> Result<Clock, ChainStartError> {
    let clock = Clock::default();
    let now = chain.client().now().await;
    clock.observe(now.map_err(ChainStartError::Client)?);
    Ok(clock)
}

fn open_answers(dir: PathBuf) -> Result<Answers, StartError> {
    Answers::open(dir.clone()).map_err(|source| StartError::DataDir { dir, source })
}

fn payee_terms(
    config: &Config,
    chain_id: u64,
    receiver: Address,
    host: Address,
) -> Result<PayeeTerms, ChainStartError> {
    let (token, name, version) = chain_setup::token(chain_id)?;
    Ok(PayeeTerms {
        chain_id,
        settlement: contracts::BATCH_SETTLEMENT,
        token,
        token_name: name.to_owned(),
        token_version: version.to_owned(),
        receiver,
        provider: receiver,
        deposits: config.payments.deposits,
        receiver_authorizer: host,
        withdraw_delay: config.payments.withdraw_delay,
        timeout_seconds: 3_600,
    })
}

fn chain_info(chain: &Chain, payee: &PayeeTerms) -> ChainInfo {
    ChainInfo {
        chain_id: payee.chain_id,
        rpc_url: chain.public_rpc_url(),
        settlement: payee.settlement,
        collector: contracts::ERC3009_DEPOSIT_COLLECTOR,
        token: payee.token,
        receiver: payee.receiver,
        host: payee.receiver_authorizer,
    }
}

/// Refunds of one channel within `risk.failures_window`.
const REFUNDS_MAX: u32 = 20;
/// Strangers' work on the chain at once; more is refused with 503.
const NEWCOMERS_MAX: usize = 256;

/// Why a node did not start. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}", dir.display())]
    DataDir {
        /// Which folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another node has it.
    #[error("another rialto uses {}: stop it, or pass another --data-dir", dir.display())]
    InUse {
        /// Which folder.
        dir: PathBuf,
    },
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainStartError),
    /// The facilitator's HTTP client.
    #[error("no HTTP client for the facilitator can be made")]
    Facilitator(#[source] reqwest::Error),
    /// The WebAssembly host.
    #[error("the host cannot start")]
    Host(#[source] rialto_host::HostError),
    /// What services keep.
    #[error("what services keep cannot be opened: it is in the folder `state` of the data folder")]
    State(#[from] rialto_state::OpenError),
    /// Opening it crashed.
    #[error("opening what services keep crashed")]
    StateTask(#[source] tokio::task::JoinError),
    /// Nothing can send guests' requests.
    #[error("guests' requests cannot be sent: the system's TLS roots cannot be read")]
    Outbound(#[source] reqwest::Error),
    /// The graphics processor that the configuration asks for.
    #[error(
        "tensor operations cannot run where [device] asks: set device.choice to \"auto\" or \"cpu\", or mend this"
    )]
    Gpu(#[source] rialto_gpu::OpenError),
    /// Looking for devices crashed.
    #[error("looking for graphics processors crashed: set device.choice to \"cpu\"")]
    Devices(#[source] tokio::task::JoinError),
    /// The engines.
    #[error("the engines cannot be had as [engines] asks")]
    Engines(#[from] rialto_tensor::engines::SetupError),
    /// The artifact store.
    #[error("the artifact store cannot be opened")]
    Artifacts(#[source] rialto_artifacts::OpenError),
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The services.
    #[error(transparent)]
    Services(#[from] CatalogError),
    /// What an earlier process left on the chain cannot be read.
    #[error("what was begun on the chain cannot be looked up")]
    Pending(#[from] PendingError),
    /// The ledger cannot be opened.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] rialto_ledger::OpenError),
    /// The shared ledger cannot be opened.
    #[error(transparent)]
    SharedLedger(#[from] rialto_ledger::SharedOpenError),
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    LedgerRead(#[from] rialto_ledger::ReadError),
    /// A stored channel contradicts itself.
    #[error("the ledger holds a channel that contradicts itself")]
    Restore(#[from] RestoreError),
}
