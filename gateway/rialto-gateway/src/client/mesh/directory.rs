//! Providers by the word of a node's local door. What it says is signed by those of whom it says it, and
//! checked here: the door is believed about where they are reached, and about nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_registry::router::{Permille, Reach};
use rialto_registry::{Name, SignedOffer};
use serde::{Deserialize, Serialize};

use super::super::bounded::{DOCUMENT_BYTES_MAX, read_bounded};
use super::{Directory, DirectoryError, Finding, Provider};

/// Asks a node's local door.
#[derive(Debug, Clone)]
pub struct DoorDirectory {
    http: reqwest::Client,
    /// What the door said last of the chain's endpoint.
    rpc: Arc<Mutex<Option<String>>>,
    door: String,
}

/// A provider as the door writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProviderRecord {
    /// The signed offer, in base 64.
    pub(crate) offer: String,
    /// The gateway's base URL.
    pub(crate) gateway: String,
    /// Whether it is reached through a relay.
    pub(crate) relayed: bool,
    /// Whether the gateway is where the provider says, which has to be on the internet then.
    #[serde(default)]
    pub(crate) public_only: bool,
    /// What is known of how it serves, in thousandths.
    pub(crate) reputation: u16,
}

/// What the door answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProvidersRecord {
    /// The chain's endpoint that the door's node uses, where it may tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rpc: Option<String>,
    pub(crate) providers: Vec<ProviderRecord>,
}

impl DoorDirectory {
    /// The directory behind a local door's URL.
    #[must_use]
    pub fn new(door: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            rpc: Arc::default(),
            door: door.trim_end_matches('/').to_owned(),
        }
    }

    fn last_rpc(&self) -> MutexGuard<'_, Option<String>> {
        // A text is put in whole.
        self.rpc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, service: &Name) -> Result<Vec<Provider>, DirectoryError> {
        let url = format!("{}/providers/{service}", self.door);
        let answer = self.http.get(&url).send().await.map_err(cannot)?;
        let status = answer.status();
        let body = read_bounded(answer, DOCUMENT_BYTES_MAX)
            .await
            .map_err(cannot)?;
        if !status.is_success() {
            return Err(cannot(Refused { url, status }));
        }
        let records: ProvidersRecord = serde_json::from_slice(&body).map_err(cannot)?;
        *self.last_rpc() = records.rpc;
        let records = records.providers.into_iter();
        Ok(records.filter_map(ProviderRecord::checked).collect())
    }
}

impl Directory for DoorDirectory {
    fn providers<'a>(&'a self, service: &'a Name) -> Finding<'a> {
        Box::pin(self.ask(service))
    }

    fn rpc(&self) -> Option<String> {
        self.last_rpc().clone()
    }
}

impl ProviderRecord {
    /// A provider as it is written.
    pub(crate) fn new(
        offer: &SignedOffer,
        gateway: String,
        relayed: bool,
        public_only: bool,
        reputation: u16,
    ) -> Self {
        Self {
            offer: STANDARD.encode(offer.bytes()),
            gateway,
            relayed,
            public_only,
            reputation,
        }
    }

    /// The provider, if its offer is signed as it should be.
    pub(crate) fn checked(self) -> Option<Provider> {
        let bytes = STANDARD.decode(&self.offer).ok()?;
        let offer = SignedOffer::parse(&bytes).ok()?;
        let reach = match self.relayed {
            true => Reach::Relayed,
            false => Reach::Direct,
        };
        let reputation = Permille::clamped(u64::from(self.reputation));
        let provider = Provider::new(offer, self.gateway, reach, reputation).ok()?;
        Some(match self.public_only {
            true => provider.public_only(),
            false => provider,
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{url} answers {status}: is it the local door of a node that takes part in the mesh?")]
struct Refused {
    url: String,
    status: http::StatusCode,
}

fn cannot(error: impl std::error::Error + Send + Sync + 'static) -> DirectoryError {
    DirectoryError(Box::new(error))
}
