//! Publishing, as far as the node does it: what is to be signed, and what becomes of it once it is.
//!
//! In between the publisher's wallet signs the manifest and sends the transaction that says so on the chain:
//! neither is this node's to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rialto_chain::client::RegistryError;
use rialto_channels::{Signature, SignatureError};
use rialto_registry::names::{COMPONENT_KEY, MANIFEST_KEY, NAME_KEY};
use rialto_registry::signed_manifest::{SignedManifestError, ToSign};
use rialto_registry::{AgentId, Digest, Name, SignedManifest};

use super::Mesh;
use super::agents::Said;
use super::draft::{Publishing, draft};
use crate::Node;
use crate::catalog::{ChangeError, Changed};
use crate::shelf::PendingError;

/// What a publisher has to sign and to send.
#[derive(Debug, Clone)]
pub struct ToPublish {
    /// The service's name.
    pub name: Name,
    /// The text whose digest is signed; it goes back unchanged.
    pub payload: String,
    /// What the wallet signs.
    pub sign: ToSign,
    /// The registry's contract, where the transaction goes.
    pub registry: Address,
    /// The chain.
    pub chain_id: u64,
    /// The publisher's agent that owns the name; none for a name that is free: an agent is registered.
    pub agent: Option<AgentId>,
    /// The digest of the manifest that the chain says the name has now.
    pub current: Option<Digest>,
    /// What the chain has of the agent.
    pub said: Said,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The node takes no part in the mesh.
    #[error(
        "this node takes no part in the mesh: start it with --mesh, or set mesh.enabled = true in the configuration"
    )]
    Alone,
    /// The folder's service cannot run.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// What would be signed is out of its bounds.
    #[error(transparent)]
    Manifest(#[from] SignedManifestError),
    /// The folder's manifest is no table.
    #[error("service.toml cannot be read again")]
    Decode(#[from] toml::de::Error),
    /// The name is somebody else's.
    #[error(
        "the name `{name}` belongs to {owner} (agent {agent}): choose another name in service.toml"
    )]
    Taken {
        /// The name.
        name: Name,
        /// Who owns it.
        owner: Address,
        /// By which agent.
        agent: AgentId,
    },
    /// Somebody is claiming it.
    #[error(
        "the name `{0}` was claimed a moment ago, and the chain has not confirmed it yet: publish again when it has, in a minute or two"
    )]
    Claimed(Name),
    /// What was signed is not what the chain says.
    #[error("the chain does not say that {name} is {signed} now: was the transaction made?")]
    NotOnChain {
        /// The name.
        name: Name,
        /// The signed manifest's digest.
        signed: Digest,
    },
    /// The signature is none.
    #[error("the signature cannot be read")]
    Signature(#[from] SignatureError),
    /// The folder changed since it was signed for.
    #[error("the folder changed since its manifest was signed: publish it again")]
    Changed,
    /// The chain cannot be read.
    #[error("the chain cannot be read")]
    Chain(#[from] RegistryError),
    /// The artifact store is full.
    #[error("the component cannot be stored")]
    Store(#[source] rialto_artifacts::PutError),
    /// What others need cannot be kept for them.
    #[error("what others need to run it cannot be kept")]
    Pin(#[from] rialto_artifacts::PinError),
    /// The record cannot be kept.
    #[error("what was published cannot be kept")]
    Keep(#[from] PendingError),
    /// A task crashed.
    #[error("publishing crashed")]
    Task(#[from] tokio::task::JoinError),
}

impl Node {
    /// The signed manifest by which this node provides a service; none for one that is not published.
    pub fn signed_manifest(&self, service: &str) -> Option<SignedManifest> {
        let published = self.mesh()?.published.all();
        let of_service = |manifest: &SignedManifest| manifest.name().as_str() == service;
        published.into_iter().find(of_service)
    }

    /// The agent that owns the name by which this node provides a published service, as far as the chain was read.
    pub fn published_agent(&self, service: &str) -> Option<AgentId> {
        let signed = self.signed_manifest(service)?;
        let (agent, _) = self.mesh()?.owner(signed.name())?;
        Some(agent)
    }

    /// What has to be signed and sent to publish the service in `folder`. Nothing is changed by asking,
    /// but that its component and models are in the artifact store.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn prepare_publishing(
        &self,
        folder: &Path,
        publishing: &Publishing,
    ) -> Result<ToPublish, PublishError> {
        let mesh = self.mesh().ok_or(PublishError::Alone)?;
        let inspected = self.0.catalog.inspect(folder).await?;
        let draft = draft(&inspected, publishing, mesh.registry)?;
        let payload = draft.payload()?;
        let sign = SignedManifest::to_sign(&payload)?;
        let name = inspected.manifest.name().clone();
        let known = self.name_on_chain(&name).await?;
        if let Some(known) = &known
            && known.owner != publishing.publisher
        {
            let (owner, agent) = (known.owner, known.agent);
            return Err(PublishError::Taken { name, owner, agent });
        }
        let said = match &known {
            Some(known) => mesh.said(&known.agent).await?,
            None => mesh.unclaimed(&name).await?,
        };
        let (store, component) = (mesh.store.clone(), inspected.component);
        tokio::task::spawn_blocking(move || store.put_bytes(&component))
            .await?
            .map_err(PublishError::Store)?;
        Ok(ToPublish {
            registry: mesh.registry.address,
            chain_id: mesh.registry.chain_id,
            current: known.as_ref().and_then(|known| known.manifest),
            agent: known.map(|known| known.agent),
            name,
            payload,
            sign,
            said,
        })
    }

    /// Provides the service in `folder` by the manifest that its publisher signed, and offers it.
    ///
    /// # Errors
    /// [`PublishError`]; what runs was not changed then.
    pub async fn publish(
        &self,
        folder: &Path,
        payload: String,
        signature: &[u8],
    ) -> Result<(SignedManifest, Changed), PublishError> {
        let mesh = self.mesh().ok_or(PublishError::Alone)?;
        let signed = SignedManifest::check(payload, Signature::parse(signature)?)?;
        self.wait_for_the_chain(&signed).await?;
        let inspected = self.0.catalog.inspect(folder).await?;
        if Digest::of(&inspected.component) != signed.component()
            || inspected.manifest.version() != signed.version()
        {
            return Err(PublishError::Changed);
        }
        let changed = self.deploy(folder).await?;
        mesh.provide::<PublishError>(&signed).await?;
        mesh.offer_soon();
        self.give_back().await;
        Ok((signed, changed))
    }
}

impl Mesh {
    /// What the chain has of an agent now.
    async fn said(&self, agent: &AgentId) -> Result<Said, PublishError> {
        let mut said = Said {
            metadata: BTreeMap::new(),
            uri: self.agents.token_uri(agent).await?,
        };
        for key in [NAME_KEY, COMPONENT_KEY, MANIFEST_KEY] {
            let value = self.agents.metadata(agent, key).await?;
            said.metadata.insert(key.to_owned(), value);
        }
        Ok(said)
    }

    /// Nothing is said of a name that nobody owns; one that is being claimed must not be claimed again, or
    /// the second agent would stand in line for ever.
    async fn unclaimed(&self, name: &Name) -> Result<Said, PublishError> {
        let claims = self.agents.metadata_unconfirmed(&[NAME_KEY]).await?;
        let is_claim = |value: &[u8]| value == name.as_str().as_bytes();
        if claims.iter().any(|claim| is_claim(&claim.value)) {
            return Err(PublishError::Claimed(name.clone()));
        }
        Ok(Said::default())
    }
}

impl Node {
    /// Waits until the chain says what was signed, as deep as names are read.
    async fn wait_for_the_chain(&self, signed: &SignedManifest) -> Result<(), PublishError> {
        let give_up = Instant::now() + CHAIN_WAIT;
        loop {
            let known = self.name_on_chain(signed.name()).await?;
            let says_so = known.is_some_and(|known| {
                known.manifest == Some(signed.digest()) && known.owner == signed.publisher()
            });
            if says_so {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(PublishError::NotOnChain {
                    name: signed.name().clone(),
                    signed: signed.digest(),
                });
            }
            tokio::time::sleep(CHAIN_PAUSE).await;
        }
    }
}

/// How long publishing waits for confirmations.
const CHAIN_WAIT: Duration = Duration::from_secs(120);
const CHAIN_PAUSE: Duration = Duration::from_millis(250);

/// What an agent says on the chain of the service that it is: metadata keys and values.
#[must_use]
pub fn agent_metadata(signed: &SignedManifest) -> Vec<(String, Vec<u8>)> {
    let name = signed.name().as_str().as_bytes().to_vec();
    vec![
        (NAME_KEY.to_owned(), name),
        (MANIFEST_KEY.to_owned(), signed.digest().as_bytes().to_vec()),
        (
            COMPONENT_KEY.to_owned(),
            signed.component().as_bytes().to_vec(),
        ),
    ]
}
