//! Providers by the word of a node's local door. What it says is signed by those of whom it says it, and
//! checked here: the door is believed about where they are reached, and about nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rialto_registry::reputation::Outcome as Rating;
use rialto_registry::router::{Permille, Reach};
use rialto_registry::{Name, PeerId, SignedOffer};
use serde::{Deserialize, Serialize};

use super::super::bounded::{DOCUMENT_BYTES_MAX, read_bounded};
use super::{Directory, DirectoryError, Finding, Provider};

/// Asks a node's local door.
#[derive(Debug, Clone)]
pub struct DoorDirectory {
    http: reqwest::Client,
    /// What the door said last of the chain's endpoint.
    rpc: Arc<Mutex<Option<String>>>,
    /// What came of requests that the door was not told of yet.
    ratings: Arc<Mutex<Vec<(PeerId, Rating)>>>,
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
            ratings: Arc::default(),
            door: door.trim_end_matches('/').to_owned(),
        }
    }

    fn last_rpc(&self) -> MutexGuard<'_, Option<String>> {
        // A text is put in whole.
        self.rpc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ratings(&self) -> MutexGuard<'_, Vec<(PeerId, Rating)>> {
        // Each is put in whole.
        self.ratings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the door what came of requests so far, by which its node chooses from then on. Done before each
    /// question anyway; whoever ends with a call does it then. What the door does not take is lost.
    pub async fn tell(&self) {
        let told = std::mem::take(&mut *self.ratings());
        let telling = async {
            for (peer, rating) in told {
                let url = format!("{}/ratings/{peer}", self.door);
                let Ok(body) = serde_json::to_vec(&rating) else {
                    continue;
                };
                if let Err(error) = self.http.post(&url).body(body).send().await {
                    tracing::debug!(%error, "the local door does not take ratings");
                    return;
                }
            }
        };
        if tokio::time::timeout(TELL_TIME_MAX, telling).await.is_err() {
            tracing::debug!("the local door takes ratings too slowly");
        }
    }

    async fn ask(&self, service: &Name) -> Result<Vec<Provider>, DirectoryError> {
        self.tell().await;
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

    fn ended(&self, provider: PeerId, rating: Rating) {
        let mut ratings = self.ratings();
        if ratings.len() < RATINGS_MAX {
            ratings.push((provider, rating));
        }
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

/// How long the door may take to hear of ratings.
const TELL_TIME_MAX: Duration = Duration::from_secs(2);
/// Ratings that wait to be told.
const RATINGS_MAX: usize = 256;
