//! The chain's word on names: who owns one, what they published, and whether it should be used.
//!
//! Claims of names are read once, in the order of the chain's log, and kept for the next start. What an agent
//! says of its service is asked when it is needed.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rialto_chain::client::{BlockRef, ChainError, RegistryError};
use rialto_registry::names::{MANIFEST_KEY, NAME_KEY, Position, STATUS_KEY};
use rialto_registry::{AgentId, Digest, Name, Status};

use super::Mesh;
use super::names_kept::Reading;
use crate::Node;

/// What the chain says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChain {
    /// The agent that owns the name.
    pub agent: AgentId,
    /// The account that owns the agent.
    pub owner: Address,
    /// The current signed manifest; none before the first.
    pub manifest: Option<Digest>,
    /// Whether it should be used.
    pub status: Status,
    /// When the name was claimed.
    pub since: Position,
}

impl Node {
    /// Reads names from the chain for as long as the node runs.
    pub(crate) async fn read_names_forever(self) {
        loop {
            if let Err(error) = self.read_names().await {
                tracing::debug!(%error, "names were not read");
            }
            tokio::select! {
                () = self.stopping() => break,
                () = tokio::time::sleep(self.config().mesh.names_every) => {}
            }
        }
        if tokio::time::timeout(KEEP_AT_END_MAX, self.keep_names_at_end())
            .await
            .is_err()
        {
            tracing::debug!("names that were read last are read again after the next start");
        }
    }

    /// Takes in the claims of names that are new in the chain. A node that stops reads no further.
    pub(super) async fn read_names(&self) -> Result<(), RegistryError> {
        let Some(mesh) = self.mesh() else {
            return Ok(());
        };
        let mut reading = mesh.names_read.lock().await;
        self.recall_names(mesh, &mut reading).await?;
        loop {
            let from = reading.next();
            let step = mesh.agents.metadata_log(&[NAME_KEY], from).await?;
            let is_news = !step.found.is_empty();
            {
                let mut names = mesh.names.write().unwrap_or_else(PoisonError::into_inner);
                for claim in step.found {
                    names.claim(claim.entry.agent, &claim.entry.value, claim.at);
                }
            }
            reading.went_on(step.next, is_news);
            if is_news {
                mesh.names_changed.notify_one();
            }
            if reading.is_due(!step.more) {
                self.keep_names(mesh, &mut reading).await;
            }
            if !step.more || self.is_stopping() {
                break;
            }
        }
        Ok(())
    }

    /// Goes on where an earlier process stopped, if the chain still is the one that it read. Nothing of what
    /// it read is believed before.
    async fn recall_names(&self, mesh: &Mesh, reading: &mut Reading) -> Result<(), ChainError> {
        let Some(last) = reading.to_check() else {
            return Ok(());
        };
        if self.has_block(last).await? {
            if let Some(names) = reading.recall() {
                *mesh.names.write().unwrap_or_else(PoisonError::into_inner) = names;
                mesh.names_changed.notify_one();
            }
        } else {
            let block = last.number;
            tracing::warn!(
                block,
                "the chain is not the one that names were read from: they are read again"
            );
            reading.begin_anew();
        }
        Ok(())
    }

    /// Whether the chain has this block. An endpoint that lags behind gets some time.
    async fn has_block(&self, block: BlockRef) -> Result<bool, ChainError> {
        let pause = self.config().mesh.names_every.min(BEHIND_PAUSE_MAX);
        let mut looks = 0;
        loop {
            if let Some(hash) = self.chain_client().block_hash(block.number).await? {
                return Ok(hash == block.hash);
            }
            looks += 1;
            if looks >= BEHIND_LOOKS {
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Keeps what was read, with the last block's hash, by which its chain is known again. Failing to costs
    /// time at the next start.
    async fn keep_names(&self, mesh: &Mesh, reading: &mut Reading) {
        let Some(number) = reading.next().checked_sub(1) else {
            return;
        };
        let hash = self.chain_client().block_hash(number).await;
        let hash = hash.unwrap_or_else(|error| {
            tracing::debug!(%error, "the last block of which names were read cannot be read");
            None
        });
        let claims = hash.map(|_| {
            let names = mesh.names.read().unwrap_or_else(PoisonError::into_inner);
            names.standing()
        });
        match hash.zip(claims) {
            Some((hash, claims)) => reading.keep(BlockRef { number, hash }, claims).await,
            None => reading.keep_later(),
        }
    }

    async fn keep_names_at_end(&self) {
        let Some(mesh) = self.mesh() else {
            return;
        };
        let mut reading = mesh.names_read.lock().await;
        if reading.has_unkept() {
            self.keep_names(mesh, &mut reading).await;
        }
    }

    /// What the chain said of a name some seconds ago at most: for calls, which come often.
    ///
    /// # Errors
    /// [`RegistryError`] when the chain cannot be read.
    pub(super) async fn name_lately(&self, name: &Name) -> Result<Option<OnChain>, RegistryError> {
        let Some(mesh) = self.mesh() else {
            return Ok(None);
        };
        if let Some(known) = mesh.facts().get(name)
            && known.at.elapsed() < FACTS_GOOD_FOR
        {
            return Ok(known.said.clone());
        }
        let said = self.name_on_chain(name).await?;
        let mut facts = mesh.facts();
        if facts.len() >= FACTS_MAX {
            facts.retain(|_, fact| fact.at.elapsed() < FACTS_GOOD_FOR);
        }
        if facts.len() < FACTS_MAX {
            let fact = Fact {
                said: said.clone(),
                at: Instant::now(),
            };
            facts.insert(name.clone(), fact);
        }
        Ok(said)
    }

    /// The chain's word on a name has just changed: what was remembered of it goes, and offers follow.
    ///
    /// # Errors
    /// [`RegistryError`] when the chain cannot be read.
    pub async fn name_changed(&self, name: &Name) -> Result<Option<OnChain>, RegistryError> {
        let Some(mesh) = self.mesh() else {
            return Ok(None);
        };
        mesh.facts().remove(name);
        let said = self.name_on_chain(name).await?;
        mesh.names_changed.notify_one();
        mesh.offer_soon();
        Ok(said)
    }

    /// What the chain says of a name now; none for a name that nobody owns.
    ///
    /// # Errors
    /// [`RegistryError`] when the chain cannot be read.
    pub async fn name_on_chain(&self, name: &Name) -> Result<Option<OnChain>, RegistryError> {
        let Some(mesh) = self.mesh() else {
            return Ok(None);
        };
        // Whoever has just registered a name asks for it at once.
        self.read_names().await?;
        let Some((agent, since)) = mesh.owner(name) else {
            return Ok(None);
        };
        let (owner, manifest, status) = tokio::try_join!(
            mesh.agents.owner_of(&agent),
            mesh.agents.metadata(&agent, MANIFEST_KEY),
            mesh.agents.metadata(&agent, STATUS_KEY),
        )?;
        let manifest = <[u8; 32]>::try_from(manifest.as_slice()).ok();
        Ok(Some(OnChain {
            agent,
            owner,
            manifest: manifest.map(Digest::new),
            status: Status::from_value(&status),
            since,
        }))
    }
}

/// What the chain said of a name, and when.
#[derive(Debug)]
pub(super) struct Fact {
    said: Option<OnChain>,
    at: Instant,
}

impl Mesh {
    fn facts(&self) -> MutexGuard<'_, BTreeMap<Name, Fact>> {
        // Facts are put in and taken out whole.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner of a name and when it claimed it, as far as the chain was read.
    pub(super) fn owner(&self, name: &Name) -> Option<(AgentId, Position)> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        Some((names.owner(name)?, names.since(name)?))
    }

    /// All names as far as the chain was read.
    pub(super) fn owned(&self) -> Vec<(Name, AgentId)> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let owners = names.owners();
        owners.map(|(name, agent)| (name.clone(), agent)).collect()
    }
}

/// How long a node that stops takes to keep the names that it read.
const KEEP_AT_END_MAX: Duration = Duration::from_secs(3);
/// So many looks in a row at a chain that is shorter than it was end the belief in it.
const BEHIND_LOOKS: u32 = 5;
const BEHIND_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long what the chain said of a name is believed by calls.
const FACTS_GOOD_FOR: Duration = Duration::from_secs(10);
/// Names of which it is remembered what the chain said.
const FACTS_MAX: usize = 16_384;
