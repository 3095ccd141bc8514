//! The chain's word on names: who owns one, what they published, and whether it should be used.
//!
//! Claims of names are read once, in the order of the chain's log. What an agent says of its service is
//! asked when it is needed.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rialto_chain::client::RegistryError;
use rialto_registry::names::{MANIFEST_KEY, NAME_KEY, Position, STATUS_KEY};
use rialto_registry::{AgentId, Digest, Name, Status};

use super::Mesh;
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
                () = self.stopping() => return,
                () = tokio::time::sleep(self.config().mesh.names_every) => {}
            }
        }
    }

    /// Takes in the claims of names that are new in the chain.
    pub(super) async fn read_names(&self) -> Result<(), RegistryError> {
        let Some(mesh) = self.mesh() else {
            return Ok(());
        };
        let mut next = mesh.names_next.lock().await;
        loop {
            let step = mesh.agents.metadata_log(&[NAME_KEY], *next).await?;
            let is_news = !step.found.is_empty();
            {
                let mut names = mesh.names.write().unwrap_or_else(PoisonError::into_inner);
                for claim in step.found {
                    names.claim(claim.entry.agent, &claim.entry.value, claim.at);
                }
            }
            *next = step.next;
            if is_news {
                mesh.names_changed.notify_one();
            }
            if !step.more {
                break;
            }
        }
        Ok(())
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

/// How long what the chain said of a name is believed by calls.
const FACTS_GOOD_FOR: Duration = Duration::from_secs(10);
/// Names of which it is remembered what the chain said.
const FACTS_MAX: usize = 16_384;
