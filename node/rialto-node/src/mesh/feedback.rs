//! Feedback on the chain that receipts back: what others say of providers, and what this node's user says.
//!
//! A receipt travels as an artifact, with the terms of the channel that paid: who rates provides it, who reads
//! fetches it by the digest in the feedback's URI, and asks the chain whether the channel held the money. What
//! nobody has, or the chain does not show yet, is asked for again some times, and then left.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256, keccak256};
use rialto_artifacts::{PinError, PinOwner};
use rialto_chain::client::{ChainError, RegistryError};
use rialto_channels::SettlementDomain;
use rialto_channels::receipt::DocumentError;
use rialto_registry::erc8004::logs::FeedbackEvent;
use rialto_registry::reputation::{
    Backed, Claim, EVIDENCE_BYTES_MAX, Evidence, FEEDBACK_URI, NotBacked, backed, receipt_of,
};
use rialto_registry::{AgentId, Digest, Name, PeerId};
use serde::{Deserialize, Serialize};

use super::Mesh;
use super::take::read_within;
use super::waiting::{Key, Queue, Waiting};
use crate::Node;
use crate::progress::Progress;
use crate::shelf::{PendingError, Shelf};

/// What is known of others' feedback, and what this node's user has said.
#[derive(Debug)]
pub(super) struct Opinions {
    read: Mutex<Read>,
    /// The receipts that own feedback rests on.
    own: Shelf<String>,
}

#[derive(Debug, Default)]
struct Read {
    /// For each agent the block to go on from.
    next: BTreeMap<AgentId, u64>,
    /// Whom feedback was about, by agent, rater and number: it may be revoked.
    about: BTreeMap<Key, Vec<PeerId>>,
    /// What could not be checked yet.
    waiting: Queue,
}

/// What a look at feedback came to.
enum Looked {
    /// It counts, or never will.
    Settled,
    /// What it rests on is not there yet.
    NotYet,
    /// The chain cannot be asked.
    Blind,
}

/// What is to be sent so that feedback stands on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToRate {
    /// The service.
    pub service: String,
    /// The number of its agent.
    pub agent: U256,
    /// Who owns it; its owner's word on it does not count.
    pub owner: Address,
    /// The reputation registry.
    pub registry: Address,
    /// The chain.
    pub chain_id: u64,
    /// Where the receipt is.
    pub uri: String,
    /// What the feedback commits to.
    pub hash: B256,
}

/// Why nothing can be said of a call.
#[derive(Debug, thiserror::Error)]
pub enum RateError {
    /// The node takes no part in the mesh.
    #[error("this node takes no part in the mesh: start it with --mesh")]
    Alone,
    /// What was given is no receipt with its channel.
    #[error(transparent)]
    Receipt(#[from] DocumentError),
    /// Nobody would believe it.
    #[error("what you say of this call would not count")]
    NotBacked(#[from] NotBacked),
    /// The receipt's service is no published one.
    #[error("nobody has published `{0}` on this chain: only published services can be rated")]
    NotPublished(String),
    /// The chain cannot be read.
    #[error("the chain cannot be read")]
    Chain(#[from] RegistryError),
    /// The receipt cannot be kept for those who will ask for it.
    #[error("the receipt cannot be kept for others")]
    Keep(#[from] PendingError),
    /// The receipt cannot be pinned.
    #[error("the receipt cannot be pinned for others")]
    Pin(#[from] PinError),
    /// The artifact store is full.
    #[error("the receipt cannot be stored")]
    Store(#[source] rialto_artifacts::PutError),
    /// A task crashed.
    #[error("rating crashed")]
    Task(#[from] tokio::task::JoinError),
}

impl Opinions {
    /// Reads what an earlier process said.
    ///
    /// # Errors
    /// [`PendingError`]; the operator's to solve.
    pub(super) fn open(data_dir: &Path) -> Result<Self, PendingError> {
        Ok(Self {
            read: Mutex::default(),
            own: Shelf::open(data_dir.join("rated"))?,
        })
    }

    /// The receipts that peers may ask for.
    fn own_receipts(&self) -> Vec<Digest> {
        let own = self.own.all().into_iter();
        own.filter_map(|digest| digest.parse().ok()).collect()
    }

    /// Notes the receipt of own feedback; of too many one goes, and is given back.
    fn keep(&self, digest: &Digest) -> Result<Option<Digest>, PendingError> {
        let all = self.own.all();
        let gone = all.first().filter(|_| all.len() >= RATED_MAX);
        if let Some(first) = gone {
            self.own.forget(first);
        }
        self.own.keep(digest.to_string(), digest.to_string())?;
        Ok(gone.and_then(|digest| digest.parse().ok()))
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        // Each entry is put in whole.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Keeps the [`Evidence`] for those who want to know what a rating rests on, and says what is to be sent.
    ///
    /// # Errors
    /// [`RateError`]; nothing was said then.
    pub async fn prepare_rating(&self, document: Vec<u8>) -> Result<ToRate, RateError> {
        let mesh = self.mesh().ok_or(RateError::Alone)?;
        let receipt = Evidence::from_bytes(&document)?.receipt.receipt;
        let service = receipt.service;
        let not_published = || RateError::NotPublished(service.clone());
        let name: Name = service.parse().map_err(|_| not_published())?;
        let known = self.name_on_chain(&name).await?;
        let known = known.ok_or_else(not_published)?;
        let hash = keccak256(&document);
        let claim = Claim {
            agent: known.agent,
            rater: receipt.payer,
            value: 0,
            decimals: 0,
            hash,
        };
        backed(&claim, &document, &name, &self.domain())?;
        let store = mesh.store.clone();
        let digest = tokio::task::spawn_blocking(move || store.put_bytes(&document))
            .await?
            .map_err(RateError::Store)?;
        mesh.keep_receipt(&digest)?;
        mesh.provide_receipts().await;
        Ok(ToRate {
            service,
            agent: known.agent.token,
            owner: known.owner,
            registry: mesh.agents.registries().reputation,
            chain_id: known.agent.registry.chain_id,
            uri: format!("{FEEDBACK_URI}{digest}"),
            hash,
        })
    }

    /// Reads feedback on what is offered, one service after the other, for as long as the node runs: apart from
    /// looking for offers, which nobody's feedback may hold up.
    pub(crate) async fn read_feedback_forever(self) {
        let Some(mesh) = self.mesh() else {
            return;
        };
        loop {
            for (name, _) in mesh.owned() {
                if !mesh.directory().has_offers(&name) {
                    continue;
                }
                let reading =
                    tokio::time::timeout(SERVICE_TIME_MAX, self.read_feedback(mesh, &name));
                tokio::select! {
                    () = self.stopping() => return,
                    read = reading => if let Ok(Err(error)) = read {
                        tracing::debug!(%name, %error, "feedback was not read");
                    }
                }
            }
            tokio::select! {
                () = self.stopping() => return,
                () = tokio::time::sleep(self.config().mesh.names_every.max(ROUND_MIN)) => {}
            }
        }
    }

    /// Reads what was said of a service since the last time, and what could not be checked then.
    async fn read_feedback(&self, mesh: &Mesh, name: &Name) -> Result<(), RegistryError> {
        let Some(known) = self.name_lately(name).await? else {
            return Ok(());
        };
        let agent = known.agent;
        let from = mesh.opinions.read().next.get(&agent).copied();
        let mut next = from.unwrap_or(known.since.block);
        for _ in 0..STEPS_MAX {
            let step = mesh.agents.feedback_log(&agent, next).await?;
            for placed in step.found {
                mesh.take_feedback(name, placed.entry);
            }
            next = step.next;
            mesh.opinions.read().next.insert(agent, next);
            if !step.more {
                break;
            }
        }
        self.check_waiting(mesh, name, known.owner).await;
        Ok(())
    }

    /// Fetches the receipts of feedback on a service, and lets what they back count.
    async fn check_waiting(&self, mesh: &Mesh, name: &Name, owner: Address) {
        let due = mesh.opinions.read().waiting.due(name, Instant::now());
        for waiting in due {
            let looked = self.weigh_feedback(mesh, &waiting, owner).await;
            let (key, now) = (waiting.key(), Instant::now());
            let queue = &mut mesh.opinions.read().waiting;
            match looked {
                Looked::Settled => queue.settle(key),
                Looked::NotYet => queue.again(key, now),
                Looked::Blind => queue.later(key, now),
            }
        }
    }

    async fn weigh_feedback(&self, mesh: &Mesh, waiting: &Waiting, owner: Address) -> Looked {
        let name = &waiting.service;
        let settled = |why: &dyn std::fmt::Display| {
            tracing::debug!(%name, error = %why, "feedback does not count");
            Looked::Settled
        };
        let document = match self.fetch_receipt(&waiting.receipt).await {
            Ok(Some(document)) => document,
            Ok(None) => return Looked::NotYet,
            Err(error) => return settled(&error),
        };
        let backed = match backed(&waiting.claim, &document, name, &self.domain()) {
            Ok(backed) if backed.channel.token == self.chain().token => backed,
            Ok(_) => return settled(&NotBacked::NotTheChannel),
            Err(error) => return settled(&error),
        };
        match self.is_funded(&backed).await {
            Ok(true) if mesh.count(waiting, &backed, owner) => Looked::Settled,
            // The host offers nothing now, or the deposit is not deep enough: it may be so later.
            Ok(_) => Looked::NotYet,
            Err(error) => {
                tracing::debug!(%name, %error, "whether feedback was paid for cannot be asked");
                Looked::Blind
            }
        }
    }

    /// Whether the chain has the money of a call, or has paid it out.
    async fn is_funded(&self, backed: &Backed) -> Result<bool, ChainError> {
        let held = self.chain_client().channel(&backed.channel).await?;
        Ok(backed.is_paid_by(held.balance, held.claimed))
    }

    fn domain(&self) -> SettlementDomain {
        SettlementDomain {
            chain_id: self.chain().chain_id,
            contract: self.chain().settlement,
        }
    }

    /// What feedback rests on; none where nobody has it.
    ///
    /// # Errors
    /// For what is no receipt, however often it is fetched.
    async fn fetch_receipt(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        let most = u64::try_from(EVIDENCE_BYTES_MAX).unwrap_or(u64::MAX);
        let silent = Progress::silent();
        let fetching = self.fetch_within(&[], digest, most, &silent);
        let fetched = tokio::time::timeout(RECEIPT_TIME_MAX, fetching).await;
        let Ok(Ok(path)) = fetched else {
            return Ok(None);
        };
        // What was here before was not fetched within any limit.
        match read_within(&path, most).await {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(error),
            read => Ok(read.ok()),
        }
    }
}

impl Read {
    /// Notes whom feedback was about. What a rater said before of the same agent counts no more.
    fn remember(&mut self, waiting: &Waiting, peers: Vec<PeerId>) {
        let (agent, rater) = (waiting.claim.agent, waiting.claim.rater);
        let before: Vec<_> = self
            .about
            .range((agent, rater, 0)..(agent, rater, waiting.index))
            .map(|(key, _)| *key)
            .collect();
        for key in before {
            self.about.remove(&key);
        }
        if self.about.len() < ABOUT_MAX && !peers.is_empty() {
            self.about.insert((agent, rater, waiting.index), peers);
        }
    }
}

impl Mesh {
    /// Keeps the receipt of own feedback in the store; of too many one goes.
    fn keep_receipt(&self, digest: &Digest) -> Result<(), RateError> {
        let owner: PinOwner = PIN_OWNER
            .parse()
            .map_err(|error| PinError::Io(std::io::Error::other(error)))?;
        if let Some(gone) = self.opinions.keep(digest)? {
            self.store.unpin(&gone, &owner)?;
        }
        self.store.pin(digest, &owner)?;
        Ok(())
    }

    /// Lets peers read the receipts of own feedback.
    pub(super) async fn provide_receipts(&self) {
        let receipts = self.opinions.own_receipts();
        self.provided.put_receipts(receipts.clone());
        for digest in receipts {
            if let Err(error) = self.discovery.provide_artifact(&digest).await {
                tracing::debug!(%digest, %error, "peers are not told of a receipt");
            }
        }
    }

    /// Notes an entry of the reputation registry; what it rests on is fetched later.
    fn take_feedback(&self, name: &Name, event: FeedbackEvent) {
        match event {
            FeedbackEvent::Given {
                agent,
                client,
                index,
                value,
                decimals,
                tag1,
                uri,
                hash,
                ..
            } => {
                let Some(receipt) = receipt_of(&tag1, &uri) else {
                    return;
                };
                let claim = Claim {
                    agent,
                    rater: client,
                    value,
                    decimals,
                    hash,
                };
                self.opinions.read().waiting.push(Waiting {
                    service: name.clone(),
                    claim,
                    index,
                    receipt,
                });
            }
            FeedbackEvent::Revoked {
                agent,
                client,
                index,
            } => {
                let mut read = self.opinions.read();
                read.waiting.settle((agent, client, index));
                let about = read.about.remove(&(agent, client, index));
                for peer in about.into_iter().flatten() {
                    self.ratings.unhear(peer, client);
                }
            }
        }
    }

    /// Lets feedback count for every peer whose offers the receipt's host signs, and says whether there is one.
    fn count(&self, waiting: &Waiting, backed: &Backed, owner: Address) -> bool {
        let found = self.directory().signed_by(backed.host);
        let rater = waiting.claim.rater;
        let mut heard = Vec::new();
        for peer in &found {
            let mut accounts = self.directory().accounts_of(*peer);
            accounts.insert(owner);
            match self.ratings.hear(*peer, accounts, rater, backed) {
                Ok(()) => heard.push(*peer),
                Err(error) => tracing::debug!(%peer, %error, "feedback does not count"),
            }
        }
        self.opinions.read().remember(waiting, heard);
        !found.is_empty()
    }
}

/// How long one service's feedback may take in a round.
const SERVICE_TIME_MAX: Duration = Duration::from_secs(20);
/// Rounds are no nearer to each other.
const ROUND_MIN: Duration = Duration::from_secs(2);
/// Steps of the log that one look at a service takes, of 2,000 blocks each.
const STEPS_MAX: usize = 8;
/// How long a receipt's fetch may take.
const RECEIPT_TIME_MAX: Duration = Duration::from_secs(5);
/// Whose pins keep receipts.
const PIN_OWNER: &str = "feedback";
/// Receipts of own feedback that are kept for others.
const RATED_MAX: usize = 1_024;
/// Feedback of which it is known whom it is about.
const ABOUT_MAX: usize = 100_000;
