//! The node itself: what is wired to what, in which order it starts, and in which it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use rialto_chain::client::ChainClient;
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{ChainTime, ChannelId, SigningKey};
use rialto_host::{Arguments, DoorLoad, Host};
use rialto_tensor::ModelCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::answers::Answers;
use crate::api::{CallError, ChainInfo, ChannelView, PayeeTerms, ServiceView, Terms};
use crate::book::Book;
use crate::catalog::{Catalog, Version};
use crate::chain_setup::Chain;
use crate::clock::Clock;
use crate::collect::Waiting;
use crate::config::Config;
use crate::facilitator::Policy;
use crate::facilitator::foreign::Foreign;
use crate::failures::Failures;
use crate::languages::Languages;
use crate::market::{Hiring, Market};
use crate::mesh::Mesh;
use crate::meters::Meters;
use crate::money::{Money, unrecorded};
use crate::pending::Pending;
use crate::promises::Promises;
use crate::redeposit::Deposits;
use crate::reject::unavailable;
use crate::settlements::Searches;
use crate::turns::Turns;
use crate::watch::Watch;

/// A running node. Clones share it.
#[derive(Clone, Debug)]
pub struct Node(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) models: Arc<ModelCache>,
    pub(crate) languages: Arc<Languages>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) key: SigningKey,
    pub(crate) payee: PayeeTerms,
    pub(crate) info: ChainInfo,
    pub(crate) host: Host,
    pub(crate) catalog: Catalog,
    pub(crate) book: Book,
    pub(crate) ledger: Money,
    pub(crate) chain: Chain,
    pub(crate) clock: Clock,
    pub(crate) turns: Turns,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) newcomers: Arc<Semaphore>,
    pub(crate) collecting: tokio::sync::Mutex<Waiting>,
    /// Held while one claim is made.
    pub(crate) claiming: tokio::sync::Mutex<()>,
    pub(crate) pending: Pending,
    pub(crate) deposits: Deposits,
    pub(crate) answers: Answers,
    pub(crate) promises: Promises,
    pub(crate) searches: Searches,
    pub(crate) watch: Watch,
    pub(crate) failures: Failures,
    pub(crate) refunds_made: Failures,
    pub(crate) facilitator: Policy,
    pub(crate) foreign: Option<Foreign>,
    /// None where the node takes no part in it.
    pub(crate) mesh: Option<Box<Mesh>>,
    pub(crate) hiring: Hiring,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) tasks: tokio::sync::Mutex<JoinSet<()>>,
    /// Held for as long as the node lives: one node a data folder.
    pub(crate) _lock: std::fs::File,
}

impl Node {
    /// All services, by name.
    pub fn services(&self) -> Vec<ServiceView> {
        self.0.catalog.views()
    }

    /// One service.
    pub fn service(&self, name: &str) -> Option<ServiceView> {
        self.0.catalog.view(name)
    }

    /// Calls that run, and calls that wait.
    pub fn door(&self) -> DoorLoad {
        self.0.host.door_load()
    }

    /// What a call with a body of `body_bytes` costs.
    ///
    /// # Errors
    /// [`CallError::UnknownService`], [`CallError::UnknownMethod`], or [`CallError::Arguments`]
    /// when the body is too large to price.
    pub fn terms(&self, service: &str, method: &str, body_bytes: u64) -> Result<Terms, CallError> {
        let loaded = self.version(service)?;
        let price = loaded.price(method, body_bytes)?;
        let ceiling = rialto_channels::price::advertised(price, self.config().payments.headroom)
            .map_err(|error| unavailable("the price", error))?;
        let deposit_min = self.config().payments.deposit_min.max(ceiling);
        Ok(Terms {
            price,
            ceiling,
            deposit_min,
            payee: PayeeTerms {
                receiver: loaded.receiver,
                ..self.0.payee.clone()
            },
            royalty: loaded.view.manifest.royalty().copied(),
        })
    }

    /// Checks a call's parameters without running it or touching money.
    ///
    /// # Errors
    /// [`CallError::UnknownService`], [`CallError::UnknownMethod`] or [`CallError::Arguments`].
    pub fn check_arguments(
        &self,
        service: &str,
        method: &str,
        arguments: &Arguments,
    ) -> Result<(), CallError> {
        let loaded = self.version(service)?;
        loaded.price(method, 0)?;
        loaded.host.prepare(method, arguments.clone())?;
        Ok(())
    }

    /// A receipt by its id.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the ledger cannot be read.
    pub async fn receipt(&self, id: B256) -> Result<Option<SignedReceipt>, CallError> {
        self.ledger().receipt(&id).await.map_err(unrecorded)
    }

    /// A channel as its payer may see it; in a fleet, whichever replica serves it.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the ledger cannot be read.
    pub async fn find_channel(&self, id: ChannelId) -> Result<Option<ChannelView>, CallError> {
        if let Some(shared) = self.ledger().shared()
            && let Some(state) = shared.shared_state(&id).await.map_err(unrecorded)?
        {
            self.book().adopt(state).map_err(unrecorded)?;
        }
        Ok(self.channel(id))
    }

    /// A channel as its payer may see it; in a fleet, as this replica last saw it.
    pub fn channel(&self, id: ChannelId) -> Option<ChannelView> {
        self.0.book.get(id).map(|slot| slot.view())
    }

    /// All channels; in a fleet, those that this replica has seen.
    pub fn channels(&self) -> Vec<ChannelView> {
        self.0.book.all().iter().map(|slot| slot.view()).collect()
    }

    /// Lets services of this host hire those of others, until the node stops.
    pub fn trade(&self, market: Arc<dyn Market>) {
        self.set_market(Some(market));
    }

    pub(crate) fn market(&self) -> Option<Arc<dyn Market>> {
        self.0.hiring.market().clone()
    }

    fn set_market(&self, market: Option<Arc<dyn Market>>) {
        *self.0.hiring.market() = market;
    }

    /// The provider's side of a channel.
    pub fn payee(&self) -> &PayeeTerms {
        &self.0.payee
    }

    /// Where this node's money lives.
    pub fn chain(&self) -> &ChainInfo {
        &self.0.info
    }

    /// The address of the host's key.
    pub fn host_address(&self) -> Address {
        self.0.key.address()
    }

    /// The configuration it was started with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The development chain's funded accounts, as (address, private key); none on other chains.
    pub fn dev_accounts(&self) -> Vec<(Address, [u8; 32])> {
        self.0.chain.dev_accounts()
    }

    /// Where the development chain's RPC listens.
    pub fn dev_chain_address(&self) -> Option<SocketAddr> {
        self.0.chain.dev_address()
    }

    /// What the provider's payout address holds, in token base units.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the chain cannot be reached.
    pub async fn token_balance(
        &self,
        account: Address,
    ) -> Result<rialto_channels::Amount, CallError> {
        self.chain_client()
            .token_balance(account)
            .await
            .map_err(|error| unavailable("the chain", error))
    }

    /// Stops the tasks, claims nothing more, and waits until all is durable. Callers should stop
    /// the doors first. The order: tasks, chain; the ledger is
    /// written and closed when the last clone of the node is dropped.
    pub async fn shutdown(&self) {
        self.0.stop.send_replace(true);
        // It may hold this node, which would never be dropped.
        self.set_market(None);
        let mut tasks = self.0.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        drop(tasks);
        self.0.ledger.close().await;
        self.0.chain.shutdown().await;
    }

    /// Whether it was told to stop: a call that fails from now on may have failed of that.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.stop.borrow()
    }

    /// Resolves when the ledger can no longer be written (what is durable is unknown from then on)
    /// or when a task has crashed (withdrawals would go unanswered): the process should end and
    /// start again from the disk.
    pub async fn failed(&self) {
        let mut ticks = tokio::time::interval(LEDGER_CHECK);
        while !self.0.ledger.is_poisoned() && !self.task_crashed() {
            ticks.tick().await;
        }
    }

    fn task_crashed(&self) -> bool {
        // Locked by the start and the shutdown alone.
        let ended = match self.0.tasks.try_lock() {
            Ok(mut tasks) => tasks.try_join_next(),
            Err(_) => None,
        };
        match ended {
            Some(Err(error)) => {
                tracing::error!(%error, "a task of the node crashed");
                true
            }
            Some(Ok(())) | None => false,
        }
    }

    /// The version of a service that new calls go to.
    pub(crate) fn version(&self, service: &str) -> Result<Arc<Version>, CallError> {
        self.0.catalog.get(service)
    }

    /// The version of a service that new calls go to, if it takes any.
    pub(crate) fn open(&self, service: &str) -> Result<Arc<Version>, CallError> {
        self.0.catalog.open(service)
    }

    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let permits = Arc::clone(&self.0.permits);
        permits.try_acquire_owned().map_err(|_| {
            self.0.meters.crowded.fetch_add(1, Ordering::Relaxed);
            CallError::Overloaded {
                retry_after_seconds: 1,
            }
        })
    }

    /// A place for work on the chain that somebody asks for who may have paid nothing: unknown
    /// channels, deposits, refunds. Few, so that junk keeps neither the chain nor payers busy.
    pub(crate) fn newcomer(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let places = Arc::clone(&self.0.newcomers);
        places
            .try_acquire_owned()
            .map_err(|_| CallError::Overloaded {
                retry_after_seconds: 1,
            })
    }

    pub(crate) async fn stopping(&self) {
        let mut stop = self.0.stop.subscribe();
        // An error means that the sender is gone, which is a stop too.
        stop.wait_for(|stop| *stop).await.ok();
    }

    pub(crate) fn book(&self) -> &Book {
        &self.0.book
    }

    pub(crate) fn ledger(&self) -> &Money {
        &self.0.ledger
    }

    pub(crate) fn chain_client(&self) -> &ChainClient {
        self.0.chain.client()
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.0.key
    }

    pub(crate) fn collecting(&self) -> &tokio::sync::Mutex<Waiting> {
        &self.0.collecting
    }

    pub(crate) fn claiming(&self) -> &tokio::sync::Mutex<()> {
        &self.0.claiming
    }

    pub(crate) fn deposits(&self) -> &Deposits {
        &self.0.deposits
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    pub(crate) fn promises(&self) -> &Promises {
        &self.0.promises
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.0.pending
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.0.watch
    }

    pub(crate) fn refunds_made(&self) -> &Failures {
        &self.0.refunds_made
    }

    pub(crate) fn failures(&self) -> &Failures {
        &self.0.failures
    }

    pub(crate) fn now(&self) -> ChainTime {
        self.0.clock.now()
    }

    pub(crate) fn observe(&self, block: ChainTime) {
        self.0.clock.observe(block);
    }
}

/// How soon a failed ledger is noticed at the latest; calls fail at once.
const LEDGER_CHECK: Duration = Duration::from_millis(250);
