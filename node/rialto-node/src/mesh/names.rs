//! The chain's word on names: who owns one, what they published, and whether it should be used.
//!
//! Claims of names are read once, in the order of the chain's log, and kept for the next start. What an agent
//! says of its service is asked when it is needed.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rialto_chain::client::{BlockRef, ChainError, Placed, RegistryError};
use rialto_registry::erc8004::logs::MetadataSet;
use rialto_registry::names::{MANIFEST_KEY, NAME_KEY, Position, STATUS_KEY};
use rialto_registry::{AgentId, Digest, Name, NameBook, Status};

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
        let reading = async {
            loop {
                if let Err(error) = self.read_names().await {
                    tracing::debug!(%error, "names were not read");
                }
                tokio::time::sleep(self.config().mesh.names_every).await;
            }
        };
        tokio::select! {
            () = self.stopping() => {}
            () = reading => {}
        }
        if tokio::time::timeout(KEEP_AT_END_MAX, self.keep_names_at_end())
            .await
            .is_err()
        {
            tracing::debug!("names that were read last are read again after the next start");
        }
    }

    /// Takes in the claims of names that are new in the chain.
    ///
    /// # Errors
    /// [`RegistryError`] when the chain cannot be read to its end.
    pub(super) async fn read_names(&self) -> Result<(), RegistryError> {
        let Some(mesh) = self.mesh() else {
            return Ok(());
        };
        let mut reading = mesh.names_read.lock().await;
        self.recall_names(mesh, &mut reading).await?;
        while self.read_names_on(mesh, &mut reading).await? {}
        Ok(())
    }

    /// Takes in the claims of some blocks, and says whether there are more. Who waits may go away: the same
    /// blocks are read again then.
    async fn read_names_on(
        &self,
        mesh: &Mesh,
        reading: &mut Reading,
    ) -> Result<bool, RegistryError> {
        let from = reading.next();
        let step = mesh.agents.metadata_log(&[NAME_KEY], from).await?;
        if step.next == from {
            return Ok(step.more);
        }
        let is_news = !step.found.is_empty();
        let is_due = reading.is_due(step.next, is_news, !step.more);
        let mut last = None;
        if is_due || !step.more {
            last = self.last_before(step.next, reading.last()).await?;
            if last.is_none() {
                mesh.begin_anew(reading);
                return Ok(true);
            }
        }
        mesh.claim_names(step.found);
        reading.went_on(step.next, is_news, last);
        if is_due {
            self.keep_names(mesh, reading).await;
        }
        Ok(step.more)
    }

    /// The last block before `next`, if the chain still has the one that was `known`.
    async fn last_before(
        &self,
        next: u64,
        known: Option<BlockRef>,
    ) -> Result<Option<BlockRef>, ChainError> {
        let hash_of = async |number| {
            let hash = self.chain_client().block_hash(number).await?;
            hash.ok_or(ChainError::Changed)
        };
        let number = next.saturating_sub(1);
        let hash = hash_of(number).await?;
        // In this order: what is there now stands on what was there then.
        if let Some(known) = known
            && hash_of(known.number).await? != known.hash
        {
            return Ok(None);
        }
        Ok(Some(BlockRef { number, hash }))
    }

    /// Goes on where an earlier process stopped, if the chain still is the one that it read. Nothing of what
    /// it read is believed before. An endpoint that lags behind gets some time.
    async fn recall_names(&self, mesh: &Mesh, reading: &mut Reading) -> Result<(), ChainError> {
        let Some(last) = reading.to_check() else {
            return Ok(());
        };
        let hash = self.chain_client().block_hash(last.number).await?;
        let patience = self.config().mesh.names_every * BEHIND_ROUNDS;
        if hash == Some(last.hash) {
            if let Some(names) = reading.recall() {
                *mesh.names.write().unwrap_or_else(PoisonError::into_inner) = names;
                mesh.names_changed.notify_one();
            }
        } else if hash.is_some() || reading.is_behind_for(patience) {
            let block = last.number;
            tracing::warn!(
                block,
                "the chain is not the one that names were read from: they are read again"
            );
            reading.begin_anew();
        } else {
            return Err(ChainError::Changed);
        }
        Ok(())
    }

    /// Keeps what was read. Failing to costs time at the next start.
    async fn keep_names(&self, mesh: &Mesh, reading: &mut Reading) {
        let claims = {
            let names = mesh.names.read().unwrap_or_else(PoisonError::into_inner);
            names.standing()
        };
        reading.keep(claims).await;
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
    fn claim_names(&self, claims: Vec<Placed<MetadataSet>>) {
        if claims.is_empty() {
            return;
        }
        {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            for claim in claims {
                names.claim(claim.entry.agent, &claim.entry.value, claim.at);
            }
        }
        self.names_changed.notify_one();
    }

    /// Forgets all names: the chain is no longer the one that they were read from.
    fn begin_anew(&self, reading: &mut Reading) {
        tracing::warn!(
            "the chain has changed deeper than blocks are waited for: names are read again"
        );
        reading.begin_anew();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = NameBook::default();
        self.facts().clear();
        self.names_changed.notify_one();
    }

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
/// So many rounds of looking at a chain that is shorter than it was end the belief in it: half a minute.
const BEHIND_ROUNDS: u32 = 15;
/// How long what the chain said of a name is believed by calls.
const FACTS_GOOD_FOR: Duration = Duration::from_secs(10);
/// Names of which it is remembered what the chain said.
const FACTS_MAX: usize = 16_384;
